//! The refresh token grant. A token is not used up: it may be needed again after a lost answer, and may ask for any API
//! that the user agreed to for this client.
//! <https://learn.microsoft.com/entra/identity-platform/refresh-tokens>

use jiff::Timestamp;

use super::client_auth::authenticate;
use super::client_credentials::Granted;
use super::errors::{self, Refusal};
use super::user_errors;
use super::user_grant::{Agreed, issue};
use crate::ask::Ask;
use crate::config::{Config, Tenant};
use crate::form::Form;
use crate::refresh::{BadRefresh, Reuse};
use crate::signin::Realm;
use crate::state::Shared;

pub(super) fn grant(
    shared: &Shared,
    config: &Config,
    tenant: &Tenant,
    (ask, form): (&Ask, &Form),
) -> Result<Granted, Refusal> {
    let token = form
        .get("refresh_token")
        .ok_or_else(|| errors::missing("refresh_token"))?;
    let now = Timestamp::now();
    let caller = authenticate(shared, ask, config, tenant, now)?;
    let realm = Realm::Entra(tenant.id.clone());
    let who = (&realm, caller.client.id.as_str());
    let (standing, next) = shared
        .refresh_tokens
        .redeem(token, who, Reuse::Allowed, now)
        .map_err(|bad| match bad {
            BadRefresh::Unknown | BadRefresh::Used | BadRefresh::Wider => user_errors::bad_grant(),
            BadRefresh::Expired => user_errors::refresh_idle(),
            BadRefresh::Revoked => user_errors::refresh_revoked(),
        })?;
    // What is asked for is without `offline_access` as good as with it: the client has a token already.
    let asked = form.get("scope").unwrap_or(&standing.scope);
    let scope: Vec<&str> = asked
        .split(' ')
        .filter(|s| *s != "offline_access")
        .collect();
    let scope = scope.join(" ");
    let agreed = Agreed {
        user: &standing.user,
        scope: &scope,
        nonce: None,
    };
    let granted = issue(shared, config, tenant, &caller, &agreed)?;
    Ok(Granted {
        refresh_token: Some(next),
        ..granted
    })
}
