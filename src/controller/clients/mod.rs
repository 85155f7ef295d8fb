//! Reports of each `ApiClient` whether credentials can use it: a valid spec, an issuer that exists and is valid, and a Secret
//! to authenticate by.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use kube::{Api, Resource};
use serde_json::json;

use super::{
    api::calls::{Trouble, apply_status, call_while},
    cache::clients::CachedClient,
    context::Context,
    locks::lock,
};
use crate::{
    ConditionType, Reason,
    api::{ApiClient, ApiClientStatus, IssuerRef},
    credential::{FieldError, Key, Proof, parse_client},
    plan::conditions::Conditions,
};

/// Statuses written at once.
const AT_ONCE: usize = 8;
/// After a status that could not be written.
const AGAIN: Duration = Duration::from_secs(30);

/// Checks each client that is handed in, for ever.
pub(super) async fn check(context: Arc<Context>) {
    loop {
        context.clients.raised.notified().await;
        let unchecked = context.clients.take_unchecked();
        let checks = futures::stream::iter(unchecked);
        checks
            .for_each_concurrent(AT_ONCE, |key| check_one(&context, key))
            .await;
    }
}

async fn check_one(context: &Arc<Context>, key: Key) {
    let Some(client) = context.clients.get(&key) else {
        return;
    };
    // Where something could not be listed yet, it would look as if it were missing. The list has all of them checked.
    if context.unsynced.first(&key.namespace).is_some() {
        return;
    }
    let status = status(context, &key, &client);
    if client.status.as_ref() == Some(&status) {
        return;
    }
    match write(context, &key, &client, &status).await {
        Ok(version) => {
            context.clients.wrote(&key, &client, &version, &status);
            report(&key, &client, &status);
        }
        Err(trouble) => {
            tracing::debug!(
                namespace = key.namespace,
                client = key.name,
                result = trouble.as_str(),
                "the status of an ApiClient could not be written and is tried again"
            );
            if lock(&context.clients.planned).insert(key.clone()) {
                let context = Arc::clone(context);
                tokio::spawn(async move {
                    tokio::time::sleep(AGAIN).await;
                    lock(&context.clients.planned).remove(&key);
                    context.clients.check([key]);
                });
            }
        }
    }
}

fn status(context: &Context, key: &Key, client: &CachedClient) -> ApiClientStatus {
    let (on, reason, message) = match verdict(context, key, client) {
        Ok(()) => (
            true,
            Reason::ClientValid,
            "credentials can use this client".to_owned(),
        ),
        Err(faults) => {
            let reason = faults
                .first()
                .map_or(Reason::InvalidSpec, |fault| fault.reason);
            (false, reason, FieldError::join(&faults))
        }
    };
    let generation = client.metadata.generation;
    let old = client.status.as_ref();
    let conditions = Conditions {
        previous: old.map_or(&[][..], |status| status.conditions.as_slice()),
        generation: generation.unwrap_or_default(),
        now: context.clock.now(),
    };
    ApiClientStatus {
        observed_generation: generation,
        conditions: vec![conditions.condition(ConditionType::Ready, on, reason, &message)],
    }
}

fn verdict(context: &Context, key: &Key, client: &CachedClient) -> Result<(), Vec<FieldError>> {
    let spec = client.spec.as_ref().map_err(|flaw| vec![flaw.error()])?;
    let issuer = |reference: &IssuerRef| context.issuer(&key.namespace, reference);
    let (_, proof) = parse_client(spec, issuer)?;
    let sources = proof.alternatives();
    let secrets = lock(&context.secrets);
    let exists = |name: &str| {
        secrets
            .get(&(key.namespace.clone(), name.to_owned()))
            .is_some()
    };
    match sources.first() {
        Some(first) if !sources.iter().any(|source| exists(&source.name)) => {
            Err(vec![missing(&proof, &first.name)])
        }
        _ => Ok(()),
    }
}

fn missing(proof: &Proof, name: &str) -> FieldError {
    let field = match proof {
        Proof::Certificates(_) => "spec.certificates",
        Proof::Mtls(_) => "spec.mtls",
        Proof::Key(_) => "spec.key",
        Proof::Assertion(_) => "spec.assertion",
        _ => "spec.secrets",
    };
    let problem = format!("Secret {name} does not exist; create it, or correct the name");
    FieldError::new(field, problem).because(proof.lacking().secret)
}

/// One line for each change of `Ready`.
fn report(key: &Key, client: &CachedClient, status: &ApiClientStatus) {
    let (Some(new), old) = (status.conditions.first(), client.status.as_ref()) else {
        return;
    };
    let old = old.and_then(|status| status.conditions.first());
    if old.is_some_and(|old| (&old.status, &old.reason) == (&new.status, &new.reason)) {
        return;
    }
    let (namespace, name) = (&key.namespace, &key.name);
    let (reason, message) = (&new.reason, &new.message);
    if new.status == "True" {
        tracing::info!(namespace, name, reason, "ApiClient is ready");
    } else {
        tracing::warn!(namespace, name, reason, "ApiClient is not ready: {message}");
    }
}

async fn write(
    context: &Context,
    key: &Key,
    client: &CachedClient,
    status: &ApiClientStatus,
) -> Result<String, Trouble> {
    let api: Api<ApiClient> = Api::namespaced(context.client.clone(), &key.namespace);
    let meta = &client.metadata;
    let body = json!({
        "apiVersion": ApiClient::api_version(&()),
        "kind": ApiClient::kind(&()),
        "metadata": {
            "name": key.name,
            "uid": meta.uid,
            // This version was checked: one that was edited meanwhile is checked again.
            "resourceVersion": meta.resource_version,
        },
        "status": status,
    });
    let apply = || apply_status(&api, &key.name, &body);
    let may = || context.may_act();
    call_while(&context.metrics, "patch_client_status", may, apply).await
}
