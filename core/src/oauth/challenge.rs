//! Claims challenges of Entra ID: what a policy requires in addition to the request, and the `suberror`.
//!
//! Used only as a hint in messages, and only with words from a list.
//! Source: learn.microsoft.com/entra/identity-platform/claims-challenge.

use std::{collections::BTreeSet, net::IpAddr};

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

/// Most claims that are stored of one challenge, and most values of each.
const MOST: usize = 6;
/// Longest name of an authentication context, and longest part of it without digits: `PasswordProtectedTransport`.
const LONGEST_CONTEXT: usize = 128;
const LONGEST_PART: usize = 32;

/// Where claims are requested (OpenID Connect Core section 5.5).
const KINDS: [&str; 3] = ["access_token", "id_token", "userinfo"];

/// A claims request, rebuilt from its known parts: words and marks, no text that a malicious server could want to have read back.
#[derive(Default)]
struct RebuiltRequest {
    request: Map<String, Value>,
    /// The paths of the parts that are not stored, such as `access_token.acrs`.
    lost: BTreeSet<String>,
}

impl RebuiltRequest {
    fn of(requested: &Map<String, Value>) -> Self {
        let mut rebuilt = Self::default();
        for (kind, claims) in requested {
            match claims {
                Value::Object(claims) if KINDS.contains(&kind.as_str()) => {
                    rebuilt.take(kind, claims);
                }
                Value::Null if KINDS.contains(&kind.as_str()) => {}
                _ => {
                    let place =
                        name_of(kind).unwrap_or_else(|| "a member that is not known".to_owned());
                    rebuilt.lost.insert(place);
                }
            }
        }
        rebuilt
    }

    fn take(&mut self, kind: &str, claims: &Map<String, Value>) {
        let mut plain = Map::new();
        for (name, wanted) in claims {
            let Some(name) = name_of(name).filter(|_| plain.len() < MOST) else {
                self.lost.insert(kind.to_owned());
                continue;
            };
            let (claim, whole) = claim(&name, wanted);
            if !whole {
                self.lost.insert(format!("{kind}.{name}"));
            }
            plain.insert(name, Value::Object(claim));
        }
        if !plain.is_empty() {
            self.request.insert(kind.to_owned(), Value::Object(plain));
        }
    }

    /// As JSON. `None` if there is nothing in it, or more than is stored.
    fn text(&self) -> Option<String> {
        let text = Value::Object(self.request.clone()).to_string();
        (!self.request.is_empty() && text.len() <= LONGEST).then_some(text)
    }

    /// Its claims as words, such as `acrs=c1`.
    fn words(&self) -> Vec<String> {
        let claims = self.request.values().filter_map(Value::as_object).flatten();
        let shown = |(name, claim): (&String, &Value)| {
            let one = claim.get("value").and_then(Value::as_str);
            let many = claim.get("values").and_then(Value::as_array);
            let many = many.into_iter().flatten().filter_map(Value::as_str);
            let values: Vec<&str> = one.into_iter().chain(many).collect();
            if values.is_empty() {
                name.clone()
            } else {
                format!("{name}={}", values.join("|"))
            }
        };
        claims.map(shown).take(MOST).collect()
    }
}

/// The part of a claim that is stored, and whether that is all of it.
fn claim(name: &str, wanted: &Value) -> (Map<String, Value>, bool) {
    let mut plain = Map::new();
    let Some(wanted) = wanted.as_object() else {
        return (plain, wanted.is_null());
    };
    let mut whole = true;
    for (member, stated) in wanted {
        let rebuilt = match (member.as_str(), stated) {
            ("essential", Value::Bool(_)) => Some(stated.clone()),
            ("value", Value::String(text)) => value(name, text).map(Value::from),
            ("values", Value::Array(all)) => {
                let known = all.iter().filter_map(|v| value(name, v.as_str()?));
                let known: Vec<String> = known.take(MOST).collect();
                whole &= known.len() == all.len();
                (!known.is_empty()).then(|| Value::from(known))
            }
            _ => None,
        };
        whole &= rebuilt.is_some();
        plain.extend(rebuilt.map(|rebuilt| (member.clone(), rebuilt)));
    }
    (plain, whole)
}

/// The claims request of an answer: JSON inside a string.
fn in_answer(answer: &Map<String, Value>) -> Option<RebuiltRequest> {
    let text = answer.get("claims")?.as_str()?;
    object(text.as_bytes())
        .ok()
        .map(|requested| RebuiltRequest::of(&requested))
}

/// The `suberror` of an answer, and the claims that it requests, such as `acrs=c1`.
pub(super) fn requested(answer: &Map<String, Value>) -> Option<String> {
    let suberror = answer.get("suberror").and_then(Value::as_str);
    let suberror = suberror
        .and_then(error_code)
        .map(|word| format!("suberror {word}"));
    let claims = in_answer(answer).and_then(|rebuilt| {
        let words = rebuilt.text().map(|_| rebuilt.words()).unwrap_or_default();
        let whole = rebuilt.lost.is_empty() && words.is_empty() == rebuilt.request.is_empty();
        match (words.is_empty(), whole) {
            (true, true) => None,
            (true, false) => {
                Some("the issuer requests claims that apicred does not store".to_owned())
            }
            (false, true) => Some(format!(
                "the issuer requests the claims {}",
                words.join(", ")
            )),
            (false, false) => Some(format!(
                "the issuer requests the claims {}, and others that apicred does not store",
                words.join(", ")
            )),
        }
    });
    let all: Vec<String> = suberror.into_iter().chain(claims).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// Longest claims request that is stored, in bytes.
const LONGEST: usize = 1024;

/// The claims that an answer requests, as they are stored. `None` if it requests none, or more than is stored.
pub(super) fn claims(answer: &Map<String, Value>) -> Option<String> {
    in_answer(answer)?.text()
}

/// A claims request in its plain form. The sign-in sends it. It is read from the status, where any writer could have put
/// something else, so it is checked again.
pub fn claims_request(text: &str) -> Option<String> {
    RebuiltRequest::of(&object(text.as_bytes()).ok()?).text()
}

/// The claims that an API gave to a user: the JSON, or its Base64 as in the header `WWW-Authenticate`
/// (learn.microsoft.com/entra/identity-platform/claims-challenge).
///
/// # Errors
/// A sentence for the user if the text requests no claims, or some that are not sent: a part of a request is another request.
pub fn claims_of_challenge(text: &str) -> Result<String, String> {
    let text = text.trim().trim_matches('"');
    let engine = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
    let plain = text.replace('-', "+").replace('_', "/");
    let decoded = || object(&engine.decode(plain).ok()?).ok();
    let requested = object(text.as_bytes()).ok().or_else(decoded);
    let rebuilt = requested
        .map(|requested| RebuiltRequest::of(&requested))
        .unwrap_or_default();
    if !rebuilt.lost.is_empty() {
        let places: Vec<String> = rebuilt.lost.into_iter().take(MOST).collect();
        return Err(format!(
            "was not sent, because apicred does not send all of it ({}): at most {MOST} claims with at most {MOST} values each, which are words, GUIDs, IP addresses, URNs, or URLs without a query",
            places.join(", ")
        ));
    }
    if rebuilt.text().is_none() && !rebuilt.request.is_empty() {
        return Err(format!(
            "was not sent, because it is longer than {LONGEST} bytes"
        ));
    }
    rebuilt.text().ok_or_else(|| {
        "is no claims request: copy the value of claims from the header WWW-Authenticate of the API, or write JSON such as {\"access_token\":{\"acrs\":{\"essential\":true,\"value\":\"c1\"}}}"
            .to_owned()
    })
}

/// Base64 with or without `=` at its end.
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

/// `nbf` in a claims challenge: only tokens from this second on are accepted, for example after a revocation.
fn time(name: &str, text: &str) -> Option<String> {
    let digits = text.len() <= 10 && text.bytes().all(|b| b.is_ascii_digit());
    (name == "nbf" && digits).then(|| text.to_owned())
}

/// A value of a claim: a word, a time, the address of a client (`xms_rp_ipaddr`), or the name of an authentication context.
fn value(name: &str, text: &str) -> Option<String> {
    let address = || text.parse::<IpAddr>().ok().map(|_| text.to_owned());
    let context = || is_context(text).then(|| text.to_owned());
    name_of(text)
        .or_else(|| time(name, text))
        .or_else(address)
        .or_else(context)
}

/// A URN (RFC 8141) or URL that names an authentication context: `urn:microsoft:req1`, `https://refeds.org/profile/mfa`. Its
/// parts are words.
fn is_context(text: &str) -> bool {
    let letter = |b: u8| b.is_ascii_alphabetic() || b"-_~".contains(&b);
    let long = |part: &str| part.len() <= LONGEST_PART && part.bytes().all(letter);
    let part = |part: &str| part.is_empty() || long(part) || name_of(part).is_some();
    text.len() <= LONGEST_CONTEXT
        && text.split_once(':').is_some_and(|(scheme, name)| {
            let scheme = scheme.bytes().all(|b| b.is_ascii_alphabetic()) && !scheme.is_empty();
            scheme && name.split([':', '/', '.']).all(part) && name.bytes().any(letter)
        })
}

/// A word in the form of names of claims and authentication contexts (`acrs`, `c1`), or the GUID of a policy (`polids`).
/// Other texts could be something that an attacker wants to have read back.
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
    fn only_known_values_of_a_challenge_are_shown() {
        let reported = |answer: Value| requested(answer.as_object().unwrap());
        let claims = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"},"polids":{"values":["a-1","<b>"]}}}"#;
        assert_eq!(
            reported(json!({ "claims": claims, "suberror": "basic_action" })).as_deref(),
            Some(
                "suberror basic_action; the issuer requests the claims acrs=c1, polids=a-1, and others that apicred does not store"
            )
        );
        // A suberror is not something that the issuer requests.
        assert_eq!(
            reported(json!({ "suberror": "bad_token" })).as_deref(),
            Some("suberror bad_token")
        );
        for nothing in [
            json!({}),
            json!({ "claims": "not json" }),
            json!({ "claims": "[]" }),
            json!({ "claims": "{\"access_token\":null}" }),
            json!({ "claims": "{}" }),
            json!({ "claims": 7, "suberror": "two words" }),
            json!({ "suberror": "4f1dd2a09be34c71" }),
        ] {
            assert_eq!(reported(nothing.clone()), None, "{nothing}");
        }
        for other in [
            json!({ "claims": "{\"access_token\":7}" }),
            json!({ "claims": "{\"other\":{\"acrs\":{}}}" }),
        ] {
            assert_eq!(
                reported(other).as_deref(),
                Some("the issuer requests claims that apicred does not store")
            );
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
        // Both alphabets, with and without padding: `+` and `/` encode a `~` and a `?` in one of three places.
        for blanks in ["", " ", "  "] {
            for engine in [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD] {
                let read = |value: &str| {
                    let plain =
                        json!({ "access_token": { "acrs": { "value": value } } }).to_string();
                    (
                        plain.clone(),
                        claims_of_challenge(&engine.encode(format!("{blanks}{plain}"))),
                    )
                };
                let (plain, seen) = read("urn:a~b~~c");
                assert_eq!(seen, Ok(plain), "{blanks:?}");
                let (_, seen) = read("urn:a???b");
                assert!(
                    seen.unwrap_err().contains("access_token.acrs"),
                    "{blanks:?}"
                );
            }
        }
        // Microsoft Graph after a revocation, with the time from which tokens are accepted.
        let revoked = r#"{"access_token":{"nbf":{"essential":true,"value":"1604106651"}}}"#;
        assert_eq!(claims_of_challenge(revoked).as_deref(), Ok(revoked));
        let other =
            r#"{"access_token":{"nbf":{"value":"16041066510"},"acrs":{"value":"1604106651"}}}"#;
        let problem = claims_of_challenge(other).unwrap_err();
        let places = "access_token.acrs, access_token.nbf";
        assert!(problem.contains(places), "{problem}");
        for nothing in ["", "c1", "{}", "e30=", r#"{"access_token":{}}"#] {
            let reported = claims_of_challenge(nothing).expect_err(nothing);
            assert!(reported.contains("WWW-Authenticate"), "{reported}");
        }
    }

    #[test]
    fn a_claims_request_is_rebuilt_from_its_known_values() {
        for (requested, plain) in [
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
            let seen = claims_request(requested);
            assert_eq!(seen.as_deref(), plain, "{requested}");
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
