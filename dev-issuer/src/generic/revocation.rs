//! The revocation endpoint (RFC 7009).

use http::StatusCode;
use jiff::Timestamp;
use serde_json::json;

use super::client_auth::authenticate;
use super::errors::{ErrorAnswer, refuse};
use super::token::form_of;
use crate::answer::Answer;
use crate::issuer::DevIssuer;
use crate::signin::Realm;
use crate::state::Shared;
use crate::token_request::TokenRequest;

/// `POST /generic/revoke`. An unknown token counts as revoked (section 2.2).
pub(crate) fn revoke(shared: &Shared, token_request: &TokenRequest) -> Answer {
    match take_back(shared, token_request) {
        Ok(()) => Answer::json(StatusCode::OK, &json!({})),
        Err(error_answer) => error_answer.into_answer(token_request),
    }
}

fn take_back(shared: &Shared, token_request: &TokenRequest) -> Result<(), ErrorAnswer> {
    let form = form_of(token_request)?;
    let config = shared.config();
    let caller = authenticate(shared, token_request, &config, Timestamp::now())?;
    let token = form
        .get("token")
        .ok_or_else(|| refuse("invalid_request", "token is missing"))?;
    // Section 2.1: only a token of the client to which it was issued.
    let own = |client: Option<&str>| {
        let text = "the token was issued to another client";
        let own = client == Some(caller.client.id.as_str());
        own.then_some(())
            .ok_or_else(|| refuse("invalid_grant", text))
    };
    if let Some(standing) = shared.refresh_tokens.consented(token) {
        if standing.realm == Realm::Generic {
            own(Some(&standing.client_id))?;
            shared.refresh_tokens.revoke_family(token);
        }
    } else if let Ok(claims) = shared.validate_with(&config, token, None)
        && claims.iss == shared.generic_issuer()
    {
        own(claims.client())?;
        if let Some(id) = claims.token_id() {
            shared.revoke_token(id);
        }
    }
    Ok(())
}

impl DevIssuer {
    /// Whether this access token was revoked, by its `jti`.
    pub fn is_revoked(&self, token_id: &str) -> bool {
        self.shared.is_revoked(token_id)
    }
}
