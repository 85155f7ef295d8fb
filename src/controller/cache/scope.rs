//! Which namespaces an operator looks after, and the watches that follow from it.

use std::{fmt::Debug, sync::Arc};

use futures::{Stream, StreamExt, future, stream::BoxStream};
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope, api::core::v1::Namespace};
use kube::{Resource, api::PartialObjectMeta, runtime::watcher::Event};

use super::{
    join::{Failed, watch_all},
    readable::{Bounded, Readable, identity},
    trim,
};
use crate::controller::{
    api::{
        retry::{Failure, with_backoff},
        watch::{Read, Source, WatchError, watch},
    },
    context::Context,
    locks::lock,
    settings::Scope,
};

/// What a watch brings. Failures are reported already.
pub(in crate::controller) type Watch<K> = BoxStream<'static, Result<Event<K>, Failed>>;

/// One watch, of all namespaces or of one, with a backoff of its own.
fn one<T>(
    context: &Arc<Context>,
    name: &'static str,
    namespace: &str,
    source: Source,
    read: Read<T>,
) -> impl Stream<Item = Result<Event<T>, Failed>> + Send + 'static + use<T>
where
    T: Resource + Send + 'static,
{
    let context = Arc::clone(context);
    let namespace = namespace.to_owned();
    with_backoff(watch(source, read)).map(move |item| {
        context.health.heard(name, context.clock.now());
        item.map_err(|failure| report(&context, name, &namespace, &failure))
    })
}

fn report(
    context: &Context,
    stream: &'static str,
    namespace: &str,
    failure: &Failure<WatchError>,
) -> Failed {
    context.metrics.watch_broke(stream);
    if failure.sudden {
        context.high_water_mark.suspect();
    }
    if let Some(failures) = failure.report {
        let WatchError(why) = failure.error;
        tracing::warn!(
            stream,
            namespace,
            failures,
            "a list or watch failed and is tried again, with growing waits: {why}"
        );
    }
    Failed
}

/// Objects of a namespaced kind, of all namespaces in scope.
pub(in crate::controller) fn namespaced<K>(
    context: &Arc<Context>,
    name: &'static str,
) -> Watch<Readable<K>>
where
    K: Bounded
        + Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + Send
        + Sync
        + 'static,
{
    let url = |namespace: Option<&str>| K::url_path(&(), namespace);
    let source = |url: String| Source::objects(&context.client, &url);
    let identity = |object: &mut Readable<K>| *object = Readable::not_listed(object.meta());
    in_scope(context, name, |n| source(url(n)), Readable::read, identity)
}

/// The metadata of objects of a namespaced kind, of all namespaces in scope.
pub(in crate::controller) fn metadata<K>(
    context: &Arc<Context>,
    name: &'static str,
    read: Read<PartialObjectMeta<K>>,
) -> Watch<PartialObjectMeta<K>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Send + Sync + 'static,
{
    let url = |namespace: Option<&str>| K::url_path(&(), namespace);
    let source = |url: String| Source::metadata(&context.client, &url);
    let shrink = |object: &mut PartialObjectMeta<K>| {
        object.metadata = identity(&object.metadata);
    };
    in_scope(context, name, |n| source(url(n)), read, shrink)
}

/// A kind in all namespaces that are in scope. `shrink` takes off what no deletion needs, where single namespaces are
/// watched.
fn in_scope<T>(
    context: &Arc<Context>,
    name: &'static str,
    source: impl Fn(Option<&str>) -> Source,
    read: Read<T>,
    shrink: fn(&mut T),
) -> Watch<T>
where
    T: Resource + Clone + Send + Sync + 'static,
{
    let Some(namespaces) = context.settings.scope.names() else {
        return one(context, name, "", source(None), read).boxed();
    };
    let watches = namespaces.iter().map(|namespace| {
        let stream = one(context, name, namespace, source(Some(namespace)), read);
        (namespace.clone(), stream)
    });
    let watches = watches.collect();
    let context = Arc::clone(context);
    watch_all(watches, shrink, move |namespace| {
        context.unsynced.mark_synced(name, namespace);
        // Who waited for it.
        for key in lock(&context.index).of_home(namespace) {
            context.triggers.send(&key);
        }
    })
    .boxed()
}

/// Objects of a kind of the cluster; nothing at all, and no call, where the cluster is out of scope.
pub(in crate::controller) fn clustered<K>(
    context: &Arc<Context>,
    name: &'static str,
) -> Watch<Readable<K>>
where
    K: Bounded
        + Resource<DynamicType = (), Scope = ClusterResourceScope>
        + Clone
        + Debug
        + Send
        + Sync
        + 'static,
{
    if context.settings.scope.sees_cluster() {
        let source = Source::objects(&context.client, &K::url_path(&(), None));
        one(context, name, "", source, Readable::read).boxed()
    } else {
        nothing()
    }
}

/// The namespaces in scope, by metadata. One by one where not all are: RBAC can then name them.
pub(in crate::controller) fn namespaces(
    context: &Arc<Context>,
    stream: &'static str,
) -> Watch<PartialObjectMeta<Namespace>> {
    let source = || Source::metadata(&context.client, &Namespace::url_path(&(), None));
    let watch: Watch<PartialObjectMeta<Namespace>> = match &context.settings.scope {
        Scope::Cluster => one(context, stream, "", source(), trim::namespace).boxed(),
        Scope::Namespaces {
            names,
            cluster_issuers: true,
        } => {
            let watch = |name: &String| {
                let only = source().only(format!("metadata.name={name}"));
                let watch = one(context, stream, name, only, trim::namespace);
                (name.clone(), watch)
            };
            watch_all(names.iter().map(watch).collect(), |_| {}, |_| {}).boxed()
        }
        Scope::Namespaces { .. } => nothing(),
    };
    watch.filter_map(|item| future::ready(usable(item))).boxed()
}

/// A namespace whose labels are not known is not known.
fn usable(
    item: Result<Event<PartialObjectMeta<Namespace>>, Failed>,
) -> Option<Result<Event<PartialObjectMeta<Namespace>>, Failed>> {
    match item {
        Ok(Event::InitApply(object)) if !trim::is_usable(&object) => None,
        Ok(Event::Apply(object)) if !trim::is_usable(&object) => Some(Ok(Event::Delete(object))),
        item => Some(item),
    }
}

/// An empty list, and then silence.
fn nothing<K: Send + 'static>() -> Watch<K> {
    futures::stream::iter([Ok(Event::Init), Ok(Event::InitDone)])
        .chain(futures::stream::pending())
        .boxed()
}
