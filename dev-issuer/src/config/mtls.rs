//! Clients that authenticate with a certificate in the TLS handshake (RFC 8705).

use std::net::SocketAddr;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;

use super::Client;
use crate::Error;
use crate::mtls::distinguished_name;

/// A second listener, which requests client certificates, so that clients without one never get such a request (RFC 8705
/// section 5). It serves the same paths.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mtls {
    /// The address on which it listens.
    pub listen: SocketAddr,
    /// Certificates, as PEM, of the authorities that may sign certificates of clients with a subject.
    #[serde(default)]
    pub client_cas: Vec<String>,
}

/// The required content of a client's certificate; one of the ways of RFC 8705 section 2.1.2.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum TlsSubject {
    /// The whole subject, as RFC 4514 writes it, such as `CN=demo,O=Contoso`.
    Dn(String),
    /// One of its DNS names.
    Dns(String),
    /// One of its URIs.
    Uri(String),
    /// One of its IP addresses.
    Ip(std::net::IpAddr),
    /// One of its mail addresses.
    Email(String),
}

impl From<&str> for TlsSubject {
    fn from(dn: &str) -> Self {
        Self::Dn(dn.to_owned())
    }
}

impl Client {
    /// Allows it to authenticate with a certificate with this subject, from a trusted authority
    /// (`tls_client_auth`).
    #[must_use]
    pub fn tls_subject(mut self, subject: impl Into<TlsSubject>) -> Self {
        self.tls_subject = Some(subject.into());
        self
    }

    /// Allows it to authenticate with exactly this certificate, given as PEM, whichever CA signed it
    /// (`self_signed_tls_client_auth`).
    #[must_use]
    pub fn tls_certificate(mut self, pem: impl Into<String>) -> Self {
        self.tls_certificates.push(pem.into());
        self
    }
}

impl Mtls {
    pub(crate) fn check(&self) -> Result<(), Error> {
        check_certificates("mtls.clientCas", &self.client_cas)
    }
}

pub(super) fn check_client(at: &str, client: &Client) -> Result<(), Error> {
    if let Some(subject) = &client.tls_subject {
        check_subject(&format!("{at}.tlsSubject"), subject)?;
    }
    check_certificates(&format!("{at}.tlsCertificates"), &client.tls_certificates)
}

pub(super) fn check_subject(at: &str, subject: &TlsSubject) -> Result<(), Error> {
    match subject {
        TlsSubject::Dn(dn) if distinguished_name(dn).is_none() => {
            let message = "must be a name such as CN=demo,O=Contoso";
            Err(Error::config(format!("{at}.dn"), message))
        }
        _ => Ok(()),
    }
}

fn check_certificates(at: &str, pems: &[String]) -> Result<(), Error> {
    let bad = |pem: &String| CertificateDer::from_pem_slice(pem.as_bytes()).is_err();
    match pems.iter().position(bad) {
        Some(i) => {
            let message = "must be a certificate as PEM";
            Err(Error::config(format!("{at}[{i}]"), message))
        }
        None => Ok(()),
    }
}
