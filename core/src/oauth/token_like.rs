//! Finds texts that look like a token or key in the text of an issuer, although they were not sent, and the tokens of an answer.

use secrecy::SecretString;
use serde_json::{Map, Value};

use super::{lifetime::is_guid, redaction::CUT, token_error::MOST_DIGITS};
use crate::input::is_nothing;

/// A word of this length with more digits than an error code looks like a token or key. It is removed although it was not sent.
const TOKEN_LIKE: usize = 16;
/// How many words before a GUID can name its kind.
const LABEL_WORDS: usize = 6;
/// A GUID after one of these words is an id, and is shown: those of Entra ID's messages, and of requests.
#[rustfmt::skip]
const ID_LABELS: [&str; 26] = [
    "correlation", "trace", "request", "activity", "event", "error", "timestamp",
    "application", "applications", "app", "client", "api", "resource", "principal", "audience", "scope",
    "tenant", "directory", "organization", "realm", "windows", "microsoftonline",
    "user", "object", "policy", "subscription",
];
/// Names of secret fields in an answer, in lower case without separators.
const SECRET_FIELDS: [&str; 9] = [
    "token",
    "secret",
    "assertion",
    "password",
    "jwt",
    "apikey",
    "devicecode",
    "saml",
    "usercode",
];
/// Ends of names of fields that describe a secret but do not contain it.
const ABOUT: [&str; 10] = [
    "type",
    "expiresin",
    "expireson",
    "expiresat",
    "lifetime",
    "endpoint",
    "url",
    "uri",
    "description",
    "method",
];
/// How deep an answer is searched for tokens.
const DEEPEST: usize = 4;

/// Removes words that look like tokens or keys. GUIDs stay if the user chose them, or if a word before them shows that they are an id.
pub(super) fn without_tokens(text: &str, chosen: &[String]) -> String {
    let part = |c: char| c.is_ascii_alphanumeric() || "+=_-~%".contains(c);
    let mut out = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c| !part(c)).unwrap_or(rest.len());
        let (word, next) = rest.split_at(end);
        let before = &text[..text.len() - rest.len()];
        out.push_str(if looks_secret(word, before, chosen) {
            CUT
        } else {
            word
        });
        let between = next.find(part).unwrap_or(next.len());
        out.push_str(&next[..between]);
        rest = &next[between..];
    }
    out
}

fn looks_secret(word: &str, before: &str, chosen: &[String]) -> bool {
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    if let Some(id) = word
        .get(word.len().saturating_sub(36)..)
        .filter(|id| is_guid(id))
    {
        let own = |text: &String| text.to_ascii_lowercase().contains(&id.to_ascii_lowercase());
        let name = &word[..word.len() - id.len()];
        return !(chosen.iter().any(own) || is_id(&format!("{before}{name}")));
    }
    // `refresh_token: rt-2`, `refresh_token=rt-2`.
    let given = word.split_once('=').filter(|(_, value)| !value.is_empty());
    let (name, value) = given.unwrap_or_else(|| (before.trim_end_matches([' ', '"', '\'']), word));
    let named = given.is_some() || name.ends_with([':', '=']);
    let name = name.trim_end_matches([':', '=', ' ', '"', '\'']);
    let name = name
        .rsplit(|c: char| !(c.is_ascii_alphanumeric() || "_-".contains(c)))
        .next();
    let numbered = value.bytes().any(|b| b.is_ascii_digit());
    if named && numbered && name.is_some_and(is_secret_field) {
        return true;
    }
    word.len() >= TOKEN_LIKE && (digits > MOST_DIGITS || word.starts_with("eyJ"))
}

/// True if a GUID after this text is an id. The nearest word that names its kind decides.
fn is_id(before: &str) -> bool {
    let words = before.rsplit(|c: char| !c.is_ascii_alphanumeric());
    let words = words.filter(|word| !word.is_empty()).take(LABEL_WORDS);
    let mut labels = words.map(str::to_ascii_lowercase).filter_map(|word| {
        let secret = SECRET_FIELDS.contains(&&*word)
            || ["code", "key", "session", "ticket"].contains(&&*word);
        (secret || ID_LABELS.contains(&&*word)).then_some(!secret)
    });
    labels.next().unwrap_or_default()
}

fn is_secret_field(name: &str) -> bool {
    let letters = name.chars().filter(char::is_ascii_alphanumeric);
    let plain: String = letters.map(|c| c.to_ascii_lowercase()).collect();
    SECRET_FIELDS.iter().any(|part| plain.contains(part))
        && !ABOUT.iter().any(|end| plain.ends_with(end))
}

/// The values of the secret fields of an answer, however short they are.
pub(super) fn secrets(fields: &Map<String, Value>) -> Vec<SecretString> {
    let mut found = Vec::new();
    collect(fields, DEEPEST, &mut found);
    found
}

fn collect(fields: &Map<String, Value>, depth: usize, found: &mut Vec<SecretString>) {
    for (name, value) in fields {
        each(value, is_secret_field(name), depth, found);
    }
}

fn each(value: &Value, secret: bool, depth: usize, found: &mut Vec<SecretString>) {
    match (value, depth.checked_sub(1)) {
        (Value::String(text), _) if secret && !is_nothing(text) => {
            found.push(SecretString::from(text.trim()));
        }
        (Value::Number(number), _) if secret => found.push(SecretString::from(number.to_string())),
        (Value::Object(inner), Some(depth)) => collect(inner, depth, found),
        (Value::Array(all), Some(depth)) => {
            for one in all {
                each(one, secret, depth, found);
            }
        }
        _ => {}
    }
}
