//! Errors about a user: codes, consent, refresh tokens.
//! Numbers and texts: <https://learn.microsoft.com/entra/identity-platform/reference-error-codes>

use super::errors::{BAD, ErrorAnswer};
use crate::refresh::BadRefresh;

/// The text begins with its number: it may also be a part of a redirect URL.
pub(crate) fn user_scope(text: String) -> ErrorAnswer {
    let split = text.strip_prefix("AADSTS").and_then(|t| t.split_once(": "));
    match split.and_then(|(code, text)| Some((code.parse().ok()?, text))) {
        Some((code, text)) => ErrorAnswer::new(BAD, "invalid_scope", code, text),
        None => ErrorAnswer::new(BAD, "invalid_scope", 70_011, text),
    }
}

pub(crate) fn user_unknown(user: &str, tenant: &str) -> ErrorAnswer {
    let text = format!("The user account {user} does not exist in the {tenant} directory.");
    ErrorAnswer::new(BAD, "invalid_grant", 50_034, text)
}

pub(crate) fn no_consent(client: &str) -> ErrorAnswer {
    let text = format!(
        "The user or administrator has not consented to use the application with ID '{client}'. Send an interactive \
         authorization request for this user and resource."
    );
    ErrorAnswer::new(BAD, "invalid_grant", 65_001, text).suberror("consent_required")
}

fn invalid_grant(code: u32, text: impl Into<String>) -> ErrorAnswer {
    ErrorAnswer::new(BAD, "invalid_grant", code, text)
}

pub(crate) fn bad_grant() -> ErrorAnswer {
    invalid_grant(70_000, "Provided grant is invalid or malformed.")
}

pub(crate) fn code_expired() -> ErrorAnswer {
    let text = "The provided authorization code or refresh token has expired due to inactivity.";
    invalid_grant(70_008, text)
}

pub(crate) fn code_used() -> ErrorAnswer {
    let text = "OAuth2 Authorization code was already redeemed, please retry with a new valid code or use an existing \
                refresh token.";
    invalid_grant(54_005, text)
}

pub(crate) fn other_redirect(redirect_uri: &str) -> ErrorAnswer {
    let text = format!(
        "The reply address '{redirect_uri}' does not match the reply address provided when requesting Authorization \
         code."
    );
    invalid_grant(500_112, text)
}

pub(crate) fn wrong_verifier() -> ErrorAnswer {
    let text = "The Code_Verifier does not match the code_challenge supplied in the authorization request.";
    invalid_grant(501_481, text)
}

impl From<BadRefresh> for ErrorAnswer {
    fn from(bad: BadRefresh) -> Self {
        match bad {
            BadRefresh::Unknown | BadRefresh::Used => bad_grant(),
            BadRefresh::Expired => {
                let text = "The refresh token has expired due to inactivity.";
                invalid_grant(700_082, text).suberror("bad_token")
            }
            BadRefresh::Revoked => {
                let text = "The provided grant has expired due to it being revoked, a fresh auth token is needed.";
                invalid_grant(50_173, text).suberror("bad_token")
            }
        }
    }
}

pub(crate) fn wrong_password() -> ErrorAnswer {
    invalid_grant(
        50_126,
        "Error validating credentials due to invalid username or password.",
    )
}

pub(crate) fn device_pending() -> ErrorAnswer {
    let text = "OAuth 2.0 device flow error. Authorization is pending. Continue polling.";
    ErrorAnswer::new(BAD, "authorization_pending", 70_016, text)
}

pub(crate) fn device_declined() -> ErrorAnswer {
    let text = "The end user denied the authorization request.";
    ErrorAnswer::new(BAD, "authorization_declined", 70_017, text)
}

pub(crate) fn device_unknown() -> ErrorAnswer {
    let text = "The verification code is unknown.";
    ErrorAnswer::new(BAD, "bad_verification_code", 70_018, text)
}

pub(crate) fn device_expired() -> ErrorAnswer {
    let text = "The device code has expired.";
    ErrorAnswer::new(BAD, "expired_token", 70_019, text)
}
