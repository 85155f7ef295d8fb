//! What was observed before a plan is made: the target, the sources, the issuer, and the memory of this process.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Memory, fingerprint, notify::Rights};
use crate::{
    api::SecretKeyRef,
    credential::{Credential, binding::Denial},
    publish::{
        Record, SourceMark,
        ownership::{ForeignWrite, Target},
    },
    rotation::RotatedUntil,
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
    pub notify_rights: Arc<Rights>,
    /// What this process remembers.
    pub memory: Memory,
    /// A token of this very request was received and could not be written yet.
    pub held: bool,
    /// Another operator has written the token in the Secret since this process began to lead.
    pub another_operator: bool,
}

impl Observed {
    /// The record on the target Secret, if it is ours and unchanged.
    pub fn record(&self) -> Option<&Record> {
        self.target
            .published()
            .filter(|p| p.foreign_write == ForeignWrite::None)?
            .record
            .as_ref()
    }

    /// The record, if its token is good now for this very request.
    pub fn valid(&self, credential: &Credential, now: Timestamp) -> Option<&Record> {
        self.record()
            .filter(|r| r.expires_at > now && r.request == fingerprint::request(credential))
    }
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
