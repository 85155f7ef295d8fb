//! Calls of the cluster with the user's own rights. Text of the server is shown only as [`ServerMessage`], because it may repeat the request.

use std::{future::Future, time::Duration};

use apicred::{app::harden, publish::rejection::ServerMessage};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::{
    Api, Client, Config,
    api::PostParams,
    config::{KubeConfigOptions, Kubeconfig},
    core::Status,
};
use secrecy::SecretString;

use crate::{
    Target,
    kubeconfig::{merged, unreadable},
};

/// A healthy server answers in milliseconds, but a credential plugin of the kubeconfig may need much longer.
const DEADLINE: Duration = Duration::from_secs(30);

/// A connection, and the namespace to work in.
pub(crate) struct Cluster {
    pub(crate) client: Client,
    pub(crate) namespace: String,
}

/// The error classes of a call.
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

/// A failed call, and the API server's message.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) trouble: Trouble,
    said: ServerMessage,
}

impl From<Trouble> for Failed {
    fn from(trouble: Trouble) -> Self {
        let said = ServerMessage::default();
        Self { trouble, said }
    }
}

impl Failed {
    /// The message if no more specific one is known. `doing` is, for example, "reading Secret team/state".
    pub(crate) fn about(&self, doing: &str) -> String {
        let rule = self.said.fault().filter(|_| !self.said.is_rights());
        let why = match self.trouble {
            Trouble::NotFound => "it does not exist; check the name and the namespace".to_owned(),
            Trouble::Conflict => {
                "another user changed it at the same time; run the command again".to_owned()
            }
            Trouble::Unauthorized => {
                "the cluster does not know you; sign in to the cluster first".to_owned()
            }
            Trouble::Forbidden => match rule {
                Some(rule) => format!("{rule}; change what it names, or ask its owner to allow it"),
                None => {
                    "your rights do not allow it; ask an administrator to bind the Role in docs/sign-in.md to you"
                        .to_owned()
                }
            },
            Trouble::Quota => format!(
                "{}; raise it or delete a Secret",
                rule.as_deref()
                    .unwrap_or("a quota of the namespace is used up")
            ),
            Trouble::Invalid => format!(
                "{}; change what it names, or ask its owner to allow it",
                rule.as_deref().unwrap_or("the API server rejects it")
            ),
            Trouble::Unavailable => match rule {
                Some(rule) => format!("{rule}; run the command again"),
                None => {
                    "the cluster does not answer; check the kubeconfig and the network".to_owned()
                }
            },
        };
        format!("{doing}: {why}")
    }
}

impl Cluster {
    /// Connects like kubectl: flags, `KUBECONFIG`, `~/.kube/config`.
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

    /// Returns true if the user may do this, or if the server does not answer the question. In the second case, the call itself
    /// shows it.
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

/// Makes a call whose request contains no secret.
pub(crate) async fn call<T>(
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Failed> {
    call_with(None, request).await
}

/// Makes a call. `secret`: the secrets in the request, which are not shown.
pub(crate) async fn call_with<T>(
    secret: Option<&SecretString>,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Failed> {
    match tokio::time::timeout(DEADLINE, request).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(kube::Error::Api(status))) => Err(failed(&status, secret)),
        Ok(Err(_)) | Err(_) => Err(Trouble::Unavailable.into()),
    }
}

fn failed(status: &Status, secret: Option<&SecretString>) -> Failed {
    let trouble = match status.code {
        401 => Trouble::Unauthorized,
        403 if status.message.contains("exceeded quota") => Trouble::Quota,
        403 => Trouble::Forbidden,
        404 => Trouble::NotFound,
        409 => Trouble::Conflict,
        400 | 413 | 422 => Trouble::Invalid,
        _ => Trouble::Unavailable,
    };
    Failed {
        trouble,
        said: ServerMessage::of(status, secret),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SECRET: &str = "0.AXoA~refresh-token~0123456789";

    fn reported(code: u16, message: &str) -> String {
        let status = json!({ "status": "Failure", "message": message, "reason": "", "code": code });
        let status: Status = serde_json::from_value(status).expect("a Status");
        let secret = SecretString::from(SECRET);
        let reported = failed(&status, Some(&secret)).about("storing it");
        assert!(!reported.contains(SECRET), "{reported}");
        reported
    }

    #[test]
    fn the_api_servers_message_is_quoted_and_the_secret_in_it_is_not() {
        #[rustfmt::skip]
        let cases = [
            (403, "secrets \"state\" is forbidden: User \"ada\" cannot patch resource \"secrets\" in API group \"\" in the namespace \"team\"",
                "your rights do not allow it; ask an administrator to bind the Role in docs/sign-in.md to you"),
            (403, "secrets \"state\" is forbidden: ValidatingAdmissionPolicy 'plain' with binding 'all' denied request: labels are needed",
                "the admission policy plain denies it: \"labels are needed\"; change what it names"),
            (422, "secrets \"state\" is forbidden: ValidatingAdmissionPolicy 'plain' with binding 'all' denied request: labels are needed",
                "the admission policy plain denies it: \"labels are needed\"; change what it names"),
            (400, "admission webhook \"guard.example\" denied the request: no 0.AXoA~refresh-token~0123456789 here",
                "the admission webhook guard.example denies it: \"no […] here\"; change what it names"),
            (500, "Internal error occurred: failed calling webhook \"guard.example\": connection refused",
                "the admission webhook guard.example does not answer: \"connection refused\"; run the command again"),
            (403, "secrets \"state\" is forbidden: exceeded quota: few, requested: count/secrets=1, used: count/secrets=2, limited: count/secrets=2",
                "the quota few leaves no room: "),
            (422, "Secret \"state\" is invalid: metadata.labels: Invalid value: \"\\u{202e}\"", "the API server answers HTTP 422: "),
            (404, "secrets \"state\" not found", "it does not exist; check the name"),
            (401, "Unauthorized", "the cluster does not know you"),
            (503, "the server is currently unable to handle the request", "the API server answers HTTP 503: \"the server is currently unable to handle the request\"; run the command again"),
        ];
        for (code, message, expected) in cases {
            let reported = reported(code, message);
            assert!(
                reported.starts_with("storing it: ") && reported.contains(expected),
                "{code} {message}: {reported}"
            );
        }
    }
}
