//! Installation access tokens of GitHub Apps, below `/api/v3` as at an Enterprise Server.
//! <https://docs.github.com/rest/apps/apps>, <https://docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app>

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::to_bytes;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use http::header::{AUTHORIZATION, USER_AGENT};
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use jsonwebtoken::Algorithm;
use serde::Deserialize;
use serde_json::json;

use crate::answer::{Answer, Issued, Notes};
use crate::assertion::{Assertion, Bad, key_of};
use crate::claims::Claims;
use crate::config::{Client, Config, Installation};
use crate::exchange::{LONGEST_BODY, attend, presentable};
use crate::faults::Surface;
use crate::ids::uti;
use crate::log::TokenRequestRecord;
use crate::state::Shared;

/// Lifetime of the tokens.
const HOUR: i64 = 3600;
/// Longest time from now to the end of an assertion.
const LONGEST: i64 = 600;

/// Limits of a token. If a field is not set, there is no limit.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    repositories: Option<Vec<String>>,
    permissions: Option<BTreeMap<String, String>>,
}

/// `POST /api/v3/app/installations/{id}/access_tokens`.
pub(crate) async fn access_token(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<u64>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, LONGEST_BODY).await.unwrap_or_default();
    let app = bearer(&head.headers)
        .and_then(|text| Assertion::read(text).ok())
        .and_then(|assertion| Some(presentable(&shared.config(), assertion.claim("iss")?)));
    let record = TokenRequestRecord {
        client_id: app,
        ..TokenRequestRecord::new(head.uri.path().to_owned(), head.version)
    };
    attend(&shared, Surface::Token, record, &head.extensions, || {
        decide(&shared, id, &head.headers, &body).unwrap_or_else(|error_answer| error_answer)
    })
    .await
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    value.strip_prefix("Bearer ")
}

fn refuse(status: StatusCode, message: &str) -> Answer {
    let body = json!({
        "message": message, "documentation_url": "https://docs.github.com/rest", "status": status.as_str(),
    });
    Answer::json(status, &body)
}

fn decide(shared: &Shared, id: u64, headers: &HeaderMap, body: &[u8]) -> Result<Answer, Answer> {
    if headers.get(USER_AGENT).is_none() {
        return Err(refuse(
            StatusCode::FORBIDDEN,
            "Request forbidden by administrative rules. Please make sure your request has a User-Agent header",
        ));
    }
    let config = shared.config();
    let app = app(&config, bearer(headers).unwrap_or_default())?;
    let installation = app.installations.iter().find(|i| i.id == id);
    let installation = installation.ok_or_else(|| refuse(StatusCode::NOT_FOUND, "Not Found"))?;
    if installation.suspended {
        return Err(refuse(
            StatusCode::FORBIDDEN,
            "This installation has been suspended",
        ));
    }
    let wanted = match body {
        [] => Wanted::default(),
        body => serde_json::from_slice(body)
            .map_err(|_| refuse(StatusCode::BAD_REQUEST, "Problems parsing JSON"))?,
    };
    let limits = limited(installation, wanted)?;
    Ok(issued(shared, &config, (app, id), limits))
}

/// The answer with a token.
fn issued(
    shared: &Shared,
    config: &Config,
    (app, id): (&Client, u64),
    (permissions, repositories): (BTreeMap<String, String>, Vec<String>),
) -> Answer {
    let now = Timestamp::now().as_second();
    let token_id = uti();
    let scope: Vec<String> = permissions
        .iter()
        .map(|(k, v)| format!("{k}:{v}"))
        .collect();
    let aud = app.default_audience.clone();
    let aud = aud.unwrap_or_else(|| shared.generic_issuer());
    let resource = config.resource_called(&aud);
    let given = Claims {
        roles: resource
            .and_then(|r| app.roles.get(&r.name))
            .cloned()
            .unwrap_or_default(),
        aud,
        iss: shared.generic_issuer(),
        iat: now,
        nbf: now,
        exp: now + HOUR,
        client_id: Some(app.id.clone()),
        scope: Some(scope.join(" ")),
        sub: format!("installation:{id}"),
        jti: Some(token_id.clone()),
        ..Claims::default()
    };
    let expires = Timestamp::from_second(now + HOUR).unwrap_or(Timestamp::MAX);
    let answer = json!({
        "token": shared.keys().sign("at+jwt", &given),
        "expires_at": expires.to_string(),
        "permissions": permissions,
        "repository_selection": "selected",
        "repositories": repositories.iter().map(|name| json!({ "name": name })).collect::<Vec<_>>(),
    });
    Answer::json(StatusCode::CREATED, &answer).noted(Notes {
        issued: Some(Issued {
            id: token_id,
            expires,
        }),
        ..Notes::default()
    })
}

/// The app that signed an assertion.
fn app<'c>(config: &'c Config, assertion: &str) -> Result<&'c Client, Answer> {
    let refused = |message: &str| refuse(StatusCode::UNAUTHORIZED, message);
    let assertion =
        Assertion::read(assertion).map_err(|_| refused("A JSON web token could not be decoded"))?;
    let app = assertion.claim("iss").and_then(|id| config.client(id));
    let app = app.ok_or_else(|| refuse(StatusCode::NOT_FOUND, "Integration not found"))?;
    let key = app.jwks.as_ref().ok_or(Bad::UnknownKey);
    let verified = key
        .and_then(|jwks| key_of(jwks, &assertion.header))
        .and_then(|key| assertion.verify(&key, &[Algorithm::RS256]));
    verified.map_err(|_| refused("A JSON web token could not be decoded"))?;
    let now = Timestamp::now().as_second();
    let number = |name: &str| assertion.claims.get(name)?.as_i64();
    match (number("iat"), number("exp")) {
        (Some(iat), _) if iat > now => Err(refused(
            "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued",
        )),
        (Some(_), Some(exp)) if exp > now + LONGEST => Err(refused(
            "'Expiration time' claim ('exp') is too far in the future",
        )),
        (Some(_), Some(exp)) if exp > now => Ok(app),
        _ => Err(refused(
            "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires",
        )),
    }
}

/// Permissions and repositories of the token.
fn limited(
    installation: &Installation,
    wanted: Wanted,
) -> Result<(BTreeMap<String, String>, Vec<String>), Answer> {
    let refused = |message: &str| refuse(StatusCode::UNPROCESSABLE_ENTITY, message);
    let rank = |level: &str| ["read", "write", "admin"].iter().position(|l| *l == level);
    let has = |(name, level): (&String, &String)| {
        let granted = installation.permissions.get(name);
        granted.is_some_and(|g| rank(level).is_some() && rank(level) <= rank(g))
    };
    let mut permissions = match wanted.permissions {
        None => installation.permissions.clone(),
        Some(permissions) if permissions.iter().all(has) => permissions,
        Some(_) => {
            return Err(refused(
                "The permissions requested are not granted to this installation.",
            ));
        }
    };
    permissions
        .entry("metadata".to_owned())
        .or_insert_with(|| "read".to_owned());
    let known = |name: &String| installation.repositories.contains(name);
    match wanted.repositories {
        None => Ok((permissions, installation.repositories.clone())),
        Some(names) if names.iter().all(known) => Ok((permissions, names)),
        Some(_) => Err(refused(
            "There is at least one repository that does not exist or is not accessible to the parent installation.",
        )),
    }
}
