//! Signs JWTs, correctly or with faults.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256,
    RsaKeySize,
};
use serde_json::{Map, Value, json};

pub(crate) const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

pub(crate) struct Signer {
    pub(crate) pair: KeyPair,
    pub(crate) pem: String,
    pub(crate) der: Vec<u8>,
    private: EncodingKey,
    algorithm: Algorithm,
}

impl Signer {
    pub(crate) fn rsa() -> Self {
        let pair = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        let private = EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes()).unwrap();
        Self::of(pair, private, Algorithm::RS256, &params())
    }

    pub(crate) fn p256() -> Self {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let private = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap();
        Self::of(pair, private, Algorithm::ES256, &params())
    }

    /// The same key in a certificate that ended long ago.
    pub(crate) fn expired(self) -> Self {
        let mut params = params();
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
        Self::of(self.pair, self.private, self.algorithm, &params)
    }

    fn of(
        pair: KeyPair,
        private: EncodingKey,
        algorithm: Algorithm,
        params: &CertificateParams,
    ) -> Self {
        let certificate = params.self_signed(&pair).unwrap();
        Self {
            pem: certificate.pem(),
            der: certificate.der().to_vec(),
            pair,
            private,
            algorithm,
        }
    }

    /// The public half, as an issuer publishes it.
    pub(crate) fn jwks(&self, kid: &str) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.private, self.algorithm).unwrap();
        jwk.common.key_id = Some(kid.to_owned());
        jwk.common.key_algorithm = None;
        json!({ "keys": [jwk] })
    }

    pub(crate) fn x5t_s256(&self) -> String {
        URL_SAFE_NO_PAD.encode(digest(&SHA256, &self.der))
    }

    pub(crate) fn x5t(&self) -> String {
        URL_SAFE_NO_PAD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &self.der))
    }

    /// Signs with the algorithm that the header names.
    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        let algorithm = header["alg"].as_str().unwrap().parse().unwrap();
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let signed = jsonwebtoken::crypto::sign(message.as_bytes(), &self.private, algorithm);
        format!("{message}.{}", signed.unwrap())
    }
}

fn params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "robot");
    params
}

pub(crate) fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// The claims of a correct client assertion; each call with another `jti`.
pub(crate) fn claims(client: &str, audience: &str) -> Value {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    json!({
        "iss": client, "sub": client, "aud": audience, "jti": format!("id-{id}"),
        "iat": now(), "nbf": now(), "exp": now() + 600,
    })
}

/// The object with some fields replaced, or taken out by null.
pub(crate) fn with(base: &Value, changes: &Value) -> Value {
    let mut all: Map<String, Value> = base.as_object().unwrap().clone();
    all.extend(changes.as_object().unwrap().clone());
    all.retain(|_, value| !value.is_null());
    Value::Object(all)
}

/// The form with this client authentication in it.
pub(crate) fn with_assertion<'a>(
    base: &[(&'a str, &'a str)],
    assertion: &'a str,
) -> Vec<(&'a str, &'a str)> {
    let assertion = [
        ("client_assertion_type", JWT_BEARER),
        ("client_assertion", assertion),
    ];
    [base, &assertion].concat()
}
