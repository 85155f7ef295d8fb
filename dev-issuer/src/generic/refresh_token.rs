//! The refresh token grant (RFC 6749 section 6). The client's policy determines whether the token rotates.

use jiff::Timestamp;

use super::client_auth::authenticate;
use super::errors::{ErrorAnswer, refuse};
use super::token::Granted;
use super::user_grant::{Agreed, issue};
use crate::form::Form;
use crate::refresh::BadRefresh;
use crate::signin::Realm;
use crate::state::Shared;
use crate::token_request::TokenRequest;

pub(super) fn grant(
    shared: &Shared,
    token_request: &TokenRequest,
    form: &Form,
) -> Result<Granted, ErrorAnswer> {
    let token = form
        .get("refresh_token")
        .ok_or_else(|| refuse("invalid_request", "refresh_token is missing"))?;
    let config = shared.config();
    let now = Timestamp::now();
    let caller = authenticate(shared, token_request, &config, now)?;
    let client = (&Realm::Generic, caller.client.id.as_str());
    let rule = (config.refresh_policy_of(caller.client), now);
    let redeemed = shared
        .refresh_tokens
        .redeem(token, client, rule, |standing| {
            let granted = |part: &str| standing.scope.split(' ').any(|g| g == part);
            let requested = form.get("scope");
            if requested.is_some_and(|requested| !requested.split(' ').all(granted)) {
                return Err(refuse("invalid_scope", "more than was granted at first"));
            }
            let scope: Vec<&str> = requested
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
            if caller.client.offline_sessions
                && requested.is_some_and(|requested| !offline(requested))
            {
                // The issuer finds no session for this audience, as if the session had ended.
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

impl From<BadRefresh> for ErrorAnswer {
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
