//! When storing a value is retried that is not in a Secret yet, and for how long if the client is no longer rotated.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// The first and the longest wait after a step that failed for another reason than the issuer.
pub(super) const PAUSE: Duration = Duration::from_secs(1);
pub(super) const LONGEST: Duration = Duration::from_mins(1);
/// The longest sleep: the data that was read about the application is at most one day old.
pub(super) const LONGEST_SLEEP: Duration = Duration::from_hours(24);
/// This number of retries are one second apart: most failures are short, and what only this process has could be lost with it.
const QUICK: u32 = 5;
/// The maximum time of retries for a client that is no longer rotated or was replaced.
const AT_MOST: Duration = Duration::from_mins(10);

/// The sleep until a wait ends.
pub(super) fn sleep_until(until: Timestamp, now: Timestamp) -> Duration {
    let left = until
        .duration_since(now)
        .max(SignedDuration::from_millis(100));
    Duration::try_from(left).unwrap_or(LONGEST_SLEEP)
}

/// The attempts to store one value.
#[derive(Default)]
pub(super) struct Patience {
    failures: u32,
    left: Option<Instant>,
}

impl Patience {
    /// Records a failed attempt. `left`: the client is no longer rotated. Returns whether another attempt follows.
    pub(super) fn failed(&mut self, left: bool, now: Instant) -> bool {
        self.failures = self.failures.saturating_add(1);
        if !left {
            self.left = None;
            return true;
        }
        let since = *self.left.get_or_insert(now);
        now.duration_since(since) < AT_MOST
    }

    /// Whether an attempt has failed.
    pub(super) const fn has_failed(&self) -> bool {
        self.failures > 0
    }

    /// The wait before the next attempt.
    pub(super) fn pause(&self, ends: bool) -> Duration {
        pause(self.failures.saturating_sub(QUICK), ends)
    }
}

/// The wait after this number of failures. A process that shuts down has no time for longer waits.
pub(super) fn pause(failures: u32, ends: bool) -> Duration {
    if ends {
        PAUSE
    } else {
        (PAUSE * 2_u32.pow(failures.min(6))).min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_are_quick_at_first_then_rare_and_end_with_the_client() {
        let (mut patience, begin) = (Patience::default(), Instant::now());
        let pauses = (0..20).map(|_| {
            assert!(patience.failed(false, begin + AT_MOST * 2));
            patience.pause(false).as_secs()
        });
        let pauses: Vec<u64> = pauses.collect();
        assert_eq!(pauses[..12], [1, 1, 1, 1, 1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(pauses[19], 60);
        assert_eq!(patience.pause(true), PAUSE);
        // The time counts from the removal of the client.
        assert!(patience.failed(true, begin));
        assert!(patience.failed(true, begin + AT_MOST - PAUSE));
        assert!(!patience.failed(true, begin + AT_MOST));
        // For a client that was recreated, the wait starts again.
        assert!(patience.failed(false, begin + AT_MOST));
        assert!(patience.failed(true, begin + AT_MOST));
    }
}
