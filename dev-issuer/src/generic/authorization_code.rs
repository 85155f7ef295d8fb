//! The authorization code grant (RFC 6749 section 4.1.3, RFC 7636 section 4.6).

use jiff::Timestamp;

use super::client_auth::authenticate;
use super::errors::{ErrorAnswer, refuse};
use super::token::Granted;
use super::user_grant::{Agreed, issue};
use crate::form::Form;
use crate::signin::{BadCode, Realm, verifies};
use crate::state::Shared;
use crate::token_request::TokenRequest;

pub(super) fn grant(
    shared: &Shared,
    token_request: &TokenRequest,
    form: &Form,
) -> Result<Granted, ErrorAnswer> {
    let missing = |name: &str| refuse("invalid_request", format!("{name} is missing"));
    let code = form.get("code").ok_or_else(|| missing("code"))?;
    let redirect_uri = form.get("redirect_uri");
    let redirect_uri = redirect_uri.ok_or_else(|| missing("redirect_uri"))?;
    let config = shared.config();
    let now = Timestamp::now();
    let caller = authenticate(shared, token_request, &config, now)?;
    let invalid = |text: &str| refuse("invalid_grant", text);
    let consent = shared.codes.redeem(code, now).map_err(|bad| match bad {
        BadCode::Unknown => invalid("the code is unknown"),
        BadCode::Expired => invalid("the code has expired"),
        BadCode::Used => invalid("the code was used before"),
    })?;
    if consent.realm != Realm::Generic || consent.client_id != caller.client.id {
        return Err(invalid("the code is unknown"));
    }
    if consent.redirect_uri != redirect_uri {
        return Err(invalid("the redirect_uri is another one than before"));
    }
    match (&consent.challenge, form.get("code_verifier")) {
        (Some(challenge), Some(verifier)) if verifies(verifier, challenge) => {}
        (Some(_), Some(_)) => return Err(invalid("the code_verifier is wrong")),
        (Some(_), None) => return Err(invalid("the code_verifier is missing")),
        // RFC 9700 section 4.8.2: a verifier without a challenge is a sign of an attack.
        (None, Some(_)) => return Err(invalid("there was no code_challenge")),
        (None, None) => {}
    }
    let agreed = Agreed {
        user: &consent.user,
        scope: &consent.scope,
        audience: consent.audience.as_deref(),
        nonce: consent.nonce.as_deref(),
    };
    issue(shared, &config, &caller, form, &agreed)
}
