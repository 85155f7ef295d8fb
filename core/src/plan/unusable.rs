//! The status of a credential that cannot be used: a fault of the spec, of its client or of its issuer, or a list that is missing. Meanwhile
//! nothing is requested, and neither the token nor a wait is forgotten. If the credential has expired or is suspended, the fault prevents
//! nothing, so it is not reported as one.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    Outcome, RECHECK, View,
    conditions::Conditions,
    notices::notices,
    over,
    progress::{End, Fault, progress},
    schedule,
    status::{SEE_READY, sooner, token_facts, valid_until},
};
use crate::{
    ConditionType, Reason, StoredReason,
    api::{ApiCredential, ApiCredentialStatus},
    credential::FieldError,
    publish::{
        Record,
        ownership::{ForeignWrite, SecretFacts},
    },
};

/// The wait after the token of an expired credential could not be removed.
const REMOVE_AGAIN: Duration = Duration::from_secs(30);

/// The view of an object whose spec, client or issuer cannot be used. The token in the Secret stays. Until it expires it counts as valid if it
/// was valid for this same generation: pods can use it, whatever prevents the next one, which `RenewalFailing` reports at once.
pub fn invalid(
    object: &ApiCredential,
    previous: Option<&ApiCredentialStatus>,
    facts: Option<&SecretFacts>,
    errors: &[FieldError],
    now: Timestamp,
) -> View {
    let (fault, end) = (FieldError::join(errors), End::User);
    let awaited = errors.iter().all(|e| e.reason.waits_for_others());
    let (reason, message, end) = if let Some(ended) = over::unusable(object, facts, now) {
        (Reason::Ended, ended, end)
    } else if object.spec.suspend.unwrap_or_default() {
        let token = current(object, facts, now).is_some();
        (Reason::Suspended, suspended(token, &fault), end)
    } else {
        let reason = errors.first().map_or(Reason::InvalidSpec, |e| e.reason);
        let neighbour = awaited && !errors.is_empty();
        (reason, fault, if neighbour { End::Neighbour } else { end })
    };
    let reason = reason.into();
    let fault = Fault {
        reason: &reason,
        message: &message,
        end,
    };
    let old = previous.cloned().unwrap_or_default();
    let base = waits(&old);
    let view = view(object, (&old, base), facts, fault, now);
    match over::of_unusable(object, facts, now) {
        Some(_) => View {
            requeue: view.requeue.min(REMOVE_AGAIN),
            ..view
        },
        None => view,
    }
}

/// The message about a suspended credential. `token`: its Secret contains a token that is valid, perhaps for another spec.
fn suspended(token: bool, fault: &str) -> String {
    if token {
        format!(
            "spec.suspend is set, and apicred cannot compare the token in the Secret with this spec; unset it, and correct this: {fault}"
        )
    } else {
        format!(
            "spec.suspend is set and there is no valid token; to get one, unset it, and correct this: {fault}"
        )
    }
}

/// The view of a credential in a namespace where a kind could not be listed yet. A client or an issuer that exists would seem to be missing,
/// and so would a token.
pub fn unlisted(
    object: &ApiCredential,
    previous: Option<&ApiCredentialStatus>,
    facts: Option<&SecretFacts>,
    kind: &str,
    now: Timestamp,
) -> View {
    let reason = StoredReason::from(Reason::NamespaceNotReadable);
    let message = format!(
        "apicred may not list {kind} in this namespace; an administrator must restore its Role (chart value watchNamespaces)"
    );
    let fault = Fault {
        end: End::of(&reason),
        reason: &reason,
        message: &message,
    };
    let old = previous.cloned().unwrap_or_default();
    // What was known of the token is retained: its Secret may be in the list that is missing.
    let base = ApiCredentialStatus {
        conditions: Vec::new(),
        ..old.clone()
    };
    view(object, (&old, base), facts, fault, now)
}

/// The token of this same object that is in its Secret and valid.
fn current<'a>(
    object: &ApiCredential,
    facts: Option<&'a SecretFacts>,
    now: Timestamp,
) -> Option<&'a Record> {
    let uid = object.metadata.uid.as_deref().unwrap_or_default();
    let published = facts.filter(|f| !f.deleting)?.published.as_ref();
    let own =
        published.filter(|p| p.credential_uid == uid && p.foreign_write == ForeignWrite::None)?;
    own.record.as_ref().filter(|r| r.expires_at > now)
}

fn view(
    object: &ApiCredential,
    (old, base): (&ApiCredentialStatus, ApiCredentialStatus),
    facts: Option<&SecretFacts>,
    fault: Fault<'_>,
    now: Timestamp,
) -> View {
    let generation = object.metadata.generation.unwrap_or_default();
    let record = current(object, facts, now);
    let ready = ConditionType::Ready.find(&old.conditions);
    let was_ready = ready.is_some_and(|c| c.status == "True");
    let good = record.filter(|_| was_ready && old.observed_generation == Some(generation));

    let mut status = ApiCredentialStatus {
        observed_generation: Some(generation),
        ..base
    };
    if let Some(record) = record {
        token_facts(&mut status, record);
    }
    refused(&mut status, old);
    let say = Conditions {
        previous: &old.conditions,
        generation,
        now,
    };
    let failing =
        |message: &str| say.condition(ConditionType::RenewalFailing, true, fault.reason, message);
    let is_suspended = fault.reason.is(|r| r == Reason::Suspended);
    let mut turn = None;
    status.conditions = if let Some(record) = good {
        let good = valid_until(record);
        let ready = say.condition(ConditionType::Ready, true, Reason::TokenPublished, &good);
        // No renewal is wanted of a suspended credential.
        let failing = (!is_suspended).then(|| failing(fault.message));
        [ready].into_iter().chain(failing).collect()
    } else {
        let (progress, until) = progress(say, fault);
        turn = until;
        vec![
            say.condition(ConditionType::Ready, false, fault.reason, fault.message),
            progress,
        ]
    };
    let failed = ConditionType::RenewalFailing.find(&old.conditions);
    let wanted = !is_suspended && fault.reason.is(|r| r != Reason::Ended);
    if wanted && good.is_none() && failed.is_some() && old.observed_generation == Some(generation) {
        status.conditions.push(failing(SEE_READY));
    }
    let ends = good.map(|r| schedule::wait(now, r.expires_at));
    let recheck = Duration::try_from(RECHECK).unwrap_or_default();
    let notices = notices(old, &status, &Outcome::Steady);
    View {
        status,
        notices,
        requeue: sooner(
            sooner(ends.map_or(recheck, |e| e.min(recheck)), turn, now),
            object.spec.end().filter(|end| *end > now),
            now,
        ),
    }
}

/// What delays the next attempt. It is valid again as soon as an attempt is possible, also for another process.
fn waits(old: &ApiCredentialStatus) -> ApiCredentialStatus {
    ApiCredentialStatus {
        last_attempt: old.last_attempt.clone(),
        consecutive_failures: old.consecutive_failures,
        next_attempt: old.next_attempt.clone(),
        ..ApiCredentialStatus::default()
    }
}

/// The entries that were refused: a refused password must not be sent again.
fn refused(status: &mut ApiCredentialStatus, old: &ApiCredentialStatus) {
    if !old.refused().is_empty() {
        let mut client = status.client.take().unwrap_or_default();
        client.refused = old.refused().to_vec();
        status.client = Some(client);
    }
}
