//! Signed JWTs in compact form (RFC 7515 section 3.1), and the client assertion of RFC 7523 section 2.2.

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use super::{client_key::ClientKey, keys::Identity, signing_key::SigningKey};
use crate::{
    api::{SecretAlgorithm, SigningAlgorithm, Thumbprint},
    credential::{Certificate, Endpoint, Issuer, PrivateKey},
};

/// Lifetime of a client assertion for Entra ID in seconds, as Microsoft advises (5 to 10 minutes).
const LIFETIME_AT_ENTRA: i64 = 300;
/// Lifetime elsewhere: with [`BACKDATED`] 90 s, because some servers refuse assertions of more than 120 s, and some those
/// that expire more than 60 s later (Box).
pub(super) const LIFETIME: i64 = 60;
/// How far `iat` and `nbf` lie in the past: a clock 30 s ahead was answered with 400 and even 500 (facts,
/// section 5.4).
pub(super) const BACKDATED: i64 = 30;

/// The content of the header in addition to `alg` and `typ`.
#[derive(Debug, Default)]
pub(super) struct Header {
    pub(super) key_id: Option<String>,
    pub(super) x5t: Option<String>,
    pub(super) x5t_s256: Option<String>,
    pub(super) x5c: Vec<String>,
}

/// Signs `claims`.
pub(super) fn sign(
    key: &SigningKey,
    algorithm: SigningAlgorithm,
    header: &Header,
    claims: &Value,
) -> Result<String, &'static str> {
    let mut fields = Map::new();
    fields.insert("alg".to_owned(), json!(algorithm.as_str()));
    fields.insert("typ".to_owned(), json!("JWT"));
    let texts = [
        ("kid", &header.key_id),
        ("x5t", &header.x5t),
        ("x5t#S256", &header.x5t_s256),
    ];
    for (name, value) in texts {
        if let Some(value) = value {
            fields.insert(name.to_owned(), json!(value));
        }
    }
    if !header.x5c.is_empty() {
        fields.insert("x5c".to_owned(), json!(header.x5c));
    }
    let message = message(fields, claims);
    let signature = key.sign(algorithm, message.as_bytes())?;
    Ok(signed(&message, &signature))
}

/// The signed text: both parts, encoded.
fn message(header: Map<String, Value>, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(&Value::Object(header)), part(claims))
}

fn signed(message: &str, signature: &[u8]) -> String {
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// The client assertion of a client secret: its bytes are the key (OpenID Connect Core sections 9 and 10.1).
pub(super) fn of_secret(
    (client_id, audience): (&str, &str),
    secret: &SecretString,
    algorithm: SecretAlgorithm,
    (now, id): (Timestamp, &str),
) -> String {
    let (name, hash) = match algorithm {
        SecretAlgorithm::HS256 => ("HS256", hmac::HMAC_SHA256),
        SecretAlgorithm::HS384 => ("HS384", hmac::HMAC_SHA384),
        SecretAlgorithm::HS512 => ("HS512", hmac::HMAC_SHA512),
    };
    let mut header = Map::new();
    header.insert("alg".to_owned(), json!(name));
    header.insert("typ".to_owned(), json!("JWT"));
    let message = message(header, &claims((client_id, audience), LIFETIME, (now, id)));
    let key = hmac::Key::new(hash, secret.expose_secret().as_bytes());
    signed(&message, hmac::sign(&key, message.as_bytes()).as_ref())
}

/// The claims of a client assertion (RFC 7523 section 3).
fn claims(
    (client_id, audience): (&str, &str),
    lifetime: i64,
    (now, id): (Timestamp, &str),
) -> Value {
    let now = now.as_second();
    json!({
        "iss": client_id,
        "sub": client_id,
        "aud": audience,
        "jti": id,
        "iat": now - BACKDATED,
        "nbf": now - BACKDATED,
        "exp": now + lifetime,
    })
}

/// The client assertion of a certificate. Entra ID finds the key by the certificate's thumbprint (`x5t#S256` with PS256,
/// `x5t` with RS256: learn.microsoft.com/entra/identity-platform/certificate-credentials), other servers by `kid`. Servers
/// that search for a thumbprint (Spring, Nimbus) refuse one that was not registered with the key.
pub(super) fn of_client(
    (client_id, audience): (&str, &str),
    (issuer, listed): (&Issuer, Option<&[SigningAlgorithm]>),
    certificate: &Certificate,
    identity: &Identity,
    (now, id): (Timestamp, &str),
) -> Result<String, String> {
    let entra = matches!(issuer.endpoint, Endpoint::Entra { .. });
    let of = |problem: &str| {
        format!(
            "key {} of Secret {} {problem}",
            certificate.pair.private_key, certificate.pair.secret
        )
    };
    let key = identity.key().map_err(of)?;
    // PS256 at Entra ID, as Microsoft recommends.
    let usual = if entra {
        SigningAlgorithm::PS256
    } else {
        key.usual(listed)
    };
    let algorithm = key.algorithm(certificate.algorithm, usual).map_err(of)?;
    if entra && !algorithm.is_rsa() {
        return Err(of(
            "is not an RSA key, and Entra ID accepts no other; use RSA",
        ));
    }
    let thumbprint = certificate.thumbprint.or(match (entra, algorithm) {
        (true, SigningAlgorithm::RS256) => Some(Thumbprint::Sha1),
        (true, _) => Some(Thumbprint::Sha256),
        (false, _) => None,
    });
    let of_kind = |kind| thumbprint == Some(kind);
    let header = Header {
        key_id: certificate.key_id.clone(),
        x5t: of_kind(Thumbprint::Sha1).then(|| identity.thumbprint_sha1()),
        x5t_s256: of_kind(Thumbprint::Sha256).then(|| identity.thumbprint_s256()),
        x5c: if certificate.x5c {
            identity.x5c()
        } else {
            Vec::new()
        },
    };
    let lifetime = if entra { LIFETIME_AT_ENTRA } else { LIFETIME };
    let claims = claims((client_id, audience), lifetime, (now, id));
    sign(key, algorithm, &header, &claims).map_err(of)
}

/// The assertion of a GitHub App. GitHub accepts only RS256, and finds the key by trying all keys of the app.
pub(super) fn of_github_app(
    settings: &PrivateKey,
    key: &ClientKey,
    claims: &Value,
) -> Result<String, String> {
    let of = |problem: &str| settings.sentence(problem);
    let rs256 = [SigningAlgorithm::RS256];
    if key.algorithm(settings, Some(&rs256)).map_err(of)? != SigningAlgorithm::RS256 {
        return Err(of(
            "does not sign with RS256, the only algorithm that GitHub accepts; use the private key of the app (RSA), and remove algorithm",
        ));
    }
    sign(
        key.key(),
        SigningAlgorithm::RS256,
        &Header::default(),
        claims,
    )
    .map_err(of)
}

/// The client assertion of a private key without a certificate. The issuer finds the public key by `kid`.
pub(super) fn of_key(
    (client_id, audience): (&str, &str),
    listed: Option<&[SigningAlgorithm]>,
    settings: &PrivateKey,
    key: &ClientKey,
    moment: (Timestamp, &str),
) -> Result<String, String> {
    let of = |problem: &str| settings.sentence(problem);
    let algorithm = key.algorithm(settings, listed).map_err(of)?;
    let header = Header {
        key_id: Some(key.id(settings)),
        ..Header::default()
    };
    let claims = claims((client_id, audience), LIFETIME, moment);
    sign(key.key(), algorithm, &header, &claims).map_err(of)
}
