//! The endpoint of App Service, Functions and Container Apps.
//! <https://learn.microsoft.com/azure/app-service/overview-managed-identity>, "REST endpoint reference"

use http::StatusCode;
use http::request::Parts;
use serde_json::json;

use super::mint;
use super::request::{IdentityRequest, Problem};
use super::{APP_SERVICE_PATH, Endpoint, granted};
use crate::answer::{Answer, Notes};
use crate::config::Secret;
use crate::log::AuthMethod;
use crate::state::Shared;

pub(super) struct Service {
    /// Value of `IDENTITY_HEADER`.
    pub(super) header: Secret,
}

const HEADER: &str = "x-identity-header";
const VERSIONS: [&str; 1] = ["2019-08-01"];

impl Endpoint for Service {
    const PATH: &str = APP_SERVICE_PATH;
    const RESOURCE_ID: &str = "mi_res_id";

    fn auth_method(&self, head: &Parts) -> AuthMethod {
        if head.headers.contains_key(HEADER) {
            AuthMethod::IdentityHeader
        } else {
            AuthMethod::None
        }
    }

    fn decide(&self, shared: &Shared, head: &Parts, wanted: &IdentityRequest) -> Answer {
        let given = head.headers.get(HEADER).map_or(&[][..], |v| v.as_bytes());
        if !self.header.is(given) {
            let text = "The X-IDENTITY-HEADER header is missing or wrong";
            return refuse(StatusCode::UNAUTHORIZED, "unauthorized", text);
        }
        answer(shared, wanted).unwrap_or_else(|problem| match problem {
            // According to MSAL's sources, the service does not report the cause for a wrong API.
            Problem::UnknownResource(_) => refuse(
                StatusCode::INTERNAL_SERVER_ERROR,
                problem.error(),
                "An unexpected error occurred while fetching the token",
            ),
            problem => refuse(StatusCode::BAD_REQUEST, problem.error(), &problem.text()),
        })
    }
}

/// The only time in the answer is `expires_on`.
fn answer(shared: &Shared, wanted: &IdentityRequest) -> Result<Answer, Problem> {
    let resource = wanted.checked(&VERSIONS)?;
    let config = shared.config();
    let identity = wanted.choose(&config)?;
    let minted = mint::token(shared, &config, identity, resource)?;
    let body = json!({
        "access_token": minted.token,
        "expires_on": minted.expires.as_second().to_string(),
        "resource": resource,
        "token_type": "Bearer",
        "client_id": identity.client_id,
    });
    Ok(granted(&body, &minted))
}

fn refuse(status: StatusCode, error: &str, message: &str) -> Answer {
    let body = json!({ "statusCode": status.as_u16(), "message": message });
    Answer::json(status, &body).noted(Notes {
        error: Some(error.to_owned()),
        ..Notes::default()
    })
}
