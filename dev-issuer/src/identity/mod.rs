//! Endpoints of a machine that return tokens of its managed identities: the instance metadata service, the endpoint of App
//! Service and the agent of Azure Arc.
//! <https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token>
//!
//! The three differ in how a caller authenticates, and in the form of the answer. The returned token is the
//! same: a token of the tenant for the identity itself, from a cache that no caller can clear.

mod app_service;
mod arc;
mod handle;
mod imds;
mod listeners;
mod mint;
mod request;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::get;
use http::StatusCode;
use http::request::Parts;
use serde_json::{Value, json};

use crate::answer::{Answer, Notes};
use crate::exchange::{attend, presentable};
use crate::faults::Surface;
use crate::log::{AuthMethod, TokenRequestRecord};
use crate::state::Shared;
use mint::Minted;
use request::IdentityRequest;

pub(crate) use listeners::Listeners;
pub(crate) use mint::Cache;

/// Path of the metadata service and of the Arc agent.
const METADATA_PATH: &str = "/metadata/identity/oauth2/token";
/// Path of App Service's endpoint.
const APP_SERVICE_PATH: &str = "/msi/token";

/// One of the endpoints.
trait Endpoint: Send + Sync + 'static {
    const PATH: &str;
    /// Its parameter name for the resource ID of an identity.
    const RESOURCE_ID: &str;

    /// How the caller authenticates.
    fn auth_method(&self, head: &Parts) -> AuthMethod;

    fn decide(&self, shared: &Shared, head: &Parts, wanted: &IdentityRequest) -> Answer;
}

fn router<E: Endpoint>(shared: Arc<Shared>, endpoint: E) -> Router {
    let endpoint = Arc::new(endpoint);
    let handler = move |request: Request| {
        let (shared, endpoint) = (Arc::clone(&shared), Arc::clone(&endpoint));
        async move { serve(&shared, &*endpoint, request).await }
    };
    Router::new().route(E::PATH, get(handler))
}

async fn serve<E: Endpoint>(shared: &Arc<Shared>, endpoint: &E, request: Request) -> Response {
    let (head, _) = request.into_parts();
    let wanted = IdentityRequest::read(head.uri.query().unwrap_or_default(), E::RESOURCE_ID);
    let record = record(shared, &head, &wanted, endpoint.auth_method(&head));
    attend(shared, Surface::Identity, record, &head.extensions, || {
        endpoint.decide(shared, &head, &wanted)
    })
    .await
}

fn record(
    shared: &Shared,
    head: &Parts,
    wanted: &IdentityRequest,
    auth_method: AuthMethod,
) -> TokenRequestRecord {
    let config = shared.config();
    let keep = |value: &str| presentable(&config, value);
    let chosen = wanted.choose(&config).ok();
    TokenRequestRecord {
        client_id: chosen.map(|identity| identity.client_id.clone()),
        resource: wanted.resource().map(keep),
        auth_method,
        ..TokenRequestRecord::new(keep(head.uri.path()), head.version)
    }
}

fn granted(body: &Value, minted: &Minted) -> Answer {
    Answer::json(StatusCode::OK, body).noted(Notes {
        issued: Some(minted.issued()),
        ..Notes::default()
    })
}

/// An error in the form of the metadata service.
fn refuse(status: StatusCode, error: &str, description: &str) -> Answer {
    let body = json!({ "error": error, "error_description": description });
    Answer::json(status, &body).noted(Notes {
        error: Some(error.to_owned()),
        ..Notes::default()
    })
}
