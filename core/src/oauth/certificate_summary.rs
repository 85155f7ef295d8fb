//! The displayed properties of a certificate. All names come from outside, so they are bounded and printable.

use x509_parser::prelude::{GeneralName, ParsedExtension, X509Certificate};

use crate::printable::bounded;

/// Longest distinguished name that is shown, in characters.
const MAX_NAME: usize = 96;
/// Longest host name that is shown.
const MAX_HOST: usize = 64;

/// The displayed properties of a certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertificateSummary {
    /// Its subject, bounded and printable.
    pub subject: String,
    /// Its issuer, bounded and printable.
    pub issuer: String,
    /// True if subject and issuer are the same name.
    pub(super) self_issued: bool,
    /// True if it is marked as a CA.
    pub(super) ca: bool,
    /// 1 or 3.
    pub version: u32,
    /// DNS names and addresses of subjectAltName.
    pub(super) names: Vec<String>,
    pub(super) until: i64,
    /// The bytes of the issuer's name, for comparison.
    pub(super) issuer_raw: Vec<u8>,
    pub(super) subject_raw: Vec<u8>,
    /// Identifiers of its key and of the key that signed it, if it has them (RFC 5280 sections 4.2.1.1 and 4.2.1.2).
    pub(super) key: Option<Vec<u8>>,
    pub(super) signer: Option<Vec<u8>>,
}

impl CertificateSummary {
    /// Reads a certificate in DER. `None` if it is not X.509.
    pub fn of(der: &[u8]) -> Option<Self> {
        let (_, parsed) = x509_parser::parse_x509_certificate(der).ok()?;
        let name = |text: String| {
            let text = bounded(&text, MAX_NAME);
            if text.is_empty() {
                "a certificate without a subject".to_owned()
            } else {
                text
            }
        };
        Some(Self {
            subject: name(parsed.subject().to_string()),
            issuer: name(parsed.issuer().to_string()),
            self_issued: parsed.subject().as_raw() == parsed.issuer().as_raw(),
            ca: parsed.is_ca(),
            version: parsed.version().0 + 1,
            names: names(&parsed),
            until: parsed.validity().not_after.timestamp(),
            issuer_raw: parsed.issuer().as_raw().to_vec(),
            subject_raw: parsed.subject().as_raw().to_vec(),
            key: parsed
                .iter_extensions()
                .find_map(|e| match e.parsed_extension() {
                    ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
                    _ => None,
                }),
            signer: parsed
                .iter_extensions()
                .find_map(|e| match e.parsed_extension() {
                    ParsedExtension::AuthorityKeyIdentifier(id) => {
                        id.key_identifier.as_ref().map(|id| id.0.to_vec())
                    }
                    _ => None,
                }),
        })
    }
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(found)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let shown = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(bounded(name, MAX_HOST)),
        GeneralName::IPAddress(bytes) => match **bytes {
            [a, b, c, d] => Some(std::net::Ipv4Addr::new(a, b, c, d).to_string()),
            _ => <[u8; 16]>::try_from(*bytes)
                .ok()
                .map(|b| std::net::Ipv6Addr::from(b).to_string()),
        },
        _ => None,
    };
    found.value.general_names.iter().filter_map(shown).collect()
}
