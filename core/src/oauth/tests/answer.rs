mod unusable;

use crate::Reason;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::{
    fixtures::{NOW, at, secs},
    oauth::{
        AnswerContext, Class, LifetimeSource, NextStep, RawAnswer, Stage, Then, Token, TokenError,
        answer, broken_off,
    },
};

pub(super) fn raw(status: u16, content_type: &str, body: &[u8]) -> RawAnswer {
    RawAnswer {
        content_type: (!content_type.is_empty()).then(|| content_type.to_owned()),
        ..RawAnswer::new(status, body.to_vec())
    }
}

pub(super) fn read(status: u16, content_type: &str, body: &[u8]) -> Result<Token, TokenError> {
    read_with(status, content_type, body, None)
}

pub(super) fn read_with(
    status: u16,
    content_type: &str,
    body: &[u8],
    assumed_lifetime: Option<SignedDuration>,
) -> Result<Token, TokenError> {
    answer(
        &raw(status, content_type, body),
        AnswerContext {
            sent: at(0),
            now: at(1),
            assumed_lifetime,
        },
    )
}

pub(super) fn json_token(body: &Value) -> Result<Token, TokenError> {
    read(200, "application/json", body.to_string().as_bytes())
}

pub(super) fn refused(result: Result<Token, TokenError>) -> TokenError {
    result.err().expect("a token error")
}

/// A JWT with these claims; its signature is never checked.
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
fn scope_and_refresh_in_are_used_only_when_they_make_sense() {
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
        json!(7),
        json!("x".repeat(5000)),
        json!("ü"),
    ] {
        assert_eq!(of(json!({ "scope": odd })).0, None);
    }
    // Twitch sends a list.
    assert_eq!(of(json!({ "scope": ["a", "b"] })).0.as_deref(), Some("a b"));
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
    let (transient, invalid) = (Class::Transient, Class::Invalid);
    let refresh = "urn:ietf:params:oauth:token-type:refresh_token";
    #[rustfmt::skip]
    let cases = [
        (json!({ "access_token": "two\nlines" }), invalid, "MalformedAnswer"),
        (json!({ "access_token": "t\r\nX-Injected: 1" }), invalid, "MalformedAnswer"),
        (json!({ "access_token": "t\u{0}" }), invalid, "MalformedAnswer"),
        (json!({ "access_token": "\u{fc}nicode" }), invalid, "MalformedAnswer"),
        (json!({ "access_token": { "a": 1 } }), invalid, "MalformedAnswer"),
        (json!({ "access_token": ["t"] }), invalid, "MalformedAnswer"),
        (json!({ "access_token": 1e30 }), invalid, "MalformedAnswer"),
        (json!({ "access_token": true }), invalid, "MalformedAnswer"),
        (json!({ "access_token": "x".repeat(256 * 1024 + 1) }), invalid, "TokenTooLarge"),
        (json!({ "issued_token_type": refresh }), invalid, "TokenTypeNotSupported"),
        (json!({ "error": "server_error" }), invalid, "MalformedAnswer"),
        (json!({ "error": "slow_down" }), invalid, "MalformedAnswer"),
        (json!({ "error": "invalid_scope" }), invalid, "InvalidScope"),
        (json!({ "access_token": null, "id_token": "t" }), invalid, "MalformedAnswer"),
        (json!({ "access_token": null, "refresh_token": "t" }), invalid, "MalformedAnswer"),
        (json!({ "access_token": null, "data": { "access_token": "t" } }), invalid, "MalformedAnswer"),
        // The answer contains no token.
        (json!({ "access_token": "" }), transient, "MalformedAnswer"),
        (json!({ "access_token": " " }), transient, "MalformedAnswer"),
        (json!({ "access_token": null }), transient, "MalformedAnswer"),
    ];
    for (change, class, reason) in cases {
        let token_error = of(change);
        assert_eq!(
            (token_error.class, token_error.reason.as_str()),
            (class, reason),
            "{}",
            token_error.message()
        );
    }
    assert!(
        json_token(&json!({ "access_token": "x".repeat(256 * 1024), "expires_in": 60 })).is_ok()
    );
}

#[test]
fn a_token_is_read_in_each_form_that_is_clear() {
    #[rustfmt::skip]
    let cases = [
        (json!({ "access_token": "t" }), "t"),
        (json!({ "access_token": " t\n" }), "t"),
        (json!({ "access_token": "Bearer t" }), "t"),
        (json!({ "access_token": "bearer  t" }), "t"),
        (json!({ "access_token": "Bearer" }), "Bearer"),
        (json!({ "access_token": 17 }), "17"),
        (json!({ "accessToken": "t" }), "t"),
        (json!({ "Access-Token": "t" }), "t"),
        (json!({ "access_token": "", "accessToken": "t" }), "t"),
        // Values that state no error, and fields that are not read.
        (json!({ "access_token": "t", "error": "" }), "t"),
        (json!({ "access_token": "t", "error": null, "error_description": null }), "t"),
        (json!({ "access_token": "t", "error": false, "errors": [] }), "t"),
        (json!({ "access_token": "t", "error": 0 }), "t"),
        (json!({ "access_token": "t", "error": {} }), "t"),
        (json!({ "access_token": "t", "errcode": 0, "errmsg": "ok" }), "t"),
        (json!({ "access_token": "t", "id_token": "i", "scope": null, "refresh_token": "" }), "t"),
    ];
    for (body, token) in cases {
        let read = json_token(&body).unwrap_or_else(|r| panic!("{body}: {}", r.message()));
        assert_eq!(read.secret.expose_secret(), token, "{body}");
    }
    let mut latin = br#"{"user_name":"Jos_","access_token":"t","expires_in":60}"#.to_vec();
    let at = latin.iter().position(|b| *b == b'_').unwrap();
    latin[at + 8] = 0xe9;
    assert!(read(200, "application/json", &latin).is_ok());
    let mut token = br#"{"access_token":"t_","expires_in":60}"#.to_vec();
    token[18] = 0xe9;
    let token_error = refused(read(200, "application/json", &token));
    assert_eq!(
        (token_error.class, token_error.reason.as_str()),
        (Class::Invalid, "MalformedAnswer"),
        "a token that is not exact"
    );
}

#[test]
fn a_form_is_read_whatever_its_order_and_content_type() {
    for body in [
        "access_token=t&token_type=bearer&expires_in=60",
        "token_type=bearer&expires_in=60&access_token=t",
        "expires_in=60&access_token=t\r\n",
        "?access_token=t&expires_in=60",
        "\u{feff}expires_in=60&access_token=%74",
    ] {
        for kind in [
            "application/x-www-form-urlencoded; charset=UTF-8",
            "Application/X-WWW-Form-Urlencoded",
            "text/plain",
            "text/html",
            "application/json",
            "application/octet-stream",
            "",
            ";;",
        ] {
            let token = read(200, kind, body.as_bytes());
            let token = token.unwrap_or_else(|r| panic!("{kind} {body}: {}", r.message()));
            assert_eq!(token.secret.expose_secret(), "t", "{kind} {body}");
            assert_eq!(token.expires_at, at(60), "{kind} {body}");
        }
    }
    // If it is declared as a form, it is read as one, whatever it contains.
    let form = "application/x-www-form-urlencoded";
    let body = b"note=a b&access_token=t&expires_in=60";
    assert!(read(200, form, body).is_ok());
    for (kind, body) in [
        (form, "error_description=nope&error=invalid_scope"),
        ("text/plain", "error_description=nope&error=invalid_scope"),
        ("", "state=x&error=invalid_scope"),
    ] {
        let token_error = refused(read(400, kind, body.as_bytes()));
        assert_eq!(token_error.reason.as_str(), "InvalidScope", "{kind} {body}");
    }
    for page in [
        "<a href=\"/?access_token=t&expires_in=60\">",
        "see access_token=t",
        "a=b&c=d",
    ] {
        let page_of = |kind| refused(read(200, kind, page.as_bytes())).reason.as_str();
        let html = page_of("text/html");
        assert!(
            ["WebPageReceived", "MalformedAnswer"].contains(&html),
            "{page}: {html}"
        );
        assert_eq!(page_of(""), "MalformedAnswer", "{page}");
    }
}
