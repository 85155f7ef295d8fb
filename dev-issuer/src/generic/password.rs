//! The password grant (RFC 6749 section 4.3), which no new client should use.

use jiff::Timestamp;

use super::client_auth::authenticate;
use super::errors::{ErrorAnswer, refuse};
use super::target::check_scope;
use super::token::Granted;
use super::user_grant::{Agreed, issue};
use crate::form::Form;
use crate::state::Shared;
use crate::token_request::TokenRequest;

pub(super) fn grant(
    shared: &Shared,
    token_request: &TokenRequest,
    form: &Form,
) -> Result<Granted, ErrorAnswer> {
    let config = shared.config();
    let required = |name: &str| {
        let missing = || refuse("invalid_request", format!("{name} is missing"));
        form.get(name).ok_or_else(missing)
    };
    let (name, password) = (required("username")?, required("password")?);
    let caller = authenticate(shared, token_request, &config, Timestamp::now())?;
    let scope = form.get("scope");
    check_scope(&config, caller.client, scope).map_err(|text| refuse("invalid_scope", text))?;
    let user = config
        .user_with(name, password)
        .ok_or_else(|| refuse("invalid_grant", "the user or the password is wrong"))?;
    if user.needs_mfa {
        // The value that Auth0 returns.
        return Err(refuse("mfa_required", "a second factor is needed").forbidden());
    }
    let agreed = Agreed {
        user: &user.name,
        scope: scope.unwrap_or_default(),
        audience: None,
        nonce: None,
    };
    issue(shared, &config, &caller, form, &agreed)
}
