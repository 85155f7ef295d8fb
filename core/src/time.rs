//! Times as they are stored.

use jiff::Timestamp;

/// The time without its fraction of a second. The API server stores no fraction, so a comparison with its values works, and a lifetime that is
/// counted from an earlier time is never too long.
#[must_use]
pub fn whole_second(at: Timestamp) -> Timestamp {
    // `as_second` rounds towards zero, so a time before 1970 would become a later one. No time is before 1970.
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fraction_is_dropped() {
        for (at, whole) in [
            ("2026-10-21T07:28:00Z", "2026-10-21T07:28:00Z"),
            ("2026-10-21T07:28:00.000000001Z", "2026-10-21T07:28:00Z"),
            ("2026-10-21T07:28:00.999999999Z", "2026-10-21T07:28:00Z"),
        ] {
            let at: Timestamp = at.parse().unwrap();
            assert_eq!(whole_second(at).to_string(), whole);
        }
    }
}
