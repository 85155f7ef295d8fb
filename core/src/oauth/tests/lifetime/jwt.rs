//! The claims of a token only ever shorten a lifetime.

use super::*;

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
    let says = LifetimeSource::ExpiresIn;
    assert_eq!(
        lifetime(json!({ "iat": NOW, "exp": NOW + 600 }), json!(3600)),
        Some((600, says))
    );
    assert_eq!(
        lifetime(json!({ "iat": NOW, "exp": NOW + 9999 }), json!(3600)),
        Some((3600, says))
    );
    // An issuer whose clock is ten minutes ahead or behind.
    assert_eq!(
        lifetime(json!({ "iat": NOW + 600, "exp": NOW + 4200 }), json!(3600)),
        Some((3600, says))
    );
    assert_eq!(
        lifetime(json!({ "iat": NOW - 600, "exp": NOW + 3000 }), json!(3600)),
        Some((3600, says))
    );
    // A backdated token, as of Entra ID, is valid only for the time until its expiry.
    assert_eq!(
        lifetime(json!({ "iat": NOW - 300, "exp": NOW + 1200 }), Value::Null),
        Some((1200, LifetimeSource::Jwt))
    );
    assert_eq!(
        lifetime(json!({ "iat": NOW - 300, "exp": NOW + 1200 }), json!(3600)),
        Some((1200, says))
    );
    // By our clock it has expired: that shows nothing, but its lifetime does.
    assert_eq!(
        lifetime(json!({ "iat": NOW - 900, "exp": NOW - 300 }), json!(3600)),
        Some((600, says))
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
        Some((3600, says))
    );
    assert_eq!(
        lifetime(json!({ "exp": 1e300, "iat": -1e300 }), json!(3600)),
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
