//! Whether a standby could work: it lists one object of each kind that it will watch. A release whose role lacks a rule, or
//! whose CRDs are not installed, is then never Ready, and the roll-out stops while the old leader works.

use std::{convert::Infallible, fmt::Debug, sync::Arc, time::Duration};

use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{Namespace, Secret},
};
use kube::{Api, Resource, api::ListParams};
use serde::de::DeserializeOwned;

use super::{
    calls::{Trouble, call},
    context::Context,
};
use crate::api::{ApiCredential, ClusterTokenIssuer, TokenIssuer};

/// Between two checks that went well.
const PERIOD: Duration = Duration::from_secs(30);
/// Between two checks until then.
const AGAIN: Duration = Duration::from_secs(2);

/// Checks for ever.
pub(super) async fn repeat(context: &Arc<Context>) -> Infallible {
    let (mut ready, mut told) = (false, None);
    loop {
        match check(context).await {
            Ok(()) => {
                (ready, told) = (true, None);
                context.health.stands_by(Ok(()));
            }
            // An API server that does not answer says nothing about this process.
            Err((_, Trouble::Unavailable)) if ready => {}
            Err((kind, trouble)) => {
                let why = words(kind, trouble);
                if told.as_ref() != Some(&why) {
                    tracing::warn!("not ready to lead: {why}");
                }
                (ready, told) = (false, Some(why.clone()));
                context.health.stands_by(Err(why));
            }
        }
        tokio::time::sleep(if ready { PERIOD } else { AGAIN }).await;
    }
}

fn words(kind: &str, trouble: Trouble) -> String {
    match trouble {
        Trouble::Forbidden => format!("the operator's role lacks list on {kind}"),
        Trouble::NotFound => {
            format!("the API server does not serve {kind}; are the CRDs installed?")
        }
        _ => format!("the API server does not answer a list of {kind}"),
    }
}

type Missing = (&'static str, Trouble);

async fn check(context: &Arc<Context>) -> Result<(), Missing> {
    let scope = &context.settings.scope;
    if scope.sees_cluster() {
        let client = || context.client.clone();
        let issuers = Api::<ClusterTokenIssuer>::all(client());
        one(context, "clustertokenissuers", &issuers, "").await?;
        // As the watch does it: by name where the role may name them.
        let name = scope.names().and_then(|names| names.first());
        let name = name.map_or("", String::as_str);
        one(
            context,
            "namespaces",
            &Api::<Namespace>::all(client()),
            name,
        )
        .await?;
    }
    let Some(names) = scope.names() else {
        return in_namespace(context, None).await;
    };
    // A leader goes on without the namespaces that it may not read, and says so in each status there.
    let mut result = Ok(());
    for name in names {
        result = in_namespace(context, Some(name)).await;
        if result.is_ok() {
            break;
        }
    }
    result
}

async fn in_namespace(context: &Arc<Context>, name: Option<&str>) -> Result<(), Missing> {
    one(context, "secrets", &api::<Secret>(context, name), "").await?;
    one(
        context,
        "tokenissuers",
        &api::<TokenIssuer>(context, name),
        "",
    )
    .await?;
    one(
        context,
        "apicredentials",
        &api::<ApiCredential>(context, name),
        "",
    )
    .await
}

fn api<K>(context: &Context, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    let client = context.client.clone();
    match namespace {
        Some(name) => Api::namespaced(client, name),
        None => Api::all(client),
    }
}

/// Lists the metadata of one object.
async fn one<K>(
    context: &Context,
    kind: &'static str,
    api: &Api<K>,
    name: &str,
) -> Result<(), Missing>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let mut params = ListParams::default().limit(1);
    if !name.is_empty() {
        params = params.fields(&format!("metadata.name={name}"));
    }
    let listed = call(&context.metrics, "preflight", || api.list_metadata(&params)).await;
    listed.map(drop).map_err(|trouble| (kind, trouble))
}
