//! Tries that are repeated until they succeed. The first failures with the same result are logged at their normal level. From the fourth on, they are
//! logged at the level `debug`, and counted. The log line of the next failure with another result, or of the success, contains the count.

use crate::recent::Recent;

/// Consecutive failures with the same result that are logged at their normal level.
const REPORTED: u32 = 3;

/// Writes a line at the level `warn`, or at `debug` if the same result was reported often enough.
macro_rules! warn_at_first {
    ($failure:expr, $($rest:tt)*) => {
        if $failure.reported {
            tracing::warn!(tries = $failure.tries, $($rest)*)
        } else {
            tracing::debug!(tries = $failure.tries, $($rest)*)
        }
    };
}
pub(crate) use warn_at_first;

/// One failure.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Failure {
    /// Consecutive failures, whatever their result.
    pub(crate) tries: u32,
    /// Whether its line has its normal level.
    pub(crate) reported: bool,
}

impl Failure {
    /// The failure that is the `tries`th in a row with one result.
    pub(crate) const fn nth(tries: u32) -> Self {
        Self {
            tries,
            reported: tries <= REPORTED,
        }
    }
}

/// Tries of one thing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tries {
    result: String,
    failures: u32,
    alike: u32,
}

impl Tries {
    /// A try failed with this result.
    pub(crate) fn failed(&mut self, result: &str) -> Failure {
        if self.result != result {
            result.clone_into(&mut self.result);
            self.alike = 0;
        }
        self.failures = self.failures.saturating_add(1);
        self.alike = self.alike.saturating_add(1);
        Failure {
            tries: self.failures,
            ..Failure::nth(self.alike)
        }
    }

    /// A try succeeded. Returns the number of failures before it.
    pub(crate) fn worked(&mut self) -> u32 {
        std::mem::take(self).failures
    }
}

/// Tries of many actions. The most recent failures are stored.
#[derive(Default)]
pub(crate) struct ManyTries(Recent<(&'static str, String), Tries, 256>);

impl ManyTries {
    /// A try of the action `what` on an object failed.
    pub(crate) fn failed(&mut self, what: &'static str, object: &str, result: &str) -> Failure {
        let key = (what, object.to_owned());
        let mut tries = self.0.get(&key).cloned().unwrap_or_default();
        let failure = tries.failed(result);
        self.0.insert(key, tries);
        failure
    }

    /// A try succeeded. Returns the number of failures before it.
    pub(crate) fn worked(&mut self, what: &'static str, object: &str) -> u32 {
        let key = (what, object.to_owned());
        let Some(mut tries) = self.0.get(&key).cloned() else {
            return 0;
        };
        let failures = tries.worked();
        self.0.insert(key, tries);
        failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_failures_of_a_kind_are_reported_and_all_are_counted() {
        let mut tries = Tries::default();
        let mut fail = |result: &str| {
            let failure = tries.failed(result);
            (failure.tries, failure.reported)
        };
        assert_eq!(fail("quota"), (1, true));
        assert_eq!(fail("quota"), (2, true));
        assert_eq!(fail("quota"), (3, true));
        assert_eq!(fail("quota"), (4, false));
        assert_eq!(fail("quota"), (5, false));
        // The next change has the count of failures.
        assert_eq!(fail("forbidden"), (6, true));
        assert_eq!(fail("quota"), (7, true));
        assert_eq!(tries.worked(), 7);
        assert_eq!(tries.worked(), 0);
        assert_eq!(tries.failed("quota"), Failure::nth(1));
    }

    #[test]
    fn each_object_has_its_own_count() {
        let mut all = ManyTries::default();
        for _ in 0..4 {
            all.failed("write", "a", "quota");
        }
        assert!(!all.failed("write", "a", "quota").reported);
        assert!(all.failed("write", "b", "quota").reported);
        assert!(all.failed("read", "a", "quota").reported);
        assert_eq!(all.worked("write", "a"), 5);
        assert_eq!(all.worked("write", "c"), 0);
        assert!(all.failed("write", "a", "quota").reported);
    }
}
