//! Minimum intervals between attempts that time did not cause: repairs of a Secret that another writer changes, and renewals that a user
//! requests.

use jiff::{SignedDuration, Timestamp};

use super::{Memory, Observed, RenewalCause, schedule::later};
use crate::credential::Credential;

/// Repairs in quick succession.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Repairs {
    /// Their number.
    pub count: u32,
    /// Time of the last one.
    pub at: Timestamp,
}

/// Repairs that are further apart than this are independent.
const REPAIRS_APART: SignedDuration = SignedDuration::from_mins(10);
/// This many in a row are done at once, so that a user who tries things sees the effect.
const REPAIRS_AT_ONCE: u32 = 5;

/// Average interval between attempts that time did not cause (an annotation, an edit, a deletion).
const APART: SignedDuration = SignedDuration::from_secs(10);
/// This many of them are done at once, so that a user who tries things sees each effect.
const AT_ONCE: i32 = 5;

impl Memory {
    /// Remembers a token that was published. Another tool that undoes each write would otherwise cost a request each time.
    pub fn published(&mut self, why: RenewalCause, now: Timestamp) {
        let close = self
            .repairs
            .filter(|r| now.duration_since(r.at) < REPAIRS_APART);
        self.repairs = match why {
            RenewalCause::Edited | RenewalCause::Absent | RenewalCause::Adopted => Some(Repairs {
                count: close.map_or(0, |r| r.count) + 1,
                at: now,
            }),
            _ => close,
        };
    }

    /// Until when a repair waits. The first ones do not wait, then 10 s, doubling to five minutes.
    pub fn calm_until(&self, why: RenewalCause) -> Option<Timestamp> {
        if !matches!(
            why,
            RenewalCause::Edited | RenewalCause::Absent | RenewalCause::Adopted
        ) {
            return None;
        }
        let repairs = self.repairs.filter(|r| r.count > REPAIRS_AT_ONCE)?;
        let doublings = (repairs.count - REPAIRS_AT_ONCE - 1).min(5);
        Some(later(
            repairs.at,
            SignedDuration::from_secs((10 << doublings).min(300)),
        ))
    }
}

impl Observed {
    /// Until when an attempt that time did not cause must wait.
    pub fn paced_until(
        &self,
        credential: &Credential,
        why: RenewalCause,
        now: Timestamp,
    ) -> Option<Timestamp> {
        // The wait after a failure has passed, so time causes this attempt.
        if self.failure(credential).is_some() {
            return None;
        }
        let timed = matches!(why, RenewalCause::Due | RenewalCause::Expired)
            && self.memory.failure.is_none();
        if timed {
            return None;
        }
        let burst = self
            .memory
            .paced_until
            .map(|paid| later(paid, APART * (1 - AT_ONCE)));
        // Renewals by annotation need no burst, because each gives the same result.
        let answered = self
            .record()
            .filter(|r| why == RenewalCause::Requested && r.renew_handled.is_some())
            .map(|r| r.issued_at);
        let failed = self
            .memory
            .failure
            .as_ref()
            .filter(|f| {
                f.requested.is_some()
                    && credential.renew_requested.is_some()
                    && f.requested != credential.renew_requested
            })
            .map(|f| f.at);
        let requested = answered.max(failed).map(|at| later(at, APART));
        // A time further in the future was recorded before the clock was set back.
        let soon = |at: &Timestamp| *at > now && *at <= later(now, APART);
        burst.max(requested).filter(soon)
    }

    /// Counts an attempt. A single one is visible on the Secret or as a failure, so nothing must be remembered about it. Attempts in quick
    /// succession are spaced.
    pub fn attempted(&mut self, credential: &Credential, why: RenewalCause, now: Timestamp) {
        let repeated = self.failure(credential).is_some();
        let window = APART * AT_ONCE;
        let paid = self
            .memory
            .paced_until
            .filter(|t| *t > now && *t <= later(now, window));
        let recent = |at: Timestamp| at <= now && now.duration_since(at) < window;
        let close = paid.is_some()
            || self.record().is_some_and(|r| recent(r.issued_at))
            || self.memory.failure.as_ref().is_some_and(|f| recent(f.at));
        let timed = matches!(why, RenewalCause::Due | RenewalCause::Expired)
            && self.memory.failure.is_none();
        self.memory.paced_until = if repeated || timed {
            paid
        } else if close {
            Some(later(paid.unwrap_or(now), APART))
        } else {
            None
        };
    }
}
