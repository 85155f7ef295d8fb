//! A reason that is read from a status, which another version of apicred may have written.

use std::fmt;

use crate::Reason;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A reason from a status or a Secret. Another version of apicred may have written one that is not known here: it stays readable, and has no
/// properties.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum StoredReason {
    /// One of this version.
    Known(Reason),
    /// Another text. [`StoredReason::from`] creates it only from a text that is not a [`Reason`].
    Other(Box<str>),
}

impl StoredReason {
    /// The text in a condition.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Known(reason) => reason.as_str(),
            Self::Other(text) => text,
        }
    }

    /// The reason, if it is one of this version.
    #[must_use]
    pub const fn known(&self) -> Option<Reason> {
        match self {
            Self::Known(reason) => Some(*reason),
            Self::Other(_) => None,
        }
    }

    /// Whether it is known and has this property.
    #[must_use]
    pub fn is(&self, property: impl FnOnce(Reason) -> bool) -> bool {
        self.known().is_some_and(property)
    }

    /// Whether it has the form of a condition's reason.
    #[must_use]
    pub fn is_well_formed(&self) -> bool {
        let text = self.as_str();
        (1..=64).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric())
    }
}

impl From<Reason> for StoredReason {
    fn from(reason: Reason) -> Self {
        Self::Known(reason)
    }
}

impl From<&Self> for StoredReason {
    fn from(reason: &Self) -> Self {
        reason.clone()
    }
}

impl From<&str> for StoredReason {
    fn from(text: &str) -> Self {
        Reason::parse(text).map_or_else(|| Self::Other(text.into()), Self::Known)
    }
}

impl fmt::Display for StoredReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for StoredReason {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for StoredReason {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(String::deserialize(from)?.as_str().into())
    }
}
