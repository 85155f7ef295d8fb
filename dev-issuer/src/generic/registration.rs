//! Registration management (RFC 7592) of the generic issuer's clients: `GET` and `PUT` of `/generic/register/{id}`. An update replaces the
//! registration and the registration access token. New clients cannot be registered: clients are in the configuration.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::to_bytes;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use http::header::AUTHORIZATION;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::assertion::usable_keys;
use crate::config::Client;
use crate::connection::Connection;
use crate::exchange::LONGEST_BODY;
use crate::faults::{Effect, Surface, distort, replacement};
use crate::ids::guid;
use crate::issuer::DevIssuer;
use crate::state::Shared;

/// Registration access tokens by client.
#[derive(Default)]
pub(crate) struct Registrations(Mutex<HashMap<String, String>>);

impl Registrations {
    fn renew(&self, client: &str) -> String {
        let token = format!("{}{}", guid(), guid()).replace('-', "");
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(client.to_owned(), token.clone());
        token
    }

    fn current(&self, client: &str) -> Option<String> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(client).cloned()
    }
}

/// Members that an update must not have (RFC 7592 section 2.2).
const FORBIDDEN: [&str; 4] = [
    "registration_access_token",
    "registration_client_uri",
    "client_secret_expires_at",
    "client_id_issued_at",
];

pub(crate) async fn serve(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, LONGEST_BODY).await.unwrap_or_default();
    let updates = head.method == Method::PUT;
    let mut taken = updates
        .then(|| shared.faults.take(Surface::Registration, Some(&id)))
        .flatten();
    let mut answer = None;
    if let Some(taken) = &mut taken {
        taken.delay().await;
        answer = replacement(&taken.fault.effect, (&shared.origin, None));
    }
    let bearer = head.headers.get(AUTHORIZATION);
    let bearer = bearer.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let answer = answer.unwrap_or_else(|| decide(&shared, &id, (&head.method, bearer), &body));
    match taken.map(|taken| taken.fault.effect).unwrap_or_default() {
        Effect::Drop => Connection::of(&head.extensions).cut().await,
        Effect::ErrorAfter { status } => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            refused(status, "server_error").into_response()
        }
        effect => distort(&effect, answer),
    }
}

fn refused(status: StatusCode, error: &str) -> Answer {
    Answer::json(status, &json!({ "error": error }))
}

fn decide(
    shared: &Shared,
    id: &str,
    (method, bearer): (&Method, Option<&str>),
    body: &[u8],
) -> Answer {
    let current = shared.registrations.current(id);
    if current.is_none() || current.as_deref() != bearer {
        return refused(StatusCode::UNAUTHORIZED, "invalid_token");
    }
    let mut config = shared.config_mut();
    let Some(client) = config.clients.iter_mut().find(|client| client.id == id) else {
        return refused(StatusCode::UNAUTHORIZED, "invalid_token");
    };
    let mut token = current.unwrap_or_default();
    if method == Method::PUT {
        if let Err(error_answer) = update(client, body) {
            return error_answer;
        }
        token = shared.registrations.renew(id);
    }
    let mut shown = metadata(client);
    shown["registration_access_token"] = json!(token);
    shown["registration_client_uri"] = json!(address(shared, id));
    Answer::json(StatusCode::OK, &shown)
}

fn metadata(client: &Client) -> Value {
    let mut shown = json!({
        "client_id": client.id,
        "grant_types": ["client_credentials"],
        "token_endpoint_auth_method": "client_secret_basic",
    });
    if let Some(jwks) = &client.jwks {
        shown["token_endpoint_auth_method"] = json!("private_key_jwt");
        shown["jwks"] = jwks.clone();
    }
    shown
}

/// All members are replaced, so all must be present; only one may have a different value here.
fn update(client: &mut Client, body: &[u8]) -> Result<(), Answer> {
    let invalid = || refused(StatusCode::BAD_REQUEST, "invalid_client_metadata");
    let wanted: Value = serde_json::from_slice(body).map_err(|_| invalid())?;
    if FORBIDDEN.iter().any(|name| wanted.get(name).is_some()) {
        return Err(refused(StatusCode::BAD_REQUEST, "invalid_request"));
    }
    let same = |name: &str, value: &Value| name == "jwks" || wanted.get(name) == Some(value);
    let before = metadata(client);
    let mut members = before.as_object().into_iter().flatten();
    if !members.all(|(name, value)| same(name, value)) {
        return Err(invalid());
    }
    let jwks = &wanted["jwks"];
    if client.jwks.is_some() {
        if usable_keys(jwks) == 0 {
            return Err(invalid());
        }
        client.jwks = Some(jwks.clone());
    }
    Ok(())
}

fn address(shared: &Shared, id: &str) -> String {
    format!("{}/register/{id}", shared.generic_issuer())
}

impl DevIssuer {
    /// Allows a client of the generic issuer to manage its registration: returns the address, and a registration access token that replaces the
    /// one before it.
    pub fn registration(&self, client: &str) -> (String, String) {
        let token = self.shared.registrations.renew(client);
        (address(&self.shared, client), token)
    }

    /// The registration access token that a client must send, if it manages its registration.
    pub fn registration_access_token(&self, client: &str) -> Option<String> {
        self.shared.registrations.current(client)
    }

    /// The public keys that a client of the generic issuer has.
    pub fn keys_of(&self, client: &str) -> Vec<Value> {
        let config = self.shared.config();
        let jwks = config.client(client).and_then(|client| client.jwks.clone());
        let keys = jwks.and_then(|jwks| jwks["keys"].as_array().cloned());
        keys.unwrap_or_default()
    }
}
