//! The cluster, with the person's own rights. No text of the server is handed on, but for codes that are known.

use std::{future::Future, time::Duration};

use apicred::app::harden;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::{
    Api, Client, Config,
    api::PostParams,
    config::{KubeConfigOptions, Kubeconfig},
};

use crate::{
    Target,
    kubeconfig::{merged, unreadable},
};

/// A healthy server answers in milliseconds; a credential plugin of the kubeconfig may take its time.
const DEADLINE: Duration = Duration::from_secs(30);

/// A connection, and the namespace to work in.
pub(crate) struct Cluster {
    pub(crate) client: Client,
    pub(crate) namespace: String,
}

/// What can go wrong with a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Trouble {
    NotFound,
    Conflict,
    Forbidden,
    Unauthorized,
    Quota,
    Invalid,
    Unavailable,
}

impl Trouble {
    /// The sentence, where nothing better is known. `doing` is such as "reading Secret team/state".
    pub(crate) fn about(self, doing: &str) -> String {
        let why = match self {
            Self::NotFound => "it does not exist",
            Self::Conflict => "somebody else changed it at the same time; run the command again",
            Self::Forbidden => {
                "your rights do not allow it; have the Role in docs/sign-in.md bound to you"
            }
            Self::Unauthorized => "the cluster does not know you; sign in to the cluster first",
            Self::Quota => "a quota of the namespace is used up",
            Self::Invalid => {
                "the API server refuses it; is the Secret immutable, or guarded by a policy?"
            }
            Self::Unavailable => {
                "the cluster does not answer; check the kubeconfig and the network"
            }
        };
        format!("{doing}: {why}")
    }
}

impl Cluster {
    /// Connects as kubectl does: flags, `KUBECONFIG`, `~/.kube/config`.
    pub(crate) async fn connect(target: &Target) -> Result<Self, String> {
        let options = KubeConfigOptions {
            context: target.context.clone(),
            ..KubeConfigOptions::default()
        };
        let unusable = "the kubeconfig cannot be used";
        let named = match &target.kubeconfig {
            Some(path) => Some(Kubeconfig::read_from(path).map_err(|e| unreadable(path, &e))?),
            None => std::env::var_os("KUBECONFIG").map_or(Ok(None), |list| merged(&list))?,
        };
        let config = match (named, &target.context) {
            (Some(read), _) => Config::from_custom_kubeconfig(read, &options).await,
            (None, Some(_)) => Config::from_kubeconfig(&options).await,
            (None, None) => {
                let found = Config::infer().await;
                return Self::of(
                    found.map_err(|_| {
                        "no cluster to work on: set KUBECONFIG or name a file by --kubeconfig"
                            .to_owned()
                    })?,
                    target,
                );
            }
        };
        Self::of(config.map_err(|e| format!("{unusable}: {e}"))?, target)
    }

    fn of(mut config: Config, target: &Target) -> Result<Self, String> {
        harden(&mut config);
        let namespace = target
            .namespace
            .clone()
            .unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config)
            .map_err(|e| format!("the cluster's credentials cannot be used: {e}"))?;
        Ok(Self { client, namespace })
    }

    /// Objects of a kind in the namespace.
    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// May the person do this? A server that does not answer the question gets the benefit of the doubt: the call
    /// itself will tell.
    pub(crate) async fn may(&self, verb: &str, resource: &str, name: Option<&str>) -> bool {
        let (resource, subresource) = match resource.split_once('/') {
            Some((resource, sub)) => (resource, Some(sub.to_owned())),
            None => (resource, None),
        };
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(ResourceAttributes {
                    namespace: Some(self.namespace.clone()),
                    verb: Some(verb.to_owned()),
                    group: Some(String::new()),
                    resource: Some(resource.to_owned()),
                    subresource,
                    name: name.map(str::to_owned),
                    ..ResourceAttributes::default()
                }),
                non_resource_attributes: None,
            },
            ..SelfSubjectAccessReview::default()
        };
        let api: Api<SelfSubjectAccessReview> = Api::all(self.client.clone());
        let answer = call(api.create(&PostParams::default(), &review)).await;
        answer
            .ok()
            .and_then(|r| r.status)
            .is_none_or(|status| status.allowed)
    }
}

/// Makes a call.
pub(crate) async fn call<T>(
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Trouble> {
    match tokio::time::timeout(DEADLINE, request).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(kube::Error::Api(status))) => Err(match status.code {
            401 => Trouble::Unauthorized,
            403 if status.message.contains("exceeded quota") => Trouble::Quota,
            403 => Trouble::Forbidden,
            404 => Trouble::NotFound,
            409 => Trouble::Conflict,
            400 | 413 | 422 => Trouble::Invalid,
            _ => Trouble::Unavailable,
        }),
        Ok(Err(_)) | Err(_) => Err(Trouble::Unavailable),
    }
}
