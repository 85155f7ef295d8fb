//! What a request needs that has to be read first, and what was read.

use base64::Engine;
use secrecy::{ExposeSecret, SecretString};

use super::{Local, TokenEndpoint, keys::Identity};
use crate::{
    api::{Cloud, SecretKeyRef},
    credential::{AccountToken, Credential, Endpoint},
};

/// Longest text that is taken from a Secret: 16 KiB for a word, 64 KiB for a file of keys.
const MAX_WORD: usize = 16 * 1024;
const MAX_FILE: usize = 64 * 1024;

/// One thing to read.
#[derive(Clone, Debug, PartialEq)]
pub enum Need {
    /// One line out of a Secret: a secret, a token, a password.
    Word(SecretKeyRef),
    /// A file out of a Secret: keys in PEM or JSON.
    File(SecretKeyRef),
    /// A token of a ServiceAccount.
    Account(AccountToken),
}

impl Need {
    /// The key of the Secret that is needed, if it is one.
    pub const fn reference(&self) -> Option<&SecretKeyRef> {
        match self {
            Self::Word(reference) | Self::File(reference) => Some(reference),
            Self::Account(_) => None,
        }
    }
}

/// What proves the client, read just before the request.
pub enum Material {
    /// Nothing does.
    None,
    /// A client secret.
    Secret(SecretString),
    /// A key that signs an assertion.
    Signer(Box<Identity>),
    /// A ready assertion: a token of a ServiceAccount.
    Assertion(SecretString),
    /// A certificate for the TLS handshake.
    Tls(Box<Identity>),
    /// The operator's own federated token (Entra Workload ID), and the client id of its environment.
    Workload {
        /// The token.
        assertion: SecretString,
        /// `AZURE_CLIENT_ID`.
        client_id: Option<String>,
    },
    /// An identity endpoint of the operator's machine.
    Local(Local),
}

impl Material {
    /// A client secret from the bytes of a Secret's key.
    ///
    /// # Errors
    /// A sentence for the user when the bytes cannot be one.
    pub fn from_secret_bytes(bytes: &[u8]) -> Result<Self, &'static str> {
        word(bytes).map(Self::Secret)
    }

    /// What a client secret looks like that was stored wrongly. It may be right all the same, so it is told only once
    /// the issuer has refused it; and nothing but the dress of it is told.
    pub fn odd(&self) -> Option<&'static str> {
        let Self::Secret(secret) = self else {
            return None;
        };
        let text = secret.expose_secret();
        let quoted = |q: char| text.len() > 1 && text.starts_with(q) && text.ends_with(q);
        let encoded = || {
            let bytes = base64::engine::general_purpose::STANDARD.decode(text);
            bytes.is_ok_and(|b| b.len() >= 12 && b.iter().all(u8::is_ascii_graphic))
        };
        if text.trim() != text {
            Some("what is stored begins or ends with a blank")
        } else if text.starts_with('\u{feff}') {
            Some("what is stored begins with a byte order mark, as Windows writes it")
        } else if quoted('"') || quoted('\'') {
            Some("what is stored stands in quotation marks")
        } else if encoded() {
            Some(
                "what is stored looks like base64 of something else; stringData takes the value as it is, and kubectl create secret as well",
            )
        } else {
            None
        }
    }

    /// When a certificate that is part of it ends.
    pub fn ends(&self) -> Option<crate::oauth::Validity> {
        match self {
            Self::Signer(identity) | Self::Tls(identity) => identity.validity(),
            _ => None,
        }
    }

    /// The text that tells one proof from another, for the keyed fingerprint; a ServiceAccount's token is another
    /// one each time and does not count.
    pub fn essence(&self) -> &str {
        match self {
            Self::None | Self::Assertion(_) | Self::Workload { .. } | Self::Local(_) => "",
            Self::Secret(secret) => secret.expose_secret(),
            Self::Signer(identity) | Self::Tls(identity) => identity.essence(),
        }
    }
}

/// One line out of a Secret. One line end at its end is taken off, since editors and `echo` leave it there and no
/// issuer hands out a secret that ends in one.
///
/// # Errors
/// A sentence for the user when the bytes cannot be one.
pub fn word(bytes: &[u8]) -> Result<SecretString, &'static str> {
    let text =
        std::str::from_utf8(bytes).map_err(|_| "is not text (UTF-8); store the value itself")?;
    let text = text
        .strip_suffix('\n')
        .map_or(text, |t| t.strip_suffix('\r').unwrap_or(t));
    if text.is_empty() {
        return Err("is empty; store the value under it");
    }
    if text.len() > MAX_WORD {
        return Err("is longer than 16 KiB; secrets and tokens are shorter");
    }
    if text.chars().any(char::is_control) {
        return Err("has a line break or control character inside; store the value alone");
    }
    Ok(SecretString::from(text))
}

/// A file out of a Secret.
///
/// # Errors
/// A sentence for the user when the bytes cannot be one.
pub fn file(bytes: &[u8]) -> Result<SecretString, &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "is not text; store the key as PEM")?;
    if text.trim().is_empty() {
        return Err("is empty; store the key under it");
    }
    if text.len() > MAX_FILE {
        return Err("is longer than 64 KiB; a key file is shorter");
    }
    Ok(SecretString::from(text))
}

/// The audience of a ServiceAccount's token if nobody chose one (facts, section 1.5).
pub fn account_audience(credential: &Credential, endpoint: Option<&TokenEndpoint>) -> String {
    let issuer = &credential.issuer;
    match (&issuer.endpoint, issuer.cloud) {
        (Endpoint::Entra { .. }, Cloud::Public) => "api://AzureADTokenExchange".to_owned(),
        (Endpoint::Entra { .. }, Cloud::USGov) => "api://AzureADTokenExchangeUSGov".to_owned(),
        (Endpoint::Entra { .. }, Cloud::China) => "api://AzureADTokenExchangeChina".to_owned(),
        (Endpoint::Discover(url), _) => endpoint
            .and_then(|e| e.issuer.clone())
            .unwrap_or_else(|| url.to_string()),
        _ => endpoint.map_or_else(
            || issuer.origin.clone(),
            |e| e.issuer.clone().unwrap_or_else(|| e.url.to_string()),
        ),
    }
}
