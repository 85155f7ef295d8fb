//! A new RSA key pair with a self-signed certificate.

use std::time::Duration;

use jiff::Timestamp;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ECDSA_P521_SHA512,
    PKCS_ED25519, PKCS_RSA_SHA256, RsaKeySize, SerialNumber,
};
use secrecy::SecretString;

use crate::{
    controller::api::ids,
    oauth::{Curve, KeyShape},
};

/// `notBefore` lies so far back: clocks differ.
const BACKDATED: i64 = 300;

/// A certificate and its key, PEM.
pub(super) struct NewPair {
    pub(super) certificate: String,
    pub(super) key: SecretString,
    /// Valid from.
    pub(super) from: Timestamp,
}

/// Makes a pair with the common name `name`, valid until `until`. Takes up to a second of a processor.
pub(super) fn make(
    bits: u32,
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
    // Positive, as RFC 5280 section 4.1.2.2 demands.
    let mut serial = ids::random::<16>();
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    let from = now.as_second() - BACKDATED;
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let at = |second: i64| epoch + Duration::from_secs(u64::try_from(second).unwrap_or_default());
    params.not_before = at(from);
    params.not_after = at(until.as_second());
    let certificate = params.self_signed(&key)?;
    Ok(NewPair {
        certificate: certificate.pem(),
        key: key.serialize_pem().into(),
        from: Timestamp::from_second(from).unwrap_or(now),
    })
}

fn rsa(bits: u32) -> Result<KeyPair, rcgen::Error> {
    let size = match bits {
        4096 => RsaKeySize::_4096,
        3072 => RsaKeySize::_3072,
        _ => RsaKeySize::_2048,
    };
    KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, size)
}

/// A private key alone, PEM: of the type and size of the one that it replaces.
pub(super) fn like(shape: KeyShape) -> Result<SecretString, rcgen::Error> {
    let key = match shape {
        KeyShape::Rsa(bits) => rsa(u32::try_from(bits).unwrap_or_default())?,
        KeyShape::Ec(Curve::P256) => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?,
        KeyShape::Ec(Curve::P384) => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384)?,
        KeyShape::Ec(Curve::P521) => KeyPair::generate_for(&PKCS_ECDSA_P521_SHA512)?,
        KeyShape::Ed25519 => KeyPair::generate_for(&PKCS_ED25519)?,
    };
    Ok(key.serialize_pem().into())
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;
    use crate::oauth::Identity;

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
            let read = crate::oauth::ClientKey::read(key.expose_secret()).unwrap();
            assert_eq!(read.shape(), shape);
        }
    }

    #[test]
    fn a_pair_signs_for_the_time_that_was_asked_for() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let until = Timestamp::from_second(1_900_000_000).unwrap();
        let name = "apicred/6f3c0a4e/0d9b3b5e-6d52-4b8e-9df4-1c1b7a0e0000/99999";
        let pair = make(2048, name, until, now).unwrap();
        let identity = Identity::from_pem(&pair.certificate, pair.key.expose_secret()).unwrap();
        let validity = identity.validity().unwrap();
        assert_eq!((validity.from, validity.until), (pair.from, until));
        assert!(pair.from < now);
        let other = make(2048, name, until, now).unwrap();
        assert_ne!(pair.key.expose_secret(), other.key.expose_secret());
    }
}
