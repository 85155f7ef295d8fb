//! Errors that prevent the start of the issuer or a requested change.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Why the issuer did not start, or did not end normally.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting is wrong; `field` is its path in the file.
    #[error("config: {field}: {message}")]
    Config {
        /// Path of the field, such as `clients[1].roles.demo`.
        field: String,
        /// What is wrong with it.
        message: String,
    },
    /// The config file cannot be read.
    #[error("cannot read the config file {}: {source}", path.display())]
    ReadConfig {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The address is in use or not available on this machine.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The admin listener returns no credentials but accepts them, without TLS: loopback only.
    #[error("the admin listener takes secrets in the clear, so it must be on loopback, not on {0}")]
    AdminNotLoopback(SocketAddr),
    /// The creation of a key or a certificate failed.
    #[error("cannot make {what}: {reason}")]
    Crypto {
        /// The object that was to be created.
        what: &'static str,
        /// Why it was not.
        reason: String,
    },
    /// No client has this id.
    #[error("no client has the id {0:?}")]
    UnknownClient(String),
    /// No user has this name.
    #[error("no user has the name {0:?}")]
    UnknownUser(String),
    /// No device code waits for a user under this user code.
    #[error("no device waits under this code")]
    UnknownUserCode,
}

impl Error {
    pub(crate) fn config(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Config {
            field: field.into(),
            message: message.into(),
        }
    }

    pub(crate) fn crypto(what: &'static str, reason: &impl ToString) -> Self {
        Self::Crypto {
            what,
            reason: reason.to_string(),
        }
    }
}
