//! The watches. Each has its own backoff, trims objects before they are stored, and triggers the credentials that a change affects.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use futures::{Stream, StreamExt};
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Namespace, Secret, ServiceAccount},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Resource,
    api::PartialObjectMeta,
    runtime::{
        reflector::{self, Lookup, store::Writer},
        watcher::Event,
    },
};

use super::{
    changes::{FirstLists, Known, Named, Part, Watch, changes, covers},
    index::SecretName,
    packed::{PackedCredential, packed_event, placeholder},
    readable::Readable,
    scope::{self},
    secrets::name as secret_name,
    trim,
};
use crate::controller::{
    context::{Context, NamespaceFacts},
    locks::lock,
    requeue::{key_of, reference},
};
use crate::{
    api::{ApiCredential, ClusterTokenIssuer, TokenIssuer},
    credential::Key,
};

/// The changes of a kind. When the first list of a namespace is complete, this is recorded, and credentials that waited for it are requeued.
pub(super) fn settled<T, N>(
    context: &Arc<Context>,
    name: &'static str,
    watch: Watch<T>,
    known: N,
) -> impl Stream<Item = Event<T>> + Send + use<T, N>
where
    T: Named + Send + 'static,
    N: Known<T> + Send + 'static,
{
    let context = Arc::clone(context);
    changes(watch, known, move |namespace| {
        context.synced(name, namespace);
    })
}

/// Credentials: fills the store and the index, and triggers those whose spec, renewal request or deletion changed, or whose
/// status another writer changed. An own status, a label or another annotation triggers nothing. The watch continues while the
/// operator drains: work in progress can then still react to an edit or a deletion.
pub(in crate::controller) async fn credentials(
    context: Arc<Context>,
    mut writer: Writer<PackedCredential>,
) {
    let mut listed: Option<HashSet<Key>> = None;
    let watch = scope::namespaced::<ApiCredential>(&context, "credentials");
    let events = settled(&context, "credentials", watch, context.credentials.clone());
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        let known = match &event {
            Event::Apply(object) | Event::Delete(object) => {
                context.credentials.get(&reference(&key_of(object)))
            }
            _ => None,
        };
        let packed = packed_event(&event);
        writer.apply_watcher_event(&packed);
        note(&context, &event, &mut listed);
        context
            .health
            .event_seen("credentials", context.clock.now());
        if let Event::Apply(packed) | Event::InitApply(packed) = packed
            && known.is_none_or(|known| !known.is_same_trigger(&packed))
        {
            context.triggers.send(&key_of(&packed));
        }
    }
}

fn note(
    context: &Context,
    event: &Event<Readable<ApiCredential>>,
    listed: &mut Option<HashSet<Key>>,
) {
    if let Event::InitApply(object) | Event::Apply(object) | Event::Delete(object) = event {
        let version = object.meta().resource_version.as_deref();
        context.high_water_mark.advance(version);
    }
    // An unusable object retains its place among the credentials that name the same Secret.
    let insert = |object: &Readable<ApiCredential>| match &object.0 {
        Ok(object) => context.insert(&mut lock(&context.index), object),
        Err(unusable) if unusable.remains.target.is_some() => {
            lock(&context.index).insert(&placeholder(unusable), None)
        }
        Err(_) => Vec::new(),
    };
    let affected = match event {
        Event::Init => {
            *listed = Some(HashSet::new());
            Vec::new()
        }
        Event::InitApply(object) => {
            if let Some(listed) = listed {
                listed.insert(key_of(object));
            }
            insert(object)
        }
        Event::InitDone => {
            // The first list; later lists are delivered as changes. A list that failed and was started again may have contained
            // objects that no longer exist.
            context.health.listed("credentials");
            let keep = listed.take().unwrap_or_default();
            let mut index = lock(&context.index);
            let left = index.retain(&keep);
            // Credentials that were listed before their client was edited.
            for client in context.clients.take_unindexed() {
                context.follow(&mut index, &client);
            }
            left
        }
        Event::Apply(object) => {
            let version = object.meta().resource_version.as_deref();
            let key = key_of(object);
            context.saw(&key, version.unwrap_or_default());
            context.clients.check_managed_by(&key);
            insert(object)
        }
        Event::Delete(object) => {
            let key = key_of(object);
            context.forget(&key);
            context.clients.check_managed_by(&key);
            lock(&context.index).remove(&key)
        }
    };
    {
        let index = lock(&context.index);
        context.forget_gone(&index);
        if index.has_accounts() {
            context.accounts.want();
        }
    }
    for key in &affected {
        context.triggers.send(key);
    }
}

/// Secrets, by metadata: requeues the credentials that read or write a changed Secret. [`Secrets`](super::secrets::Secrets)
/// compares the lists itself, because a list may be older than an own write that it knows.
pub(in crate::controller) async fn secrets(context: Arc<Context>) {
    let Watch { parts, mut events } = scope::metadata::<Secret>(&context, "secrets", trim::secret);
    let mut first = FirstLists::of(&parts);
    while let Some((part, event)) = events.next().await {
        let Ok(event) = event else {
            // A watch of everything is retried until it works.
            if !part.is_empty() && first.settle(&part) {
                context.health.listed("secrets");
            }
            continue;
        };
        let now = context.clock.now();
        let is_list = matches!(event, Event::InitDone);
        let changed = take_secret(&context, &part, event, now);
        context.verify_doubtful();
        context.health.event_seen("secrets", now);
        // Reported only after `finish` has stored the list.
        if is_list {
            if first.settle(&part) {
                context.health.listed("secrets");
            }
            context.synced("secrets", &part);
        }
        for name in &changed {
            context.clients.check_source(name);
        }
        let index = lock(&context.index);
        for key in changed.iter().flat_map(|name| index.of_secret(name)) {
            context.triggers.send(&key);
        }
    }
}

/// Handles an event of a part. Returns the Secrets that changed.
fn take_secret(
    context: &Context,
    part: &Part,
    event: Event<PartialObjectMeta<Secret>>,
    now: Timestamp,
) -> Vec<SecretName> {
    let mut secrets = lock(&context.secrets);
    match &event {
        Event::InitApply(object) | Event::Apply(object) => {
            let version = object.metadata.resource_version.as_deref();
            let name = secret_name(&object.metadata);
            let version = version.unwrap_or_default();
            context.health.showed("secrets", &name, version);
        }
        Event::Delete(object) => {
            let name = secret_name(&object.metadata);
            context.health.gone("secrets", &name);
        }
        _ => {}
    }
    match event {
        Event::Init => {
            secrets.begin(part);
            Vec::new()
        }
        Event::InitApply(object) => {
            secrets.listed(part, &object.metadata);
            Vec::new()
        }
        Event::InitDone => secrets.finish(part, now),
        Event::Apply(object) => secrets.apply(&object.metadata, now).into_iter().collect(),
        Event::Delete(object) => secrets.delete(&object.metadata).into_iter().collect(),
    }
}

/// The watch of `TokenIssuers`.
pub(in crate::controller) fn token_issuers(context: &Arc<Context>) -> Watch<Readable<TokenIssuer>> {
    scope::namespaced(context, "tokenissuers")
}

/// The watch of `ClusterTokenIssuers`.
pub(in crate::controller) fn cluster_issuers(
    context: &Arc<Context>,
) -> Watch<Readable<ClusterTokenIssuer>> {
    scope::clustered(context, "clustertokenissuers")
}

/// Namespaces, by metadata: their labels may allow their credentials to use a cluster issuer.
pub(in crate::controller) async fn namespaces(context: Arc<Context>) {
    let watch = scope::namespaces(&context, "namespaces");
    let stream = settled(
        &context,
        "namespaces",
        watch,
        Namespaces(Arc::clone(&context)),
    );
    let mut stream = std::pin::pin!(stream);
    let mut incoming = None;
    while let Some(event) = stream.next().await {
        let mut changed = Vec::new();
        match event {
            Event::Init => incoming = Some(HashMap::new()),
            Event::InitApply(object) => {
                if let Some(map) = &mut incoming {
                    map.extend([facts(object)]);
                }
            }
            Event::InitDone => {
                if let Some(map) = incoming.take() {
                    let mut known = lock(&context.namespaces);
                    let news = map
                        .iter()
                        .filter(|(name, facts)| known.get(*name) != Some(*facts));
                    changed.extend(news.map(|(name, _)| name.clone()));
                    *known = map;
                }
                context.health.listed("namespaces");
            }
            Event::Apply(object) => {
                let (name, facts) = facts(object);
                if lock(&context.namespaces).insert(name.clone(), facts.clone()) != Some(facts) {
                    changed.push(name);
                }
            }
            Event::Delete(object) => {
                lock(&context.namespaces).remove(&facts(object).0);
            }
        }
        context.clients.check_homes(&changed);
        let index = lock(&context.index);
        for key in changed.iter().flat_map(|name| index.of_namespace(name)) {
            context.triggers.send(&key);
        }
    }
}

/// `ServiceAccounts`, by metadata, after a credential or a client needs one: requeues the credentials that need a created,
/// changed or deleted one, and has the clients checked.
pub(in crate::controller) async fn service_accounts(context: Arc<Context>) {
    context.accounts.wanted.notified().await;
    let name = "serviceaccounts";
    let watch = scope::metadata::<ServiceAccount>(&context, name, trim::account);
    let stream = settled(&context, name, watch, ServiceAccounts(Arc::clone(&context)));
    let mut stream = std::pin::pin!(stream);
    let mut incoming = None;
    while let Some(event) = stream.next().await {
        let changed = context.accounts.take(event, &mut incoming);
        context.clients.check_accounts(changed.as_deref());
        let index = lock(&context.index);
        let keys = match changed {
            Some(changed) => changed.iter().flat_map(|a| index.of_account(a)).collect(),
            None => index.with_accounts(),
        };
        for key in keys {
            context.triggers.send(&key);
        }
    }
}

/// The known namespaces.
struct Namespaces(Arc<Context>);

impl Known<PartialObjectMeta<Namespace>> for Namespaces {
    fn missing(&self, part: &str, listed: &dyn Fn(&ObjectMeta) -> bool) -> Vec<ObjectMeta> {
        let known = lock(&self.0.namespaces);
        let all = known.keys().filter(|name| covers(part, Some(name)));
        let all = all.map(|name| ObjectMeta {
            name: Some(name.clone()),
            ..ObjectMeta::default()
        });
        all.filter(|meta| !listed(meta)).collect()
    }
}

/// The known `ServiceAccounts`.
struct ServiceAccounts(Arc<Context>);

impl Known<PartialObjectMeta<ServiceAccount>> for ServiceAccounts {
    fn missing(&self, part: &str, listed: &dyn Fn(&ObjectMeta) -> bool) -> Vec<ObjectMeta> {
        let all = self.0.accounts.names(part).into_iter();
        let all = all.map(|(namespace, name)| ObjectMeta {
            namespace: Some(namespace),
            name: Some(name),
            ..ObjectMeta::default()
        });
        all.filter(|meta| !listed(meta)).collect()
    }
}

fn facts(object: PartialObjectMeta<Namespace>) -> (String, NamespaceFacts) {
    let meta = object.metadata;
    let terminating = meta.deletion_timestamp.is_some();
    (
        meta.name.unwrap_or_default(),
        NamespaceFacts {
            labels: meta.labels.unwrap_or_default(),
            terminating,
        },
    )
}

/// A store and its writer.
pub(in crate::controller) fn store<K>() -> (reflector::Store<K>, Writer<K>)
where
    K: Lookup<DynamicType = ()> + Clone + 'static,
{
    reflector::store()
}
