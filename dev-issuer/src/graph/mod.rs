//! The part of Microsoft Graph that changes the credentials of applications:
//! `/v1.0/applications/{objectId}` and `/v1.0/applications(appId='{clientId}')` with `addKey`, `removeKey`, `addPassword` and
//! `removePassword`. <https://learn.microsoft.com/graph/api/resources/application>
//!
//! ```text
//!  serve        faults, then a call: its caller and its application
//!    caller       the token, and its permissions
//!    proof        the proof of possession
//!    change       adding and removing credentials
//!    errors       errors in the form of Graph
//!  credentials  the credentials of an application, and the replicas that have them
//!  handle       settings and observations of tests
//! ```

mod caller;
mod change;
mod credentials;
mod errors;
mod handle;
mod proof;

use std::sync::Arc;

use axum::body::to_bytes;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::answer::Answer;
use crate::config::{Client, Config};
use crate::connection::Connection;
use crate::exchange::{LONGEST_BODY, presentable};
use crate::faults::{Effect, Surface, distort, replacement};
use crate::ids::stable_guid;
use crate::log::ApiCallRecord;
use crate::state::Shared;
use caller::Caller;
use errors::ErrorAnswer;

pub(crate) use credentials::{Credential, CredentialValue, Replicas};
pub use credentials::{CredentialKind, CredentialRecord};
pub(crate) use handle::Settings;
pub use handle::{AppPolicy, ReplicaLag};

/// The object id of an application, which is neither its client id nor the object id of its service principal.
pub(crate) fn object_id(client: &str) -> String {
    stable_guid(&format!("application {client}"))
}

/// The action of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Read,
    AddKey,
    RemoveKey,
    AddPassword,
    RemovePassword,
}

/// A parsed request.
struct Call<'r> {
    action: Action,
    query: &'r str,
    body: Value,
}

pub(crate) async fn serve(
    State(shared): State<Arc<Shared>>,
    Path(path): Path<String>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, LONGEST_BODY).await.unwrap_or_default();
    let mut taken = shared.faults.take(Surface::Graph, None);
    let mut answer = None;
    if let Some(taken) = &mut taken {
        taken.delay().await;
        answer = match &taken.fault.effect {
            Effect::TooManyRequests { .. } => {
                replacement(&taken.fault.effect, (&shared.origin, None)).map(errors::throttled)
            }
            effect => replacement(effect, (&shared.origin, None)),
        };
    }
    let answer = answer.unwrap_or_else(|| {
        let (answer, caller) = call(&shared, &path, &head, &body);
        let (client_id, uti) = caller.map_or((None, None), |c| (Some(c.client), c.token_id));
        shared.log.call(ApiCallRecord {
            seq: 0,
            time: Timestamp::now(),
            path: presentable(&shared.config(), &format!("/v1.0/{path}")),
            status: answer.status.as_u16(),
            error: answer.notes.error.clone(),
            client_id,
            uti,
            static_key: None,
        });
        answer
    });
    let effect = taken.map(|taken| taken.fault.effect).unwrap_or_default();
    match effect {
        Effect::Drop => Connection::of(&head.extensions).cut().await,
        Effect::ErrorAfter { status } => errors::broken(status).into_response(),
        effect => distort(&effect, answer),
    }
}

fn call(
    shared: &Shared,
    path: &str,
    head: &http::request::Parts,
    body: &[u8],
) -> (Answer, Option<Caller>) {
    let id = errors::request_id(&head.headers);
    let caller = match Caller::of(shared, &head.headers) {
        Ok(caller) => caller,
        Err(error_answer) => return (error_answer.into_answer(&id), None),
    };
    let answer = decide(shared, path, head, body, &caller)
        .unwrap_or_else(|error_answer| error_answer.into_answer(&id));
    (answer, Some(caller))
}

fn decide(
    shared: &Shared,
    path: &str,
    head: &http::request::Parts,
    body: &[u8],
    caller: &Caller,
) -> Result<Answer, ErrorAnswer> {
    let (address, action) = parse(path, &head.method)?;
    let body = match action {
        Action::Read => Value::Null,
        _ => serde_json::from_slice(body)
            .map_err(|_| ErrorAnswer::bad("Unable to read JSON request payload."))?,
    };
    let call = Call {
        action,
        query: head.uri.query().unwrap_or_default(),
        body,
    };
    let mut config = shared.config_mut();
    let id = address
        .find(&config)
        .map(|client| client.id.clone())
        .ok_or_else(ErrorAnswer::no_application)?;
    caller.check(&config, &id, action)?;
    if action == Action::Read {
        let client = config.client(&id).ok_or_else(ErrorAnswer::no_application)?;
        return read(shared, client, call.query);
    }
    change::apply(shared, &mut config, &id, &call)
}

/// How an application is addressed.
enum Address<'p> {
    Object(&'p str),
    Client(&'p str),
}

impl Address<'_> {
    fn find<'c>(&self, config: &'c Config) -> Option<&'c Client> {
        config.clients.iter().find(|client| match self {
            Self::Object(id) => object_id(&client.id).eq_ignore_ascii_case(id),
            Self::Client(id) => client.id.eq_ignore_ascii_case(id),
        })
    }
}

fn parse<'p>(path: &'p str, method: &Method) -> Result<(Address<'p>, Action), ErrorAnswer> {
    let unknown = || {
        ErrorAnswer::new(
            StatusCode::BAD_REQUEST,
            "BadRequest",
            "Resource not found for the segment.",
        )
    };
    let rest = path.strip_prefix("applications").ok_or_else(unknown)?;
    let (address, rest) = if let Some(rest) = rest.strip_prefix("(appId='") {
        let (id, rest) = rest.split_once("')").ok_or_else(unknown)?;
        (Address::Client(id), rest)
    } else {
        let rest = rest.strip_prefix('/').ok_or_else(unknown)?;
        let at = rest.find('/').unwrap_or(rest.len());
        (Address::Object(&rest[..at]), &rest[at..])
    };
    let action = match (method.as_str(), rest) {
        ("GET", "") => Action::Read,
        ("POST", "/addKey") => Action::AddKey,
        ("POST", "/removeKey") => Action::RemoveKey,
        ("POST", "/addPassword") => Action::AddPassword,
        ("POST", "/removePassword") => Action::RemovePassword,
        _ => return Err(unknown()),
    };
    Ok((address, action))
}

/// `$select` lists the returned members; without it all are returned.
fn read(shared: &Shared, client: &Client, query: &str) -> Result<Answer, ErrorAnswer> {
    let view = shared.replicas.read();
    let seen = client.credentials(&view);
    let of = |kind| -> Vec<Value> {
        let all = seen.iter().filter(|c| c.kind() == kind);
        all.map(Credential::shown).collect()
    };
    let all = json!({
        "id": object_id(&client.id),
        "appId": client.id,
        "displayName": client.id,
        "passwordCredentials": of(CredentialKind::Secret),
        "keyCredentials": of(CredentialKind::Certificate),
    });
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let select = pairs.find(|(name, _)| matches!(*name, "$select" | "%24select"));
    let members = all.as_object().cloned().unwrap_or_default();
    let Some((_, names)) = select else {
        return Ok(Answer::json(StatusCode::OK, &members));
    };
    let mut chosen = Map::new();
    for name in names.replace("%2C", ",").split(',') {
        let (name, value) = members.get_key_value(name).ok_or_else(|| {
            ErrorAnswer::bad("Could not find a property that is named in $select.")
        })?;
        chosen.insert(name.clone(), value.clone());
    }
    Ok(Answer::json(StatusCode::OK, &chosen))
}
