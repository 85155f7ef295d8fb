//! One request for a token, from its first byte to its answer.

use std::sync::Arc;
use std::time::Instant;

use axum::body::{Body, to_bytes};
use axum::response::{IntoResponse, Response};
use http::{Extensions, Request, StatusCode};

use crate::answer::Answer;
use crate::config::{Config, Secret};
use crate::connection::Connection;
use crate::entra::{self, Version};
use crate::faults::{Effect, Surface, distort, replacement};
use crate::hold::Point;
use crate::log::{AuthMethod, TokenRequestRecord};
use crate::state::Shared;
use crate::token_request::{Endpoint, TokenRequest};
use crate::{generic, mtls};

/// More than any token request; longer bodies count as malformed.
pub(crate) const LONGEST_BODY: usize = 64 * 1024;
/// The maximum length of a value in the log.
const LONGEST_VALUE: usize = 300;

/// Records, checks and answers. The record is open before anything else happens and contains the issued token's ID before
/// anything is sent: a test counts what happened, even if the client never gets the answer.
pub(crate) async fn run(
    shared: Arc<Shared>,
    endpoint: Endpoint,
    request: Request<Body>,
) -> Response {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, LONGEST_BODY).await.unwrap_or_default();
    let peer = Connection::of(&head.extensions);
    let token_request = TokenRequest::read(endpoint, &head.headers, &body).shown(peer.peer());
    let record = record(
        &shared.config(),
        &token_request,
        head.uri.path(),
        head.version,
    );
    let surface = match token_request.endpoint {
        Endpoint::EntraDevice { .. } | Endpoint::GenericDevice => Surface::SignIn,
        Endpoint::GenericRevocation => Surface::Revocation,
        _ => Surface::Token,
    };
    attend(&shared, surface, record, &head.extensions, || {
        decide(&shared, &token_request)
    })
    .await
}

/// Applies faults and holds to a request, and keeps its record up to date.
pub(crate) async fn attend(
    shared: &Arc<Shared>,
    surface: Surface,
    record: TokenRequestRecord,
    extensions: &Extensions,
    decide: impl FnOnce() -> Answer,
) -> Response {
    let client = record.client_id.clone();
    let client = client.as_deref();
    let correlation_id = record.correlation_id.clone();
    let open = Open::new(shared, record);

    shared.holds.pass(client, Point::Received).await;
    let mut taken = shared.faults.take(surface, client);
    let mut answer = None;
    if let Some(taken) = &mut taken {
        shared.log.fault(open.seq, &taken.fault.name());
        taken.delay().await;
        let ids = (shared.origin.as_str(), correlation_id.as_deref());
        answer = replacement(&taken.fault.effect, ids);
    }
    let answer = answer.unwrap_or_else(decide);
    shared.log.note(open.seq, &answer.notes);
    shared.holds.pass(client, Point::BeforeAnswer).await;

    let effect = taken.map(|taken| taken.fault.effect).unwrap_or_default();
    if effect == Effect::Drop {
        drop(open);
        return Connection::of(extensions).cut().await;
    }
    if let Effect::ErrorAfter { status } = effect {
        open.close(status);
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        return status.into_response();
    }
    let response = distort(&effect, answer);
    open.close(response.status().as_u16());
    response
}

fn decide(shared: &Shared, token_request: &TokenRequest) -> Answer {
    match &token_request.endpoint {
        Endpoint::EntraV1 { tenant } => entra::answer(shared, token_request, tenant, Version::V1),
        Endpoint::EntraV2 { tenant } => entra::answer(shared, token_request, tenant, Version::V2),
        Endpoint::Generic => generic::answer(shared, token_request),
        Endpoint::EntraDevice { tenant } => entra::device_code(shared, token_request, tenant),
        Endpoint::GenericDevice => generic::device_authorization(shared, token_request),
        Endpoint::GenericRevocation => generic::revoke(shared, token_request),
    }
}

fn record(
    config: &Config,
    token_request: &TokenRequest,
    path: &str,
    version: http::Version,
) -> TokenRequestRecord {
    let keep = |value: Option<&str>| value.map(|value| presentable(config, value));
    let tenant = match &token_request.endpoint {
        Endpoint::EntraV1 { tenant }
        | Endpoint::EntraV2 { tenant }
        | Endpoint::EntraDevice { tenant } => Some(tenant.as_str()),
        Endpoint::Generic | Endpoint::GenericDevice | Endpoint::GenericRevocation => None,
    };
    TokenRequestRecord {
        tenant: keep(tenant),
        client_id: keep(token_request.client_id()),
        grant_type: keep(token_request.parameter("grant_type")),
        scope: keep(token_request.parameter("scope")),
        resource: keep(token_request.parameter("resource")),
        audience: keep(token_request.parameter("audience")),
        auth_method: auth_method(config, token_request),
        correlation_id: token_request.correlation_id.clone(),
        ..TokenRequestRecord::new(presentable(config, path), version)
    }
}

/// A certificate counts if the client is registered for one and presents no other credential.
fn auth_method(config: &Config, token_request: &TokenRequest) -> AuthMethod {
    let client = token_request.client_id().and_then(|id| config.client(id));
    match token_request.auth_method() {
        AuthMethod::None if !token_request.peer.is_empty() => {
            client.and_then(mtls::method).unwrap_or(AuthMethod::None)
        }
        other => other,
    }
}

/// Users paste secrets into the wrong field. A value that contains one is not recorded.
pub(crate) fn presentable(config: &Config, value: &str) -> String {
    let mut secrets = config.secrets().map(Secret::value);
    // A short one may be a part of any value.
    if secrets.any(|secret| value == secret || (secret.len() >= 8 && value.contains(secret))) {
        return "(withheld: it holds a secret)".to_owned();
    }
    value.chars().take(LONGEST_VALUE).collect()
}

/// An open record. It is closed even if the client disconnects and the task is dropped with it.
struct Open {
    shared: Arc<Shared>,
    seq: u64,
    since: Instant,
    status: Option<u16>,
}

impl Open {
    fn new(shared: &Arc<Shared>, record: TokenRequestRecord) -> Self {
        Self {
            shared: Arc::clone(shared),
            seq: shared.log.open(record),
            since: Instant::now(),
            status: None,
        }
    }

    fn close(mut self, status: u16) {
        self.status = Some(status);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let took = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.shared.log.close(self.seq, self.status, took);
    }
}
