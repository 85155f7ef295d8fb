//! The finalizer of credentials whose token is revoked when they are deleted.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::{
    calls::{ApiErrorKind, call_while},
    existence::metadata,
};
use crate::controller::context::Context;
use crate::{
    api::{ApiCredential, names},
    credential::Key,
};

/// The maximum number of attempts if other writers are faster.
const TRIES: usize = 5;

/// Whether the object has the finalizer.
pub(in crate::controller) fn has(meta: &ObjectMeta) -> bool {
    let mut all = meta.finalizers.iter().flatten();
    all.any(|finalizer| finalizer == names::REVOKE_FINALIZER)
}

/// Adds the finalizer to this object or removes it. Other finalizers are not changed: the list is read, and written with the
/// version that was read. It is not an error if the object is deleted or now has another UID. If an admission policy undoes the change, the
/// error is [`ApiErrorKind::Invalid`].
pub(in crate::controller) async fn set(
    context: &Context,
    key: &Key,
    uid: &str,
    present: bool,
) -> Result<(), ApiErrorKind> {
    let api: Api<ApiCredential> = Api::namespaced(context.client.clone(), &key.namespace);
    for _ in 0..TRIES {
        let found = metadata(context, key).await?;
        let Some(meta) = found.filter(|m| m.uid.as_deref() == Some(uid)) else {
            return Ok(());
        };
        if has(&meta) == present {
            return Ok(());
        }
        if present && meta.deletion_timestamp.is_some() {
            // The API server does not add a finalizer to an object that is being deleted.
            return Err(ApiErrorKind::Unwanted);
        }
        let mut all = meta.finalizers.unwrap_or_default();
        all.retain(|finalizer| finalizer != names::REVOKE_FINALIZER);
        if present {
            all.push(names::REVOKE_FINALIZER.to_owned());
        }
        let patch = json!({ "metadata": {
            "uid": uid, "resourceVersion": meta.resource_version, "finalizers": all,
        } });
        let (params, patch) = (PatchParams::apply(names::MANAGER), Patch::Merge(&patch));
        let may = || context.may_act();
        let write = || api.patch_metadata(&key.name, &params, &patch);
        match call_while(&context.metrics, "patch_finalizer", may, write).await {
            // A mutating admission policy or webhook can change the list, and the API server still answers with success.
            Ok(made) if has(&made.metadata) != present => return Err(ApiErrorKind::Invalid),
            Ok(_) | Err(ApiErrorKind::NotFound) => return Ok(()),
            Err(ApiErrorKind::Conflict) => {}
            Err(error_kind) => return Err(error_kind),
        }
    }
    Err(ApiErrorKind::Conflict)
}
