//! Watches each object with a CA bundle that an issuer names, and reads no other objects. A watch costs a connection, so their number is limited.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::Arc,
};

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{ConfigMap, Secret},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Resource, runtime::watcher::Event};
use serde::de::DeserializeOwned;
use tokio::{sync::mpsc::UnboundedSender, task::JoinSet};

use super::{index::IssuerName, scope};
use crate::{
    api::{CaBundleKind, CaBundleRef, IssuerKind},
    controller::{api::watch::WatchError, context::Context, locks::lock},
    credential::{CaSource, ca_limits::admit},
};

/// The number of consecutive failures after which a place that was never read is reported: a few seconds. An API server that is busy needs no report.
const PATIENCE: u32 = 3;

/// Runs a watch for each place that an issuer names, within limits. `changed` receives the issuers whose CAs changed.
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
        let named = named(&context);
        let admitted = admit(named.iter().map(|n| (n.source.clone(), n.created)));
        let watched: HashSet<CaSource> = admitted.watched.into_iter().collect();
        running.retain(|source, task: &mut tokio::task::AbortHandle| {
            let stays = watched.contains(source);
            if !stays {
                task.abort();
            }
            stays
        });
        context
            .ca_bundles
            .retain(&named.iter().map(|n| n.source.clone()).collect());
        let mut news = HashSet::new();
        for (source, limit) in admitted.refused {
            let fault = limit.message(&source);
            if context.ca_bundles.refuse(&source, fault) {
                news.insert(source);
            }
        }
        announce(&context, named, |source| news.contains(source), &changed);
        for source in watched {
            if let Entry::Vacant(place) = running.entry(source) {
                context.ca_bundles.admit(place.key());
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
        .any(|named| !context.ca_bundles.knows(&named.source))
}

/// A place that an issuer names.
struct Named {
    source: CaSource,
    issuer: IssuerName,
    /// When the issuer was created.
    created: Option<Timestamp>,
}

/// The places that issuers name. No issuer is parsed, because this runs at each change of an issuer.
fn named(context: &Context) -> Vec<Named> {
    let named = |kind, meta: &ObjectMeta, reference: Option<&CaBundleRef>| {
        let source = CaSource::named(reference?, meta);
        let name = meta.name.clone().unwrap_or_default();
        Some(Named {
            issuer: (kind, source.namespace.clone(), name),
            source,
            created: meta.creation_timestamp.as_ref().map(|time| time.0),
        })
    };
    let own = context.token_issuers.state().into_iter().filter_map(|i| {
        let reference = i.spec.ca_bundle_ref.as_ref();
        named(IssuerKind::TokenIssuer, &i.metadata, reference)
    });
    let cluster = context.cluster_issuers.state().into_iter().filter_map(|i| {
        let reference = i.spec.ca_bundle_ref.as_ref();
        named(IssuerKind::ClusterTokenIssuer, &i.metadata, reference)
    });
    own.chain(cluster).collect()
}

/// Triggers the credentials of the issuers that name places with news, and sends the issuers to the task that reports on them.
fn announce(
    context: &Context,
    named: Vec<Named>,
    is_news: impl Fn(&CaSource) -> bool,
    changed: &UnboundedSender<IssuerName>,
) {
    for named in named.into_iter().filter(|n| is_news(&n.source)) {
        for key in lock(&context.index).of_issuer(&named.issuer) {
            context.triggers.send(&key);
        }
        let _ = changed.send(named.issuer);
    }
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
    let (mut listed, mut failures) = (None, 0_u32);
    while let Some(event) = stream.next().await {
        let event = match event {
            Ok(event) => event,
            Err(WatchError(why)) => {
                failures += 1;
                if failures >= PATIENCE && context.ca_bundles.failed(source, why) {
                    announce(context, named(context), |s| s == source, changed);
                }
                continue;
            }
        };
        let now = match event {
            Event::Init => {
                listed = None;
                continue;
            }
            Event::InitApply(object) => {
                listed = value(&object, &source.key);
                continue;
            }
            Event::InitDone => {
                failures = 0;
                listed.take()
            }
            Event::Apply(object) => value(&object, &source.key),
            Event::Delete(_) => None,
        };
        if context.ca_bundles.put(source, now.as_deref()) {
            announce(context, named(context), |s| s == source, changed);
        }
    }
}
