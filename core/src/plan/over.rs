//! The end of a credential (`spec.notAfter`): after it no token is requested, and the Secret contains none.

use jiff::Timestamp;

use super::{Plan, conditions::time};
use crate::{
    Reason,
    api::ApiCredential,
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
    if observed.target.published().is_some_and(|p| !p.is_emptied()) {
        return Some(Plan::Empty);
    }
    // If the end had passed when the credential was created, there is nothing to remove.
    let left = if observed.target.published().is_some() {
        format!(
            "Secret {} contains no token any more",
            credential.target.name
        )
    } else {
        "no token is requested".to_owned()
    };
    Some(Plan::Refuse {
        reason: Reason::Ended,
        message: format!(
            "spec.notAfter was {}: {left}; set a later time, or delete this credential",
            time(end).0
        ),
    })
}

/// The Secret to empty for a credential that has expired and whose spec cannot be used any more: its published Secret, and the version at which
/// it was observed.
pub fn of_unusable<'a>(
    object: &ApiCredential,
    facts: Option<&'a SecretFacts>,
    now: Timestamp,
) -> Option<(&'a str, &'a Published)> {
    let facts = facts.filter(|f| !f.deleting && is_over(object.spec.end(), now))?;
    let uid = object.metadata.uid.as_deref()?;
    let published = facts.published.as_deref()?;
    (published.credential_uid == uid && !published.is_emptied())
        .then_some((facts.version.as_str(), published))
}
