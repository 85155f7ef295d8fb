//! Clients that prove themselves by a signed assertion: with a registered certificate, or with another issuer's token.
//! <https://learn.microsoft.com/entra/identity-platform/certificate-credentials>,
//! <https://learn.microsoft.com/entra/workload-id/workload-identity-federation>

use jsonwebtoken::Algorithm;

use super::errors::{BAD, Refusal};
use crate::assertion::{Assertion, Bad, certificate_key, key_of};
use crate::config::{Client, Config};
use crate::state::Shared;

/// The one type there is.
pub(super) const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

fn denied(code: u32, text: impl Into<String>) -> Refusal {
    Refusal::new(401, "invalid_client", code, text)
}

/// Checks the assertion of a client that was found. `endpoint` is the URL that was asked.
pub(super) fn prove(
    shared: &Shared,
    config: &Config,
    client: &Client,
    text: &str,
    (endpoint, now): (&str, i64),
) -> Result<(), Refusal> {
    let malformed = || denied(50_027, "Invalid JWT token. The token format is not valid.");
    let assertion = Assertion::read(text).map_err(|_| malformed())?;
    if assertion.claim("iss") == Some(client.id.as_str()) {
        by_certificate(shared, client, &assertion, (endpoint, now))
    } else {
        by_federation(config, client, &assertion, now)
    }
}

fn by_certificate(
    shared: &Shared,
    client: &Client,
    assertion: &Assertion<'_>,
    (endpoint, now): (&str, i64),
) -> Result<(), Refusal> {
    let told = |bad: Bad| match bad {
        Bad::Times => denied(
            700_024,
            "Client assertion is not within its valid time range.",
        ),
        Bad::Audience => denied(
            700_023,
            "Client assertion audience claim does not match Realm issuer.",
        ),
        Bad::Replayed | Bad::Malformed => {
            denied(50_027, "Invalid JWT token. The token was used before or misses a claim.")
        }
        Bad::Algorithm | Bad::UnknownKey | Bad::Signature => denied(
            700_027,
            format!(
                "The certificate with identifier used to sign the client assertion is not registered on application \
                 '{}', or the signature is wrong.",
                client.id
            ),
        ),
    };
    if assertion.header.typ.as_deref() != Some("JWT")
        || assertion.claim("sub") != Some(client.id.as_str())
    {
        return Err(told(Bad::Malformed));
    }
    let key = certificate_key(&client.certificates, &assertion.header).map_err(told)?;
    assertion
        .verify(&key, &[Algorithm::PS256, Algorithm::RS256])
        .map_err(told)?;
    assertion.check_times(now).map_err(told)?;
    assertion.check_audience(&[endpoint.to_owned()]).map_err(told)?;
    shared.replays.first_time(assertion, now).map_err(told)
}

fn by_federation(
    config: &Config,
    client: &Client,
    assertion: &Assertion<'_>,
    now: i64,
) -> Result<(), Refusal> {
    let refused = |code, text: String| Refusal::new(BAD, "invalid_request", code, text);
    let claim = |name| assertion.claim(name).unwrap_or_default();
    let (issuer, subject) = (claim("iss"), claim("sub"));
    let trusted = config.trusted.iter().find(|t| t.issuer == issuer);
    let named = client.federated.iter().any(|f| f.issuer == issuer);
    let (Some(trusted), true) = (trusted, named) else {
        let text = format!(
            "No matching federated identity record found for presented assertion issuer '{issuer}'."
        );
        return Err(refused(700_211, text));
    };
    let mut records = client.federated.iter().filter(|f| f.issuer == issuer);
    let Some(record) = records.clone().find(|f| f.subject == subject) else {
        let text = format!(
            "No matching federated identity record found for presented assertion subject '{subject}'."
        );
        let other_case = records.any(|f| f.subject.eq_ignore_ascii_case(subject));
        return Err(refused(if other_case { 7_002_138 } else { 700_213 }, text));
    };
    if assertion.check_audience(std::slice::from_ref(&record.audience)).is_err() {
        let text = "No matching federated identity record found for presented assertion audience.";
        return Err(refused(700_212, text.to_owned()));
    }
    let key = key_of(&trusted.jwks, &assertion.header);
    let signed = key.and_then(|key| assertion.verify(&key, &[Algorithm::RS256]));
    if signed.is_err() {
        return Err(denied(700_027, "Client assertion contains an invalid signature."));
    }
    assertion.check_times(now).map_err(|_| {
        denied(
            700_024,
            "Client assertion is not within its valid time range.",
        )
    })
}
