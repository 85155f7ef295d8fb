//! Reads text and values from outside: answers, documents, key files, CA bundles, annotations. Only this module reads them,
//! so that a tolerance applies everywhere.
//!
//! A tolerance never changes a value. Input with more than one meaning is an error, which describes the input without quoting it.

mod json;
mod time;

use std::{borrow::Cow, fmt};

pub use json::{
    NotObject, flag, get, is_nothing, list, number, object, stated, text_of, written_fields,
};
pub use time::{at_second, duration, epoch, http_date, instant, instant_in_utc, seconds};

/// The byte order mark as a character.
const MARK: char = '\u{feff}';

/// Why bytes are not text. Displayed as a predicate: "the file *is compressed with gzip*".
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unreadable {
    /// The format of a compressed file, by its first bytes.
    Compressed(&'static str),
    /// A binary file, with the name of its format.
    Binary(&'static str),
    /// UTF-16 with half a character in it.
    Utf16,
    /// UTF-32.
    Utf32,
    /// Another charset than UTF-8, or not text at all.
    NotUtf8 {
        /// Line of the first byte that is not UTF-8, from 1.
        line: usize,
        /// Offset of that byte from the start of the text.
        offset: usize,
    },
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compressed(format) => write!(f, "is compressed with {format}"),
            Self::Binary(format) => write!(f, "is binary ({format}), not text"),
            Self::Utf16 => f.write_str("is UTF-16 with half a character in it; store it as UTF-8"),
            Self::Utf32 => f.write_str("is UTF-32; store it as UTF-8"),
            Self::NotUtf8 { line, offset } => write!(
                f,
                "is not UTF-8: line {line} has another character encoding (byte {offset})"
            ),
        }
    }
}

impl std::error::Error for Unreadable {}

/// The text in these bytes, without its byte order mark. UTF-16 is decoded if a byte order mark or its zero bytes show
/// that it is.
///
/// # Errors
/// What the bytes are instead.
pub fn text(bytes: &[u8]) -> Result<Cow<'_, str>, Unreadable> {
    if let Some(decoded) = other_than_utf8(bytes)? {
        return Ok(Cow::Owned(decoded));
    }
    std::str::from_utf8(bytes)
        .map(|text| Cow::Borrowed(text.trim_start_matches(MARK)))
        .map_err(|error| not_utf8(bytes, error.valid_up_to()))
}

/// The text in these bytes, with U+FFFD for each byte sequence that is not UTF-8. For files in which most parts are not
/// read: a part that is read must not contain U+FFFD.
///
/// # Errors
/// What the bytes are, if they are not text in any charset.
pub fn lossy(bytes: &[u8]) -> Result<Cow<'_, str>, Unreadable> {
    if let Some(decoded) = other_than_utf8(bytes)? {
        return Ok(Cow::Owned(decoded));
    }
    let bytes = without_mark(bytes);
    Ok(String::from_utf8_lossy(bytes))
}

/// The bytes without UTF-8 byte order marks at their beginning.
pub fn without_mark(mut bytes: &[u8]) -> &[u8] {
    while let Some(rest) = bytes.strip_prefix(b"\xef\xbb\xbf") {
        bytes = rest;
    }
    bytes
}

/// True if decoding lost no character of this text.
pub fn is_exact(text: &str) -> bool {
    !text.contains(char::REPLACEMENT_CHARACTER)
}

/// UTF-16, decoded. `None`: UTF-8 or a charset that extends ASCII.
fn other_than_utf8(bytes: &[u8]) -> Result<Option<String>, Unreadable> {
    if let Some(format) = compressed(bytes) {
        return Err(Unreadable::Compressed(format));
    }
    if let Some(format) = binary(bytes) {
        return Err(Unreadable::Binary(format));
    }
    match bytes {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => Err(Unreadable::Utf32),
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes).map(Some),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes).map(Some),
        // No text of one line or more begins with a zero byte or has one after each character.
        [a, 0, b, 0, ..] if *a != 0 && *b != 0 => utf16(bytes, u16::from_le_bytes).map(Some),
        [0, a, 0, b, ..] if *a != 0 && *b != 0 => utf16(bytes, u16::from_be_bytes).map(Some),
        _ => Ok(None),
    }
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String, Unreadable> {
    let (units, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(Unreadable::Utf16);
    }
    let text = char::decode_utf16(units.iter().map(|pair| unit(*pair)))
        .collect::<Result<String, _>>()
        .map_err(|_| Unreadable::Utf16)?;
    Ok(text.trim_start_matches(MARK).to_owned())
}

fn not_utf8(bytes: &[u8], offset: usize) -> Unreadable {
    let before = bytes.get(..offset).unwrap_or(bytes);
    if bytes.contains(&0) {
        return Unreadable::Binary("zero bytes");
    }
    Unreadable::NotUtf8 {
        line: before.split(|b| *b == b'\n').count(),
        offset,
    }
}

/// First bytes of compressed files. Brotli and raw deflate have none.
fn compressed(bytes: &[u8]) -> Option<&'static str> {
    Some(match bytes {
        [0x1f, 0x8b, ..] => "gzip",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "zstd",
        [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, ..] => "bzip2",
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => "xz",
        [b'P', b'K', 3, 4, ..] => "ZIP",
        // RFC 1950 section 2.2; 0x78 is `x`, and in a text none of these bytes follows it.
        [0x78, 0x01 | 0x5e | 0x9c | 0xda, ..] => "zlib",
        _ => return None,
    })
}

/// First bytes of the binary files that key and certificate files are mistaken for.
fn binary(bytes: &[u8]) -> Option<&'static str> {
    Some(match bytes {
        [0xfe, 0xed, 0xfe, 0xed, ..] => "a Java keystore, JKS",
        [0xce, 0xce, 0xce, 0xce, ..] => "a Java keystore, JCEKS",
        // A SEQUENCE with a length of two bytes that begins with the version 3: RFC 7292 section 4.
        [0x30, 0x82, _, _, 2, 1, 3, ..] => "PKCS#12",
        [0x30, 0x81..=0x84, ..] => "DER",
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
