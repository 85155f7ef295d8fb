//! What the process remembers of one credential.

use std::sync::Arc;

use super::token::refresh_token::Answered;
use crate::{
    api::{ApiCredential, ApiCredentialStatus},
    credential::binding::IssuedBy,
    oauth::{Token, Validity, renewal::Remembered},
    plan::{
        Memory, OwnWrites,
        journal::{Ids, Journal},
    },
    publish::SourceUse,
};

/// What the process remembers of one credential.
#[derive(Default)]
pub(super) struct State {
    pub(super) uid: String,
    pub(super) memory: Memory,
    pub(super) held: Option<Held>,
    /// The answer to a refresh that could not be stored yet: it exists only here.
    pub(super) unsaved: Option<Box<Answered>>,
    /// Marks on the state Secret, as far as this process knows more than they say.
    pub(super) marks: Remembered,
    /// The last own write of the state Secret since the failure that is being waited out.
    pub(super) own_writes: Option<OwnWrites>,
    /// The published token, of a credential that wants it revoked at its end: the Secret may be gone by then.
    pub(super) revocable: Option<Revocable>,
    /// The status written last and its version, until the watch has shown it.
    pub(super) written: Option<(String, ApiCredentialStatus)>,
    /// The Secret of an earlier credential of this name: its UID, the UID of its owner, and since when it is seen.
    pub(super) owner_gone: Option<(String, String, tokio::time::Instant)>,
    /// Statuses in a row that could not be written.
    pub(super) lost_statuses: u32,
    /// Since when reconciles end by a defect, or since the last line about it, and how many.
    pub(super) defects: Option<(std::time::Instant, u32)>,
    /// What was said of it in the log.
    pub(super) journal: Journal,
    /// The status that the log knows, if the cluster does not have it.
    pub(super) told: Option<Box<ApiCredentialStatus>>,
    /// Ids of a client secret's refusal that the next line about it names.
    pub(super) refused: Option<Box<Ids>>,
}

impl State {
    pub(super) fn is_empty(&self) -> bool {
        self.memory.is_empty()
            && self.held.is_none()
            && self.unsaved.is_none()
            && self.marks.is_empty()
            && self.own_writes.is_none()
            && self.revocable.is_none()
            && self.written.is_none()
            && self.lost_statuses == 0
            && self.owner_gone.is_none()
            && self.defects.is_none()
            && self.journal.is_empty()
            && self.told.is_none()
            && self.refused.is_none()
    }
}

/// A token that was received and could not be written yet.
#[derive(Clone)]
pub(super) struct Held {
    pub(super) token: Arc<Token>,
    pub(super) sources: SourceUse,
    pub(super) fingerprint: String,
    /// The time of the certificate that proved the client.
    pub(super) proof: Option<Validity>,
    /// The request it answers, and the issuer.
    pub(super) issued: IssuedBy,
    /// The renewal request it answers.
    pub(super) renew_requested: Option<String>,
    /// Digests of spent refresh tokens, to be noted with it.
    pub(super) spent: Option<String>,
}

/// A published token that is to be revoked, and what issued it.
#[derive(Clone)]
pub(super) struct Revocable {
    pub(super) token: Arc<Token>,
    pub(super) issued: IssuedBy,
}

/// A credential that is gone, and its token if this process still has it.
pub(super) struct Gone {
    pub(super) object: ApiCredential,
    /// Has the watch shown the deletion? If not, a list did not name the object.
    pub(super) seen: bool,
    pub(super) token: Option<Revocable>,
}
