//! Parses the CAs of an issuer: `caBundle` and `caBundleRef`.

use rustls::{RootCertStore, pki_types::CertificateDer};

use super::{
    chain::Card,
    pem::{self, Body},
};
use crate::{credential::Issuer, printable::bounded};

/// Why the `caBundle` of an issuer cannot be used, so that no connection to it can be trusted.
pub fn fault(issuer: &Issuer) -> Option<String> {
    if let Some(fault) = &issuer.ca_fault {
        return Some(fault.clone());
    }
    roots(issuer.ca_bundle.as_deref()?).err()
}

/// The certificates of a bundle, each usable as a root. Other content, such as notes and other blocks, is ignored.
///
/// # Errors
/// Which certificate is unusable, and why: a sentence without a full stop.
pub fn roots(text: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let blocks = pem::blocks(text);
    let mut found: Vec<CertificateDer<'static>> = Vec::new();
    let certificates = blocks.iter().filter(|b| b.is_certificate());
    for (nth, block) in certificates.enumerate() {
        let named = |problem: &str| Err(format!("certificate {} of caBundle {problem}", nth + 1));
        let der = match &block.body {
            Body::Der(der) => CertificateDer::from(der.as_slice()),
            Body::Unended => return named("is cut off: it has no line -----END CERTIFICATE-----"),
            Body::Damaged | Body::Encrypted => {
                return named("is not base64 between its two lines; copy it again");
            }
        };
        let Ok((after, _)) = x509_parser::parse_x509_certificate(&der) else {
            return named("cannot be read as X.509; it is damaged or cut, copy it again");
        };
        // OpenSSL's TRUSTED CERTIFICATE has its settings after the certificate.
        let der = CertificateDer::from(der[..der.len() - after.len()].to_vec());
        if let Err(error) = RootCertStore::empty().add(der.clone()) {
            let subject = Card::of(&der).map_or_else(String::new, |c| format!(" ({})", c.subject));
            return Err(format!(
                "certificate {} of caBundle{subject} cannot be a root: {}; take it out or replace it",
                nth + 1,
                bounded(&error.to_string(), 80)
            ));
        }
        if !found.contains(&der) {
            found.push(der);
        }
    }
    if found.is_empty() {
        return Err(match pem::form_of_text(text) {
            Some(form) => format!("caBundle is {}; {}", form.what, form.step),
            None if blocks.iter().any(pem::Block::is_key) => {
                "caBundle contains a private key and no certificate; a private key never belongs into an issuer, so replace that key as well".to_owned()
            }
            None => "caBundle contains no PEM certificate; it is the text itself from -----BEGIN CERTIFICATE----- on, neither a file's name nor base64 of it".to_owned(),
        });
    }
    Ok(found)
}
