//! A spec parsed into values that cannot be wrong. PURE: no client, no clock, no I/O.
//!
//! [`parse`] reports every fault at once, each with the path of its field and the mend. Everything after it takes
//! a [`Credential`] and need not check again. [`binding`] answers the two questions of tenancy: may this namespace
//! ask this issuer for this, and may this Secret's content go to that origin.

pub mod binding;
mod error;
mod issuer;
mod parse;
#[cfg(test)]
mod tests;

pub use error::FieldError;
pub use issuer::{Endpoint, Issuer, IssuerId, SecretStyle, entra_authority};
pub use parse::{IssuerLookup, parse};

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::api::{DeletionPolicy, SecretKeyRef, SecretType};

/// A valid credential with its issuer.
#[derive(Clone, Debug, PartialEq)]
pub struct Credential {
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// UID of the object.
    pub uid: String,
    /// Generation of the spec.
    pub generation: i64,
    /// Where to ask.
    pub issuer: Issuer,
    /// OAuth client id.
    pub client_id: String,
    /// Client secrets, in the order of trying.
    pub secrets: Vec<SecretKeyRef>,
    /// What to ask for.
    pub ask: Ask,
    /// Where the answer goes.
    pub target: TargetSecret,
    /// The floor the user set, if any.
    pub min_lifetime: Option<SignedDuration>,
    /// No work wanted.
    pub suspend: bool,
    /// Value of the annotation that asks for a renewal.
    pub renew_requested: Option<String>,
}

/// The part of a token request that says what the token is for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ask {
    /// Scopes, in the user's order.
    pub scopes: Vec<String>,
    /// Resource indicator.
    pub resource: Option<String>,
    /// Audience parameter.
    pub audience: Option<String>,
    /// Further form parameters.
    pub parameters: BTreeMap<String, String>,
}

/// The Secret to write, as declared.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetSecret {
    /// Name in the credential's namespace.
    pub name: String,
    /// Its type.
    pub type_: SecretType,
    /// User labels.
    pub labels: BTreeMap<String, String>,
    /// User annotations.
    pub annotations: BTreeMap<String, String>,
    /// What happens when the credential goes.
    pub deletion: DeletionPolicy,
}

/// Identity of a credential that is being deleted or cannot be parsed: enough to find what it left behind.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Key {
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Age order of two credentials that name one Secret: the older wins, equal times by UID.
pub type Seniority = (Timestamp, String);
