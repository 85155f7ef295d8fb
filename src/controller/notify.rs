//! Passes writes of target Secrets to the notifier of pods (`spec.target.notifyPods`). Returns immediately.

use jiff::Timestamp;

use super::{context::Context, state::Write};
use crate::{credential::Credential, plan::Observed};

/// Records that the Secret of this credential was written now. Returns immediately.
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

/// Continues the notifications of an earlier process, and the failed ones that are retried.
pub(super) fn take_up(context: &Context, credential: &Credential, observed: &Observed) {
    if let Some(written) = observed.to_notify(credential, context.clock.now()) {
        wrote(context, credential, written);
    }
}
