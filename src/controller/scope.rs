//! Which namespaces an operator looks after, and the watches that follow from it.

use std::{collections::BTreeSet, fmt::Debug, sync::Arc};

use futures::{Stream, StreamExt, stream::BoxStream};
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope, api::core::v1::Namespace};
use kube::{
    Api, Client, Resource,
    api::PartialObjectMeta,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;

use super::{
    context::{Context, lock},
    join::watch_all,
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

/// What a watch brings.
pub(super) type Watch<K> = BoxStream<'static, Result<Event<K>, watcher::Error>>;

fn config() -> watcher::Config {
    watcher::Config::default().timeout(WATCH_SECONDS)
}

fn one<K>(
    api: Api<K>,
    config: watcher::Config,
) -> impl Stream<Item = Result<Event<K>, watcher::Error>> + Send + 'static
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    watcher(api, config).default_backoff()
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
        return one(Api::<K>::all(client.clone()), config())
            .map(move |item| item.map(|event| trimmed(event, trim)))
            .boxed();
    };
    let watch = |namespace: &String| {
        let api = Api::<K>::namespaced(client.clone(), namespace);
        let stream = one(api, config()).map(move |item| item.map(|event| trimmed(event, trim)));
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
pub(super) fn clustered<K>(client: &Client, scope: &Scope) -> Watch<K>
where
    K: Resource<DynamicType = (), Scope = ClusterResourceScope>
        + Clone
        + DeserializeOwned
        + Debug
        + Send
        + Sync
        + 'static,
{
    if scope.sees_cluster() {
        one(Api::all(client.clone()), config()).boxed()
    } else {
        nothing()
    }
}

/// The namespaces in scope, by metadata. One by one where not all are: RBAC can then name them.
pub(super) fn namespaces(client: &Client, scope: &Scope) -> Watch<PartialObjectMeta<Namespace>> {
    let api: Api<PartialObjectMeta<Namespace>> = Api::all(client.clone());
    match scope {
        Scope::Cluster => one(api, config()).boxed(),
        Scope::Namespaces {
            names,
            cluster_issuers: true,
        } => {
            let watch = |name: &String| {
                let only = config().fields(&format!("metadata.name={name}"));
                (name.clone(), one(api.clone(), only))
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
