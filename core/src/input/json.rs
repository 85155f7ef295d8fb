//! JSON objects from outside, within bounds, and the values in them.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use serde_json::{Map, Value, error::Category, value::RawValue};

use super::{Unreadable, is_exact, lossy};

/// Most parts of an object. A value takes 32 bytes, even if its text is short. So a megabyte of `0,0,0,…` would take about
/// twenty megabytes, for each request in flight. Discovery documents have some hundred parts.
const MAX_PARTS: usize = 8 * 1024;

/// The beginning of the error text of `serde_json` for a number that does not fit 64 bits of floating point.
const OUT_OF_RANGE: &str = "number out of range";

/// What the bytes are instead of a JSON object. Displayed as a predicate: "the answer *is a web page*".
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NotObject {
    /// No bytes, or only blanks.
    Empty,
    /// Not text.
    Unreadable(Unreadable),
    /// HTML.
    WebPage,
    /// XML.
    Xml,
    /// Only a JWT.
    Jwt,
    /// JSON, but a list, text, number, boolean or null.
    Other(&'static str),
    /// Truncated JSON.
    Short,
    /// Begins like JSON, but is not valid JSON.
    Syntax {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// More parts than any real object has.
    TooLarge,
    /// Text of another kind.
    Text,
}

impl fmt::Display for NotObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("is empty"),
            Self::Unreadable(what) => what.fmt(f),
            Self::WebPage => f.write_str("is a web page (HTML), not JSON"),
            Self::Xml => f.write_str("is XML, not JSON"),
            Self::Jwt => f.write_str("is a bare JWT, not a JSON object"),
            Self::Other(kind) => write!(f, "is a JSON {kind}, not an object"),
            Self::Short => f.write_str("is truncated JSON"),
            Self::Syntax { line, column } => write!(
                f,
                "is not valid JSON (error at line {line}, column {column})"
            ),
            Self::TooLarge => write!(f, "is JSON with more than {MAX_PARTS} parts"),
            Self::Text => f.write_str("is text, not JSON"),
        }
    }
}

impl std::error::Error for NotObject {}

impl From<Unreadable> for NotObject {
    fn from(what: Unreadable) -> Self {
        Self::Unreadable(what)
    }
}

/// Reads a JSON object. Accepts a byte order mark, UTF-16, a charset other than UTF-8 in texts (see [`lossy`]), and an object
/// that was encoded a second time, as a JSON string.
///
/// # Errors
/// What the bytes are instead.
pub fn object(bytes: &[u8]) -> Result<Map<String, Value>, NotObject> {
    let text = lossy(bytes)?;
    match parsed(&text)? {
        Value::Object(object) => Ok(object),
        Value::String(inner) if inner.trim_start().starts_with('{') => match parsed(&inner)? {
            Value::Object(object) => Ok(object),
            _ => Err(NotObject::Other("string")),
        },
        Value::String(_) => Err(NotObject::Other("string")),
        Value::Array(_) => Err(NotObject::Other("list")),
        Value::Number(_) => Err(NotObject::Other("number")),
        Value::Bool(_) => Err(NotObject::Other("boolean")),
        Value::Null => Err(NotObject::Other("null")),
    }
}

/// Some servers pad with zero bytes.
fn bare(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || c == '\0')
}

fn parsed(text: &str) -> Result<Value, NotObject> {
    let text = bare(text);
    if text.is_empty() {
        return Err(NotObject::Empty);
    }
    // A comma inside a text counts as well.
    let parts = text.bytes().filter(|b| matches!(b, b',' | b':')).count();
    if parts > MAX_PARTS {
        return Err(NotObject::TooLarge);
    }
    serde_json::from_str(text).or_else(|error| {
        // Only this text identifies the error (serde_json, `ErrorCode::NumberOutOfRange`). Other errors, such as too deep a structure, stay errors.
        let fields = Some(text).filter(|_| error.to_string().starts_with(OUT_OF_RANGE));
        let fields = fields.and_then(fields_one_by_one);
        fields.map(Value::Object).ok_or_else(|| other(text, &error))
    })
}

/// The fields of an object in which a number does not fit 64 bits of floating point (`1e400`). JSON allows such numbers (RFC
/// 8259 section 6), and the other fields must not be lost. Such a number is read as its text. An object or list that contains one has no value.
fn fields_one_by_one(text: &str) -> Option<Map<String, Value>> {
    let fields = raw_fields(text)?;
    let value = |raw: &RawValue| match serde_json::from_str(raw.get()) {
        Ok(value) => value,
        Err(_) if raw.get().starts_with(['{', '[']) => Value::Null,
        Err(_) => Value::String(raw.get().to_owned()),
    };
    let read = fields.into_iter();
    Some(read.map(|(name, raw)| (name, value(&raw))).collect())
}

/// The fields of what [`object`] reads, each value as it was written: numbers keep all their digits. `None` if it is not an object.
pub fn written_fields(bytes: &[u8]) -> Option<BTreeMap<String, Box<RawValue>>> {
    let text = lossy(bytes).ok()?;
    let text = bare(&text);
    if text.starts_with('"') {
        raw_fields(bare(&serde_json::from_str::<String>(text).ok()?))
    } else {
        raw_fields(text)
    }
}

fn raw_fields(text: &str) -> Option<BTreeMap<String, Box<RawValue>>> {
    serde_json::from_str(text).ok()
}

/// The kind of a text that is not JSON.
fn other(text: &str, error: &serde_json::Error) -> NotObject {
    let head: String = text.chars().take(512).collect::<String>().to_lowercase();
    let begins = |what: &str| head.starts_with(what);
    if begins("<!doctype html") || begins("<html") || (begins("<") && head.contains("<html")) {
        return NotObject::WebPage;
    }
    // Elements with a token; no page for humans has one.
    let has_token = [
        "<access_token",
        "<accesstoken",
        "<refresh_token",
        "<refreshtoken",
        "<id_token",
    ];
    let has_token = begins("<") && has_token.iter().any(|name| head.contains(name));
    if begins("<?xml") || begins("<soap") || has_token {
        return NotObject::Xml;
    }
    if begins("<") {
        return NotObject::WebPage;
    }
    let parts: Vec<&str> = text.split('.').collect();
    let base64url = |part: &&str| {
        part.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_=".contains(&b))
    };
    if text.starts_with("eyJ") && parts.len() == 3 && parts.iter().all(base64url) {
        return NotObject::Jwt;
    }
    if !text.starts_with(['{', '[', '"']) {
        return NotObject::Text;
    }
    match error.classify() {
        Category::Eof => NotObject::Short,
        _ => NotObject::Syntax {
            line: error.line(),
            column: error.column(),
        },
    }
}

/// True if there is a value. Null and empty texts are not values.
fn present(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.trim().is_empty(),
        _ => true,
    }
}

/// The value of a field, if there is one. The exact name has priority over the same name in another case or without
/// underscores (`expiresIn`). Null and empty texts are not values.
pub fn get<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let plain = |name: &str| -> String {
        let letters = name.chars().filter(|c| !matches!(c, '_' | '-'));
        letters.flat_map(char::to_lowercase).collect()
    };
    let exact = object.get(name).filter(|value| present(value));
    exact.or_else(|| {
        let wanted = plain(name);
        let same = |(key, value): &(&String, &Value)| present(value) && plain(key) == wanted;
        object.iter().find(same).map(|(_, value)| value)
    })
}

/// The text of a field without blanks around it. A whole number is returned as its digits, a text that decoding changed is not returned.
pub fn text_of<'a>(object: &'a Map<String, Value>, name: &str) -> Option<Cow<'a, str>> {
    match get(object, name)? {
        Value::String(text) => Some(Cow::Borrowed(text.trim())).filter(|t| is_exact(t)),
        // A number with more digits than 64 bits can represent has lost some of them.
        Value::Number(number) if number.is_i64() || number.is_u64() => {
            Some(Cow::Owned(number.to_string()))
        }
        _ => None,
    }
}

/// The value of a field such as `error`, if it states something. `false`, `0`, an empty list or object, and the texts that
/// templates write for "no value" state nothing.
pub fn stated<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    get(object, name).filter(|value| match value {
        Value::Bool(stated) => *stated,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::String(text) => !is_nothing(text) && text.trim() != "0",
        Value::Null => false,
    })
}

/// Texts that servers and templates write if there is no value, in lower case without blanks, hyphens, slashes and
/// underscores. IBM Cloud answers `"refresh_token": "not_supported"`.
const NOTHING: [&str; 15] = [
    "null",
    "none",
    "nil",
    "undefined",
    "na",
    "nan",
    "empty",
    "false",
    "notsupported",
    "unsupported",
    "notapplicable",
    "notavailable",
    "unavailable",
    "notissued",
    "notprovided",
];

/// True for a text that means "no value", such as a dash.
pub fn is_nothing(text: &str) -> bool {
    let text = text.trim();
    let dashes = text.len() <= 3 && text.chars().all(|c| "-?*".contains(c));
    let fits = |c: char| c.is_alphanumeric() || " -_/.<>()[]{}".contains(c);
    let letters = text.chars().filter(|c| c.is_alphanumeric());
    let bare: String = letters.flat_map(char::to_lowercase).take(24).collect();
    dashes || (text.chars().all(fits) && NOTHING.contains(&bare.as_str()))
}

/// A number, or a text that is one. Never infinite.
pub fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
    .filter(|number| number.is_finite())
}

/// A boolean, or a text or number that is one.
pub fn flag(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::Number(_) | Value::String(_) if number(value) == Some(0.0) => Some(false),
        Value::Number(_) | Value::String(_) if number(value) == Some(1.0) => Some(true),
        Value::String(text) if text.trim().eq_ignore_ascii_case("true") => Some(true),
        Value::String(text) if text.trim().eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// A list of words, or one text with words that blanks or commas separate. Entries that are not texts are ignored.
pub fn list(value: &Value) -> Vec<&str> {
    let separated = |c: char| c.is_whitespace() || c == ',';
    let words: Vec<&str> = match value {
        Value::Array(items) => items
            .iter()
            .filter_map(Value::as_str)
            .map(str::trim)
            .collect(),
        Value::String(text) => text.split(separated).collect(),
        _ => Vec::new(),
    };
    let exact = words.into_iter().filter(|w| !w.is_empty() && is_exact(w));
    exact.collect()
}
