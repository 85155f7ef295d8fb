//! Serves `/livez`, `/readyz` and `/metrics`. Nothing else, and nothing that holds or returns a credential.

use std::{future::Future, net::SocketAddr, sync::Arc};

use axum::{
    Router, extract::State, http::StatusCode, http::header::CONTENT_TYPE, response::IntoResponse,
    routing::get,
};

use super::{
    health::Health,
    metrics::{Metrics, Snapshot},
};
use crate::clock::Clock;

/// What the handlers read.
pub struct Admin {
    /// Progress.
    pub health: Arc<Health>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Time.
    pub clock: Arc<dyn Clock>,
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
    axum::serve(listener, router)
        .with_graceful_shutdown(stop)
        .await
}

/// Binds the admin address.
///
/// # Errors
/// A sentence with the address.
pub async fn bind(address: SocketAddr) -> Result<tokio::net::TcpListener, String> {
    tokio::net::TcpListener::bind(address).await.map_err(|e| {
        format!("--admin-listen {address} cannot be bound ({e}); choose a free address")
    })
}

async fn livez(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    verdict(admin.health.alive(crate::clock::steady()))
}

async fn readyz(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    verdict(admin.health.ready())
}

async fn metrics(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    let text = admin.metrics.encode(&(admin.snapshot)());
    (
        [(
            CONTENT_TYPE,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        )],
        text,
    )
}

fn verdict(result: Result<(), String>) -> (StatusCode, String) {
    match result {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}
