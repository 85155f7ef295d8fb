//! Answers without a usable token: empty, broken off, or expired in transit.

use super::*;

#[test]
fn an_answer_that_is_none_is_named() {
    let of = |coding: Option<&str>, body: &[u8]| {
        let mut raw = raw(200, "application/json", body);
        raw.content_encoding = coding.map(str::to_owned);
        let context = AnswerContext {
            sent: at(0),
            now: at(1),
            assumed_lifetime: None,
        };
        refused(answer(&raw, context))
    };
    let (transient, invalid) = (Class::Transient, Class::Invalid);
    let gzip: &[u8] = b"\x1f\x8b\x08\0\0\0\0\0\0\x03";
    #[rustfmt::skip]
    let cases: [(Option<&str>, &[u8], Class, &str); 19] = [
        (None, b"{\"access_token\":\"not_supported\"}", invalid, "means no value"),
        (None, b"{\"access_token\":\"N/A\",\"token_type\":\"Bearer\"}", invalid, "means no value"),
        (None, b"{\"access_token\":\"Bearer null\"}", invalid, "access_token"),
        (Some("gzip"), gzip, invalid, "compressed with gzip"),
        (Some("identity, GZIP"), gzip, invalid, "compressed with gzip"),
        (None, gzip, invalid, "compressed with gzip"),
        (Some("br"), b"\x8b\x02\x80\x03", invalid, "compressed with br"),
        (Some("deflate"), b"\xab\x56\x4a", invalid, "compressed with deflate"),
        (Some("zstd"), b"\x28\xb5\x2f\xfd", invalid, "compressed with zstd"),
        (Some("s3cret~"), b"\x00", invalid, "compressed with an unknown coding"),
        (None, b"", transient, "is empty"),
        (None, b"<html>Sign in</html>", transient, "a web page"),
        (None, b"<?xml version=\"1.0\"?><ok/>", transient, "is XML"),
        (None, b"OK", transient, "is text"),
        (None, b"{}", transient, "without access_token"),
        (None, b"eyJhbGciOiJub25lIn0.e30.c2ln", invalid, "bare JWT"),
        (None, b"{\"access_token\":\"t\",\"expires_in\":1e}", invalid, "not valid JSON"),
        (None, b"{\"access_token\":\"opa", invalid, "is truncated JSON"),
        (None, b"[{\"access_token\":\"t\"}]", invalid, "is a JSON list"),
    ];
    for (coding, body, class, named) in cases {
        let token_error = of(coding, body);
        assert_eq!(
            token_error.class,
            class,
            "{named}: {}",
            token_error.message()
        );
        let page = named.contains("web page");
        let reason = if page {
            "WebPageReceived"
        } else {
            "MalformedAnswer"
        };
        assert_eq!(token_error.reason.as_str(), reason, "{named}");
        assert!(
            token_error.message().contains(named),
            "{named}: {}",
            token_error.message()
        );
    }
    // A number of any size is JSON, and does not matter in a field that is not read.
    for (body, note) in [
        (
            &br#"{"access_token":"t","expires_in":60,"odd":1e400}"#[..],
            "ExpiresIn",
        ),
        (
            br#"{"access_token":"t","expires_in":60,"odd":[{"n":-1e999}]}"#,
            "ExpiresIn",
        ),
        (br#"{"access_token":"t","expires_in":1e400}"#, "Unread"),
    ] {
        let context = AnswerContext {
            sent: at(0),
            now: at(1),
            assumed_lifetime: None,
        };
        let token = answer(&raw(200, "", body), context).ok().unwrap();
        assert_eq!(token.secret.expose_secret(), "t");
        let source = format!("{:?}", token.lifetime_source);
        assert!(source.starts_with(note), "{source}");
    }
    // A header without an encoded body has no effect.
    let mut lie = raw(200, "", br#"{"access_token":"t","expires_in":60}"#);
    lie.content_encoding = Some("gzip".to_owned());
    let context = AnswerContext {
        sent: at(0),
        now: at(1),
        assumed_lifetime: None,
    };
    assert!(answer(&lie, context).is_ok());
    let mut refused_one = raw(401, "", gzip);
    refused_one.content_encoding = Some("gzip".to_owned());
    let token_error = refused(answer(&refused_one, context));
    assert_eq!(token_error.reason.as_str(), "ClientRefused");
    assert!(token_error.message().contains("compressed with gzip"));
}

/// The class of an answer that begins with these bytes and does not end.
#[test]
fn an_answer_that_broke_off_is_not_requested_again_at_once() {
    let ended = || {
        let text = "the connection to a:443 ended before the whole answer arrived";
        let text = NextStep::new(text, Then::TryAgain);
        TokenError::local(Class::Transient, Reason::IssuerUnreachable, text).at(Stage::BrokenOff)
    };
    let late =
        || TokenError::local(Class::Transient, Reason::IssuerTimeout, "late").at(Stage::Timeout);
    let large = |part: &RawAnswer| crate::oauth::unread::too_large(part, "as.example.com");
    let json = "application/json";
    for (status, kind, body, lost) in [
        (200, json, "{\"access_token\":\"opa", true),
        (200, json, "{\"expires_in\":1", true),
        (200, json, "", true),
        (201, "text/plain", "access_token=op", true),
        (200, "", "", true),
        (200, "text/html", "", false),
        (200, "text/html; charset=utf-8", "<html><bo", false),
        (200, json, "<!doctype html><html", false),
        (200, "text/xml", "<?xml version=", false),
        (400, json, "{\"error\":\"invalid", false),
        (503, json, "", false),
    ] {
        let part = raw(status, kind, body.as_bytes());
        for token_error in [ended(), late()] {
            let (class, reason, stage) = (
                token_error.class,
                token_error.reason.as_str(),
                token_error.stage,
            );
            let reported = broken_off(&part, token_error);
            let message = reported.message();
            let expected = if lost {
                (Class::Invalid, "AnswerIncomplete", stage, Some(status))
            } else {
                (class, reason, stage, None)
            };
            let seen = (
                reported.class,
                reported.reason.as_str(),
                reported.stage,
                reported.http_status,
            );
            assert_eq!(seen, expected, "{status} {kind} {body}");
            assert_eq!(message.contains("lost with the answer"), lost, "{message}");
            assert!(!lost || !message.contains("tries again"), "{message}");
        }
        let reported = broken_off(&part, large(&part));
        let lost = lost && (body.starts_with('{') || body.contains("access_token"));
        let class = if lost {
            Class::Invalid
        } else {
            Class::Transient
        };
        assert_eq!(
            (reported.class, reported.reason.as_str()),
            (class, "AnswerTooLarge"),
            "{body}"
        );
    }
}

#[test]
fn a_token_that_expired_while_its_answer_travelled_is_refused() {
    let context = AnswerContext {
        sent: at(0),
        now: at(100),
        assumed_lifetime: None,
    };
    let of = |lifetime: i64| {
        let body = json!({ "access_token": "t", "expires_in": lifetime }).to_string();
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
