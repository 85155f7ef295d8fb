//! The key that must have signed an assertion.

use aws_lc_rs::digest::{self, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Header};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;
use x509_parser::prelude::X509Certificate;
use x509_parser::public_key::PublicKey;

use super::Bad;

/// The number of keys of a set that can check a signature.
pub(crate) fn usable_keys(jwks: &Value) -> usize {
    let set: Option<JwkSet> = serde_json::from_value(jwks.clone()).ok();
    let usable = |jwk: &&Jwk| is_usable(jwk) && DecodingKey::from_jwk(jwk).is_ok();
    set.map_or(0, |set| set.keys.iter().filter(usable).count())
}

fn is_usable(jwk: &Jwk) -> bool {
    let asymmetric = matches!(
        jwk.algorithm,
        AlgorithmParameters::RSA(_) | AlgorithmParameters::EllipticCurve(_)
    );
    let signs = matches!(
        jwk.common.public_key_use,
        None | Some(PublicKeyUse::Signature)
    );
    asymmetric && signs
}

/// The key of a set that a header names; the only one if it names none. A key that is for another algorithm or use
/// does not count (RFC 7517 sections 4.2 and 4.4).
pub(crate) fn key_of(jwks: &Value, header: &Header) -> Result<DecodingKey, Bad> {
    let set: JwkSet = serde_json::from_value(jwks.clone()).map_err(|_| Bad::UnknownKey)?;
    let jwk: &Jwk = match (&header.kid, set.keys.as_slice()) {
        (Some(kid), _) => set.find(kid).ok_or(Bad::UnknownKey)?,
        (None, [only]) => only,
        (None, _) => return Err(Bad::UnknownKey),
    };
    if !is_usable(jwk) {
        return Err(Bad::UnknownKey);
    }
    let named = jwk.common.key_algorithm;
    if named.is_some_and(|named| named != header.alg.into()) {
        return Err(Bad::Algorithm);
    }
    DecodingKey::from_jwk(jwk).map_err(|_| Bad::UnknownKey)
}

/// A certificate with whose key assertions are signed.
pub(crate) struct Certificate {
    der: CertificateDer<'static>,
}

impl Certificate {
    /// Reads PEM; only RSA keys can sign for Entra.
    pub(crate) fn read(pem: &str) -> Option<Self> {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
        Self::of(der)
    }

    pub(crate) fn of(der: CertificateDer<'static>) -> Option<Self> {
        let read = Self { der };
        let is_rsa = read
            .parsed()
            .is_some_and(|c| matches!(c.public_key().parsed(), Ok(PublicKey::RSA(_))));
        is_rsa.then_some(read)
    }

    pub(crate) fn pem_of(der: &[u8]) -> String {
        let text = STANDARD.encode(der);
        let lines = text.as_bytes().chunks(64).map(String::from_utf8_lossy);
        let lines: Vec<_> = lines.collect();
        format!(
            "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
            lines.join("\n")
        )
    }

    pub(crate) fn pem(&self) -> String {
        Self::pem_of(&self.der)
    }

    /// Its SHA-1 thumbprint.
    pub(crate) fn sha1(&self) -> Vec<u8> {
        let hash = digest::digest(&SHA1_FOR_LEGACY_USE_ONLY, &self.der);
        hash.as_ref().to_vec()
    }

    /// Its subject, as Entra shows it as the name of a credential.
    pub(crate) fn subject(&self) -> Option<String> {
        Some(self.parsed()?.subject().to_string())
    }

    /// Whether it names itself as its issuer. One that cannot be read does.
    pub(crate) fn is_self_issued(&self) -> bool {
        self.parsed()
            .is_none_or(|parsed| parsed.subject() == parsed.issuer())
    }

    /// First and last moment.
    pub(crate) fn validity(&self) -> Option<(Timestamp, Timestamp)> {
        let parsed = self.parsed()?;
        let time = |t: x509_parser::time::ASN1Time| Timestamp::from_second(t.timestamp()).ok();
        let validity = parsed.validity();
        Some((time(validity.not_before)?, time(validity.not_after)?))
    }

    /// Its key, if the certificate is valid now.
    pub(crate) fn key(&self, now: i64) -> Result<DecodingKey, Bad> {
        let parsed = self.parsed().ok_or(Bad::UnknownKey)?;
        let validity = parsed.validity();
        if now < validity.not_before.timestamp() || now >= validity.not_after.timestamp() {
            return Err(Bad::ExpiredKey);
        }
        let key = &parsed.public_key().subject_public_key.data;
        Ok(DecodingKey::from_rsa_der(key))
    }

    /// Whether the header refers to this certificate: by `x5t#S256`, or by the older `x5t` with RS256. Both spellings of base64 are accepted,
    /// as the real service accepts them.
    pub(crate) fn is_named_by(&self, header: &Header) -> bool {
        let same = |wanted: &str, algorithm| {
            let hash = digest::digest(algorithm, &self.der);
            wanted == URL_SAFE_NO_PAD.encode(hash) || wanted == STANDARD.encode(hash)
        };
        match (&header.x5t_s256, &header.x5t) {
            (Some(wanted), _) => same(wanted, &SHA256),
            (None, Some(wanted)) if header.alg == Algorithm::RS256 => {
                same(wanted, &SHA1_FOR_LEGACY_USE_ONLY)
            }
            _ => false,
        }
    }

    fn parsed(&self) -> Option<X509Certificate<'_>> {
        let (_, parsed) = x509_parser::parse_x509_certificate(&self.der).ok()?;
        Some(parsed)
    }
}

/// The registered certificate that a header points to.
pub(crate) fn by_thumbprint(registered: &[String], header: &Header) -> Option<Certificate> {
    let mut all = registered.iter().filter_map(|pem| Certificate::read(pem));
    all.find(|certificate| certificate.is_named_by(header))
}

/// The certificates in an assertion, its own first (RFC 7515 section 4.1.6).
pub(crate) fn chain_of(header: &Header) -> Option<Vec<CertificateDer<'static>>> {
    let chain = header.x5c.as_ref().filter(|chain| !chain.is_empty())?;
    let read = |text: &String| STANDARD.decode(text).ok().map(CertificateDer::from);
    chain.iter().map(read).collect()
}
