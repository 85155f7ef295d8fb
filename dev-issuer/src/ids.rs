//! Identifiers: random GUIDs and token IDs, and GUIDs that are always the same for the same name.

use aws_lc_rs::{digest, rand};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).expect("the system has random bytes");
    bytes
}

/// A random GUID (version 4, RFC 9562).
pub(crate) fn guid() -> String {
    format_guid(random(), 4)
}

/// A GUID that depends only on the name, as the object ID of a service principal depends on the application.
pub(crate) fn stable_guid(name: &str) -> String {
    let hash = digest::digest(&digest::SHA256, name.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.as_ref()[..16]);
    format_guid(bytes, 8)
}

/// A token ID in the form of Entra's `uti`: 16 bytes, base64url.
pub(crate) fn uti() -> String {
    URL_SAFE_NO_PAD.encode(random())
}

fn format_guid(mut bytes: [u8; 16], version: u8) -> String {
    bytes[6] = (bytes[6] & 0x0f) | (version << 4);
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let number = u128::from_be_bytes(bytes);
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        number >> 96,
        (number >> 80) & 0xffff,
        (number >> 64) & 0xffff,
        (number >> 48) & 0xffff,
        number & 0xffff_ffff_ffff
    )
}

/// Whether the text has the form 8-4-4-4-12 of hexadecimal digits.
pub(crate) fn is_guid(text: &str) -> bool {
    let lengths = [8, 4, 4, 4, 12];
    let parts: Vec<&str> = text.split('-').collect();
    parts.len() == lengths.len()
        && parts.iter().zip(lengths).all(|(part, length)| {
            part.len() == length && part.bytes().all(|b| b.is_ascii_hexdigit())
        })
}

/// Whether the text could be a domain name with at least one dot.
pub(crate) fn is_domain(text: &str) -> bool {
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    text.contains('.') && text.len() <= 253 && text.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guids_have_their_shape() {
        assert!(is_guid(&guid()));
        assert!(is_guid(&stable_guid("a")));
        assert_eq!(stable_guid("a"), stable_guid("a"));
        assert_ne!(stable_guid("a"), stable_guid("b"));
        assert_ne!(guid(), guid());
        assert!(!is_guid("6f3c0a4e1d2b4c5f9a7e0b1c2d3e4f50"));
        assert!(!is_guid(" 6f3c0a4e-1d2b-4c5f-9a7e-0b1c2d3e4f5"));
    }

    #[test]
    fn domains_have_a_dot_and_good_labels() {
        assert!(is_domain("contoso.example"));
        for bad in [
            "contoso",
            "contoso..example",
            "-a.example",
            "a b.example",
            ".example",
            "",
        ] {
            assert!(!is_domain(bad), "{bad:?}");
        }
    }
}
