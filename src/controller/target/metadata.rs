//! Writes to the target Secret without a new token: labels, annotations and the owner.

use secrecy::SecretString;

use super::{
    rejected::{unconfirmed, write_failed},
    wanted::wants_metadata,
    write::patch_secret,
};
use crate::controller::{api::existence::is_gone, reconciliation::Reconciliation};
use crate::{
    plan::Outcome,
    publish::{ownership::Target, render_patch, take_over_patch, template},
};

/// Changes labels, annotations and owner; the token is not touched.
pub(in crate::controller) async fn render(reconciliation: &mut Reconciliation<'_>) -> Outcome {
    let Target::Ours { version, published } = &reconciliation.observed.target else {
        return reconciliation.again();
    };
    let template = template(reconciliation.credential);
    let patch = render_patch(version, &template, &published.managed_keys);
    patch_metadata(reconciliation, (&patch, None)).await
}

/// Makes this credential the owner of a Secret that belongs to an earlier credential.
pub(in crate::controller) async fn take_over(reconciliation: &mut Reconciliation<'_>) -> Outcome {
    let (context, credential) = (reconciliation.context, reconciliation.credential);
    let Target::OwnerGone { version, uid, .. } = &reconciliation.observed.target else {
        return reconciliation.again();
    };
    // This credential may take the Secret over only if it is the later one of the two.
    match is_gone(context, &credential.uid, &reconciliation.key).await {
        Ok(false) => {}
        Ok(true) => return Outcome::Released,
        Err(error_kind) => return unconfirmed(reconciliation, error_kind),
    }
    let patch = take_over_patch(version, &template(credential), uid);
    let wanted = || wants_metadata(reconciliation);
    match patch_secret(reconciliation, wanted, (&patch, None)).await {
        Ok(()) => {
            reconciliation.observed.memory.out_of_sync = None;
            reconciliation.again()
        }
        Err(error_kind) => write_failed(reconciliation, error_kind),
    }
}

/// Writes a patch without a new token, and reports what else the credential waits for.
pub(in crate::controller) async fn patch_metadata(
    reconciliation: &mut Reconciliation<'_>,
    patch: (&serde_json::Value, Option<&SecretString>),
) -> Outcome {
    let credential = reconciliation.credential;
    let waiting = reconciliation.observed.failure(credential).is_some();
    let wanted = || wants_metadata(reconciliation);
    if let Err(error_kind) = patch_secret(reconciliation, wanted, patch).await {
        return write_failed(reconciliation, error_kind);
    }
    reconciliation.observed.memory.out_of_sync = None;
    if waiting {
        Outcome::Backoff
    } else if credential.suspend {
        Outcome::Suspended
    } else {
        Outcome::Steady
    }
}
