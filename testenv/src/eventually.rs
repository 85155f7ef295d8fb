//! Waits for a condition, with a deadline and a message that shows what was missing.

use std::fmt::Display;
use std::future::Future;
use std::panic::Location;
use std::time::{Duration, Instant};

use crate::Error;

/// Short, so that the wait itself does not slow a test.
const PAUSE: Duration = Duration::from_millis(50);

/// Result types of a check: `bool`, `Option` or `Result`.
pub trait Check {
    /// The value if the condition is true.
    type Value;

    /// `Ok` ends the wait; `Err` describes what was observed instead.
    fn outcome(self) -> Result<Self::Value, String>;
}

impl Check for bool {
    type Value = ();

    fn outcome(self) -> Result<(), String> {
        if self {
            Ok(())
        } else {
            Err("not yet".to_owned())
        }
    }
}

impl<T> Check for Option<T> {
    type Value = T;

    fn outcome(self) -> Result<T, String> {
        self.ok_or_else(|| "nothing yet".to_owned())
    }
}

impl<T, E: Display> Check for Result<T, E> {
    type Value = T;

    fn outcome(self) -> Result<T, String> {
        self.map_err(|error| error.to_string())
    }
}

/// Repeats the check until it succeeds, and panics with the last state at the deadline.
///
/// For tests. A check that returns `Err("two of three Secrets")` results in a better message than `false`.
///
/// # Panics
/// When the deadline passes first.
#[track_caller]
pub fn eventually<C: Check>(
    deadline: Duration,
    what: impl Into<String>,
    check: impl AsyncFnMut() -> C,
) -> impl Future<Output = C::Value> {
    let caller = Location::caller();
    let what = what.into();
    async move {
        match wait_until(deadline, what, check).await {
            Ok(value) => value,
            #[expect(clippy::panic, reason = "a test whose wait times out has failed")]
            Err(error) => panic!("{caller}: {error}"),
        }
    }
}

/// Like [`eventually`], for callers that handle the error.
pub async fn wait_until<C: Check>(
    deadline: Duration,
    what: impl Into<String>,
    mut check: impl AsyncFnMut() -> C,
) -> Result<C::Value, Error> {
    let began = Instant::now();
    let mut state = "the first check did not come back".to_owned();
    loop {
        let left = deadline.saturating_sub(began.elapsed());
        // The deadline also applies to a check that hangs. The last observed state is then reported.
        match tokio::time::timeout(left, check())
            .await
            .map(Check::outcome)
        {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(seen)) => state = seen,
            Err(_) => {}
        }
        if began.elapsed() + PAUSE >= deadline {
            return Err(Error::NotInTime {
                what: what.into(),
                waited: began.elapsed(),
                state,
            });
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_value_of_the_first_good_check_comes_back() {
        let mut checks = 0;
        let value = eventually(Duration::from_secs(5), "a third check", async || {
            checks += 1;
            (checks == 3).then_some(checks)
        })
        .await;
        assert_eq!(value, 3);
    }

    #[tokio::test]
    async fn a_vain_wait_names_what_was_awaited_and_seen() {
        let error = wait_until(Duration::from_millis(120), "rain", async || {
            Err::<(), _>("sun")
        })
        .await
        .expect_err("it never holds")
        .to_string();
        assert!(error.contains("rain") && error.contains("sun"), "{error}");
    }

    #[tokio::test]
    async fn a_check_that_hangs_ends_at_the_deadline() {
        let waited = wait_until(Duration::from_millis(80), "an answer", async || {
            std::future::pending::<()>().await;
            true
        });
        assert!(waited.await.is_err());
    }
}
