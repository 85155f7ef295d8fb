//! Conditions whose `lastTransitionTime` moves only when their status flips.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::printable;

/// Longest message that is written: conditions are read by people, and objects stay small.
const MAX_MESSAGE: usize = 1024;

/// A condition of `kind`, keeping the transition time of `previous` if its status is the same.
pub fn condition(
    previous: &[Condition],
    kind: &str,
    status: bool,
    reason: &str,
    message: &str,
    generation: i64,
    now: Timestamp,
) -> Condition {
    let status = if status { "True" } else { "False" };
    with_status(previous, kind, status, (reason, message), generation, now)
}

/// The same with status `Unknown`.
pub(super) fn unknown(
    previous: &[Condition],
    (kind, reason): (&str, &str),
    message: &str,
    generation: i64,
    now: Timestamp,
) -> Condition {
    with_status(
        previous,
        kind,
        "Unknown",
        (reason, message),
        generation,
        now,
    )
}

fn with_status(
    previous: &[Condition],
    kind: &str,
    status: &str,
    (reason, message): (&str, &str),
    generation: i64,
    now: Timestamp,
) -> Condition {
    let since = find(previous, kind)
        .filter(|c| c.status == status)
        .map(|c| c.last_transition_time.clone());
    // Events repeat messages, so this one place escapes what a spec, an issuer or an object's name put into one.
    let message = printable(message);
    let cut = message
        .char_indices()
        .nth(MAX_MESSAGE)
        .map_or(&*message, |(at, _)| &message[..at]);
    Condition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: cut.to_owned(),
        observed_generation: Some(generation),
        last_transition_time: since.unwrap_or_else(|| time(now)),
    }
}

/// The condition of a kind.
pub(super) fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|c| c.type_ == kind)
}

/// Whole seconds: what the API server stores, so that a comparison with it holds.
pub(super) fn time(at: Timestamp) -> Time {
    Time(Timestamp::from_second(at.as_second()).unwrap_or(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_control_or_format_character_of_a_message_reaches_a_terminal() {
        let hostile = "does not give \"\u{1b}]0;pwned\u{7}\u{202e}\nReady\"";
        let shown = condition(
            &[],
            "Ready",
            false,
            "ScopeNotAllowed",
            hostile,
            1,
            Timestamp::UNIX_EPOCH,
        );
        assert_eq!(
            shown.message,
            "does not give \"\\u{1b}]0;pwned\\u{7}\\u{202e}\\nReady\""
        );
        let long = "\u{1b}".repeat(MAX_MESSAGE);
        let shown = condition(&[], "Ready", false, "X", &long, 1, Timestamp::UNIX_EPOCH);
        assert_eq!(shown.message.len(), MAX_MESSAGE);
    }
}
