//! The refresh token grant (RFC 6749 section 6) with rotation: a token is good once, and one that comes again takes
//! all its successors with it (RFC 9700 section 4.14.2).

use jiff::Timestamp;

use super::client_auth::authenticate;
use super::errors::{Refusal, refuse};
use super::token::Granted;
use super::user_grant::{Agreed, issue};
use crate::ask::Ask;
use crate::form::Form;
use crate::refresh::{BadRefresh, Reuse};
use crate::signin::Realm;
use crate::state::Shared;

pub(super) fn grant(shared: &Shared, ask: &Ask, form: &Form) -> Result<Granted, Refusal> {
    let token = form
        .get("refresh_token")
        .ok_or_else(|| refuse("invalid_request", "refresh_token is missing"))?;
    let config = shared.config();
    let now = Timestamp::now();
    let caller = authenticate(shared, ask, &config, now)?;
    let who = (&Realm::Generic, caller.client.id.as_str());
    let asked = form.get("scope");
    let (standing, next) = shared
        .refresh_tokens
        .redeem(token, who, Reuse::KillsFamily { asked }, now)
        .map_err(|bad| match bad {
            BadRefresh::Unknown => refuse("invalid_grant", "the refresh token is unknown"),
            BadRefresh::Expired => refuse("invalid_grant", "the refresh token has expired"),
            BadRefresh::Used => refuse("invalid_grant", "the refresh token was used before"),
            BadRefresh::Revoked => refuse("invalid_grant", "the refresh token was revoked"),
            BadRefresh::Wider => refuse("invalid_scope", "more than was granted at first"),
        })?;
    let scope: Vec<&str> = asked
        .unwrap_or(&standing.scope)
        .split(' ')
        .filter(|part| *part != "offline_access")
        .collect();
    let scope = scope.join(" ");
    let agreed = Agreed {
        user: &standing.user,
        scope: &scope,
        audience: standing.audience.as_deref(),
        nonce: None,
    };
    let granted = issue(shared, &config, &caller, form, &agreed)?;
    Ok(Granted {
        refresh_token: Some(next),
        ..granted
    })
}
