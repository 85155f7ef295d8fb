//! Resource owner password credentials. <https://learn.microsoft.com/entra/identity-platform/v2-oauth-ropc>

use jiff::Timestamp;

use super::Version;
use super::client_auth::authenticate;
use super::client_credentials::Granted;
use super::errors::{self, ErrorAnswer};
use super::user_grant::{Agreed, issue_silently};
use super::user_scope::from_form;
use super::{policy, user_errors};
use crate::config::{Config, Tenant};
use crate::form::Form;
use crate::state::Shared;
use crate::token_request::TokenRequest;

pub(super) fn grant(
    shared: &Shared,
    config: &Config,
    tenant: &Tenant,
    (token_request, form, version): (&TokenRequest, &Form, Version),
) -> Result<Granted, ErrorAnswer> {
    let required = |name: &'static str| form.get(name).ok_or_else(|| errors::missing(name));
    let (name, password) = (required("username")?, required("password")?);
    let scope = from_form(form, version)?;
    let caller = authenticate(shared, token_request, config, tenant, Timestamp::now())?;
    if config.user(name).is_none() {
        return Err(user_errors::user_unknown(name, &tenant.id));
    }
    let user = config
        .user_with(name, password)
        .ok_or_else(user_errors::wrong_password)?;
    if user.needs_mfa {
        return Err(policy::error_answer(50_076));
    }
    let agreed = Agreed {
        user: &user.name,
        scope: &scope,
        nonce: None,
        claims: None,
    };
    issue_silently(shared, config, tenant, &caller, (&agreed, ""))
}
