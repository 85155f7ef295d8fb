//! Removes the token from the Secret of an expired credential (`spec.notAfter`).

use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{Patch, PatchParams},
};

use super::rejected::write_failed;
use crate::controller::{
    api::calls::{ApiErrorKind, Failed, call_with_message},
    context::Context,
    notify,
    reconciliation::Reconciliation,
    requeue::reference,
};
use crate::{
    Reason,
    api::{ApiCredential, names},
    credential::Key,
    oauth::{Class, TokenError},
    plan::{Outcome, over},
    publish::{
        empty_patch,
        ownership::{Published, SecretFacts},
    },
    telemetry::tries::warn_at_first,
};

/// Removes the token for a credential with a valid spec.
pub(in crate::controller) async fn empty(reconciliation: &mut Reconciliation<'_>) -> Outcome {
    let (context, credential) = (reconciliation.context, reconciliation.credential);
    let Some(own) = reconciliation.observed.target.own() else {
        return reconciliation.again();
    };
    // A token that was requested before the expiry and is not written yet is no longer needed.
    reconciliation.drop_held();
    let whose = (credential.uid.as_str(), credential.target.name.as_str());
    match write(context, &reconciliation.key, whose, own).await {
        Ok(()) => {
            let memory = &mut reconciliation.observed.memory;
            memory.out_of_sync = None;
            memory.failure = None;
            notify::wrote(context, credential, context.clock.now());
            reconciliation.again()
        }
        Err(failed) => refused(reconciliation, failed),
    }
}

/// The outcome of a removal that the API server did not carry out. Nothing is created after the end, so the message has no advice about that.
fn refused(reconciliation: &mut Reconciliation<'_>, failed: Failed) -> Outcome {
    let reason = match failed.error_kind {
        ApiErrorKind::Conflict
        | ApiErrorKind::NotFound
        | ApiErrorKind::Unwanted
        | ApiErrorKind::Terminating => {
            return write_failed(reconciliation, failed);
        }
        ApiErrorKind::Forbidden => Reason::TargetWriteForbidden,
        ApiErrorKind::Quota | ApiErrorKind::Invalid => Reason::TargetInvalid,
        ApiErrorKind::Unavailable => Reason::KubernetesUnavailable,
    };
    let cause = failed.server_message.fault();
    let cause = cause.unwrap_or_else(|| "the Kubernetes API did not answer".to_owned());
    // The class only determines the time of the next attempt: the removal is repeated whatever the cause is.
    reconciliation.failed(TokenError::local(Class::Transient, reason, cause))
}

/// Removes the token for a credential whose spec or issuer is no longer usable: such a credential expires as well. Returns whether
/// there was a token to remove and it is removed.
pub(in crate::controller) async fn empty_unusable(
    context: &Context,
    object: &ApiCredential,
    key: &Key,
    facts: Option<&SecretFacts>,
) -> bool {
    let Some(seen) = over::of_unusable(object, facts, context.clock.now()) else {
        return false;
    };
    let uid = object.metadata.uid.as_deref().unwrap_or_default();
    let whose = (uid, object.spec.target.secret_name.as_str());
    let written = write(context, key, whose, seen).await;
    let Err(failed) = written else {
        context.worked("empty", uid);
        return true;
    };
    let result = failed.error_kind.as_str();
    let failure = context.failed("empty", uid, result);
    warn_at_first!(
        failure,
        result,
        "the token of an expired credential cannot be removed from its Secret; apicred tries again"
    );
    false
}

/// Writes the Secret if the newest spec has expired as well.
async fn write(
    context: &Context,
    key: &Key,
    (uid, secret): (&str, &str),
    (version, published): (&str, &Published),
) -> Result<(), Failed> {
    let patch = Patch::Strategic(empty_patch(version, published));
    let params = PatchParams {
        field_manager: Some(names::MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let api: Api<Secret> = Api::namespaced(context.client.clone(), &key.namespace);
    let request = || api.patch_metadata(secret, &params, &patch);
    let under_way = context.own_write_of(key, secret);
    let may = || context.may_act() && still_over(context, key, uid);
    let made = call_with_message(&context.metrics, "patch_secret", may, request, None).await?;
    under_way.done(&made.metadata);
    tracing::info!("the credential has expired; its token was removed from its Secret");
    Ok(())
}

fn still_over(context: &Context, key: &Key, uid: &str) -> bool {
    let newest = context.credentials.get(&reference(key));
    newest.and_then(|packed| packed.known()).is_some_and(|now| {
        now.metadata.uid.as_deref() == Some(uid)
            && over::is_over(now.spec.end(), context.clock.now())
    })
}
