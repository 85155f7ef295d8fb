//! Fields of an answer that a target may publish beside the token (`format: AnswerField`): texts and numbers, bounded. Never a
//! refresh token: workloads mount the Secret.

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

use super::token::Answer;
use crate::input::word;

/// Most fields that are kept of one answer.
const MOST: usize = 64;
/// Longest value: an `id_token` with many groups has about 16 KiB.
const LONGEST: usize = 32 * 1024;
/// Longest name: that of `target.keys[].field`.
const LONGEST_NAME: usize = 128;

/// What can be published of an answer. Credentials that share a request share the answer, so it does not depend on what one
/// of them wants.
pub(super) fn of(fields: &Map<String, Value>, refresh_token: Option<&SecretString>) -> Answer {
    let named = word(fields, "refresh_token");
    let is_refresh = |text: &str| {
        named.as_deref() == Some(text)
            || refresh_token.is_some_and(|token| token.expose_secret() == text)
    };
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    fields
        .iter()
        .filter(|(name, _)| name.len() <= LONGEST_NAME && may_be_published(name))
        .filter_map(|(name, value)| Some((name, text(value)?)))
        .filter(|(_, text)| !text.is_empty() && text.len() <= LONGEST && !is_refresh(text))
        .take(MOST)
        .map(|(name, text)| (name.clone(), SecretString::from(text)))
        .collect()
}

/// May a field of this name be published? No refresh token may, however its name is spelled.
pub fn may_be_published(name: &str) -> bool {
    let plain: String = name
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    !plain.contains("refresh")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kept(answer: &Value) -> Vec<(String, String)> {
        let Value::Object(fields) = answer else {
            panic!("an object");
        };
        let all = of(fields, None);
        all.into_iter()
            .map(|(name, value)| (name, value.expose_secret().to_owned()))
            .collect()
    }

    #[test]
    fn texts_and_numbers_are_kept_and_nothing_else() {
        let answer = json!({
            "id_token": "e30.e30.x", "expiration": 1_790_003_600, "share": 0.5, "instance_url": "https://a.example",
            "list": ["a"], "object": { "b": "c" }, "truth": true, "nothing": null, "empty": "",
        });
        let kept = kept(&answer);
        let names: Vec<&str> = kept.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["expiration", "id_token", "instance_url", "share"]);
        assert_eq!(kept[0].1, "1790003600");
        assert_eq!(kept[1].1, "e30.e30.x");
    }

    #[test]
    fn no_refresh_token_is_kept_under_any_name() {
        for name in [
            "refresh_token",
            "refreshToken",
            "Refresh-Token",
            "x_refresh.t",
        ] {
            assert_eq!(kept(&json!({ name: "r" })), [], "{name}");
        }
        let twice = json!({ "refresh_token": "r-1", "backup": "r-1", "other": "o" });
        assert_eq!(kept(&twice), [("other".to_owned(), "o".to_owned())]);
        let Value::Object(fields) = json!({ "copy": "r-2" }) else {
            panic!("an object");
        };
        assert!(of(&fields, Some(&SecretString::from("r-2"))).is_empty());
    }

    #[test]
    fn names_values_and_their_number_are_bounded() {
        let long = "x".repeat(LONGEST + 1);
        assert_eq!(kept(&json!({ "a": long, "n".repeat(129): "v" })), []);
        let Value::Object(mut many) = json!({}) else {
            panic!("an object");
        };
        many.extend((0..200).map(|n| (format!("f{n:03}"), json!(n))));
        assert_eq!(kept(&Value::Object(many)).len(), MOST);
    }
}
