//! How close to each other attempts for another cause than time may be: repairs of a Secret that another writer changes, and
//! renewals that a user requests.

use jiff::{SignedDuration, Timestamp};

use super::{Memory, Observed, Why, schedule::later};
use crate::credential::Credential;

/// Repairs that followed each other closely.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Repairs {
    /// How many.
    pub count: u32,
    /// The last one.
    pub at: Timestamp,
}

/// Repairs further apart than this have nothing to do with each other.
const REPAIRS_APART: SignedDuration = SignedDuration::from_mins(10);
/// So many in a row are made at once: a user who tries things should see the effect.
const REPAIRS_AT_ONCE: u32 = 5;

/// Attempts for another cause than time (an annotation, an edit, a deletion) are on average this far apart.
const APART: SignedDuration = SignedDuration::from_secs(10);
/// So many of them are made at once: a user who tries things should see each effect.
const AT_ONCE: i32 = 5;

impl Memory {
    /// Remembers a token that was published. Another tool that undoes it each time would otherwise cost a request
    /// for every turn.
    pub fn published(&mut self, why: Why, now: Timestamp) {
        let close = self
            .repairs
            .filter(|r| now.duration_since(r.at) < REPAIRS_APART);
        self.repairs = match why {
            Why::Edited | Why::Absent | Why::Adopted => Some(Repairs {
                count: close.map_or(0, |r| r.count) + 1,
                at: now,
            }),
            _ => close,
        };
    }

    /// Until when a repair waits: not at all for the first ones, then 10 s, doubling to five minutes.
    pub fn calm_until(&self, why: Why) -> Option<Timestamp> {
        if !matches!(why, Why::Edited | Why::Absent | Why::Adopted) {
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
    /// Until when an attempt for another cause than time waits.
    pub fn paced_until(
        &self,
        credential: &Credential,
        why: Why,
        now: Timestamp,
    ) -> Option<Timestamp> {
        // Its wait has ended: that is time.
        if self.failure(credential).is_some() {
            return None;
        }
        let timed = matches!(why, Why::Due | Why::Expired) && self.memory.failure.is_none();
        if timed {
            return None;
        }
        let burst = self
            .memory
            .paced_until
            .map(|paid| later(paid, APART * (1 - AT_ONCE)));
        // Renewals by annotation have no use for a burst: each gives the same.
        let answered = self
            .record()
            .filter(|r| why == Why::Requested && r.renew_handled.is_some())
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
        // A time that is farther away was noted by a clock that was set back since.
        let soon = |at: &Timestamp| *at > now && *at <= later(now, APART);
        burst.max(requested).filter(soon)
    }

    /// Counts an attempt. A lone one leaves its trace on the Secret or as a failure, so nothing needs to be
    /// remembered of it; those that follow each other closely are spaced.
    pub fn attempted(&mut self, credential: &Credential, why: Why, now: Timestamp) {
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
        let timed = matches!(why, Why::Due | Why::Expired) && self.memory.failure.is_none();
        self.memory.paced_until = if repeated || timed {
            paid
        } else if close {
            Some(later(paid.unwrap_or(now), APART))
        } else {
            None
        };
    }
}
