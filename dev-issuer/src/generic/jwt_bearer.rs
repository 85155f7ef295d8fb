//! An assertion as a grant (RFC 7523 section 2.1): signed by the client itself, as Google's service accounts do it, or
//! by a trusted issuer.
//! <https://developers.google.com/identity/protocols/oauth2/service-account>

use jiff::Timestamp;

use super::assertion::{ALGORITHMS, description, trusted};
use super::client_auth::{Authenticated, authenticate};
use super::errors::{ErrorAnswer, refuse};
use super::target::known_scope;
use super::token::{Granted, Whose, for_client};
use crate::assertion::{Assertion, Bad, key_of};
use crate::config::{Client, Config};
use crate::form::Form;
use crate::state::Shared;
use crate::token_request::TokenRequest;

/// Google's limit.
const LONGEST: i64 = 3600;

pub(super) fn grant(
    shared: &Shared,
    token_request: &TokenRequest,
    form: &Form,
) -> Result<Granted, ErrorAnswer> {
    let config = shared.config();
    let now = Timestamp::now();
    let text = form
        .get("assertion")
        .ok_or_else(|| refuse("invalid_request", "assertion is missing"))?;
    let assertion = Assertion::read(text).map_err(wrong)?;
    let issuer = assertion
        .claim("iss")
        .ok_or_else(|| wrong(Bad::Malformed))?;
    if config.trusted.iter().any(|t| t.issuer == issuer) {
        return of_another(shared, &config, (token_request, form), &assertion, now);
    }
    let signer = config.client(issuer).filter(|client| client.jwks.is_some());
    let client = signer.ok_or_else(|| wrong(Bad::UnknownKey))?;
    of_itself(shared, &config, (client, form), &assertion, now.as_second())
}

fn wrong(bad: Bad) -> ErrorAnswer {
    refuse("invalid_grant", description(bad))
}

/// Only the signature authenticates the client. The assertion contains the scopes, and the user if it is not the client itself.
fn of_itself(
    shared: &Shared,
    config: &Config,
    (client, form): (&Client, &Form),
    assertion: &Assertion<'_>,
    now: i64,
) -> Result<Granted, ErrorAnswer> {
    verify(shared, client, assertion, now).map_err(wrong)?;
    let scope = assertion.claim("scope").filter(|scope| !scope.is_empty());
    let scope = scope.ok_or_else(|| refuse("invalid_scope", "the assertion names no scope"))?;
    known_scope(config, scope)?;
    let user =
        match assertion.claim("sub").filter(|sub| *sub != client.id) {
            Some(name) => Some(config.user(name).filter(|_| client.delegation).ok_or_else(
                || {
                    let text = "the client may not speak for this user";
                    refuse("unauthorized_client", text)
                },
            )?),
            None => None,
        };
    let caller = Authenticated {
        client,
        secret_index: None,
        confirmation: None,
        confidential: true,
    };
    let subject = user.map_or_else(|| client.id.clone(), crate::users::User::object_id);
    let whose = Whose {
        subject: &subject,
        scope: Some(scope),
    };
    let mut granted = for_client(shared, config, &caller, form, &whose)?;
    granted.claims.preferred_username = user.map(|user| user.name.clone());
    Ok(granted)
}

fn verify(
    shared: &Shared,
    client: &Client,
    assertion: &Assertion<'_>,
    now: i64,
) -> Result<(), Bad> {
    assertion.header.kid.as_ref().ok_or(Bad::UnknownKey)?;
    let jwks = client.jwks.as_ref().ok_or(Bad::UnknownKey)?;
    let key = key_of(jwks, &assertion.header)?;
    assertion.verify(&key, &ALGORITHMS)?;
    assertion.check_times(now)?;
    assertion.check_length(LONGEST)?;
    assertion.check_audience(&[format!("{}/token", shared.generic_issuer())])?;
    shared.replays.if_named(assertion, now)
}

/// The client authenticates as always; the assertion names the subject, and may be sent again.
fn of_another(
    shared: &Shared,
    config: &Config,
    (token_request, form): (&TokenRequest, &Form),
    assertion: &Assertion<'_>,
    now: Timestamp,
) -> Result<Granted, ErrorAnswer> {
    let caller = authenticate(shared, token_request, config, now)?;
    trusted(config, assertion, now.as_second()).map_err(wrong)?;
    let issuer = shared.generic_issuer();
    let ours = [format!("{issuer}/token"), issuer];
    assertion.check_audience(&ours).map_err(wrong)?;
    let subject = assertion
        .claim("sub")
        .ok_or_else(|| wrong(Bad::Malformed))?;
    let whose = Whose {
        subject,
        scope: None,
    };
    for_client(shared, config, &caller, form, &whose)
}
