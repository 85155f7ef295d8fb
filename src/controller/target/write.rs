//! The write of a token into its Secret, and patches of the Secret. The version that the decision was based on is a precondition.

use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use secrecy::SecretString;
use serde_json::Value;

use super::wanted::{Wanted, wanted};
use crate::controller::{
    api::calls::{Failed, call_with_message},
    context::Context,
    reconciliation::Reconciliation,
    state::UnpublishedToken,
};
use crate::{
    api::names,
    credential::Credential,
    publish::{ManagedKeys, Record, create, data, ownership::Target, rotate_patch, template},
};

/// Why a token could not be written.
pub(super) enum WriteError {
    Call(Failed),
    /// The token does not fit a format.
    Unfit(String),
}

impl From<Failed> for WriteError {
    fn from(failed: Failed) -> Self {
        Self::Call(failed)
    }
}

/// Writes once: creates the Secret if it did not exist, else patches it. The patch requires the version that the decision was based on.
pub(super) async fn write(
    reconciliation: &Reconciliation<'_>,
    record: &Record,
    held: &UnpublishedToken,
) -> Result<(), WriteError> {
    let (context, credential) = (reconciliation.context, reconciliation.credential);
    let observed = &reconciliation.observed;
    let is_wanted = || wanted(reconciliation) == Wanted::Here;
    let template = template(credential);
    let data = data(&held.token, &template.keys).map_err(WriteError::Unfit)?;
    match &observed.target {
        Target::Absent
        | Target::Deleting(_)
        | Target::OwnerGone { .. }
        | Target::OfAnother(_)
        | Target::Foreign(_) => {
            let secret = create(
                &credential.namespace,
                &credential.target.name,
                &template,
                record,
                data,
            );
            let params = PostParams {
                field_manager: Some(names::MANAGER.to_owned()),
                ..PostParams::default()
            };
            let api = secrets(context, credential);
            let under_way = context.own_write(credential, &credential.target.name);
            let made = call_with_message(
                &context.metrics,
                "create_secret",
                || context.may_act() && is_wanted(),
                || api.create(&params, &secret),
                Some(&held.token.secret),
            )
            .await?;
            under_way.done(&made.metadata);
            Ok(())
        }
        Target::Ours { version, .. } | Target::Adoptable { version } => {
            let keys = match &observed.target {
                Target::Ours { published, .. } => &published.managed_keys,
                _ => &ManagedKeys::default(),
            };
            let patch = rotate_patch(version, &template, keys, record, &data);
            let patch = (&patch, Some(&held.token.secret));
            Ok(patch_secret(reconciliation, is_wanted, patch).await?)
        }
    }
}

/// Patches the target Secret if this process may still act and the patch is still `wanted`.
pub(super) async fn patch_secret(
    reconciliation: &Reconciliation<'_>,
    mut wanted: impl FnMut() -> bool,
    (patch, token): (&Value, Option<&SecretString>),
) -> Result<(), Failed> {
    let (context, credential) = (reconciliation.context, reconciliation.credential);
    let params = PatchParams {
        field_manager: Some(names::MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let api = secrets(context, credential);
    let patch = Patch::Strategic(patch);
    // The response does not need to contain the token.
    let request = || api.patch_metadata(&credential.target.name, &params, &patch);
    let under_way = context.own_write(credential, &credential.target.name);
    let may = || context.may_act() && wanted();
    let made = call_with_message(&context.metrics, "patch_secret", may, request, token).await?;
    under_way.done(&made.metadata);
    Ok(())
}

fn secrets(context: &Context, credential: &Credential) -> Api<Secret> {
    Api::namespaced(context.client.clone(), &credential.namespace)
}
