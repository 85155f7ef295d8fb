//! Writes that the API server refuses because the target differs from the cache: how long the next one waits, and when this is reported.

use jiff::{SignedDuration, Timestamp};

use super::{
    Memory,
    schedule::{later, later_than},
};
use crate::publish::ownership::Target;

/// Refused writes in a row. They show that the cache and the server disagree about the target.
#[derive(Clone, Debug, PartialEq)]
pub struct OutOfSync {
    /// Their number.
    pub count: u32,
    /// When the last one was refused.
    pub at: Timestamp,
    /// The version of the target in the cache at that time; `None`: no Secret of this credential.
    pub version: Option<String>,
    /// The message of the API server at the last one.
    pub server_message: Option<String>,
}

/// The first wait in seconds after a write that found another state of the target. It doubles.
const FIRST_SYNC: i64 = 1;
/// The longest wait.
const LONGEST_SYNC: i64 = 60;
/// The longest wait after the cache has changed.
const LONGEST_SYNC_AFTER_CHANGE: i64 = 5;
/// From this many refused writes in a row they are reported, and are not retried at once when the cache changes: another writer may change the
/// Secret all the time.
const SYNC_REPORTED: u32 = 3;

impl Memory {
    /// Remembers a write that was refused because the target was not as expected. Returns the number of refused writes in a row.
    pub fn conflicted(&mut self, target: &Target, now: Timestamp) -> u32 {
        let before = self.out_of_sync.as_ref().map_or(0, |sync| sync.count);
        let count = before.saturating_add(1);
        self.out_of_sync = Some(OutOfSync {
            count,
            at: now,
            version: version(target),
            server_message: None,
        });
        count
    }

    /// Until when no write is tried, because the last ones found another state of the target. As soon as the cache shows another state, the
    /// next write may succeed.
    pub fn in_sync_at(&self, target: &Target, now: Timestamp) -> Option<Timestamp> {
        let sync = self.out_of_sync.as_ref()?;
        let wait = (FIRST_SYNC << (sync.count.clamp(1, 7) - 1)).min(LONGEST_SYNC);
        let wait = match version(target) == sync.version {
            true => wait,
            false if sync.count < SYNC_REPORTED => return None,
            false => wait.min(LONGEST_SYNC_AFTER_CHANGE),
        };
        let until = later(sync.at, SignedDuration::from_secs(wait));
        // If the clock was set back, this must not prolong the wait.
        (until > now && sync.at <= later_than(now)).then_some(until)
    }

    /// The number of refused writes in a row, if it is to be reported.
    pub fn reported_conflicts(&self) -> Option<u32> {
        let count = self.out_of_sync.as_ref()?.count;
        (count >= SYNC_REPORTED).then_some(count)
    }
}

fn version(target: &Target) -> Option<String> {
    match target {
        Target::Ours { version, .. }
        | Target::Adoptable { version }
        | Target::Deleting(Some((version, _)))
        | Target::OwnerGone { version, .. } => Some(version.clone()),
        Target::Absent | Target::Deleting(None) | Target::OfAnother(_) | Target::Foreign(_) => None,
    }
}
