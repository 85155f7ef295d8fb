//! Client certificates (RFC 8705): the checks of a certificate, and the binding of tokens to it.
//!
//! In the handshake any certificate is accepted, if the client has its key. The token endpoint decides whether it is the correct
//! one, so that a client gets an OAuth error and not a broken connection.

mod handle;
mod name;
mod verifier;

use std::sync::Arc;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs as crypto;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;

use crate::claims::Confirmation;
use crate::config::{Client, Config, TlsSubject};
use crate::log::AuthMethod;

pub(crate) use name::distinguished_name;
pub(crate) use verifier::AnyCertificate;

/// How a client would authenticate with a certificate, if it is registered for that.
pub(crate) fn method(client: &Client) -> Option<AuthMethod> {
    if client.tls_subject.is_some() {
        Some(AuthMethod::TlsClientAuth)
    } else if client.tls_certificates.is_empty() {
        None
    } else {
        Some(AuthMethod::SelfSignedTlsClientAuth)
    }
}

/// Whether the chain authenticates this client. An issued token is bound to its first certificate.
pub(crate) fn authenticate(
    config: &Config,
    client: &Client,
    chain: &[CertificateDer<'static>],
) -> Option<Confirmation> {
    let (own, others) = chain.split_first()?;
    let by_subject = client.tls_subject.as_ref().is_some_and(|subject| {
        let authorities = config.mtls.iter().flat_map(|mtls| &mtls.client_cas);
        vouched(subject, authorities, (own, others))
    });
    // RFC 8705 section 2.2: the chain is not checked.
    let by_itself = || {
        let mut listed = client.tls_certificates.iter();
        listed.any(|pem| parse(pem).is_some_and(|known| known == *own))
    };
    (by_subject || by_itself()).then(|| confirmation(own))
}

/// The claim of a token that is bound to a certificate (RFC 8705 section 3.1).
pub(crate) fn confirmation(certificate: &CertificateDer<'_>) -> Confirmation {
    let hash = digest::digest(&digest::SHA256, certificate);
    Confirmation {
        x5t_s256: URL_SAFE_NO_PAD.encode(hash),
    }
}

/// Whether it has this subject, and one of the authorities (PEM) signed it, valid now and for use by a client.
pub(crate) fn vouched<'a>(
    subject: &TlsSubject,
    authorities: impl Iterator<Item = &'a String>,
    (own, others): (&CertificateDer<'_>, &[CertificateDer<'_>]),
) -> bool {
    name::carries(own, subject) && is_trusted(authorities, own, others)
}

fn is_trusted<'a>(
    authorities: impl Iterator<Item = &'a String>,
    own: &CertificateDer<'_>,
    others: &[CertificateDer<'_>],
) -> bool {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(authorities.filter_map(|pem| parse(pem)));
    let provider = Arc::new(crypto::default_provider());
    // Without roots there is no verifier, so no certificate is trusted.
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .is_ok_and(|verifier| {
            let now = UnixTime::now();
            verifier.verify_client_cert(own, others, now).is_ok()
        })
}

fn parse(pem: &str) -> Option<CertificateDer<'static>> {
    CertificateDer::from_pem_slice(pem.as_bytes()).ok()
}
