//! Every call of the Kubernetes API beside the watches: with a deadline, counted, and with its errors told apart.
//! No text of the server is handed on: it may echo what was sent.

use std::{future::Future, time::Duration};

use http::{HeaderValue, header::ACCEPT};
use kube::{
    Api, Resource,
    api::{Patch, PatchParams},
    core::Request,
};
use serde::Deserialize;
use serde_json::Value;

use crate::{api::names, telemetry::metrics::Metrics};

/// A healthy server answers in milliseconds; kube's own client would wait for ever.
const DEADLINE: Duration = Duration::from_secs(10);

/// What can go wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Trouble {
    /// Somebody else was faster.
    Conflict,
    /// Not there.
    NotFound,
    /// The namespace is being deleted.
    Terminating,
    /// RBAC or an admission policy.
    Forbidden,
    /// A quota is used up.
    Quota,
    /// The server finds the object invalid.
    Invalid,
    /// No answer, or none that helps: worth another try.
    Unavailable,
}

impl Trouble {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Conflict => "conflict",
            Self::NotFound => "not_found",
            Self::Terminating => "terminating",
            Self::Forbidden => "forbidden",
            Self::Quota => "quota",
            Self::Invalid => "invalid",
            Self::Unavailable => "unavailable",
        }
    }
}

/// Makes a call.
pub(super) async fn call<T>(
    metrics: &Metrics,
    operation: &'static str,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Trouble> {
    let result = match tokio::time::timeout(DEADLINE, request).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(trouble(&error)),
        Err(_) => Err(Trouble::Unavailable),
    };
    metrics.called(
        operation,
        result.as_ref().map_or_else(|t| t.as_str(), |_| "ok"),
    );
    if let Err(trouble) = &result {
        tracing::debug!(
            operation,
            trouble = trouble.as_str(),
            "call of the Kubernetes API failed"
        );
    }
    result
}

/// Applies a status. Gives the object's resourceVersion: of the answer nothing else is of use, so the server is asked
/// for the metadata alone.
pub(super) async fn apply_status<K: Resource + Clone>(
    api: &Api<K>,
    name: &str,
    body: &Value,
) -> Result<String, kube::Error> {
    let params = PatchParams::apply(names::MANAGER).force();
    let mut request = Request::new(api.resource_url())
        .patch_subresource("status", name, &params, &Patch::Apply(body))
        .map_err(kube::Error::BuildRequest)?;
    let metadata = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
    let headers = request.headers_mut();
    headers.insert(ACCEPT, HeaderValue::from_static(metadata));
    let made: Made = api.clone().into_client().request(request).await?;
    Ok(made.metadata.resource_version)
}

#[derive(Deserialize)]
struct Made {
    metadata: Version,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    resource_version: String,
}

fn trouble(error: &kube::Error) -> Trouble {
    let kube::Error::Api(status) = error else {
        return Trouble::Unavailable;
    };
    let terminating = status
        .details
        .iter()
        .flat_map(|d| &d.causes)
        .any(|c| c.reason == "NamespaceTerminating");
    match status.code {
        403 if terminating => Trouble::Terminating,
        403 if status.message.contains("exceeded quota") => Trouble::Quota,
        // 401 is no matter of rights: the process's own token has ended, and is read anew within a minute.
        403 => Trouble::Forbidden,
        404 => Trouble::NotFound,
        409 => Trouble::Conflict,
        400 | 413 | 422 => Trouble::Invalid,
        _ => Trouble::Unavailable,
    }
}
