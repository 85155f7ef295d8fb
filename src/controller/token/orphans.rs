//! New refresh tokens that could not be stored before their credential was deleted. The state Secret is kept when the credential is deleted (a tool
//! that replaces an object deletes and recreates it), so they are stored nevertheless.

use std::{mem::take, sync::Arc};

use super::state_secret;
use crate::controller::{context::Context, locks::lock};

/// Stores them, for ever.
pub(in crate::controller) async fn run(context: Arc<Context>) {
    loop {
        store(&context);
        context.orphans.raised.notified().await;
    }
}

/// Begins to store those that are there: each in a task that the end of the process waits for, and for as long as any other
/// answer is tried.
pub(in crate::controller) fn store(context: &Arc<Context>) {
    let answers = {
        // Both locks in the order of `Orphans::concern`, so that none is in neither list.
        let mut storing = lock(&context.orphans.storing);
        let answers = take(&mut *lock(&context.orphans.kept));
        storing.extend(answers.iter().map(|answered| answered.credential.key()));
        answers
    };
    for mut answered in answers {
        let in_flight = context.refreshes.begin();
        let context = Arc::clone(context);
        tokio::spawn(async move {
            let _in_flight = in_flight;
            let credential = answered.credential.clone();
            // Nothing is left to report it on: the status is gone with the credential.
            let _ = state_secret::finish(&context, &credential, &mut answered).await;
            let mut storing = lock(&context.orphans.storing);
            if let Some(at) = storing.iter().position(|key| *key == credential.key()) {
                storing.swap_remove(at);
            }
        });
    }
}
