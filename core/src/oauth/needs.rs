//! The inputs that must be read before a request (secrets, files, ServiceAccount tokens), and the values that were read.

use secrecy::{ExposeSecret, SecretString};

use super::{ClientKey, Grant, Local, TokenEndpoint, keys::Identity, pem, secret_form};
use crate::{
    api::{Cloud, SecretKeyRef},
    credential::{AccountToken, Credential, Endpoint},
    input,
};

/// Longest text that is accepted from a Secret. A refresh token that apicred has stored must be readable: some issuers put
/// encrypted claims of a user with many groups into it.
const MAX_TEXT: usize = 64 * 1024;

/// An input to read.
#[derive(Clone, Debug, PartialEq)]
pub enum RequiredInput {
    /// One line of a Secret: a secret, a token, a password.
    Line(SecretKeyRef),
    /// A file of a Secret: keys in PEM or JSON.
    File(SecretKeyRef),
    /// A token of a ServiceAccount.
    Account(AccountToken),
}

impl RequiredInput {
    /// The key of the Secret, if it is read from one.
    pub const fn reference(&self) -> Option<&SecretKeyRef> {
        match self {
            Self::Line(reference) | Self::File(reference) => Some(reference),
            Self::Account(_) => None,
        }
    }
}

/// The client authentication material, read just before the request.
pub enum Material {
    /// No client authentication.
    None,
    /// A client secret.
    Secret(SecretString),
    /// A key that signs an assertion, and the position of its certificate in the spec: each has its own settings.
    Signer(Box<Identity>, usize),
    /// A private key without a certificate, which signs an assertion.
    Key(Box<ClientKey>),
    /// An assertion for this request: a token of a ServiceAccount or of a managed identity.
    Assertion(SecretString),
    /// An assertion from a Secret.
    Stored(SecretString),
    /// A certificate for the TLS handshake.
    Tls(Box<Identity>),
    /// The operator's own federated token (Entra Workload ID), and the client id from its environment.
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
    /// Whether the client shows a certificate in the TLS handshake.
    pub const fn shows_certificate(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// A client secret from the bytes of a Secret's key.
    ///
    /// # Errors
    /// A sentence for the user when the bytes are not a client secret.
    pub fn from_secret_bytes(bytes: &[u8]) -> Result<Self, String> {
        secret_text(bytes).map(Self::Secret)
    }

    /// The odd form of a client secret that was refused, if it has one: the rest of a sentence that begins with "what is
    /// stored". Only for users who may read the Secret.
    pub fn odd(&self, client_id: &str) -> Option<String> {
        match self {
            Self::Secret(secret) => secret_form::of_secret(secret.expose_secret(), client_id),
            _ => None,
        }
    }

    /// The validity period of its certificate, if it has one.
    pub fn validity(&self) -> Option<crate::oauth::Validity> {
        match self {
            Self::Signer(identity, _) | Self::Tls(identity) => identity.validity(),
            _ => None,
        }
    }

    /// Distinguishes two requests in progress beside [`Self::fingerprint_input`]: another program replaces a stored assertion before it
    /// expires. Those that apicred requests are always new.
    pub fn in_flight_input(&self) -> &str {
        match self {
            Self::Stored(assertion) => assertion.expose_secret(),
            _ => "",
        }
    }

    /// Distinguishes two client authentications, for the keyed fingerprint. An assertion does not count, whether apicred requests it or another
    /// program stores it: it is valid for minutes, and a new one does not produce a different token.
    pub fn fingerprint_input(&self) -> &str {
        match self {
            Self::None
            | Self::Assertion(_)
            | Self::Stored(_)
            | Self::Workload { .. }
            | Self::Local(_) => "",
            Self::Secret(secret) => secret.expose_secret(),
            Self::Key(key) => key.fingerprint_input(),
            Self::Signer(identity, _) | Self::Tls(identity) => identity.fingerprint_input(),
        }
    }
}

/// A grant input in a form that the issuer may have refused.
#[derive(Clone, Debug, PartialEq)]
pub struct Odd {
    /// Its position among the Secrets of the grant.
    pub place: usize,
    /// The kind of value that it should be.
    pub noun: &'static str,
    /// The rest of a sentence that begins with "what is stored". Only for users who may read the Secret.
    pub form: String,
}

/// The first input of a grant that has an odd form.
pub fn odd_grant_input(grant: &Grant, grant_inputs: &[SecretString]) -> Option<Odd> {
    let needs = grant.needs();
    let stored = needs.iter().zip(grant_inputs);
    let stored = stored.filter(|(need, _)| need.reference().is_some());
    stored.enumerate().find_map(|(place, (need, grant_input))| {
        let text = grant_input.expose_secret();
        let (noun, form) = match (grant, need) {
            (_, RequiredInput::File(_) | RequiredInput::Account(_))
            | (Grant::ClientCredentials | Grant::Extension(_), _) => return None,

            (Grant::RefreshToken(_), _) => ("refresh token", secret_form::of_refresh_token(text)),
            (Grant::Password(_), _) => ("password", secret_form::of_password(text)),
            (Grant::OnBehalfOf(_) | Grant::JwtBearer(_) | Grant::TokenExchange(_), _) => {
                ("token", secret_form::of_token(text))
            }
        };
        form.map(|form| Odd { place, noun, form })
    })
}

/// One line of a Secret. One line end at its end is removed, since editors and `echo` add it and no issuer issues a secret that ends with one.
///
/// # Errors
/// A sentence for the user when the bytes are not one line of text.
pub fn secret_text(bytes: &[u8]) -> Result<SecretString, String> {
    let text = match std::str::from_utf8(bytes) {
        // UTF-16 of ASCII letters is UTF-8 as well, with a zero byte next to each letter.
        Ok(text) if !text.contains('\0') => text,
        _ => {
            let what = match input::text(bytes) {
                Ok(text) if text.as_bytes() == bytes => {
                    "has a control character (U+0000) inside; store only the value".to_owned()
                }
                Ok(_) => "is UTF-16, as PowerShell writes it; store the value as UTF-8".to_owned(),
                Err(why) => format!("{why}; store the value itself, as text"),
            };
            return Err(what);
        }
    };
    let text = text
        .strip_suffix('\n')
        .map_or(text, |t| t.strip_suffix('\r').unwrap_or(t));
    if text.is_empty() {
        return Err("is empty; store the value under it".to_owned());
    }
    if text.len() > MAX_TEXT {
        return Err("is longer than 64 KiB; secrets and tokens are shorter".to_owned());
    }
    if text.chars().any(char::is_control) {
        let what = if text.contains("-----BEGIN ") {
            "is PEM (a certificate or a key), where one line of text is needed; use client.certificates or client.mtls for it"
        } else if is_wrapped_base64(text) {
            "is Base64 with line breaks, as base64 and openssl write it; store it in one line (base64 -w0 FILE)"
        } else {
            "has a line break or control character inside; store only the value"
        };
        return Err(what.to_owned());
    }
    Ok(SecretString::from(text))
}

/// True for Base64 that a tool has broken into lines. `base64` writes 76 characters per line (RFC 2045 section 6.8), `openssl` 64. Shorter lines
/// may be several values.
fn is_wrapped_base64(text: &str) -> bool {
    let lines: Vec<&str> = text.lines().collect();
    let [first, .., last] = lines.as_slice() else {
        return false;
    };
    let full = &lines[..lines.len() - 1];
    let is_of_base64 = |b: u8| b.is_ascii_alphanumeric() || b"+/-_".contains(&b);
    first.len() >= 60
        && full.iter().all(|line| line.len() == first.len())
        && full.iter().all(|line| line.bytes().all(is_of_base64))
        && (1..=first.len()).contains(&last.len())
        && last.trim_end_matches('=').bytes().all(is_of_base64)
}

/// A file of keys from a Secret. The text around the keys may be in any charset.
///
/// # Errors
/// The rest of a sentence that begins with the key's name, when the bytes are not such a file.
pub fn file(bytes: &[u8]) -> Result<SecretString, String> {
    if bytes.len() > MAX_TEXT {
        return Err("is longer than 64 KiB; a key file is shorter".to_owned());
    }
    if let Some(form) = pem::form_of_bytes(bytes) {
        return Err(format!("is {}; {}", form.what, form.step));
    }
    let text = input::lossy(bytes).map_err(|why| format!("{why}; store the key as PEM"))?;
    if text.trim().is_empty() {
        return Err("is empty; store the key under it".to_owned());
    }
    Ok(SecretString::from(text.into_owned()))
}

/// The default audience of a ServiceAccount's token (facts, section 1.5).
pub fn account_audience(credential: &Credential, endpoint: Option<&TokenEndpoint>) -> String {
    let issuer = &credential.issuer;
    match (&issuer.endpoint, issuer.cloud) {
        (Endpoint::Entra { .. }, Cloud::Public) => "api://AzureADTokenExchange".to_owned(),
        (Endpoint::Entra { .. }, Cloud::USGov) => "api://AzureADTokenExchangeUSGov".to_owned(),
        (Endpoint::Entra { .. }, Cloud::China) => "api://AzureADTokenExchangeChina".to_owned(),
        (Endpoint::Discover(url), _) => endpoint
            .and_then(|e| e.issuer.clone())
            .or_else(|| issuer.places.issuer.clone())
            .unwrap_or_else(|| url.to_string()),
        _ => endpoint.map_or_else(
            || issuer.origin.clone(),
            |e| e.issuer.clone().unwrap_or_else(|| e.url.to_string()),
        ),
    }
}
