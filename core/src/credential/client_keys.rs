//! The keys with which a client signs: certificates, private keys, and the tokens of its `ServiceAccount`.

use super::{Credential, last_good::TLS};
use crate::{
    api::{
        CertificateClient, KeyClient, SecretKeyRef, ServiceAccountToken, SigningAlgorithm,
        Thumbprint,
    },
    oauth::{TokenEndpoint, account_audience},
};

/// Minimum and default lifetime of a ServiceAccount token: the API server issues none below ten minutes.
const ACCOUNT_SECONDS: i64 = 600;

/// Where a certificate and its key are.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyPair {
    /// Name of the Secret.
    pub secret: String,
    /// Key of the certificate chain.
    pub certificate: String,
    /// Key of the private key.
    pub private_key: String,
}

impl KeyPair {
    /// The key of its Secret that identifies it: a Secret may contain several pairs.
    pub fn reference(&self) -> SecretKeyRef {
        SecretKeyRef {
            name: self.secret.clone(),
            key: self.private_key.clone(),
        }
    }
}

/// A certificate for assertions.
#[derive(Clone, Debug, PartialEq)]
pub struct Certificate {
    /// Where it is.
    pub pair: KeyPair,
    /// Signature algorithm, if set.
    pub algorithm: Option<SigningAlgorithm>,
    /// `kid` of the header.
    pub key_id: Option<String>,
    /// Thumbprint of the header, if set.
    pub thumbprint: Option<Thumbprint>,
    /// Whether to send the chain.
    pub x5c: bool,
}

/// A private key without a certificate.
#[derive(Clone, Debug, PartialEq)]
pub struct PrivateKey {
    /// Where it is.
    pub reference: SecretKeyRef,
    /// `kid` of the header, if set.
    pub key_id: Option<String>,
    /// Signature algorithm, if set.
    pub algorithm: Option<SigningAlgorithm>,
}

impl PrivateKey {
    /// The problem, in a sentence that names field and Secret.
    pub fn sentence(&self, problem: &str) -> String {
        let SecretKeyRef { name, key } = &self.reference;
        format!("client.key: key {key} of Secret {name} {problem}")
    }
}

/// A ServiceAccount token to request.
#[derive(Clone, Debug, PartialEq)]
pub struct AccountToken {
    /// Name of the ServiceAccount.
    pub name: String,
    /// Audience, if set.
    pub audience: Option<String>,
    /// Lifetime in seconds.
    pub seconds: i64,
}

impl AccountToken {
    /// The audience of the token: the one in the spec, otherwise the one that the issuer accepts. `endpoint`: where the token is sent, if that
    /// is known.
    pub fn audience_at(&self, credential: &Credential, endpoint: Option<&TokenEndpoint>) -> String {
        let chosen = self.audience.clone();
        chosen.unwrap_or_else(|| account_audience(credential, endpoint))
    }
}

impl From<&KeyClient> for PrivateKey {
    fn from(spec: &KeyClient) -> Self {
        Self {
            reference: SecretKeyRef {
                name: spec.secret_name.clone(),
                key: spec.key.clone(),
            },
            key_id: spec.key_id.clone(),
            algorithm: spec.algorithm,
        }
    }
}

impl From<&CertificateClient> for Certificate {
    fn from(spec: &CertificateClient) -> Self {
        Self {
            pair: pair(
                &spec.secret_name,
                spec.certificate_key.as_ref(),
                spec.private_key_key.as_ref(),
            ),
            algorithm: spec.algorithm,
            key_id: spec.key_id.clone(),
            thumbprint: spec.thumbprint,
            x5c: spec.x5c.unwrap_or_default(),
        }
    }
}

impl From<&ServiceAccountToken> for AccountToken {
    fn from(spec: &ServiceAccountToken) -> Self {
        Self {
            name: spec.name.clone(),
            audience: spec.audience.clone(),
            seconds: spec
                .expiration_seconds
                .map_or(ACCOUNT_SECONDS, i64::from)
                .clamp(ACCOUNT_SECONDS, 86_400),
        }
    }
}

pub(super) fn pair(secret: &str, certificate: Option<&String>, key: Option<&String>) -> KeyPair {
    let or = |chosen: Option<&String>, usual: &str| chosen.map_or(usual, String::as_str).to_owned();
    KeyPair {
        secret: secret.to_owned(),
        certificate: or(certificate, TLS.0),
        private_key: or(key, TLS.1),
    }
}
