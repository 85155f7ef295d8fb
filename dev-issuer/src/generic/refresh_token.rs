//! The refresh token grant (RFC 6749 section 6). What becomes of the token is the client's policy.

use jiff::Timestamp;

use super::client_auth::authenticate;
use super::errors::{Refusal, refuse};
use super::token::Granted;
use super::user_grant::{Agreed, issue};
use crate::ask::Ask;
use crate::form::Form;
use crate::refresh::BadRefresh;
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
    let rule = (config.refresh_policy_of(caller.client), now);
    let redeemed = shared.refresh_tokens.redeem(token, who, rule, |standing| {
        let granted = |part: &str| standing.scope.split(' ').any(|g| g == part);
        let asked = form.get("scope");
        if asked.is_some_and(|asked| !asked.split(' ').all(granted)) {
            return Err(refuse("invalid_scope", "more than was granted at first"));
        }
        let scope: Vec<&str> = asked
            .unwrap_or(&standing.scope)
            .split(' ')
            .filter(|part| *part != "offline_access")
            .collect();
        let agreed = Agreed {
            user: &standing.user,
            scope: &scope.join(" "),
            audience: standing.audience.as_deref(),
            nonce: None,
        };
        let mut granted = issue(shared, &config, &caller, form, &agreed)?;
        let offline = |scope: &str| scope.split(' ').any(|part| part == "offline_access");
        if caller.client.offline_sessions && asked.is_some_and(|asked| !offline(asked)) {
            // Whoever looks the session up finds none.
            "ended-session".clone_into(&mut granted.claims.aud);
        }
        Ok(granted)
    });
    let (granted, next) = redeemed?;
    Ok(Granted {
        refresh_token: next,
        ..granted
    })
}

impl From<BadRefresh> for Refusal {
    fn from(bad: BadRefresh) -> Self {
        let text = match bad {
            BadRefresh::Unknown => "the refresh token is unknown",
            BadRefresh::Expired => "the refresh token has expired",
            BadRefresh::Used => "the refresh token was used before",
            BadRefresh::Revoked => "the refresh token was revoked",
        };
        refuse("invalid_grant", text)
    }
}
