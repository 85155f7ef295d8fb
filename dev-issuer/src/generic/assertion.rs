//! Clients of the generic issuer that sign (RFC 7523 section 2.2), and assertions that are grants (section 2.1).

use jsonwebtoken::Algorithm;

use super::errors::{Refusal, refuse};
use crate::assertion::{Assertion, Bad, key_of};
use crate::config::{Client, Config};
use crate::state::Shared;

const ALGORITHMS: [Algorithm; 3] = [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256];

fn words(bad: Bad) -> &'static str {
    match bad {
        Bad::Malformed => "the assertion is malformed or misses a claim",
        Bad::Algorithm => "the assertion is signed with an algorithm that is not allowed",
        Bad::UnknownKey => "the assertion is signed with an unknown key",
        Bad::Signature => "the signature of the assertion is wrong",
        Bad::Times => "the assertion is not within its time",
        Bad::Audience => "the assertion is for somebody else",
        Bad::Replayed => "the assertion was used before",
    }
}

/// `aud` may be the issuer or its token endpoint.
fn ours(shared: &Shared) -> [String; 2] {
    let issuer = shared.generic_issuer();
    [format!("{issuer}/token"), issuer]
}

/// Who an assertion proves: the client itself, or one whose federated credential it is.
pub(super) fn client<'c>(
    shared: &Shared,
    config: &'c Config,
    (id, text): (Option<&str>, &str),
    now: i64,
) -> Result<&'c Client, Refusal> {
    let wrong = |bad: Bad| refuse("invalid_client", words(bad));
    let assertion = Assertion::read(text).map_err(wrong)?;
    let (issuer, subject) = (assertion.claim("iss"), assertion.claim("sub"));
    if let Some(trusted) = config.trusted.iter().find(|t| Some(t.issuer.as_str()) == issuer) {
        let client = id
            .and_then(|id| config.client(id))
            .ok_or_else(|| refuse("invalid_client", "client_id is missing"))?;
        let mut records = client.federated.iter();
        let record = records
            .find(|f| Some(f.issuer.as_str()) == issuer && Some(f.subject.as_str()) == subject)
            .ok_or_else(|| wrong(Bad::UnknownKey))?;
        let key = key_of(&trusted.jwks, &assertion.header).map_err(wrong)?;
        assertion.verify(&key, &ALGORITHMS).map_err(wrong)?;
        assertion.check_times(now).map_err(wrong)?;
        let audience = std::slice::from_ref(&record.audience);
        return assertion.check_audience(audience).map(|()| client).map_err(wrong);
    }
    // RFC 7523 section 3: issuer and subject are the client.
    let same = issuer == subject && id.is_none_or(|id| Some(id) == issuer);
    let client = issuer
        .filter(|_| same)
        .and_then(|id| config.client(id))
        .ok_or_else(|| wrong(Bad::Malformed))?;
    check(shared, client, &assertion, now).map_err(wrong)?;
    Ok(client)
}

/// The client whose key signed a grant. Google's service accounts ask so.
pub(super) fn granting<'a, 'c>(
    shared: &Shared,
    config: &'c Config,
    text: &'a str,
    now: i64,
) -> Result<(&'c Client, Assertion<'a>), Refusal> {
    let wrong = |bad: Bad| refuse("invalid_grant", words(bad));
    let assertion = Assertion::read(text).map_err(wrong)?;
    let client = assertion
        .claim("iss")
        .and_then(|id| config.client(id))
        .ok_or_else(|| wrong(Bad::UnknownKey))?;
    check(shared, client, &assertion, now).map_err(wrong)?;
    Ok((client, assertion))
}

fn check(
    shared: &Shared,
    client: &Client,
    assertion: &Assertion<'_>,
    now: i64,
) -> Result<(), Bad> {
    let jwks = client.jwks.as_ref().ok_or(Bad::UnknownKey)?;
    let key = key_of(jwks, &assertion.header)?;
    assertion.verify(&key, &ALGORITHMS)?;
    assertion.check_times(now)?;
    assertion.check_audience(&ours(shared))?;
    shared.replays.first_time(assertion, now)
}
