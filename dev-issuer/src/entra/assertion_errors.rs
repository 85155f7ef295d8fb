//! Errors of an assertion that a client signed, or of the token that it sent instead.
//! Numbers: <https://learn.microsoft.com/entra/identity-platform/reference-error-codes>; 700021 and 700023 are as reported from
//! the real service.

use super::errors::{BAD, ErrorAnswer};

fn denied(code: u32, text: impl Into<String>) -> ErrorAnswer {
    ErrorAnswer::new(401, "invalid_client", code, text)
}

pub(super) fn malformed() -> ErrorAnswer {
    denied(50_027, "JWT token is invalid or malformed.")
}

pub(super) fn replayed() -> ErrorAnswer {
    denied(50_027, "JWT token is invalid: its id was used before.")
}

pub(super) fn unknown_type() -> ErrorAnswer {
    let text = "The value of the parameter 'client_assertion_type' is missing or not supported.";
    ErrorAnswer::new(BAD, "invalid_request", 90_023, text)
}

pub(super) fn not_the_client(client: &str) -> ErrorAnswer {
    let text = format!(
        "Client assertion application identifier doesn't match 'client_id' parameter '{client}', and the application has \
         no federated credential for it."
    );
    denied(700_021, text)
}

pub(super) fn wrong_audience() -> ErrorAnswer {
    let text = "Client assertion audience claim does not match Realm issuer.";
    denied(700_023, text)
}

pub(super) fn out_of_time() -> ErrorAnswer {
    let text = "Client assertion is not within its valid time range.";
    denied(700_024, text)
}

pub(super) fn bad_signature(client: &str, reason: &str) -> ErrorAnswer {
    let text = format!(
        "The certificate with identifier used to sign the client assertion is not registered on application \
         '{client}', or the signature is invalid. [Reason - {reason}]"
    );
    denied(700_027, text)
}

pub(super) fn subject_not_allowed() -> ErrorAnswer {
    let text = "Invalid certificate: its subject or issuer is not authorized for the application.";
    denied(700_030, text)
}

pub(super) fn no_federated_record(code: u32, what: &str, value: &str) -> ErrorAnswer {
    let case = if code == 7_002_138 {
        " The values differ in case only; they are compared case-sensitively."
    } else {
        ""
    };
    let text = format!(
        "No matching federated identity record found for presented assertion {what} '{value}'.{case}"
    );
    ErrorAnswer::new(BAD, "invalid_request", code, text)
}

/// <https://learn.microsoft.com/answers/questions/2139753>
pub(super) fn of_another_tenant(issuer: &str) -> ErrorAnswer {
    let text = format!(
        "Entra ID tokens issued by issuer '{issuer}' may not be used for federated identity credential flows for applications or \
         managed identities registered in this tenant."
    );
    denied(700_236, text)
}

pub(super) fn of_an_application() -> ErrorAnswer {
    denied(
        700_222,
        "AAD-issued tokens may not be used for federated identity flows.",
    )
}

pub(super) fn issuer_unreachable(issuer: &str) -> ErrorAnswer {
    let text = format!("Request to External OIDC endpoint '{issuer}' failed.");
    ErrorAnswer::new(BAD, "invalid_request", 90_061, text)
}
