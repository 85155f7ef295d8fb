//! Reconciles issuers: checks that the spec is valid and that everything works that a credential needs (CA bundle, proxy,
//! discovery, and the token endpoint).

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::StreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Api, Resource, runtime::reflector::ObjectRef};
use serde_json::json;
use tokio::sync::mpsc;

use super::{
    api::calls::{Failed, apply_status, call_with_message},
    cache::{index::IssuerName, readable::Unusable},
    context::Context,
    issuer_status::{Reconciled, issuer_status},
    limiter::namespaces::NamespaceLimiter,
    locks::lock,
    rechecks::{Object, Rechecks},
    reconcile::record,
};
use crate::{
    api::{ClusterTokenIssuer, IssuerKind, IssuerStatus, TokenIssuer},
    credential::{FieldError, Issuer, IssuerId},
    plan::fingerprint::fraction,
};

/// Namespaced issuers that are reconciled at the same time; each one may wait 15 s for a discovery document.
const AT_ONCE: usize = 32;
/// The maximum for the issuers of one namespace. Each `ClusterTokenIssuer` counts towards one common limit of the same size.
const IN_A_NAMESPACE: usize = 4;
/// The first wait after a failed check. It doubles with each further failure.
const AGAIN: Duration = Duration::from_mins(1);
/// The maximum wait: an issuer that works again must not be reported as broken for long.
const AGAIN_AT_MOST: Duration = Duration::from_mins(8);
/// The wait before a working issuer is checked again, plus up to half of it: checks are rare and are spread over time.
const RECHECK: Duration = Duration::from_hours(1);

/// Reconciles every issuer that it receives. Never returns.
pub(super) async fn run(
    context: Arc<Context>,
    changed: mpsc::UnboundedReceiver<IssuerName>,
    again: mpsc::UnboundedSender<IssuerName>,
) {
    let waiting = Arc::<Mutex<HashSet<IssuerName>>>::default();
    let rechecks = Arc::<Rechecks<IssuerName>>::default();
    // Consecutive failed checks.
    let failed = Arc::<Mutex<HashMap<IssuerName, u32>>>::default();
    context.discovery.report_to(again.clone());
    let limiter = NamespaceLimiter::new(AT_ONCE, IN_A_NAMESPACE);
    let changed = futures::stream::unfold(changed, |mut receiver| async move {
        Some((receiver.recv().await?, receiver))
    });
    changed
        .for_each_concurrent(None, |issuer| {
            let (context, again) = (Arc::clone(&context), again.clone());
            let (waiting, limiter) = (Arc::clone(&waiting), limiter.clone());
            let (rechecks, failed) = (Arc::clone(&rechecks), Arc::clone(&failed));
            async move {
                // An issuer that is already queued is reconciled with the state at that time.
                if !lock(&waiting).insert(issuer.clone()) {
                    return;
                }
                let permit = limiter.acquire(&issuer.1).await;
                lock(&waiting).remove(&issuer);
                // Boxed: a waiting issuer does not need the memory of a reconcile.
                let reconciled = Box::pin(reconcile_issuer(&context, &issuer)).await;
                drop(permit);
                if !matches!(reconciled, Reconciled::Lost(_)) {
                    rechecks.settled(&issuer);
                }
                let again_after = match reconciled {
                    Reconciled::Lost(why) => Some(rechecks.lost(&issuer, object(&issuer), &why)),
                    Reconciled::Unsettled => {
                        let mut failed = lock(&failed);
                        let count = failed.entry(issuer.clone()).or_default();
                        *count += 1;
                        Some(after_failures(*count))
                    }
                    Reconciled::Settled | Reconciled::Gone => {
                        lock(&failed).remove(&issuer);
                        matches!(reconciled, Reconciled::Settled).then(|| recheck(&issuer))
                    }
                };
                if let Some(wait) = again_after {
                    rechecks.plan(issuer, wait, move |issuer| {
                        let _ = again.send(issuer);
                    });
                }
            }
        })
        .await;
}

/// The wait after this number of consecutive failed checks.
fn after_failures(count: u32) -> Duration {
    let doubled = AGAIN * (1 << count.saturating_sub(1).min(8));
    doubled.min(AGAIN_AT_MOST)
}

/// The wait before an issuer that works is checked again.
fn recheck((_, namespace, name): &IssuerName) -> Duration {
    RECHECK + RECHECK.mul_f64(fraction(&[namespace, name, "issuer"]) / 2.0)
}

/// The object that a log line is about.
fn object((kind, namespace, name): &IssuerName) -> Object<'_> {
    Object {
        kind: kind.as_str(),
        namespace: (*kind == IssuerKind::TokenIssuer).then_some(namespace),
        name,
    }
}

/// Reconciles one issuer.
async fn reconcile_issuer(context: &Context, issuer: &IssuerName) -> Reconciled {
    let (kind, namespace, name) = issuer;
    let gone = || {
        let id = IssuerId::Object(*kind, namespace.clone(), name.clone());
        context.discovery.forget(&id);
        context.issuer_checks.forget(issuer);
    };
    let forgotten = || {
        gone();
        context.journals.forget(kind.as_str(), namespace, name);
    };
    let unusable = lock(&context.unusable).get(issuer).cloned();
    if let Some(unusable) = unusable {
        gone();
        let written = unusable_status(context, *kind, &unusable).await;
        return written.map_or_else(Reconciled::Lost, |()| Reconciled::Gone);
    }
    let (written, settled) = match kind {
        IssuerKind::TokenIssuer => {
            let reference = ObjectRef::new(name).within(namespace);
            let Some(object) = context.token_issuers.get(&reference) else {
                forgotten();
                return Reconciled::Gone;
            };
            let parsed = Issuer::namespaced(&object, &context.settings.allowed_cidrs);
            let api: Api<TokenIssuer> = Api::namespaced(context.client.clone(), namespace);
            let at = (&object.metadata, object.status.as_ref());
            check(context, issuer, &api, at, parsed).await
        }
        IssuerKind::ClusterTokenIssuer => {
            let Some(object) = context.cluster_issuers.get(&ObjectRef::new(name)) else {
                forgotten();
                return Reconciled::Gone;
            };
            let parsed = Issuer::cluster(&object);
            let api: Api<ClusterTokenIssuer> = Api::all(context.client.clone());
            let at = (&object.metadata, object.status.as_ref());
            check(context, issuer, &api, at, parsed).await
        }
    };
    written.map_or_else(Reconciled::Lost, |()| settled)
}

/// Checks an issuer and writes its status.
async fn check<K>(
    context: &Context,
    issuer: &IssuerName,
    api: &Api<K>,
    (meta, old): (&ObjectMeta, Option<&IssuerStatus>),
    parsed: Result<Issuer, Vec<FieldError>>,
) -> (Result<(), Failed>, Reconciled)
where
    K: Resource<DynamicType = ()> + serde::de::DeserializeOwned + Clone + std::fmt::Debug,
{
    let parsed = parsed.map(|issuer| context.ca_bundles.fill(issuer));
    let (status, settled) = issuer_status(context, parsed, old, meta).await;
    context.issuer_checks.checked(issuer, &status);
    let written = write(context, api, meta, old, &status).await;
    (written, settled)
}

/// Writes the status of an issuer that exists but cannot be used.
async fn unusable_status(
    context: &Context,
    kind: IssuerKind,
    unusable: &Unusable,
) -> Result<(), Failed> {
    let old = unusable.status.as_ref();
    let old: Option<IssuerStatus> = old.and_then(|s| serde_json::from_str(s.get()).ok());
    let (meta, errors) = (&unusable.metadata, vec![unusable.flaw.error()]);
    let (status, _) = issuer_status(context, Err(errors), old.as_ref(), meta).await;
    let client = context.client.clone();
    match kind {
        IssuerKind::TokenIssuer => {
            let namespace = meta.namespace.as_deref().unwrap_or_default();
            let api: Api<TokenIssuer> = Api::namespaced(client, namespace);
            write(context, &api, meta, old.as_ref(), &status).await
        }
        IssuerKind::ClusterTokenIssuer => {
            let api: Api<ClusterTokenIssuer> = Api::all(client);
            write(context, &api, meta, old.as_ref(), &status).await
        }
    }
}

/// Writes the status if it changed, and logs the changes.
async fn write<K>(
    context: &Context,
    api: &Api<K>,
    meta: &ObjectMeta,
    old: Option<&IssuerStatus>,
    status: &IssuerStatus,
) -> Result<(), Failed>
where
    K: Resource<DynamicType = ()> + serde::de::DeserializeOwned + Clone + std::fmt::Debug,
{
    let written = if old == Some(status) {
        Ok(())
    } else {
        put(context, api, meta, status).await
    };
    let conditions = old.map_or(&[][..], |old| old.conditions.as_slice());
    let changed = (conditions, status.conditions.as_slice());
    record::object(context, &K::kind(&()), meta, changed, written.is_ok()).await;
    written
}

async fn put<K>(
    context: &Context,
    api: &Api<K>,
    meta: &ObjectMeta,
    status: &IssuerStatus,
) -> Result<(), Failed>
where
    K: Resource<DynamicType = ()> + serde::de::DeserializeOwned + Clone + std::fmt::Debug,
{
    let name = meta.name.clone().unwrap_or_default();
    let body = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": {
            "name": name,
            "uid": meta.uid,
            // The status is for this version. An issuer that was edited in the meantime is checked again.
            "resourceVersion": meta.resource_version,
        },
        "status": status,
    });
    let apply = || apply_status(api, &name, &body, &context.undeclared);
    let may = || context.may_act();
    let put = call_with_message(&context.metrics, "patch_issuer_status", may, apply, None).await;
    put.map(|_| ())
}

#[cfg(test)]
mod tests;
