//! The admin listener: plain HTTP on loopback, for scripts and for inspection. Off if not configured.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use http::StatusCode;
use http::header::{HOST, ORIGIN};
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::config::Secret;
use crate::error::Error;
use crate::faults::Fault;
use crate::graph::{AppPolicy, ReplicaLag};
use crate::issuer::DevIssuer;

/// A running admin listener. It stops when this is dropped.
pub struct Admin {
    address: SocketAddr,
    task: JoinHandle<()>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Lifetime {
    seconds: u64,
}

/// How Microsoft Graph behaves; a setting that is not set has its value of the start.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct GraphSettings {
    policies: Vec<AppPolicy>,
    read_lag_seconds: u64,
    token_lag_seconds: u64,
    write_gap_seconds: u64,
}

/// A decision about a device code; without a user it is declined.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Decision {
    #[serde(default)]
    user: Option<String>,
}

type App = State<Arc<DevIssuer>>;

impl Admin {
    /// Serves the admin API of an issuer. Only loopback addresses are accepted: secrets are sent without TLS.
    pub async fn start(issuer: Arc<DevIssuer>, address: SocketAddr) -> Result<Self, Error> {
        if !address.ip().is_loopback() {
            return Err(Error::AdminNotLoopback(address));
        }
        let failed = |source| Error::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let router = router(issuer);
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the admin listener ended");
            }
        });
        Ok(Self { address, task })
    }

    /// The address on which it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn router(issuer: Arc<DevIssuer>) -> Router {
    Router::new()
        .route("/requests", get(async |State(i): App| Json(i.requests())))
        .route("/api-calls", get(async |State(i): App| Json(i.api_calls())))
        .route("/stats", get(async |State(i): App| Json(i.stats())))
        .route("/faults", post(add_fault).delete(clear_faults))
        .route(
            "/devices",
            get(async |State(i): App| Json(i.pending_devices())),
        )
        .route("/devices/{user_code}", put(decide_device))
        .route("/clients/{id}/secrets", put(set_secrets))
        .route("/clients/{id}/certificates", put(set_certificates))
        .route("/clients/{id}/lifetime", put(set_lifetime))
        .route("/clients/{id}/credentials", get(credentials))
        .route("/graph", put(set_graph))
        .layer(middleware::from_fn(local_only))
        .with_state(issuer)
}

/// A web page must not reach it through the browser of its user: not by a name that was rebound to loopback,
/// and not from another origin.
async fn local_only(request: Request, next: Next) -> Response {
    let host = request
        .headers()
        .get(HOST)
        .and_then(|host| host.to_str().ok());
    let local = host.is_some_and(|host| {
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        matches!(name, "localhost" | "127.0.0.1" | "[::1]")
            || host
                .parse::<SocketAddr>()
                .is_ok_and(|a| a.ip().is_loopback())
    });
    if local && !request.headers().contains_key(ORIGIN) {
        next.run(request).await
    } else {
        refuse(StatusCode::FORBIDDEN, "for programs on this machine only")
    }
}

async fn add_fault(State(issuer): App, Json(fault): Json<Fault>) -> StatusCode {
    issuer.fault(fault);
    StatusCode::NO_CONTENT
}

async fn clear_faults(State(issuer): App) -> StatusCode {
    issuer.clear_faults();
    StatusCode::NO_CONTENT
}

/// The body is read here and not by axum: its error would quote what was sent.
async fn set_secrets(State(issuer): App, Path(id): Path<String>, body: bytes::Bytes) -> Response {
    match serde_json::from_slice::<Vec<Secret>>(&body) {
        Ok(secrets) => done(issuer.set_secrets(&id, secrets)),
        Err(_) => refuse(
            StatusCode::UNPROCESSABLE_ENTITY,
            "send a list of {\"value\": …, \"expires\": an RFC 3339 time or nothing}",
        ),
    }
}

async fn set_certificates(
    State(issuer): App,
    Path(id): Path<String>,
    Json(certificates): Json<Vec<String>>,
) -> Response {
    done(issuer.set_certificates(&id, certificates))
}

async fn set_lifetime(
    State(issuer): App,
    Path(id): Path<String>,
    Json(lifetime): Json<Lifetime>,
) -> Response {
    done(issuer.set_lifetime(&id, Duration::from_secs(lifetime.seconds)))
}

async fn credentials(
    State(issuer): App,
    Path(id): Path<String>,
) -> Json<Vec<crate::CredentialRecord>> {
    Json(issuer.credentials_of(&id))
}

async fn set_graph(State(issuer): App, Json(settings): Json<GraphSettings>) -> StatusCode {
    issuer.set_app_policies(settings.policies);
    issuer.set_write_gap(Duration::from_secs(settings.write_gap_seconds));
    issuer.set_replica_lag(ReplicaLag {
        reads: Duration::from_secs(settings.read_lag_seconds),
        tokens: Duration::from_secs(settings.token_lag_seconds),
    });
    StatusCode::NO_CONTENT
}

async fn decide_device(
    State(issuer): App,
    Path(user_code): Path<String>,
    Json(decision): Json<Decision>,
) -> Response {
    done(match &decision.user {
        Some(user) => issuer.approve_device(&user_code, user),
        None => issuer.decline_device(&user_code),
    })
}

fn done(result: Result<(), Error>) -> Response {
    match result {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error @ (Error::UnknownClient(_) | Error::UnknownUserCode)) => {
            refuse(StatusCode::NOT_FOUND, &error.to_string())
        }
        Err(error) => refuse(StatusCode::UNPROCESSABLE_ENTITY, &error.to_string()),
    }
}

fn refuse(status: StatusCode, error: &str) -> Response {
    (status, Json(json!({ "error": error }))).into_response()
}
