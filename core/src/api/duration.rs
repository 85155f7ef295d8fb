//! Durations in a spec.
//!
//! The type of kube panics if a number is too large, and a stored object may not match the CRD of this version. This module returns an error
//! instead.

use kube::core::Duration;
use serde::{Deserialize, Deserializer, de::Error};

/// Maximum number of characters of a duration, twice what the CRD permits.
const LONGEST: usize = 40;
/// Maximum number of digits of each number in it. Two such numbers in hours are less than the 584 billion years of Rust's type.
const DIGITS: usize = 15;

/// Parses an optional duration in Go's format.
///
/// # Errors
/// If it is not a duration, or too large for calculations.
pub(super) fn optional<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Duration>, D::Error> {
    let Some(text) = Option::<String>::deserialize(value)? else {
        return Ok(None);
    };
    let runs = text.split(|c: char| !c.is_ascii_digit());
    if text.len() > LONGEST || runs.map(str::len).any(|digits| digits > DIGITS) {
        return Err(D::Error::custom("a duration is too large"));
    }
    text.parse().map(Some).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_duration_is_read_or_refused_and_never_a_panic() {
        for (text, seconds) in [
            (json!("15m"), Some(Some(900))),
            (json!("1h30m0.5s"), Some(Some(5_400))),
            (json!(null), Some(None)),
            (
                json!("999999999999999h"),
                Some(Some(3_599_999_999_999_996_416)),
            ),
            (json!("1511111111111111111111111111111111m"), None),
            (json!("999999999999999999h"), None),
            (
                json!("999999999999999h999999999999999h999999999999999h"),
                None,
            ),
            (json!("soon"), None),
            (json!(15), None),
        ] {
            let read = optional(text.clone()).ok();
            let read = read.map(|d| d.map(|d| std::time::Duration::from(d).as_secs()));
            assert_eq!(read, seconds, "{text}");
        }
    }
}
