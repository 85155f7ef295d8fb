//! A client of the Kubernetes API with scripted answers, for unit tests. Behaviour that depends on a real API server is tested against a real one
//! (`tests/cluster`, `tests/faults`). This client is for scenarios that take minutes there. The clock is paused.

use std::sync::Arc;

use http::{Method, Request, Response, Uri};
use kube::{Client, client::Body};
use serde_json::{Value, json};

use crate::{
    clock::SystemClock,
    controller::{IdentityEnvironment, Operator, RotationPace, Scope, Settings},
    telemetry::{health::Health, metrics::Metrics},
};

/// How a call is answered.
pub(crate) enum Reply {
    /// A status code and a body.
    Answer(u16, Value),
    /// No answer.
    Silence,
}

/// A client whose calls are answered by `answer`, which gets method, URL and body.
pub(crate) fn client(
    answer: impl Fn(&Method, &Uri, &Value) -> Reply + Clone + Send + 'static,
) -> Client {
    let service = tower::service_fn(move |request: Request<Body>| {
        let answer = answer.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect_bytes().await?;
            let body = serde_json::from_slice(&body).unwrap_or_default();
            match answer(&parts.method, &parts.uri, &body) {
                Reply::Answer(code, body) => Ok::<_, tower::BoxError>(self::answer(code, &body)),
                Reply::Silence => std::future::pending().await,
            }
        }
    });
    Client::new(service, "default")
}

/// An error, as the API server returns it.
pub(crate) fn refuse(code: u16) -> Reply {
    Reply::Answer(code, failure(code))
}

pub(crate) fn failure(code: u16) -> Value {
    let reason = match code {
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        _ => "InternalError",
    };
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "a test answers", "reason": reason, "code": code,
    })
}

pub(crate) fn answer(code: u16, body: &Value) -> Response<Body> {
    let body = Body::from(serde_json::to_vec(body).unwrap());
    Response::builder().status(code).body(body).unwrap()
}

/// An operator for the whole cluster that has not done anything yet.
pub(crate) fn operator(client: Client, health: &Arc<Health>) -> Operator {
    let settings = Settings {
        namespace: "apicred-system".to_owned(),
        scope: Scope::Cluster,
        concurrency: 4,
        allowed_cidrs: Vec::new(),
        target_keys: Vec::new(),
        entra_clouds: Vec::new(),
        issuer_checks: false,
        issuer_proxy: None,
        issuer_cas: Vec::new(),
        instance: "test".to_owned(),
        rotation: RotationPace::default(),
        identity: IdentityEnvironment::default(),
        notify_rights: Arc::default(),
    };
    Operator::new(
        client,
        settings,
        Arc::new(SystemClock),
        Arc::clone(health),
        Arc::<Metrics>::default(),
    )
}
