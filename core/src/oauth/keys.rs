//! A certificate and its private key in PEM, for assertions and for the TLS handshake.

use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jiff::{SignedDuration, Timestamp};
use rustls::{
    crypto::aws_lc_rs::sign::any_supported_type,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use secrecy::{ExposeSecret, SecretString};
use x509_parser::{
    prelude::{FromDer, X509Certificate},
    x509::SubjectPublicKeyInfo,
};

use super::{
    Class, TokenError, client_chain,
    pem::{self, Block},
    private_keys::{USABLE, damaged, kind, private_keys},
    signing_key::SigningKey,
};
use crate::{input::at_second, reason::Reason};

/// Maximum number of certificates of a text; a bundle of all public CAs has about 150.
const MAX_CERTIFICATES: usize = 256;

/// Maximum number of private keys whose certificates are searched for: each costs a computation on its curve.
pub const MAX_KEYS_SEARCHED: usize = 16;

/// A certificate in DER, without the trust settings that OpenSSL writes after it.
fn certificate_of(der: &[u8]) -> Option<&[u8]> {
    let (after, _) = x509_parser::parse_x509_certificate(der).ok()?;
    Some(&der[..der.len() - after.len()])
}

/// The certificates of these texts whose private key is in one of them, in DER. Each certificate and each key is read once. `None`: there are
/// too many private keys to compare.
pub fn with_private_keys(texts: &[&str]) -> Option<Vec<Vec<u8>>> {
    let blocks: Vec<Block<'_>> = texts.iter().flat_map(|text| pem::blocks(text)).collect();
    let all = blocks.iter().filter(|b| b.is_certificate());
    let all = all.filter_map(|b| certificate_of(b.der()?));
    let certificates: BTreeMap<&[u8], Vec<u8>> =
        all.filter_map(|der| Some((der, public_in(der)?))).collect();
    if certificates.is_empty() {
        return Some(Vec::new());
    }
    let keys = blocks.iter().filter(|b| b.is_key()).filter_map(Block::der);
    let keys: BTreeSet<&[u8]> = keys.collect();
    if keys.len() > MAX_KEYS_SEARCHED {
        return None;
    }
    let keys = keys
        .into_iter()
        .filter_map(|der| PrivateKeyDer::try_from(der).ok());
    let publics: BTreeSet<Vec<u8>> = keys.filter_map(|key| public_of(&key)).collect();
    let paired = certificates
        .into_iter()
        .filter(|(_, public)| publics.contains(public));
    Some(paired.map(|(der, _)| der.to_vec()).collect())
}

/// The certificates of a text, in its order.
///
/// # Errors
/// The rest of a sentence that begins with "the certificate".
fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let blocks = pem::blocks(text);
    let mut chain = Vec::new();
    for (nth, block) in blocks.iter().filter(|b| b.is_certificate()).enumerate() {
        let which = match nth {
            0 => String::new(),
            n => format!("'s chain, at place {},", n + 1),
        };
        if nth == MAX_CERTIFICATES {
            return Err(format!(
                " is in a file of more than {MAX_CERTIFICATES} certificates; store only the certificate and its chain"
            ));
        }
        let Some(der) = block.der() else {
            return Err(format!("{which} {}", damaged(block)));
        };
        let Some(der) = certificate_of(der) else {
            return Err(format!(
                "{which} cannot be read as X.509; it is damaged, store it again"
            ));
        };
        // Concatenated files contain some certificates twice. Servers refuse such a chain (x5c, TLS).
        if !chain
            .iter()
            .any(|known: &CertificateDer<'_>| known.as_ref() == der)
        {
            chain.push(CertificateDer::from(der.to_vec()));
        }
    }
    if !chain.is_empty() {
        return Ok(chain);
    }
    Err(match pem::form_of_text(text) {
        Some(form) => format!(" is {}; {}", form.what, form.step),
        None if blocks.iter().any(Block::is_key) => {
            " is missing: there is a private key in its place; are the keys of the Secret swapped?"
                .to_owned()
        }
        None => " is not PEM; the certificate and the private key are in two keys of the Secret"
            .to_owned(),
    })
}

/// The public key of a key that TLS can use, as a certificate contains it.
fn public_of(key: &PrivateKeyDer<'_>) -> Option<Vec<u8>> {
    let key = any_supported_type(key).ok()?;
    let spki = key.public_key()?;
    let (_, spki) = SubjectPublicKeyInfo::from_der(&spki).ok()?;
    Some(spki.subject_public_key.data.to_vec())
}

/// The validity period of a certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Validity {
    /// First moment.
    pub from: Timestamp,
    /// Last moment.
    pub until: Timestamp,
}

/// The clocks of issuers and of this machine may differ by this much.
const SKEW: SignedDuration = SignedDuration::from_secs(300);

/// Why a certificate cannot be used now, if it is outside its validity period. Another one of the list may work. One that is
/// not valid yet is tried again when it is.
pub fn outside(validity: Validity, now: Timestamp) -> Option<TokenError> {
    let early = validity.from > now.saturating_add(SKEW).unwrap_or(Timestamp::MAX);
    let (reason, next_step) = if validity.until <= now {
        (Reason::CertificateExpired, "it has expired; renew it")
    } else if early {
        (
            Reason::CertificateNotYetValid,
            "apicred uses it from then on; list the one before it as well",
        )
    } else {
        return None;
    };
    Some(TokenError {
        about_client: true,
        retry_at: early.then_some(validity.from),
        ..TokenError::local(
            Class::Denied,
            reason,
            format!(
                "the certificate is valid from {} to {} only; {next_step}",
                validity.from, validity.until
            ),
        )
    })
}

fn common_name(certificate: &X509Certificate<'_>) -> Option<String> {
    let mut names = certificate.subject().iter_common_name();
    names.next()?.as_str().ok().map(str::to_owned)
}

/// A certificate chain and its private key.
pub struct Identity {
    /// The key that signs assertions, or why it cannot: the rest of a sentence that begins with the key's name.
    signer: Result<SigningKey, String>,
    chain: Vec<CertificateDer<'static>>,
    validity: Validity,
    version: u32,
    name: Option<String>,
    pem: SecretString,
}

impl Identity {
    /// From the PEM of the certificate (with its chain, in any order) and of the key.
    ///
    /// # Errors
    /// A sentence for the user, without a full stop.
    pub fn from_pem(certificate: &str, key: &str) -> Result<Self, String> {
        let sent =
            certificates(certificate).map_err(|problem| format!("the certificate{problem}"))?;
        let keys = private_keys(key).map_err(|problem| format!("the private key {problem}"))?;
        let usable: Vec<_> = keys.iter().map(|key| (key, public_of(key))).collect();
        if usable.iter().all(|(_, public)| public.is_none()) {
            let kind = keys.first().map_or("missing", kind);
            return Err(format!(
                "the private key is {kind}, which neither TLS nor assertions can use; use {USABLE}"
            ));
        }
        let certified: Vec<_> = sent.iter().map(|c| public_in(c)).collect();
        let pairs = usable.iter().filter_map(|(key, public)| {
            let at = certified.iter().position(|c| c.is_some() && c == public)?;
            Some((*key, at))
        });
        // Of several keys and certificates, the pair whose certificate is first in the text.
        let Some((key, at)) = pairs.min_by_key(|(_, at)| *at) else {
            return Err(
                "the private key does not belong to the certificate; renew both together, or store the pair that was made together"
                    .to_owned(),
            );
        };
        let chain = client_chain::of(sent, at);
        let (_, leaf) =
            X509Certificate::from_der(&chain[0]).map_err(|_| "the certificate cannot be read")?;
        // RFC 5280 section 4.1.2.5: the end of the year 9999 means that there is no end.
        let validity = Validity {
            from: at_second(leaf.validity().not_before.timestamp()),
            until: at_second(leaf.validity().not_after.timestamp()),
        };
        Ok(Self {
            signer: SigningKey::of(key),
            version: leaf.version().0 + 1,
            name: common_name(&leaf),
            validity,
            pem: SecretString::from(written(&chain, key)),
            chain,
        })
    }

    /// The key, for assertions.
    ///
    /// # Errors
    /// The rest of a sentence that begins with the key's name.
    pub fn key(&self) -> Result<&SigningKey, &str> {
        self.signer.as_ref().map_err(String::as_str)
    }

    /// Checks that it may be used in a TLS handshake.
    ///
    /// # Errors
    /// A sentence for the user, without a full stop.
    pub fn fits_tls(&self) -> Result<(), String> {
        if self.version < 3 {
            return Err(format!(
                "the certificate is X.509 version {}, which TLS servers do not accept; have it issued as version 3, with extendedKeyUsage clientAuth (openssl x509 -req needs -extfile for that)",
                self.version
            ));
        }
        Ok(())
    }

    /// The validity period of the certificate.
    pub const fn validity(&self) -> Option<Validity> {
        Some(self.validity)
    }

    /// The common name of the certificate's subject.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Certificate chain and key as one PEM text.
    pub const fn pem(&self) -> &SecretString {
        &self.pem
    }

    /// Distinguishes it from other identities.
    pub(super) fn fingerprint_input(&self) -> &str {
        self.pem.expose_secret()
    }

    /// Identifies it among all chains and keys, without their content.
    pub fn digest(&self) -> String {
        URL_SAFE_NO_PAD.encode(digest(&SHA256, self.pem.expose_secret().as_bytes()))
    }

    /// `x5t#S256` (RFC 7515 section 4.1.8).
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

fn public_in(certificate: &[u8]) -> Option<Vec<u8>> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(parsed.public_key().subject_public_key.data.to_vec())
}

/// Chain and key as PEM, in the same form for every input encoding.
fn written(chain: &[CertificateDer<'_>], key: &PrivateKeyDer<'_>) -> String {
    let block = |label: &str, der: &[u8]| {
        format!(
            "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
            STANDARD.encode(der)
        )
    };
    let label = match key {
        PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
        PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
        _ => "PRIVATE KEY",
    };
    let mut text: String = chain.iter().map(|c| block("CERTIFICATE", c)).collect();
    text.push_str(&block(label, key.secret_der()));
    text
}
