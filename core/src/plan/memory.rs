//! What a process remembers of a credential between two reconciles: the last failure, refused sources, its own writes.

use jiff::Timestamp;

use super::{OutOfSync, Repairs, Sent, Source, notify::Notified};
use crate::{
    Reason, StoredReason,
    api::LastAttempt,
    oauth::TokenError,
    publish::{Record, RefusedSource, SourceMark},
};

/// What a process remembers of a credential between two reconciles. It is lost at a restart. The only cost is one more attempt.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// The last failure, while its inputs are unchanged.
    pub failure: Option<Failure>,
    /// Changed sources whose content was read and is the one already used.
    pub verified: Vec<SourceMark>,
    /// Sources whose version changed and whose content did not, and when the content changed.
    pub unchanged: Vec<(SourceMark, Option<Timestamp>)>,
    /// Sources that were refused or unusable, at the versions that were tried.
    pub refused: Vec<RefusedSource>,
    /// No request before this time, although it is due: the issuer repeats the token that is already published.
    pub not_before: Option<Timestamp>,
    /// The published token could not be read back in order to write it in other formats.
    pub unreadable: bool,
    /// Tokens that were published because another writer had changed the previous one.
    pub repairs: Option<Repairs>,
    /// When it was queued.
    pub queued_since: Option<Timestamp>,
    /// Attempts that time did not cause are counted until then, see [`Observed::attempted`](super::Observed::attempted).
    pub paced_until: Option<Timestamp>,
    /// Writes that the API server refused because the target was not as expected.
    pub out_of_sync: Option<OutOfSync>,
    /// Own writes of the state Secret. Taken from the shell at each observation.
    pub own_writes: Option<OwnWrites>,
    /// The result of notifying pods. Taken from the shell at each observation.
    pub notified: Option<Notified>,
}

impl Memory {
    fn own(&self, source: &Source) -> Option<&OwnWrites> {
        let (_, version) = source.present.as_ref()?;
        self.own_writes
            .as_ref()
            .filter(|own| own.version == *version)
    }

    /// The mark of a source as another writer left it.
    pub fn foreign_mark(&self, source: &Source) -> Option<SourceMark> {
        let mark = source.mark()?;
        let version = self.own(source).map(|own| own.stands_for.clone());
        Some(SourceMark {
            version: version.unwrap_or_else(|| mark.version.clone()),
            ..mark
        })
    }

    /// When another writer was last seen to change a source. A change that left its content as it was does not count.
    pub fn changed_at(&self, source: &Source) -> Option<Timestamp> {
        let mark = self.foreign_mark(source);
        let mut unchanged = self.unchanged.iter();
        if let Some((_, at)) = unchanged.find(|(known, _)| Some(known) == mark.as_ref()) {
            return *at;
        }
        self.own(source)
            .map_or(source.changed_at, |own| own.changed_at)
    }

    /// Records that this version of a source has the content of an earlier one, which changed at that time.
    pub fn relabelled(&mut self, mark: SourceMark, changed_at: Option<Timestamp>) {
        let other = |m: &SourceMark| (&m.name, &m.key) != (&mark.name, &mark.key);
        self.unchanged.retain(|(known, _)| other(known));
        self.unchanged.push((mark, changed_at));
    }

    /// Returns true if there is nothing to remember.
    pub fn is_empty(&self) -> bool {
        self.failure.is_none()
            && self.verified.is_empty()
            && self.unchanged.is_empty()
            && self.refused.is_empty()
            && self.not_before.is_none()
            && !self.unreadable
            && self.repairs.is_none()
            && self.queued_since.is_none()
            && self.paced_until.is_none()
            && self.out_of_sync.is_none()
    }

    /// The failure, if the inputs are still the ones that failed.
    pub fn failure_of(&self, stamp: &str) -> Option<&Failure> {
        self.failure.as_ref().filter(|f| f.stamp == stamp)
    }

    /// Takes over the refused sources stored on the Secret, which survive the process.
    pub fn learn(&mut self, record: &Record) {
        for refused in &record.sources.refused {
            // It is shown as a condition's reason.
            let fits = refused.reason.is_well_formed();
            let newer = |r: &&RefusedSource| {
                r.mark.name == refused.mark.name && r.mark.key == refused.mark.key
            };
            if fits && !self.refused.iter().any(|r| newer(&r)) {
                self.refused.push(RefusedSource {
                    request: record.request.clone(),
                    ..refused.clone()
                });
            }
        }
    }
}

/// Own writes of a state Secret that did not change its refresh token, or stored the one of the last answer. They change its version and none
/// of the inputs of a failure.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnWrites {
    /// Version after the last own write.
    pub version: String,
    /// Version before the first one.
    pub stands_for: String,
    /// When it was last observed to change before that.
    pub changed_at: Option<Timestamp>,
}

/// An attempt that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// [`stamp`](super::stamp) of the inputs that failed.
    pub stamp: String,
    /// The renewal request that was open at that time.
    pub requested: Option<String>,
    /// Number of failures in a row.
    pub failures: u32,
    /// Requests with a password since the last success or change whose answer was missing or unclear.
    pub unclear: u32,
    /// When it happened.
    pub at: Timestamp,
    /// When to try again.
    pub next_attempt: Timestamp,
    /// Why.
    pub cause: Cause,
    /// What the attempt sent, if it is known.
    pub sent: Option<Box<Sent>>,
    /// When a source Secret changed, if the issuer may not know its new content yet.
    pub changed: Option<Timestamp>,
}

/// Why an attempt failed.
#[derive(Clone, Debug)]
pub enum Cause {
    /// As this process observed it.
    Seen(TokenError),
    /// From the status that an earlier process wrote.
    Recalled(Box<Recalled>),
}

/// A failure from status.
#[derive(Clone, Debug)]
pub struct Recalled {
    /// Stable reason.
    pub reason: StoredReason,
    /// The message.
    pub message: String,
    /// It waits for a change by a user.
    pub stalled: bool,
    /// The attempt.
    pub attempt: LastAttempt,
}

impl Failure {
    /// Whether it is this failure, by its stable reason.
    pub fn is(&self, reason: Reason) -> bool {
        match &self.cause {
            Cause::Seen(token_error) => token_error.reason == reason,
            Cause::Recalled(recalled) => recalled.reason.known() == Some(reason),
        }
    }
}
