//! The watches of issuers.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Instant,
};

use futures::StreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Resource,
    runtime::{
        reflector::{self, Lookup, ObjectRef, store::Writer},
        watcher::Event,
    },
};

use super::{
    changes::{Known, Watch, covers},
    index::IssuerName,
    readable::{Flaw, Readable, identity},
    streams::settled,
};
use crate::{
    api::{IssuerKind, IssuerRef},
    controller::{context::Context, locks::lock, requeue::key_of},
    credential::IssuerLookup,
};

/// The properties that show a change of an issuer.
#[derive(Clone, Debug, PartialEq)]
struct IssuerVersion {
    uid: Option<String>,
    generation: Option<i64>,
    /// Why it is unusable.
    flaw: Option<Flaw>,
    /// Names of annotations that look like annotations of apicred. Other annotations of an issuer are not stored.
    annotations: Vec<String>,
}

/// The versions of the known issuers.
#[derive(Default)]
struct Versions(HashMap<IssuerName, IssuerVersion>);

impl Versions {
    /// Stores the current version of an issuer. Returns true if the version changed.
    fn put(&mut self, issuer: IssuerName, version: IssuerVersion) -> bool {
        self.0.insert(issuer, version.clone()) != Some(version)
    }
}

/// The origin of each known issuer, to which its requests go.
#[derive(Default)]
struct Origins(HashMap<IssuerName, String>);

impl Origins {
    /// Stores the present origin; `None` if the issuer is not usable now. Returns true if it is another one than before: the pauses that the
    /// server there requested say nothing about the new one.
    fn put(&mut self, issuer: &IssuerName, origin: Option<String>) -> bool {
        let Some(origin) = origin else { return false };
        let before = self.0.insert(issuer.clone(), origin.clone());
        before.is_some_and(|before| before != origin)
    }

    fn remove(&mut self, issuer: &IssuerName) {
        self.0.remove(issuer);
    }
}

/// Issuers of one kind: fills the store, triggers the credentials of issuers with a changed spec, and sends these issuers to
/// `changed`. An unchanged issuer triggers nothing.
///
/// An unusable issuer is removed from the store and recorded as unusable, so that no credential is served by outdated rules.
pub(in crate::controller) async fn issuers<K>(
    context: Arc<Context>,
    mut writer: Writer<K>,
    watch: Watch<Readable<K>>,
    (name, kind): (&'static str, IssuerKind),
    changed: tokio::sync::mpsc::UnboundedSender<IssuerName>,
) where
    K: Resource<DynamicType = ()> + Lookup<DynamicType = ()> + Clone + Send + Sync + 'static,
{
    let known = Issuers {
        context: Arc::clone(&context),
        store: writer.as_reader(),
        kind,
    };
    let stream = settled(&context, name, watch, known);
    let mut stream = std::pin::pin!(stream);
    let (mut versions, mut origins) = (Versions::default(), Origins::default());
    let issuer = |object: &Readable<K>| {
        let key = key_of(object);
        (kind, key.namespace, key.name)
    };
    while let Some(event) = stream.next().await {
        let mut news = Vec::new();
        match event {
            Event::Init => writer.apply_watcher_event(&Event::Init),
            Event::InitApply(object) => {
                let of = issuer(&object);
                versions.put(of.clone(), version(&object));
                put(&mut writer, &context, of, object, Event::InitApply);
            }
            // The first list: later lists are delivered as changes.
            Event::InitDone => {
                writer.apply_watcher_event(&Event::InitDone);
                context.health.listed(name);
                news.extend(versions.0.keys().cloned());
            }
            Event::Apply(object) => {
                let (of, version) = (issuer(&object), version(&object));
                if versions.put(of.clone(), version) {
                    news.push(of.clone());
                }
                if !put(&mut writer, &context, of.clone(), object, Event::Apply) {
                    remove(&mut writer, kind, &of);
                }
            }
            Event::Delete(object) => {
                let of = issuer(&object);
                versions.0.remove(&of);
                keep(&context, &of);
                lock(&context.unusable).remove(&of);
                remove(&mut writer, kind, &of);
                news.push(of);
            }
        }
        for issuer in &news {
            let gone = !versions.0.contains_key(issuer);
            if gone {
                origins.remove(issuer);
            }
            if gone || origins.put(issuer, origin(&context, issuer)) {
                context.limiter.forget_issuer(issuer);
            }
        }
        announce(&context, &changed, news);
    }
}

/// The origin of an issuer, if it is usable.
fn origin(context: &Context, (kind, namespace, name): &IssuerName) -> Option<String> {
    let reference = IssuerRef {
        kind: *kind,
        name: name.clone(),
    };
    match context.issuer(namespace, &reference) {
        IssuerLookup::Found(issuer) => Some(issuer.origin),
        _ => None,
    }
}

/// Stores an issuer that was deleted, if it was usable and a credential names it: the credential may be deleted together with it.
fn keep(context: &Context, name: &IssuerName) {
    let (kind, namespace, issuer) = name;
    let reference = IssuerRef {
        kind: *kind,
        name: issuer.clone(),
    };
    let named = lock(&context.index).names_issuer(name);
    if named && let IssuerLookup::Found(issuer) = context.issuer(namespace, &reference) {
        context
            .gone_issuers
            .put(name.clone(), Instant::now(), issuer);
    }
}

/// Stores an issuer. If it is unusable, records the reason and returns false.
fn put<K>(
    writer: &mut Writer<K>,
    context: &Context,
    name: IssuerName,
    object: Readable<K>,
    event: impl FnOnce(K) -> Event<K>,
) -> bool
where
    K: Lookup<DynamicType = ()> + Clone + 'static,
{
    context.gone_issuers.remove(&name);
    match object.0 {
        Ok(object) => {
            writer.apply_watcher_event(&event(object));
            lock(&context.unusable).remove(&name);
            true
        }
        Err(flawed) => {
            lock(&context.unusable).insert(name, flawed);
            false
        }
    }
}

/// Triggers the objects that use these issuers, and sends the issuers to the task that reports on them.
fn announce(
    context: &Context,
    changed: &tokio::sync::mpsc::UnboundedSender<IssuerName>,
    news: Vec<IssuerName>,
) {
    if !news.is_empty() {
        context.ca_bundles.changed.notify_one();
    }
    for issuer in news {
        lock(&context.index)
            .of_issuer(&issuer)
            .iter()
            .for_each(|key| context.triggers.send(key));
        context.clients.check_issuer(&issuer);
        let _ = changed.send(issuer);
    }
}

/// The known issuers, usable or not.
struct Issuers<K: Lookup<DynamicType = ()> + Clone + 'static> {
    context: Arc<Context>,
    store: reflector::Store<K>,
    kind: IssuerKind,
}

impl<K> Known<Readable<K>> for Issuers<K>
where
    K: Resource<DynamicType = ()> + Lookup<DynamicType = ()> + Clone + 'static,
{
    fn missing(&self, part: &str, listed: &dyn Fn(&ObjectMeta) -> bool) -> Vec<ObjectMeta> {
        let gone = |meta: &ObjectMeta| covers(part, meta.namespace.as_deref()) && !listed(meta);
        let usable = self.store.state();
        let usable = usable.iter().map(|i| identity(i.meta()));
        let unusable = lock(&self.context.unusable);
        let unusable = unusable.iter().filter(|((kind, ..), _)| *kind == self.kind);
        let unusable = unusable.map(|(_, unusable)| identity(&unusable.metadata));
        usable.chain(unusable).filter(gone).collect()
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

/// Removes an issuer from the store.
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

    #[test]
    fn only_another_origin_ends_the_pauses_of_an_issuer() {
        let mut origins = Origins::default();
        let mut put = |origin: Option<&str>| origins.put(&issuer("a"), origin.map(str::to_owned));
        assert!(!put(Some("https://one.example")), "it is new");
        assert!(!put(Some("https://one.example")), "another field");
        assert!(put(Some("https://two.example")));
        assert!(!put(None), "its spec is invalid");
        assert!(!put(Some("https://two.example")), "and valid again");
        assert!(put(Some("https://two.example:8443")));
    }

    #[test]
    fn an_issuer_is_news_if_it_may_be_used_in_another_way() {
        let mut versions = Versions::default();
        assert!(versions.put(issuer("a"), version(1)), "it is new");
        assert!(versions.put(issuer("b"), version(1)));
        assert!(
            !versions.put(issuer("a"), version(1)),
            "a status or a label"
        );
        assert!(versions.put(issuer("a"), version(2)));
        let annotations = vec!["apicred.dev/allowed-issuers".to_owned()];
        let annotated = IssuerVersion {
            annotations,
            ..version(2)
        };
        assert!(versions.put(issuer("a"), annotated), "it is reported");
        assert!(versions.put(issuer("a"), version(2)));
        let flaw = Some(Flaw::DoesNotFit("spec.limits".to_owned()));
        let unusable = IssuerVersion { flaw, ..version(2) };
        assert!(versions.put(issuer("a"), unusable));
        let uid = Some("v".to_owned());
        let recreated = IssuerVersion { uid, ..version(1) };
        assert!(versions.put(issuer("b"), recreated));
    }
}
