//! Signs that a text is an encoding of a secret, or that its characters were changed when it was copied.

use base64::{
    Engine,
    alphabet::{STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde_json::Value;

use super::pem;
use crate::input;

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

pub(super) fn invisible(text: &str) -> Option<String> {
    if text.starts_with('\u{feff}') {
        return Some("begins with a byte order mark (U+FEFF), as Windows writes it; store the value without it".to_owned());
    }
    let count = text.chars().count();
    let (at, found) = text
        .chars()
        .enumerate()
        .find(|(_, c)| pem::is_invisible(*c) || c.is_control())?;
    let place = match at {
        0 => "at its beginning",
        at if at + 1 == count => "at its end",
        _ => "inside",
    };
    Some(format!(
        "has an invisible character (U+{:04X}) {place}, as copying out of a web page or chat leaves it; store the value without it",
        u32::from(found)
    ))
}

pub(super) fn blank(text: &str) -> Option<String> {
    if text.trim() != text {
        return Some("begins or ends with a blank; store the value without it".to_owned());
    }
    if text.contains(char::is_whitespace) {
        return Some("has a blank inside; store only the value, in one piece".to_owned());
    }
    if text.ends_with("\\n") || text.ends_with("\\r") {
        return Some(
            "ends with the two characters \\n instead of a line end; store the value without them"
                .to_owned(),
        );
    }
    None
}

pub(super) fn encoded(text: &str) -> Option<String> {
    if let Some(reported) = escaped(text) {
        return Some(reported);
    }
    let bare: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let decoded = [&STANDARD, &URL_SAFE]
        .into_iter()
        .find_map(|alphabet| GeneralPurpose::new(alphabet, LENIENT).decode(&bare).ok())?;
    let inner = input::text(&decoded).ok()?;
    let end = if inner.ends_with(['\n', '\r']) {
        " with a line end after it"
    } else {
        ""
    };
    let value = inner.trim();
    let what = if value.contains("-----BEGIN ") {
        "base64 of PEM"
    } else if value.starts_with('{') && serde_json::from_str::<Value>(value).is_ok() {
        "base64 of a JSON object"
    } else if value.len() >= LEAST && value.chars().all(|c| c.is_ascii_graphic()) {
        "base64 of something else"
    } else {
        return None;
    };
    Some(format!(
        "looks like {what}{end}; stringData takes the value as it is, and kubectl create secret as well"
    ))
}

pub(super) fn escaped(text: &str) -> Option<String> {
    (text.starts_with('%') || percent(text)).then(|| {
        "looks URL-encoded (%XX); store the value as it is, since apicred encodes it".to_owned()
    })
}

/// True if it has a percent escape, and all of them are valid.
fn percent(text: &str) -> bool {
    let mut parts = text.split('%');
    let _ = parts.next();
    let mut any = false;
    for part in parts {
        let hex = part
            .as_bytes()
            .get(..2)
            .is_some_and(|b| b.iter().all(u8::is_ascii_hexdigit));
        if !hex {
            return false;
        }
        any = true;
    }
    any
}

pub(super) fn hexadecimal(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let digit = |b: u8| char::from(b).to_digit(16);
    if !bytes.len().is_multiple_of(2) {
        return None;
    }
    let decoded = bytes
        .chunks_exact(2)
        .map(|pair| u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok())
        .collect::<Option<Vec<u8>>>()?;
    let plain = decoded.trim_ascii_end();
    if plain.len() >= LEAST && plain.iter().all(u8::is_ascii_graphic) {
        return Some(
            "looks like the hexadecimal digits of something else; store the value as it is"
                .to_owned(),
        );
    }
    None
}

pub(super) fn typographic(text: &str) -> Option<String> {
    let odd = |c: char| matches!(c, '\u{2010}'..='\u{2015}' | '\u{2018}'..='\u{201f}' | '\u{2026}' | '\u{2212}' | '\u{ff01}'..='\u{ff5e}');
    let found = text.chars().find(|c| odd(*c))?;
    Some(format!(
        "has a typographic character (U+{:04X}), which text programs insert instead of a plain one; store the value as it was copied from the issuer",
        u32::from(found)
    ))
}

/// The shortest decoded text that counts as a sign of base64 or of hexadecimal digits: shorter ones can occur by chance.
const LEAST: usize = 12;
