//! What the process remembers of one credential.

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
    oauth::{Token, Validity, renewal::Remembered},
    plan::{
        Memory, OwnWrites,
        journal::{Ids, Journal},
        notify::Notified,
    },
    publish::SourceUse,
};

/// What the process remembers of one credential.
#[derive(Default)]
pub(super) struct State {
    pub(super) uid: String,
    pub(super) memory: Memory,
    /// This process has decided nothing of it yet: the wait that its status shows counts.
    pub(super) undecided: bool,
    pub(super) held: Option<Held>,
    /// The answer to a refresh that could not be stored yet: it exists only here.
    pub(super) unsaved: Option<Box<Answered>>,
    /// Marks on the state Secret, as far as this process knows more than they say.
    pub(super) marks: Remembered,
    /// The last own write of the state Secret since the failure that is being waited out.
    pub(super) own_writes: Option<OwnWrites>,
    /// The attempts to revoke the token of a credential that has ended (`notAfter`) are over. True if it was revoked.
    pub(super) revoked_at_end: Option<bool>,
    /// The published token, of a credential that wants it revoked at its end: the Secret may be gone by then.
    pub(super) revocable: Option<Revocable>,
    /// The status written last and its version, until the watch has shown it.
    pub(super) written: Option<(String, ApiCredentialStatus)>,
    /// The Secret of an earlier credential of this name: its UID, the UID of its owner, and since when it is seen.
    pub(super) owner_gone: Option<(String, String, Instant)>,
    /// Statuses in a row that could not be written.
    pub(super) lost_statuses: u32,
    /// Since when reconciles end by a defect, or since the last line about it, and how many.
    pub(super) defects: Option<(std::time::Instant, u32)>,
    /// When the token of another operator was issued that was counted last.
    pub(super) foreign: Option<Timestamp>,
    /// What was said of it in the log.
    pub(super) journal: Journal,
    /// The status that the log knows, if the cluster does not have it.
    pub(super) reported: Option<Box<ApiCredentialStatus>>,
    /// How pods were notified of the last write; none if the credential does not ask for it.
    pub(super) notified: Option<Notified>,
    /// Ids of the answer that refused a client secret; the next line of the log about it names them.
    pub(super) refused: Option<Box<Ids>>,
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
            && self.refused.is_none()
            && self.notified.is_none()
    }
}

/// A token that was received and could not be written yet.
#[derive(Clone)]
pub(super) struct Held {
    pub(super) token: Arc<Token>,
    pub(super) sources: SourceUse,
    pub(super) fingerprint: String,
    /// The validity of the certificate that authenticated the client.
    pub(super) certificate_validity: Option<Validity>,
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

/// A credential that is being deleted and has the finalizer, or one that has ended and wants its token revoked.
pub(super) struct Leaving {
    pub(super) key: Key,
    pub(super) uid: String,
    /// It stays: `spec.notAfter` has passed.
    pub(super) ended: bool,
    /// When this process saw the deletion or the end.
    pub(super) since: Instant,
    /// How long it may take from then on.
    pub(super) deadline: Duration,
    /// Its token, if this process has it: the Secret may go first.
    pub(super) token: Option<Revocable>,
    /// A token that was issued and could not be written.
    pub(super) unwritten: Option<Revocable>,
    /// Is there something to revoke?
    pub(super) has_token: bool,
}

/// These credentials, for the task that revokes their tokens.
pub(super) struct LeavingQueue {
    sender: UnboundedSender<Leaving>,
    receiver: Mutex<Option<UnboundedReceiver<Leaving>>>,
    /// By UID.
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
    /// Is this one known already?
    pub(super) fn has(&self, uid: &str) -> bool {
        lock(&self.under_way).contains(uid)
    }

    pub(super) fn send(&self, leaving: Leaving) {
        if lock(&self.under_way).insert(leaving.uid.clone()) {
            // A closed channel means that the process is ending.
            let _ = self.sender.send(leaving);
        }
    }

    /// What was sent; once.
    pub(super) fn receive(&self) -> Option<UnboundedReceiver<Leaving>> {
        lock(&self.receiver).take()
    }

    /// This one has ended.
    pub(super) fn ended(&self, uid: &str) {
        lock(&self.under_way).remove(uid);
    }
}

/// A write that pods are to be notified of.
pub(super) struct Write {
    pub(super) key: Key,
    pub(super) uid: String,
    pub(super) selector: String,
    pub(super) written: Timestamp,
}

/// The writes that pods are to be notified of, for the task that does it.
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
        // A closed channel means that the process is ending.
        let _ = self.sender.send(write);
    }

    /// What was sent; once.
    pub(super) fn receive(&self) -> Option<UnboundedReceiver<Write>> {
        lock(&self.receiver).take()
    }
}
