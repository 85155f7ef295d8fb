//! The routes.

use std::sync::Arc;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Path, Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};
use http::{HeaderMap, Method};

use crate::answer::Answer;
use crate::connection::Connection;
use crate::faults::{Effect, Surface, distort, replacement};
use crate::hold::Point;
use crate::state::Shared;
use crate::token_request::Endpoint;
use crate::{api, device, entra, exchange, generic, github, graph, second, signin};

type App = State<Arc<Shared>>;

/// Everything that is served over TLS.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    let api = Router::new()
        .route("/api/{name}/{*path}", get(protected))
        .layer(middleware::from_fn_with_state(
            (Arc::clone(&shared), Surface::Api),
            faulty,
        ));
    let second_requests = Router::new()
        .route("/oauth2/exchange", post(second::exchange))
        .route(
            "/v1/projects/-/serviceAccounts/{call}",
            post(second::service_account),
        )
        .layer(middleware::from_fn_with_state(
            (Arc::clone(&shared), Surface::SecondRequest),
            faulty,
        ));
    Router::new()
        .route(
            "/generic/token",
            post(async |State(s): App, r: Request| exchange::run(s, Endpoint::Generic, r).await),
        )
        .route(
            "/generic/revoke",
            post(async |State(s): App, r: Request| {
                exchange::run(s, Endpoint::GenericRevocation, r).await
            }),
        )
        .route(
            "/generic/register/{id}",
            get(generic::registration).put(generic::registration),
        )
        .route("/{tenant}/oauth2/token", post(token_v1).fallback(not_post))
        .route(
            "/{tenant}/oauth2/v2.0/token",
            post(token_v2).fallback(not_post),
        )
        .route("/v2/", get(second::registry))
        .route(
            "/api/v3/app/installations/{id}/access_tokens",
            post(github::access_token),
        )
        .route("/v1.0/{*path}", get(graph::serve).post(graph::serve))
        .merge(sign_in())
        .merge(metadata(&shared))
        .merge(second_requests)
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), gated))
        // These callers use a token and are not clients here.
        .merge(api)
        .with_state(shared)
}

/// The documents about the issuers, and their keys.
fn metadata(shared: &Arc<Shared>) -> Router<Arc<Shared>> {
    Router::new()
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
            (Arc::clone(shared), Surface::Metadata),
            faulty,
        ))
}

/// The pages for users with a browser, and the endpoints that lead to them.
fn sign_in() -> Router<Arc<Shared>> {
    let device = |State(s): App, r: Request| device::verify(s, r);
    let generic = |State(s): App, r: Request| signin::authorize(s, None, r);
    let entra = |State(s): App, Path(t): Path<String>, r: Request| signin::authorize(s, Some(t), r);
    Router::new()
        .route("/generic/authorize", get(generic).post(generic))
        .route("/{tenant}/oauth2/v2.0/authorize", get(entra).post(entra))
        .route("/generic/device", get(device).post(device))
        .route("/devicelogin", get(device).post(device))
        .route(
            "/generic/device_authorization",
            post(async |State(s): App, r: Request| {
                exchange::run(s, Endpoint::GenericDevice, r).await
            }),
        )
        .route(
            "/{tenant}/oauth2/v2.0/devicecode",
            post(
                async |State(s): App, Path(tenant): Path<String>, r: Request| {
                    exchange::run(s, Endpoint::EntraDevice { tenant }, r).await
                },
            )
            .fallback(not_post),
        )
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
    request: Request,
) -> Response {
    let (head, _) = request.into_parts();
    api::call(&shared, &name, &path, &head).into_response()
}

/// Barriers for one request.
async fn gated(State(shared): App, request: Request, next: Next) -> Response {
    let name = format!("{} {}", request.method(), request.uri().path());
    let gates = shared.holds.arrived(&name);
    let connection = Connection::of(request.extensions());
    if !gates.pass(Point::Received).await {
        return connection.cut().await;
    }
    let answer = next.run(request).await;
    if !gates.pass(Point::BeforeAnswer).await {
        return connection.cut().await;
    }
    answer
}

/// Scripted faults for requests that are not token requests.
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
    if let Some(answer) = replacement(&effect, (&shared.origin, None)) {
        return answer.into_response();
    }
    let (head, body) = next.run(request).await.into_parts();
    let answer = Answer {
        status: head.status,
        // axum sets it for the former body; another body may follow.
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
