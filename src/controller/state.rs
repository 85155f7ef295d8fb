//! The in-memory state of one credential.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::Timestamp;
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::Instant,
};

use super::{locks::lock, token::refresh_token::Answered};
use crate::{
    api::ApiCredentialStatus,
    credential::{Key, binding::IssuedBy},
    oauth::{AnswerIds, Token, Validity, renewal::Remembered},
    plan::{Memory, OwnWrites, journal::Journal, notify::Notified},
    publish::{SourceUse, copy_fault::CopyFault},
};

/// The in-memory state of one credential.
#[derive(Default)]
pub(super) struct State {
    pub(super) uid: String,
    pub(super) memory: Memory,
    /// This process has not decided anything for it yet: the wait in its status applies.
    pub(super) undecided: bool,
    pub(super) held: Option<UnpublishedToken>,
    /// The response to a refresh that could not be stored yet. It exists only in memory.
    pub(super) unsaved: Option<Box<Answered>>,
    /// Marks on the state Secret, where this process knows more than the Secret contains.
    pub(super) marks: Remembered,
    /// The last own write of the state Secret since the failure that the credential currently waits for.
    pub(super) own_writes: Option<OwnWrites>,
    /// Set when the attempts to revoke the token of an expired credential (`notAfter`) are finished. True if the token was revoked.
    pub(super) revoked_at_end: Option<bool>,
    /// The published token, if it must be revoked when the credential is deleted or expires: the Secret may be deleted before.
    pub(super) revocable: Option<Revocable>,
    /// The status that was written last and its version, until the watch delivers it.
    pub(super) written: Option<(String, ApiCredentialStatus)>,
    /// The Secret of an earlier credential with this name: its UID, the UID of its owner, and the time when it was first seen.
    pub(super) owner_gone: Option<(String, String, Instant)>,
    /// Consecutive status writes that failed.
    pub(super) lost_statuses: u32,
    /// The time of the first reconcile that ended with a defect, or of the last log line about it, and the number of defects.
    pub(super) defects: Option<(std::time::Instant, u32)>,
    /// The issue time of the last counted token of another operator.
    pub(super) foreign: Option<Timestamp>,
    /// What was logged about it.
    pub(super) journal: Journal,
    /// The status that was logged, if it could not be written to the cluster.
    pub(super) reported: Option<Box<ApiCredentialStatus>>,
    /// The result of the pod notifications for the last write; `None` if the credential does not request them.
    pub(super) notified: Option<Notified>,
    /// Copies of certificates that the API server did not let this credential write.
    pub(super) copy_faults: Vec<CopyFault>,
    /// The IDs of the response that rejected a client secret; the next log line about the secret contains them.
    pub(super) refused: Option<Box<AnswerIds>>,
}

impl State {
    pub(super) fn is_empty(&self) -> bool {
        self.memory.is_empty()
            && !self.undecided
            && self.held.is_none()
            && self.unsaved.is_none()
            && self.marks.is_empty()
            && self.own_writes.is_none()
            && self.revocable.is_none()
            && self.revoked_at_end.is_none()
            && self.written.is_none()
            && self.lost_statuses == 0
            && self.owner_gone.is_none()
            && self.foreign.is_none()
            && self.defects.is_none()
            && self.journal.is_empty()
            && self.reported.is_none()
            && self.copy_faults.is_empty()
            && self.refused.is_none()
            && self.notified.is_none()
    }
}

/// A token that was received and could not be written yet.
#[derive(Clone)]
pub(super) struct UnpublishedToken {
    pub(super) token: Arc<Token>,
    pub(super) sources: SourceUse,
    pub(super) fingerprint: String,
    /// The validity of the certificate that authenticated the client.
    pub(super) certificate_validity: Option<Validity>,
    /// The request that the issuer answered with it, and the issuer.
    pub(super) issued: IssuedBy,
    /// The renewal request that it answers.
    pub(super) renew_requested: Option<String>,
    /// Digests of used refresh tokens, to be recorded together with it.
    pub(super) spent: Option<String>,
}

/// A published token that must be revoked, and its issuer.
#[derive(Clone)]
pub(super) struct Revocable {
    pub(super) token: Arc<Token>,
    pub(super) issued: IssuedBy,
}

/// A credential that is being deleted and has the finalizer, or an expired one whose token must be revoked.
pub(super) struct Leaving {
    pub(super) key: Key,
    pub(super) uid: String,
    /// The object is not deleted: `spec.notAfter` has passed.
    pub(super) ended: bool,
    /// When this process observed the deletion or the expiry.
    pub(super) since: Instant,
    /// The time limit, counted from `since`.
    pub(super) deadline: Duration,
    /// Its token, if this process has it: the Secret may be deleted before.
    pub(super) token: Option<Revocable>,
    /// A token that was issued but could not be written.
    pub(super) unwritten: Option<Revocable>,
    /// Whether there is a token to revoke.
    pub(super) has_token: bool,
}

/// The queue of these credentials for the task that revokes their tokens.
pub(super) struct LeavingQueue {
    sender: UnboundedSender<Leaving>,
    receiver: Mutex<Option<UnboundedReceiver<Leaving>>>,
    /// The UIDs of credentials that are being handled.
    under_way: Mutex<HashSet<String>>,
}

impl Default for LeavingQueue {
    fn default() -> Self {
        let (sender, receiver) = unbounded_channel();
        Self {
            sender,
            receiver: Mutex::new(Some(receiver)),
            under_way: Mutex::default(),
        }
    }
}

impl LeavingQueue {
    /// Whether this credential is already queued or being handled.
    pub(super) fn has(&self, uid: &str) -> bool {
        lock(&self.under_way).contains(uid)
    }

    pub(super) fn send(&self, leaving: Leaving) {
        if lock(&self.under_way).insert(leaving.uid.clone()) {
            // The channel is closed only when the process shuts down.
            let _ = self.sender.send(leaving);
        }
    }

    /// The receiver; only the first call returns it.
    pub(super) fn receive(&self) -> Option<UnboundedReceiver<Leaving>> {
        lock(&self.receiver).take()
    }

    /// Marks this credential as finished.
    pub(super) fn ended(&self, uid: &str) {
        lock(&self.under_way).remove(uid);
    }
}

/// A write that pods must be notified of.
pub(super) struct Write {
    pub(super) key: Key,
    pub(super) uid: String,
    pub(super) selector: String,
    pub(super) written: Timestamp,
}

/// The queue of writes for the task that notifies pods.
pub(super) struct NotifyQueue {
    sender: UnboundedSender<Write>,
    receiver: Mutex<Option<UnboundedReceiver<Write>>>,
}

impl Default for NotifyQueue {
    fn default() -> Self {
        let (sender, receiver) = unbounded_channel();
        Self {
            sender,
            receiver: Mutex::new(Some(receiver)),
        }
    }
}

impl NotifyQueue {
    pub(super) fn send(&self, write: Write) {
        // The channel is closed only when the process shuts down.
        let _ = self.sender.send(write);
    }

    /// The receiver; only the first call returns it.
    pub(super) fn receive(&self) -> Option<UnboundedReceiver<Write>> {
        lock(&self.receiver).take()
    }
}
