//! Claims challenges of Entra ID: what a policy requires in addition to the request, and the `suberror`.
//!
//! Only a hint in messages, and only with words from a list.
//! Source: learn.microsoft.com/entra/identity-platform/claims-challenge.

use serde_json::{Map, Value};

use super::{
    lifetime::is_guid,
    refusal::{MOST_DIGITS, error_code},
};
use crate::input::object;

/// Words that are shown of one challenge.
const MOST: usize = 6;

/// What an answer says beside its error: its `suberror`, and the claims that it asks for, such as `acrs=c1`. `claims` is
/// JSON inside of a string.
pub(super) fn asked(answer: &Map<String, Value>) -> Option<String> {
    let text = |name: &str| answer.get(name).and_then(Value::as_str);
    let suberror = text("suberror")
        .and_then(error_code)
        .map(|word| format!("suberror {word}"));
    let mut words: Vec<String> = Vec::new();
    if let Some(request) = text("claims").and_then(|c| object(c.as_bytes()).ok()) {
        for (kind, claims) in &request {
            if !["access_token", "id_token", "userinfo"].contains(&kind.as_str()) {
                continue;
            }
            for (name, wanted) in claims.as_object().into_iter().flatten() {
                let Some(name) = word(name) else { continue };
                let one = wanted.get("value").and_then(Value::as_str);
                let many = wanted.get("values").and_then(Value::as_array);
                let values: Vec<String> = one
                    .into_iter()
                    .chain(many.into_iter().flatten().filter_map(Value::as_str))
                    .filter_map(word)
                    .take(MOST)
                    .collect();
                words.push(if values.is_empty() {
                    name
                } else {
                    format!("{name}={}", values.join("|"))
                });
            }
        }
    }
    words.truncate(MOST);
    let claims =
        (!words.is_empty()).then(|| format!("the issuer asks for the claims {}", words.join(", ")));
    let all: Vec<String> = suberror.into_iter().chain(claims).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// A word as names of claims and authentication contexts are (`acrs`, `c1`), or the GUID of a policy (`polids`). Other
/// texts could be something that an attacker wants read back.
fn word(text: &str) -> Option<String> {
    let bytes = || text.bytes();
    let short = (1..=24).contains(&text.len())
        && bytes().filter(u8::is_ascii_digit).count() <= MOST_DIGITS
        && bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    (short || is_guid(text)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_words_of_a_challenge_are_shown() {
        let told = |answer: Value| asked(answer.as_object().unwrap());
        let claims = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"},"polids":{"values":["a-1","<b>"]}}}"#;
        assert_eq!(
            told(json!({ "claims": claims, "suberror": "basic_action" })).as_deref(),
            Some("suberror basic_action; the issuer asks for the claims acrs=c1, polids=a-1")
        );
        // A suberror is not requested by the issuer.
        assert_eq!(
            told(json!({ "suberror": "bad_token" })).as_deref(),
            Some("suberror bad_token")
        );
        for nothing in [
            json!({}),
            json!({ "claims": "not json" }),
            json!({ "claims": "[]" }),
            json!({ "claims": "{\"access_token\":7}" }),
            json!({ "claims": "{\"other\":{\"acrs\":{}}}" }),
            json!({ "claims": 7, "suberror": "two words" }),
            json!({ "suberror": "4f1dd2a09be34c71" }),
        ] {
            assert_eq!(told(nothing.clone()), None, "{nothing}");
        }
    }
}
