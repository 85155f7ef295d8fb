//! Watches each object with a CA bundle that an issuer names. There are few of them, and no other objects are read.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::Arc,
};

use futures::StreamExt;
use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{ConfigMap, Secret},
};
use kube::{Resource, runtime::watcher::Event};
use serde::de::DeserializeOwned;
use tokio::{sync::mpsc::UnboundedSender, task::JoinSet};

use super::{index::IssuerName, scope};
use crate::{
    api::CaBundleKind,
    controller::{context::Context, locks::lock},
    credential::{CaSource, Issuer, IssuerId},
};

/// Runs a watch for each place that an issuer names. `changed` receives the issuers whose CAs changed.
pub(in crate::controller) async fn run(
    context: Arc<Context>,
    changed: UnboundedSender<IssuerName>,
) {
    // All watches stop when this future is dropped.
    let mut tasks = JoinSet::new();
    let mut running = HashMap::new();
    loop {
        context.ca_bundles.changed.notified().await;
        while tasks.try_join_next().is_some() {}
        let wanted: HashSet<CaSource> = named(&context).into_iter().map(|(s, _)| s).collect();
        running.retain(|source, task: &mut tokio::task::AbortHandle| {
            let stays = wanted.contains(source);
            if !stays {
                task.abort();
            }
            stays
        });
        context.ca_bundles.retain(&wanted);
        for source in wanted {
            if let Entry::Vacant(place) = running.entry(source) {
                let task = watch(Arc::clone(&context), place.key().clone(), changed.clone());
                place.insert(tasks.spawn(task));
            }
        }
    }
}

/// Whether a bundle that an issuer names was not read yet.
pub(in crate::controller) fn unread(context: &Context) -> bool {
    named(context)
        .iter()
        .any(|(source, _)| !context.ca_bundles.knows(source))
}

/// The places that issuers name, each with its issuer. Other issuers are not parsed, because this runs at each change of an issuer.
fn named(context: &Context) -> Vec<(CaSource, IssuerName)> {
    let own = context.token_issuers.state().into_iter();
    let own = own.filter(|issuer| issuer.spec.ca_bundle_ref.is_some());
    let own = own.filter_map(|issuer| Issuer::namespaced(&issuer, &[]).ok());
    let cluster = context.cluster_issuers.state().into_iter();
    let cluster = cluster.filter(|issuer| issuer.spec.ca_bundle_ref.is_some());
    let cluster = cluster.filter_map(|issuer| Issuer::cluster(&issuer).ok());
    own.chain(cluster)
        .filter_map(|issuer| match issuer.id {
            IssuerId::Object(kind, namespace, name) => {
                Some((issuer.ca_source?, (kind, namespace, name)))
            }
            IssuerId::Inline(_) => None,
        })
        .collect()
}

async fn watch(context: Arc<Context>, source: CaSource, changed: UnboundedSender<IssuerName>) {
    match source.kind {
        CaBundleKind::ConfigMap => {
            let value = |object: &ConfigMap, key: &str| {
                let text = object.data.as_ref().and_then(|d| d.get(key));
                let bytes = object.binary_data.as_ref().and_then(|d| d.get(key));
                text.map(|t| t.clone().into_bytes())
                    .or_else(|| bytes.map(|b| b.0.clone()))
            };
            follow(&context, &source, &changed, value).await;
        }
        CaBundleKind::Secret => {
            let value = |object: &Secret, key: &str| {
                let bytes = object.data.as_ref().and_then(|d| d.get(key));
                bytes.map(|b| b.0.clone())
            };
            follow(&context, &source, &changed, value).await;
        }
    }
}

async fn follow<K>(
    context: &Arc<Context>,
    source: &CaSource,
    changed: &UnboundedSender<IssuerName>,
    value: fn(&K, &str) -> Option<Vec<u8>>,
) where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + DeserializeOwned
        + Clone
        + Send
        + Sync
        + 'static,
{
    let home = match source.namespace.as_str() {
        "" => context.settings.namespace.as_str(),
        namespace => namespace,
    };
    let mut stream = scope::single::<K>(context, "cabundles", home, &source.name);
    let mut listed = None;
    while let Some(event) = stream.next().await {
        let now = match event {
            Event::Init => {
                listed = None;
                continue;
            }
            Event::InitApply(object) => {
                listed = value(&object, &source.key);
                continue;
            }
            Event::InitDone => listed.take(),
            Event::Apply(object) => value(&object, &source.key),
            Event::Delete(_) => None,
        };
        if !context.ca_bundles.put(source, now.as_deref()) {
            continue;
        }
        for (_, issuer) in named(context).into_iter().filter(|(s, _)| s == source) {
            for key in lock(&context.index).of_issuer(&issuer) {
                context.triggers.send(&key);
            }
            let _ = changed.send(issuer);
        }
    }
}
