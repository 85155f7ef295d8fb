use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::{
    fixtures::{NOW, at, secs},
    oauth::{AnswerContext, Class, LifetimeSource, RawAnswer, Refusal, Token, answer},
};

pub(super) fn raw(status: u16, content_type: &str, body: &[u8]) -> RawAnswer {
    RawAnswer {
        status,
        content_type: (!content_type.is_empty()).then(|| content_type.to_owned()),
        retry_after: None,
        challenge: None,
        date: None,
        body: body.to_vec(),
    }
}

pub(super) fn read(status: u16, content_type: &str, body: &[u8]) -> Result<Token, Refusal> {
    read_with(status, content_type, body, None)
}

pub(super) fn read_with(
    status: u16,
    content_type: &str,
    body: &[u8],
    assumed_lifetime: Option<SignedDuration>,
) -> Result<Token, Refusal> {
    answer(
        &raw(status, content_type, body),
        AnswerContext {
            sent: at(0),
            now: at(1),
            assumed_lifetime,
        },
    )
}

pub(super) fn json_token(body: &Value) -> Result<Token, Refusal> {
    read(200, "application/json", body.to_string().as_bytes())
}

pub(super) fn refused(result: Result<Token, Refusal>) -> Refusal {
    result.err().expect("a refusal")
}

/// A JWT with these claims; nobody looks at its signature.
pub(super) fn jwt(claims: &Value) -> String {
    let part = |v: &Value| URL_SAFE_NO_PAD.encode(v.to_string());
    format!("{}.{}.c2ln", part(&json!({ "alg": "RS256" })), part(claims))
}

#[test]
fn the_entra_v2_answer_becomes_a_token() {
    let jwt =
        jwt(&json!({ "iat": NOW - 300, "nbf": NOW - 300, "exp": NOW + 3600, "uti": "uTi-1_x" }));
    let token = json_token(&json!({
        "token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 7199, "access_token": jwt
    }))
    .unwrap();
    assert_eq!(token.secret.expose_secret(), jwt);
    assert_eq!((token.issued_at, token.expires_at), (at(0), at(3599)));
    assert_eq!(
        (token.lifetime_source, token.refresh_in),
        (LifetimeSource::ExpiresIn, None)
    );
    assert_eq!(
        (token.token_type.as_str(), token.id.as_deref()),
        ("Bearer", Some("uTi-1_x"))
    );
    assert_eq!((token.scope, token.correlation_id), (None, None));
}

#[test]
fn the_entra_v1_answer_with_its_strings_becomes_a_token() {
    let token = json_token(&json!({
        "token_type": "bearer", "expires_in": "86399", "ext_expires_in": "86399",
        "expires_on": (NOW + 86_399).to_string(), "not_before": NOW.to_string(),
        "resource": "https://api.example.com/", "access_token": "opaque", "refresh_in": "43199", "refresh_token": "",
    }))
    .unwrap();
    assert_eq!(token.expires_at, at(86_399));
    assert_eq!(token.refresh_in, Some(secs(43_199)));
    assert_eq!(token.token_type, "Bearer");
}

#[test]
fn a_good_answer_is_read_whatever_it_calls_itself() {
    let json = br#"{"access_token":"t","token_type":"BEARER","expires_in":60}"#;
    let bom = [b"\xef\xbb\xbf".as_slice(), json].concat();
    let spaced = [b" \r\n".as_slice(), json, b"\n"].concat();
    let form = b"access_token=t&token_type=bearer&expires_in=60&scope=a+b\n";
    #[rustfmt::skip]
    let cases: [(u16, &str, &[u8]); 11] = [
        (200, "application/json", json), (200, "application/json; charset=utf-8", json), (200, "text/plain", json),
        (200, "text/html", json), (200, "", json), (201, "application/json", json), (200, "application/json", &bom),
        (200, "application/json", &spaced), (200, "application/x-www-form-urlencoded; charset=utf-8", form),
        (200, "text/plain", form), (200, "application/json", br#"{"access_token":"old","access_token":"t","expires_in":60}"#),
    ];
    for (status, kind, body) in cases {
        let token = read(status, kind, body).unwrap_or_else(|r| panic!("{kind}: {}", r.message()));
        assert_eq!(
            (token.secret.expose_secret(), token.expires_at),
            ("t", at(60)),
            "{kind}"
        );
    }
}

#[test]
fn scope_and_refresh_in_are_kept_only_when_they_make_sense() {
    let of = |change: Value| {
        let mut body = json!({ "access_token": "t", "expires_in": 3600 });
        crate::fixtures::merge(&mut body, &change);
        let token = json_token(&body).unwrap();
        (token.scope, token.refresh_in)
    };
    assert_eq!(of(json!({ "scope": "a b" })).0.as_deref(), Some("a b"));
    for odd in [
        json!(""),
        json!("a\nb"),
        json!(["a"]),
        json!("x".repeat(5000)),
        json!("ü"),
    ] {
        assert_eq!(of(json!({ "scope": odd })).0, None);
    }
    assert_eq!(of(json!({ "refresh_in": 1800 })).1, Some(secs(1800)));
    assert_eq!(of(json!({ "refresh_in": "1800" })).1, Some(secs(1800)));
    for odd in [json!(0), json!(-5), json!("x"), json!(0.5)] {
        assert_eq!(of(json!({ "refresh_in": odd })).1, None);
    }
}

#[test]
fn a_token_that_no_workload_could_use_is_refused() {
    let of = |change: Value| {
        let mut body = json!({ "access_token": "t", "token_type": "Bearer", "expires_in": 3600 });
        crate::fixtures::merge(&mut body, &change);
        refused(json_token(&body))
    };
    for (change, class, reason) in [
        (
            json!({ "access_token": "two\nlines" }),
            Class::Transient,
            "MalformedAnswer",
        ),
        (
            json!({ "access_token": "t\r\nX-Injected: 1" }),
            Class::Transient,
            "MalformedAnswer",
        ),
        (
            json!({ "access_token": "t\u{0}" }),
            Class::Transient,
            "MalformedAnswer",
        ),
        (
            json!({ "access_token": "ünicode" }),
            Class::Transient,
            "MalformedAnswer",
        ),
        (
            json!({ "access_token": "" }),
            Class::Transient,
            "MalformedAnswer",
        ),
        (
            json!({ "access_token": null }),
            Class::Transient,
            "MalformedAnswer",
        ),
        (
            json!({ "access_token": { "a": 1 } }),
            Class::Transient,
            "MalformedAnswer",
        ),
        (
            json!({ "access_token": "x".repeat(256 * 1024 + 1) }),
            Class::Invalid,
            "TokenTooLarge",
        ),
        (
            json!({ "token_type": "DPoP" }),
            Class::Invalid,
            "TokenTypeNotSupported",
        ),
        (
            json!({ "token_type": "mac" }),
            Class::Invalid,
            "TokenTypeNotSupported",
        ),
        (
            json!({ "token_type": "N_A" }),
            Class::Invalid,
            "TokenTypeNotSupported",
        ),
        (
            json!({ "issued_token_type": "urn:ietf:params:oauth:token-type:refresh_token" }),
            Class::Invalid,
            "TokenTypeNotSupported",
        ),
    ] {
        let refusal = of(change);
        assert_eq!(
            (refusal.class, refusal.reason),
            (class, reason),
            "{}",
            refusal.message()
        );
    }
    assert!(
        json_token(&json!({ "access_token": "x".repeat(256 * 1024), "expires_in": 60 })).is_ok()
    );
}

#[test]
fn a_token_that_ended_while_its_answer_travelled_is_refused() {
    let context = AnswerContext {
        sent: at(0),
        now: at(100),
        assumed_lifetime: None,
    };
    let of = |life: i64| {
        let body = json!({ "access_token": "t", "expires_in": life }).to_string();
        answer(&raw(200, "application/json", body.as_bytes()), context).is_ok()
    };
    assert_eq!((of(99), of(100), of(101)), (false, false, true));
    let ages = AnswerContext {
        sent: Timestamp::MAX,
        now: Timestamp::MIN,
        assumed_lifetime: None,
    };
    let body = raw(
        200,
        "application/json",
        br#"{"access_token":"t","expires_in":3600}"#,
    );
    assert!(answer(&body, ages).is_ok(), "the end of time is no panic");
}
