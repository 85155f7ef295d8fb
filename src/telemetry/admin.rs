//! Serves `/livez`, `/readyz` and `/metrics`. It has no other page, and no page contains a credential.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Extension, State},
    http::{
        HeaderMap, StatusCode,
        header::{ACCEPT, CONTENT_TYPE},
    },
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::sync::Semaphore;

use super::{
    health::Health,
    metrics::{Format, Metrics, Snapshot},
    server::{self, Hold},
};

/// Time from the accepted connection to the last byte of its answer. It is the default timeout of Prometheus.
const DEADLINE: Duration = Duration::from_secs(10);
/// Concurrent scrapes: with a gauge for each of thousands of credentials, an answer is megabytes, which stay in memory while a slow client reads.
static SCRAPES: Semaphore = Semaphore::const_new(4);

/// What the handlers read.
pub struct Admin {
    /// Progress.
    pub health: Arc<Health>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Computes the gauges of one scrape.
    pub snapshot: Box<dyn Fn() -> Snapshot + Send + Sync>,
}

/// Serves until `stop` ends.
///
/// # Errors
/// When the address cannot be bound or serving fails.
pub async fn serve(
    listener: tokio::net::TcpListener,
    admin: Arc<Admin>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(admin);
    server::serve(listener, router, DEADLINE, stop).await;
    Ok(())
}

/// Binds the admin address.
///
/// # Errors
/// A message with the address.
pub async fn bind(address: SocketAddr) -> Result<tokio::net::TcpListener, String> {
    tokio::net::TcpListener::bind(address).await.map_err(|e| {
        format!("--admin-listen {address} cannot be bound ({e}); choose a free address")
    })
}

async fn livez(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    answer(admin.health.alive(crate::clock::steady()))
}

async fn readyz(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    answer(admin.health.ready(crate::clock::steady()))
}

async fn metrics(
    State(admin): State<Arc<Admin>>,
    Extension(hold): Extension<Hold>,
    headers: HeaderMap,
) -> Response {
    let Ok(permit) = SCRAPES.try_acquire() else {
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            "too many scrapes at once; try again\n",
        )
            .into_response();
    };
    // Held until the connection ends.
    let _ = hold.set(permit);
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    let format = Format::of(accept);
    let text = admin.metrics.encode(&(admin.snapshot)(), format);
    ([(CONTENT_TYPE, format.content_type())], text).into_response()
}

fn answer(result: Result<(), String>) -> (StatusCode, String) {
    match result {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}
