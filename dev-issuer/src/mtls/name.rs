//! Names in certificates, and names as users write them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

use crate::config::TlsSubject;

/// A name in the order in which RFC 4514 writes it: a set of (type as dotted number, value) for each part.
pub(crate) type Name = Vec<BTreeSet<(String, String)>>;

/// RFC 4514 section 3, and two common ones.
const TYPES: [(&str, &str); 12] = [
    ("CN", "2.5.4.3"),
    ("SERIALNUMBER", "2.5.4.5"),
    ("C", "2.5.4.6"),
    ("L", "2.5.4.7"),
    ("ST", "2.5.4.8"),
    ("STREET", "2.5.4.9"),
    ("O", "2.5.4.10"),
    ("OU", "2.5.4.11"),
    ("UID", "0.9.2342.19200300.100.1.1"),
    ("DC", "0.9.2342.19200300.100.1.25"),
    ("E", "1.2.840.113549.1.9.1"),
    ("EMAILADDRESS", "1.2.840.113549.1.9.1"),
];

/// Whether the certificate contains this. Values are compared exactly.
pub(super) fn carries(certificate: &CertificateDer<'_>, wanted: &TlsSubject) -> bool {
    let Ok((_, certificate)) = x509_parser::parse_x509_certificate(certificate) else {
        return false;
    };
    if let TlsSubject::Dn(dn) = wanted {
        return distinguished_name(dn).is_some_and(|wanted| subject(&certificate) == Some(wanted));
    }
    let Ok(Some(names)) = certificate.subject_alternative_name() else {
        return false;
    };
    names
        .value
        .general_names
        .iter()
        .any(|name| match (name, wanted) {
            (GeneralName::DNSName(name), TlsSubject::Dns(wanted)) => {
                name.eq_ignore_ascii_case(wanted)
            }
            (GeneralName::URI(name), TlsSubject::Uri(wanted))
            | (GeneralName::RFC822Name(name), TlsSubject::Email(wanted)) => name == wanted,
            (GeneralName::IPAddress(bytes), TlsSubject::Ip(IpAddr::V4(wanted))) => {
                *bytes == wanted.octets()
            }
            (GeneralName::IPAddress(bytes), TlsSubject::Ip(IpAddr::V6(wanted))) => {
                *bytes == wanted.octets()
            }
            _ => false,
        })
}

/// The subject. In the certificate its parts are in the reverse order of RFC 4514.
fn subject(certificate: &X509Certificate<'_>) -> Option<Name> {
    let parts = certificate.subject().iter_rdn().map(|part| {
        part.iter()
            .map(|a| Some((a.attr_type().to_id_string(), a.as_str().ok()?.to_owned())))
            .collect()
    });
    let mut name: Name = parts.collect::<Option<_>>()?;
    name.reverse();
    Some(name)
}

/// Parses a name of RFC 4514. A blank after a comma is accepted: most programs print one.
pub(crate) fn distinguished_name(text: &str) -> Option<Name> {
    let mut name = vec![BTreeSet::new()];
    let mut rest = text;
    loop {
        let (kind, after) = rest.split_once('=')?;
        let (value, end, after) = value(after)?;
        name.last_mut()?
            .insert((type_id(kind.trim_start())?, value));
        rest = after;
        match end {
            None => return Some(name),
            Some(',') => name.push(BTreeSet::new()),
            Some(_) => {}
        }
    }
}

fn type_id(kind: &str) -> Option<String> {
    let dotted = |kind: &str| {
        let number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        kind.contains('.') && kind.split('.').all(number)
    };
    if dotted(kind) {
        return Some(kind.to_owned());
    }
    let known = TYPES
        .iter()
        .find(|(name, _)| kind.eq_ignore_ascii_case(name));
    known.map(|(_, id)| (*id).to_owned())
}

/// A value, the character that ended it, and the rest.
fn value(text: &str) -> Option<(String, Option<char>, &str)> {
    let mut value = Vec::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ',' | '+' if value.is_empty() => return None,
            ',' | '+' => return Some((String::from_utf8(value).ok()?, Some(c), chars.as_str())),
            '\\' => {
                let escaped = chars.next()?;
                match escaped.to_digit(16) {
                    Some(high) => {
                        let low = chars.next()?.to_digit(16)?;
                        value.push(u8::try_from(high * 16 + low).ok()?);
                    }
                    None => value.extend(escaped.encode_utf8(&mut [0; 4]).bytes()),
                }
            }
            other => value.extend(other.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
    let value = String::from_utf8(value).ok().filter(|v| !v.is_empty())?;
    Some((value, None, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_rfc_4514_writes_them() {
        let set = |parts: &[(&str, &str)]| -> BTreeSet<(String, String)> {
            let own = |(a, b): &(&str, &str)| ((*a).to_owned(), (*b).to_owned());
            parts.iter().map(own).collect()
        };
        // The examples of its section 4.
        for (text, name) in [
            (
                "UID=jsmith,DC=example,DC=net",
                vec![
                    set(&[("0.9.2342.19200300.100.1.1", "jsmith")]),
                    set(&[("0.9.2342.19200300.100.1.25", "example")]),
                    set(&[("0.9.2342.19200300.100.1.25", "net")]),
                ],
            ),
            (
                "OU=Sales+CN=J.  Smith",
                vec![set(&[("2.5.4.3", "J.  Smith"), ("2.5.4.11", "Sales")])],
            ),
            (
                r#"CN=James \"Jim\" Smith\, III"#,
                vec![set(&[("2.5.4.3", r#"James "Jim" Smith, III"#)])],
            ),
            (
                r"CN=Before\0dAfter",
                vec![set(&[("2.5.4.3", "Before\rAfter")])],
            ),
            (r"cn=Lu\C4\8Di\C4\87", vec![set(&[("2.5.4.3", "Lučić")])]),
            (
                "CN=a, 2.5.4.10=b",
                vec![set(&[("2.5.4.3", "a")]), set(&[("2.5.4.10", "b")])],
            ),
        ] {
            assert_eq!(distinguished_name(text), Some(name), "{text}");
        }
        for bad in [
            "", "demo", "CN=", "CN=a,", "XX=a", "CN=a,=b", r"CN=a\", r"CN=a\f", "CN=,O=b",
        ] {
            assert_eq!(distinguished_name(bad), None, "{bad}");
        }
    }
}
