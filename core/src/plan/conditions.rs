//! Conditions whose `lastTransitionTime` changes only with their status.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::{ConditionType, StoredReason, printable};

/// Longest message in characters: users read conditions, and objects must stay small.
const MAX_MESSAGE: usize = 1024;

/// Creates conditions of one object at one time.
#[derive(Clone, Copy)]
pub struct Conditions<'a> {
    /// The conditions in status.
    pub previous: &'a [Condition],
    /// Generation that the new conditions are about.
    pub generation: i64,
    /// The time.
    pub now: Timestamp,
}

impl Conditions<'_> {
    /// A condition. It retains the transition time of the previous one if its status is the same.
    pub fn condition(
        &self,
        kind: ConditionType,
        on: bool,
        reason: impl Into<StoredReason>,
        message: &str,
    ) -> Condition {
        let status = if on { "True" } else { "False" };
        self.with_status(kind, status, &reason.into(), message)
    }

    /// The same with status `Unknown`.
    pub fn unknown(
        &self,
        kind: ConditionType,
        reason: impl Into<StoredReason>,
        message: &str,
    ) -> Condition {
        self.with_status(kind, "Unknown", &reason.into(), message)
    }

    fn with_status(
        &self,
        kind: ConditionType,
        status: &str,
        reason: &StoredReason,
        message: &str,
    ) -> Condition {
        let since = kind
            .find(self.previous)
            .filter(|c| c.status == status)
            .map(|c| c.last_transition_time.clone());
        // Messages are also sent as events. They are escaped only here, because a spec, an issuer or an object's name may contain any
        // character.
        let message = printable(message);
        let cut = message
            .char_indices()
            .nth(MAX_MESSAGE)
            .map_or(&*message, |(at, _)| &message[..at]);
        Condition {
            type_: kind.as_str().to_owned(),
            status: status.to_owned(),
            reason: reason.as_str().to_owned(),
            message: cut.to_owned(),
            observed_generation: Some(self.generation),
            last_transition_time: since.unwrap_or_else(|| time(self.now)),
        }
    }
}

/// The time in whole seconds, as the API server stores it, so that a comparison works.
pub fn time(at: Timestamp) -> Time {
    Time(crate::whole_second(at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reason;

    #[test]
    fn no_control_or_format_character_of_a_message_reaches_a_terminal() {
        let conditions = Conditions {
            previous: &[],
            generation: 1,
            now: Timestamp::UNIX_EPOCH,
        };
        let shown = |message: &str| {
            let reason = Reason::ScopeNotAllowed;
            conditions.condition(ConditionType::Ready, false, reason, message)
        };
        let hostile = "does not give \"\u{1b}]0;pwned\u{7}\u{202e}\nReady\"";
        assert_eq!(
            shown(hostile).message,
            "does not give \"\\u{1b}]0;pwned\\u{7}\\u{202e}\\nReady\""
        );
        let long = "\u{1b}".repeat(MAX_MESSAGE);
        assert_eq!(shown(&long).message.len(), MAX_MESSAGE);
    }
}
