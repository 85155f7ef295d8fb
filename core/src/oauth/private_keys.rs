//! The private keys of a PEM text, and the kind of a key in DER.

use rustls::pki_types::PrivateKeyDer;

use super::pem::{self, Block, Body};

/// Most private keys of one text that are tried.
const MAX_KEYS: usize = 4;
/// The keys that can sign, for messages.
pub(super) const USABLE: &str = "RSA of 2048 to 8192 bits, EC on P-256, P-384 or P-521, or Ed25519";

pub(super) const NO_KEY: &str = "holds no private key in PEM";

/// The private keys of a text, in order.
///
/// # Errors
/// The rest of a sentence that begins with the key's name.
pub(super) fn private_keys(text: &str) -> Result<Vec<PrivateKeyDer<'static>>, String> {
    let blocks = pem::blocks(text);
    let keys: Vec<PrivateKeyDer<'static>> = (blocks.iter().filter(|b| b.is_key()))
        .filter_map(Block::der)
        // By their structure: labels are sometimes wrong.
        .filter_map(|der| PrivateKeyDer::try_from(der.to_vec()).ok())
        .take(MAX_KEYS)
        .collect();
    if !keys.is_empty() {
        return Ok(keys);
    }
    let form = pem::form_of_text(text);
    Err(match (blocks.iter().find(|b| b.is_key()), form) {
        (_, Some(form)) => format!("is {}; {}", form.what, form.step),
        (Some(block), None) => damaged(block).to_owned(),
        (None, None) if blocks.iter().any(Block::is_certificate) => {
            "holds a certificate and no private key; are the keys of the Secret swapped?".to_owned()
        }
        (None, None) => NO_KEY.to_owned(),
    })
}

/// What is wrong with a block that could not be read.
pub(super) fn damaged(block: &Block<'_>) -> &'static str {
    match block.body {
        Body::Unended => "is cut off: its last line, -----END …, is missing; store the whole file",
        _ => "is damaged between its first and its last line; store the file as it was made",
    }
}

/// The kind of a key that cannot be used, by its object identifiers (with tag and length).
pub(super) fn kind(der: &PrivateKeyDer<'_>) -> &'static str {
    const KINDS: [(&[u8], &str); 11] = [
        (
            &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10],
            "an RSA-PSS key",
        ),
        (
            &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1],
            "an RSA key of less than 2048 bits, or damaged",
        ),
        (
            &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7],
            "an EC key on P-256 that is damaged",
        ),
        (
            &[6, 5, 0x2b, 0x81, 4, 0, 0x22],
            "an EC key on P-384 that is damaged",
        ),
        (
            &[6, 5, 0x2b, 0x81, 4, 0, 0x23],
            "an EC key on P-521 that is damaged",
        ),
        (&[6, 5, 0x2b, 0x81, 4, 0, 0x21], "an EC key on P-224"),
        (&[6, 5, 0x2b, 0x81, 4, 0, 0x0a], "an EC key on secp256k1"),
        (
            &[6, 9, 0x2b, 0x24, 3, 3, 2, 8, 1, 1],
            "an EC key on a Brainpool curve",
        ),
        (&[6, 3, 0x2b, 0x65, 0x70], "an Ed25519 key that is damaged"),
        (&[6, 3, 0x2b, 0x65, 0x71], "an Ed448 key"),
        (&[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x38, 4, 1], "a DSA key"),
    ];
    let bytes = der.secret_der();
    let has = |oid: &[u8]| bytes.windows(oid.len()).any(|w| w == oid);
    match KINDS.iter().find(|(oid, _)| has(oid)) {
        Some((_, name)) => name,
        None if matches!(der, PrivateKeyDer::Pkcs1(_)) => KINDS[1].1,
        None => "a key of a kind that is not known",
    }
}
