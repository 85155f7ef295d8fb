//! Decides which changes of a status are events.

use super::{Outcome, RenewalCause};
use crate::{ConditionType, Reason, StoredReason, api::ApiCredentialStatus, printable::head};

/// Longest note of an event in bytes (not in characters). The API server rejects a longer one.
const MAX_NOTE: usize = 1024;
/// Most bytes of an object's name in the name of an event, which has at most 253.
const MAX_STEM: usize = 200;
/// Longest name of a reporting instance. The API server rejects a longer one.
const MAX_INSTANCE: usize = 128;

/// The note of an event, cut to the length that the API server accepts.
pub fn event_note(note: &str) -> &str {
    head(note, MAX_NOTE)
}

/// The name of the reporting instance of an event, cut to the length that the API server accepts.
pub fn event_instance(name: &str) -> &str {
    head(name, MAX_INSTANCE)
}

/// The name of an event about an object. Each part between dots begins and ends with a letter or digit, also where the object's name is cut.
pub fn event_name(object: &str, suffix: &str) -> String {
    let stem = head(object, MAX_STEM).trim_end_matches(['.', '-']);
    format!("{stem}.{suffix}")
}

/// An event on a change of state.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Notice {
    /// Normal or warning.
    pub severity: Severity,
    /// Stable reason.
    pub reason: StoredReason,
    /// The message.
    pub note: String,
}

/// Type of an event.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Severity {
    /// A success, or a planned change.
    Normal,
    /// A user must act.
    Warning,
}

/// Why there is no token, or why the renewal of the present one fails: reason and message.
fn problem(status: &ApiCredentialStatus) -> Option<(StoredReason, String)> {
    let ready = ConditionType::Ready
        .find(&status.conditions)
        .filter(|c| c.status == "False");
    let failing = || ConditionType::RenewalFailing.find(&status.conditions);
    let found = ready.or_else(failing)?;
    Some((found.reason.as_str().into(), found.message.clone()))
}

/// A condition: is it `True`, its reason, its message.
type State = (bool, StoredReason, String);

fn state(status: &ApiCredentialStatus, kind: ConditionType) -> Option<State> {
    kind.find(&status.conditions).map(|c| {
        let reason = StoredReason::from(c.reason.as_str());
        (c.status == "True", reason, c.message.clone())
    })
}

fn warning(reason: StoredReason, note: String) -> Notice {
    Notice {
        severity: Severity::Warning,
        reason,
        note,
    }
}

fn normal(reason: Reason, note: String) -> Notice {
    Notice {
        severity: Severity::Normal,
        reason: reason.into(),
        note,
    }
}

/// Events report changes. A healthy renewal is not an event, because an event is also a write. A first token is not an event either: status
/// shows it with its time, and ten thousand new credentials would be ten thousand events.
pub(super) fn notices(
    old: &ApiCredentialStatus,
    new: &ApiCredentialStatus,
    outcome: &Outcome,
) -> Vec<Notice> {
    let published = published(old, new, outcome).into_iter();
    published
        .chain(began(old, new, outcome))
        .chain(accepted(old, new))
        .chain(warnings(old, new))
        .collect()
}

/// A token exists again, or its renewal works again.
fn published(
    old: &ApiCredentialStatus,
    new: &ApiCredentialStatus,
    outcome: &Outcome,
) -> Option<Notice> {
    let ready = ConditionType::Ready;
    let (was_ready, is_ready) = (state(old, ready), state(new, ready));
    let reported = was_ready.is_some_and(|r| !r.0 && !r.1.is(Reason::is_first_request));
    let ready = is_ready.as_ref().is_some_and(|r| r.0);
    let note = || is_ready.as_ref().map(|r| r.2.clone()).unwrap_or_default();
    if ready && reported {
        return Some(normal(Reason::TokenPublished, note()));
    }
    let Outcome::Minted(minted) = outcome else {
        return None;
    };
    if minted.why == RenewalCause::Edited {
        let note = "another writer changed the token in the Secret; a new one was published";
        return Some(warning(Reason::TargetRepaired.into(), note.to_owned()));
    }
    // A second operator is not a fault of the renewal that has just succeeded.
    let failed = problem(old)
        .is_some_and(|l| !l.0.is(Reason::is_wait) && l.0.known() != Some(Reason::AnotherOperator));
    failed.then(|| normal(Reason::Renewed, note()))
}

/// There is no token any more, or its renewal fails, for another reason than before.
fn began(
    old: &ApiCredentialStatus,
    new: &ApiCredentialStatus,
    outcome: &Outcome,
) -> Option<Notice> {
    let (reason, note) = problem(new)?;
    if problem(old).is_some_and(|(old, _)| old == reason) {
        return None;
    }
    // If an issuer requested a pause, only the credential whose request was answered reports it. Other waits are temporary.
    if matches!(outcome, Outcome::Waiting { reason, .. } if reason.is_wait()) {
        return None;
    }
    // A token that is still in its Secret after the end is a fault.
    let planned = reason.is(|r| r == Reason::Ended) && !matches!(outcome, Outcome::Failed);
    Some(Notice {
        severity: if planned {
            Severity::Normal
        } else {
            Severity::Warning
        },
        reason,
        note,
    })
}

/// None of the client's secrets and certificates fails any more.
fn accepted(old: &ApiCredentialStatus, new: &ApiCredentialStatus) -> Option<Notice> {
    let secrets = ConditionType::ClientCredentialExpiring;
    let reason = |s: &ApiCredentialStatus| state(s, secrets).map(|(_, reason, _)| reason);
    let of_copy = |r: &StoredReason| r.known() == Some(Reason::LastGoodNotWritten);
    let failed = reason(old).is_some_and(|r| !r.is(Reason::is_about_expiry) && !of_copy(&r));
    // Reasons are ordered, so only one that comes after a failure shows that there is none.
    let none = reason(new).is_none_or(|r| r.is(Reason::warns_of_expiry) || of_copy(&r));
    let note = || match new.client_in_use() {
        Some(used) => format!("no entry of the list fails any more; {used} is in use"),
        None => "no entry of the list fails any more".to_owned(),
    };
    (failed && none).then(|| normal(Reason::ClientCredentialAccepted, note()))
}

/// Warning conditions that are new or have another reason.
fn warnings(old: &ApiCredentialStatus, new: &ApiCredentialStatus) -> Vec<Notice> {
    let mut out = Vec::new();
    for kind in [
        ConditionType::LifetimeAtRisk,
        ConditionType::PermissionsMissing,
        ConditionType::PermissionsExceeded,
        ConditionType::ClientCredentialExpiring,
        ConditionType::AnnotationsIgnored,
    ] {
        // A warning that changed (expiring, expired) is new as well. For what a token lacks, the message is compared too, because the reason is
        // only that of the first finding.
        let all = matches!(
            kind,
            ConditionType::PermissionsMissing | ConditionType::PermissionsExceeded
        );
        let was = state(old, kind);
        let same = |reason: &StoredReason, note: &String| {
            let was = was.as_ref();
            was.is_some_and(|(_, r, n)| r == reason && (!all || n == note))
        };
        if let Some((true, reason, note)) = state(new, kind)
            && !same(&reason, &note)
        {
            out.push(warning(reason, note));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_the_length_and_the_name_that_the_api_server_accepts() {
        let long = "証".repeat(900);
        assert_eq!(event_note(&long).len(), 1023, "at whole characters");
        assert_eq!(event_note("short"), "short");
        assert_eq!(event_instance(&"a".repeat(253)).len(), 128);
        for after in [".b", "-b", "--b", "b", ""] {
            for stem in 196..=201 {
                let object = format!("{}{after}", "a".repeat(stem));
                let name = event_name(&object, "0123456789abcdef");
                let part = |p: &str| {
                    let edge = |c: char| c.is_ascii_alphanumeric();
                    p.starts_with(edge) && p.ends_with(edge)
                };
                assert!(name.split('.').all(part), "{name}");
                assert!(name.len() <= 253);
            }
        }
    }
}
