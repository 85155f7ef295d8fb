//! The way of a request: where it may go, and what an explanation of its failure needs to know.

use url::Url;

use super::{trust::Count, tunnel};
use crate::{
    Reason, bounded,
    credential::{Issuer, addresses},
    oauth::{Class, TokenError, redaction::Net},
};

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

/// Is this address one that a request may go to?
pub(super) fn may_send(issuer: &Issuer, url: &Url, local: bool) -> Result<(), TokenError> {
    if local {
        if issuer.operator_identity.is_none() || !addresses::is_local(url) {
            return Err(TokenError::local(
                Class::Invalid,
                Reason::AddressNotAllowed,
                "a managed identity endpoint must be a loopback or link-local address that a ClusterTokenIssuer names",
            ));
        }
    } else {
        if url.scheme() != "https" {
            return Err(TokenError::local(
                Class::Invalid,
                Reason::TlsRequired,
                "apicred speaks to issuers over https only",
            ));
        }
        addresses::check_literal(url, &issuer.allowed_cidrs)
            .map_err(|refused| tunnel::of_document(issuer, url.host_str(), refused.into()))?;
    }
    Ok(())
}
