//! Errors in the form of Microsoft Graph.
//! <https://learn.microsoft.com/graph/errors>

use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde_json::json;

use crate::answer::{Answer, Notes};
use crate::ids::{guid, is_guid};

/// Why a call is refused.
pub(super) struct ErrorAnswer {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl ErrorAnswer {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
        }
    }

    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "Request_BadRequest", message)
    }

    pub(super) fn token(message: &str) -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "InvalidAuthenticationToken",
            message,
        )
    }

    pub(super) fn no_application() -> Self {
        let message = "Resource does not exist or one of its queried reference-property objects are not present.";
        Self::new(StatusCode::NOT_FOUND, "Request_ResourceNotFound", message)
    }

    pub(super) fn denied() -> Self {
        let message = "Insufficient privileges to complete the operation.";
        Self::new(
            StatusCode::FORBIDDEN,
            "Authorization_RequestDenied",
            message,
        )
    }

    /// The same for each fault of a proof.
    pub(super) fn proof() -> Self {
        let message = "Access Token missing or malformed.";
        Self::new(
            StatusCode::UNAUTHORIZED,
            "Authentication_MissingOrMalformed",
            message,
        )
    }

    pub(super) fn concurrent() -> Self {
        let message = "Directory_ConcurrencyViolation";
        Self::new(
            StatusCode::CONFLICT,
            "Directory_ConcurrencyViolation",
            message,
        )
    }

    pub(super) fn not_yet() -> Self {
        let message = "An internal error occurred.";
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "InternalServerError",
            message,
        )
    }

    pub(super) fn into_answer(self, request_id: &str) -> Answer {
        answer(self.status, self.code, &self.message, request_id)
    }
}

/// The caller's `client-request-id`, if it is a GUID.
pub(super) fn request_id(headers: &HeaderMap) -> String {
    let sent = headers
        .get("client-request-id")
        .and_then(|v| v.to_str().ok());
    sent.filter(|id| is_guid(id))
        .map_or_else(guid, str::to_owned)
}

fn answer(status: StatusCode, code: &str, message: &str, request_id: &str) -> Answer {
    let inner = json!({
        "date": Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S").to_string(),
        "request-id": guid(),
        "client-request-id": request_id,
    });
    let body = json!({ "error": { "code": code, "message": message, "innerError": inner } });
    Answer::json(status, &body).noted(Notes {
        error: Some(code.to_owned()),
        ..Notes::default()
    })
}

/// The scripted 429 with the body that Graph sends.
pub(super) fn throttled(plain: Answer) -> Answer {
    let mut answer = answer(
        plain.status,
        "TooManyRequests",
        "Too Many Requests",
        &guid(),
    );
    answer.headers.extend(plain.headers);
    answer
}

/// An error of the server after the call took effect.
pub(super) fn broken(status: u16) -> Answer {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer(status, "UnknownError", "", &guid())
}
