//! JWTs that clients bring: proofs of who they are, and grants. Checked as strictly as the strictest issuer does.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;

/// How far clocks may differ, in seconds.
const LEEWAY: i64 = 10;
/// Longest life that is taken (Google's bound for service accounts; others take less).
const LONGEST: i64 = 3600;

/// What is wrong with an assertion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bad {
    /// Not a signed JWT with the claims that it needs.
    Malformed,
    /// Signed in a way that is not on the list.
    Algorithm,
    /// No such key.
    UnknownKey,
    Signature,
    /// Too old, too young, or for too long.
    Times,
    Audience,
    /// Its `jti` was there before.
    Replayed,
}

/// An assertion before its signature was checked.
pub(crate) struct Assertion<'a> {
    text: &'a str,
    pub(crate) header: Header,
    /// Unverified until [`Assertion::verify`] says so.
    pub(crate) claims: Value,
}

impl<'a> Assertion<'a> {
    pub(crate) fn read(text: &'a str) -> Result<Self, Bad> {
        let header = jsonwebtoken::decode_header(text).map_err(|_| Bad::Malformed)?;
        let payload = text.split('.').nth(1).ok_or(Bad::Malformed)?;
        let bytes = URL_SAFE_NO_PAD
            .decode(payload)
            .map_err(|_| Bad::Malformed)?;
        let claims: Value = serde_json::from_slice(&bytes).map_err(|_| Bad::Malformed)?;
        Ok(Self {
            text,
            header,
            claims,
        })
    }

    pub(crate) fn claim(&self, name: &str) -> Option<&str> {
        self.claims.get(name)?.as_str()
    }

    /// Checks the signature with this key. The caller has chosen the algorithms; the token must not.
    pub(crate) fn verify(&self, key: &DecodingKey, allowed: &[Algorithm]) -> Result<(), Bad> {
        if !allowed.contains(&self.header.alg) {
            return Err(Bad::Algorithm);
        }
        let mut rules = Validation::new(self.header.alg);
        rules.validate_exp = false;
        rules.validate_aud = false;
        rules.required_spec_claims.clear();
        jsonwebtoken::decode::<Value>(self.text, key, &rules)
            .map(|_| ())
            .map_err(|_| Bad::Signature)
    }

    /// `exp` must be there and near; `nbf` and `iat` must not lie in the future.
    pub(crate) fn check_times(&self, now: i64) -> Result<(), Bad> {
        let at = |name: &str| self.claims.get(name).and_then(Value::as_i64);
        let end = at("exp").ok_or(Bad::Malformed)?;
        let early = |name: &str| at(name).is_some_and(|t| t > now + LEEWAY);
        if end + LEEWAY <= now || end > now + LONGEST + LEEWAY || early("nbf") || early("iat") {
            return Err(Bad::Times);
        }
        Ok(())
    }

    /// Is it meant for one of these? A list in the token passes if one of its members does.
    pub(crate) fn check_audience(&self, ours: &[String]) -> Result<(), Bad> {
        let is_ours = |v: &Value| v.as_str().is_some_and(|a| ours.iter().any(|o| o == a));
        let passes = match self.claims.get("aud") {
            Some(Value::Array(list)) => list.iter().any(is_ours),
            Some(one) => is_ours(one),
            None => false,
        };
        if passes { Ok(()) } else { Err(Bad::Audience) }
    }
}

/// Ids of assertions that were used, until their end.
#[derive(Default)]
pub(crate) struct Replays(Mutex<HashMap<(String, String), i64>>);

impl Replays {
    /// Takes the id in. One that was there before is a copy (RFC 7523 section 3, point 7).
    pub(crate) fn first_time(&self, assertion: &Assertion<'_>, now: i64) -> Result<(), Bad> {
        let id = assertion.claim("jti").filter(|id| !id.is_empty());
        let id = id.ok_or(Bad::Malformed)?.to_owned();
        let issuer = assertion.claim("iss").unwrap_or_default().to_owned();
        let end = assertion.claims["exp"].as_i64().unwrap_or(now);
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|_, end| *end + LEEWAY > now);
        match seen.insert((issuer, id), end) {
            None => Ok(()),
            Some(_) => Err(Bad::Replayed),
        }
    }
}

/// The key of a set that a header names; the only one if it names none.
pub(crate) fn key_of(jwks: &Value, header: &Header) -> Result<DecodingKey, Bad> {
    let set: JwkSet = serde_json::from_value(jwks.clone()).map_err(|_| Bad::UnknownKey)?;
    let jwk: &Jwk = match (&header.kid, set.keys.as_slice()) {
        (Some(kid), _) => set.find(kid).ok_or(Bad::UnknownKey)?,
        (None, [only]) => only,
        (None, _) => return Err(Bad::UnknownKey),
    };
    DecodingKey::from_jwk(jwk).map_err(|_| Bad::UnknownKey)
}

/// The registered certificate that a header points to: by `x5t#S256` with any algorithm, by the older `x5t` with
/// RS256 alone. Both spellings of base64 are taken, as the real service takes them.
pub(crate) fn certificate_key(registered: &[String], header: &Header) -> Result<DecodingKey, Bad> {
    use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
    let same = |wanted: &str, der: &[u8], algorithm| {
        let hash = digest(algorithm, der);
        wanted == URL_SAFE_NO_PAD.encode(&hash) || wanted == STANDARD.encode(&hash)
    };
    for pem in registered {
        let Ok(der) = CertificateDer::from_pem_slice(pem.as_bytes()) else {
            continue;
        };
        let found = match (&header.x5t_s256, &header.x5t) {
            (Some(wanted), _) => same(wanted, &der, &SHA256),
            (None, Some(wanted)) if header.alg == Algorithm::RS256 => {
                same(wanted, &der, &SHA1_FOR_LEGACY_USE_ONLY)
            }
            _ => false,
        };
        if found {
            let (_, parsed) =
                x509_parser::parse_x509_certificate(&der).map_err(|_| Bad::UnknownKey)?;
            return Ok(DecodingKey::from_rsa_der(
                &parsed.public_key().subject_public_key.data,
            ));
        }
    }
    Err(Bad::UnknownKey)
}
