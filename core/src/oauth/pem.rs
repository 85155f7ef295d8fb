//! Reads PEM as users and tools write it, and describes other input.
//!
//! RFC 7468 section 2 allows text around the blocks and white space in them. Real files have byte order marks, notes in other charsets, all
//! content on one line, YAML indentation, or `\n` from JSON.

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use x509_parser::asn1_rs::{Any, FromBer, Tag};

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";
/// Most blocks that are read; a bundle of all public CAs has about 150.
const MAX_BLOCKS: usize = 1024;
/// Longest label: `ENCRYPTED PRIVATE KEY` has 21 characters.
const MAX_LABEL: usize = 48;

/// Base64 with or without padding, also if the last digit has more bits than are needed.
pub(crate) const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// One block of a PEM text.
pub struct Block<'a> {
    /// The label after `BEGIN`.
    pub label: &'a str,
    /// What is between the two lines.
    pub body: Body,
}

/// What is between the two lines of a block.
pub enum Body {
    /// The bytes, decoded.
    Der(Vec<u8>),
    /// Encrypted, by headers of RFC 1421, as old versions of OpenSSL write them.
    Encrypted,
    /// Not base64.
    Damaged,
    /// There is no `END`.
    Unended,
}

impl Block<'_> {
    /// True for a certificate, by its label.
    pub fn is_certificate(&self) -> bool {
        // The latter two are OpenSSL's: the same content, and the same with trust settings after it.
        matches!(
            self.label,
            "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE"
        )
    }

    /// True for a private key that may be read, by its label.
    pub fn is_key(&self) -> bool {
        matches!(
            self.label,
            "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY"
        )
    }

    /// The bytes, if they can be read.
    pub fn der(&self) -> Option<&[u8]> {
        match &self.body {
            Body::Der(der) => Some(der),
            _ => None,
        }
    }
}

/// The blocks of a text, in order.
pub fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(BEGIN).filter(|_| found.len() < MAX_BLOCKS) {
        rest = &rest[at + BEGIN.len()..];
        let Some((label, body)) = rest.split_once(DASHES) else {
            break;
        };
        if label.len() > MAX_LABEL {
            continue;
        }
        let next = body.find(BEGIN).unwrap_or(body.len());
        let end = body[..next].find(END);
        let inside = match end {
            Some(end) => decode(&body[..end]),
            None => Body::Unended,
        };
        found.push(Block {
            label: label.trim(),
            body: inside,
        });
        rest = &body[end.unwrap_or(next)..];
    }
    found
}

fn decode(body: &str) -> Body {
    if body.contains("Proc-Type:") && body.contains("ENCRYPTED") {
        return Body::Encrypted;
    }
    let body = body.replace("\\r", "").replace("\\n", "\n");
    let bare: String = body
        .lines()
        // Headers of RFC 1421, and attributes of the predecessors of RFC 7468.
        .filter(|line| !line.contains(':'))
        .flat_map(str::chars)
        .filter(|c| !is_around(*c))
        .collect();
    match LENIENT.decode(bare) {
        Ok(der) if !der.is_empty() => Body::Der(der),
        _ => Body::Damaged,
    }
}

/// Whether this character may stand around a key without a meaning.
pub(super) fn is_around(c: char) -> bool {
    c.is_whitespace() || is_invisible(c)
}

/// Invisible characters that word processors, chats and web pages leave in copied text: soft hyphen, zero-width characters,
/// directional marks, word joiner, byte order mark.
pub(super) fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}')
}

/// A file that is not the required PEM: a noun, and what to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Form {
    /// What the file is.
    pub what: &'static str,
    /// What to do.
    pub step: &'static str,
}

const fn form(what: &'static str, step: &'static str) -> Form {
    Form { what, step }
}

const PKCS12: Form = form(
    "a PKCS#12 file (.pfx, .p12)",
    "convert it to PEM: openssl pkcs12 -in FILE -noenc -nocerts -out NEW.key and openssl pkcs12 -in FILE -nokeys -out NEW.crt",
);
const JKS: Form = form(
    "a Java keystore (JKS)",
    "convert it: keytool -importkeystore -srckeystore FILE -destkeystore NEW.p12 -deststoretype PKCS12, then openssl pkcs12 -in NEW.p12 -noenc",
);
const PKCS7: Form = form(
    "a PKCS#7 file (.p7b)",
    "convert it to PEM: openssl pkcs7 -print_certs -in FILE -out NEW.crt (with -inform DER if it is binary)",
);
const DER_CERTIFICATE: Form = form(
    "a certificate in DER",
    "convert it to PEM: openssl x509 -inform DER -in FILE -out NEW.crt",
);
const DER_KEY: Form = form(
    "a private key in DER",
    "convert it to PEM: openssl pkey -inform DER -in FILE -out NEW.key",
);
const ENCRYPTED: Form = form(
    "a private key that is encrypted",
    "store it without a pass phrase: openssl pkey -in FILE -out NEW.key",
);
const OPENSSH: Form = form(
    "a private key in OpenSSH's format",
    "convert a copy: ssh-keygen -p -m PKCS8 -N '' -f COPY",
);
const SSH_PUBLIC: Form = form(
    "a public SSH key",
    "store the private key of an X.509 certificate, PEM",
);
const PUTTY: Form = form(
    "a key of PuTTY",
    "convert it: puttygen FILE -O private-openssh -o NEW, then ssh-keygen -p -m PKCS8 -N '' -f NEW",
);
const PGP: Form = form(
    "a PGP key or message",
    "store PEM of X.509, which begins with -----BEGIN CERTIFICATE----- or -----BEGIN PRIVATE KEY-----",
);
pub(super) const PUBLIC: Form = form(
    "a public key",
    "store the certificate, and the private key under its own key",
);
const REQUEST: Form = form(
    "a certificate signing request (CSR)",
    "store the certificate that the CA issued for it",
);
const CRL: Form = form("a list of revoked certificates (CRL)", "store certificates");
const DSA: Form = form(
    "a DSA key",
    "TLS 1.3 and OAuth have no use for it; make an RSA or EC key",
);
const JWK: Form = form("a JWK (JSON)", "store the same key as PEM");
const DECODE: &str = "decode it once: base64 -d FILE (stringData takes the text as it is)";
const BASE64: Form = form("base64 of PEM", DECODE);
const BASE64_KEY_FILE: Form = form("Base64 of a key file", DECODE);
const BASE64_BINARY: Form = form(
    "base64 without the lines of PEM around it",
    "decode it (base64 -d FILE) and convert the result to PEM",
);
const DASHED: Form = form(
    "PEM whose dashes were changed by a text program",
    "store the file as it was made; its first line begins with five hyphens: -----BEGIN",
);
const PATH: Form = form(
    "the name of a file",
    "store the content of the file, from -----BEGIN on",
);

/// The kind of a text, if it is known and is neither certificates nor a plain private key in PEM.
pub(super) fn form_of_text(text: &str) -> Option<Form> {
    let text = text.trim_matches(is_around);
    let by_label = blocks(text).iter().find_map(|block| {
        Some(match block.label {
            _ if matches!(block.body, Body::Encrypted) => ENCRYPTED,
            "ENCRYPTED PRIVATE KEY" => ENCRYPTED,
            "OPENSSH PRIVATE KEY" => OPENSSH,
            "DSA PRIVATE KEY" => DSA,
            "PUBLIC KEY" | "RSA PUBLIC KEY" | "EC PUBLIC KEY" => PUBLIC,
            "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => REQUEST,
            "PKCS7" | "PKCS #7 SIGNED DATA" | "CMS" => PKCS7,
            "X509 CRL" => CRL,
            "SSH2 PUBLIC KEY" => SSH_PUBLIC,
            label if label.starts_with("PGP ") => PGP,
            _ => return None,
        })
    });
    by_label.or_else(|| {
        let dashed = |dash: char| text.starts_with(dash) && text.contains("BEGIN ");
        if text.starts_with("PuTTY-User-Key-File") {
            Some(PUTTY)
        } else if ["ssh-", "ecdsa-sha2-", "---- BEGIN SSH2"]
            .iter()
            .any(|ssh| text.starts_with(ssh))
        {
            Some(SSH_PUBLIC)
        } else if text.starts_with('{') && text.contains("\"kty\"") {
            Some(JWK)
        } else if ['\u{2013}', '\u{2014}', '\u{2212}'].into_iter().any(dashed) {
            Some(DASHED)
        } else if is_path(text) {
            Some(PATH)
        } else {
            base64(text)
        }
    })
}

/// True for the key file of a Google service account, by two of its fields, whatever is around it.
pub(super) fn is_key_file(text: &str) -> bool {
    text.contains("\"private_key\"") && text.contains("\"client_email\"")
}

fn is_path(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/\\._-: ~".contains(c);
    let ends = [".pem", ".crt", ".cer", ".key", ".pfx", ".p12", ".der"];
    text.len() < 256
        && text.chars().all(plain)
        && ends.iter().any(|e| text.to_ascii_lowercase().ends_with(e))
}

fn base64(text: &str) -> Option<Form> {
    let bare: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let bytes = LENIENT.decode(&bare).ok().filter(|b| b.len() >= 32)?;
    if str::from_utf8(&bytes).is_ok_and(is_key_file) {
        return Some(BASE64_KEY_FILE);
    }
    if bytes.windows(BEGIN.len()).any(|w| w == BEGIN.as_bytes()) {
        return Some(BASE64);
    }
    form_of_bytes(&bytes).map(|_| BASE64_BINARY)
}

/// The kind of a binary format, if it is known.
pub(super) fn form_of_bytes(bytes: &[u8]) -> Option<Form> {
    // JKS and JCEKS by their magic numbers.
    if bytes.starts_with(&[0xfe, 0xed, 0xfe, 0xed]) || bytes.starts_with(&[0xce; 4]) {
        return Some(JKS);
    }
    let (_, outer) = Any::from_ber(bytes).ok()?;
    if outer.tag() != Tag::Sequence {
        return None;
    }
    if x509_parser::parse_x509_certificate(bytes).is_ok() {
        return Some(DER_CERTIFICATE);
    }
    let mut rest = outer.data;
    let mut items = Vec::new();
    while let (true, Ok((after, item))) = (items.len() < 3, Any::from_ber(rest)) {
        items.push((item.tag(), item.data));
        rest = after;
    }
    Some(match items.as_slice() {
        [(Tag::Integer, [3]), (Tag::Sequence, _), ..] => PKCS12,
        [
            (Tag::Integer, [0 | 1]),
            (Tag::Sequence, _),
            (Tag::OctetString, _),
        ]
        | [(Tag::Integer, [0]), (Tag::Integer, _), ..]
        | [(Tag::Integer, [1]), (Tag::OctetString, _), ..] => DER_KEY,
        // 1.2.840.113549.1.7
        [
            (Tag::Oid, [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, ..]),
            ..,
        ] => PKCS7,
        [(Tag::Sequence, _), (Tag::OctetString, _)] => ENCRYPTED,
        [(Tag::Sequence, _), (Tag::BitString, _)] => PUBLIC,
        [
            (Tag::Sequence, inner),
            (Tag::Sequence, _),
            (Tag::BitString, _),
        ] => {
            // A request begins with version 0; a CRL with version 1 or none.
            if inner.starts_with(&[2, 1, 0]) {
                REQUEST
            } else {
                CRL
            }
        }
        _ => return None,
    })
}
