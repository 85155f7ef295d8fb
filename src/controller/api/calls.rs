//! All calls of the Kubernetes API except watches. Each call has a deadline and a metric, and each error has a kind. Text from
//! the server is shown only as [`ServerMessage`], because it may repeat the request.

use std::{future::Future, time::Duration};

use http::{HeaderValue, header::ACCEPT};
use kube::{
    Api, Resource,
    api::{Patch, PatchParams},
    core::{Request, Status},
};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;
use tracing::{Instrument, Span, field};

use super::{
    ids,
    undeclared::{Undeclared, take_out},
};
use crate::{
    api::names,
    publish::rejection::ServerMessage,
    telemetry::{metrics::Metrics, traces},
};

/// A healthy server answers within milliseconds; the client of kube would wait without limit.
pub(in crate::controller) const DEADLINE: Duration = Duration::from_secs(10);

/// The kinds of errors.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::controller) enum ApiErrorKind {
    /// Another writer was faster.
    Conflict,
    /// The object does not exist.
    NotFound,
    /// The namespace is being deleted.
    Terminating,
    /// Denied by RBAC or an admission policy.
    Forbidden,
    /// A quota is exhausted.
    Quota,
    /// The server rejects the object as invalid.
    Invalid,
    /// No response, or an unusable one: a retry may help.
    Unavailable,
    /// The request was not sent, because it is no longer needed.
    Unwanted,
}

impl ApiErrorKind {
    pub(in crate::controller) const fn as_str(self) -> &'static str {
        match self {
            Self::Conflict => "conflict",
            Self::NotFound => "not_found",
            Self::Terminating => "terminating",
            Self::Forbidden => "forbidden",
            Self::Quota => "quota",
            Self::Invalid => "invalid",
            Self::Unavailable => "unavailable",
            Self::Unwanted => "unwanted",
        }
    }
}

/// The wait after the server rejected a request temporarily or was not reached: the request was not processed.
const BUSY: Duration = Duration::from_secs(1);
/// The maximum wait between two attempts, even if `Retry-After` is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// An API server that has just started answers 403 until it has loaded its roles, which takes some seconds: a 403 is final after these waits.
const ROLES_LOAD: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(2)];

/// Makes a call. A request that was not processed is repeated within the deadline, for any verb.
pub(in crate::controller) async fn call<T, F>(
    metrics: &Metrics,
    operation: &'static str,
    request: impl FnMut() -> F,
) -> Result<T, ApiErrorKind>
where
    F: Future<Output = Result<T, kube::Error>>,
{
    call_while(metrics, operation, || true, request).await
}

/// Makes a call while it is wanted. This is checked immediately before each attempt.
pub(in crate::controller) async fn call_while<T, F>(
    metrics: &Metrics,
    operation: &'static str,
    wanted: impl FnMut() -> bool,
    request: impl FnMut() -> F,
) -> Result<T, ApiErrorKind>
where
    F: Future<Output = Result<T, kube::Error>>,
{
    let begun = Begun::now(operation);
    let tried = tries(wanted, request).instrument(begun.span.clone()).await;
    let result = tried.map_err(|(error_kind, _)| error_kind);
    count(metrics, operation, &result, &begun);
    result
}

/// A failed call with the message of the API server.
#[derive(Debug)]
pub(in crate::controller) struct Failed {
    pub(in crate::controller) error_kind: ApiErrorKind,
    pub(in crate::controller) server_message: ServerMessage,
}

impl From<ApiErrorKind> for Failed {
    fn from(error_kind: ApiErrorKind) -> Self {
        let server_message = ServerMessage::default();
        Self {
            error_kind,
            server_message,
        }
    }
}

/// The same, with the message of the API server. `token`: the secret in the request, which the message must not contain.
pub(in crate::controller) async fn call_with_message<T, F>(
    metrics: &Metrics,
    operation: &'static str,
    wanted: impl FnMut() -> bool,
    request: impl FnMut() -> F,
    token: Option<&SecretString>,
) -> Result<T, Failed>
where
    F: Future<Output = Result<T, kube::Error>>,
{
    let (mut server_message, begun) = (ServerMessage::default(), Begun::now(operation));
    let tried = tries(wanted, request).instrument(begun.span.clone()).await;
    let result = tried.map_err(|(error_kind, status)| {
        server_message = status.map_or_else(ServerMessage::default, |status| {
            ServerMessage::of(&status, token)
        });
        error_kind
    });
    count(metrics, operation, &result, &begun);
    result.map_err(|error_kind| Failed {
        error_kind,
        server_message,
    })
}

/// Makes a call whose result is not useful later: it is not repeated.
pub(in crate::controller) async fn call_once<T>(
    metrics: &Metrics,
    operation: &'static str,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, ApiErrorKind> {
    let begun = Begun::now(operation);
    let sent = tokio::time::timeout(DEADLINE, request).instrument(begun.span.clone());
    let result = match sent.await {
        Ok(answer) => answer.map_err(|error| error_kind(&error)),
        Err(_) => Err(ApiErrorKind::Unavailable),
    };
    count(metrics, operation, &result, &begun);
    result
}

/// The start time of a call, and its span.
struct Begun {
    clock: Instant,
    span: Span,
}

impl Begun {
    fn now(operation: &'static str) -> Self {
        // The empty fields are set with the request, the response and the end ([`traces::sent_to`]).
        let span = traces::span!(
            "kubernetes request",
            otel.name = span_name(operation),
            otel.kind = "client",
            otel.status_code = field::Empty,
            "error.type" = field::Empty,
            http.request.method = field::Empty,
            http.response.status_code = field::Empty,
            server.address = field::Empty,
            server.port = field::Empty,
            apicred.operation = operation,
            apicred.result = field::Empty,
        );
        Self {
            clock: Instant::now(),
            span,
        }
    }
}

/// The name of the span of an operation. For a write it contains what is written.
fn span_name(operation: &str) -> &'static str {
    match operation {
        "create_digest_key"
        | "create_secret"
        | "patch_client_secret"
        | "patch_secret"
        | "patch_state" => "write secret",
        "patch_client_status" | "patch_issuer_status" | "patch_status" => "write status",
        _ => "kubernetes request",
    }
}

async fn tries<T, F>(
    mut wanted: impl FnMut() -> bool,
    mut request: impl FnMut() -> F,
) -> Result<T, (ApiErrorKind, Option<Box<Status>>)>
where
    F: Future<Output = Result<T, kube::Error>>,
{
    let deadline = Instant::now() + DEADLINE;
    let mut forbidden_count = 0;
    loop {
        if !wanted() {
            return Err((ApiErrorKind::Unwanted, None));
        }
        // Boxed: the future of a request is large, and most requests need one attempt.
        let error = match tokio::time::timeout_at(deadline, Box::pin(request())).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => error,
            Err(_) => return Err((ApiErrorKind::Unavailable, None)),
        };
        let error_kind = error_kind(&error);
        let pause = again_after(&error, error_kind, &mut forbidden_count);
        let pause = pause.map(|pause| jitter(pause, ids::random::<1>()[0]));
        let Some(pause) = pause.filter(|pause| Instant::now() + *pause < deadline) else {
            let kube::Error::Api(status) = error else {
                return Err((error_kind, None));
            };
            return Err((error_kind, Some(status)));
        };
        tokio::time::sleep(pause).await;
    }
}

/// The wait before a request is repeated that failed with `error`. Only for a request that was certainly not processed.
fn again_after(
    error: &kube::Error,
    error_kind: ApiErrorKind,
    forbidden_count: &mut usize,
) -> Option<Duration> {
    if let kube::Error::Api(status) = error
        && status.code == 429
    {
        let retry_after = status.details.as_ref().map(|d| d.retry_after_seconds);
        let retry_after = retry_after
            .filter(|s| *s > 0)
            .map(|s| Duration::from_secs(s.into()));
        return Some(retry_after.unwrap_or(BUSY).min(LONGEST_PAUSE));
    }
    if error_kind == ApiErrorKind::Forbidden {
        let pause = ROLES_LOAD.get(*forbidden_count).copied();
        *forbidden_count += 1;
        return pause;
    }
    was_not_sent(error).then_some(BUSY)
}

/// No connection was established, so nothing was sent.
fn was_not_sent(error: &kube::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let client = error.downcast_ref::<hyper_util::client::legacy::Error>();
        let io = error.downcast_ref::<std::io::Error>();
        if client.is_some_and(hyper_util::client::legacy::Error::is_connect)
            || io.is_some_and(|io| io.kind() == std::io::ErrorKind::ConnectionRefused)
        {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Adds up to a quarter, so that requests that were rejected at the same time are not repeated at the same time.
fn jitter(pause: Duration, random: u8) -> Duration {
    pause + pause.mul_f64(f64::from(random) / 1024.0)
}

fn count<T>(
    metrics: &Metrics,
    operation: &'static str,
    result: &Result<T, ApiErrorKind>,
    begun: &Begun,
) {
    let label = result.as_ref().map_or_else(|t| t.as_str(), |_| "ok");
    let sent = !matches!(result, Err(ApiErrorKind::Unwanted));
    metrics.called(operation, label, sent.then(|| begun.clock.elapsed()));
    traces::conclude(&begun.span, label, sent && result.is_err());
    if let Err(error_kind) = result {
        tracing::debug!(
            operation,
            error_kind = error_kind.as_str(),
            "call of the Kubernetes API failed"
        );
    }
}

/// Applies a status. Returns the resourceVersion of the object: the rest of the response is not used, so only the metadata is
/// requested. A field that the CRD does not have is not sent.
pub(in crate::controller) async fn apply_status<K>(
    api: &Api<K>,
    name: &str,
    body: &Value,
    undeclared: &Undeclared,
) -> Result<String, kube::Error>
where
    K: Resource<DynamicType = ()> + Clone,
{
    let refused = match send_status(api, name, body).await {
        Err(kube::Error::Api(refused)) => refused,
        other => return other,
    };
    let mut rest = body.clone();
    let paths = take_out(&mut rest, &refused.message);
    if paths.is_empty() {
        return Err(kube::Error::Api(refused));
    }
    undeclared.report(&K::kind(&()), &paths);
    send_status(api, name, &rest).await
}

async fn send_status<K: Resource + Clone>(
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

fn error_kind(error: &kube::Error) -> ApiErrorKind {
    let kube::Error::Api(status) = error else {
        return ApiErrorKind::Unavailable;
    };
    let terminating = status
        .details
        .iter()
        .flat_map(|d| &d.causes)
        .any(|c| c.reason == "NamespaceTerminating");
    match status.code {
        403 if terminating => ApiErrorKind::Terminating,
        403 if status.message.contains("exceeded quota") => ApiErrorKind::Quota,
        // A 401 does not concern permissions: the process's own token has expired, and is read again within a minute.
        403 => ApiErrorKind::Forbidden,
        404 => ApiErrorKind::NotFound,
        409 => ApiErrorKind::Conflict,
        400 | 413 | 422 => ApiErrorKind::Invalid,
        _ => ApiErrorKind::Unavailable,
    }
}

#[cfg(test)]
mod tests;
