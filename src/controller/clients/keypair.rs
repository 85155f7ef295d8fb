//! New keys. They are never weaker than the keys that they replace.

use std::{collections::BTreeMap, time::Duration};

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rsa::{self, KeySize},
};
use jiff::Timestamp;
use k8s_openapi::ByteString;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ECDSA_P521_SHA512,
    PKCS_ED25519, PKCS_RSA_SHA256, SerialNumber,
};
use rustls::pki_types::PrivatePkcs8KeyDer;
use secrecy::{ExposeSecret, SecretString};

use super::{driver::StepInputs, issuer::not_sent, seen::ClientValue};
use crate::{
    controller::api::ids,
    oauth::{ClientKey, Curve, KeyShape},
    rotation::{Class, Fault, Kind},
};

/// `notBefore` is set this number of seconds in the past, because clocks differ. `notAfter` is earlier than requested by the
/// same time, because a policy about the lifetime of certificates counts from `notBefore`.
const BACKDATED: i64 = 300;

/// A certificate and its key, PEM.
pub(super) struct NewPair {
    pub(super) certificate: String,
    pub(super) key: SecretString,
    /// Valid from.
    pub(super) from: Timestamp,
    /// Valid until.
    pub(super) until: Timestamp,
}

impl NewPair {
    /// The pair as it is stored under these keys of a Secret: certificate and private key, or one key for both.
    pub(super) fn under(self, keys: &[String]) -> BTreeMap<String, ByteString> {
        let key = self.key.expose_secret();
        let text = |text: &str| ByteString(text.as_bytes().to_vec());
        match keys {
            [both] => {
                let file = SecretString::from(format!("{}{key}", self.certificate));
                BTreeMap::from([(both.clone(), text(file.expose_secret()))])
            }
            [of_certificate, of_key, ..] => BTreeMap::from([
                (of_certificate.clone(), text(&self.certificate)),
                (of_key.clone(), text(key)),
            ]),
            [] => BTreeMap::new(),
        }
    }
}

/// Generates an RSA pair of at least `bits` with the common name `name`. The certificate is valid for the time from now until
/// `until`. Takes seconds of CPU time with [`MOST`] bits.
pub(super) fn make(
    bits: usize,
    name: &str,
    until: Timestamp,
    now: Timestamp,
) -> Result<NewPair, rcgen::Error> {
    let key = rsa(bits)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    // Positive, as required by RFC 5280 section 4.1.2.2.
    let mut serial = ids::random::<16>();
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    let from = now.as_second() - BACKDATED;
    let until = until.as_second() - BACKDATED;
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let at = |second: i64| epoch + Duration::from_secs(u64::try_from(second).unwrap_or_default());
    params.not_before = at(from);
    params.not_after = at(until);
    let certificate = params.self_signed(&key)?;
    Ok(NewPair {
        certificate: certificate.pem(),
        key: key.serialize_pem().into(),
        from: Timestamp::from_second(from).unwrap_or(now),
        until: Timestamp::from_second(until).unwrap_or(now),
    })
}

/// The size of an RSA key in bits, if no larger one is required.
const LEAST: usize = 2048;

/// The largest size in bits: an RSA key of 8192 bits takes a minute or more of CPU time, and users decide how many are generated.
const MOST: usize = 4096;

/// Checks whether a new RSA key of at least this number of bits is generated. `step`: what the user does if not.
///
/// # Errors
/// A sentence for the user, without a full stop.
pub(super) fn may_generate(bits: usize, step: &str) -> Result<(), String> {
    if size(bits).is_some() {
        return Ok(());
    }
    Err(format!(
        "the current RSA key has {bits} bits, and apicred generates keys of at most {MOST} bits and no weaker ones than the current key; {step}"
    ))
}

/// The smallest RSA key that is generated with at least this number of bits.
fn size(bits: usize) -> Option<KeySize> {
    let sizes = [
        (LEAST, KeySize::Rsa2048),
        (3072, KeySize::Rsa3072),
        (MOST, KeySize::Rsa4096),
    ];
    let enough = sizes.into_iter().find(|(has, _)| *has >= bits);
    enough.map(|(_, size)| size)
}

fn rsa(bits: usize) -> Result<KeyPair, rcgen::Error> {
    let unavailable = || rcgen::Error::KeyGenerationUnavailable;
    let size = size(bits).ok_or_else(unavailable)?;
    let made = rsa::KeyPair::generate(size).map_err(|_| unavailable())?;
    let der: Pkcs8V1Der<'_> = made.as_der().map_err(|_| unavailable())?;
    let der = PrivatePkcs8KeyDer::from(der.as_ref());
    KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_RSA_SHA256)
}

/// The key size in bits of a new certificate that replaces one with this key.
pub(super) const fn bits_after(shape: Option<KeyShape>) -> usize {
    match shape {
        Some(KeyShape::Rsa(bits)) if bits > LEAST => bits,
        _ => LEAST,
    }
}

/// A private key only, PEM: it has the type of the key that it replaces, and the same size or the next larger one that can be generated.
pub(super) fn like(shape: KeyShape) -> Result<SecretString, rcgen::Error> {
    let key = match shape {
        KeyShape::Rsa(bits) => rsa(bits)?,
        KeyShape::Ec(Curve::P256) => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?,
        KeyShape::Ec(Curve::P384) => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384)?,
        KeyShape::Ec(Curve::P521) => KeyPair::generate_for(&PKCS_ECDSA_P521_SHA512)?,
        KeyShape::Ed25519 => KeyPair::generate_for(&PKCS_ED25519)?,
    };
    Ok(key.serialize_pem().into())
}

/// A private key that replaces another one, in the form in which that one is stored.
pub(super) fn after(current: &ClientKey) -> Option<SecretString> {
    let made = like(current.shape()).ok()?;
    current.successor(made).ok()
}

/// The key size of a new certificate in bits.
pub(super) fn bits(inputs: &StepInputs) -> usize {
    let current = || match inputs.current()? {
        ClientValue::Certificate(identity) => Some(identity.key().ok()?.shape()),
        _ => None,
    };
    let chosen = inputs.rotating.bits;
    chosen.unwrap_or_else(|| bits_after(current()))
}

/// Why no key is generated that replaces the current one: it is too large.
pub(super) fn unmakeable(inputs: &StepInputs) -> Option<Fault> {
    let (bits, step) = match inputs.rotating.settings.kind {
        Kind::Secret => return None,
        Kind::Certificate => (bits(inputs), "set rotation.key.size to 4096"),
        Kind::Key => match inputs.current()? {
            ClientValue::Key(current, _) => match current.shape() {
                KeyShape::Rsa(bits) => (
                    bits,
                    "register a public key of at most 4096 bits at the issuer, and store its private key in the Secret",
                ),
                KeyShape::Ec(_) | KeyShape::Ed25519 => return None,
            },
            _ => return None,
        },
    };
    let why = may_generate(bits, step).err()?;
    Some(not_sent(Class::Invalid, why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::Identity;

    /// RFC 8037 appendix A.1.
    const JWK: &str = r#"{"kty":"OKP","crv":"Ed25519","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

    #[test]
    fn a_new_key_is_stored_in_the_form_of_the_one_that_it_replaces() {
        for (shape, alg) in [
            (KeyShape::Rsa(2048), "PS256"),
            (KeyShape::Ec(Curve::P256), "ES256"),
            (KeyShape::Ec(Curve::P384), "ES384"),
            (KeyShape::Ec(Curve::P521), "ES512"),
            (KeyShape::Ed25519, "EdDSA"),
        ] {
            let read = |text: &SecretString| ClientKey::read(text.expose_secret()).unwrap();
            let json = |text: &SecretString| -> serde_json::Value {
                serde_json::from_str(text.expose_secret()).unwrap()
            };
            let pem = like(shape).unwrap();
            assert!(
                after(&read(&pem))
                    .unwrap()
                    .expose_secret()
                    .contains("BEGIN")
            );
            let as_jwk = ClientKey::read(JWK).unwrap().successor(pem.clone());
            let mut first = json(&as_jwk.unwrap());
            assert_eq!(first.get("alg"), None);
            first["alg"] = alg.into();
            first["kid"] = "registered".into();
            for set in [false, true] {
                let stored = if set {
                    serde_json::json!({ "keys": [first] })
                } else {
                    first.clone()
                };
                let current = ClientKey::read(&stored.to_string()).unwrap();
                assert_eq!(current.thumbprint(), read(&pem).thumbprint());
                let made = after(&current).unwrap();
                let next = read(&made);
                assert_eq!(next.shape(), shape);
                let made = json(&made);
                let jwk = if set { &made["keys"][0] } else { &made };
                assert_eq!(jwk["kid"], next.thumbprint());
                assert_ne!(next.thumbprint(), current.thumbprint());
                assert_eq!((&jwk["alg"], &jwk["use"]), (&alg.into(), &"sig".into()));
            }
        }
    }

    #[test]
    fn a_new_key_is_like_the_one_that_it_replaces() {
        for shape in [
            KeyShape::Rsa(2048),
            KeyShape::Ec(Curve::P256),
            KeyShape::Ec(Curve::P384),
            KeyShape::Ec(Curve::P521),
            KeyShape::Ed25519,
        ] {
            let key = like(shape).unwrap();
            let read = ClientKey::read(key.expose_secret()).unwrap();
            assert_eq!(read.shape(), shape);
        }
    }

    /// Other libraries generate keys of any size.
    #[test]
    fn a_new_key_is_never_weaker_than_the_one_that_it_replaces() {
        for (bits, wanted) in [
            (1024, Some(2048)),
            (2048, Some(2048)),
            (2056, Some(3072)),
            (3072, Some(3072)),
            (3080, Some(4096)),
            (4096, Some(4096)),
            (4104, None),
            (8192, None),
        ] {
            assert_eq!(size(bits).map(|size| size.len() * 8), wanted, "{bits}");
            assert_eq!(may_generate(bits, "").is_ok(), wanted.is_some(), "{bits}");
        }
        let key = like(KeyShape::Rsa(2560)).unwrap();
        let read = ClientKey::read(key.expose_secret()).unwrap();
        assert_eq!(read.shape(), KeyShape::Rsa(3072));
        assert!(like(KeyShape::Rsa(8192)).is_err());
    }

    #[test]
    fn the_key_of_a_new_certificate_is_as_large_as_the_one_before_it() {
        for (shape, bits) in [
            (None, 2048),
            (Some(KeyShape::Ec(Curve::P256)), 2048),
            (Some(KeyShape::Rsa(2048)), 2048),
            (Some(KeyShape::Rsa(4096)), 4096),
        ] {
            assert_eq!(bits_after(shape), bits, "{shape:?}");
        }
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let until = Timestamp::from_second(1_900_000_000).unwrap();
        let pair = make(3072, "n", until, now).unwrap();
        let identity = Identity::from_pem(&pair.certificate, pair.key.expose_secret()).unwrap();
        assert_eq!(identity.key().unwrap().shape(), KeyShape::Rsa(3072));
    }

    #[test]
    fn a_pair_signs_for_the_time_that_was_requested() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let until = Timestamp::from_second(1_900_000_000).unwrap();
        let name = "apicred/6f3c0a4e/0d9b3b5e-6d52-4b8e-9df4-1c1b7a0e0000/99999";
        let pair = make(2048, name, until, now).unwrap();
        let identity = Identity::from_pem(&pair.certificate, pair.key.expose_secret()).unwrap();
        let validity = identity.validity().unwrap();
        assert_eq!((validity.from, validity.until), (pair.from, pair.until));
        assert!(pair.from < now);
        // A policy about the lifetime counts from `notBefore`.
        assert_eq!(
            validity.until.duration_since(validity.from),
            until.duration_since(now)
        );
        let other = make(2048, name, until, now).unwrap();
        assert_ne!(pair.key.expose_secret(), other.key.expose_secret());
    }

    #[test]
    fn a_pair_is_stored_under_two_keys_or_whole_under_one() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let until = Timestamp::from_second(1_900_000_000).unwrap();
        for keys in [vec!["client.pem"], vec!["tls.crt", "tls.key"]] {
            let keys: Vec<String> = keys.into_iter().map(str::to_owned).collect();
            let held = make(2048, "n", until, now).unwrap().under(&keys);
            assert!(held.keys().eq(&keys), "{keys:?}");
            let text = |key: &String| std::str::from_utf8(&held[key].0).unwrap();
            let (first, last) = (keys.first().unwrap(), keys.last().unwrap());
            let identity = Identity::from_pem(text(first), text(last)).unwrap();
            assert_eq!(identity.key().unwrap().shape(), KeyShape::Rsa(2048));
        }
    }
}
