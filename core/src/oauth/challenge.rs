//! Claims challenges of Entra ID: what a policy requires in addition to the request, and the `suberror`.
//!
//! Only a hint in messages, and only with words from a list.
//! Source: learn.microsoft.com/entra/identity-platform/claims-challenge.

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde_json::{Map, Value};

use super::{
    lifetime::is_guid,
    token_error::{MOST_DIGITS, error_code},
};
use crate::input::object;

/// Words that are shown of one challenge.
const MOST: usize = 6;

/// What an answer says beside its error: its `suberror`, and the claims that it asks for, such as `acrs=c1`. `claims` is
/// JSON inside of a string.
pub(super) fn requested(answer: &Map<String, Value>) -> Option<String> {
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
                let Some(name) = name_of(name) else { continue };
                let one = wanted.get("value").and_then(Value::as_str);
                let many = wanted.get("values").and_then(Value::as_array);
                let values: Vec<String> = one
                    .into_iter()
                    .chain(many.into_iter().flatten().filter_map(Value::as_str))
                    .filter_map(name_of)
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

/// Longest claims request that is kept, in bytes.
const LONGEST: usize = 1024;

/// The claims that an answer asks for (OpenID Connect Core section 5.5), written again from what is known of it: words and
/// marks, nothing that a server could want to have read back. None: it asks for none, or for more than is kept.
pub(super) fn claims(answer: &Map<String, Value>) -> Option<String> {
    claims_request(answer.get("claims")?.as_str()?)
}

/// A claims request in its plain form. The sign-in sends it; whoever may write the status could have put anything there, so the
/// same holds on the way back.
pub fn claims_request(text: &str) -> Option<String> {
    let asked = object(text.as_bytes()).ok()?;
    let one = |name: &str, wanted: &Value| {
        let mut plain = Map::new();
        let essential = wanted.get("essential").and_then(Value::as_bool);
        plain.extend(essential.map(|e| ("essential".to_owned(), Value::from(e))));
        let value = wanted.get("value").and_then(Value::as_str);
        let value = value.and_then(|v| name_of(v).or_else(|| time(name, v)));
        plain.extend(value.map(|v| ("value".to_owned(), Value::from(v))));
        let values = wanted.get("values").and_then(Value::as_array);
        let values: Vec<String> = values
            .into_iter()
            .flatten()
            .filter_map(|v| name_of(v.as_str()?))
            .take(MOST)
            .collect();
        if !values.is_empty() {
            plain.insert("values".to_owned(), Value::from(values));
        }
        Value::Object(plain)
    };
    let mut plain = Map::new();
    for kind in ["access_token", "id_token", "userinfo"] {
        let claims = asked.get(kind).and_then(Value::as_object);
        let claims: Map<String, Value> = claims
            .into_iter()
            .flatten()
            .filter_map(|(name, wanted)| Some((name_of(name)?, one(name, wanted))))
            .take(MOST)
            .collect();
        if !claims.is_empty() {
            plain.insert(kind.to_owned(), Value::Object(claims));
        }
    }
    let text = Value::Object(plain.clone()).to_string();
    (!plain.is_empty() && text.len() <= LONGEST).then_some(text)
}

/// The claims that a user was given by an API: the JSON, or its Base64 as in the header `WWW-Authenticate`
/// (learn.microsoft.com/entra/identity-platform/claims-challenge).
///
/// # Errors
/// A sentence for the user when it requests no claims, or only such as are not sent.
pub fn claims_of_challenge(text: &str) -> Result<String, String> {
    let text = text.trim().trim_matches('"');
    let engine = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
    let plain = text.replace('-', "+").replace('_', "/");
    let decoded = engine.decode(plain).ok();
    let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
    claims_request(text)
        .or_else(|| claims_request(&decoded?))
        .ok_or_else(|| {
            "is no claims request: copy the value of claims from the header WWW-Authenticate of the API, or write JSON such as {\"access_token\":{\"acrs\":{\"essential\":true,\"value\":\"c1\"}}}"
                .to_owned()
        })
}

/// Base64 with or without `=` at its end.
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

/// `nbf` in a claims challenge: tokens from this second on, such as after a revocation.
fn time(name: &str, text: &str) -> Option<String> {
    let digits = text.len() <= 10 && text.bytes().all(|b| b.is_ascii_digit());
    (name == "nbf" && digits).then(|| text.to_owned())
}

/// A word as names of claims and authentication contexts are (`acrs`, `c1`), or the GUID of a policy (`polids`). Other
/// texts could be something that an attacker wants read back.
fn name_of(text: &str) -> Option<String> {
    let bytes = || text.bytes();
    let short = (1..=24).contains(&text.len())
        && bytes().filter(u8::is_ascii_digit).count() <= MOST_DIGITS
        && bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    (short || is_guid(text)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
    use serde_json::json;

    use super::*;

    #[test]
    fn only_words_of_a_challenge_are_shown() {
        let reported = |answer: Value| requested(answer.as_object().unwrap());
        let claims = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"},"polids":{"values":["a-1","<b>"]}}}"#;
        assert_eq!(
            reported(json!({ "claims": claims, "suberror": "basic_action" })).as_deref(),
            Some("suberror basic_action; the issuer asks for the claims acrs=c1, polids=a-1")
        );
        // A suberror is not requested by the issuer.
        assert_eq!(
            reported(json!({ "suberror": "bad_token" })).as_deref(),
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
            assert_eq!(reported(nothing.clone()), None, "{nothing}");
        }
    }

    #[test]
    fn the_challenge_of_an_api_is_read_as_the_header_has_it_and_as_json() {
        // learn.microsoft.com/entra/identity-platform/claims-challenge, "Claims challenge header format"
        let header = "eyJhY2Nlc3NfdG9rZW4iOnsiYWNycyI6eyJlc3NlbnRpYWwiOnRydWUsInZhbHVlIjoiYzEifX19";
        let json = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;
        for text in [header, &format!("\"{header}\""), json] {
            assert_eq!(claims_of_challenge(text).as_deref(), Ok(json), "{text}");
        }
        // Both alphabets, with and without padding.
        let plain = r#"{"access_token":{"a":{"value":"??>"},"acrs":{"value":"c1"}}} "#;
        for engine in [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD] {
            let text = engine.encode(plain);
            let read = claims_of_challenge(&text).expect(&text);
            assert_eq!(read, r#"{"access_token":{"a":{},"acrs":{"value":"c1"}}}"#);
        }
        // Microsoft Graph after a revocation, with the time from which tokens are good.
        let revoked = r#"{"access_token":{"nbf":{"essential":true,"value":"1604106651"}}}"#;
        assert_eq!(claims_of_challenge(revoked).as_deref(), Ok(revoked));
        let other =
            r#"{"access_token":{"nbf":{"value":"16041066510"},"acrs":{"value":"1604106651"}}}"#;
        assert_eq!(
            claims_of_challenge(other).as_deref(),
            Ok(r#"{"access_token":{"acrs":{},"nbf":{}}}"#)
        );
        for nothing in ["", "c1", "{}", "e30=", r#"{"access_token":{}}"#] {
            let reported = claims_of_challenge(nothing).expect_err(nothing);
            assert!(reported.contains("WWW-Authenticate"), "{reported}");
        }
    }

    #[test]
    fn a_claims_request_is_written_again_from_its_names() {
        for (asked, plain) in [
            (
                r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#,
                Some(r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#),
            ),
            (
                r#" {"access_token": {"polids": {"essential": true, "values": ["0f1e2d3c-4b5a-4c6d-8e7f-90a1b2c3d4e5", "<b>"]}}, "more": 1}"#,
                Some(
                    r#"{"access_token":{"polids":{"essential":true,"values":["0f1e2d3c-4b5a-4c6d-8e7f-90a1b2c3d4e5"]}}}"#,
                ),
            ),
            (
                r#"{"id_token":{"auth_time":null,"a b":{"value":"x"}}}"#,
                Some(r#"{"id_token":{"auth_time":{}}}"#),
            ),
            (
                r#"{"access_token":{"acrs":{"value":"eyJhbGciOiJSUzI1NiJ9.e30.x","other":"y"}}}"#,
                Some(r#"{"access_token":{"acrs":{}}}"#),
            ),
            (r#"{"access_token":{}}"#, None),
            (r#"{"other":{"acrs":{"value":"c1"}}}"#, None),
            ("[]", None),
            ("", None),
            ("c1", None),
        ] {
            let seen = claims_request(asked);
            assert_eq!(seen.as_deref(), plain, "{asked}");
            let again = seen.as_deref().and_then(claims_request);
            assert_eq!(again, seen, "the plain form stays as it is");
        }
        let many: Map<String, Value> = (0..100)
            .map(|n| (format!("claim{n}"), json!({ "values": vec!["a-1"; 50] })))
            .collect();
        let many =
            json!({ "access_token": many.clone(), "id_token": many.clone(), "userinfo": many });
        assert!(claims_request(&many.to_string()).is_none_or(|text| text.len() <= LONGEST));
    }
}
