//! New refresh tokens that could not be stored before their credential was deleted. The state Secret is not deleted with the
//! credential (a tool that replaces an object deletes and recreates it), so these refresh tokens are stored as well.

use std::{mem::take, sync::Arc};

use super::state_secret;
use crate::controller::{context::Context, locks::lock};

/// Stores these refresh tokens. Never returns.
pub(in crate::controller) async fn run(context: Arc<Context>) {
    loop {
        store(&context);
        context.orphans.raised.notified().await;
    }
}

/// Starts to store the current ones: each one in its own task. The shutdown of the process waits for these tasks, and they
/// retry for as long as for any other answer.
pub(in crate::controller) fn store(context: &Arc<Context>) {
    let answers = {
        // Both locks in the order of `Orphans::concern`, so that each answer is always in one of the lists.
        let mut storing = lock(&context.orphans.storing);
        let answers = take(&mut *lock(&context.orphans.waiting));
        storing.extend(answers.iter().map(|answered| answered.credential.key()));
        answers
    };
    for mut answered in answers {
        let in_flight = context.refreshes.begin();
        let context = Arc::clone(context);
        tokio::spawn(async move {
            let _in_flight = in_flight;
            let credential = answered.credential.clone();
            // A failure cannot be reported: the status was deleted with the credential.
            let _ = state_secret::finish(&context, &credential, &mut answered).await;
            let mut storing = lock(&context.orphans.storing);
            if let Some(at) = storing.iter().position(|key| *key == credential.key()) {
                storing.swap_remove(at);
            }
        });
    }
}
