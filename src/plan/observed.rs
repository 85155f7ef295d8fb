//! What was seen of the world before a plan is made.

use jiff::{SignedDuration, Timestamp};

use super::{Why, fingerprint, schedule::later};
use crate::{
    api::{ApiCredentialStatus, AttemptResult, SecretKeyRef},
    credential::{Credential, binding::Denial},
    oauth::{Class, Grant, Refusal},
    publish::{SourceMark, SourceUse, dress, ownership::Target},
};

/// Everything a plan depends on beside the spec and the time.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The credential is being deleted.
    pub deleting: bool,
    /// The Secret that the spec names.
    pub target: Target,
    /// An older credential that names the same Secret.
    pub senior: Option<String>,
    /// May this credential ask its issuer for this?
    pub permission: Result<(), Denial>,
    /// Secrets of which one proves the client, in the order of the spec.
    pub sources: Vec<Source>,
    /// Secrets that the grant draws on, all of them.
    pub companions: Vec<Source>,
    /// What this process remembers.
    pub memory: Memory,
    /// A token of this very request was received and could not be written yet.
    pub held: bool,
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

/// What a process remembers of a credential between two looks. Lost at a restart, and nothing is worse then than
/// one more try.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// The last failure, while nothing it depended on has changed.
    pub failure: Option<Failure>,
    /// Moved sources whose content was read and found to be the one already used.
    pub verified: Vec<SourceMark>,
    /// Sources that the issuer refused, at the versions that it refused.
    pub refused: Vec<SourceMark>,
    /// Do not ask again before, although it is due: the issuer repeats the token that is published already.
    pub not_before: Option<Timestamp>,
    /// The published token could not be read back in order to write it in other formats.
    pub unreadable: bool,
    /// Tokens that were published because somebody had undone the one before.
    pub repairs: Option<Repairs>,
    /// Since when it stands in a line.
    pub queued_since: Option<Timestamp>,
}

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
/// So many in a row are made at once: a person who tries things out should see it work.
const REPAIRS_AT_ONCE: u32 = 5;

/// A try that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// [`stamp`] of the inputs that failed.
    pub stamp: String,
    /// Failures in a row.
    pub failures: u32,
    /// When it happened.
    pub at: Timestamp,
    /// When to try again.
    pub next_attempt: Timestamp,
    /// Why.
    pub refusal: Refusal,
    /// A source Secret had changed just before.
    pub propagating: bool,
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

    /// Nothing worth keeping?
    pub fn is_empty(&self) -> bool {
        self.failure.is_none()
            && self.verified.is_empty()
            && self.refused.is_empty()
            && self.not_before.is_none()
            && !self.unreadable
            && self.repairs.is_none()
            && self.queued_since.is_none()
    }

    /// The failure, if the inputs are still the ones that failed.
    pub fn failure_of(&self, stamp: &str) -> Option<&Failure> {
        self.failure.as_ref().filter(|f| f.stamp == stamp)
    }

    /// Was this version of a source refused?
    pub fn has_refused(&self, mark: &SourceMark) -> bool {
        self.refused.contains(mark)
    }

    /// Takes over what status says about a password that was refused: a process that was restarted must not try
    /// it again, since a few tries lock the user out. The one thing that is read back from status.
    pub fn recall(
        &mut self,
        credential: &Credential,
        observed: &Observed,
        status: Option<&ApiCredentialStatus>,
    ) {
        if !matches!(credential.grant, Grant::Password(_)) || self.failure.is_some() {
            return;
        }
        let Some((status, last)) = status.and_then(|s| Some((s, s.last_attempt.as_deref()?)))
        else {
            return;
        };
        let marks: Vec<SourceMark> = observed
            .companions
            .iter()
            .filter_map(Source::mark)
            .collect();
        let listed = |m: &SourceMark| status.refused_sources.contains(&m.to_string());
        if status.observed_generation != Some(credential.generation)
            || last.result != AttemptResult::Failed
            || !marks.iter().any(listed)
        {
            return;
        }
        let refusal = Refusal {
            until_change: true,
            http_status: last.http_status.and_then(|n| u16::try_from(n).ok()),
            error: last.error.clone(),
            aadsts: last.aadsts.and_then(|n| u32::try_from(n).ok()),
            correlation_id: last.correlation_id.clone(),
            trace_id: last.trace_id.clone(),
            ..Refusal::local(
                Class::Denied,
                "PasswordRefused",
                "the user name or password was refused; correct it in its Secret; apicred does not try the refused one again, since that locks the user out",
            )
        };
        self.refused.extend(marks);
        self.failure = Some(Failure {
            stamp: stamp(credential, observed),
            failures: 1,
            at: last.time.0,
            next_attempt: Timestamp::MAX,
            refusal,
            propagating: false,
        });
    }

    /// Takes over what stands on the Secret about refused sources, which outlives the process.
    pub fn learn(&mut self, sources: &SourceUse) {
        for mark in &sources.refused {
            if !self.refused.contains(mark) {
                self.refused.push(mark.clone());
            }
        }
    }
}

/// What a try depends on: when any of it changes, a failure says nothing any more and the next try is due at once.
pub fn stamp(credential: &Credential, observed: &Observed) -> String {
    let mut text = fingerprint::request(credential);
    text.push_str(&format!(
        "|{}|{:?}",
        credential.issuer.version, credential.issuer.style
    ));
    // How a key signs, where a certificate lies: no part of the token, and yet what a person may have mended.
    text.push_str(&format!("|{:?}|{:?}", credential.proof, credential.grant));
    for source in observed.sources.iter().chain(&observed.companions) {
        let (uid, version) = source.present.as_ref().map_or(("", ""), |(u, v)| (u, v));
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
    if observed.held {
        text.push_str(&format!("|{}", dress(credential).digest()));
    }
    // A write that was refused says nothing any more once somebody took the Secret out of the way.
    text.push_str(match observed.target {
        Target::Absent => "|absent",
        Target::Deleting => "|deleting",
        Target::Ours { .. } => "|ours",
        Target::Adoptable { .. } => "|adoptable",
        Target::Foreign(_) => "|foreign",
    });
    text
}
