//! Clients of the generic issuer that sign, or that send another issuer's token (RFC 7523 section 2.2).

use jsonwebtoken::Algorithm;

use super::errors::{ErrorAnswer, refuse};
use crate::assertion::{Assertion, Bad, key_of};
use crate::config::{AssertionAudience, Client, Config};
use crate::state::Shared;

pub(super) const ALGORITHMS: [Algorithm; 3] =
    [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256];

pub(super) fn description(bad: Bad) -> &'static str {
    match bad {
        Bad::Malformed => "the assertion is malformed or misses a claim",
        Bad::Algorithm => "the assertion is signed with an algorithm that is not allowed",
        Bad::UnknownKey | Bad::ExpiredKey => "the assertion is signed with an unknown key",
        Bad::Signature => "the signature of the assertion is wrong",
        Bad::Times => "the assertion is not within its time",
        Bad::Audience => "the assertion is for another audience",
        Bad::Replayed => "the assertion was used before",
    }
}

/// The accepted values of `aud`.
fn audiences(shared: &Shared, rule: AssertionAudience) -> Vec<String> {
    let issuer = shared.generic_issuer();
    let endpoint = format!("{issuer}/token");
    match rule {
        AssertionAudience::Issuer => vec![issuer],
        AssertionAudience::TokenEndpoint => vec![endpoint],
        AssertionAudience::Either => vec![issuer, endpoint],
    }
}

/// The client that an assertion authenticates: the client itself, or one with a matching federated credential.
pub(super) fn client<'c>(
    shared: &Shared,
    config: &'c Config,
    (id, text): (Option<&str>, &str),
    now: i64,
) -> Result<&'c Client, ErrorAnswer> {
    let wrong = |bad: Bad| refuse("invalid_client", description(bad));
    let assertion = Assertion::read(text).map_err(wrong)?;
    let (issuer, subject) = (assertion.claim("iss"), assertion.claim("sub"));
    if let Some(trusted) = issuer.filter(|iss| config.trusted.iter().any(|t| t.issuer == **iss)) {
        let id = id.ok_or_else(|| refuse("invalid_client", "client_id is missing"))?;
        let client = config.client(id).ok_or_else(|| wrong(Bad::UnknownKey))?;
        by_federation(config, client, (&assertion, trusted), now).map_err(wrong)?;
        return Ok(client);
    }
    // RFC 7523 section 3: issuer and subject are the client.
    let same = issuer == subject && id.is_none_or(|id| Some(id) == issuer);
    let client = issuer
        .filter(|_| same)
        .and_then(|id| config.client(id))
        .ok_or_else(|| refuse("invalid_client", "the assertion is not of this client"))?;
    by_own_key(shared, config, client, &assertion, now).map_err(wrong)?;
    Ok(client)
}

fn by_own_key(
    shared: &Shared,
    config: &Config,
    client: &Client,
    assertion: &Assertion<'_>,
    now: i64,
) -> Result<(), Bad> {
    let jwks = client.jwks.as_ref().ok_or(Bad::UnknownKey)?;
    let key = key_of(jwks, &assertion.header)?;
    assertion.verify(&key, &ALGORITHMS)?;
    assertion.check_times(now)?;
    assertion.check_audience(&audiences(shared, config.assertion_audience))?;
    shared.replays.first_time(assertion, now)
}

/// Another issuer's token may be used any number of times, so its ID may be repeated.
fn by_federation(
    config: &Config,
    client: &Client,
    (assertion, issuer): (&Assertion<'_>, &str),
    now: i64,
) -> Result<(), Bad> {
    let subject = assertion.claim("sub").ok_or(Bad::Malformed)?;
    let records = client.federated.iter();
    let audiences: Vec<String> = records
        .filter(|record| record.issuer == issuer && record.subject == subject)
        .map(|record| record.audience.clone())
        .collect();
    if audiences.is_empty() {
        return Err(Bad::UnknownKey);
    }
    trusted(config, assertion, now)?;
    assertion.check_audience(&audiences)
}

/// Signature and times of a token of a trusted issuer.
pub(super) fn trusted(config: &Config, assertion: &Assertion<'_>, now: i64) -> Result<(), Bad> {
    let issuer = assertion.claim("iss").ok_or(Bad::Malformed)?;
    let mut all = config.trusted.iter();
    let trusted = all.find(|t| t.issuer == issuer).ok_or(Bad::UnknownKey)?;
    let key = key_of(&trusted.jwks, &assertion.header)?;
    assertion.verify(&key, &ALGORITHMS)?;
    assertion.check_times(now)
}
