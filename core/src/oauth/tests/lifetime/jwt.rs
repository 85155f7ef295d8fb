//! The claims of a token only ever shorten a lifetime.

use super::*;
use crate::{
    fixtures::credential_with,
    oauth::{AnswerContext, RawAnswer, Token, answer, end_after_fields},
};

#[test]
fn a_jwt_only_ever_shortens_a_lifetime_and_needs_no_common_clock() {
    let lifetime = |claims: Value, expires_in: Value| {
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
    let from_expires_in = LifetimeSource::ExpiresIn;
    assert_eq!(
        lifetime(json!({ "iat": NOW, "exp": NOW + 600 }), json!(3600)),
        Some((600, from_expires_in))
    );
    assert_eq!(
        lifetime(json!({ "iat": NOW, "exp": NOW + 9999 }), json!(3600)),
        Some((3600, from_expires_in))
    );
    // An issuer whose clock is ten minutes ahead or behind.
    assert_eq!(
        lifetime(json!({ "iat": NOW + 600, "exp": NOW + 4200 }), json!(3600)),
        Some((3600, from_expires_in))
    );
    assert_eq!(
        lifetime(json!({ "iat": NOW - 600, "exp": NOW + 3000 }), json!(3600)),
        Some((3600, from_expires_in))
    );
    // A backdated token, as of Entra ID, is valid only for the time until its expiry.
    assert_eq!(
        lifetime(json!({ "iat": NOW - 300, "exp": NOW + 1200 }), Value::Null),
        Some((1200, LifetimeSource::Jwt))
    );
    assert_eq!(
        lifetime(json!({ "iat": NOW - 300, "exp": NOW + 1200 }), json!(3600)),
        Some((1200, from_expires_in))
    );
    // By our clock it has expired: that shows nothing, but its lifetime does.
    assert_eq!(
        lifetime(json!({ "iat": NOW - 900, "exp": NOW - 300 }), json!(3600)),
        Some((600, from_expires_in))
    );
    // Nothing in the answer: the token's own expiry.
    assert_eq!(
        lifetime(json!({ "iat": NOW, "exp": NOW + 1200 }), Value::Null),
        Some((1200, LifetimeSource::Jwt))
    );
    assert_eq!(
        lifetime(json!({ "exp": NOW + 1200 }), Value::Null),
        Some((1200, LifetimeSource::Jwt))
    );
    assert_eq!(lifetime(json!({ "exp": NOW - 1 }), Value::Null), None);
    assert_eq!(
        lifetime(json!({ "iat": NOW, "exp": NOW }), json!(3600)),
        None,
        "it lives no second"
    );
    assert_eq!(
        lifetime(json!({ "exp": "x" }), json!(3600)),
        Some((3600, from_expires_in))
    );
    assert_eq!(
        lifetime(json!({ "exp": 1e300, "iat": -1e300 }), json!(3600)),
        Some((3600, from_expires_in))
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

/// An answer with an access token of a day and an `id_token` from `iat` to `exp`, counted from now; its `Date` differs by `ahead`.
fn with_id_token(claims: &Value, ahead: Option<i64>) -> Token {
    let body = json!({ "access_token": "t", "expires_in": 86_400, "id_token": jwt(claims), "note": "a.b.c" });
    let raw = RawAnswer {
        date: ahead.map(|ahead| at(ahead).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()),
        ..raw(200, "application/json", body.to_string().as_bytes())
    };
    let context = AnswerContext {
        sent: at(0),
        now: at(1),
        assumed_lifetime: None,
    };
    answer(&raw, context).ok().unwrap()
}

#[test]
fn a_published_jwt_that_ends_before_the_access_token_ends_the_token() {
    let keys = |keys: Value| {
        credential_with(&json!({ "target": { "keys": keys } }))
            .target
            .keys
    };
    let field = |name: &str| json!({ "format": "AnswerField", "field": name, "key": name });
    let both = keys(json!([{ "format": "Token" }, field("id_token"), field("note")]));
    let none = keys(json!([{ "format": "Token" }, field("note")]));
    for (claims, ahead, end) in [
        (json!({ "iat": NOW, "exp": NOW + 60 }), None, Some(60)),
        (json!({ "iat": NOW, "exp": NOW + 60 }), Some(0), Some(60)),
        // Without iat, by the issuer's clock.
        (json!({ "exp": NOW + 60 }), Some(0), Some(60)),
        (json!({ "exp": NOW + 400 }), Some(300), Some(100)),
        // A clock that is wrong does not shorten it.
        (
            json!({ "iat": NOW + 300, "exp": NOW + 360 }),
            None,
            Some(60),
        ),
        (
            json!({ "iat": NOW - 300, "exp": NOW - 240 }),
            None,
            Some(60),
        ),
        // Some seconds count too: the same guards apply as to a short access token.
        (json!({ "iat": NOW, "exp": NOW + 3 }), Some(0), Some(3)),
        // It ends with the access token, or after it, or has no end.
        (json!({ "iat": NOW, "exp": NOW + 86_400 }), Some(0), None),
        (json!({ "iat": NOW, "exp": NOW + 90_000 }), Some(0), None),
        (json!({ "iat": NOW }), Some(0), None),
        (json!({ "exp": "never" }), Some(0), None),
        // One that has expired is never published.
        (
            json!({ "iat": NOW - 7200, "exp": NOW - 3600 }),
            Some(0),
            None,
        ),
    ] {
        let token = with_id_token(&claims, ahead);
        assert_eq!(token.expires_at, at(86_400), "{claims}");
        let limited = token.limited_by(&both);
        let seen = limited.as_ref().map(|t| t.expires_at);
        assert_eq!(seen, end.map(at), "{claims} {ahead:?}");
        assert_eq!(token.end_with(&both), at(end.unwrap_or(86_400)), "{claims}");
        assert_eq!(token.end_with(&none), at(86_400), "{claims}");
        if let Some(limited) = limited {
            let note = limited.lifetime_source.note();
            assert_eq!(note, format!("AnswerField {}", at(86_400)));
            assert_eq!(end_after_fields(&note), Some(at(86_400)));
            assert_eq!(limited.secret.expose_secret(), "t");
        }
        assert!(token.limited_by(&none).is_none(), "it is not published");
    }
    // What is reported about the issuer's answer stays.
    let mut guessed = with_id_token(&json!({ "iat": NOW, "exp": NOW + 60 }), None);
    guessed.lifetime_source = LifetimeSource::Guessed;
    let limited = guessed.limited_by(&both).unwrap();
    assert_eq!(limited.lifetime_source, LifetimeSource::Guessed);
}
