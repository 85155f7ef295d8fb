//! The way of a request: what an explanation of its failure needs to know.

use super::trust::Count;
use crate::{bounded, oauth::redaction::Net};

/// The way of a request that broke.
pub(super) struct Way {
    /// Host of the URL, and its port.
    pub(super) host: String,
    pub(super) port: u16,
    /// The issuer is Entra ID without an issuer object: no user wrote the host.
    pub(super) built_in: bool,
    /// Whether a proxy was used, and with user and password.
    pub(super) proxy: Option<WithUser>,
    /// Whether a client certificate is sent if the server requests one.
    pub(super) shows: bool,
    /// Cuts out of a certificate's names what is secret in the request: a server may have read it before.
    pub(super) hide: Option<Net>,
    /// What was seen in handshakes since the request began.
    pub(super) seen: Count,
}

/// Was the proxy given a user and password?
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct WithUser(pub(super) bool);

impl Way {
    pub(super) fn place(&self) -> String {
        format!("{}:{}", bounded(&self.host, 253), self.port)
    }

    /// In place of a word of the server about a client certificate, when it said none.
    pub(super) fn maybe_certificate(&self) -> &'static str {
        match (self.shows, self.seen.asked > 0) {
            (true, true) => {
                "; it requested a client certificate, and some servers close the connection like this if they do not accept it"
            }
            (false, true) => "; it requests a client certificate, which only client.mtls sends",
            _ => "",
        }
    }
}
