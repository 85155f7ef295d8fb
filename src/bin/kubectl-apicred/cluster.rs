//! Calls of the cluster with the user's own rights. Text of the server is shown only as [`ServerMessage`], because it may repeat the request.

use std::{future::Future, time::Duration};

use apicred::{
    app::harden,
    kubeconfig::{self, fault},
    publish::rejection::ServerMessage,
};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::{
    Api, Client, Config,
    api::{ApiResource, DynamicObject, PostParams},
    core::Status,
};
use secrecy::SecretString;

use crate::Target;

/// A healthy server answers in milliseconds, but a credential plugin of the kubeconfig may need much longer.
const DEADLINE: Duration = Duration::from_secs(30);

/// A connection, and the namespace to work in.
pub(crate) struct Cluster {
    pub(crate) client: Client,
    pub(crate) namespace: String,
}

/// The error classes of a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ApiErrorKind {
    NotFound,
    Conflict,
    Forbidden,
    Unauthorized,
    Quota,
    Invalid,
    /// There is an answer, and it is not one of the form that this plugin knows.
    Unreadable,
    Unavailable,
}

/// A failed call, and the API server's message.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) error_kind: ApiErrorKind,
    server_message: ServerMessage,
    /// Why there is no answer, or none that can be read.
    why: Option<String>,
}

impl From<ApiErrorKind> for Failed {
    fn from(error_kind: ApiErrorKind) -> Self {
        Self {
            error_kind,
            server_message: ServerMessage::default(),
            why: None,
        }
    }
}

impl Failed {
    /// The message if no more specific one is known. `doing` is, for example, "reading Secret team/state".
    pub(crate) fn about(&self, doing: &str) -> String {
        let rule = self
            .server_message
            .fault()
            .filter(|_| !self.server_message.is_rights());
        let why = match self.error_kind {
            ApiErrorKind::NotFound => {
                "it does not exist; check the name and the namespace".to_owned()
            }
            ApiErrorKind::Conflict => {
                "another user changed it at the same time; run the command again".to_owned()
            }
            ApiErrorKind::Unauthorized => {
                "the cluster does not know you; sign in to the cluster first".to_owned()
            }
            ApiErrorKind::Forbidden => {
                if let Some(rule) = rule {
                    format!("{rule}; change what it names, or ask its owner to allow it")
                } else {
                    let right = self.server_message.missing_right();
                    let right = right.map_or_else(String::new, |right| format!(" ({right})"));
                    format!(
                        "your rights do not allow it{right}; ask an administrator for a Role as in docs/sign-in.md, \"Rights\""
                    )
                }
            }
            ApiErrorKind::Quota => format!(
                "{}; raise it or delete a Secret",
                rule.as_deref()
                    .unwrap_or("a quota of the namespace is used up")
            ),
            ApiErrorKind::Invalid => format!(
                "{}; change what it names, or ask its owner to allow it",
                rule.as_deref().unwrap_or("the API server rejects it")
            ),
            ApiErrorKind::Unreadable => self.why.clone().unwrap_or_else(|| {
                "the answer cannot be read: this plugin is older than the CRDs; update it"
                    .to_owned()
            }),
            ApiErrorKind::Unavailable => match (rule, &self.why) {
                (Some(rule), _) => format!("{rule}; run the command again"),
                (None, Some(why)) => why.clone(),
                (None, None) => {
                    "the cluster does not answer; check the kubeconfig and the network".to_owned()
                }
            },
        };
        format!("{doing}: {why}")
    }
}

impl Cluster {
    /// Connects like kubectl: flags, `KUBECONFIG`, `~/.kube/config`; without any of them, as a pod.
    pub(crate) async fn connect(target: &Target) -> Result<Self, String> {
        let context = target.context.as_deref();
        let found = kubeconfig::config(target.kubeconfig.as_deref(), context).await;
        let found = found
            .map_err(|why| format!("{why}; correct it, or name another file by --kubeconfig"))?;
        match found {
            Some(config) => Self::of(config, target),
            None => match context {
                Some(context) => Err(format!(
                    "there is no kubeconfig, so no context {context}: set KUBECONFIG or name a file by --kubeconfig"
                )),
                None => Self::of(in_pod()?, target),
            },
        }
    }

    fn of(mut config: Config, target: &Target) -> Result<Self, String> {
        harden(&mut config);
        let namespace = target
            .namespace
            .clone()
            .filter(|namespace| !namespace.is_empty())
            .unwrap_or_else(|| config.default_namespace.clone());
        let program = fault::program(&config.auth_info);
        let client = Client::try_from(config).map_err(|e| {
            let why = fault::sentence(&e, program.as_deref());
            format!("the cluster's credentials cannot be used: {why}")
        })?;
        Ok(Self { client, namespace })
    }

    /// Objects of a kind in the namespace.
    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The same in any form.
    pub(crate) fn untyped<K>(&self) -> Api<DynamicObject>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        let resource = ApiResource::erase::<K>(&());
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
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
        Ok(Err(error)) => Err(broken(&error)),
        Err(_) => Err(ApiErrorKind::Unavailable.into()),
    }
}

/// A pod's own cluster.
fn in_pod() -> Result<Config, String> {
    let mut config = Config::incluster().map_err(|_| {
        "no cluster to work on: set KUBECONFIG or name a file by --kubeconfig".to_owned()
    })?;
    config.apply_debug_overrides();
    Ok(config)
}

/// A call without an answer that can be read.
fn broken(error: &kube::Error) -> Failed {
    let (error_kind, why) = match error {
        kube::Error::SerdeError(error) if error.is_data() => (ApiErrorKind::Unreadable, None),
        kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => {
            (ApiErrorKind::Unreadable, Some(fault::sentence(error, None)))
        }
        other => (
            ApiErrorKind::Unavailable,
            Some(fault::sentence(other, None)),
        ),
    };
    Failed {
        why,
        ..error_kind.into()
    }
}

fn failed(status: &Status, secret: Option<&SecretString>) -> Failed {
    let error_kind = match status.code {
        401 => ApiErrorKind::Unauthorized,
        403 if status.message.contains("exceeded quota") => ApiErrorKind::Quota,
        403 => ApiErrorKind::Forbidden,
        404 => ApiErrorKind::NotFound,
        409 => ApiErrorKind::Conflict,
        400 | 413 | 422 => ApiErrorKind::Invalid,
        _ => ApiErrorKind::Unavailable,
    };
    Failed {
        server_message: ServerMessage::of(status, secret),
        ..error_kind.into()
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
                "your rights do not allow it (patch on secrets); ask an administrator for a Role as in docs/sign-in.md"),
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

    #[test]
    fn an_answer_that_cannot_be_read_is_not_a_cluster_that_does_not_answer() {
        for (body, expected) in [
            (
                "{\"kind\":\"ApiCredential\"}",
                "this plugin is older than the CRDs",
            ),
            ("<html>Sign in</html>", "sign-in page"),
            // The body of a redirect.
            ("", "sign-in page"),
        ] {
            let error = serde_json::from_str::<Vec<u8>>(body).expect_err("another form");
            let failed = broken(&kube::Error::SerdeError(error));
            assert_eq!(failed.error_kind, ApiErrorKind::Unreadable, "{body}");
            let why = failed.about("reading it");
            assert!(why.contains(expected), "{body}: {why}");
        }
        let timeout = std::io::Error::from(std::io::ErrorKind::TimedOut);
        let failed = broken(&kube::Error::Service(Box::new(timeout)));
        assert_eq!(failed.error_kind, ApiErrorKind::Unavailable);
        let why = failed.about("reading it");
        assert!(why.contains("does not answer in time"), "{why}");
    }
}
