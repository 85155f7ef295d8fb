//! JWTs that clients send: client assertions and grants. Checked as strictly as the strictest issuer does.
//!
//! ```text
//!  keys         which key must have signed: from a key set, or from a registered certificate
//!  replay       which IDs were used before
//! ```

mod keys;
mod replay;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use serde_json::Value;

pub(crate) use keys::{Certificate, by_thumbprint, chain_of, key_of, usable_keys};
pub(crate) use replay::Replays;

/// How far clocks may differ, in seconds.
const LEEWAY: i64 = 10;

/// What is wrong with an assertion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bad {
    /// Not a signed JWT with the claims that it needs.
    Malformed,
    /// Signed in a way that is not on the list.
    Algorithm,
    /// No such key.
    UnknownKey,
    /// The certificate has expired, or is not valid yet.
    ExpiredKey,
    Signature,
    /// Expired, not valid yet, or with a lifetime that is too long.
    Times,
    Audience,
    /// Its `jti` was used before.
    Replayed,
}

/// An assertion before its signature was checked.
pub(crate) struct Assertion<'a> {
    text: &'a str,
    pub(crate) header: Header,
    /// Unverified until [`Assertion::verify`] returns successfully.
    pub(crate) claims: Value,
}

impl<'a> Assertion<'a> {
    pub(crate) fn read(text: &'a str) -> Result<Self, Bad> {
        let header = jsonwebtoken::decode_header(text).map_err(|_| Bad::Malformed)?;
        let mut parts = text.split('.');
        let object = |part: Option<&str>| {
            let bytes = URL_SAFE_NO_PAD.decode(part?).ok()?;
            let value: Value = serde_json::from_slice(&bytes).ok()?;
            value.is_object().then_some(value)
        };
        let raw = object(parts.next()).ok_or(Bad::Malformed)?;
        let claims = object(parts.next()).ok_or(Bad::Malformed)?;
        // RFC 7515 section 4.1.11: extensions that a recipient must understand, and this program understands none.
        if raw.get("crit").is_some() {
            return Err(Bad::Malformed);
        }
        Ok(Self {
            text,
            header,
            claims,
        })
    }

    pub(crate) fn claim(&self, name: &str) -> Option<&str> {
        self.claims.get(name)?.as_str()
    }

    fn number(&self, name: &str) -> Option<i64> {
        self.claims.get(name)?.as_i64()
    }

    /// Checks the signature with this key. The caller selects the algorithms; the token must not.
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

    /// `exp` must be present and in the future; `nbf` and `iat` must not be in the future.
    pub(crate) fn check_times(&self, now: i64) -> Result<(), Bad> {
        let end = self.number("exp").ok_or(Bad::Malformed)?;
        let early = |name: &str| self.number(name).is_some_and(|t| t > now + LEEWAY);
        if end + LEEWAY <= now || early("nbf") || early("iat") {
            return Err(Bad::Times);
        }
        Ok(())
    }

    /// The time from `iat`, which must be present, to `exp` may be this many seconds.
    pub(crate) fn check_length(&self, longest: i64) -> Result<(), Bad> {
        let of = |name: &str| self.number(name).ok_or(Bad::Malformed);
        match of("exp")?.checked_sub(of("iat")?) {
            Some(0..) if of("exp")? - of("iat")? <= longest => Ok(()),
            _ => Err(Bad::Times),
        }
    }

    /// Whether it is meant only for one of these audiences. A list with several members is meant for others too (CVE-2025-27370:
    /// if two servers accept the same audience, one of them can act at the other).
    pub(crate) fn check_audience(&self, ours: &[String]) -> Result<(), Bad> {
        let named = self.audience().ok_or(Bad::Audience)?;
        if ours.iter().any(|o| o == named) {
            Ok(())
        } else {
            Err(Bad::Audience)
        }
    }

    /// The only audience: a text, or a list with one member, as Kubernetes writes it.
    pub(crate) fn audience(&self) -> Option<&str> {
        match self.claims.get("aud")? {
            Value::Array(list) => match list.as_slice() {
                [only] => only.as_str(),
                _ => None,
            },
            one => one.as_str(),
        }
    }
}
