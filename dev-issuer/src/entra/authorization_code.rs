//! The authorization code grant: a user signed in, and the client requests the token.
//! <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-auth-code-flow>

use jiff::Timestamp;

use super::client_auth::authenticate;
use super::client_credentials::Granted;
use super::errors::{self, ErrorAnswer};
use super::user_errors;
use super::user_grant::{Agreed, issue};
use crate::config::{Config, Tenant};
use crate::form::Form;
use crate::signin::{BadCode, Realm, verifies};
use crate::state::Shared;
use crate::token_request::TokenRequest;

pub(super) fn grant(
    shared: &Shared,
    config: &Config,
    tenant: &Tenant,
    (token_request, form): (&TokenRequest, &Form),
) -> Result<Granted, ErrorAnswer> {
    let code = form.get("code").ok_or_else(|| errors::missing("code"))?;
    let redirect_uri = form
        .get("redirect_uri")
        .ok_or_else(|| errors::missing("redirect_uri"))?;
    let now = Timestamp::now();
    let caller = authenticate(shared, token_request, config, tenant, now)?;
    let consent = shared.codes.redeem(code, now).map_err(|bad| match bad {
        BadCode::Unknown => user_errors::bad_grant(),
        BadCode::Expired => user_errors::code_expired(),
        BadCode::Used => user_errors::code_used(),
    })?;
    if consent.realm != Realm::Entra(tenant.id.clone()) || consent.client_id != caller.client.id {
        return Err(user_errors::bad_grant());
    }
    if consent.redirect_uri != redirect_uri {
        return Err(user_errors::other_redirect(redirect_uri));
    }
    let verifier = form.get("code_verifier");
    let verified = match (&consent.challenge, verifier) {
        (Some(challenge), Some(verifier)) => verifies(verifier, challenge),
        (None, None) => true,
        // RFC 9700 section 4.8.2: a verifier without a challenge is a sign of an attack.
        _ => false,
    };
    if !verified {
        return Err(user_errors::wrong_verifier());
    }
    let agreed = Agreed {
        user: &consent.user,
        scope: &consent.scope,
        nonce: consent.nonce.as_deref(),
        claims: consent.claims.as_deref(),
    };
    issue(shared, config, tenant, &caller, &agreed)
}
