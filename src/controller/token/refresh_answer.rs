//! The answer to a refresh. It is stored before anything else, also during a shutdown of the process.

use crate::Reason;
use std::{sync::Arc, time::Duration};

use tracing::Instrument;

use super::{
    exchange::Acquired,
    orphans,
    refresh_token::Answered,
    state_secret::{self, Stored},
};
use crate::controller::{context::Context, locks::lock};
use crate::{
    credential::Credential,
    oauth::{
        Class, TokenError,
        renewal::{Notes, TokenState},
        spent::{self, Spent},
    },
    plan::fingerprint,
    publish::SourceUse,
};

/// The wait between two attempts to store an answer during a shutdown.
const AGAIN: Duration = Duration::from_secs(1);

/// Stores an answer, then returns its token or its token error.
pub(super) async fn store(
    context: &Context,
    credential: &Credential,
    mut answered: Answered,
) -> Result<Acquired, TokenError> {
    let token_state = answered.token_state();
    let sent = &answered.sent;
    context.remember_answer(credential, sent, token_state);
    if token_state == TokenState::Rotated && !credential.issuer.reuse.is_always() {
        let mut memory = lock(&context.spent);
        answered.new.iter().for_each(|new| memory.forget(new));
        let spent = Spent::new(&sent.token, sent.at, true);
        memory.note(&credential.namespace, &spent);
    }
    let stored = state_secret::finish(context, credential, &mut answered).await;
    let irreplaceable = matches!(
        token_state,
        TokenState::Rotated | TokenState::Unchanged | TokenState::Dead
    );
    match stored {
        Ok(Stored::Yes) => context.clear_void_marks(credential),
        Ok(Stored::Replaced) => {
            context.forget_marks(credential);
            answered.came.result?;
            return Err(TokenError::local(
                Class::Transient,
                Reason::StateChanged,
                "a user signed in again while a refresh was in flight; apicred uses the newer refresh token",
            ));
        }
        Err(token_error) if irreplaceable => {
            context.hold_unsaved(credential, answered);
            return Err(token_error);
        }
        // The mark is not removed, and this process knows its request.
        Err(_) => {}
    }
    let token = Arc::new(answered.came.result?);
    context.forget_own_writes(credential);
    let notes = Notes::read(answered.state.annotations.as_ref());
    Ok(Acquired {
        token,
        sources: SourceUse {
            used: answered.used,
            with: vec![answered.state.mark()],
            refused: Vec::new(),
        },
        fingerprint: answered.fingerprint,
        certificate_validity: None,
        issuer: answered.state.issuer,
        spent: (!notes.spent.is_empty()).then(|| spent::write(&notes.spent)),
    })
}

/// The result for an answer that could not be stored before.
pub(in crate::controller) enum Unsaved {
    /// There was no such answer.
    Nothing,
    /// The answer is stored, or was replaced by another sign-in, and it does not belong to the current request. The Secret must be read again.
    Settled,
    /// The result of the answer.
    RefreshResult(Box<Result<Acquired, TokenError>>),
}

/// Stores an answer that could not be stored before. This runs in its own task, because the answer must not be lost with the reconcile.
pub(in crate::controller) async fn store_unsaved(
    context: &Arc<Context>,
    credential: &Credential,
) -> Unsaved {
    let Some(unsaved) = context.take_unsaved(credential) else {
        return Unsaved::Nothing;
    };
    let current = unsaved.request == fingerprint::request(credential);
    let in_flight = context.refreshes.begin();
    let (context, credential) = (Arc::clone(context), credential.clone());
    let work = async move {
        let _in_flight = in_flight;
        store(&context, &credential, *unsaved).await
    };
    let task = tokio::spawn(work.in_current_span());
    match task.await.unwrap_or_else(|_| Err(abandoned())) {
        Err(token_error) if token_error.reason == Reason::StateChanged => Unsaved::Settled,
        Ok(_) if !current => Unsaved::Settled,
        result => Unsaved::RefreshResult(Box::new(result)),
    }
}

/// The answers to refreshes that exist only in this process, for the shutdown of the process.
pub struct Answers(pub(in crate::controller) Arc<Context>);

impl Answers {
    /// The number of answers: refreshes in flight, and answers that could not be stored yet.
    pub fn count(&self) -> usize {
        self.0.refreshes.count() + self.0.unsaved().len() + self.0.orphans.len()
    }

    /// Waits until all answers are stored, and retries those that could not be stored. Call this only when nothing else works
    /// on the credentials any more. Set a deadline: an API server that does not respond delays the last write.
    pub async fn stored(&self) {
        let context = &self.0;
        loop {
            let unsaved = context.unsaved();
            let tries = unsaved.iter().map(async |credential| {
                store_unsaved(context, credential).await;
            });
            futures::future::join_all(tries).await;
            orphans::store(context);
            context.refreshes.stored().await;
            if context.unsaved().is_empty() {
                return;
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}

pub(super) fn abandoned() -> TokenError {
    TokenError::local(
        Class::Transient,
        Reason::InternalError,
        "the refresh was abandoned; apicred tries again",
    )
}
