//! The grants that other issuers know: an assertion (RFC 7523 section 2.1), an exchange (RFC 8693), a password
//! (RFC 6749 section 4.3).

use jiff::Timestamp;

use super::assertion;
use super::client_auth::{Authenticated, authenticate};
use super::errors::{Refusal, refuse};
use super::token::{Granted, Whose, for_client};
use super::user_grant::{Agreed, issue};
use crate::ask::Ask;
use crate::assertion::{Assertion, key_of};
use crate::form::Form;
use crate::state::Shared;

/// Token types of RFC 8693 section 3.
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

fn required<'f>(form: &'f Form, name: &str) -> Result<&'f str, Refusal> {
    form.get(name)
        .ok_or_else(|| refuse("invalid_request", format!("{name} is missing")))
}

/// The signer asks for itself; scopes may stand inside the assertion, as Google has it, and the client is not proved
/// in another way.
pub(super) fn jwt_bearer(shared: &Shared, form: &Form) -> Result<Granted, Refusal> {
    let config = shared.config();
    let now = Timestamp::now();
    let text = required(form, "assertion")?;
    let (client, signed) = assertion::granting(shared, &config, text, now.as_second())?;
    let caller = Authenticated {
        client,
        secret_index: None,
        confirmation: None,
        proved: true,
    };
    let whose = Whose {
        subject: signed.claim("sub").unwrap_or(&client.id),
        scope: signed.claim("scope"),
    };
    for_client(shared, &config, &caller, form, &whose)
}

/// One token into another. The subject's must be of this issuer or of one that it trusts.
pub(super) fn token_exchange(shared: &Shared, ask: &Ask, form: &Form) -> Result<Granted, Refusal> {
    let config = shared.config();
    let now = Timestamp::now();
    let caller = authenticate(shared, ask, &config, now)?;
    let (token, kind) = (
        required(form, "subject_token")?,
        required(form, "subject_token_type")?,
    );
    if ![ACCESS_TOKEN, JWT].contains(&kind) {
        return Err(refuse("invalid_request", "the subject token type is not taken"));
    }
    let wanted = form.get("requested_token_type");
    if wanted.is_some_and(|w| ![ACCESS_TOKEN, JWT].contains(&w)) {
        return Err(refuse("invalid_request", "the requested token type is not given"));
    }
    if form.get("actor_token").is_some() != form.get("actor_token_type").is_some() {
        return Err(refuse("invalid_request", "an actor token and its type go together"));
    }
    let subject = subject(shared, &config, token, now.as_second())
        .ok_or_else(|| refuse("invalid_grant", "the subject token is not accepted"))?;
    let whose = Whose {
        subject: &subject,
        scope: None,
    };
    let granted = for_client(shared, &config, &caller, form, &whose)?;
    Ok(Granted {
        issued_token_type: Some(ACCESS_TOKEN),
        ..granted
    })
}

fn subject(
    shared: &Shared,
    config: &crate::config::Config,
    token: &str,
    now: i64,
) -> Option<String> {
    if let Ok(claims) = shared.validate_with(config, token, None) {
        return Some(claims.sub);
    }
    let assertion = Assertion::read(token).ok()?;
    let issuer = assertion.claim("iss")?;
    let trusted = config.trusted.iter().find(|t| t.issuer == issuer)?;
    let key = key_of(&trusted.jwks, &assertion.header).ok()?;
    assertion
        .verify(&key, &[jsonwebtoken::Algorithm::RS256])
        .ok()?;
    assertion.check_times(now).ok()?;
    assertion.check_audience(&[shared.generic_issuer()]).ok()?;
    assertion.claim("sub").map(str::to_owned)
}

pub(super) fn password(shared: &Shared, ask: &Ask, form: &Form) -> Result<Granted, Refusal> {
    let config = shared.config();
    let caller = authenticate(shared, ask, &config, Timestamp::now())?;
    let (name, password) = (required(form, "username")?, required(form, "password")?);
    let user = config
        .user_with(name, password)
        .ok_or_else(|| refuse("invalid_grant", "the user or the password is wrong"))?;
    let agreed = Agreed {
        user: &user.name,
        scope: form.get("scope").unwrap_or_default(),
        audience: None,
        nonce: None,
    };
    issue(shared, &config, &caller, form, &agreed)
}
