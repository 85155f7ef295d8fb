//! The refresh token grant. A refresh token stays valid: it may be needed again after a lost answer, and may be used for any API
//! to which the user consented for this client. At v2 the answer contains a new refresh token only if `offline_access` was
//! requested (v2-oauth2-auth-code-flow, "Refresh the access token").
//! <https://learn.microsoft.com/entra/identity-platform/refresh-tokens>

use jiff::Timestamp;

use super::Version;
use super::client_auth::authenticate;
use super::client_credentials::Granted;
use super::errors::{self, ErrorAnswer};
use super::user_grant::{Agreed, issue_silently};
use super::user_scope::from_form;
use crate::config::{Config, RefreshPolicy, Tenant};
use crate::form::Form;
use crate::signin::Realm;
use crate::state::Shared;
use crate::token_request::TokenRequest;

pub(super) fn grant(
    shared: &Shared,
    config: &Config,
    tenant: &Tenant,
    (token_request, form, version): (&TokenRequest, &Form, Version),
) -> Result<Granted, ErrorAnswer> {
    let token = form
        .get("refresh_token")
        .ok_or_else(|| errors::missing("refresh_token"))?;
    let now = Timestamp::now();
    let caller = authenticate(shared, token_request, config, tenant, now)?;
    let realm = Realm::Entra(tenant.id.clone());
    let client = (&realm, caller.client.id.as_str());
    let rule = (RefreshPolicy::Reissue, now);
    // v1 issues for the API of the sign-in. v2 takes a request without an API for one for the application itself
    // (AzureAD/microsoft-authentication-library-for-js#5198).
    let names_no_api = form.get("scope").is_none() && form.get("resource").is_none();
    if names_no_api && version == Version::V2 {
        return Err(errors::token_for_itself(&caller.client.id));
    }
    let redeemed = shared
        .refresh_tokens
        .redeem(token, client, rule, |standing| {
            let requested = if names_no_api {
                standing.scope.clone()
            } else {
                from_form(form, version)?
            };
            // It concerns the refresh token, not the API.
            let scope: Vec<&str> = requested
                .split(' ')
                .filter(|part| *part != "offline_access")
                .collect();
            let agreed = Agreed {
                user: &standing.user,
                scope: &scope.join(" "),
                nonce: None,
                claims: standing.claims.as_deref(),
            };
            issue_silently(shared, config, tenant, &caller, (&agreed, &standing.scope))
        });
    let (granted, next) = redeemed?;
    let offline = |scope: &str| scope.split(' ').any(|part| part == "offline_access");
    let renewed = match version {
        Version::V1 => true,
        Version::V2 => form.get("scope").is_some_and(offline),
    };
    Ok(Granted {
        refresh_token: next.filter(|_| renewed),
        ..granted
    })
}
