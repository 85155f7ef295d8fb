//! Which changes are worth an event.

use super::{Outcome, Why, conditions::find, journal::is_wait};
use crate::api::ApiCredentialStatus;

/// An event on a change of state.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Notice {
    /// Normal or warning.
    pub severity: Severity,
    /// Stable reason.
    pub reason: String,
    /// In words.
    pub note: String,
}

/// Type of an event.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Severity {
    /// Good news.
    Normal,
    /// Something for a person.
    Warning,
}

/// How the reasons end that are about the time of a secret or certificate: that they pass is no news.
const ENDING: [&str; 4] = ["Expiring", "Unreadable", "Expired", "Old"];

/// Reasons of not being ready that nobody had to hear of: the first look, and a place in a line.
const UNTOLD: [&str; 2] = ["Pending", "WaitingForIssuer"];

/// Why there is no token, or why the renewal of the one that is there fails: reason and message.
fn trouble(status: &ApiCredentialStatus) -> Option<(String, String)> {
    let ready = find(&status.conditions, "Ready").filter(|c| c.status == "False");
    let failing = || find(&status.conditions, "RenewalFailing");
    let found = ready.or_else(failing)?;
    Some((found.reason.clone(), found.message.clone()))
}

/// Events tell changes, never a healthy rotation: an event is a write too. Nor a first token that simply came: status
/// says it with its time, and ten thousand new credentials would be ten thousand events.
pub(super) fn notices(
    old: &ApiCredentialStatus,
    new: &ApiCredentialStatus,
    outcome: &Outcome,
) -> Vec<Notice> {
    let mut out = Vec::new();
    let pair = |s: &ApiCredentialStatus, kind: &str| {
        find(&s.conditions, kind).map(|c| (c.status == "True", c.reason.clone(), c.message.clone()))
    };
    let (was_ready, is_ready) = (pair(old, "Ready"), pair(new, "Ready"));
    let (was_late, is_late) = (trouble(old), trouble(new));
    let ready = is_ready.as_ref().is_some_and(|r| r.0);
    let was_told = was_ready
        .as_ref()
        .is_some_and(|r| !r.0 && !UNTOLD.contains(&r.1.as_str()));
    if ready && was_told {
        let note = is_ready.as_ref().map(|r| r.2.clone()).unwrap_or_default();
        out.push(Notice {
            severity: Severity::Normal,
            reason: "TokenPublished".to_owned(),
            note,
        });
    } else if let Outcome::Minted(minted) = outcome {
        if minted.why == Why::Edited {
            out.push(Notice {
                severity: Severity::Warning,
                reason: "TargetRepaired".to_owned(),
                note:
                    "the token in the Secret was changed by somebody else; a new one was published"
                        .to_owned(),
            });
        } else if was_late.as_ref().is_some_and(|l| !is_wait(&l.0)) {
            let note = is_ready.as_ref().map(|r| r.2.clone()).unwrap_or_default();
            out.push(Notice {
                severity: Severity::Normal,
                reason: "Renewed".to_owned(),
                note,
            });
        }
    }
    if let Some((reason, note)) = &is_late
        && was_late.as_ref().is_none_or(|(old, _)| old != reason)
        // That an issuer asked for a pause is told once, by the credential whose request it answered; other waits pass.
        && !matches!(outcome, Outcome::Waiting { reason, .. } if is_wait(reason.as_str()))
    {
        out.push(Notice {
            severity: Severity::Warning,
            reason: reason.clone(),
            note: note.clone(),
        });
    }
    let secrets = "ClientCredentialExpiring";
    let reason = |s: &ApiCredentialStatus| pair(s, secrets).map(|(_, reason, _)| reason);
    let failed = reason(old).is_some_and(|r| !ENDING.iter().any(|end| r.ends_with(end)));
    // Only what comes after a failure in the order of reasons says that there is none.
    let none = reason(new).is_none_or(|r| ENDING[..2].iter().any(|end| r.ends_with(end)));
    if failed && none {
        out.push(Notice {
            severity: Severity::Normal,
            reason: "ClientCredentialAccepted".to_owned(),
            note: match new.client_in_use() {
                Some(used) => {
                    format!("no entry of the list fails any more; {used} is in use")
                }
                None => "no entry of the list fails any more".to_owned(),
            },
        });
    }
    for kind in [
        "LifetimeAtRisk",
        "PermissionsMissing",
        "ClientCredentialExpiring",
        "AnnotationsIgnored",
    ] {
        // A warning that became another one (expiring, expired) is news as well. What a token lacks is in the words too: its
        // reason is that of the first finding.
        let all = kind == "PermissionsMissing";
        let was = pair(old, kind);
        let same = |reason: &String, note: &String| {
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
