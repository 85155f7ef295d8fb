//! A client assertion from a Secret: only a signed JWT, without surrounding text.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use url::Url;

use crate::{
    credential::{Issuer, IssuerLookup, SecretStyle, parse},
    fixtures::{NOW, at, cluster_issuer, object},
    oauth::{Material, RequestContext, TokenEndpoint, TokenRequest, request, stored_assertion},
};

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

/// Programs replace it every few minutes.
#[test]
fn another_jwt_does_not_count_as_another_client_authentication() {
    let input = |jwt: &str| {
        let material = Material::Stored(SecretString::from(jwt));
        material.fingerprint_input().to_owned()
    };
    assert_eq!(input(&signed("RS256")), input(&signed("ES256")));
}

#[test]
fn what_is_around_a_jwt_is_refused_with_the_fix() {
    let (jwt, none) = (signed("RS256"), signed("none"));
    let (header, claims) = (part(&json!({ "alg": "RS256" })), part(&json!({ "exp": 1 })));
    #[rustfmt::skip]
    let cases = [
        (json!({ "token": jwt }).to_string(), "is a JSON object; store only the value of its field token"),
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
        // The header is not a JSON object, or has no algorithm.
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
    for (text, expected) in cases {
        let problem = stored_assertion(text.as_bytes()).expect_err(&text);
        assert!(problem.contains(expected), "{text}: {problem}");
        assert!(problem.contains("store"), "{text}: {problem}");
        assert!(!problem.contains(&claims[..8]), "{problem}");
    }
}

/// The request of a grant with this value in its Secret.
fn granted(on_behalf_of: bool, stored: &str) -> Result<TokenRequest, String> {
    let url = "https://as.example.com/token";
    let issuer = if on_behalf_of {
        json!({ "entra": { "tenantId": "contoso.example" }, "allowedNamespaces": { "selector": {} } })
    } else {
        json!({ "oauth2": { "tokenUrl": url }, "allowedNamespaces": { "selector": {} } })
    };
    let issuer = Issuer::cluster(&cluster_issuer(&issuer)).unwrap();
    let grant = if on_behalf_of {
        "onBehalfOf"
    } else {
        "jwtBearer"
    };
    let change = json!({ "grant": { grant: { "assertionRef": { "name": "a", "key": "k" } } } });
    let credential = parse(&object(&change), |_| IssuerLookup::Found(issuer)).unwrap();
    let endpoint = TokenEndpoint::bare(Url::parse(url).unwrap(), SecretStyle::BasicForm);
    let moment = RequestContext {
        now: at(0),
        request_id: "r",
        assertion_id: "a",
    };
    let client = Material::Secret(SecretString::from("s"));
    let inputs = [SecretString::from(stored)];
    request(&credential, &endpoint, &client, &inputs, moment).map_err(|e| e.message())
}

#[test]
fn an_assertion_of_a_grant_has_nothing_around_it() {
    let jwt = signed("RS256");
    for on_behalf_of in [false, true] {
        for (stored, expected) in [
            (json!({ "token": jwt }).to_string(), "its field token"),
            (format!("\"{jwt}\""), "quotation marks"),
            (format!("bearer {jwt}"), "Authorization header"),
            (
                format!("Authorization: Bearer {jwt}"),
                "Authorization header",
            ),
        ] {
            let problem = granted(on_behalf_of, &stored).err().expect(&stored);
            assert!(problem.contains(expected), "{problem}");
            assert!(problem.contains("key k of Secret a"), "{problem}");
        }
        // The issuer decides whether it is accepted.
        for stored in [&*jwt, "a.b.c.d.e", "opaque"] {
            let body = granted(on_behalf_of, stored).ok().unwrap().body;
            assert!(
                body.expose_secret()
                    .contains(&format!("assertion={stored}"))
            );
        }
    }
}
