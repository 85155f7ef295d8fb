//! The instance metadata service of a virtual machine.
//! <https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token>

use http::request::Parts;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::mint::{self, Minted};
use super::request::{IdentityRequest, Problem};
use super::{Endpoint, METADATA_PATH, granted, refuse};
use crate::answer::Answer;
use crate::log::AuthMethod;
use crate::state::Shared;

pub(super) struct Imds;

const VERSIONS: [&str; 1] = ["2018-02-01"];

impl Endpoint for Imds {
    const PATH: &str = METADATA_PATH;
    const RESOURCE_ID: &str = "msi_res_id";

    fn auth_method(&self, head: &Parts) -> AuthMethod {
        if is_meant(&head.headers) {
            AuthMethod::Metadata
        } else {
            AuthMethod::None
        }
    }

    fn decide(&self, shared: &Shared, head: &Parts, wanted: &IdentityRequest) -> Answer {
        if let Err(error_answer) = precautions(&head.headers) {
            return error_answer;
        }
        answer(shared, wanted).unwrap_or_else(|problem| bad(&problem))
    }
}

fn answer(shared: &Shared, wanted: &IdentityRequest) -> Result<Answer, Problem> {
    let resource = wanted.checked(&VERSIONS)?;
    let config = shared.config();
    let identity = wanted.choose(&config)?;
    let minted = mint::token(shared, &config, identity, resource)?;
    let mut body = body(&minted, resource);
    body["client_id"] = json!(identity.client_id);
    Ok(granted(&body, &minted))
}

/// A header that a web page, or a program that was misused for a request, does not send.
fn is_meant(headers: &HeaderMap) -> bool {
    let value = headers.get("metadata").and_then(|v| v.to_str().ok());
    value.is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

/// Refuses requests that were forged on the server side or arrived through a proxy.
pub(super) fn precautions(headers: &HeaderMap) -> Result<(), Answer> {
    let text = if headers.contains_key("x-forwarded-for") {
        "Requests that came over a proxy are not answered"
    } else if is_meant(headers) {
        return Ok(());
    } else {
        "Required metadata header not specified"
    };
    Err(refuse(StatusCode::BAD_REQUEST, "invalid_request", text))
}

pub(super) fn bad(problem: &Problem) -> Answer {
    refuse(StatusCode::BAD_REQUEST, problem.error(), &problem.text())
}

/// Every number is a string, and `refresh_token` is present and empty.
pub(super) fn body(minted: &Minted, resource: &str) -> Value {
    let expires_in = minted.expires_in().to_string();
    json!({
        "access_token": minted.token,
        "refresh_token": "",
        "expires_in": expires_in,
        "ext_expires_in": expires_in,
        "expires_on": minted.expires.as_second().to_string(),
        "not_before": minted.not_before.to_string(),
        "resource": resource,
        "token_type": "Bearer",
    })
}
