//! What prevents a request or a write, as far as the watches show.

use super::{Observed, Plan};
use crate::{
    Reason,
    credential::{CaFault, Credential},
    oauth::Grant,
    publish::{
        noted_type,
        ownership::{ForeignWrite, Target},
        rejection::other_type,
    },
};

/// Why the next request cannot be made, as far as the watches show: a deleted source, a withdrawn permission. It is reported at once and not
/// when the token is due.
pub(super) fn obstacle(credential: &Credential, observed: &Observed) -> Option<(Reason, String)> {
    if let Err(denial) = &observed.permission {
        return Some((denial.reason(), denial.message().to_owned()));
    }
    if let Some(CaFault::Unusable(fault)) = &observed.ca_fault {
        return Some((Reason::CaBundleInvalid, fault.clone()));
    }
    let namespace = &credential.namespace;
    let sources = &observed.sources;
    if !sources.is_empty() && sources.iter().all(|s| s.present.is_none()) {
        let names: Vec<&str> = sources.iter().map(|s| s.reference.name.as_str()).collect();
        let names = names.join(", ");
        return Some((
            credential.authentication.lacking().secret,
            format!(
                "Secret {names} with the {} does not exist in namespace {namespace}; create it",
                credential.authentication.noun()
            ),
        ));
    }
    if let Some(name) = &observed.missing_account {
        return Some((
            Reason::ServiceAccountMissing,
            format!("ServiceAccount {name} does not exist in namespace {namespace}; create it"),
        ));
    }
    let gone = observed
        .grant_sources
        .iter()
        .find(|s| s.present.is_none())?;
    let name = &gone.reference.name;
    Some(if matches!(credential.grant, Grant::RefreshToken(_)) {
        // A token was published, so a user had signed in.
        let seen = if observed.record().is_some() {
            "does not exist any more, and it had the refresh token: sign in again; run"
        } else {
            "with the refresh token does not exist: no user has signed in yet; run"
        };
        (
            Reason::SignInRequired,
            format!(
                "Secret {name} {seen} kubectl apicred login {} --namespace {namespace}",
                credential.name
            ),
        )
    } else {
        (
            Reason::SourceMissing,
            format!("Secret {name} does not exist in namespace {namespace}; create it"),
        )
    })
}

/// The step if the target must not be written.
pub(super) fn target_obstacle(credential: &Credential, observed: &Observed) -> Option<Plan> {
    let name = &credential.target.name;
    let refuse = |reason, message| Some(Plan::Refuse { reason, message });
    // The credential whose UID is on the Secret retains it. Without a UID, the oldest credential gets it. If an older credential that names the
    // Secret later replaced the owner, neither of them would renew it.
    if let (Some(senior), false) = (&observed.senior, observed.target.published().is_some()) {
        return refuse(
            Reason::TargetClaimed,
            format!(
                "ApiCredential {senior} is older and writes Secret {name} as well; create this credential again with another target.secretName"
            ),
        );
    }
    match &observed.target {
        Target::OfAnother(owner) => refuse(
            Reason::TargetClaimed,
            format!(
                "Secret {name} belongs to ApiCredential {owner}; if that one is deleted, the garbage collector deletes the Secret; otherwise create this credential again with another target.secretName"
            ),
        ),
        Target::Foreign(whose) => refuse(
            Reason::SecretNotOwned,
            format!(
                "Secret {name} exists and {whose}; create this credential again with another target.secretName, delete the Secret, or ask its owner to set the annotation {}: {}",
                crate::api::names::ADOPT_BY,
                credential.name
            ),
        ),
        Target::Ours { published, .. } => match &published.foreign_write {
            ForeignWrite::Claimed(manager) => refuse(
                Reason::TargetConflict,
                format!(
                    "field manager {manager} applies token fields of Secret {name} too; remove the Secret from its manifests"
                ),
            ),
            ForeignWrite::None | ForeignWrite::Edited(_) => {
                let wanted = credential.target.type_.as_str();
                let has = noted_type(&published.template_digest).filter(|has| *has != wanted)?;
                refuse(Reason::TargetInvalid, other_type(name, (Some(has), wanted)))
            }
        },
        Target::Absent
        | Target::Deleting(_)
        | Target::Adoptable { .. }
        | Target::OwnerGone { .. } => None,
    }
}
