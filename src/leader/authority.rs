//! The right to act, as a time on the monotonic clock.
//!
//! Every request to an issuer and every write checks it first. So a process that was stopped inside a call notices it before it does anything else. A
//! separate thread enforces the end: all async tasks share one thread, and a block of that thread would block a timer there as well.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use super::election::GIVE_UP;

/// The right to act. All clones share one right.
#[derive(Clone, Debug)]
pub struct Authority(Option<Arc<Term>>);

/// The period in which a lease is valid.
#[derive(Debug)]
struct Term {
    /// The other times are relative to this.
    began: Instant,
    /// When the right expires, in milliseconds, or one of the values below.
    until: AtomicU64,
    /// Notified at each renewal and at the end.
    changed: Notify,
}

/// No lease was acquired yet.
const STANDBY: u64 = 0;
/// The lease was released. Nothing is left to enforce.
const GIVEN_BACK: u64 = u64::MAX;

/// The right to act has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NoAuthority;

impl Authority {
    /// The right of an operator that runs without leader election: it never expires.
    pub const fn always() -> Self {
        Self(None)
    }

    /// The right of a candidate: it begins with the first renewal.
    pub fn of_a_candidate() -> Self {
        Self(Some(Arc::new(Term {
            began: Instant::now(),
            until: AtomicU64::new(STANDBY),
            changed: Notify::new(),
        })))
    }

    /// Returns true if the right is valid for at least this long from now on.
    pub fn holds_for(&self, time: Duration) -> bool {
        let Some(term) = &self.0 else { return true };
        term.left().is_some_and(|left| left > time)
    }

    /// Returns true if the right is valid now.
    pub fn holds(&self) -> bool {
        self.holds_for(Duration::ZERO)
    }

    /// Waits until the right is valid for at least this long.
    ///
    /// # Errors
    /// When it has ended.
    pub async fn wait_for(&self, time: Duration) -> Result<(), NoAuthority> {
        let Some(term) = &self.0 else { return Ok(()) };
        loop {
            // Created before the check, so that no change between the two is missed.
            let changed = term.changed.notified();
            let Some(left) = term.left() else {
                return Err(NoAuthority);
            };
            if left > time {
                return Ok(());
            }
            // With a timeout, because no notification reports that the right has expired.
            let _ = tokio::time::timeout(left, changed).await;
        }
    }

    /// A renewal that was sent at `sent` succeeded.
    pub(super) fn renewed(&self, sent: Instant) {
        let Some(term) = &self.0 else { return };
        let old = term.until.load(Ordering::SeqCst);
        // An expired right does not become valid again, however late the answer to an old renewal arrives.
        if old != STANDBY && term.left().is_none() {
            return;
        }
        let until = old.max(term.at(sent + GIVE_UP));
        // If it ended in between, it stays ended.
        let _ = term
            .until
            .compare_exchange(old, until, Ordering::SeqCst, Ordering::SeqCst);
        term.changed.notify_waiters();
    }

    /// Ends the right immediately: another process has the lease.
    pub(super) fn lost(&self) {
        let Some(term) = &self.0 else { return };
        let now = term.at(Instant::now());
        let _ = term
            .until
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |until| {
                (until != GIVEN_BACK).then(|| until.min(now))
            });
        term.changed.notify_waiters();
    }

    /// Ends the right after all work has ended.
    pub(super) fn give_back(&self) {
        let Some(term) = &self.0 else { return };
        term.until.store(GIVEN_BACK, Ordering::SeqCst);
        term.changed.notify_waiters();
    }

    /// Starts a thread that calls `then` if the process still runs `grace` after the right has expired. `then` ends the
    /// process. When the lease is released, the thread ends without the call.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn enforce(
        &self,
        grace: Duration,
        then: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<()> {
        let Some(term) = self.0.clone() else {
            return Ok(());
        };
        let watch = move || {
            loop {
                let pause = match term.until.load(Ordering::SeqCst) {
                    GIVEN_BACK => return,
                    STANDBY => GIVE_UP,
                    until => {
                        let end = Duration::from_millis(until).saturating_add(grace);
                        end.saturating_sub(term.began.elapsed())
                    }
                };
                if pause.is_zero() {
                    return then();
                }
                std::thread::sleep(pause);
            }
        };
        std::thread::Builder::new()
            .name("lease".to_owned())
            .spawn(watch)
            .map(drop)
    }
}

impl Term {
    /// How long the right is still valid; `None` if it is not.
    fn left(&self) -> Option<Duration> {
        let until = self.until.load(Ordering::SeqCst);
        let left = until.saturating_sub(self.at(Instant::now()));
        (until != GIVEN_BACK && left > 0).then(|| Duration::from_millis(left))
    }

    /// A moment in milliseconds, which is none of the special values.
    fn at(&self, moment: Instant) -> u64 {
        let since = moment.saturating_duration_since(self.began);
        u64::try_from(since.as_millis())
            .unwrap_or(u64::MAX)
            .clamp(STANDBY + 1, GIVEN_BACK - 1)
    }
}
