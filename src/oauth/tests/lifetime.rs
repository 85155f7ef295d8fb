use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::answer::{json_token, jwt, read, read_with, refused};
use crate::{
    fixtures::{NOW, at, secs},
    oauth::{Class, LifetimeSource},
};

#[test]
fn expires_in_is_read_in_every_form_seen() {
    #[rustfmt::skip]
    let cases = [
        ("3600", Some(3600)), ("\"3600\"", Some(3600)), ("\" 3600 \"", Some(3600)), ("3600.9", Some(3600)),
        ("\"3600.5\"", Some(3600)), ("3.6e3", Some(3600)), ("1", None /* ended while its answer travelled */), ("2", Some(2)),
        // What has ended already is no token.
        ("0", None), ("-1", None), ("\"0\"", None), ("0.9", None), ("-1e300", None), ("-9223372036854775808", None),
        // Nobody's token lives for ten years, nor for ever.
        ("315360000", Some(31_622_400)), ("1e300", Some(31_622_400)), ("18446744073709551615", Some(31_622_400)),
        ("\"1e300\"", Some(31_622_400)),
        // What is no number is no word about the life: a guess.
        ("null", Some(900)), ("\"\"", Some(900)), ("\"soon\"", Some(900)), ("\"NaN\"", Some(900)), ("\"inf\"", Some(900)),
        ("\"1e400\"", Some(900)), ("[]", Some(900)), ("{}", Some(900)), ("true", Some(900)),
    ];
    for (text, life) in cases {
        let body = format!(r#"{{"access_token":"t","token_type":"Bearer","expires_in":{text}}}"#);
        match (read(200, "application/json", body.as_bytes()), life) {
            (Ok(token), Some(life)) => assert_eq!(token.expires_at, at(life), "{text}"),
            (Err(refusal), None) => assert_eq!(refusal.reason, "MalformedAnswer", "{text}"),
            (Ok(token), None) => panic!("{text}: a token until {}", token.expires_at),
            (Err(refusal), Some(_)) => panic!("{text}: {}", refusal.message()),
        }
    }
    // A number that no float holds makes the whole document unreadable.
    let body = br#"{"access_token":"t","expires_in":1e400}"#;
    assert_eq!(
        refused(read(200, "application/json", body)).class,
        Class::Transient
    );
}

#[test]
fn expires_on_is_read_in_every_form_seen() {
    let end = at(3600);
    let civil = |format: &str| {
        json!(
            end.to_zoned(jiff::tz::TimeZone::UTC)
                .strftime(format)
                .to_string()
        )
    };
    for text in [
        json!(NOW + 3600),
        json!((NOW + 3600).to_string()),
        json!(end.to_string()),
        civil("%m/%d/%Y %H:%M:%S"),
        civil("%m/%d/%Y %H:%M:%S +00:00"),
        civil("%Y-%m-%d %H:%M:%S"),
        civil("%Y-%m-%dT%H:%M:%S+00:00"),
    ] {
        let token = json_token(&json!({ "access_token": "t", "expires_on": text })).unwrap();
        assert_eq!(
            (token.expires_at, token.lifetime_source),
            (end, LifetimeSource::ExpiresOn),
            "{text}"
        );
    }
    for garbage in [json!("tomorrow"), json!(null), json!("99/99/9999 99:99:99")] {
        let token = json_token(&json!({ "access_token": "t", "expires_on": garbage })).unwrap();
        assert_eq!(token.lifetime_source, LifetimeSource::Guessed, "{garbage}");
    }
    assert!(json_token(&json!({ "access_token": "t", "expires_on": NOW - 1 })).is_err());
    let both = json!({ "access_token": "t", "expires_in": 600, "expires_on": NOW + 3600 });
    assert_eq!(
        json_token(&both).unwrap().expires_at,
        at(600),
        "the difference needs no common clock"
    );
}

#[test]
fn a_jwt_only_ever_shortens_a_life_and_needs_no_common_clock() {
    let life = |claims: Value, expires_in: Value| {
        let body = json!({ "access_token": jwt(&claims), "expires_in": expires_in });
        json_token(&body)
            .map(|t| {
                (
                    t.expires_at.duration_since(at(0)).as_secs(),
                    t.lifetime_source,
                )
            })
            .ok()
    };
    let says = LifetimeSource::ExpiresIn;
    assert_eq!(
        life(json!({ "iat": NOW, "exp": NOW + 600 }), json!(3600)),
        Some((600, says))
    );
    assert_eq!(
        life(json!({ "iat": NOW, "exp": NOW + 9999 }), json!(3600)),
        Some((3600, says))
    );
    // An issuer whose clock is ten minutes ahead or behind.
    assert_eq!(
        life(json!({ "iat": NOW + 600, "exp": NOW + 4200 }), json!(3600)),
        Some((3600, says))
    );
    assert_eq!(
        life(json!({ "iat": NOW - 600, "exp": NOW + 3000 }), json!(3600)),
        Some((3600, says))
    );
    // A token that was backdated, as Entra does it, has no more than what is left until its end.
    assert_eq!(
        life(json!({ "iat": NOW - 300, "exp": NOW + 1200 }), Value::Null),
        Some((1200, LifetimeSource::Jwt))
    );
    assert_eq!(
        life(json!({ "iat": NOW - 300, "exp": NOW + 1200 }), json!(3600)),
        Some((1200, says))
    );
    // Our clock is past its end: it tells nothing, the life does.
    assert_eq!(
        life(json!({ "iat": NOW - 900, "exp": NOW - 300 }), json!(3600)),
        Some((600, says))
    );
    // No word of the answer: the token's own.
    assert_eq!(
        life(json!({ "iat": NOW, "exp": NOW + 1200 }), Value::Null),
        Some((1200, LifetimeSource::Jwt))
    );
    assert_eq!(
        life(json!({ "exp": NOW + 1200 }), Value::Null),
        Some((1200, LifetimeSource::Jwt))
    );
    assert_eq!(life(json!({ "exp": NOW - 1 }), Value::Null), None);
    assert_eq!(
        life(json!({ "iat": NOW, "exp": NOW }), json!(3600)),
        None,
        "it lives no second"
    );
    assert_eq!(life(json!({ "exp": "x" }), json!(3600)), Some((3600, says)));
    assert_eq!(
        life(json!({ "exp": 1e300, "iat": -1e300 }), json!(3600)),
        Some((3600, says))
    );
}

#[test]
fn opaque_tokens_and_what_only_looks_like_a_jwt_are_left_alone() {
    let huge_jwt = format!(
        "{}.{}",
        jwt(&json!({ "iat": NOW, "exp": NOW + 60 })),
        "x".repeat(70_000)
    );
    for text in [
        "opaque",
        "a.b",
        "a.b.c",
        "a.b.c.d.e",
        "....",
        "..",
        "a.!!!.c",
        "a.bm90IGpzb24.c",
        huge_jwt.as_str(),
    ] {
        let token = json_token(&json!({ "access_token": text, "expires_in": 3600 })).unwrap();
        assert_eq!(
            (token.expires_at, token.id),
            (at(3600), None),
            "{}",
            &text[..text.len().min(30)]
        );
        assert_eq!(token.secret.expose_secret(), text);
    }
    let odd_id = jwt(&json!({ "jti": "id with spaces\n" }));
    assert_eq!(
        json_token(&json!({ "access_token": odd_id })).unwrap().id,
        None
    );
}

#[test]
fn a_life_that_nobody_tells_is_the_issuers_setting_or_a_quarter_hour() {
    let body = br#"{"access_token":"t"}"#;
    let told = read_with(200, "application/json", body, Some(secs(7200))).unwrap();
    assert_eq!(
        (told.expires_at, told.lifetime_source),
        (at(7200), LifetimeSource::Assumed)
    );
    let guessed = read(200, "application/json", body).unwrap();
    assert_eq!(
        (guessed.expires_at, guessed.lifetime_source),
        (at(900), LifetimeSource::Guessed)
    );
}
