//! The watches. Each has its own backoff, prunes what it receives before anything is kept, and tells who is
//! concerned by a change.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use futures::{Stream, StreamExt, future};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::{
    Resource,
    api::PartialObjectMeta,
    runtime::{
        reflector::{self, Lookup, ObjectRef, store::Writer},
        watcher::Event,
    },
};

use super::{
    index::IssuerName,
    packed::{PackedCredential, packed_event, stand_in},
    readable::{Flaw, Readable},
    relist,
    scope::{self, Watch},
    secrets::name as secret_name,
    trim,
};
use crate::controller::{
    context::{Context, NamespaceFacts},
    locks::lock,
    requeue::{key_of, reference},
    state::Gone,
};
use crate::{
    api::{ApiCredential, ClusterTokenIssuer, IssuerKind, TokenIssuer},
    credential::Key,
};

/// The events of a stream; its failures are reported already.
pub(in crate::controller) fn settle<T: Send + 'static>(
    stream: Watch<T>,
) -> impl Stream<Item = Event<T>> + Send + use<T> {
    stream.filter_map(|result| future::ready(result.ok()))
}

/// Credentials: fills the store and the index, and triggers those whose spec, renewal request or deletion changed, or
/// whose status somebody else wrote. An own status, a label or another annotation triggers nobody. It goes on while the
/// operator drains: what is under way then still sees an edit or a deletion.
pub(in crate::controller) async fn credentials(
    context: Arc<Context>,
    mut writer: Writer<PackedCredential>,
    gone: tokio::sync::mpsc::UnboundedSender<Gone>,
) {
    let mut listed: Option<HashSet<Key>> = None;
    let events = settle(scope::namespaced::<ApiCredential>(&context, "credentials"));
    let events = relist::as_changes(events, context.credentials.clone());
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        let known = match &event {
            Event::Apply(object) | Event::Delete(object) => {
                context.credentials.get(&reference(&key_of(object)))
            }
            _ => None,
        };
        let kept = packed_event(&event);
        writer.apply_watcher_event(&kept);
        if let Event::Delete(object) = &event
            && let Some(deleted) = deleted(&context, object, known.as_deref())
        {
            let _ = gone.send(deleted);
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

/// A deleted credential, if it wants its token revoked. One that a list does not name is known by what was known before;
/// of one whose last spec cannot be read it is not known what it wants.
fn deleted(
    context: &Context,
    object: &Readable<ApiCredential>,
    known: Option<&PackedCredential>,
) -> Option<Gone> {
    let (object, seen) = match &object.0 {
        Ok(object) => (object.clone(), true),
        Err(unusable) if unusable.flaw == Flaw::NotListed => (known?.open()?, false),
        Err(_) => return None,
    };
    (object.spec.revoke_on_delete == Some(true)).then(|| Gone {
        token: context.revocable(&key_of(&object), object.metadata.uid.as_deref()),
        object,
        seen,
    })
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
    // An object that cannot be used keeps its place among those that name the same Secret.
    let insert = |object: &Readable<ApiCredential>| match &object.0 {
        Ok(object) => lock(&context.index).insert(object),
        Err(unusable) if unusable.target.is_some() => {
            lock(&context.index).insert(&stand_in(unusable))
        }
        Err(_) => Vec::new(),
    };
    let woken = match event {
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
            // The first list; later ones come as their changes. One that broke and was begun again may have named what
            // is gone.
            context.health.listed("credentials");
            let keep = listed.take().unwrap_or_default();
            lock(&context.index).retain(&keep)
        }
        Event::Apply(object) => {
            let version = object.meta().resource_version.as_deref();
            context.saw(&key_of(object), version.unwrap_or_default());
            insert(object)
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

/// Secrets, by metadata: wakes the credentials that read or write the ones that change.
pub(in crate::controller) async fn secrets(context: Arc<Context>) {
    let stream = settle(scope::metadata(&context, "secrets", trim::secret));
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
pub(in crate::controller) fn token_issuers(context: &Arc<Context>) -> Watch<Readable<TokenIssuer>> {
    scope::namespaced(context, "tokenissuers")
}

/// The watch of `ClusterTokenIssuers`.
pub(in crate::controller) fn cluster_issuers(
    context: &Arc<Context>,
) -> Watch<Readable<ClusterTokenIssuer>> {
    scope::clustered(context, "clustertokenissuers")
}

/// What shows a change of an issuer.
#[derive(Clone, Debug, PartialEq)]
struct IssuerVersion {
    uid: Option<String>,
    generation: Option<i64>,
    /// Why it cannot be used.
    flaw: Option<Flaw>,
    /// Names of annotations that look like apicred's: of an issuer no others are held.
    annotations: Vec<String>,
}

/// The versions of the issuers that are known, to find out what a list changes.
#[derive(Default)]
struct Versions {
    known: HashMap<IssuerName, IssuerVersion>,
    listed: HashMap<IssuerName, IssuerVersion>,
}

impl Versions {
    /// A list begins. One that broke off before has changed nothing.
    fn begin(&mut self) {
        self.listed.clear();
    }

    fn list(&mut self, issuer: IssuerName, version: IssuerVersion) {
        self.listed.insert(issuer, version);
    }

    /// The list is complete. Returns the issuers that are new, changed or gone.
    fn end(&mut self) -> Vec<IssuerName> {
        let old = std::mem::replace(&mut self.known, std::mem::take(&mut self.listed));
        let gone = old.keys().filter(|k| !self.known.contains_key(*k));
        let changed = self.known.iter().filter(|(k, v)| old.get(*k) != Some(*v));
        gone.chain(changed.map(|(k, _)| k)).cloned().collect()
    }

    /// The watch has shown an issuer. Says whether it changed.
    fn put(&mut self, issuer: IssuerName, version: IssuerVersion) -> bool {
        self.known.insert(issuer, version.clone()) != Some(version)
    }

    fn remove(&mut self, issuer: &IssuerName) {
        self.known.remove(issuer);
    }
}

/// Issuers of one kind: fills the store, triggers the credentials of those whose spec changed, and hands these to
/// `changed`. A list is compared with what was known: what did not change triggers nobody.
///
/// An issuer that cannot be used is taken out of the store and noted as such, so that nobody is served by rules that were
/// replaced.
pub(in crate::controller) async fn issuers<K>(
    context: Arc<Context>,
    mut writer: Writer<K>,
    watch: Watch<Readable<K>>,
    (name, kind): (&'static str, IssuerKind),
    changed: tokio::sync::mpsc::UnboundedSender<IssuerName>,
) where
    K: Resource<DynamicType = ()> + Lookup<DynamicType = ()> + Clone + Send + Sync + 'static,
{
    let stream = settle(watch);
    let mut stream = std::pin::pin!(stream);
    let mut versions = Versions::default();
    let mut unusable = HashMap::new();
    let issuer = |object: &Readable<K>| {
        let key = key_of(object);
        (kind, key.namespace, key.name)
    };
    while let Some(event) = stream.next().await {
        let mut news = Vec::new();
        match event {
            Event::Init => {
                versions.begin();
                unusable = HashMap::new();
                writer.apply_watcher_event(&Event::Init);
            }
            Event::InitApply(object) => {
                let of = issuer(&object);
                versions.list(of.clone(), version(&object));
                match object.0 {
                    Ok(object) => writer.apply_watcher_event(&Event::InitApply(object)),
                    Err(flawed) => {
                        unusable.insert(of, flawed);
                    }
                }
            }
            Event::InitDone => {
                // The store changes in between, so that no issuer is missing from both.
                let listed: HashSet<IssuerName> = unusable.keys().cloned().collect();
                lock(&context.unusable).extend(unusable.drain());
                writer.apply_watcher_event(&Event::InitDone);
                let known = |issuer: &IssuerName| issuer.0 != kind || listed.contains(issuer);
                lock(&context.unusable).retain(|issuer, _| known(issuer));
                context.health.listed(name);
                news = versions.end();
            }
            Event::Apply(object) => {
                let (of, version) = (issuer(&object), version(&object));
                if versions.put(of.clone(), version) {
                    news.push(of.clone());
                }
                match object.0 {
                    Ok(object) => {
                        writer.apply_watcher_event(&Event::Apply(object));
                        lock(&context.unusable).remove(&of);
                    }
                    Err(flawed) => {
                        lock(&context.unusable).insert(of.clone(), flawed);
                        remove(&mut writer, kind, &of);
                    }
                }
            }
            Event::Delete(object) => {
                let of = issuer(&object);
                versions.remove(&of);
                lock(&context.unusable).remove(&of);
                remove(&mut writer, kind, &of);
                news.push(of);
            }
        }
        for issuer in news {
            if !versions.known.contains_key(&issuer) {
                context.limiter.forget_issuer(&issuer);
            }
            lock(&context.index)
                .of_issuer(&issuer)
                .iter()
                .for_each(|key| context.triggers.send(key));
            let _ = changed.send(issuer);
        }
    }
}

fn version<K: Resource>(object: &Readable<K>) -> IssuerVersion {
    let meta = object.meta();
    let annotations = meta.annotations.iter().flat_map(BTreeMap::keys).cloned();
    IssuerVersion {
        uid: meta.uid.clone(),
        generation: meta.generation,
        flaw: object.flaw().cloned(),
        annotations: annotations.collect(),
    }
}

/// Takes an issuer out of the store.
fn remove<K>(writer: &mut Writer<K>, kind: IssuerKind, (_, namespace, name): &IssuerName)
where
    K: Resource<DynamicType = ()> + Lookup<DynamicType = ()> + Clone + 'static,
{
    let reference = ObjectRef::<K>::new(name);
    let reference = match kind {
        IssuerKind::TokenIssuer => reference.within(namespace),
        IssuerKind::ClusterTokenIssuer => reference,
    };
    if let Some(old) = writer.as_reader().get(&reference) {
        writer.apply_watcher_event(&Event::Delete(old.as_ref().clone()));
    }
}

/// Namespaces, by metadata: their labels may open a cluster issuer to their credentials.
pub(in crate::controller) async fn namespaces(context: Arc<Context>) {
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

/// `ServiceAccounts`, by metadata, once a credential needs one: requeues the credentials that need what comes or goes.
pub(in crate::controller) async fn service_accounts(context: Arc<Context>) {
    context.accounts.wanted.notified().await;
    let name = "serviceaccounts";
    let watch = scope::metadata::<ServiceAccount>(&context, name, trim::account);
    let mut stream = std::pin::pin!(settle(watch));
    let mut incoming = None;
    while let Some(event) = stream.next().await {
        let changed = context.accounts.take(event, &mut incoming);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn issuer(name: &str) -> IssuerName {
        (IssuerKind::TokenIssuer, "n".to_owned(), name.to_owned())
    }

    fn version(generation: i64) -> IssuerVersion {
        IssuerVersion {
            uid: Some("u".to_owned()),
            generation: Some(generation),
            flaw: None,
            annotations: Vec::new(),
        }
    }

    fn list(versions: &mut Versions, issuers: &[(&str, IssuerVersion)]) -> Vec<String> {
        versions.begin();
        for (name, version) in issuers {
            versions.list(issuer(name), version.clone());
        }
        let mut told: Vec<String> = versions.end().into_iter().map(|i| i.2).collect();
        told.sort();
        told
    }

    #[test]
    fn a_list_of_issuers_tells_what_changed_and_nothing_else() {
        let mut versions = Versions::default();
        let first = [("a", version(1)), ("b", version(1)), ("c", version(1))];
        assert_eq!(list(&mut versions, &first), ["a", "b", "c"]);
        assert!(list(&mut versions, &first).is_empty());
        assert!(
            !versions.put(issuer("a"), version(1)),
            "a status or a label"
        );
        assert!(versions.put(issuer("a"), version(2)));
        let mut annotated = version(2);
        annotated.annotations = vec!["apicred.dev/allowed-issuers".to_owned()];
        assert!(versions.put(issuer("a"), annotated), "it is reported");
        assert!(versions.put(issuer("a"), version(2)));
        let flaw = Some(Flaw::DoesNotFit("spec.limits".to_owned()));
        let unusable = IssuerVersion { flaw, ..version(1) };
        let uid = Some("v".to_owned());
        let recreated = IssuerVersion { uid, ..version(1) };
        let later = [("a", version(2)), ("b", unusable), ("d", version(1))];
        assert_eq!(list(&mut versions, &later), ["b", "c", "d"]);
        assert_eq!(
            list(
                &mut versions,
                &[("a", recreated), ("b", version(1)), ("d", version(1))]
            ),
            ["a", "b"]
        );
    }

    #[test]
    fn a_list_of_issuers_that_breaks_off_is_told_by_the_next_one() {
        let mut versions = Versions::default();
        versions.begin();
        versions.list(issuer("a"), version(1));
        assert_eq!(list(&mut versions, &[("a", version(1))]), ["a"]);
        versions.begin();
        versions.list(issuer("a"), version(2));
        assert_eq!(list(&mut versions, &[("a", version(2))]), ["a"]);
    }
}
