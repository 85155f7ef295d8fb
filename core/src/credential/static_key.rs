//! `spec.static`: a key that is published as it is, such as the legacy API tokens of Cloud App Security. It is not a grant: no
//! request is sent, so it has neither an issuer nor a client.

use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};

use crate::{
    api::{self, SecretKeyRef},
    input, oauth,
};

/// `maxAge` if not set: 90 days.
const MAX_AGE: SignedDuration = SignedDuration::from_hours(90 * 24);
/// `scheme` if not set. Cloud App Security requires it.
const SCHEME: &str = "Token";

/// Where the key is and how it is published.
#[derive(Clone, Debug, PartialEq)]
pub struct StaticKey {
    /// The key of a Secret that contains it.
    pub token: SecretKeyRef,
    /// The scheme in the `Authorization` header.
    pub scheme: String,
    /// When it was created, if the spec sets it.
    pub created_at: Option<Timestamp>,
    /// Age of the key after which `StaticKeyOld` is reported.
    pub max_age: SignedDuration,
}

impl StaticKey {
    /// The field with the name of its Secret.
    pub(super) const FIELD: &'static str = "spec.static.tokenRef.name";

    /// Parses a spec.
    pub fn new(spec: &api::StaticKey) -> Self {
        Self {
            token: spec.token_ref.clone(),
            scheme: spec.scheme.clone().unwrap_or_else(|| SCHEME.to_owned()),
            created_at: spec.created_at.as_ref().map(|t| t.0),
            max_age: spec
                .max_age
                .and_then(|d| SignedDuration::try_from(std::time::Duration::from(d)).ok())
                .unwrap_or(MAX_AGE),
        }
    }

    /// Values that identify the published token, for its fingerprint, in addition to the key itself.
    pub(crate) fn fingerprint_parts(&self) -> [&str; 2] {
        ["static", &self.scheme]
    }

    /// The key in the bytes of a Secret. Like [`oauth::secret_text`], but blanks, line ends and marks around it are removed, because the
    /// published value must work unchanged.
    ///
    /// # Errors
    /// A sentence for the user if the bytes cannot be a key.
    pub fn from_secret_bytes(bytes: &[u8]) -> Result<SecretString, String> {
        let text =
            input::text(bytes).map_err(|why| format!("{why}; store the key itself, as text"))?;
        let around = |c: char| c.is_whitespace() || c == '\u{feff}' || c == '\0';
        let key = oauth::secret_text(text.trim_matches(around).as_bytes())?;
        match oauth::form_in_header(key.expose_secret()) {
            Some(form) => Err(form),
            None => Ok(key),
        }
    }
}
