//! The TLS listener, its connections, and which path leads where.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};
use http::{Extensions, HeaderMap, Method};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use crate::answer::Answer;
use crate::ask::Endpoint;
use crate::faults::{Effect, Surface, distort, replacement};
use crate::state::Shared;
use crate::{api, entra, exchange, generic};

/// The connection that a request came on.
#[derive(Clone, Default)]
pub(crate) struct Connection(Arc<Notify>);

impl Connection {
    pub(crate) fn of(extensions: &Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or_default()
    }

    /// Closes it without an answer. Never returns: the waiting task goes down with the connection.
    pub(crate) async fn cut(self) -> Response {
        self.0.notify_one();
        std::future::pending().await
    }
}

/// Serves until it is dropped, and every connection with it.
pub(crate) async fn serve(listener: TcpListener, tls: Arc<ServerConfig>, shared: Arc<Shared>) {
    let acceptor = TlsAcceptor::from(tls);
    let router = router(shared);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(acceptor.clone(), router.clone(), stream));
                }
                // Such as: out of file descriptors. It may pass.
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(acceptor: TlsAcceptor, router: Router, stream: TcpStream) {
    // Small answers should not wait for more to come.
    let _ = stream.set_nodelay(true);
    let stream = match acceptor.accept(stream).await {
        Ok(stream) => stream,
        Err(error) => {
            tracing::debug!(%error, "TLS handshake failed");
            return;
        }
    };
    let this = Connection::default();
    let service = service_fn(|mut request: http::Request<Incoming>| {
        request.extensions_mut().insert(this.clone());
        router.clone().oneshot(request.map(Body::new))
    });
    let builder = Builder::new(TokioExecutor::new());
    let serving = builder.serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        ended = serving => if let Err(error) = ended {
            tracing::debug!(%error, "connection ended");
        },
        () = this.0.notified() => tracing::debug!("connection cut by a scripted fault"),
    }
}

type App = State<Arc<Shared>>;

fn router(shared: Arc<Shared>) -> Router {
    let metadata = Router::new()
        .route(
            "/generic/.well-known/openid-configuration",
            get(async |State(s): App| generic::metadata(&s).into_response()),
        )
        .route(
            "/.well-known/oauth-authorization-server/generic",
            get(async |State(s): App| generic::metadata(&s).into_response()),
        )
        .route(
            "/generic/keys",
            get(async |State(s): App| generic::keys(&s).into_response()),
        )
        .route(
            "/{tenant}/.well-known/openid-configuration",
            get(async |State(s): App, Path(t): Path<String>| {
                entra::metadata_v1(&s, &t).into_response()
            }),
        )
        .route(
            "/{tenant}/v2.0/.well-known/openid-configuration",
            get(async |State(s): App, Path(t): Path<String>| {
                entra::metadata_v2(&s, &t).into_response()
            }),
        )
        .route(
            "/{tenant}/discovery/keys",
            get(async |State(s): App, Path(t): Path<String>| {
                entra::keys_v1(&s, &t).into_response()
            }),
        )
        .route(
            "/{tenant}/discovery/v2.0/keys",
            get(async |State(s): App, Path(t): Path<String>| {
                entra::keys_v2(&s, &t).into_response()
            }),
        )
        .layer(middleware::from_fn_with_state(
            (Arc::clone(&shared), Surface::Metadata),
            faulty,
        ));
    let api = Router::new()
        .route("/api/{name}/{*path}", get(protected))
        .layer(middleware::from_fn_with_state(
            (Arc::clone(&shared), Surface::Api),
            faulty,
        ));
    Router::new()
        .route(
            "/generic/token",
            post(async |State(s): App, r: Request| exchange::run(s, Endpoint::Generic, r).await),
        )
        .route("/{tenant}/oauth2/token", post(token_v1).fallback(not_post))
        .route(
            "/{tenant}/oauth2/v2.0/token",
            post(token_v2).fallback(not_post),
        )
        .merge(metadata)
        .merge(api)
        .with_state(shared)
}

async fn token_v1(State(shared): App, Path(tenant): Path<String>, request: Request) -> Response {
    exchange::run(shared, Endpoint::EntraV1 { tenant }, request).await
}

async fn token_v2(State(shared): App, Path(tenant): Path<String>, request: Request) -> Response {
    exchange::run(shared, Endpoint::EntraV2 { tenant }, request).await
}

async fn not_post(State(shared): App, method: Method, headers: HeaderMap) -> Response {
    entra::not_post(&shared, method.as_str(), &headers).into_response()
}

async fn protected(
    State(shared): App,
    Path((name, path)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    api::call(&shared, &name, &path, &headers).into_response()
}

/// Scripted faults for what is no token request.
async fn faulty(
    State((shared, surface)): State<(Arc<Shared>, Surface)>,
    request: Request,
    next: Next,
) -> Response {
    let Some(mut taken) = shared.faults.take(surface, None) else {
        return next.run(request).await;
    };
    taken.delay().await;
    let effect = taken.fault.effect;
    if effect == Effect::Drop {
        return Connection::of(request.extensions()).cut().await;
    }
    if let Some(answer) = replacement(&effect) {
        return answer.into_response();
    }
    let (head, body) = next.run(request).await.into_parts();
    let answer = Answer {
        status: head.status,
        // axum sets it for the body that it knew; another may follow.
        headers: without_length(head.headers),
        body: to_bytes(body, usize::MAX).await.unwrap_or_default(),
        ..Answer::default()
    };
    distort(&effect, answer)
}

fn without_length(mut headers: HeaderMap) -> HeaderMap {
    headers.remove(http::header::CONTENT_LENGTH);
    headers
}
