//! What was observed before a plan is made: the target, the sources, the issuer, and the memory of this process.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Memory, fingerprint, notify::Rights, schedule};
use crate::{
    api::SecretKeyRef,
    credential::{CaFault, Credential, binding::Denial},
    publish::{
        Record, SourceMark,
        ownership::{ForeignWrite, Target},
    },
    rotation::RotatedUntil,
};

/// All inputs of a plan, in addition to the spec and the time.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The credential is being deleted.
    pub deleting: bool,
    /// The Secret that the spec names.
    pub target: Target,
    /// An older credential that names the same Secret.
    pub senior: Option<String>,
    /// Whether this credential may send this request to its issuer.
    pub permission: Result<(), Denial>,
    /// Secrets of which one authenticates the client, in the order of the spec.
    pub sources: Vec<Source>,
    /// All Secrets that the grant needs.
    pub grant_sources: Vec<Source>,
    /// Messages about annotations of the Secrets that have no effect.
    pub unread: Vec<String>,
    /// Messages about copies of certificates that are not as they should be ([`crate::publish::copy_fault`]).
    pub copy_faults: Vec<String>,
    /// Why the issuer's `caBundle` cannot be used.
    pub ca_fault: Option<CaFault>,
    /// A ServiceAccount that is needed and does not exist, according to its watch.
    pub missing_account: Option<String>,
    /// The names in the command that grants the permission to notify pods.
    pub notify_rights: Arc<Rights>,
    /// What this process remembers.
    pub memory: Memory,
    /// A token of this same request was received and could not be written yet.
    pub held: bool,
    /// Another operator has written the token in the Secret since this process became the leader.
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

    /// When the remaining lifetime of a valid token reaches the minimum.
    pub(super) fn deadline(&self, credential: &Credential, now: Timestamp) -> Option<Timestamp> {
        self.valid(credential, now).map(|r| {
            let lifetime = r.expires_at.duration_since(r.issued_at);
            schedule::later(r.expires_at, -self.promise(credential).before(lifetime))
        })
    }

    /// The record, if its token is valid now for this same request.
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
    /// UID and resourceVersion, if it exists.
    pub present: Option<(String, String)>,
    /// When it was last observed to change.
    pub changed_at: Option<Timestamp>,
    /// When it was created.
    pub created_at: Option<Timestamp>,
    /// When the client secret in it expires, according to its owner.
    pub expires_at: Option<Timestamp>,
    /// The owner sets the expiry time, but the text is not a time.
    pub expiry_unreadable: bool,
    /// When the value that a rotation stored in it expires.
    pub rotated_until: Option<Box<RotatedUntil>>,
}

impl Source {
    /// The mark of the present version.
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
