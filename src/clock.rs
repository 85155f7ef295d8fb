//! The one place where wall-clock time is read.

use std::{sync::OnceLock, time::Instant};

use jiff::{SignedDuration, Timestamp};

/// Returns the time. Functions that decide get it as an argument.
pub trait Clock: Send + Sync + 'static {
    /// The current wall-clock time.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// The time for deadlines and waits: the wall-clock time of the first call, plus the monotonic time since then. A step
/// of the wall clock does not change it.
pub fn steady() -> Timestamp {
    static BEGAN: OnceLock<(Timestamp, Instant)> = OnceLock::new();
    let (wall, began) = BEGAN.get_or_init(|| (Timestamp::now(), Instant::now()));
    let since = SignedDuration::try_from(began.elapsed()).unwrap_or_default();
    wall.saturating_add(since).unwrap_or(*wall)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steady_time_never_goes_back_and_goes_on() {
        let (first, began) = (steady(), Instant::now());
        while began.elapsed() < std::time::Duration::from_millis(2) {
            std::hint::spin_loop();
        }
        assert!(steady() > first);
    }
}
