//! The in-memory state about the refreshes of one credential: marks on its state Secret, and answers that are not stored.

use super::Context;
use crate::controller::{locks::lock, token::refresh_token::Answered};
use crate::{
    credential::Credential,
    oauth::renewal::{Mark, Remembered, Send, Sent, TokenState},
    plan::OwnWrites,
};

impl Context {
    /// What this process knows about the marks, in addition to their content.
    pub(in crate::controller) fn marks(&self, credential: &Credential) -> Remembered {
        self.with_state_of(credential, |s| s.marks.clone())
    }

    /// The mark of another credential that sent the refresh token with this digest, if the outcome of its request is unknown.
    pub(in crate::controller) fn doubt_of_another(
        &self,
        credential: &Credential,
        token: &str,
    ) -> Option<Mark> {
        let key = credential.key();
        let states = lock(&self.states);
        let mut others = states.iter().filter(|(other, _)| **other != key);
        others.find_map(|(_, state)| {
            let doubt = state.marks.doubt.as_ref().filter(|(of, _)| of == token);
            doubt.map(|(_, mark)| mark.clone())
        })
    }

    /// Records that the write of a mark starts.
    pub(in crate::controller) fn begin_mark(&self, credential: &Credential, how: &Send) {
        self.with_state_of(credential, |s| s.marks.marking(how));
    }

    /// Records that the API server rejected the write of a mark.
    pub(in crate::controller) fn drop_mark(&self, credential: &Credential, how: &Send) {
        self.with_state_of(credential, |s| s.marks.not_marked(how));
    }

    /// Records that a request is sent, or its answer is stored: from now on, no mark is known to have no request.
    pub(in crate::controller) fn clear_void_marks(&self, credential: &Credential) {
        self.with_state_of(credential, |s| s.marks.void.clear());
    }

    /// Records that another sign-in replaced the refresh token that the marks refer to.
    pub(in crate::controller) fn forget_marks(&self, credential: &Credential) {
        self.with_state_of(credential, |s| s.marks = Remembered::default());
    }

    /// Stores in memory what the answer to a request states about the refresh token, until this is written.
    pub(in crate::controller) fn remember_answer(
        &self,
        credential: &Credential,
        sent: &Sent,
        token_state: TokenState,
    ) {
        self.with_state_of(credential, |s| {
            // Until the mark is removed, the information of this process is more precise than the mark.
            if token_state == TokenState::Intact && sent.how.mark.is_some() {
                s.marks.marking(&sent.how);
            }
            let mark = sent.how.doubt.clone().or_else(|| sent.how.mark.clone());
            s.marks.doubt = match token_state {
                TokenState::Unknown => mark.map(|m| (sent.token.clone(), m)),
                TokenState::Intact => sent.how.doubt.clone().map(|m| (sent.token.clone(), m)),
                TokenState::Rotated | TokenState::Unchanged | TokenState::Dead => None,
            };
        });
    }

    /// Stores an answer in memory that could not be written.
    pub(in crate::controller) fn hold_unsaved(&self, credential: &Credential, answered: Answered) {
        self.with_state_of(credential, |s| s.unsaved = Some(Box::new(answered)));
    }

    /// Takes an answer that could not be stored, to store it now.
    pub(in crate::controller) fn take_unsaved(
        &self,
        credential: &Credential,
    ) -> Option<Box<Answered>> {
        self.with_state_of(credential, |s| s.unsaved.take())
    }

    /// Records that an own write of the state Secret replaced version `before` with `version`. The change of `before` was observed at `changed_at`.
    pub(in crate::controller) fn wrote_state(
        &self,
        credential: &Credential,
        (before, version): (String, String),
        changed_at: Option<jiff::Timestamp>,
    ) {
        self.with_state_of(credential, |s| {
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

    /// Records that a token was obtained: no failure that depends on own writes remains.
    pub(in crate::controller) fn forget_own_writes(&self, credential: &Credential) {
        self.with_state_of(credential, |s| s.own_writes = None);
    }
}
