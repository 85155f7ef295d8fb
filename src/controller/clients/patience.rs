//! When it is tried again to store what is in no Secret yet, and until when if the client is not rotated any more.

use std::time::Duration;

use tokio::time::Instant;

/// After a step that failed for another reason than the issuer: the first pause, and the longest.
pub(super) const PAUSE: Duration = Duration::from_secs(1);
pub(super) const LONGEST: Duration = Duration::from_mins(1);
/// So many tries are a second apart: most failures pass at once, and what only this process has is lost with it.
const QUICK: u32 = 5;
/// So long it is tried for a client that is not rotated any more, or is another one.
const AT_MOST: Duration = Duration::from_mins(10);

/// Tries to store one thing.
#[derive(Default)]
pub(super) struct Patience {
    failures: u32,
    left: Option<Instant>,
}

impl Patience {
    /// A try has failed. `left`: the client is not rotated any more. Says whether another try follows.
    pub(super) fn failed(&mut self, left: bool, now: Instant) -> bool {
        self.failures = self.failures.saturating_add(1);
        if !left {
            self.left = None;
            return true;
        }
        let since = *self.left.get_or_insert(now);
        now.duration_since(since) < AT_MOST
    }

    /// Has a try failed?
    pub(super) const fn has_failed(&self) -> bool {
        self.failures > 0
    }

    /// How long until the next try.
    pub(super) fn pause(&self, ends: bool) -> Duration {
        pause(self.failures.saturating_sub(QUICK), ends)
    }
}

/// The pause after so many failures. A process that ends has no time to wait.
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
        // The time counts from when the client went.
        assert!(patience.failed(true, begin));
        assert!(patience.failed(true, begin + AT_MOST - PAUSE));
        assert!(!patience.failed(true, begin + AT_MOST));
        // One that came back is waited for again.
        assert!(patience.failed(false, begin + AT_MOST));
        assert!(patience.failed(true, begin + AT_MOST));
    }
}
