//! Parses the CAs of an issuer: `caBundle` and `caBundleRef`.

use rustls::{RootCertStore, pki_types::CertificateDer};

use super::{
    chain::CertificateSummary,
    pem::{self, Body},
};
use crate::{
    credential::{CaFault, Issuer},
    printable::bounded,
};

/// Why the `caBundle` of an issuer cannot be used, so that no connection to it can be trusted.
pub fn fault(issuer: &Issuer) -> Option<CaFault> {
    if let Some(fault) = &issuer.ca_fault {
        return Some(fault.clone());
    }
    let fault = roots(issuer.ca_bundle.as_deref()?).err()?;
    Some(CaFault::Unusable(fault))
}

/// The certificates of a bundle, each usable as a root. Other content, such as notes and other blocks, is ignored.
///
/// # Errors
/// Which certificate is unusable, and why: a sentence without a full stop.
pub fn roots(text: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    certificates(text, "caBundle").map_err(|fault| {
        fault.unwrap_or_else(|| "caBundle contains no PEM certificate; it is the text itself from -----BEGIN CERTIFICATE----- on, neither a file's name nor base64 of it".to_owned())
    })
}

/// The same for the content of a file.
///
/// # Errors
/// Which certificate is unusable, and why: a sentence without a full stop.
pub fn roots_of_file(text: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    certificates(text, "the file").map_err(|fault| {
        fault.unwrap_or_else(|| "the file contains no PEM certificate; write certificates into it, each from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----".to_owned())
    })
}

/// `place`: what contains the text. The error `None`: it contains no certificate, and nothing that is known.
fn certificates(text: &str, place: &str) -> Result<Vec<CertificateDer<'static>>, Option<String>> {
    let blocks = pem::blocks(text);
    let mut found: Vec<CertificateDer<'static>> = Vec::new();
    let listed = blocks.iter().filter(|b| b.is_certificate());
    for (nth, block) in listed.enumerate() {
        let named = |problem: &str| {
            Err(Some(format!(
                "certificate {} of {place} {problem}",
                nth + 1
            )))
        };
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
            let subject = CertificateSummary::of(&der)
                .map_or_else(String::new, |c| format!(" ({})", c.subject));
            return Err(Some(format!(
                "certificate {} of {place}{subject} cannot be a root: {}; take it out or replace it",
                nth + 1,
                bounded(&error.to_string(), 80)
            )));
        }
        if !found.contains(&der) {
            found.push(der);
        }
    }
    if found.is_empty() {
        return Err(match pem::form_of_text(text) {
            Some(form) => Some(format!("{place} is {}; {}", form.what, form.step)),
            None if blocks.iter().any(pem::Block::is_key) => Some(format!(
                "{place} contains a private key and no certificate; a private key never belongs there, so replace that key as well"
            )),
            None => None,
        });
    }
    Ok(found)
}
