//! The client of a request to the generic issuer, and its authentication.

use jiff::Timestamp;

use super::assertion;
use super::errors::{ErrorAnswer, refuse};
use crate::claims::Confirmation;
use crate::config::{Client, Config};
use crate::entra::{Found, find};
use crate::mtls;
use crate::state::Shared;
use crate::token_request::TokenRequest;

/// The only type that exists (RFC 7523 section 2.2).
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A client that has authenticated, or that is public.
pub(super) struct Authenticated<'c> {
    pub(super) client: &'c Client,
    /// Which of its secrets was used.
    pub(super) secret_index: Option<usize>,
    /// The key to which its tokens are bound.
    pub(super) confirmation: Option<Confirmation>,
    /// False for a public client, which has no client authentication.
    pub(super) confidential: bool,
}

impl<'c> Authenticated<'c> {
    /// A client that is identified by something other than its own authentication.
    pub(super) fn by_itself(client: &'c Client) -> Self {
        Self {
            client,
            secret_index: None,
            confirmation: None,
            confidential: true,
        }
    }
}

/// With a Basic header, in the body or with a client certificate, never with two of them (RFC 6749 section 2.3). The answers for a wrong ID and
/// for a wrong secret are equal.
pub(super) fn authenticate<'c>(
    shared: &Shared,
    token_request: &TokenRequest,
    config: &'c Config,
    now: Timestamp,
) -> Result<Authenticated<'c>, ErrorAnswer> {
    let wrong = || refuse("invalid_client", "client authentication failed");
    let in_body = token_request.parameter("client_secret");
    if let Some(text) = token_request.parameter("client_assertion") {
        let named = token_request.parameter("client_assertion_type") == Some(JWT_BEARER);
        if in_body.is_some() || token_request.basic.is_some() || !named {
            let text =
                "exactly one client authentication method, and the right client_assertion_type";
            return Err(refuse("invalid_request", text));
        }
        let given = (token_request.parameter("client_id"), text);
        return Ok(Authenticated {
            client: assertion::client(shared, config, given, now.as_second())?,
            secret_index: None,
            confirmation: None,
            confidential: true,
        });
    }
    let (id, secret) = match (&token_request.basic, in_body) {
        (Some(_), Some(_)) => {
            let text = "credentials in the header and in the body";
            return Err(refuse("invalid_request", text));
        }
        (Some(Err(_)), None) => return Err(wrong()),
        (Some(Ok(basic)), None) => (Some(basic.id.as_str()), Some(basic.secret.as_str())),
        (None, secret) => (token_request.client_id(), secret),
    };
    if token_request.client_id() != id {
        return Err(refuse("invalid_request", "two different client ids"));
    }
    let Some(id) = id else {
        return Err(no_authentication());
    };
    let Some(secret) = secret else {
        return without_secret(token_request, config, id);
    };
    let client = config.client(id).ok_or_else(wrong)?;
    let found = match find(&client.secrets, secret, now) {
        Found::Good(index) => Ok(index),
        Found::Expired(index) => Err(Some(index)),
        Found::None => Err(None),
    };
    match found {
        Ok(index) => Ok(Authenticated {
            client,
            secret_index: Some(index),
            confirmation: None,
            confidential: true,
        }),
        Err(secret_index) => Err(ErrorAnswer {
            secret_index,
            ..wrong()
        }),
    }
}

/// RFC 8705 section 2: the client id is in the body, the certificate in the handshake.
fn without_secret<'c>(
    token_request: &TokenRequest,
    config: &'c Config,
    id: &str,
) -> Result<Authenticated<'c>, ErrorAnswer> {
    let client = config.client(id).ok_or_else(no_authentication)?;
    let authenticated = |confirmation: Option<Confirmation>| Authenticated {
        client,
        secret_index: None,
        confidential: confirmation.is_some(),
        confirmation,
    };
    if mtls::method(client).is_some() {
        if token_request.peer.is_empty() {
            let text = "no client certificate was shown; is this the endpoint for mutual TLS?";
            return Err(refuse("invalid_client", text));
        }
        let text = "the client certificate is not the one that is registered";
        return mtls::authenticate(config, client, &token_request.peer)
            .map(|confirmation| authenticated(Some(confirmation)))
            .ok_or_else(|| refuse("invalid_client", text));
    }
    if client.public {
        Ok(authenticated(None))
    } else {
        Err(no_authentication())
    }
}

fn no_authentication() -> ErrorAnswer {
    refuse("invalid_client", "no client authentication included")
}
