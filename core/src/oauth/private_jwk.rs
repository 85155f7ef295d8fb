//! Writes a private key as a JWK (RFC 7518 section 6, RFC 8037 section 2).

use aws_lc_rs::encoding::{AsBigEndian, Curve25519SeedBin, EcPrivateKeyBin};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Map, Value, json};
use x509_parser::{
    asn1_rs::{Integer, OctetString, Sequence},
    prelude::FromDer,
};

use super::{jwk, signing_key::SigningKey};

/// The numbers of an RSA key that its public part does not have, in the order of PKCS#1 (RFC 8017 appendix A.1.2).
const RSA: [&str; 6] = ["d", "p", "q", "dp", "dq", "qi"];

/// The members of a private JWK. `der`: the same key as PKCS#8. `None` cannot occur for a key that was just generated.
pub(super) fn members(key: &SigningKey, der: &PrivateKeyDer<'_>) -> Option<Map<String, Value>> {
    let mut members = jwk::public(key);
    let mut insert = |name: &str, bytes: &[u8]| {
        members.insert(name.to_owned(), json!(URL_SAFE_NO_PAD.encode(bytes)));
    };
    match key {
        SigningKey::Rsa(_) => {
            let numbers = rsa_numbers(der.secret_der())?;
            for (name, number) in RSA.into_iter().zip(&numbers) {
                insert(name, number);
            }
        }
        SigningKey::Ec(_, key) => {
            let d: EcPrivateKeyBin<'_> = key.private_key().as_be_bytes().ok()?;
            insert("d", d.as_ref());
        }
        SigningKey::Ed25519(key) => {
            let d: Curve25519SeedBin<'_> = key.seed().ok()?.as_be_bytes().ok()?;
            insert("d", d.as_ref());
        }
    }
    Some(members)
}

/// The private numbers of a PKCS#8 file without leading zeros.
fn rsa_numbers(pkcs8: &[u8]) -> Option<[Vec<u8>; RSA.len()]> {
    let (_, outer) = Sequence::from_der(pkcs8).ok()?;
    let (rest, _version) = Integer::from_der(&outer.content).ok()?;
    let (rest, _algorithm) = Sequence::from_der(rest).ok()?;
    let (_, inner) = OctetString::from_der(rest).ok()?;
    let (_, key) = Sequence::from_der(inner.as_ref()).ok()?;
    let (mut rest, _version) = Integer::from_der(&key.content).ok()?;
    let mut next = || -> Option<Vec<u8>> {
        let (after, number) = Integer::from_der(rest).ok()?;
        rest = after;
        let bytes = number.as_ref();
        let start = bytes.iter().position(|b| *b != 0)?;
        Some(bytes[start..].to_vec())
    };
    let (_n, _e) = (next()?, next()?);
    Some([next()?, next()?, next()?, next()?, next()?, next()?])
}
