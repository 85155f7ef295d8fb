//! Errors in the form of Entra.
//!
//! Numbers and texts: <https://learn.microsoft.com/entra/identity-platform/reference-error-codes>. That page gives neither the
//! `error` string nor the HTTP status of most; those are as reported from the real service, else 400
//! and the string that RFC 6749 section 5.2 defines.

use http::header::HeaderName;
use http::{HeaderValue, StatusCode};
use jiff::Timestamp;
use serde::Serialize;

use crate::answer::{Answer, Notes};
use crate::ids::guid;

/// An error, without data of a request yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ErrorAnswer {
    status: StatusCode,
    error: &'static str,
    code: u32,
    message: String,
    /// The secret of the client that caused the failure, if there is one.
    pub(crate) secret_index: Option<usize>,
    suberror: Option<&'static str>,
    claims: Option<String>,
}

/// The body, fields in Entra's order.
#[derive(Serialize)]
struct Body<'a> {
    error: &'a str,
    error_description: String,
    error_codes: [u32; 1],
    timestamp: String,
    trace_id: &'a str,
    correlation_id: &'a str,
    error_uri: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    suberror: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    claims: Option<&'a str>,
}

impl ErrorAnswer {
    pub(super) fn new(
        status: u16,
        error: &'static str,
        code: u32,
        message: impl Into<String>,
    ) -> Self {
        Self {
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST),
            error,
            code,
            message: message.into(),
            secret_index: None,
            suberror: None,
            claims: None,
        }
    }

    /// The same with a more precise value for programs.
    pub(super) fn suberror(mut self, suberror: &'static str) -> Self {
        self.suberror = Some(suberror);
        self
    }

    /// The same with the claims that the next request must contain.
    pub(super) fn claims(mut self, claims: &str) -> Self {
        self.claims = Some(claims.to_owned());
        self
    }

    pub(crate) fn error(&self) -> &'static str {
        self.error
    }

    /// Number and text, for a page.
    pub(crate) fn text(&self) -> String {
        format!("AADSTS{}: {}", self.code, self.message)
    }

    /// The description ends with IDs and time on separate lines, separated by CR LF, and `timestamp` has a blank
    /// where RFC 3339 has a `T`: clients that show the text must support both.
    pub(crate) fn into_answer(self, origin: &str, correlation_id: &str) -> Answer {
        let trace_id = guid();
        let timestamp = Timestamp::now().strftime("%Y-%m-%d %H:%M:%SZ").to_string();
        let body = Body {
            error: self.error,
            error_description: format!(
                "AADSTS{}: {}\r\nTrace ID: {trace_id}\r\nCorrelation ID: {correlation_id}\r\nTimestamp: {timestamp}",
                self.code, self.message
            ),
            error_codes: [self.code],
            timestamp,
            trace_id: &trace_id,
            correlation_id,
            error_uri: format!("{origin}/error?code={}", self.code),
            suberror: self.suberror,
            claims: self.claims.as_deref(),
        };
        let mut answer = Answer::json(self.status, &body).noted(Notes {
            error: Some(self.error.to_owned()),
            aadsts: Some(self.code),
            correlation_id: Some(correlation_id.to_owned()),
            secret_index: self.secret_index,
            issued: None,
        });
        let name = HeaderName::from_static("x-ms-request-id");
        if let Ok(value) = HeaderValue::from_str(&trace_id) {
            answer.headers.insert(name, value);
        }
        answer
    }
}

pub(super) const BAD: u16 = 400;
const DENIED: u16 = 401;

pub(crate) fn not_post(method: &str) -> ErrorAnswer {
    let text = format!("The endpoint only accepts POST requests. Received a {method} request.");
    ErrorAnswer::new(405, "invalid_request", 900_561, text)
}

pub(crate) fn tenant_malformed(tenant: &str) -> ErrorAnswer {
    let text = format!(
        "Specified tenant identifier '{tenant}' is neither a valid DNS name, nor a valid external domain."
    );
    ErrorAnswer::new(BAD, "invalid_request", 900_023, text)
}

pub(crate) fn tenant_unknown(tenant: &str) -> ErrorAnswer {
    let text = format!(
        "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into the \
         correct cloud."
    );
    ErrorAnswer::new(BAD, "invalid_request", 90_002, text)
}

pub(crate) fn tenant_missing() -> ErrorAnswer {
    let text = "No tenant-identifying information found in either the request or implied by any provided credentials.";
    ErrorAnswer::new(BAD, "invalid_request", 50_059, text)
}

pub(crate) fn consumers() -> ErrorAnswer {
    let text = "The grant type isn't supported over the /common or /consumers endpoints. Use the tenant-specific \
                endpoint.";
    ErrorAnswer::new(BAD, "invalid_request", 9_001_023, text)
}

pub(crate) fn malformed() -> ErrorAnswer {
    let text = "Invalid request. Request is malformed or invalid.";
    ErrorAnswer::new(BAD, "invalid_request", 9_002_313, text)
}

pub(crate) fn duplicated(name: &str) -> ErrorAnswer {
    let text =
        format!("The request is not properly formatted. The parameter '{name}' is duplicated.");
    ErrorAnswer::new(BAD, "invalid_request", 9_000_411, text)
}

pub(crate) fn missing(name: &str) -> ErrorAnswer {
    let text = format!("The request body must contain the following parameter: '{name}'.");
    ErrorAnswer::new(BAD, "invalid_request", 900_144, text)
}

pub(crate) fn unsupported_grant(grant: &str) -> ErrorAnswer {
    let text = format!("The app requested an unsupported grant type '{grant}'.");
    ErrorAnswer::new(BAD, "unsupported_grant_type", 70_003, text)
}

pub(crate) fn client_unknown(client: &str, tenant: &str) -> ErrorAnswer {
    let text = format!(
        "Application with identifier '{client}' was not found in the directory '{tenant}'. This can happen if the \
         application has not been installed by the administrator of the tenant or consented to by any user in the \
         tenant. You may have sent your authentication request to the wrong tenant."
    );
    ErrorAnswer::new(BAD, "unauthorized_client", 700_016, text)
}

pub(crate) fn no_credential() -> ErrorAnswer {
    let text = "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.";
    ErrorAnswer::new(DENIED, "invalid_client", 7_000_218, text)
}

pub(crate) fn wrong_secret(client: &str) -> ErrorAnswer {
    let text = format!(
        "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not \
         the client secret ID, for a secret added to app '{client}'."
    );
    ErrorAnswer::new(DENIED, "invalid_client", 7_000_215, text)
}

pub(crate) fn expired_secret(client: &str, secret_index: usize) -> ErrorAnswer {
    let text = format!(
        "The provided client secret keys for app '{client}' are expired. Create new keys for your app, or consider \
         using certificate credentials for added security."
    );
    let mut error_answer = ErrorAnswer::new(DENIED, "invalid_client", 7_000_222, text);
    error_answer.secret_index = Some(secret_index);
    error_answer
}

pub(crate) fn resource_on_v2() -> ErrorAnswer {
    let text = "The 'resource' request parameter isn't supported.";
    ErrorAnswer::new(BAD, "invalid_request", 901_002, text)
}

pub(crate) fn token_for_itself(client: &str) -> ErrorAnswer {
    let text = format!(
        "Application '{client}'({client}) is requesting a token for itself. This scenario is supported only if resource is \
         specified using the GUID based App Identifier."
    );
    ErrorAnswer::new(BAD, "invalid_request", 90_009, text)
}

pub(crate) fn scope_without_default(scope: &str) -> ErrorAnswer {
    let text = format!(
        "The provided value for scope {scope} is not valid. Client credential flows must have a scope value with \
         /.default suffixed to the resource identifier (application ID URI)."
    );
    ErrorAnswer::new(BAD, "invalid_scope", 1_002_012, text)
}

pub(crate) fn several_resources(scope: &str) -> ErrorAnswer {
    let text = format!(
        "Provided value for the input parameter scope '{scope}' isn't valid when requesting an access token. Specify a \
         valid scope."
    );
    ErrorAnswer::new(BAD, "invalid_scope", 28_002, text)
}

pub(crate) fn resource_unknown(resource: &str, tenant: &str) -> ErrorAnswer {
    let text = format!(
        "The resource principal named {resource} was not found in the tenant named {tenant}. This can happen if the \
         application has not been installed by the administrator of the tenant or consented to by any user in the \
         tenant. You might have sent your authentication request to the wrong tenant."
    );
    ErrorAnswer::new(BAD, "invalid_resource", 500_011, text)
}

pub(crate) fn public_client() -> ErrorAnswer {
    let text =
        "Client is public so neither 'client_assertion' nor 'client_secret' should be presented.";
    ErrorAnswer::new(DENIED, "invalid_client", 700_025, text)
}
