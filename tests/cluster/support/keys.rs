//! Keys and certificates of clients, made for one test.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize,
};
use serde_json::{Value, json};
use x509_parser::{prelude::FromDer, public_key::PublicKey};

use super::Place;

/// An authority for client certificates.
pub(crate) type Authority = CertifiedIssuer<'static, KeyPair>;

/// Kinds of keys.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Rsa,
    P256,
}

/// A certificate, its key, and the key as it is registered at the issuer.
pub(crate) struct Keys {
    pub(crate) certificate: String,
    pub(crate) key: String,
    /// A JWK set with the public key under this `kid`, the certificate with it.
    pub(crate) jwks: Value,
}

/// A new authority.
pub(crate) fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "clients");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority")
}

/// A certificate with the subject `CN=name` for 30 days, signed by itself or by an authority.
pub(crate) fn keys(kind: Kind, name: &str, by: Option<&Authority>) -> Keys {
    keys_until(kind, name, by, 30)
}

/// The same, until so many days from now.
pub(crate) fn keys_until(kind: Kind, name: &str, by: Option<&Authority>, days: i64) -> Keys {
    let key = match kind {
        Kind::Rsa => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
        Kind::P256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
    }
    .expect("a key");
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let now = jiff::Timestamp::now().as_second();
    let day = |offset: i64| {
        let at = jiff::Timestamp::from_second(now + offset * 86_400).expect("a time");
        let date = at.to_zoned(jiff::tz::TimeZone::UTC).date();
        rcgen::date_time_ymd(
            i32::from(date.year()),
            u8::try_from(date.month()).expect("a month"),
            u8::try_from(date.day()).expect("a day"),
        )
    };
    params.not_before = day(days.min(0) - 1);
    params.not_after = day(days);
    let certificate = match by {
        Some(by) => params.signed_by(&key, by),
        None => params.self_signed(&key),
    }
    .expect("a certificate");
    let x5c = base64::engine::general_purpose::STANDARD.encode(certificate.der());
    let mut jwk = jwk(certificate.der());
    jwk["kid"] = json!(name);
    jwk["use"] = json!("sig");
    jwk["x5c"] = json!([x5c]);
    Keys {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
        jwks: json!({ "keys": [jwk] }),
    }
}

/// The public key of a certificate (RFC 7517).
fn jwk(der: &[u8]) -> Value {
    let (_, certificate) =
        x509_parser::certificate::X509Certificate::from_der(der).expect("a certificate");
    let number = |bytes: &[u8]| {
        let first = bytes.iter().position(|b| *b != 0).unwrap_or(0);
        URL_SAFE_NO_PAD.encode(&bytes[first..])
    };
    match certificate.public_key().parsed().expect("a public key") {
        PublicKey::RSA(rsa) => {
            json!({ "kty": "RSA", "n": number(rsa.modulus), "e": number(rsa.exponent) })
        }
        PublicKey::EC(point) => {
            // An uncompressed point: 4, x, y (SEC 1 section 2.3.3).
            let (x, y) = point.data()[1..].split_at(32);
            json!({ "kty": "EC", "crv": "P-256", "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y) })
        }
        other => unreachable!("{other:?}"),
    }
}

impl Place {
    /// Creates a Secret with a file around a private key. The search for leaks includes only the key: the rest of the file consists of
    /// words that any log may contain.
    pub(crate) async fn put_key_file(&self, name: &str, key: &str, file: &str, private_key: &str) {
        self.canaries.add(private_key);
        let secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": { "name": name },
            "stringData": { key: file },
        });
        let params = PatchParams::apply("a-user").force();
        self.secrets()
            .patch(name, &params, &Patch::Apply(&secret))
            .await
            .expect("a Secret");
    }

    /// Makes or replaces a Secret as cert-manager makes it.
    pub(crate) async fn put_tls(&self, name: &str, keys: &Keys) -> Secret {
        self.canaries.add(&keys.key);
        let secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": { "name": name },
            "stringData": { "tls.crt": keys.certificate, "tls.key": keys.key },
        });
        let params = PatchParams::apply("cert-manager").force();
        self.secrets()
            .patch(name, &params, &Patch::Apply(&secret))
            .await
            .expect("a Secret")
    }
}
