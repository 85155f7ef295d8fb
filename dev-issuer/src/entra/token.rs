//! The token endpoints, v1 and v2.

use http::header::{ALLOW, HeaderName};
use http::{HeaderMap, HeaderValue, StatusCode};
use jiff::Timestamp;
use serde::Serialize;

use super::client_credentials::{self, Granted};
use super::errors::{self, ErrorAnswer};
use super::{
    Version, authorization_code, device_code, on_behalf_of, password, refresh_token, tenant,
};
use crate::answer::{Answer, Issued, Notes};
use crate::ids::{guid, is_guid};
use crate::state::Shared;
use crate::token_request::TokenRequest;

/// Checks a request and issues the token.
pub(crate) fn answer(
    shared: &Shared,
    token_request: &TokenRequest,
    tenant: &str,
    version: Version,
) -> Answer {
    let correlation_id = token_request.correlation_id.clone().unwrap_or_else(guid);
    let answer = match decide(shared, token_request, tenant, version) {
        Ok(granted) => success(shared, granted, version, &correlation_id),
        Err(error_answer) => error_answer.into_answer(&shared.origin, &correlation_id),
    };
    answer.header(
        HeaderName::from_static("client-request-id"),
        &correlation_id,
    )
}

/// The answer to a GET.
pub(crate) fn not_post(shared: &Shared, method: &str, headers: &HeaderMap) -> Answer {
    let given = headers
        .get("client-request-id")
        .and_then(|v| v.to_str().ok());
    let correlation_id = given
        .filter(|id| is_guid(id))
        .map_or_else(guid, str::to_owned);
    let mut answer = errors::not_post(method).into_answer(&shared.origin, &correlation_id);
    answer
        .headers
        .insert(ALLOW, HeaderValue::from_static("POST"));
    answer
}

const AUTHORIZATION_CODE: &str = "authorization_code";
const REFRESH_TOKEN: &str = "refresh_token";
/// RFC 8628 section 3.4.
const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";
const PASSWORD: &str = "password";

fn decide(
    shared: &Shared,
    token_request: &TokenRequest,
    tenant: &str,
    version: Version,
) -> Result<Granted, ErrorAnswer> {
    let config = shared.config();
    let form = token_request.form.as_ref().map_err(|_| errors::malformed());
    let grant = form.as_ref().ok().and_then(|form| form.get("grant_type"));
    let tenant = match grant {
        Some(AUTHORIZATION_CODE | REFRESH_TOKEN | DEVICE_CODE) => tenant::of_user(&config, tenant)?,
        Some(PASSWORD) => tenant::of_password(&config, tenant)?,
        _ => tenant::resolve(&config, tenant)?,
    };
    let form = form?;
    if let Some(name) = form.duplicate(None) {
        return Err(errors::duplicated(name));
    }
    let grant = form
        .get("grant_type")
        .ok_or_else(|| errors::missing("grant_type"))?;
    match grant {
        // These start at endpoints that exist only in v2.
        AUTHORIZATION_CODE | DEVICE_CODE if version == Version::V1 => {
            Err(errors::unsupported_grant(grant))
        }
        AUTHORIZATION_CODE => {
            authorization_code::grant(shared, &config, tenant, (token_request, form))
        }
        REFRESH_TOKEN => {
            refresh_token::grant(shared, &config, tenant, (token_request, form, version))
        }
        DEVICE_CODE => device_code::grant(shared, &config, tenant, (token_request, form)),
        on_behalf_of::GRANT => {
            on_behalf_of::grant(shared, &config, tenant, (token_request, form, version))
        }
        PASSWORD => password::grant(shared, &config, tenant, (token_request, form, version)),
        "client_credentials" => {
            client_credentials::grant(shared, &config, tenant, (token_request, form, version))
        }
        other => Err(errors::unsupported_grant(other)),
    }
}

/// v2: numbers.
#[derive(Serialize)]
struct BodyV2<'a> {
    token_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'a str>,
    expires_in: u64,
    ext_expires_in: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_in: Option<u64>,
    access_token: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id_token: Option<&'a str>,
}

/// v1: every number is a string.
#[derive(Serialize)]
struct BodyV1<'a> {
    token_type: &'a str,
    expires_in: String,
    ext_expires_in: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_in: Option<String>,
    expires_on: String,
    not_before: String,
    resource: &'a str,
    access_token: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id_token: Option<&'a str>,
}

fn success(shared: &Shared, granted: Granted, version: Version, correlation_id: &str) -> Answer {
    let Granted {
        claims, lifetime, ..
    } = granted;
    let token = shared.keys().sign("JWT", &claims);
    let answer = match version {
        Version::V2 => Answer::json(
            StatusCode::OK,
            &BodyV2 {
                token_type: "Bearer",
                scope: granted.scope.as_deref(),
                expires_in: lifetime,
                ext_expires_in: lifetime,
                refresh_in: granted.refresh_in,
                access_token: &token,
                refresh_token: granted.refresh_token.as_deref(),
                id_token: granted.id_token.as_deref(),
            },
        ),
        Version::V1 => Answer::json(
            StatusCode::OK,
            &BodyV1 {
                token_type: "Bearer",
                expires_in: lifetime.to_string(),
                ext_expires_in: lifetime.to_string(),
                refresh_in: granted.refresh_in.map(|seconds| seconds.to_string()),
                expires_on: claims.exp.to_string(),
                not_before: claims.nbf.to_string(),
                resource: &granted.resource,
                access_token: &token,
                scope: granted.scope.as_deref(),
                refresh_token: granted.refresh_token.as_deref(),
                id_token: granted.id_token.as_deref(),
            },
        ),
    };
    answer.noted(Notes {
        correlation_id: Some(correlation_id.to_owned()),
        secret_index: granted.secret_index,
        issued: Some(Issued {
            expires: Timestamp::from_second(claims.exp).unwrap_or(Timestamp::MAX),
            id: claims.uti.unwrap_or_default(),
        }),
        ..Notes::default()
    })
}
