//! What was observed before a plan is made: the target, the sources, the issuer, and the memory of this process.

use super::{
    Why, fingerprint,
    notify::{Notified, Rights},
    schedule::later,
};
use crate::{Reason, StoredReason};
use crate::{
    api::{LastAttempt, SecretKeyRef},
    credential::{Credential, binding::Denial},
    oauth::{Grant, TokenError},
    publish::{Record, RefusedSource, SourceMark, ownership::Target, template},
    rotation::RotatedUntil,
};
use jiff::{SignedDuration, Timestamp};

/// Everything a plan depends on beside the spec and the time.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The credential is being deleted.
    pub deleting: bool,
    /// The Secret that the spec names.
    pub target: Target,
    /// An older credential that names the same Secret.
    pub senior: Option<String>,
    /// True if this credential may send this request to its issuer.
    pub permission: Result<(), Denial>,
    /// Secrets of which one authenticates the client, in the order of the spec.
    pub sources: Vec<Source>,
    /// Secrets that the grant draws on, all of them.
    pub grant_sources: Vec<Source>,
    /// What is to be said about annotations of the Secrets that have no effect.
    pub unread: Vec<String>,
    /// Why the issuer's `caBundle` cannot be used.
    pub ca_fault: Option<String>,
    /// A ServiceAccount that is needed and does not exist, if its watch knows.
    pub missing_account: Option<String>,
    /// The names in the command that gives the right to notify pods.
    pub notify_rights: std::sync::Arc<Rights>,
    /// What this process remembers.
    pub memory: Memory,
    /// A token of this very request was received and could not be written yet.
    pub held: bool,
    /// Another operator has written the token in the Secret since this process began to lead.
    pub another_operator: bool,
}

/// A source Secret by its metadata.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// Which key of which Secret.
    pub reference: SecretKeyRef,
    /// UID and resourceVersion, if it is there.
    pub present: Option<(String, String)>,
    /// When it was last seen to change.
    pub changed_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Option<Timestamp>,
    /// When the client secret in it ends, as its owner says.
    pub expires_at: Option<Timestamp>,
    /// The owner says when, but not in a form that is a time.
    pub expiry_unreadable: bool,
    /// When the value in it ends that a rotation put there.
    pub rotated_until: Option<Box<RotatedUntil>>,
}

impl Source {
    /// The mark of the version that is there now.
    pub fn mark(&self) -> Option<SourceMark> {
        let (uid, version) = self.present.clone()?;
        Some(SourceMark {
            name: self.reference.name.clone(),
            key: self.reference.key.clone(),
            uid,
            version,
        })
    }
}

/// Own writes of a state Secret that left the refresh token in it as it was, or stored the one of the last answer. They
/// change its version and nothing that a failure depends on.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnWrites {
    /// Version after the last own write.
    pub version: String,
    /// Version before the first one.
    pub stands_for: String,
    /// When it was last seen to change before that.
    pub changed_at: Option<Timestamp>,
}

/// What a process remembers of a credential between two reconciles. Lost at a restart, and nothing is worse then than
/// one more try.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// The last failure, while nothing it depended on has changed.
    pub failure: Option<Failure>,
    /// Moved sources whose content was read and found to be the one already used.
    pub verified: Vec<SourceMark>,
    /// Sources that were refused or unusable, at the versions that were tried.
    pub refused: Vec<RefusedSource>,
    /// Do not request before, although it is due: the issuer repeats the token that is already published.
    pub not_before: Option<Timestamp>,
    /// The published token could not be read back in order to write it in other formats.
    pub unreadable: bool,
    /// Tokens that were published because another writer had changed the one before.
    pub repairs: Option<Repairs>,
    /// Since when it is queued.
    pub queued_since: Option<Timestamp>,
    /// Attempts for another cause than time are counted until then, see [`Observed::attempted`].
    pub paced_until: Option<Timestamp>,
    /// Writes that the API server refused because the target was not as expected.
    pub out_of_sync: Option<OutOfSync>,
    /// Own writes of the state Secret. Taken from the shell at each observation.
    pub own_writes: Option<OwnWrites>,
    /// How the notification of pods went. Taken from the shell at each observation.
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

    /// When another writer was last seen to change a source.
    pub fn changed_at(&self, source: &Source) -> Option<Timestamp> {
        self.own(source)
            .map_or(source.changed_at, |own| own.changed_at)
    }
}

/// Refused writes in a row. They are evidence that the cache and the server disagree about the target.
#[derive(Clone, Debug, PartialEq)]
pub struct OutOfSync {
    /// How many.
    pub count: u32,
    /// When the last one was refused.
    pub at: Timestamp,
    /// The version of the target in the cache at that time; `None`: no Secret of this credential.
    pub version: Option<String>,
    /// What the API server said at the last one.
    pub said: Option<String>,
}

/// The first wait after a write that met another state of the target, in seconds. It doubles.
const FIRST_SYNC: i64 = 1;
/// The longest one.
const LONGEST_SYNC: i64 = 60;
/// The longest one after the cache has changed.
const LONGEST_SYNC_AFTER_CHANGE: i64 = 5;
/// So many refused writes in a row are reported, and are not retried at once when the cache changes: another writer may
/// change the Secret all the time.
const SYNC_REPORTED: u32 = 3;

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

/// A try that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// [`stamp`] of the inputs that failed.
    pub stamp: String,
    /// The renewal request that was unserved at that time.
    pub requested: Option<String>,
    /// Failures in a row.
    pub failures: u32,
    /// When it happened.
    pub at: Timestamp,
    /// When to try again.
    pub next_attempt: Timestamp,
    /// Why.
    pub cause: Cause,
    /// When a source Secret changed, if the issuer may not know its new content yet.
    pub changed: Option<Timestamp>,
}

/// Why an attempt failed.
#[derive(Clone, Debug)]
pub enum Cause {
    /// As this process saw it.
    Seen(TokenError),
    /// As the status of an earlier process says it.
    Recalled(Box<Recalled>),
}

/// A failure as status says it.
#[derive(Clone, Debug)]
pub struct Recalled {
    /// Stable reason.
    pub reason: StoredReason,
    /// In words.
    pub message: String,
    /// It waits for a change by somebody.
    pub stalled: bool,
    /// The attempt.
    pub attempt: LastAttempt,
}

impl Failure {
    /// Is it this failure, by its stable reason?
    pub fn is(&self, reason: Reason) -> bool {
        match &self.cause {
            Cause::Seen(token_error) => token_error.reason == reason,
            Cause::Recalled(recalled) => recalled.reason.known() == Some(reason),
        }
    }
}

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

    /// Remembers a write that was refused because the target was not as expected. Returns how many were in a row.
    pub fn conflicted(&mut self, target: &Target, now: Timestamp) -> u32 {
        let before = self.out_of_sync.as_ref().map_or(0, |sync| sync.count);
        let count = before.saturating_add(1);
        self.out_of_sync = Some(OutOfSync {
            count,
            at: now,
            version: version(target),
            said: None,
        });
        count
    }

    /// Until when no write is tried, because the last ones met another state of the target. As soon as the cache
    /// shows another state, the next write may succeed.
    pub fn in_sync_at(&self, target: &Target, now: Timestamp) -> Option<Timestamp> {
        let sync = self.out_of_sync.as_ref()?;
        let wait = (FIRST_SYNC << (sync.count.clamp(1, 7) - 1)).min(LONGEST_SYNC);
        let wait = match version(target) == sync.version {
            true => wait,
            false if sync.count < SYNC_REPORTED => return None,
            false => wait.min(LONGEST_SYNC_AFTER_CHANGE),
        };
        let until = later(sync.at, SignedDuration::from_secs(wait));
        // A clock that was set back must not prolong the wait.
        (until > now && sync.at <= super::later_than(now)).then_some(until)
    }

    /// How many writes in a row were refused, if that is to be reported.
    pub fn reported_conflicts(&self) -> Option<u32> {
        let count = self.out_of_sync.as_ref()?.count;
        (count >= SYNC_REPORTED).then_some(count)
    }

    /// Nothing worth keeping?
    pub fn is_empty(&self) -> bool {
        self.failure.is_none()
            && self.verified.is_empty()
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

    /// Takes over what the Secret says about refused sources, which outlives the process.
    pub fn learn(&mut self, record: &Record) {
        for refused in &record.sources.refused {
            // It is shown as a condition's reason.
            let fits = refused.reason.is_well_formed();
            let newer = |r: &&RefusedSource| {
                r.mark.name == refused.mark.name && r.mark.key == refused.mark.key
            };
            if fits && !self.refused.iter().any(|r| newer(&r)) {
                self.refused.push(RefusedSource {
                    asked: record.request.clone(),
                    ..refused.clone()
                });
            }
        }
    }
}

impl Observed {
    /// The failure, if the inputs are still the ones that failed.
    pub fn failure(&self, credential: &Credential) -> Option<&Failure> {
        let failure = self.memory.failure.as_ref()?;
        // A token that was held in memory and is lost is requested in the same rhythm.
        let same = |held| failure.stamp == stamp_if(credential, self, held);
        (same(self.held) || !self.held && same(true)).then_some(failure)
    }

    /// Until when an attempt for another cause than time waits.
    pub fn paced_until(
        &self,
        credential: &Credential,
        why: Why,
        now: Timestamp,
    ) -> Option<Timestamp> {
        // Its wait is over: that is time.
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

fn version(target: &Target) -> Option<String> {
    match target {
        Target::Ours { version, .. }
        | Target::Adoptable { version }
        | Target::OwnerGone { version, .. } => Some(version.clone()),
        Target::Absent | Target::Deleting | Target::Foreign(_) => None,
    }
}

/// What a try depends on: when any of it changes, a failure says nothing any more and the next try is due at once.
pub fn stamp(credential: &Credential, observed: &Observed) -> String {
    stamp_if(credential, observed, observed.held)
}

/// The same as if a token were held, or not.
pub(super) fn stamp_if(credential: &Credential, observed: &Observed, held: bool) -> String {
    let mut text = fingerprint::request(credential);
    text.push_str(&format!(
        "|{}|{:?}",
        credential.issuer.version, credential.issuer.style
    ));
    // How a key signs, where a certificate is: not a part of the token, but something that a user may have fixed.
    text.push_str(&format!(
        "|{:?}|{:?}",
        credential.authentication, credential.grant
    ));
    if let Some(key) = &credential.static_key {
        text.push_str(&format!("|{key:?}"));
    }
    for source in observed.sources.iter().chain(&observed.grant_sources) {
        let mark = observed.memory.foreign_mark(source);
        let (uid, version) = mark.as_ref().map_or(("", ""), |m| (&m.uid, &m.version));
        text.push_str(&format!(
            "|{}/{}@{uid}/{version}",
            source.reference.name, source.reference.key
        ));
    }
    text.push_str(&format!(
        "|{}",
        credential.renew_requested.as_deref().unwrap_or_default()
    ));
    // A token that waits to be written is tried again when it is to be written in another way. Without one this
    // must not count, or another label would send a refused password again.
    if held {
        text.push_str(&format!("|{}", template(credential).digest()));
    }
    // A password that was refused is not sent again because its Secret is deleted, or adopted.
    if matches!(credential.grant, Grant::Password(_)) && !held {
        return fingerprint::inputs(&[&text]);
    }
    // A refused write does not count any more once the Secret is gone.
    text.push_str(match observed.target {
        Target::Absent => "|absent",
        Target::Deleting => "|deleting",
        Target::Ours { .. } => "|ours",
        Target::Adoptable { .. } => "|adoptable",
        Target::OwnerGone { .. } => "|owner-gone",
        Target::Foreign(_) => "|foreign",
    });
    fingerprint::inputs(&[&text])
}
