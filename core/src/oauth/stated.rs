//! The fields of an answer that state the lifetime of a token, with their units.
//!
//! RFC 6749 section 5.1 defines `expires_in` in seconds. The other names and units are those of real servers.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use super::lifetime::LONGEST;
use crate::input::{duration, epoch, get, instant, instant_in_utc, number};

/// Names of a duration.
const DURATIONS: [&str; 4] = [
    "expires_in",
    "expire_in",
    "access_token_expires_in",
    "token_expires_in",
];
/// Names of a point in time: Entra v1 and managed identities, Go, ASP.NET, Google, IBM.
const TIMES: [&str; 10] = [
    "expires_on",
    "expires_at",
    ".expires",
    "expire_time",
    "expiry_date",
    "expiration_time",
    "expiration_date",
    "access_token_expires_at",
    "token_expires_at",
    "valid_until",
];
/// Names of either.
const EITHER: [&str; 4] = ["expires", "expiration", "expiry", "expire"];
/// Entra's managed identities send this one without a zone, in UTC.
const IN_UTC: &str = "expires_on";
/// Every Unix time of a token is larger, and every duration in seconds is smaller.
const FIRST_TIME: f64 = 1e8;
/// Units that servers use instead of seconds by mistake: milliseconds, microseconds, nanoseconds (`time.Duration` of Go).
const UNITS: [f64; 3] = [1e3, 1e6, 1e9];
/// Bounds of a usual lifetime, in seconds.
const USUAL: std::ops::RangeInclusive<f64> = 60.0..=31.0 * 86_400.0;

/// The statement of one field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Statement {
    /// The token is valid for this time.
    For(SignedDuration),
    /// The token is valid until then.
    Until(Timestamp),
    /// The token expired then.
    Past(Timestamp),
    /// Zero or less.
    Zero(i64),
    /// This number, which is not plausible in seconds and gives this lifetime in a smaller unit.
    OtherUnit(i64, SignedDuration),
    /// Longer than any token lifetime.
    TooLong,
    /// It cannot be read.
    Unread,
}

/// The statements of an answer about the lifetime, field by field, most trusted first.
pub(super) fn statements(
    answer: &Map<String, Value>,
    sent: Timestamp,
) -> Vec<(&'static str, Statement)> {
    let of = |names: &'static [&'static str], read: fn(&Value, &str, Timestamp) -> Statement| {
        let stated = move |name: &&'static str| {
            get(answer, name).map(|value| (*name, read(value, name, sent)))
        };
        names.iter().filter_map(stated)
    };
    let (durations, times) = (of(&DURATIONS, for_time), of(&TIMES, until));
    durations.chain(times).chain(of(&EITHER, either)).collect()
}

fn for_time(value: &Value, _: &str, sent: Timestamp) -> Statement {
    if let Some(number) = number(value) {
        return seconds(number, sent);
    }
    let text = value.as_str().unwrap_or_default();
    if let Some(span) = duration(text) {
        return match span.as_secs() {
            whole @ ..=0 => Statement::Zero(whole),
            _ if span > LONGEST => Statement::TooLong,
            _ => Statement::For(span),
        };
    }
    instant(text).map_or(Statement::Unread, |at| time(at, sent))
}

fn until(value: &Value, name: &str, sent: Timestamp) -> Statement {
    let stated = |number: f64| match epoch(number) {
        Some(at) => time(at, sent),
        None if number <= 0.0 => Statement::Zero(whole(number)),
        None => Statement::Unread,
    };
    if let Some(number) = number(value) {
        return stated(number);
    }
    let text = value.as_str().unwrap_or_default();
    let read = if name == IN_UTC && text.contains(':') {
        instant_in_utc(text)
    } else {
        instant(text)
    };
    read.map_or(Statement::Unread, |at| time(at, sent))
}

fn either(value: &Value, name: &str, sent: Timestamp) -> Statement {
    match number(value) {
        Some(number) if number < FIRST_TIME => seconds(number, sent),
        Some(_) => until(value, name, sent),
        None => for_time(value, name, sent),
    }
}

fn time(at: Timestamp, sent: Timestamp) -> Statement {
    let left = at.duration_since(sent);
    if left > LONGEST {
        Statement::TooLong
    } else if left.is_positive() {
        Statement::Until(at)
    } else {
        Statement::Past(at)
    }
}

/// A number without a unit in a field with seconds.
fn seconds(number: f64, sent: Timestamp) -> Statement {
    let stated = whole(number);
    if stated <= 0 {
        return Statement::Zero(stated);
    }
    // Some servers send the expiry time here, and the size of the number shows it.
    if let Some(Statement::Until(at)) = epoch(number).map(|at| time(at, sent)) {
        return Statement::Until(at);
    }
    if number <= LONGEST.as_secs_f64() && !looks_like_milliseconds(stated) {
        return Statement::For(SignedDuration::from_secs(stated));
    }
    let other = UNITS.iter().map(|unit| number / unit);
    match other.into_iter().find(|span| USUAL.contains(span)) {
        Some(span) => Statement::OtherUnit(stated, SignedDuration::from_secs(whole(span))),
        None => Statement::TooLong,
    }
}

/// Usual lifetimes in milliseconds: 15 minutes to one day.
const USUAL_MILLISECONDS: [i64; 9] = [
    900_000, 1_800_000, 3_600_000, 7_200_000, 10_800_000, 21_600_000, 28_800_000, 43_200_000,
    86_400_000,
];

/// Three days or more, and whole thousands that are not whole days: 3,600,000 rather than 3600 or 2,592,000. A number that is
/// both whole days and whole 5 minutes in milliseconds is three hours (125 days) or six (250 days). A server that counts down
/// may be less than a second below a usual lifetime: 3,599,946.
fn looks_like_milliseconds(stated: i64) -> bool {
    let rounded = stated + (1000 - stated % 1000) % 1000;
    let whole = rounded == stated && (stated % 86_400 != 0 || stated % 300_000 == 0);
    stated >= 300_000 && (whole || USUAL_MILLISECONDS.contains(&rounded))
}

fn whole(number: f64) -> i64 {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a cast of a float saturates"
    )]
    let whole = number.trunc() as i64;
    whole
}
