//! The revocation endpoint (RFC 7009).

use http::StatusCode;
use jiff::Timestamp;
use serde_json::json;

use super::client_auth::authenticate;
use super::errors::refuse;
use super::token::form_of;
use crate::answer::{Answer, Notes};
use crate::ask::Ask;
use crate::issuer::DevIssuer;
use crate::state::Shared;

/// A token that nobody knows is as good as revoked (section 2.2).
pub(crate) fn revoke(shared: &Shared, ask: &Ask) -> Answer {
    let judged = form_of(ask).and_then(|form| {
        let config = shared.config();
        authenticate(shared, ask, &config, Timestamp::now())?;
        form.get("token")
            .ok_or_else(|| refuse("invalid_request", "token is missing"))
            .map(str::to_owned)
    });
    match judged {
        Ok(token) => {
            if let Ok(claims) = shared.validate(&token, None)
                && let Some(id) = claims.token_id()
            {
                shared.revoke_token(id);
            }
            shared.refresh_tokens.revoke_family(&token);
            Answer::json(StatusCode::OK, &json!({})).noted(Notes::default())
        }
        Err(refusal) => refusal.into_answer(ask),
    }
}

impl DevIssuer {
    /// Was this access token revoked?
    pub fn is_revoked(&self, token_id: &str) -> bool {
        self.shared.is_revoked(token_id)
    }

    /// Can this refresh token still be used?
    pub fn is_alive(&self, refresh_token: &str) -> bool {
        self.shared.refresh_tokens.is_alive(refresh_token)
    }
}
