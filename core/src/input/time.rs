//! Times and durations, in the forms that servers and users write.

use jiff::{
    SignedDuration, Span, SpanRelativeTo, Timestamp,
    civil::{Date, DateTime, Time},
    tz::TimeZone,
};
use serde_json::Value;

use super::number;

/// Times with a zone, in addition to RFC 3339 and RFC 5322: RFC 9110 section 5.6.7 with its obsolete forms, and the formats
/// that programming languages print. The name of the zone, UTC or GMT, is removed before.
const IN_UTC: [&str; 4] = [
    "%A, %d-%b-%y %H:%M:%S",
    "%a %b %d %H:%M:%S %Y",
    "%a, %d %b %Y %H:%M:%S",
    // openssl
    "%b %d %H:%M:%S %Y",
];
/// Times without a zone. The first two were seen at managed identity endpoints (facts, section 1.3).
const WITHOUT_ZONE: [&str; 5] = [
    "%m/%d/%Y %H:%M:%S",
    "%m/%d/%Y %I:%M:%S %p",
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%d %H:%M",
    "%Y/%m/%d %H:%M:%S",
];
/// Days. The order of day and month must be clear.
const DAYS: [&str; 9] = [
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%Y%m%d",
    "%d.%m.%Y",
    "%d %b %Y",
    "%d-%b-%Y",
    "%d %B %Y",
    "%b %d, %Y",
    "%B %d, %Y",
];

/// A point in time as a number since 1970: seconds, milliseconds, microseconds or nanoseconds, the largest unit that gives a
/// date after September 2001; seconds from 1973 on. So the end of the year 9999, which means "never", is the same in each unit.
pub fn epoch(number: f64) -> Option<Timestamp> {
    let per_second = match number {
        1e8..1e12 => 1.0,
        1e12..1e15 => 1e3,
        1e15..1e18 => 1e6,
        1e18..1e21 => 1e9,
        _ => return None,
    };
    Some(at_second(whole(number / per_second)))
}

/// The point in time at this second since 1970, or the first or last one that can be represented: 9999-12-30T22:00:00Z.
pub fn at_second(second: i64) -> Timestamp {
    let (first, last) = (Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
    Timestamp::from_second(second.clamp(first, last)).unwrap_or(Timestamp::MAX)
}

/// An HTTP date (RFC 9110 section 5.6.7).
pub fn http_date(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(at) = jiff::fmt::rfc2822::parse(text) {
        return Some(at.timestamp());
    }
    civil(&without_zone(text)?, &IN_UTC)
}

/// A point in time with its zone: RFC 3339, an HTTP date, or a number (see [`epoch`]).
pub fn instant(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(number) = text.parse::<f64>() {
        return epoch(number);
    }
    if let Some(number) = text
        .strip_prefix("/Date(")
        .and_then(|t| t.strip_suffix(")/"))
    {
        return epoch(number.parse().ok()?);
    }
    if let Ok(at) = text.parse() {
        return Some(at);
    }
    // "Never" of .NET and Java, one day after the last day that jiff has.
    if text.starts_with("9999-12-31") {
        return Some(Timestamp::MAX);
    }
    http_date(text).or_else(|| in_utc(&without_zone(text)?))
}

/// A point in time, in UTC if the text has no zone. A day means its first moment.
pub fn instant_in_utc(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    instant(text)
        .or_else(|| in_utc(text))
        .or_else(|| civil(text, &IN_UTC))
        .or_else(|| {
            let day = DAYS.iter().find_map(|f| Date::strptime(f, text).ok())?;
            Some(utc(day.to_datetime(Time::midnight())))
        })
}

/// The text without its zone, if that is UTC.
fn without_zone(text: &str) -> Option<String> {
    [" UTC", " GMT", " Z", " +00:00", " +0000", "+00:00", "+0000"]
        .iter()
        .find(|zone| text.contains(**zone))
        .map(|zone| text.replacen(zone, "", 1))
}

fn in_utc(text: &str) -> Option<Timestamp> {
    let iso = text.parse::<DateTime>().ok();
    // A day alone can be parsed as well, but is not a point in time.
    let iso = iso.filter(|_| text.contains(':'));
    iso.map(utc).or_else(|| civil(text, &WITHOUT_ZONE))
}

fn civil(text: &str, formats: &[&str]) -> Option<Timestamp> {
    let at = formats
        .iter()
        .find_map(|f| DateTime::strptime(f, text).ok())?;
    Some(utc(at))
}

/// The last hours of the year 9999 are after the last point in time that can be represented.
fn utc(at: DateTime) -> Timestamp {
    let zoned = at.to_zoned(TimeZone::UTC);
    let end = if at.year() > 0 {
        Timestamp::MAX
    } else {
        Timestamp::MIN
    };
    zoned.map_or(end, |zoned| zoned.timestamp())
}

/// A duration: seconds without a unit, a number with its unit (`3600s`, `60 min`, `1h30m`), ISO 8601 (`PT1H`) or
/// `HH:MM:SS`. A day has 24 hours.
pub fn duration(text: &str) -> Option<SignedDuration> {
    let text = text.trim();
    if let Ok(number) = text.parse::<f64>() {
        return number
            .is_finite()
            .then(|| SignedDuration::from_secs(whole(number)));
    }
    let span = |text: &str| {
        let span: Span = text.parse().ok()?;
        // Months and years have no fixed length.
        let clear = span.get_years() == 0 && span.get_months() == 0;
        let day = SpanRelativeTo::days_are_24_hours();
        clear.then(|| span.to_duration(day).ok()).flatten()
    };
    // `6M` may be minutes or months.
    let alone = |(at, _)| !text[at + 1..].starts_with(|c: char| c.is_ascii_alphabetic());
    span(text).or_else(|| {
        let clear = !text.match_indices('M').any(alone);
        clear.then(|| span(&text.to_ascii_lowercase())).flatten()
    })
}

/// A duration in a JSON value: see [`duration`].
pub fn seconds(value: &Value) -> Option<SignedDuration> {
    number(value)
        .map(|n| SignedDuration::from_secs(whole(n)))
        .or_else(|| duration(value.as_str()?))
}

/// The integer part, within a range that sums of times can represent.
fn whole(number: f64) -> i64 {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "clamped to a range that fits"
    )]
    let whole = number.clamp(-1e12, 1e12).trunc() as i64;
    whole
}
