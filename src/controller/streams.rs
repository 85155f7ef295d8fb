//! The watches. Each has its own backoff, prunes what it receives before anything is kept, and tells who is
//! concerned by a change.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use futures::{Stream, StreamExt, future};
use k8s_openapi::{
    api::core::v1::{Namespace, Secret},
    apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta},
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
    context::{Context, NamespaceFacts, key_of, lock, reference},
    index::IssuerName,
    kept::{Kept, at_rest},
    readable::Readable,
    relist,
    revoke::Gone,
    scope::{self, Watch},
    secrets::name as secret_name,
};
use crate::{
    api::{ApiCredential, ClusterTokenIssuer, IssuerKind, TokenIssuer, names},
    credential::{Key, MAX_RENEW_REQUEST},
};

/// Typed objects: those that cannot be read are told and left out, so that one of them stops nobody else.
fn readable<K>(
    stream: Watch<Readable<K>>,
    name: &'static str,
) -> impl Stream<Item = Event<K>> + Send + 'static + use<K>
where
    K: Resource<DynamicType = ()> + Send + 'static,
{
    settle(stream).filter_map(move |event| future::ready(guarded(event, name)))
}

/// The events of a stream; its failures are reported already.
pub(super) fn settle<T: Send + 'static>(
    stream: Watch<T>,
) -> impl Stream<Item = Event<T>> + Send + use<T> {
    stream.filter_map(|result| future::ready(result.ok()))
}

fn guarded<K: Resource<DynamicType = ()>>(
    event: Event<Readable<K>>,
    stream: &'static str,
) -> Option<Event<K>> {
    let open = |object: Readable<K>| match object.0 {
        Ok(object) => Some(object),
        Err(meta) => {
            tracing::error!(
                stream,
                namespace = meta.namespace,
                name = meta.name,
                "an object cannot be read and is left out; does it fit the installed CRD?"
            );
            None
        }
    };
    Some(match event {
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
        Event::InitApply(guard) => Event::InitApply(open(guard)?),
        Event::Apply(guard) => Event::Apply(open(guard)?),
        Event::Delete(guard) => Event::Delete(open(guard)?),
    })
}

/// Credentials: fills the store and the index, and triggers those whose spec, renewal request or deletion changed, or
/// whose status somebody else wrote. An own status, a label or another annotation triggers nobody. It goes on while the
/// operator drains: what is under way then still sees an edit or a deletion.
pub(super) async fn credentials(
    context: Arc<Context>,
    mut writer: Writer<Kept>,
    gone: tokio::sync::mpsc::UnboundedSender<Gone>,
) {
    let mut listed: Option<HashSet<Key>> = None;
    let stream = scope::namespaced(&context, "credentials", prune, |_| {});
    let events = readable::<ApiCredential>(stream, "credentials");
    let events = relist::as_changes(events, context.credentials.clone());
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        let known = match &event {
            Event::Apply(object) => context.credentials.get(&reference(&key_of(object))),
            _ => None,
        };
        let kept = at_rest(&event);
        writer.apply_watcher_event(&kept);
        if let Event::Delete(object) = &event
            && object.spec.revoke_on_delete == Some(true)
        {
            let uid = object.metadata.uid.as_deref();
            let token = context.revocable(&key_of(object), uid);
            let _ = gone.send(Gone {
                object: object.clone(),
                token,
            });
        }
        note(&context, &event, &mut listed);
        context.health.heard("credentials", context.clock.now());
        if let Event::Apply(kept) | Event::InitApply(kept) = kept
            && known.is_none_or(|known| !known.asks_the_same(&kept))
        {
            context.triggers.send(&key_of(&kept));
        }
    }
}

fn note(context: &Context, event: &Event<ApiCredential>, listed: &mut Option<HashSet<Key>>) {
    if let Event::InitApply(object) | Event::Apply(object) | Event::Delete(object) = event {
        context
            .head
            .saw(object.metadata.resource_version.as_deref());
    }
    let woken = match event {
        Event::Init => {
            *listed = Some(HashSet::new());
            Vec::new()
        }
        Event::InitApply(object) => {
            if let Some(listed) = listed {
                listed.insert(key_of(object));
            }
            lock(&context.index).insert(object)
        }
        Event::InitDone => {
            // The first list; later ones come as their changes. One that broke and was begun again may have named what
            // is gone.
            context.health.listed("credentials");
            let keep = listed.take().unwrap_or_default();
            lock(&context.index).retain(&keep)
        }
        Event::Apply(object) => {
            context.saw(
                &key_of(object),
                object
                    .metadata
                    .resource_version
                    .as_deref()
                    .unwrap_or_default(),
            );
            lock(&context.index).insert(object)
        }
        Event::Delete(object) => {
            let key = key_of(object);
            context.forget(&key);
            lock(&context.index).remove(&key)
        }
    };
    if lock(&context.index).has_accounts() {
        context.accounts.want();
    }
    for key in &woken {
        context.triggers.send(key);
    }
}

/// Managed fields are four fifths of an object's memory (reliability research, section 2.6); labels and annotations are
/// of no use here, but for one that steers, of which no more is read than this. Of all managers one is left if others than
/// apicred hold a part of the status.
fn prune<K: Resource>(object: &mut K) {
    let meta = object.meta_mut();
    let status = Some("status");
    let stranger = |entry: &ManagedFieldsEntry| {
        entry.subresource.as_deref() == status && entry.manager.as_deref() != Some(names::MANAGER)
    };
    let strange = meta.managed_fields.iter().flatten().any(stranger);
    meta.managed_fields = strange.then(|| {
        vec![ManagedFieldsEntry {
            subresource: status.map(str::to_owned),
            ..ManagedFieldsEntry::default()
        }]
    });
    meta.labels = None;
    if let Some(annotations) = &mut meta.annotations {
        annotations.retain(|key, value| {
            if let Some((end, _)) = value.char_indices().nth(MAX_RENEW_REQUEST) {
                value.truncate(end);
                value.shrink_to_fit();
            }
            key == names::RENEW_REQUESTED_AT
        });
    }
}

/// What tells which object is gone.
fn by_name(secret: &mut PartialObjectMeta<Secret>) {
    let meta = std::mem::take(&mut secret.metadata);
    secret.metadata = ObjectMeta {
        namespace: meta.namespace,
        name: meta.name,
        uid: meta.uid,
        resource_version: meta.resource_version,
        ..ObjectMeta::default()
    };
}

/// Secrets, by metadata: wakes the credentials that read or write the ones that change.
pub(super) async fn secrets(context: Arc<Context>) {
    // Who owns which field of a target is told by its managed fields, so nothing is taken off here.
    let watch =
        scope::namespaced::<PartialObjectMeta<Secret>>(&context, "secrets", |_| {}, by_name);
    let stream = settle(watch);
    let mut stream = std::pin::pin!(stream);
    while let Some(event) = stream.next().await {
        let now = context.clock.now();
        let changed = {
            let mut secrets = lock(&context.secrets);
            match &event {
                Event::InitApply(object) | Event::Apply(object) => {
                    let version = object.metadata.resource_version.as_deref();
                    let name = secret_name(&object.metadata);
                    context
                        .health
                        .showed("secrets", &name, version.unwrap_or_default());
                }
                Event::Delete(object) => {
                    let name = secret_name(&object.metadata);
                    context.health.gone("secrets", &name);
                }
                _ => {}
            }
            match event {
                Event::Init => {
                    secrets.begin();
                    Vec::new()
                }
                Event::InitApply(object) => {
                    secrets.listed(&object.metadata);
                    Vec::new()
                }
                Event::InitDone => secrets.finish(now),
                Event::Apply(object) => secrets.apply(&object.metadata, now).into_iter().collect(),
                Event::Delete(object) => secrets.delete(&object.metadata).into_iter().collect(),
            }
        };
        context.settle_doubts();
        context.health.heard("secrets", now);
        // Said only after `finish` has put the list in place.
        if lock(&context.secrets).is_listed() {
            context.health.listed("secrets");
        }
        let index = lock(&context.index);
        for key in changed.iter().flat_map(|name| index.of_secret(name)) {
            context.triggers.send(&key);
        }
    }
}

/// The watch of `TokenIssuers`.
pub(super) fn token_issuers(context: &Arc<Context>) -> Watch<Readable<TokenIssuer>> {
    scope::namespaced(context, "tokenissuers", prune, |_| {})
}

/// The watch of `ClusterTokenIssuers`.
pub(super) fn cluster_issuers(context: &Arc<Context>) -> Watch<Readable<ClusterTokenIssuer>> {
    scope::clustered(context, "clustertokenissuers")
}

/// Issuers of one kind: fills the store, wakes the credentials that ask the ones whose spec changes, and hands the
/// changed ones to `changed`.
pub(super) async fn issuers<K>(
    context: Arc<Context>,
    mut writer: Writer<K>,
    watch: Watch<Readable<K>>,
    (name, kind): (&'static str, IssuerKind),
    changed: tokio::sync::mpsc::UnboundedSender<IssuerName>,
) where
    K: Resource<DynamicType = ()> + Lookup<DynamicType = ()> + Clone + Send + Sync + 'static,
{
    let stream = readable::<K>(watch, name);
    let mut stream = std::pin::pin!(stream);
    let mut versions: HashMap<IssuerName, (Option<String>, Option<i64>)> = HashMap::new();
    let mut listed: Option<HashSet<IssuerName>> = None;
    while let Some(event) = stream.next().await {
        writer.apply_watcher_event(&event);
        let of = |object: &K| {
            let key = key_of(object);
            let version = (object.meta().uid.clone(), object.meta().generation);
            ((kind, key.namespace, key.name), version)
        };
        let mut news = Vec::new();
        match &event {
            Event::Init => listed = Some(HashSet::new()),
            Event::InitApply(object) | Event::Apply(object) => {
                let (issuer, version) = of(object);
                if let Some(listed) = &mut listed {
                    listed.insert(issuer.clone());
                }
                let known = versions.insert(issuer.clone(), version.clone()) == Some(version);
                // What a list brings is told at its end, once.
                if !known && listed.is_none() {
                    news.push(issuer);
                }
            }
            Event::Delete(object) => {
                let (issuer, _) = of(object);
                versions.remove(&issuer);
                news.push(issuer);
            }
            Event::InitDone => {
                if let Some(keep) = listed.take() {
                    news.extend(versions.keys().filter(|k| !keep.contains(*k)).cloned());
                    versions.retain(|k, _| keep.contains(k));
                }
                context.health.listed(name);
                // What the list brought is in the store only now.
                news.extend(versions.keys().cloned());
            }
        }
        for issuer in news {
            lock(&context.index)
                .of_issuer(&issuer)
                .iter()
                .for_each(|key| context.triggers.send(key));
            let _ = changed.send(issuer);
        }
    }
}

/// Namespaces, by metadata: their labels may open a cluster issuer to their credentials.
pub(super) async fn namespaces(context: Arc<Context>) {
    let watch = scope::namespaces(&context, "namespaces");
    let stream = settle(watch);
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
        let index = lock(&context.index);
        for key in changed.iter().flat_map(|name| index.of_namespace(name)) {
            context.triggers.send(&key);
        }
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
pub(super) fn store<K>() -> (reflector::Store<K>, Writer<K>)
where
    K: Lookup<DynamicType = ()> + Clone + 'static,
{
    reflector::store()
}
