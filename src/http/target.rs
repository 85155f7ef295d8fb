//! The target of a request: where it may be sent, and the details that explain its failure.

use url::Url;

use super::{trust::Count, tunnel};
use crate::{
    Reason, bounded,
    credential::{Issuer, addresses},
    oauth::{Class, TokenError, redaction::Net},
};

/// The target of a failed request.
pub(super) struct RequestTarget {
    /// Host of the URL, and its port.
    pub(super) host: String,
    pub(super) port: u16,
    /// The issuer is Entra ID without an issuer object: no user wrote the host.
    pub(super) built_in: bool,
    /// Whether a proxy was used, and with user and password.
    pub(super) proxy: Option<WithUser>,
    /// Whether a client certificate is sent if the server requests one.
    pub(super) shows: bool,
    /// Removes the request's secrets from the names of a certificate: a server may have read them before.
    pub(super) hide: Option<Net>,
    /// Events in handshakes since the request began.
    pub(super) seen: Count,
}

/// Whether the proxy was given a user and password.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct WithUser(pub(super) bool);

impl RequestTarget {
    pub(super) fn place(&self) -> String {
        format!("{}:{}", bounded(&self.host, 253), self.port)
    }

    /// Replaces an alert about the client certificate, which some servers do not send.
    pub(super) fn maybe_certificate(&self) -> &'static str {
        match (self.shows, self.seen.certificate_requested > 0) {
            (true, true) => {
                "; it requested a client certificate, and some servers close the connection like this if they do not accept it"
            }
            (false, true) => "; it requests a client certificate, which only client.mtls sends",
            _ => "",
        }
    }
}

/// Checks that a request may be sent to this address.
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
                "apicred connects to issuers only over https",
            ));
        }
        addresses::check_literal(url, &issuer.allowed_cidrs)
            .map_err(|refused| tunnel::of_document(issuer, url.host_str(), refused.into()))?;
    }
    Ok(())
}
