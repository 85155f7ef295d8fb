//! The earliest expiry that an answer states counts, by the issuer's clock.

use serde_json::{Value, json};

use super::answer::{jwt, raw};
use crate::{
    fixtures::{NOW, at, secs},
    oauth::{AnswerContext, RawAnswer, answer, uncertain},
};

/// The result of an answer: the lifetime and its note, or the reason and the text of a token error.
type Made = Result<(i64, String), (String, String)>;

/// An answer whose `Date` differs from our clock by `ahead`, and that was in a cache for `age`.
fn made(body: &Value, ahead: Option<i64>, age: Option<i64>) -> Made {
    let raw = RawAnswer {
        date: ahead.map(|ahead| at(ahead).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()),
        age: age.map(|age| age.to_string()),
        ..raw(200, "application/json", body.to_string().as_bytes())
    };
    let context = AnswerContext {
        sent: at(0),
        now: at(1),
        assumed_lifetime: Some(secs(7200)),
    };
    match answer(&raw, context) {
        Ok(token) => Ok((
            token.expires_at.duration_since(at(0)).as_secs(),
            token.lifetime_source.note(),
        )),
        Err(e) => Err((e.reason.as_str().to_owned(), e.message())),
    }
}

/// A JWT from `iat` to `exp`, counted from now, in an answer with this `expires_in`.
fn dated(iat: i64, exp: i64, expires_in: i64) -> Value {
    let token = jwt(&json!({ "iat": NOW + iat, "exp": NOW + exp }));
    json!({ "access_token": token, "expires_in": expires_in })
}

fn ends(body: &Value, ahead: Option<i64>, expected: (i64, &str)) {
    let seen = made(body, ahead, None);
    assert_eq!(
        seen,
        Ok((expected.0, expected.1.to_owned())),
        "{ahead:?} {body}"
    );
}

fn expired(body: &Value, ahead: Option<i64>, age: Option<i64>, expected: &str) {
    let (reason, message) = made(body, ahead, age).unwrap_err();
    assert_eq!(reason, "TokenExpired", "{ahead:?} {body}");
    assert!(message.contains(expected), "{message}");
}

#[test]
fn an_old_jwt_with_a_constant_expires_in_ends_at_its_exp() {
    for ahead in [None, Some(0), Some(1), Some(-20)] {
        ends(&dated(-3570, 30, 3600), ahead, (30, "Earlier exp 3600"));
        ends(&dated(-3300, 300, 3600), ahead, (300, "Earlier exp 3600"));
        expired(&dated(-4000, -100, 3600), ahead, None, "claim exp");
        expired(&dated(-4000, -1, 60), ahead, None, "claim exp");
        // Without `iat`.
        let token = jwt(&json!({ "exp": NOW + 30 }));
        let body = json!({ "access_token": token, "expires_in": 3600 });
        ends(&body, ahead, (30, "Earlier exp 3600"));
        // A token of a day has the shorter lifetime of the answer.
        ends(&dated(0, 86_400, 600), ahead, (600, "ExpiresIn"));
        ends(&dated(-300, 86_100, 3600), ahead, (3600, "ExpiresIn"));
        // The usual differences are not a contradiction.
        ends(&dated(0, 3600, 3600), ahead, (3600, "ExpiresIn"));
        ends(&dated(-300, 3600, 3599), ahead, (3599, "ExpiresIn"));
        ends(&dated(-300, 1200, 3600), ahead, (1200, "ExpiresIn"));
    }
    // If `Date` agrees with our clock, the expiry counts, whenever the token begins.
    ends(&dated(-600, 3000, 3600), Some(0), (3000, "ExpiresIn"));
    expired(&dated(-600, -1, 3600), Some(0), None, "claim exp");
    expired(&dated(-900, -300, 3600), Some(0), None, "claim exp");
}

#[test]
fn a_second_field_that_ends_earlier_counts() {
    let both = |expires_on: i64| json!({ "access_token": "t", "expires_in": 3600, "expires_on": NOW + expires_on });
    for ahead in [None, Some(0)] {
        ends(&both(60), ahead, (60, "Earlier expires_on 3600"));
        ends(&both(3000), ahead, (3000, "ExpiresOn"));
        ends(&both(3600), ahead, (3600, "ExpiresIn"));
        ends(&both(9999), ahead, (3600, "ExpiresIn"));
        expired(&both(-100), ahead, None, "(expires_on)");
        let two = json!({ "access_token": "t", "expires_in": 3600, "token_expires_in": 300, "expires_at": at(900).to_string() });
        ends(&two, ahead, (300, "ExpiresIn"));
        let days =
            json!({ "access_token": "t", "expires_on": NOW + 3600, "expires_at": NOW + 300 });
        ends(&days, ahead, (300, "ExpiresOn"));
    }
    // One that expired a moment ago, by a clock that may be wrong.
    let moment = json!({ "access_token": "t", "expires_in": 60, "expires_at": NOW - 60 });
    ends(&moment, None, (60, "ExpiresIn"));
    expired(&moment, Some(0), None, "(expires_at)");
}

#[test]
fn ends_are_measured_by_the_clock_that_they_were_written_by() {
    let until = |ends: i64| json!({ "access_token": "t", "expires_on": NOW + ends });
    for (ahead, end, left) in [
        (600, 4200, 3600),
        (-600, 3000, 3600),
        (-600, -300, 300),
        (3600, 7200, 3600),
        // A larger difference than usual, which nothing confirms: our clock counts.
        (-7200, 3600, 3600),
        (86_400, 3600, 3600),
    ] {
        ends(&until(end), Some(ahead), (left, "ExpiresOn"));
    }
    expired(&until(300), Some(600), None, "(expires_on)");
    // A token that begins at the `Date` confirms it, whatever the difference to our clock is.
    let year = 365 * 86_400;
    for ahead in [600, -600, 3601, -3601, year, -year] {
        let new = dated(ahead, ahead + 3600, 3600);
        ends(&new, Some(ahead), (3600, "ExpiresIn"));
        let short = dated(ahead - 300, ahead + 300, 3600);
        ends(&short, Some(ahead), (300, "ExpiresIn"));
        expired(
            &dated(ahead - 700, ahead - 100, 3600),
            Some(ahead),
            None,
            "claim exp",
        );
    }
}

#[test]
fn the_time_in_a_cache_is_over() {
    let opaque = json!({ "access_token": "t", "expires_in": 3600 });
    assert_eq!(
        made(&opaque, Some(-3000), Some(3000)),
        Ok((600, "ExpiresIn".to_owned()))
    );
    assert_eq!(
        made(&opaque, None, Some(3000)),
        Ok((600, "ExpiresIn".to_owned()))
    );
    expired(&opaque, Some(-3600), Some(3600), "in a cache for 3600 s");
    let old = dated(-3570, 30, 3600);
    assert_eq!(made(&old, Some(-3570), Some(3570)).unwrap().0, 30);
    expired(&dated(-4000, -100, 3600), Some(-4000), Some(4000), "cache");
    assert_eq!(made(&opaque, None, Some(-1)).unwrap().0, 3600);
}

#[test]
fn what_contradicts_itself_is_reported_with_both_statements() {
    let (reason, message) = uncertain("Earlier exp 3600", secs(30)).unwrap();
    assert_eq!(reason.as_str(), "LifetimeUnclear");
    for expected in ["valid for 1 h,", "exp it expires after 30 s", "cache"] {
        assert!(message.contains(expected), "{message}");
    }
}
