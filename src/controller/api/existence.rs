//! Checks with the API server whether a credential exists.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Api, api::ListParams};

use super::calls::{ApiErrorKind, call};
use crate::controller::context::Context;
use crate::{api::ApiCredential, credential::Key};

/// Whether this object no longer exists or is being deleted, according to the API server and not to the cache.
pub(in crate::controller) async fn is_gone(
    context: &Context,
    uid: &str,
    key: &Key,
) -> Result<bool, ApiErrorKind> {
    let living = metadata(context, key).await?;
    Ok(living.is_none_or(|m| m.uid.as_deref() != Some(uid) || m.deletion_timestamp.is_some()))
}

/// The metadata of the credential with this name, from the API server and not from the cache.
pub(in crate::controller) async fn metadata(
    context: &Context,
    key: &Key,
) -> Result<Option<ObjectMeta>, ApiErrorKind> {
    let api: Api<ApiCredential> = Api::namespaced(context.client.clone(), &key.namespace);
    // Read with a list, so that the role needs no further verb.
    let this = ListParams::default().fields(&format!("metadata.name={}", key.name));
    let found = call(&context.metrics, "check_credential", || {
        api.list_metadata(&this)
    })
    .await?;
    Ok(found.items.into_iter().next().map(|c| c.metadata))
}
