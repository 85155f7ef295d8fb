//! The client of a request, and its authentication.

use jiff::Timestamp;

use super::errors::{self, ErrorAnswer};
use super::{assertion, assertion_errors};
use crate::config::{Client, Config, Secret, Tenant};
use crate::state::Shared;
use crate::token_request::TokenRequest;

/// `acr` of a client without client authentication.
pub(super) const PUBLIC: &str = "0";

/// A client that has authenticated, or that is public.
pub(super) struct Authenticated<'c> {
    pub(super) client: &'c Client,
    pub(super) secret_index: Option<usize>,
    /// `appidacr` / `azpacr`: 0 a public client, 1 a secret, 2 a certificate.
    pub(super) acr: &'static str,
}

/// With a secret, in the body or in a Basic header, or with a signed assertion.
pub(super) fn authenticate<'c>(
    shared: &Shared,
    token_request: &TokenRequest,
    config: &'c Config,
    tenant: &Tenant,
    now: Timestamp,
) -> Result<Authenticated<'c>, ErrorAnswer> {
    let in_body = token_request.parameter("client_secret");
    let secret = match (&token_request.basic, in_body) {
        (Some(Ok(basic)), None) if token_request.client_id() == Some(&basic.id) => {
            Some(basic.secret.as_str())
        }
        // A broken header, two IDs, or two methods at once, which RFC 6749 section 2.3 forbids.
        (Some(_), _) => return Err(errors::malformed()),
        (None, secret) => secret,
    };
    let id = token_request
        .client_id()
        .ok_or_else(|| errors::missing("client_id"))?;
    let client = config
        .client(id)
        .filter(|client| client.is_in(tenant))
        .ok_or_else(|| errors::client_unknown(id, &tenant.id))?;
    let secret = secret.filter(|secret| !secret.is_empty());
    let (secrets, certificates) = client.secrets_and_certificates(&shared.replicas.token());
    if let Some(text) = token_request.parameter("client_assertion") {
        if client.public {
            return Err(errors::public_client());
        }
        if secret.is_some() || token_request.basic.is_some() {
            return Err(errors::malformed());
        }
        if token_request.parameter("client_assertion_type") != Some(assertion::JWT_BEARER) {
            return Err(assertion_errors::unknown_type());
        }
        let endpoints = token_request.urls(&shared.origin, &tenant.id);
        let sent = (text, certificates.as_slice());
        assertion::authenticate(shared, config, client, sent, (&endpoints, now.as_second()))?;
        return Ok(Authenticated {
            client,
            secret_index: None,
            acr: "2",
        });
    }
    let secret = match (client.public, secret) {
        (true, Some(_)) => return Err(errors::public_client()),
        (true, None) => {
            return Ok(Authenticated {
                client,
                secret_index: None,
                acr: PUBLIC,
            });
        }
        (false, secret) => secret.ok_or_else(errors::no_credential)?,
    };
    match find(&secrets, secret, now) {
        Found::Good(secret_index) => Ok(Authenticated {
            client,
            secret_index: Some(secret_index),
            acr: "1",
        }),
        Found::Expired(index) => Err(errors::expired_secret(id, index)),
        Found::None => Err(errors::wrong_secret(id)),
    }
}

/// The result of the comparison of a secret.
pub(crate) enum Found {
    /// Valid; its position in the client's list.
    Good(usize),
    /// Expired.
    Expired(usize),
    /// Not one of the client's.
    None,
}

/// Finds a secret. Each comparison takes the full time, so that the time does not show how much was right.
pub(crate) fn find(secrets: &[Secret], value: &str, now: Timestamp) -> Found {
    let mut found = Found::None;
    for (index, secret) in secrets.iter().enumerate() {
        let same = aws_lc_rs::constant_time::verify_slices_are_equal(
            secret.value().as_bytes(),
            value.as_bytes(),
        );
        match (&found, same.is_ok(), secret.is_expired(now)) {
            (Found::None | Found::Expired(_), true, false) => found = Found::Good(index),
            (Found::None, true, true) => found = Found::Expired(index),
            _ => {}
        }
    }
    found
}
