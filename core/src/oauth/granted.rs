//! Reads the refresh token in an answer, before anything else.
//!
//! A rotated refresh token cannot be obtained again. So it is read whatever else is in the answer: the access token, its
//! type, its size and its lifetime do not matter.

use std::borrow::Cow;

use secrecy::SecretString;
use serde_json::{Map, Value};

use super::{RawAnswer, response::fields};
use crate::input::{get, is_exact, is_nothing, lossy, stated, without_mark};

/// The name of the field (RFC 6749 section 5.1).
const FIELD: &str = "refresh_token";

/// The refresh token that an answer grants.
pub enum Granted {
    /// Nothing: a token error, or no answer of a token endpoint.
    Nothing,
    /// A token without a new refresh token: the one that was sent stays valid (RFC 6749 section 6).
    Same,
    /// A new refresh token.
    New(SecretString),
}

/// Reads what an answer grants. Total, and lenient where [`super::answer`] is strict.
pub fn granted(raw: &RawAnswer) -> Granted {
    // A redirect with an object that contains a token has granted.
    let is_redirect = (300..=399).contains(&raw.status);
    if !is_redirect && !(200..=299).contains(&raw.status) {
        return Granted::Nothing;
    }
    let Some(fields) = fields(raw) else {
        let found = || found(raw).filter(|_| !is_redirect);
        return found().map_or(Granted::Nothing, Granted::New);
    };
    // Some servers put the answer into an envelope (`data`, `result`). If there is a token outside, the content of an
    // envelope is about something else.
    let bare = get(&fields, "access_token").and_then(text).is_none();
    let envelopes = || fields.values().filter(|_| bare).flat_map(objects);
    let of = |name: &str| {
        let own = get(&fields, name).and_then(text);
        own.or_else(|| envelopes().find_map(|inner| text(get(inner, name)?)))
    };
    if let Some(token) = of(FIELD) {
        return Granted::New(token);
    }
    let token = of("access_token").is_some();
    if token && stated(&fields, "error").is_none() {
        Granted::Same
    } else {
        Granted::Nothing
    }
}

/// Reads the first part of an answer that broke off. The missing part may contain more.
pub fn granted_in_part(raw: &RawAnswer) -> Granted {
    if !(200..=299).contains(&raw.status) {
        return Granted::Nothing;
    }
    // The last field of a form may be incomplete.
    let whole = |body: &[u8]| body.iter().rposition(|b| *b == b'&');
    in_json(&raw.body)
        .or_else(|| in_form(&raw.body[..whole(&raw.body)?]))
        .map_or(Granted::Nothing, Granted::New)
}

/// The objects in a value: itself, or those of a list.
fn objects(value: &Value) -> impl Iterator<Item = &Map<String, Value>> {
    let all = match value {
        Value::Array(all) => all.as_slice(),
        one => std::slice::from_ref(one),
    };
    all.iter().filter_map(Value::as_object)
}

/// A token as text, exactly as written. Some servers send numbers.
fn text(value: &Value) -> Option<SecretString> {
    match value {
        Value::String(text) if !is_nothing(text) && is_exact(text) => {
            Some(SecretString::from(text.as_str()))
        }
        Value::Number(number) if number.is_i64() || number.is_u64() => {
            Some(SecretString::from(number.to_string()))
        }
        _ => None,
    }
}

/// The refresh token in a body that is not a JSON object as a whole: broken off, with other text before or after it, or a
/// form with another content type.
fn found(raw: &RawAnswer) -> Option<SecretString> {
    // UTF-16 is decoded. The bytes of another charset do not change.
    match lossy(&raw.body) {
        Ok(Cow::Owned(text)) if text.is_ascii() => in_json(text.as_bytes()),
        _ => None,
    }
    .or_else(|| in_json(without_mark(&raw.body)))
    .or_else(|| in_form(without_mark(&raw.body)))
    .or_else(|| in_xml(without_mark(&raw.body)))
}

/// The last complete `"refresh_token": "…"`: JSON readers use the last of two equal keys.
fn in_json(body: &[u8]) -> Option<SecretString> {
    let key = format!("\"{FIELD}\"");
    let mut last = None;
    let mut at = 0;
    while let Some(next) = find(&body[at..], key.as_bytes()) {
        at += next + key.len();
        let rest = body[at..].trim_ascii_start();
        let Some(value) = rest.strip_prefix(b":").map(<[u8]>::trim_ascii_start) else {
            continue;
        };
        // Only texts: a number that is cut off at the end of the body would be another number.
        if value.first() != Some(&b'"') {
            continue;
        }
        let mut values = serde_json::Deserializer::from_slice(value).into_iter::<Value>();
        if let Some(Ok(value)) = values.next() {
            last = text(&value).or(last);
        }
    }
    last
}

/// The text of the element `refresh_token`, if it has no character that XML would escape.
fn in_xml(body: &[u8]) -> Option<SecretString> {
    let text = std::str::from_utf8(body).ok()?;
    let (_, rest) = text.split_once(&format!("<{FIELD}>"))?;
    let (token, _) = rest.split_once("</")?;
    let token = token.trim();
    let fits = token
        .bytes()
        .all(|b| (0x21..=0x7e).contains(&b) && b != b'&' && b != b'<');
    (fits && !token.is_empty() && !is_nothing(token)).then(|| SecretString::from(token))
}

/// A form that is not declared as one. An HTML page is not a form, whatever its links contain.
fn in_form(body: &[u8]) -> Option<SecretString> {
    let fits = |b: &u8| (0x21..=0x7e).contains(b) && !b"<>\"{}".contains(b);
    let body = body.trim_ascii();
    if !body.iter().all(fits) {
        return None;
    }
    url::form_urlencoded::parse(body)
        .filter(|(key, value)| key == FIELD && !is_nothing(value))
        .map(|(_, value)| SecretString::from(value.into_owned()))
        .last()
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}
