//! Hands writes of target Secrets to the notifier of pods (`spec.target.notifyPods`). It returns at once.

use jiff::Timestamp;

use super::{context::Context, state::Write};
use crate::{credential::Credential, plan::Observed};

/// The Secret of this credential was written just now. It returns at once.
pub(super) fn wrote(context: &Context, credential: &Credential, written: Timestamp) {
    let Some(selector) = credential.target.notify_pods.clone() else {
        return;
    };
    let write = Write {
        key: credential.key(),
        uid: credential.uid.clone(),
        selector,
        written,
    };
    context.with_state(&write.key, &write.uid, |state| {
        state.notified.get_or_insert_default().handed(written);
    });
    context.notifications.send(write);
}

/// Takes up what another process may have left, and what failed and is tried again.
pub(super) fn take_up(context: &Context, credential: &Credential, observed: &Observed) {
    if let Some(written) = observed.to_notify(credential, context.clock.now()) {
        wrote(context, credential, written);
    }
}
