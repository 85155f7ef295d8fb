//! One reconciliation of one credential: the value that its steps share.

use std::sync::Arc;

use super::{
    context::Context,
    state::{Revocable, UnpublishedToken},
};
use crate::{
    credential::{Credential, Key},
    oauth::TokenError,
    plan::{Observed, Outcome, fail},
};

/// The inputs of the steps of one reconciliation, and the memory that the steps change. The memory is stored once, at the end.
/// The exception is a token that was received and is not written yet: it is stored immediately, because a deletion in the meantime revokes it.
pub(super) struct Reconciliation<'a> {
    pub(super) context: &'a Arc<Context>,
    pub(super) credential: &'a Credential,
    /// The key of the credential.
    pub(super) key: Key,
    /// What was observed at the start; the steps change `observed.memory`.
    pub(super) observed: Observed,
}

impl<'a> Reconciliation<'a> {
    pub(super) fn new(
        context: &'a Arc<Context>,
        credential: &'a Credential,
        observed: Observed,
    ) -> Self {
        Self {
            context,
            credential,
            key: credential.key(),
            observed,
        }
    }

    /// Reconciles again immediately: the next plan uses what was learned.
    pub(super) fn again(&self) -> Outcome {
        Outcome::Queued {
            until: self.context.clock.now(),
        }
    }

    /// Stores a failed attempt in the memory. The log reports it once, as the condition that it causes.
    pub(super) fn failed(&mut self, token_error: TokenError) -> Outcome {
        tracing::debug!(
            reason = token_error.reason.as_str(),
            class = token_error.class.as_str(),
            http_status = token_error.http_status,
            error = token_error.error,
            code = token_error.code(),
            correlation_id = token_error.correlation_id,
            trace_id = token_error.trace_id,
            "{}",
            token_error.next_step
        );
        let now = self.context.clock.now();
        self.observed.memory = fail(self.credential, &self.observed, token_error, now);
        Outcome::Failed
    }

    /// Retains a token that is not written yet, so that another attempt to write needs no request to the issuer.
    pub(super) fn hold(&mut self, held: UnpublishedToken) {
        self.with_state(|state| state.held = Some(held));
        self.observed.held = true;
    }

    /// The token that is not written yet.
    pub(super) fn held(&self) -> Option<UnpublishedToken> {
        self.with_state(|state| state.held.clone())
    }

    /// Removes the token that is not written yet.
    pub(super) fn drop_held(&self) {
        self.with_state(|state| state.held = None);
    }

    /// Records that the held token was written. `revocable`: the token must be revoked when the credential is deleted.
    pub(super) fn written(&self, revocable: Option<Revocable>) {
        self.with_state(|state| {
            state.held = None;
            state.revocable = revocable;
            state.revoked_at_end = None;
        });
    }

    /// Stores the memory for the next reconciliation.
    pub(super) fn store_memory(&self) {
        self.with_state(|state| state.memory = self.observed.memory.clone());
    }

    fn with_state<T>(&self, change: impl FnOnce(&mut super::state::State) -> T) -> T {
        self.context.with_state_of(self.credential, change)
    }
}
