//! Private keys and certificates out of PEM: what signs an assertion and what is shown in a TLS handshake.

use aws_lc_rs::{
    digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest},
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256,
        RSA_PSS_SHA256, RsaKeyPair,
    },
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jiff::Timestamp;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use secrecy::{ExposeSecret, SecretString};

use crate::api::SigningAlgorithm;

/// Longest chain that is taken.
const MAX_CHAIN: usize = 10;

/// A private key that can sign.
pub enum SigningKey {
    /// RSA of 2048 bits or more.
    Rsa(Box<RsaKeyPair>),
    /// ECDSA on P-256.
    P256(Box<EcdsaKeyPair>),
}

impl SigningKey {
    /// Reads the first private key of a PEM text: PKCS#8, PKCS#1 or SEC 1, not encrypted.
    ///
    /// # Errors
    /// The rest of a sentence that begins with the key's name.
    pub fn from_pem(pem: &str) -> Result<Self, &'static str> {
        if pem.contains("ENCRYPTED") {
            return Err("is encrypted; store it without a pass phrase");
        }
        if pem.contains("\\n") {
            return Err("has \\n in place of line breaks; store the text with real ones");
        }
        let der = PrivateKeyDer::from_pem_slice(pem.as_bytes())
            .map_err(|_| "holds no private key in PEM")?;
        let bytes = der.secret_der();
        let rsa = match &der {
            PrivateKeyDer::Pkcs1(_) => RsaKeyPair::from_der(bytes),
            _ => RsaKeyPair::from_pkcs8(bytes),
        };
        if let Ok(key) = rsa {
            return Ok(Self::Rsa(Box::new(key)));
        }
        EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, bytes)
            .map(|key| Self::P256(Box::new(key)))
            .map_err(|_| "cannot be signed with; use RSA of 2048 bits or more, or EC on P-256")
    }

    /// The algorithm to sign with: what the user chose if the key can, else `rsa` for RSA and ES256 for P-256.
    ///
    /// # Errors
    /// The rest of a sentence that begins with the key's name.
    pub fn algorithm(
        &self,
        chosen: Option<SigningAlgorithm>,
        rsa: SigningAlgorithm,
    ) -> Result<SigningAlgorithm, &'static str> {
        let fits = |a: SigningAlgorithm| match self {
            Self::Rsa(_) => a != SigningAlgorithm::ES256,
            Self::P256(_) => a == SigningAlgorithm::ES256,
        };
        match (chosen, self) {
            (Some(a), _) if fits(a) => Ok(a),
            (Some(_), Self::Rsa(_)) => Err("is an RSA key; set algorithm to PS256 or RS256"),
            (Some(_), Self::P256(_)) => Err("is a P-256 key; set algorithm to ES256"),
            (None, Self::Rsa(_)) => Ok(rsa),
            (None, Self::P256(_)) => Ok(SigningAlgorithm::ES256),
        }
    }

    /// Signs.
    ///
    /// # Errors
    /// The rest of a sentence that begins with the key's name.
    pub fn sign(
        &self,
        algorithm: SigningAlgorithm,
        message: &[u8],
    ) -> Result<Vec<u8>, &'static str> {
        const FAILED: &str = "could not sign; is it damaged?";
        let random = SystemRandom::new();
        match self {
            Self::Rsa(key) => {
                let padding = if algorithm == SigningAlgorithm::PS256 {
                    &RSA_PSS_SHA256
                } else {
                    &RSA_PKCS1_SHA256
                };
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(padding, &random, message, &mut signature)
                    .map_err(|_| FAILED)?;
                Ok(signature)
            }
            Self::P256(key) => key
                .sign(&random, message)
                .map(|s| s.as_ref().to_vec())
                .map_err(|_| FAILED),
        }
    }

    fn public(&self) -> &[u8] {
        match self {
            Self::Rsa(key) => key.public_key().as_ref(),
            Self::P256(key) => key.public_key().as_ref(),
        }
    }
}

/// A certificate's time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Validity {
    /// First moment.
    pub from: Timestamp,
    /// Last moment.
    pub until: Timestamp,
}

/// A certificate chain and its private key.
pub struct Identity {
    key: SigningKey,
    chain: Vec<CertificateDer<'static>>,
    validity: Validity,
    pem: SecretString,
}

impl Identity {
    /// From the PEM of the certificate (its chain after it) and of the key.
    ///
    /// # Errors
    /// A sentence for the user, without a full stop.
    pub fn from_pem(certificate: &str, key: &str) -> Result<Self, String> {
        let chain = CertificateDer::pem_slice_iter(certificate.as_bytes())
            .take(MAX_CHAIN)
            .collect::<Result<Vec<_>, _>>()
            .ok()
            .filter(|c| !c.is_empty())
            .ok_or("the certificate is not PEM; it stands under a key of its own, the private key under another")?;
        let (_, leaf) = x509_parser::parse_x509_certificate(&chain[0])
            .map_err(|_| "the certificate cannot be read")?;
        let at = |t: x509_parser::time::ASN1Time| Timestamp::from_second(t.timestamp());
        let validity = Validity {
            from: at(leaf.validity().not_before).map_err(|_| "the certificate has no date")?,
            until: at(leaf.validity().not_after).map_err(|_| "the certificate has no date")?,
        };
        let spki = leaf.public_key().subject_public_key.data.to_vec();
        let pair =
            SigningKey::from_pem(key).map_err(|problem| format!("the private key {problem}"))?;
        if pair.public() != spki.as_slice() {
            return Err(
                "the private key does not belong to the certificate; the client's own certificate comes first, the CAs that signed it after it"
                    .to_owned(),
            );
        }
        Ok(Self {
            key: pair,
            validity,
            pem: SecretString::from(format!("{}\n{}", certificate.trim_end(), key.trim_end())),
            chain,
        })
    }

    /// The key.
    pub const fn key(&self) -> &SigningKey {
        &self.key
    }

    /// The time of the certificate.
    pub const fn validity(&self) -> Option<Validity> {
        Some(self.validity)
    }

    /// Certificate chain and key as one PEM text.
    pub const fn pem(&self) -> &SecretString {
        &self.pem
    }

    /// What tells it from another.
    pub(super) fn essence(&self) -> &str {
        self.pem.expose_secret()
    }

    /// A name for it that gives nothing away: the certificate's SHA-256.
    pub fn thumbprint_s256(&self) -> String {
        URL_SAFE_NO_PAD.encode(digest(&SHA256, &self.chain[0]))
    }

    /// `x5t` (RFC 7515 section 4.1.7).
    pub fn thumbprint_sha1(&self) -> String {
        URL_SAFE_NO_PAD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &self.chain[0]))
    }

    /// `x5c` (RFC 7515 section 4.1.6): standard base64, leaf first.
    pub fn x5c(&self) -> Vec<String> {
        self.chain.iter().map(|c| STANDARD.encode(c)).collect()
    }
}
