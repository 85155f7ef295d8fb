//! Decides which changes of a status are events.

use super::{Outcome, Why};
use crate::{ConditionType, Reason, StoredReason, api::ApiCredentialStatus};

/// An event on a change of state.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Notice {
    /// Normal or warning.
    pub severity: Severity,
    /// Stable reason.
    pub reason: StoredReason,
    /// In words.
    pub note: String,
}

/// Type of an event.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Severity {
    /// Good news.
    Normal,
    /// Something that a user must do.
    Warning,
}

/// Why there is no token, or why the renewal of the one that is there fails: reason and message.
fn trouble(status: &ApiCredentialStatus) -> Option<(StoredReason, String)> {
    let ready = ConditionType::Ready
        .find(&status.conditions)
        .filter(|c| c.status == "False");
    let failing = || ConditionType::RenewalFailing.find(&status.conditions);
    let found = ready.or_else(failing)?;
    Some((found.reason.as_str().into(), found.message.clone()))
}

/// Events report changes, never a healthy renewal: an event is a write too. Nor a first token: status
/// says it with its time, and ten thousand new credentials would be ten thousand events.
pub(super) fn notices(
    old: &ApiCredentialStatus,
    new: &ApiCredentialStatus,
    outcome: &Outcome,
) -> Vec<Notice> {
    let mut out = Vec::new();
    let pair = |s: &ApiCredentialStatus, kind: ConditionType| {
        kind.find(&s.conditions).map(|c| {
            let reason = StoredReason::from(c.reason.as_str());
            (c.status == "True", reason, c.message.clone())
        })
    };
    let ready = ConditionType::Ready;
    let (was_ready, is_ready) = (pair(old, ready), pair(new, ready));
    let (was_late, is_late) = (trouble(old), trouble(new));
    let ready = is_ready.as_ref().is_some_and(|r| r.0);
    let was_told = was_ready
        .as_ref()
        .is_some_and(|r| !r.0 && !r.1.is(Reason::is_first_request));
    if ready && was_told {
        let note = is_ready.as_ref().map(|r| r.2.clone()).unwrap_or_default();
        out.push(Notice {
            severity: Severity::Normal,
            reason: Reason::TokenPublished.into(),
            note,
        });
    } else if let Outcome::Minted(minted) = outcome {
        if minted.why == Why::Edited {
            out.push(Notice {
                severity: Severity::Warning,
                reason: Reason::TargetRepaired.into(),
                note: "another writer changed the token in the Secret; a new one was published"
                    .to_owned(),
            });
        } else if was_late.as_ref().is_some_and(|l| {
            // A second operator is no fault of the renewal that has just come.
            !l.0.is(Reason::is_wait) && l.0.known() != Some(Reason::AnotherOperator)
        }) {
            let note = is_ready.as_ref().map(|r| r.2.clone()).unwrap_or_default();
            out.push(Notice {
                severity: Severity::Normal,
                reason: Reason::Renewed.into(),
                note,
            });
        }
    }
    if let Some((reason, note)) = &is_late
        && was_late.as_ref().is_none_or(|(old, _)| old != reason)
        // That an issuer asked for a pause is told once, by the credential whose request it answered; other waits pass.
        && !matches!(outcome, Outcome::Waiting { reason, .. } if reason.is_wait())
    {
        let planned = reason.is(|r| r == Reason::Ended);
        out.push(Notice {
            severity: if planned {
                Severity::Normal
            } else {
                Severity::Warning
            },
            reason: reason.clone(),
            note: note.clone(),
        });
    }
    let secrets = ConditionType::ClientCredentialExpiring;
    let reason = |s: &ApiCredentialStatus| pair(s, secrets).map(|(_, reason, _)| reason);
    let failed = reason(old).is_some_and(|r| !r.is(Reason::is_about_expiry));
    // Only what comes after a failure in the order of reasons says that there is none.
    let none = reason(new).is_none_or(|r| r.is(Reason::warns_of_expiry));
    if failed && none {
        out.push(Notice {
            severity: Severity::Normal,
            reason: Reason::ClientCredentialAccepted.into(),
            note: match new.client_in_use() {
                Some(used) => {
                    format!("no entry of the list fails any more; {used} is in use")
                }
                None => "no entry of the list fails any more".to_owned(),
            },
        });
    }
    for kind in [
        ConditionType::LifetimeAtRisk,
        ConditionType::PermissionsMissing,
        ConditionType::PermissionsExceeded,
        ConditionType::ClientCredentialExpiring,
        ConditionType::AnnotationsIgnored,
    ] {
        // A warning that became another one (expiring, expired) is news as well. What a token lacks is in the words too: its
        // reason is that of the first finding.
        let all = matches!(
            kind,
            ConditionType::PermissionsMissing | ConditionType::PermissionsExceeded
        );
        let was = pair(old, kind);
        let same = |reason: &StoredReason, note: &String| {
            let was = was.as_ref();
            was.is_some_and(|(_, r, n)| r == reason && (!all || n == note))
        };
        if let Some((true, reason, note)) = pair(new, kind)
            && !same(&reason, &note)
        {
            out.push(Notice {
                severity: Severity::Warning,
                reason,
                note,
            });
        }
    }
    out
}
