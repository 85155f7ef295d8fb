//! Exchanges one token for another (RFC 8693). The subject's token must be of this issuer or of a trusted one.

use jiff::Timestamp;

use super::assertion::trusted;
use super::client_auth::{Authenticated, authenticate};
use super::errors::{ErrorAnswer, refuse};
use super::token::{Granted, Whose, for_client};
use crate::assertion::Assertion;
use crate::config::{Client, Config};
use crate::form::Form;
use crate::state::Shared;
use crate::token_request::TokenRequest;

/// Token types of section 3.
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";

/// The subject, and the maximum scope.
struct Subject {
    name: String,
    scope: Option<String>,
}

pub(super) fn grant(
    shared: &Shared,
    token_request: &TokenRequest,
    form: &Form,
) -> Result<Granted, ErrorAnswer> {
    let config = shared.config();
    let now = Timestamp::now();
    if let Some(client) = pool(token_request, form, &config) {
        return keyless(shared, form, &config, client);
    }
    let caller = authenticate(shared, token_request, &config, now)?;
    if !caller.confidential {
        let text = "a public client cannot exchange tokens";
        return Err(refuse("unauthorized_client", text));
    }
    let token = required(form, "subject_token")?;
    let kind = required(form, "subject_token_type")?;
    if ![ACCESS_TOKEN, JWT, ID_TOKEN].contains(&kind) {
        return Err(invalid("subject tokens of this type are not taken"));
    }
    let issued_token_type = match form.get("requested_token_type") {
        None | Some(ACCESS_TOKEN) => ACCESS_TOKEN,
        Some(JWT) => JWT,
        Some(_) => return Err(invalid("tokens of the requested type are not issued")),
    };
    if form.get("actor_token").is_some() || form.get("actor_token_type").is_some() {
        return Err(invalid("actor tokens are not taken"));
    }
    // Section 2.2.2: that is the error for a subject token that is not accepted.
    let subject = subject(shared, &config, (token, &caller.client.id), now.as_second())
        .ok_or_else(|| invalid("the subject token is not accepted"))?;
    if let (Some(requested), Some(had)) = (form.get("scope"), &subject.scope)
        && !requested
            .split(' ')
            .all(|part| had.split(' ').any(|h| h == part))
    {
        let text = "more than the subject token permits";
        return Err(refuse("invalid_scope", text));
    }
    let whose = Whose {
        subject: &subject.name,
        scope: None,
    };
    let granted = for_client(shared, &config, &caller, form, &whose)?;
    Ok(Granted {
        issued_token_type: Some(issued_token_type),
        ..granted
    })
}

/// The pool of an exchange without a client, as at Google's STS.
fn pool<'c>(token_request: &TokenRequest, form: &Form, config: &'c Config) -> Option<&'c Client> {
    let wanted = form
        .get("audience")
        .filter(|_| token_request.basic.is_none() && token_request.client_id().is_none())?;
    let mut clients = config.clients.iter();
    clients.find(|client| client.workload_pool.as_deref() == Some(wanted))
}

/// Exchanges a token of a workload for a federated one. Google returns it for its scope `cloud-platform` or another requested one.
fn keyless(
    shared: &Shared,
    form: &Form,
    config: &Config,
    client: &Client,
) -> Result<Granted, ErrorAnswer> {
    let token = required(form, "subject_token")?;
    let scope = required(form, "scope")?;
    if required(form, "subject_token_type")? != JWT {
        return Err(invalid("subject tokens of this type are not taken"));
    }
    let pool = client.workload_pool.as_deref().unwrap_or_default();
    let now = Timestamp::now().as_second();
    let subject = subject(shared, config, (token, pool), now)
        .ok_or_else(|| refuse("invalid_grant", "the token is not of this provider"))?;
    let whose = Whose {
        subject: &subject.name,
        scope: Some(scope),
    };
    let caller = Authenticated::by_itself(client);
    let granted = for_client(shared, config, &caller, &Form::default(), &whose)?;
    Ok(Granted {
        issued_token_type: Some(ACCESS_TOKEN),
        ..granted
    })
}

fn invalid(text: &str) -> ErrorAnswer {
    refuse("invalid_request", text)
}

fn required<'f>(form: &'f Form, name: &str) -> Result<&'f str, ErrorAnswer> {
    form.get(name)
        .ok_or_else(|| invalid(&format!("{name} is missing")))
}

fn subject(
    shared: &Shared,
    config: &Config,
    (token, client): (&str, &str),
    now: i64,
) -> Option<Subject> {
    if let Ok(claims) = shared.validate_with(config, token, None) {
        let name = claims.sub;
        let scope = claims.scope.or(claims.scp);
        return Some(Subject { name, scope });
    }
    let assertion = Assertion::read(token).ok()?;
    trusted(config, &assertion, now).ok()?;
    let issuer = shared.generic_issuer();
    let ours = [format!("{issuer}/token"), issuer, client.to_owned()];
    assertion.check_audience(&ours).ok()?;
    let name = assertion.claim("sub")?.to_owned();
    Some(Subject { name, scope: None })
}
