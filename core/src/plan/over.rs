//! The end of a credential (`spec.notAfter`): after it no token is requested, and the Secret contains none.

use jiff::Timestamp;

use super::{Cause, Outcome, Plan, conditions::time};
use crate::{
    Reason,
    api::{ApiCredential, DeletionPolicy},
    credential::Credential,
    publish::ownership::{Published, SecretFacts},
};

/// Whether the credential has expired.
pub fn is_over(end: Option<Timestamp>, now: Timestamp) -> bool {
    end.is_some_and(|end| end <= now)
}

/// The step of an expired credential. It takes precedence over everything that could retain a token in the Secret: a suspension, a missing
/// issuer, an unsuitable format.
pub(super) fn step(
    credential: &Credential,
    observed: &super::Observed,
    now: Timestamp,
) -> Option<Plan> {
    let end = credential.end.filter(|end| *end <= now)?;
    let own = observed.target.own();
    if own.is_some_and(|(_, published)| !published.is_emptied()) {
        return Some(Plan::Empty);
    }
    let left = own.is_some();
    Some(Plan::Refuse {
        reason: Reason::Ended,
        message: ended(end, left.then_some(credential.target.name.as_str())),
    })
}

/// The message about an expired credential. `emptied`: the Secret that contained its token. If the end had passed when the credential was
/// created, there is none.
fn ended(end: Timestamp, emptied: Option<&str>) -> String {
    let left = emptied.map_or_else(
        || "no token is requested".to_owned(),
        |secret| format!("Secret {secret} contains no token any more"),
    );
    format!(
        "spec.notAfter was {}: {left}; set a later time, or delete this credential",
        time(end).0
    )
}

/// The message about a token that is still in the Secret of an expired credential: after the end it does not count as valid, whatever prevents
/// its removal.
pub(super) fn unremoved(
    credential: &Credential,
    observed: &super::Observed,
    outcome: &Outcome,
    now: Timestamp,
) -> Option<String> {
    let end = credential.end.filter(|end| *end <= now)?;
    observed.target.own().filter(|(_, p)| !p.is_emptied())?;
    let (end, secret) = (time(end).0, credential.target.name.as_str());
    let cause = match outcome {
        Outcome::Failed | Outcome::Backoff => {
            let failure = observed.memory.failure.as_ref();
            failure.map(|failure| match &failure.cause {
                Cause::Seen(token_error) => token_error.message(),
                Cause::Recalled(recalled) => recalled.message.clone(),
            })
        }
        Outcome::Waiting { message, .. } => Some(message.clone()),
        _ => None,
    };
    Some(match cause {
        Some(cause) => format!(
            "spec.notAfter was {end}: the token could not be removed from Secret {secret}: {cause}; apicred tries again; correct this, or delete the Secret"
        ),
        None => format!("spec.notAfter was {end}: apicred removes the token from Secret {secret}"),
    })
}

/// The message about a credential that has expired and whose spec cannot be used any more. `None` if it has not expired.
pub(super) fn unusable(
    object: &ApiCredential,
    facts: Option<&SecretFacts>,
    now: Timestamp,
) -> Option<String> {
    let end = object.spec.end().filter(|end| *end <= now)?;
    let secret = object.spec.target.secret_name.as_str();
    if of_unusable(object, facts, now).is_some() {
        return Some(format!(
            "spec.notAfter was {}: the token could not be removed from Secret {secret}; apicred tries again, and the operator's log contains the cause",
            time(end).0
        ));
    }
    Some(ended(end, own(object, facts).map(|_| secret)))
}

/// The published Secret of this same object.
fn own<'a>(object: &ApiCredential, facts: Option<&'a SecretFacts>) -> Option<&'a Published> {
    let uid = object.metadata.uid.as_deref()?;
    let published = facts?.published.as_deref();
    published.filter(|p| p.credential_uid == uid)
}

/// The Secret to empty for a credential that has expired and whose spec cannot be used any more: its published Secret, and the version at which
/// it was observed.
pub fn of_unusable<'a>(
    object: &ApiCredential,
    facts: Option<&'a SecretFacts>,
    now: Timestamp,
) -> Option<(&'a str, &'a Published)> {
    let facts = facts.filter(|_| is_over(object.spec.end(), now))?;
    let published = own(object, Some(facts)).filter(|p| !p.is_emptied())?;
    Some((facts.version.as_str(), published))
}

/// Whether the token that [`of_unusable`] finds is to be revoked and is still valid. Without a usable spec nothing can revoke it.
pub fn unrevoked(object: &ApiCredential, facts: Option<&SecretFacts>, now: Timestamp) -> bool {
    let wanted = object.spec.deletion_policy == Some(DeletionPolicy::Revoke);
    let record = of_unusable(object, facts, now).map(|(_, published)| published.record.as_ref());
    // If nothing is known of its lifetime, it may be valid.
    wanted && record.is_some_and(|record| record.is_none_or(|record| record.may_be_valid(now)))
}
