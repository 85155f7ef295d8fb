//! Dates at the limits of their range: "never", and clocks that differ.

use std::time::Duration;

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, date_time_ymd};
use serde_json::{Value, json};

use super::answer::{json_token, jwt, raw, refused};
use crate::{
    fixtures::{NOW, at},
    oauth::{AnswerContext, RawAnswer, TokenError, answer, keys::Identity, lifetime::LONGEST},
};

/// The last second of year 9999: "never" in .NET, Java and many databases.
const NEVER: i64 = 253_402_300_799;

fn left(body: &Value) -> (i64, String) {
    let token = json_token(body).unwrap_or_else(|problem| panic!("{body}: {problem:?}"));
    (
        token.expires_at.duration_since(at(0)).as_secs(),
        token.lifetime_source.note(),
    )
}

#[test]
fn a_token_that_never_expires_is_taken_and_its_lifetime_is_cut() {
    let year = LONGEST.as_secs();
    // Seconds, milliseconds, microseconds and nanoseconds.
    for never in [
        json!(NEVER),
        json!(NEVER.to_string()),
        json!(NEVER * 1000),
        json!(NEVER * 1_000_000),
        json!(253_402_300_799e9),
        json!("9999-12-31T23:59:59Z"),
        json!("9999-12-31 23:59:59"),
        json!("Fri, 31 Dec 9999 23:59:59 GMT"),
    ] {
        let token = jwt(&json!({ "iat": NOW, "exp": never }));
        if never.is_number() {
            let stated =
                json!({ "access_token": token, "token_type": "Bearer", "expires_in": 3600 });
            assert_eq!(left(&stated), (3600, "ExpiresIn".to_owned()), "{never}");
            let alone = json!({ "access_token": token, "token_type": "Bearer" });
            assert_eq!(left(&alone).0, year, "{never}");
        }
        for field in ["expires_at", "expires_on"] {
            let opaque = json!({ "access_token": "t", "token_type": "Bearer", field: never });
            // A time without a zone is accepted in only one field.
            let zoneless = never == json!("9999-12-31 23:59:59") && field == "expires_at";
            if !zoneless {
                assert_eq!(left(&opaque), (year, format!("TooLong {field}")), "{never}");
            }
        }
    }
    // The present time in each unit does not change.
    for now in [
        json!(NOW + 600),
        json!((NOW + 600) * 1000),
        json!((NOW + 600) * 1_000_000),
        json!((NOW + 600) * 1_000_000_000),
    ] {
        let body = json!({ "access_token": "t", "token_type": "Bearer", "expires_at": now });
        assert_eq!(left(&body), (600, "ExpiresOn".to_owned()), "{now}");
    }
    // A time in the past is still in the past.
    for past in [
        json!(NOW - 60),
        json!((NOW - 60) * 1000),
        json!(1_000_000_001_000_i64),
    ] {
        let body = json!({ "access_token": "t", "token_type": "Bearer", "expires_at": past });
        let problem = refused(json_token(&body)).message();
        assert!(problem.contains("expires_at"), "{past}: {problem}");
    }
}

#[test]
fn a_certificate_without_an_end_is_used() {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let last = |year, month, day| {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.not_before = date_time_ymd(1950, 1, 1);
        params.not_after = date_time_ymd(year, month, day);
        let pem = params.self_signed(&key).unwrap().pem();
        let identity = Identity::from_pem(&pem, &key.serialize_pem());
        let identity = identity.unwrap_or_else(|problem| panic!("{year}: {problem}"));
        identity.validity().unwrap().until.to_string()
    };
    assert_eq!(last(2049, 1, 2), "2049-01-02T00:00:00Z");
    assert_eq!(last(9999, 12, 30), "9999-12-30T00:00:00Z");
    // RFC 5280 section 4.1.2.5: no expiry. It is shown as the last second that can be represented.
    assert_eq!(last(9999, 12, 31), "9999-12-30T22:00:00Z");
}

fn busy(retry_after: &str, date: Option<&str>) -> Option<Duration> {
    let answer_ = RawAnswer {
        retry_after: Some(retry_after.to_owned()),
        date: date.map(str::to_owned),
        ..raw(429, "", b"")
    };
    let context = AnswerContext {
        sent: at(0),
        now: at(0),
        assumed_lifetime: None,
    };
    let problem: TokenError = answer(&answer_, context).err().unwrap();
    problem.retry_after
}

#[test]
fn a_date_in_retry_after_is_compared_with_the_date_of_its_answer() {
    let http = |seconds: i64| {
        at(seconds)
            .strftime("%a, %d %b %Y %H:%M:%S GMT")
            .to_string()
    };
    #[rustfmt::skip]
    let cases = [
        // The clock of the issuer is an hour behind, or ahead.
        (http(-3600 + 120), Some(http(-3600)), Some(120)),
        (http(3600 + 120), Some(http(3600)), Some(120)),
        // Without a readable Date, our clock counts.
        (http(120), None, Some(120)),
        (http(120), Some("today".to_owned()), Some(120)),
        // Never longer than an hour, and never negative.
        (http(100_000), Some(http(-100_000)), Some(3600)),
        (http(-60), Some(http(0)), Some(0)),
        ("Fri, 31 Dec 9999 23:59:59 GMT".to_owned(), Some(http(0)), Some(3600)),
        // Seconds do not depend on a clock.
        ("77".to_owned(), Some(http(-3600)), Some(77)),
        ("soon".to_owned(), Some(http(0)), None),
    ];
    for (value, date, expected) in cases {
        let seen = busy(&value, date.as_deref());
        assert_eq!(seen, expected.map(Duration::from_secs), "{value} {date:?}");
    }
}
