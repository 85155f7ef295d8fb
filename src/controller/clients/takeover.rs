//! What a process knows of a rotation that another process drove before: the content of the status.

use jiff::{SignedDuration, Timestamp};

use super::driver::Driver;
use crate::{
    ConditionType,
    api::ApiClientStatus,
    plan::{fingerprint::fraction, schedule},
    rotation::{Memory, Phase},
};

/// The certificate that is being added, or was added and has not been used to get a token yet.
fn begun(status: &ApiClientStatus) -> Option<String> {
    let since = Timestamp::MIN;
    let states = [Phase::Adding { n: 0, since }, Phase::Added { since }].map(|s| s.as_str());
    let state = status.rotation_state.as_deref()?;
    let mut next = status.keys.iter().filter(|key| key.state == "Next");
    next.next()?
        .thumbprint
        .clone()
        .filter(|_| states.contains(&state))
}

impl Driver {
    /// Called at the first reconcile, so that a process counts from the time at which it starts to act. The previous process
    /// may have read the application a short time ago.
    pub(super) fn takes_over(&mut self) {
        let (now, pace) = (
            self.context.clock.now(),
            &self.context.settings.rotation.pace,
        );
        self.memory = Memory::new(now, pace);
        let client = self.client();
        let status = client.as_ref().and_then(|client| client.status.as_ref());
        self.uploads.begun = status.and_then(begun);
        let blocked = status.and_then(|s| ConditionType::RotationBlocked.find(&s.conditions));
        if blocked.is_some() {
            // It is reported again only if it is observed again.
            self.memory = Memory::new(now, pace).blocked_before();
            return;
        }
        // Within a day, if an orphan is removed after an hour. The time differs for each client, so that a restart causes no burst.
        let within = pace.orphan_age.as_secs_f64() * 24.0 * fraction(&[&self.uid]);
        let within = SignedDuration::try_from_secs_f64(within).unwrap_or_default();
        let was_observed = status.is_some_and(|status| status.rotation_state.is_some());
        let memory = Memory::new(now, pace).reading_by(schedule::later(now, within));
        self.memory = memory.reconciled_before(was_observed);
    }
}
