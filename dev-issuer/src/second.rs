//! Endpoints of a second request that completes a token: an Azure container registry, and Google's IAM Credentials API.

use std::sync::Arc;

use axum::body::to_bytes;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::claims::Claims;
use crate::exchange::LONGEST_BODY;
use crate::form::Form;
use crate::ids::uti;
use crate::state::Shared;

/// Name of the registry among the resources; its audience is that of all registries.
const REGISTRY: &str = "registry";
/// The role that a pull needs.
const PULL: &str = "AcrPull";
/// The user name for a token, according to Microsoft's page on `az acr login`.
const NIL_GUID: &str = "00000000-0000-0000-0000-000000000000";
/// How long the registry's token is valid.
const THREE_HOURS: i64 = 10_800;
/// The longest lifetime that Google allows by default, and the usual one.
const HOUR: i64 = 3600;

/// Name of the registry: this server, as a docker client has it.
fn service(shared: &Shared) -> &str {
    shared.origin.trim_start_matches("https://")
}

/// `POST /oauth2/exchange`. <https://github.com/Azure/acr/blob/main/docs/AAD-OAuth.md>
pub(crate) async fn exchange(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let body = to_bytes(request.into_body(), LONGEST_BODY).await;
    let form = Form::parse(&body.unwrap_or_default()).unwrap_or_default();
    exchanged(&shared, &form).into_response()
}

fn exchanged(shared: &Shared, form: &Form) -> Answer {
    let config = shared.config();
    let known = |name: &str, value: &str| form.get(name) == Some(value);
    let tenant = form.get("tenant").unwrap_or_default();
    let tenant = config.tenants.iter().any(|t| {
        t.id.eq_ignore_ascii_case(tenant)
            || t.domains.iter().any(|d| d.eq_ignore_ascii_case(tenant))
    });
    if !known("grant_type", "access_token") || !known("service", service(shared)) || !tenant {
        return unauthorized(StatusCode::BAD_REQUEST, "the request is not well-formed");
    }
    let mut resources = config.resources.iter();
    let audiences = resources.find(|r| r.name == REGISTRY);
    let audiences = audiences.map(crate::config::Resource::audiences);
    let token = form.get("access_token").unwrap_or_default();
    let claims = shared.validate_with(&config, token, Some(&audiences.unwrap_or_default()));
    let Some(claims) = claims.ok().filter(|c| c.roles.iter().any(|r| r == PULL)) else {
        return unauthorized(StatusCode::UNAUTHORIZED, "authentication required");
    };
    let now = Timestamp::now().as_second();
    let given = Claims {
        aud: service(shared).to_owned(),
        iss: shared.generic_issuer(),
        iat: now,
        nbf: now,
        exp: now + THREE_HOURS,
        sub: claims.sub,
        jti: Some(uti()),
        ..Claims::default()
    };
    let token = shared.keys().sign("JWT", &given);
    Answer::json(StatusCode::OK, &json!({ "refresh_token": token }))
}

fn unauthorized(status: StatusCode, message: &str) -> Answer {
    let error = json!({ "code": "UNAUTHORIZED", "message": message });
    Answer::json(status, &json!({ "errors": [error] }))
}

/// `GET /v2/`: the request of `docker login`.
pub(crate) async fn registry(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    let pair = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Basic "))
        .and_then(|encoded| STANDARD.decode(encoded).ok())
        .and_then(|bytes| String::from_utf8(bytes).ok());
    let audience = [service(&shared).to_owned()];
    let good = pair.is_some_and(|pair| {
        let token = pair
            .strip_prefix(NIL_GUID)
            .and_then(|rest| rest.strip_prefix(':'));
        token.is_some_and(|token| shared.validate(token, Some(&audience)).is_ok())
    });
    if good {
        return Answer::json(StatusCode::OK, &json!({})).into_response();
    }
    unauthorized(StatusCode::UNAUTHORIZED, "authentication required")
        .header(WWW_AUTHENTICATE, "Basic realm=\"dev-issuer\"")
        .into_response()
}

/// The body of a request to Google's API.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    scope: Vec<String>,
}

impl Wanted {
    fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Self, Answer> {
        let json = headers
            .get(http::header::CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok())
            .is_some_and(|kind| kind.starts_with("application/json"));
        serde_json::from_slice(body)
            .ok()
            .filter(|_| json)
            .ok_or_else(|| {
                google(
                    StatusCode::BAD_REQUEST,
                    "INVALID_ARGUMENT",
                    "the body is no request",
                )
            })
    }
}

/// `POST /v1/projects/-/serviceAccounts/{email}:generateAccessToken`.
/// <https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/generateAccessToken>
pub(crate) async fn service_account(
    State(shared): State<Arc<Shared>>,
    Path(call): Path<String>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, LONGEST_BODY).await.unwrap_or_default();
    generated(&shared, &call, &head.headers, &body)
        .unwrap_or_else(|error_answer| error_answer)
        .into_response()
}

fn generated(
    shared: &Shared,
    call: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Answer, Answer> {
    let email = call
        .strip_suffix(":generateAccessToken")
        .ok_or_else(|| google(StatusCode::NOT_FOUND, "NOT_FOUND", "no such method"))?;
    let wanted = Wanted::parse(headers, body)?;
    let token = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
        .unwrap_or_default();
    let config = shared.config();
    let caller = shared.validate_with(&config, token, None).map_err(|_| {
        google(
            StatusCode::UNAUTHORIZED,
            "UNAUTHENTICATED",
            "the token is not valid",
        )
    })?;
    // A missing account and a missing permission look the same.
    let denied = || {
        google(
            StatusCode::FORBIDDEN,
            "PERMISSION_DENIED",
            "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).",
        )
    };
    let account = config.client(email).ok_or_else(denied)?;
    if !account.impersonators.contains(&caller.sub) || wanted.scope.is_empty() {
        return Err(denied());
    }
    let now = Timestamp::now().as_second();
    let aud = account.default_audience.clone();
    let aud = aud.unwrap_or_else(|| shared.generic_issuer());
    let resource = config.resource_called(&aud);
    let roles = resource.and_then(|r| account.roles.get(&r.name)).cloned();
    let given = Claims {
        aud,
        iss: shared.generic_issuer(),
        iat: now,
        nbf: now,
        exp: now + HOUR,
        client_id: Some(account.id.clone()),
        roles: roles.unwrap_or_default(),
        scope: Some(wanted.scope.join(" ")),
        sub: email.to_owned(),
        jti: Some(uti()),
        ..Claims::default()
    };
    let ends = Timestamp::from_second(now + HOUR).unwrap_or(Timestamp::MAX);
    let token = shared.keys().sign("at+jwt", &given);
    let answer = json!({ "accessToken": token, "expireTime": ends.to_string() });
    Ok(Answer::json(StatusCode::OK, &answer))
}

fn google(status: StatusCode, name: &str, message: &str) -> Answer {
    let error: Value = json!({ "code": status.as_u16(), "message": message, "status": name });
    Answer::json(status, &json!({ "error": error }))
}
