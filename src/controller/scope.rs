//! Which namespaces an operator looks after, and the watches that follow from it.

use std::{collections::BTreeSet, fmt::Debug, sync::Arc};

use futures::{Stream, StreamExt, stream::BoxStream};
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope, api::core::v1::Namespace};
use kube::{
    Api, Resource,
    api::PartialObjectMeta,
    runtime::watcher::{self, Event, watcher},
};
use serde::de::DeserializeOwned;

use super::{
    context::{Context, lock},
    join::watch_all,
    retry::{Failure, with_backoff},
};

/// The server ends a watch after this many seconds. Below 240 s, at which some load balancers drop idle flows
/// silently; kube gives a silent watch up 5 s after it.
const WATCH_SECONDS: u32 = 200;

/// Which namespaces an operator looks after.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Scope {
    /// All of them.
    #[default]
    Cluster,
    /// These alone. Needs no right on any other, and none on the cluster unless `cluster_issuers`.
    Namespaces {
        /// Their names.
        names: BTreeSet<String>,
        /// Are `ClusterTokenIssuers` read, and the labels of these namespaces?
        cluster_issuers: bool,
    },
}

impl Scope {
    /// Is anything of the cluster's own read?
    pub fn sees_cluster(&self) -> bool {
        match self {
            Self::Cluster => true,
            Self::Namespaces {
                cluster_issuers, ..
            } => *cluster_issuers,
        }
    }

    /// The namespaces, if not all.
    pub fn names(&self) -> Option<&BTreeSet<String>> {
        match self {
            Self::Cluster => None,
            Self::Namespaces { names, .. } => Some(names),
        }
    }
}

/// What a watch brings. Failures are reported already.
pub(super) type Watch<K> = BoxStream<'static, Result<Event<K>, Failed>>;

/// A list or watch failed, and is tried again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failed;

fn config() -> watcher::Config {
    watcher::Config::default().timeout(WATCH_SECONDS)
}

/// One watch, of all namespaces or of one, with a backoff of its own.
fn one<K>(
    context: &Arc<Context>,
    name: &'static str,
    namespace: &str,
    api: Api<K>,
    config: watcher::Config,
) -> impl Stream<Item = Result<Event<K>, Failed>> + Send + 'static + use<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let context = Arc::clone(context);
    let namespace = namespace.to_owned();
    with_backoff(watcher(api, config)).map(move |item| {
        context.health.heard(name, context.clock.now());
        item.map_err(|failure| report(&context, name, &namespace, &failure))
    })
}

fn report(
    context: &Context,
    stream: &'static str,
    namespace: &str,
    failure: &Failure<watcher::Error>,
) -> Failed {
    context.metrics.watch_broke(stream);
    if failure.first {
        context.head.doubt();
    }
    if let Some(failures) = failure.report {
        let why = reason(&failure.error);
        tracing::warn!(
            stream,
            namespace,
            failures,
            "a list or watch failed and is tried again, with growing waits: {why}"
        );
    }
    Failed
}

/// Why it failed, without the server's text.
fn reason(error: &watcher::Error) -> &'static str {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(s))
        | watcher::Error::WatchStartFailed(kube::Error::Api(s)) => match s.code {
            401 => "not authenticated; is the service account token valid?",
            403 => "forbidden; the operator's role lacks list and watch on this kind",
            404 => "the kind is not known to the server; are the CRDs installed?",
            410 => "too old; listing again",
            429 => "the server is busy",
            _ => "the server refused",
        },
        watcher::Error::InitialListFailed(_) => "the list failed",
        watcher::Error::WatchStartFailed(_) => "the watch could not be opened",
        watcher::Error::WatchError(_) => "the server ended it",
        watcher::Error::WatchFailed(_) => "the connection broke",
        watcher::Error::NoResourceVersion => "the server gave no resourceVersion",
    }
}

/// Objects of a namespaced kind, of all namespaces in scope. `trim` takes off what is of no use before anything is
/// kept, `shrink` what no deletion need tell, where single namespaces are watched.
pub(super) fn namespaced<K>(
    context: &Arc<Context>,
    name: &'static str,
    trim: fn(&mut K),
    shrink: fn(&mut K),
) -> Watch<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + Debug
        + Send
        + Sync
        + 'static,
{
    let client = &context.client;
    let Some(namespaces) = context.settings.scope.names() else {
        return one(context, name, "", Api::<K>::all(client.clone()), config())
            .map(move |item| item.map(|event| trimmed(event, trim)))
            .boxed();
    };
    let here = Arc::clone(context);
    let watch = |namespace: &String| {
        let api = Api::<K>::namespaced(client.clone(), namespace);
        let stream = one(&here, name, namespace, api, config())
            .map(move |item| item.map(|event| trimmed(event, trim)));
        (namespace.clone(), stream)
    };
    let watches = namespaces.iter().map(watch).collect();
    let context = Arc::clone(context);
    watch_all(watches, shrink, move |namespace| {
        context.sees(name, namespace);
    })
    .boxed()
}

/// Objects of a kind of the cluster; nothing at all, and no call, where the cluster is out of scope.
pub(super) fn clustered<K>(context: &Arc<Context>, name: &'static str) -> Watch<K>
where
    K: Resource<DynamicType = (), Scope = ClusterResourceScope>
        + Clone
        + DeserializeOwned
        + Debug
        + Send
        + Sync
        + 'static,
{
    if context.settings.scope.sees_cluster() {
        let api = Api::all(context.client.clone());
        one(context, name, "", api, config()).boxed()
    } else {
        nothing()
    }
}

/// The namespaces in scope, by metadata. One by one where not all are: RBAC can then name them.
pub(super) fn namespaces(
    context: &Arc<Context>,
    stream: &'static str,
) -> Watch<PartialObjectMeta<Namespace>> {
    let api: Api<PartialObjectMeta<Namespace>> = Api::all(context.client.clone());
    match &context.settings.scope {
        Scope::Cluster => one(context, stream, "", api, config()).boxed(),
        Scope::Namespaces {
            names,
            cluster_issuers: true,
        } => {
            let watch = |name: &String| {
                let only = config().fields(&format!("metadata.name={name}"));
                let watch = one(context, stream, name, api.clone(), only);
                (name.clone(), watch)
            };
            watch_all(names.iter().map(watch).collect(), |_| {}, |_| {}).boxed()
        }
        Scope::Namespaces { .. } => nothing(),
    }
}

/// An empty list, and then silence.
fn nothing<K: Send + 'static>() -> Watch<K> {
    futures::stream::iter([Ok(Event::Init), Ok(Event::InitDone)])
        .chain(futures::stream::pending())
        .boxed()
}

fn trimmed<K>(mut event: Event<K>, trim: fn(&mut K)) -> Event<K> {
    if let Event::InitApply(object) | Event::Apply(object) | Event::Delete(object) = &mut event {
        trim(object);
    }
    event
}

impl Context {
    /// A namespace has had its first list of a kind.
    fn sees(&self, stream: &'static str, namespace: &str) {
        lock(&self.blind).remove(&(namespace.to_owned(), stream));
        // Who waited for it.
        for key in lock(&self.index).of_home(namespace) {
            self.triggers.send(&key);
        }
    }

    /// A kind of which nothing is known in this namespace yet, since it could not be listed.
    pub(super) fn blind_to(&self, namespace: &str) -> Option<&'static str> {
        let blind = lock(&self.blind);
        let mut of_it = blind.iter().filter(|(n, _)| n == namespace);
        of_it.next().map(|(_, stream)| *stream)
    }
}

/// What a namespaced operator is blind to at first: decisions in a namespace need all of it.
pub(super) fn blind_at_first(scope: &Scope) -> BTreeSet<(String, &'static str)> {
    let names = scope.names().into_iter().flatten();
    names
        .flat_map(|n| ["secrets", "tokenissuers"].map(|stream| (n.clone(), stream)))
        .collect()
}
