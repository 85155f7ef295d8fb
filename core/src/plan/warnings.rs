//! The conditions of a status that warn: about a token with a short lifetime, about permissions, about a client credential that expires, about
//! annotations without effect. And a renewal that will certainly fail.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{
    Observed, Outcome,
    conditions::{Conditions, time},
    expect, expiry,
    notify::too_short,
    obstacle::obstacle,
    schedule, sources,
    status::{Findings, duration_text},
};
use crate::{ConditionType, Reason, StoredReason, credential::Credential, oauth};

/// All of them, in the order in which status lists them.
pub(super) fn warnings(found: &Findings<'_>, say: Conditions<'_>) -> Vec<Condition> {
    let Findings {
        credential,
        observed,
        valid,
        ..
    } = *found;
    let on = |kind: ConditionType, reason: StoredReason, message: &str| {
        say.condition(kind, true, reason, message)
    };
    let risk = risk(found)
        .map(|(reason, message)| on(ConditionType::LifetimeAtRisk, reason.into(), &message));
    let missing = valid.and_then(|record| expect::missing(credential, record));
    let missing = missing.map(|lack| {
        let kind = ConditionType::PermissionsMissing;
        match lack {
            expect::Lack::Missing(reason, message) => say.condition(kind, true, reason, &message),
            expect::Lack::Unknown(message) => say.unknown(kind, Reason::NotVerifiable, &message),
        }
    });
    let surplus = valid.and_then(|record| expect::surplus(credential, record));
    let surplus = surplus.map(|message| {
        let reason = Reason::PermissionsExceeded.into();
        on(ConditionType::PermissionsExceeded, reason, &message)
    });
    let client = client_credential(found)
        .map(|(reason, message)| on(ConditionType::ClientCredentialExpiring, reason, &message));
    let unread = unread(credential, observed).map(|message| {
        let reason = Reason::AnnotationUnknown.into();
        on(ConditionType::AnnotationsIgnored, reason, &message)
    });
    [risk, missing, surplus, client, unread]
        .into_iter()
        .flatten()
        .collect()
}

/// If the next renewal is not due and will certainly fail: the reason and the message.
pub(super) fn foreseen(found: &Findings<'_>) -> Option<(Reason, String)> {
    let Findings {
        credential,
        observed,
        outcome,
        ending,
        ..
    } = *found;
    if credential.suspend || !matches!(outcome, Outcome::Steady | Outcome::Minted(_)) {
        return None;
    }
    let record = found.valid?;
    let ended = || ending.and_then(|e| e.obstacle(record.renew_at));
    let (reason, message) = obstacle(credential, observed).or_else(ended)?;
    // A static key is not renewed, and its expiry time is not known.
    if record.is_static() {
        let name = &credential.target.name;
        let message = format!("{message}; until then Secret {name} keeps the current key");
        return Some((reason, message));
    }
    let (renew, end) = (time(record.renew_at).0, time(record.expires_at).0);
    let message = format!(
        "{message}; until then the renewal at {renew} will fail, and the current token expires at {end}"
    );
    Some((reason, message))
}

/// The message about the secrets and certificates of the client: one that expires, or one that fails while another one works.
fn client_credential(found: &Findings<'_>) -> Option<(StoredReason, String)> {
    let Findings {
        credential,
        observed,
        ending,
        now,
        ..
    } = *found;
    let ends = ending.and_then(|e| e.warning(now));
    let over = ending.is_some_and(|e| now >= e.at);
    let ends = ends.map(|(reason, message)| (reason.into(), message));
    let hidden = sources::hidden(credential, observed).map(|h| (h.reason, h.message));
    let unread = expiry::unreadable(observed).map(|(reason, message)| (reason.into(), message));
    let copies = (!observed.copy_faults.is_empty()).then(|| observed.copy_faults.join("; "));
    let copies = copies.map(|message| (Reason::LastGoodNotWritten.into(), message));
    // The order: what has expired, what does not work, what will expire, what cannot be replaced without a gap.
    let [first, second] = if over { [ends, hidden] } else { [hidden, ends] };
    let reported = [first, second, unread, copies].into_iter().flatten();
    let mut reported: Vec<(StoredReason, String)> = reported.collect();
    let rest = reported.split_off(reported.len().min(1));
    let (reason, mut message) = reported.pop()?;
    for (_, more) in rest {
        message.push_str(&format!("; {more}"));
    }
    Some((reason, message))
}

/// The message about annotations that have no effect.
fn unread(credential: &Credential, observed: &Observed) -> Option<String> {
    let own = credential.unread.as_ref();
    let own = own.map(|reported| format!("the annotation {reported}"));
    let reported: Vec<String> = own
        .into_iter()
        .chain(observed.unread.iter().cloned())
        .collect();
    (!reported.is_empty()).then(|| format!("an annotation has no effect: {}", reported.join("; ")))
}

/// A risk for what readers can rely on. It is reported before they are affected.
fn risk(found: &Findings<'_>) -> Option<(Reason, String)> {
    let Findings {
        credential,
        observed,
        now,
        ..
    } = *found;
    let record = found.valid?;
    let lifetime = record.expires_at.duration_since(record.issued_at);
    let promise = observed.promise(credential);
    if found.problem.is_some()
        && now >= schedule::risk_at(record.issued_at, record.expires_at, promise)
    {
        let least = promise.min_lifetime(lifetime);
        let end = schedule::later(record.expires_at, -least);
        return Some((
            Reason::RenewalFailing,
            format!(
                "the renewal is late, and readers have less than {} left from {} on; see the condition RenewalFailing for its cause",
                duration_text(least),
                time(end).0
            ),
        ));
    }
    oauth::uncertain(&record.lifetime, lifetime)
        .or_else(|| observed.not_notified(credential))
        .or_else(|| too_short(credential, promise, record))
}
