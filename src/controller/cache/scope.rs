//! The namespaces that an operator watches, and its watches.

use std::{fmt::Debug, sync::Arc};

use futures::{Stream, StreamExt, future, stream::BoxStream};
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope, api::core::v1::Namespace};
use kube::{Resource, api::PartialObjectMeta, runtime::watcher::Event};

use super::{
    changes::{Failed, Part, Watch},
    readable::{Bounded, Readable},
    trim,
};
use crate::controller::{
    api::{
        retry::{Failure, with_backoff},
        watch::{Read, Source, WatchError, watch},
    },
    context::Context,
    settings::Scope,
};

/// One watch, of all namespaces or of one, with its own backoff.
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
    let opened = (Arc::clone(&context), namespace.clone());
    let source = source.on_open(move || {
        let (context, namespace) = &opened;
        let now = crate::clock::steady();
        context.health.opened(name, namespace, now);
    });
    with_backoff(watch(source, read)).map(move |item| {
        context.health.event_seen(name, context.clock.now());
        item.map_err(|failure| {
            let now = crate::clock::steady();
            context.health.failed(name, &namespace, now);
            report(&context, name, &namespace, &failure)
        })
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

/// One complete object of a namespaced kind. Failures are logged, retried and returned. The health check does not wait for it: a
/// reconcile that needs it reports that it is missing.
pub(in crate::controller) fn single<K>(
    context: &Arc<Context>,
    name: &'static str,
    namespace: &str,
    object: &str,
) -> BoxStream<'static, Result<Event<K>, WatchError>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + serde::de::DeserializeOwned
        + Send
        + 'static,
{
    let url = K::url_path(&(), Some(namespace));
    let source = Source::objects(&context.client, &url).only(format!("metadata.name={object}"));
    let (context, namespace) = (Arc::clone(context), namespace.to_owned());
    with_backoff(watch(source, |bytes| serde_json::from_slice(bytes)))
        .map(move |item| {
            item.map_err(|failure| {
                report(&context, name, &namespace, &failure);
                failure.error
            })
        })
        .boxed()
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
    in_scope(context, name, |n| source(url(n)), Readable::read)
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
    in_scope(context, name, |n| source(url(n)), read)
}

/// A kind in all namespaces that are in scope.
fn in_scope<T>(
    context: &Arc<Context>,
    name: &'static str,
    source: impl Fn(Option<&str>) -> Source,
    read: Read<T>,
) -> Watch<T>
where
    T: Resource + Send + 'static,
{
    let Some(namespaces) = context.settings.scope.names() else {
        return all(one(context, name, "", source(None), read));
    };
    let watch = |namespace: &String| {
        let watch = one(context, name, namespace, source(Some(namespace)), read);
        (Part::from(namespace.as_str()), watch)
    };
    each(namespaces.iter().map(watch))
}

/// One watch of everything.
fn all<T: Send + 'static>(
    watch: impl Stream<Item = Result<Event<T>, Failed>> + Send + 'static,
) -> Watch<T> {
    each([(Part::default(), watch)])
}

/// Several watches, one for each part.
fn each<T, S>(watches: impl IntoIterator<Item = (Part, S)>) -> Watch<T>
where
    T: Send + 'static,
    S: Stream<Item = Result<Event<T>, Failed>> + Send + 'static,
{
    let (mut parts, mut events) = (Vec::new(), Vec::new());
    for (part, watch) in watches {
        parts.push(Part::clone(&part));
        events.push(watch.map(move |event| (Part::clone(&part), event)).boxed());
    }
    let events = futures::stream::select_all(events).boxed();
    Watch { parts, events }
}

/// Objects of a cluster-scoped kind. If the cluster is out of scope: nothing, and no call is made.
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
    if context.settings.scope.reads_cluster() {
        let source = Source::objects(&context.client, &K::url_path(&(), None));
        all(one(context, name, "", source, Readable::read))
    } else {
        nothing()
    }
}

/// The namespaces in scope, by metadata. If not all namespaces are in scope, each one is watched separately: RBAC can then name them.
pub(in crate::controller) fn namespaces(
    context: &Arc<Context>,
    stream: &'static str,
) -> Watch<PartialObjectMeta<Namespace>> {
    let source = || Source::metadata(&context.client, &Namespace::url_path(&(), None));
    let watch = |name, source| {
        let watch = one(context, stream, name, source, trim::namespace);
        watch.filter_map(|item| future::ready(usable(item)))
    };
    match &context.settings.scope {
        Scope::Cluster => all(watch("", source())),
        Scope::Namespaces {
            names,
            cluster_issuers: true,
        } => each(names.iter().map(|name| {
            let only = source().only(format!("metadata.name={name}"));
            (Part::from(name.as_str()), watch(name, only))
        })),
        Scope::Namespaces { .. } => nothing(),
    }
}

/// Hides a namespace whose labels are not known.
fn usable(
    item: Result<Event<PartialObjectMeta<Namespace>>, Failed>,
) -> Option<Result<Event<PartialObjectMeta<Namespace>>, Failed>> {
    match item {
        Ok(Event::InitApply(object)) if !trim::is_usable(&object) => None,
        Ok(Event::Apply(object)) if !trim::is_usable(&object) => Some(Ok(Event::Delete(object))),
        item => Some(item),
    }
}

/// An empty list, and then no events.
fn nothing<T: Send + 'static>() -> Watch<T> {
    let list = futures::stream::iter([Ok(Event::Init), Ok(Event::InitDone)]);
    all(list.chain(futures::stream::pending()))
}
