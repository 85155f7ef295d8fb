//! A client assertion out of a Secret: a signed JWT by itself, and nothing around it.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::{fixtures::NOW, oauth::stored_assertion};

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn signed(algorithm: &str) -> String {
    let (header, claims) = (json!({ "alg": algorithm }), json!({ "exp": NOW + 600 }));
    format!("{}.{}.c2lnc2ln", part(&header), part(&claims))
}

#[test]
fn blanks_and_line_ends_around_a_jwt_are_taken_off() {
    let jwt = signed("RS256");
    for text in [
        jwt.clone(),
        format!("{jwt}\n"),
        format!("{jwt}\r\n"),
        format!("\n  {jwt}\t\n\n"),
    ] {
        let read = stored_assertion(text.as_bytes()).unwrap();
        assert_eq!(read.expose_secret(), jwt, "{text:?}");
    }
}

#[test]
fn what_is_around_a_jwt_is_refused_with_the_fix() {
    let (jwt, none) = (signed("RS256"), signed("none"));
    let (header, claims) = (part(&json!({ "alg": "RS256" })), part(&json!({ "exp": 1 })));
    #[rustfmt::skip]
    let cases = [
        (json!({ "token": jwt }).to_string(), "is a JSON object; store the value of its field token alone"),
        (json!({ "access_token": jwt, "expires_in": 60 }).to_string(), "its field access_token"),
        (json!([jwt]).to_string(), "is a JSON array"),
        (format!("\"{jwt}\""), "quotation marks"),
        (format!("'{jwt}'"), "quotation marks"),
        (format!("\"{none}\""), "quotation marks"),
        (format!("\"{none}"), "is no signed JWT"),
        (format!("Authorization: Bearer {jwt}"), "Authorization header"),
        (format!("authorization: {jwt}"), "Authorization header"),
        (format!("Bearer {jwt}"), "Authorization header"),
        (format!("bearer {jwt}"), "Authorization header"),
        (format!("BEARER\t{jwt}"), "control character"),
        (format!("jwt {jwt}"), "blank"),
        (format!("token={jwt}"), "is a whole line"),
        (format!("{jwt} {jwt}"), "blank"),
        (format!("{jwt}."), "is no signed JWT"),
        (format!("{jwt};"), "is no signed JWT"),
        (format!("{header}=.{claims}.c2ln"), "is no signed JWT"),
        (format!("{header}.{claims}.c2ln+/"), "is no signed JWT"),
        // The header is no JSON object, or names no algorithm.
        (format!("AAAA.{claims}.c2ln"), "is no signed JWT"),
        (format!(".{claims}.c2ln"), "is no signed JWT"),
        (format!("{}.{claims}.c2ln", part(&json!(["alg"]))), "is no signed JWT"),
        (format!("{}.{claims}.c2ln", part(&json!({ "typ": "JWT" }))), "is no signed JWT"),
        (format!("{header}.{}.c2ln", part(&json!("text"))), "is no signed JWT"),
        (none, "is an unsigned JWT"),
        (signed("None"), "is an unsigned JWT"),
        (signed(" none "), "is an unsigned JWT"),
        (format!("{header}.{claims}."), "is an unsigned JWT"),
        ("a.b.c.d.e".to_owned(), "is an encrypted JWT"),
    ];
    for (text, words) in cases {
        let problem = stored_assertion(text.as_bytes()).expect_err(&text);
        assert!(problem.contains(words), "{text}: {problem}");
        assert!(problem.contains("store"), "{text}: {problem}");
        assert!(!problem.contains(&claims[..8]), "{problem}");
    }
}
