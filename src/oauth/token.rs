//! A token as the rest of apicred sees it. Never `Debug`, never `Serialize`: it holds the secret itself.

use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::sign_in::of_api;

/// A token just received.
#[derive(Clone)]
pub struct Token {
    /// The access token. Opaque: only ever written into the Secret.
    pub secret: SecretString,
    /// The new refresh token, if the answer has one.
    pub refresh_token: Option<SecretString>,
    /// Where the API answers, if the issuer says so (Salesforce's `instance_url`).
    pub instance_url: Option<String>,
    /// What the token says of itself, if it can be read.
    pub claims: Option<Box<Claims>>,
    /// How it is presented: `Bearer`, or the scheme of a static key.
    pub token_type: String,
    /// When it was asked for: the moment before the request left, so that no answer is believed to live longer
    /// than it does.
    pub issued_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Where the end was learnt.
    pub lifetime_source: LifetimeSource,
    /// When the issuer would like to be asked again, from `issued_at` on.
    pub refresh_in: Option<SignedDuration>,
    /// Scopes granted, if the answer says so.
    pub scope: Option<String>,
    /// The token's own id (`uti` or `jti` of a readable JWT), to find it in the issuer's logs.
    pub id: Option<String>,
    /// The issuer's id of the exchange.
    pub correlation_id: Option<String>,
}

impl Token {
    /// Scopes that were asked for and not granted, as far as the answer tells (RFC 6749 section 5.1: a scope that is
    /// not the one asked for must be named). An API's name before a scope may be there or not; `.default` stands for
    /// whatever there is.
    pub fn not_granted(&self, asked: &[String]) -> Vec<String> {
        let Some(granted) = &self.scope else {
            return Vec::new();
        };
        let bare = |scope: &str| {
            scope
                .rsplit('/')
                .next()
                .unwrap_or(scope)
                .to_ascii_lowercase()
        };
        let granted: Vec<String> = granted.split([' ', ',']).map(bare).collect();
        let mut missing = of_api(asked);
        missing.retain(|s| !s.ends_with(".default") && !granted.contains(&bare(s)));
        missing
    }
}

/// What a readable JWT says about its rights. Never trusted; noted to compare with what is expected.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Claims {
    /// `roles`.
    #[serde(rename = "r", default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// `scp` or `scope`, split at spaces.
    #[serde(rename = "s", default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// `aud`.
    #[serde(rename = "a", default, skip_serializing_if = "Vec::is_empty")]
    pub audience: Vec<String>,
    /// `tid`.
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
}

/// Where a lifetime was learnt, best first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LifetimeSource {
    /// `expires_in` of the answer.
    ExpiresIn,
    /// `expires_on` of the answer.
    ExpiresOn,
    /// `exp` inside a readable JWT.
    Jwt,
    /// `assumedLifetime` of the issuer.
    Assumed,
    /// Nobody said anything: 15 minutes.
    Guessed,
    /// It has no end: a static key.
    Static,
}

impl LifetimeSource {
    /// The name that is noted on the Secret.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ExpiresIn => "ExpiresIn",
            Self::ExpiresOn => "ExpiresOn",
            Self::Jwt => "Jwt",
            Self::Assumed => "Assumed",
            Self::Guessed => "Guessed",
            Self::Static => "Static",
        }
    }
}
