//! Clients that authenticate with a signed assertion: with a registered certificate, or with another issuer's token.
//! <https://learn.microsoft.com/entra/identity-platform/certificate-credentials>,
//! <https://learn.microsoft.com/entra/workload-id/workload-identity-federation>

use jsonwebtoken::{Algorithm, DecodingKey};

use super::assertion_errors as errors;
use super::errors::ErrorAnswer;
use crate::assertion::{Assertion, Bad, Certificate, by_thumbprint, chain_of, key_of};
use crate::config::{Client, Config, Federated};
use crate::mtls;
use crate::state::Shared;

/// The only type that exists.
pub(super) const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Checks the assertion of a client that was found. `endpoints` are the URLs of the endpoint that received the request.
pub(super) fn authenticate(
    shared: &Shared,
    config: &Config,
    client: &Client,
    (text, certificates): (&str, &[String]),
    (endpoints, now): (&[String], i64),
) -> Result<(), ErrorAnswer> {
    let assertion = Assertion::read(text).map_err(|_| errors::malformed())?;
    if assertion.claim("iss") == Some(client.id.as_str()) {
        by_certificate(shared, (client, certificates), &assertion, (endpoints, now))
    } else if assertion.claim("sub") == Some(client.id.as_str()) || client.federated.is_empty() {
        Err(errors::not_the_client(&client.id))
    } else {
        by_federation(shared, config, client, (&assertion, text), now)
    }
}

fn by_certificate(
    shared: &Shared,
    (client, certificates): (&Client, &[String]),
    assertion: &Assertion<'_>,
    (endpoints, now): (&[String], i64),
) -> Result<(), ErrorAnswer> {
    let explained = |bad: Bad| match bad {
        Bad::Times => errors::out_of_time(),
        Bad::Audience => errors::wrong_audience(),
        Bad::Replayed => errors::replayed(),
        Bad::Malformed => errors::malformed(),
        Bad::ExpiredKey => errors::bad_signature(&client.id, "The key used is expired."),
        Bad::UnknownKey => errors::bad_signature(&client.id, "The key was not found."),
        Bad::Algorithm | Bad::Signature => {
            let reason = "The key was found, but use of the key to verify the signature failed.";
            errors::bad_signature(&client.id, reason)
        }
    };
    if assertion.header.typ.as_deref() != Some("JWT") {
        return Err(errors::malformed());
    }
    if assertion.claim("sub") != Some(client.id.as_str()) {
        return Err(errors::not_the_client(&client.id));
    }
    let key = match by_thumbprint(certificates, &assertion.header) {
        Some(certificate) => certificate.key(now).map_err(explained)?,
        None => by_subject(client, assertion, now)?.ok_or_else(|| explained(Bad::UnknownKey))?,
    };
    assertion
        .verify(&key, &[Algorithm::PS256, Algorithm::RS256])
        .and_then(|()| assertion.check_times(now))
        .and_then(|()| assertion.check_audience(endpoints))
        .and_then(|()| shared.replays.first_time(assertion, now))
        .map_err(explained)
}

/// The key of the certificate in the assertion, if the client may use any certificate of its subject. If there is also a
/// thumbprint, it must be that of this certificate.
fn by_subject(
    client: &Client,
    assertion: &Assertion<'_>,
    now: i64,
) -> Result<Option<DecodingKey>, ErrorAnswer> {
    let header = &assertion.header;
    let Some(chain) = chain_of(header).filter(|_| !client.subject_names.is_empty()) else {
        return Ok(None);
    };
    let Some((own, others)) = chain.split_first() else {
        return Ok(None);
    };
    let mut names = client.subject_names.iter();
    if !names.any(|name| {
        let authority = std::iter::once(&name.authority);
        mtls::vouched(&name.subject, authority, (own, others))
    }) {
        return Err(errors::subject_not_allowed());
    }
    let thumbprint = header.x5t.is_some() || header.x5t_s256.is_some();
    let certificate =
        Certificate::of(own.clone()).filter(|own| !thumbprint || own.is_named_by(header));
    Ok(certificate.and_then(|own| own.key(now).ok()))
}

/// Another issuer's token is used unchanged: with that issuer's `jti` or none, and any number of times.
fn by_federation(
    shared: &Shared,
    config: &Config,
    client: &Client,
    (assertion, text): (&Assertion<'_>, &str),
    now: i64,
) -> Result<(), ErrorAnswer> {
    let claim = |name| assertion.claim(name).unwrap_or_default();
    let mut audience = assertion.audience().unwrap_or_default();
    let mut tenants = config.tenants.iter().map(|t| t.id.as_str());
    let own = tenants.find(|id| shared.issuer_v2(id) == claim("iss"));
    if let Some(tenant) = own {
        by_identity(shared, config, client, (text, tenant))?;
        // The token contains the ID of the API, the federated credential its App ID URI.
        if audience == config.exchange().app_id {
            audience = config.exchange().uris.first().map_or("", String::as_str);
        }
    }
    let mut records: Vec<&Federated> = client.federated.iter().collect();
    for (what, value) in [
        (What::Issuer, claim("iss")),
        (What::Subject, claim("sub")),
        (What::Audience, audience),
    ] {
        let other_case = records
            .iter()
            .any(|record| what.of(record).eq_ignore_ascii_case(value));
        records.retain(|record| what.of(record) == value);
        if records.is_empty() {
            return Err(what.error_answer(value, other_case));
        }
    }
    if own.is_some() {
        return Ok(());
    }
    let trusted = config.trusted.iter().find(|t| t.issuer == claim("iss"));
    let trusted = trusted.ok_or_else(|| errors::issuer_unreachable(claim("iss")))?;
    key_of(&trusted.jwks, &assertion.header)
        .and_then(|key| assertion.verify(&key, &[Algorithm::RS256]))
        .map_err(|bad| {
            let reason = match bad {
                Bad::Algorithm => "Only RS256 is supported.",
                Bad::UnknownKey => "The key was not found.",
                _ => "The key was found, but use of the key to verify the signature failed.",
            };
            errors::bad_signature(&client.id, reason)
        })?;
    assertion.check_times(now).map_err(|bad| match bad {
        Bad::Malformed => errors::malformed(),
        _ => errors::out_of_time(),
    })
}

/// A token of this service: one of a managed identity in the tenant in which the application is registered, the first of the
/// tenants of the application.
fn by_identity(
    shared: &Shared,
    config: &Config,
    client: &Client,
    (text, tenant): (&str, &str),
) -> Result<(), ErrorAnswer> {
    let claims = shared.validate_with(config, text, None).map_err(|_| {
        errors::bad_signature(
            &client.id,
            "The key was found, but use of the key to verify the signature failed.",
        )
    })?;
    let first = config.tenants.first().map(|t| t.id.as_str());
    let home = client.tenants.first().map(String::as_str).or(first);
    if home != Some(tenant) {
        return Err(errors::of_another_tenant(&shared.issuer_v2(tenant)));
    }
    if claims.xms_mirid.is_none() || claims.aud != config.exchange().app_id {
        return Err(errors::of_an_application());
    }
    Ok(())
}

/// The compared values, in the order in which Entra names a mismatch.
#[derive(Clone, Copy)]
enum What {
    Issuer,
    Subject,
    Audience,
}

impl What {
    fn of(self, record: &Federated) -> &str {
        match self {
            Self::Issuer => &record.issuer,
            Self::Subject => &record.subject,
            Self::Audience => &record.audience,
        }
    }

    fn error_answer(self, value: &str, other_case: bool) -> ErrorAnswer {
        let (code, name) = match self {
            _ if other_case => (7_002_138, self.name()),
            Self::Issuer => (700_211, self.name()),
            Self::Subject => (700_213, self.name()),
            Self::Audience => (700_212, self.name()),
        };
        errors::no_federated_record(code, name, value)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Issuer => "issuer",
            Self::Subject => "subject",
            Self::Audience => "audience",
        }
    }
}
