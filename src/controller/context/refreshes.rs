//! What the process remembers of the refreshes of one credential: marks on its state Secret, answers that are not stored.

use super::Context;
use crate::controller::token::refresh_token::Answered;
use crate::{
    credential::Key,
    oauth::renewal::{Remembered, Send, Sent, TokenState},
    plan::OwnWrites,
};

impl Context {
    /// What this process knows of the marks, beside what they say.
    pub(in crate::controller) fn marks(&self, key: &Key, uid: &str) -> Remembered {
        self.with_state(key, uid, |s| s.marks.clone())
    }

    /// The write of a mark begins.
    pub(in crate::controller) fn begin_mark(&self, key: &Key, uid: &str, how: &Send) {
        self.with_state(key, uid, |s| s.marks.marking(how));
    }

    /// The API server has refused the write of a mark.
    pub(in crate::controller) fn drop_mark(&self, key: &Key, uid: &str, how: &Send) {
        self.with_state(key, uid, |s| s.marks.not_marked(how));
    }

    /// A request is sent, or its answer is stored: no mark is known to stand for no request any more.
    pub(in crate::controller) fn clear_void_marks(&self, key: &Key, uid: &str) {
        self.with_state(key, uid, |s| s.marks.void.clear());
    }

    /// Another sign-in has replaced the refresh token that the marks are about.
    pub(in crate::controller) fn forget_marks(&self, key: &Key, uid: &str) {
        self.with_state(key, uid, |s| s.marks = Remembered::default());
    }

    /// Remembers what the answer to a request says about the refresh token, until that is stored.
    pub(in crate::controller) fn remember_answer(
        &self,
        key: &Key,
        uid: &str,
        sent: &Sent,
        token_state: TokenState,
    ) {
        self.with_state(key, uid, |s| {
            // Until the mark is off, this process knows better than the mark.
            if token_state == TokenState::Intact && sent.how.mark.is_some() {
                s.marks.marking(&sent.how);
            }
            let mark = sent.how.doubt.clone().or_else(|| sent.how.mark.clone());
            s.marks.doubt = match token_state {
                TokenState::Unknown => mark.map(|m| (sent.token.clone(), m)),
                TokenState::Intact => sent.how.doubt.clone().map(|m| (sent.token.clone(), m)),
                TokenState::Rotated | TokenState::Kept | TokenState::Dead => None,
            };
        });
    }

    /// Holds an answer that could not be stored.
    pub(in crate::controller) fn hold_unsaved(&self, key: &Key, uid: &str, answered: Answered) {
        self.with_state(key, uid, |s| s.unsaved = Some(Box::new(answered)));
    }

    /// Takes an answer that could not be stored, to store it now.
    pub(in crate::controller) fn take_unsaved(
        &self,
        key: &Key,
        uid: &str,
    ) -> Option<Box<Answered>> {
        self.with_state(key, uid, |s| s.unsaved.take())
    }

    /// An own write of the state Secret has made `version` of the version `before`, which was seen to change at
    /// `changed_at`.
    pub(in crate::controller) fn wrote_state(
        &self,
        key: &Key,
        uid: &str,
        (before, version): (String, String),
        changed_at: Option<jiff::Timestamp>,
    ) {
        self.with_state(key, uid, |s| {
            let earlier = s.own_writes.take().filter(|own| own.version == before);
            s.own_writes = Some(OwnWrites {
                version,
                ..earlier.unwrap_or(OwnWrites {
                    version: String::new(),
                    stands_for: before,
                    changed_at,
                })
            });
        });
    }

    /// A token came: no failure is waited out that depends on own writes.
    pub(in crate::controller) fn forget_own_writes(&self, key: &Key, uid: &str) {
        self.with_state(key, uid, |s| s.own_writes = None);
    }
}
