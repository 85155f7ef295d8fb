//! The end of a credential (`spec.notAfter`): from then on no token is requested, and none stays in the Secret.

use jiff::Timestamp;

use super::{Plan, conditions::time};
use crate::{
    Reason,
    api::ApiCredential,
    credential::Credential,
    publish::ownership::{Published, SecretFacts},
};

/// Has it ended?
pub fn is_over(end: Option<Timestamp>, now: Timestamp) -> bool {
    end.is_some_and(|end| end <= now)
}

/// The step of a credential that has ended. It comes before everything that could keep a token in the Secret: a
/// suspension, an issuer that is missing, a format that does not fit.
pub(super) fn step(
    credential: &Credential,
    observed: &super::Observed,
    now: Timestamp,
) -> Option<Plan> {
    let end = credential.end.filter(|end| *end <= now)?;
    if observed.target.published().is_some_and(|p| !p.is_emptied()) {
        return Some(Plan::Empty);
    }
    // An end that had passed at the creation leaves nothing behind.
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

/// What is to be emptied of a credential whose spec cannot be used any more, and which has ended all the same: its
/// published Secret, and the version that this was seen at.
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
