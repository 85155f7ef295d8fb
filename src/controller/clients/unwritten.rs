//! Reports a write of the Secret that the API server rejects, and a step that repeatedly has no effect.

use std::time::Duration;

use super::{
    driver::{Driver, StepInputs},
    patience::pause,
    step_name::StepName,
};
use crate::{
    controller::api::calls::{ApiErrorKind, Failed},
    rotation::{Next, Step},
};

/// The number of consecutive times that the API server may be unavailable before this is reported.
const SELDOM: u32 = 3;

/// The message about a failed write; `before` is the number of consecutive failures before it. The message of the API server
/// may repeat the content of the Secret, so it is only in the log.
pub(super) fn unwritten(secret: &str, failed: &Failed, before: u32) -> Option<String> {
    if failed.error_kind == ApiErrorKind::Unavailable && before + 1 < SELDOM {
        return None;
    }
    let rejected_by = failed.server_message.rejected_by();
    let rejected_by = rejected_by.unwrap_or_else(|| failed.error_kind.as_str().to_owned());
    Some(format!(
        "Secret {secret} could not be written, so the rotation waits: {rejected_by}; allow apicred to write it; the operator's log contains the message of the API server"
    ))
}

impl Driver {
    /// Handles a step without effect. Returns the wait before the next attempt.
    pub(super) fn had_no_effect(&mut self, inputs: &StepInputs, next: &Next) -> Duration {
        let times = self.failures.saturating_add(1);
        let stuck = stuck(&inputs.rotating.secret, &next.step, times);
        // The response of the API server is more precise.
        self.stuck = stuck.filter(|_| self.unwritten.is_none());
        self.decided(next);
        if let Some(id) = self.held_id().filter(|_| self.failures == 0) {
            tracing::warn!(
                namespace = self.key.namespace,
                name = self.key.name,
                key_id = id,
                "a client secret that the issuer made is not stored yet; apicred tries again"
            );
        }
        self.failures = times;
        pause(times, self.context.refreshes.are_awaited())
    }
}

/// The message about a step that had no effect this number of consecutive times, although no request failed: its input changes
/// at each attempt, or cannot be generated or read.
pub(super) fn stuck(secret: &str, step: &Step, times: u32) -> Option<String> {
    if times < SELDOM {
        return None;
    }
    let because = match step {
        Step::Write { .. } => {
            return Some(format!(
                "another writer changed Secret {secret} before each write of the rotation, so the rotation waits; find that writer in metadata.managedFields, and stop it"
            ));
        }
        Step::MakeKeyPair { .. } => {
            "a key like that of the current value cannot be generated; store one of a usual type and size"
        }
        _ => "the content of the Secret does not fit its purpose, or changes each time",
    };
    Some(format!(
        "a step of the rotation ({:?}) had no effect several times in a row, so the rotation waits: {because}; the operator's log contains more about Secret {secret}",
        StepName(step)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_the_api_server_refuses_is_reported_at_once() {
        let failed = |error_kind: ApiErrorKind| Failed::from(error_kind);
        let reported = unwritten("orders", &failed(ApiErrorKind::Invalid), 0).expect("a report");
        assert!(
            reported.starts_with("Secret orders could not be written")
                && reported.contains("invalid")
        );
        // A short failure is not reported.
        let unavailable = failed(ApiErrorKind::Unavailable);
        assert_eq!(unwritten("orders", &unavailable, SELDOM - 2), None);
        // Reported as early as the step itself would be reported.
        assert!(unwritten("orders", &unavailable, SELDOM - 1).is_some());
    }

    #[test]
    fn a_step_that_repeatedly_has_no_effect_is_reported() {
        let step = Step::MakeKeyPair {
            n: 1,
            name: "n".to_owned(),
            until: jiff::Timestamp::UNIX_EPOCH,
        };
        assert_eq!(stuck("orders", &step, SELDOM - 1), None);
        let message = stuck("orders", &step, SELDOM).expect("a report");
        assert!(message.contains("make a key pair") && message.contains("Secret orders"));
        let remove = Step::RemoveKey { id: "k".to_owned() };
        let message = stuck("orders", &remove, SELDOM + 9).expect("a report");
        assert!(message.contains("remove a certificate"), "{message}");
    }
}
