//! Fields of an answer that a target may publish in addition to the token (`format: AnswerField`): texts and numbers,
//! bounded. Never a refresh token: workloads mount the Secret.

use std::{borrow::Cow, cell::LazyCell, collections::BTreeMap};

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Number, Value};

use super::{issuer_clock::IssuerClock, lifetime, token::Answer};
use crate::input::{get, text_of, written_fields};

/// Most fields that are stored of one answer.
const MOST: usize = 64;
/// Most omitted fields whose reason is noted.
const MOST_OMITTED: usize = 256;
/// Longest value: an `id_token` with many groups has about 16 KiB.
const LONGEST: usize = 32 * 1024;
/// Longest name: that of `target.keys[].field`.
const LONGEST_NAME: usize = 128;

/// Why a field that the answer has is not published.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Omitted {
    /// Its value is the refresh token.
    RefreshToken,
    /// `true` or `false`.
    Boolean,
    /// `null`.
    Null,
    /// An object.
    Object,
    /// A list.
    List,
    /// An empty text.
    Empty,
    /// Longer than a field may be.
    Long,
    /// The answer has too many fields.
    Many,
}

/// What can be published of an answer, and why the rest cannot.
#[derive(Default)]
pub(super) struct AnswerFields {
    pub(super) fields: Answer,
    pub(super) omitted: BTreeMap<String, Omitted>,
}

/// What can be published of an answer with this body. Credentials that share a request share the answer, so it does not
/// depend on what one of them requests.
pub(super) fn of(
    fields: &Map<String, Value>,
    body: &[u8],
    refresh_token: Option<&SecretString>,
) -> AnswerFields {
    // The body is parsed a second time only if it has a number whose text was lost the first time.
    let written = LazyCell::new(|| written_fields(body).unwrap_or_default());
    let number = |name: &str, number: &Number| {
        if number.is_i64() || number.is_u64() {
            return Some(number.to_string());
        }
        written.get(name).map(|raw| raw.get().to_owned())
    };
    let named = text_of(fields, "refresh_token");
    let as_number = match get(fields, "refresh_token") {
        Some(Value::Number(value)) => number("refresh_token", value),
        _ => None,
    };
    let is_refresh = |text: &str| {
        named.as_deref() == Some(text)
            || as_number.as_deref() == Some(text)
            || refresh_token.is_some_and(|token| token.expose_secret() == text)
    };
    let mut found = AnswerFields::default();
    for (name, value) in fields {
        if name.len() > LONGEST_NAME || !may_be_published(name) {
            continue;
        }
        let text = exact_text(value, |value| number(name, value));
        let text = text.and_then(|text| match &*text {
            "" => Err(Omitted::Empty),
            text if is_refresh(text) => Err(Omitted::RefreshToken),
            text if text.len() > LONGEST => Err(Omitted::Long),
            _ if found.fields.len() == MOST => Err(Omitted::Many),
            text => Ok(SecretString::from(text)),
        });
        match text {
            Ok(text) => drop(found.fields.insert(name.clone(), text)),
            Err(why) if found.omitted.len() < MOST_OMITTED => {
                found.omitted.insert(name.clone(), why);
            }
            Err(_) => {}
        }
    }
    found
}

/// A text, or a number as it was written: 64 bits cannot represent every number, and not every reader treats `1.10` as `1.1`.
fn exact_text(
    value: &Value,
    as_written: impl FnOnce(&Number) -> Option<String>,
) -> Result<Cow<'_, str>, Omitted> {
    match value {
        Value::String(text) => Ok(Cow::Borrowed(text)),
        Value::Number(number) => as_written(number).map(Cow::Owned).ok_or(Omitted::Null),
        Value::Null => Err(Omitted::Null),
        Value::Bool(_) => Err(Omitted::Boolean),
        Value::Array(_) => Err(Omitted::List),
        Value::Object(_) => Err(Omitted::Object),
    }
}

/// The fields that are JWTs and expire before the access token.
pub(super) fn ends(
    fields: &Answer,
    expires_at: Timestamp,
    clock: &IssuerClock,
) -> BTreeMap<String, Timestamp> {
    let lifetime = expires_at.duration_since(clock.sent);
    let ends = fields.iter().filter_map(|(name, text)| {
        let end = lifetime::end_of_field(text.expose_secret(), lifetime, clock)?;
        (end < expires_at).then(|| (name.clone(), end))
    });
    ends.collect()
}

/// True if a field of this name may be published. A refresh token may not, in any spelling of its name.
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
    use crate::input::object;

    fn read(body: &str) -> AnswerFields {
        let fields = object(body.as_bytes()).unwrap();
        of(&fields, body.as_bytes(), None)
    }

    fn fields(answer: &Value) -> Vec<(String, String)> {
        let all = read(&answer.to_string()).fields;
        all.into_iter()
            .map(|(name, value)| (name, value.expose_secret().to_owned()))
            .collect()
    }

    #[test]
    fn a_number_is_stored_as_it_was_written() {
        for number in [
            "1.10",
            "1E5",
            "-0",
            "0",
            "-1.5e-3",
            "123456789012345678901",
            "-123456789012345678901234567890",
            "0.1000000000000000055511151231257827",
            "1e400",
            "-1E+400",
        ] {
            for body in [
                format!(r#"{{"a":"x", "n" : {number} , "z":[1]}}"#),
                format!("\u{feff} {{\"n\":{number}\n}}\0\0"),
                json!(format!(r#"{{"n":{number}}}"#)).to_string(),
                format!(r#"{{"n":1,"n":{number}}}"#),
            ] {
                let fields = read(&body).fields;
                let value = fields.get("n").map(ExposeSecret::expose_secret);
                assert_eq!(value, Some(number), "{body}");
            }
        }
        let quoted = read(r#"{"n":"1.10"}"#).fields;
        assert_eq!(quoted["n"].expose_secret(), "1.10");
    }

    #[test]
    fn only_a_number_that_has_lost_its_text_is_read_from_the_body() {
        let answer = json!({ "expires_in": 3600, "minus": -7, "most": u64::MAX, "least": i64::MIN, "half": 0.5, "text": "1.10" });
        let without_body = of(answer.as_object().unwrap(), b"", None);
        let fields: Vec<(&str, &str)> = without_body
            .fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.expose_secret()))
            .collect();
        assert_eq!(
            fields,
            [
                ("expires_in", "3600"),
                ("least", "-9223372036854775808"),
                ("minus", "-7"),
                ("most", "18446744073709551615"),
                ("text", "1.10"),
            ]
        );
        assert!(without_body.omitted.contains_key("half"));
    }

    #[test]
    fn why_a_field_is_not_stored_is_noted() {
        let long = "x".repeat(LONGEST + 1);
        let answer = json!({
            "refresh_token": "r-1", "copy": "r-1", "truth": true, "nothing": null, "object": { "b": "c" }, "list": ["a"], "empty": "", "long": long,
        });
        let seen = read(&answer.to_string()).omitted;
        let seen: Vec<(&str, Omitted)> = seen.iter().map(|(n, w)| (n.as_str(), *w)).collect();
        assert_eq!(
            seen,
            [
                ("copy", Omitted::RefreshToken),
                ("empty", Omitted::Empty),
                ("list", Omitted::List),
                ("long", Omitted::Long),
                ("nothing", Omitted::Null),
                ("object", Omitted::Object),
                ("truth", Omitted::Boolean),
            ]
        );
        let number =
            read(r#"{"refresh_token":123456789012345678901,"copy":123456789012345678901}"#);
        assert_eq!(number.omitted["copy"], Omitted::RefreshToken);
        assert!(number.fields.is_empty());
    }

    #[test]
    fn texts_and_numbers_are_stored_and_nothing_else() {
        let answer = json!({
            "id_token": "e30.e30.x", "expiration": 1_790_003_600, "share": 0.5, "instance_url": "https://a.example",
            "list": ["a"], "object": { "b": "c" }, "truth": true, "nothing": null, "empty": "",
        });
        let fields = fields(&answer);
        let names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["expiration", "id_token", "instance_url", "share"]);
        assert_eq!(fields[0].1, "1790003600");
        assert_eq!(fields[1].1, "e30.e30.x");
    }

    #[test]
    fn no_refresh_token_is_stored_under_any_name() {
        for name in [
            "refresh_token",
            "refreshToken",
            "Refresh-Token",
            "x_refresh.t",
        ] {
            assert_eq!(fields(&json!({ name: "r" })), [], "{name}");
        }
        let twice = json!({ "refresh_token": "r-1", "backup": "r-1", "other": "o" });
        assert_eq!(fields(&twice), [("other".to_owned(), "o".to_owned())]);
        let body = br#"{"copy":"r-2"}"#;
        let fields = object(body).unwrap();
        let of = of(&fields, body, Some(&SecretString::from("r-2")));
        assert!(of.fields.is_empty());
    }

    #[test]
    fn names_values_and_their_number_are_bounded() {
        let long = "x".repeat(LONGEST + 1);
        assert_eq!(fields(&json!({ "a": long, "n".repeat(129): "v" })), []);
        let Value::Object(mut many) = json!({}) else {
            panic!("an object");
        };
        many.extend((0..200).map(|n| (format!("f{n:03}"), json!(n))));
        let many = read(&Value::Object(many).to_string());
        assert_eq!(many.fields.len(), MOST);
        assert_eq!(many.omitted["f199"], Omitted::Many);
    }
}
