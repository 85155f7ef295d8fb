//! Finds error codes and texts in an answer without a token: RFC 6749, RFC 9457, and the bodies of products and frameworks. A
//! new name is one entry in a list.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::{RawAnswer, classes, gateway, token_error::error_code};
use crate::input::{get, lossy};

/// Most characters of the issuer's text that are read.
const LONGEST_MESSAGE: usize = 1024;
/// Fields with the text, in the order in which they are read: RFC 6749, then Okta, Google and gateways, Zoom, RFC 9457.
const MESSAGE_FIELDS: [&str; 8] = [
    "error_description",
    "errorSummary",
    "error_message",
    "message",
    "msg",
    "reason",
    "detail",
    "description",
];
/// The same inside an error object: Google, Stripe, `ServiceNow`, JSON:API.
const INNER_MESSAGE_FIELDS: [&str; 9] = [
    "error_description",
    "message",
    "msg",
    "reason",
    "description",
    "faultstring",
    "detail",
    "details",
    "title",
];
/// Fields with a code instead of `error`: Okta, `HubSpot`, Oracle.
const CODES: [&str; 3] = ["error_code", "code", "status"];
/// The same of AWS, `PayPal` and RFC 9457 (a URI there). Other servers use these names for something else.
const RARE_CODES: [&str; 3] = ["__type", "name", "type"];
/// How deep an error is searched for texts.
const DEEPEST: usize = 4;
/// Codes that add nothing to the status of the answer.
const NO_CODES: [&str; 10] = [
    "error",
    "errors",
    "fail",
    "failed",
    "failure",
    "ko",
    "nok",
    "true",
    "false",
    "exception",
];

/// The text of the issuer in an answer: in its fields, or a short text that is the whole body.
pub(super) fn reported<'a>(
    raw: &'a RawAnswer,
    fields: Option<&'a Map<String, Value>>,
) -> Option<Cow<'a, str>> {
    if let Some(fields) = fields {
        return description(fields).map(Cow::Borrowed);
    }
    let kind = raw.content_type.as_deref().unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let plain = kind.eq_ignore_ascii_case("text/plain") || kind.ends_with("json");
    let text = lossy(&raw.body).ok().filter(|_| plain)?;
    let text = text.trim().trim_matches('"');
    let fits = |c: char| !c.is_control() || c.is_whitespace();
    let short = (1..=LONGEST_MESSAGE).contains(&text.len()) && !text.starts_with(['<', '{', '[']);
    (short && text.contains(' ') && text.chars().all(fits)).then(|| Cow::Owned(text.to_owned()))
}

/// The text of the issuer, unchanged but bounded.
pub(super) fn description<'a>(fields: &'a Map<String, Value>) -> Option<&'a str> {
    let of = |fields: &'a Map<String, Value>, names: &[&str]| {
        names.iter().find_map(|name| text(get(fields, name)?))
    };
    let inside = || of(inner(fields)?, &INNER_MESSAGE_FIELDS);
    let alone = |name: &str| get(fields, name)?.as_str();
    // Keycloak and Apigee have their text in the field of the code.
    let error = || alone("error").filter(|text| stated_code(text).is_none());
    let nested = || {
        let names = ["error", "errors", "fault", "detail", "details"];
        names
            .iter()
            .find_map(|name| sentence(get(fields, name)?, DEEPEST))
    };
    let text = of(fields, &MESSAGE_FIELDS)
        .or_else(inside)
        .or_else(error)
        .or_else(nested)
        .or_else(|| alone("title"))
        .or_else(|| text(get(fields, "errors")?))?;
    let end = text.char_indices().nth(LONGEST_MESSAGE);
    Some(end.map_or(text, |(at, _)| &text[..at]))
}

/// A text, or the first of a list of texts.
fn text(value: &Value) -> Option<&str> {
    match value {
        Value::Array(all) => all.first()?.as_str(),
        other => other.as_str(),
    }
}

/// The first text with a blank in it, at any depth: validators have lists by field, other errors have nested causes.
fn sentence(value: &Value, depth: usize) -> Option<&str> {
    let inside = |value| sentence(value, depth.checked_sub(1)?);
    match value {
        Value::String(text) => Some(text.trim()).filter(|text| text.contains(' ')),
        Value::Array(all) => all.iter().find_map(inside),
        Value::Object(fields) => fields.values().find_map(inside),
        _ => None,
    }
}

/// The code in `error`, in a form that may be shown: one in the form of RFC 6749, or one of the table in another spelling
/// (`INVALID_CLIENT`, `InvalidClient`, `Invalid client`, `invalid_client: some words`). `None` for a sentence, a number, and
/// a code that adds nothing to the status.
pub(super) fn stated_code(text: &str) -> Option<String> {
    let head = text.split(':').next().unwrap_or_default();
    let is_code = |code: &String| {
        code.bytes().any(|b| b.is_ascii_lowercase()) && !NO_CODES.contains(&code.as_str())
    };
    error_code(text)
        .filter(is_code)
        .or_else(|| classes::known(&snake(&spaced(head))?).map(str::to_owned))
}

/// A code that is used instead of `error`: `E0000004`, `BAD_CLIENT_ID`, `NotAuthorizedException`. Never shown.
pub(super) fn code(fields: &Map<String, Value>) -> Option<String> {
    let inside = inner(fields).into_iter().flat_map(|e| {
        ["error", "status", "type", "code"]
            .into_iter()
            .filter_map(|name| get(e, name)?.as_str())
    });
    let direct = CODES.iter().filter_map(|name| get(fields, name)?.as_str());
    let found = apigee(fields).or_else(|| inside.chain(direct).find_map(snake));
    let rare = || {
        let texts = RARE_CODES
            .iter()
            .filter_map(|name| fields.get(*name)?.as_str());
        let ends = texts.filter_map(|text| text.rsplit(['#', '/', ':']).next());
        let mut codes = ends.filter_map(|end| snake(&spaced(end)));
        codes.find(|code| classes::known(code).is_some())
    };
    found.or_else(rare)
}

/// The object that describes an error, if `error` is not a text: `error` itself, or the first of `errors`.
fn inner(fields: &Map<String, Value>) -> Option<&Map<String, Value>> {
    let one = get(fields, "error").and_then(Value::as_object);
    let first = || match get(fields, "errors").or_else(|| get(fields, "detail"))? {
        Value::Array(all) => all.first()?.as_object(),
        other => other.as_object(),
    };
    let fault = || get(fields, "fault")?.as_object();
    one.or_else(first).or_else(fault)
}

/// The code of Apigee's own token policy: `oauth.v2.InvalidClientIdentifier`, `oauth.v2.invalid_client-invalid_client_id`.
fn apigee(fields: &Map<String, Value>) -> Option<String> {
    let code = gateway::apigee_code(fields)?;
    snake(code.split('-').next()?)
}

/// With an underscore for each blank and hyphen.
fn spaced(text: &str) -> String {
    let joined = |c: char| if c == ' ' || c == '-' { '_' } else { c };
    text.trim().chars().map(joined).collect()
}

/// In lower case with underscores. `None` if it is not a code.
pub(super) fn snake(text: &str) -> Option<String> {
    let name = text.rsplit('#').next().unwrap_or(text);
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
        return None;
    }
    let mut out = String::new();
    let mut lower = false;
    for c in name.chars() {
        if c.is_ascii_uppercase() && lower {
            out.push('_');
        }
        lower = c.is_ascii_lowercase();
        out.push(c.to_ascii_lowercase());
    }
    let has_letters = out.bytes().any(|b| b.is_ascii_lowercase()) && !NO_CODES.contains(&&*out);
    has_letters.then_some(out)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn codes_of_products_are_found_at_their_places() {
        for (body, expected) in [
            (json!({ "errorCode": "E0000004" }), Some("e0000004")),
            (json!({ "status": "BAD_CLIENT_ID" }), Some("bad_client_id")),
            (
                json!({ "__type": "com.amazon#NotAuthorizedException" }),
                Some("not_authorized_exception"),
            ),
            (
                json!({ "error": { "code": 403, "status": "PERMISSION_DENIED" } }),
                Some("permission_denied"),
            ),
            (
                json!({ "error": { "type": "invalid_request_error" } }),
                Some("invalid_request_error"),
            ),
            (
                json!({ "status": 401, "type": "https://example.com/p" }),
                None,
            ),
            (json!({ "code": "two words" }), None),
            // The same name in another case, and codes that add nothing to the status.
            (json!({ "ErrorCode": "E0000004" }), Some("e0000004")),
            (
                json!({ "Error_Code": "InvalidClient" }),
                Some("invalid_client"),
            ),
            (json!({ "code": "401" }), None),
            (json!({ "code": 401, "status": "error" }), None),
            (
                json!({ "status": "failure", "code": "NotAuthenticated" }),
                Some("not_authenticated"),
            ),
            (
                json!({ "name": "AUTHENTICATION_FAILURE" }),
                Some("authentication_failure"),
            ),
            (json!({ "name": "NotFoundError", "status": 404 }), None),
            (
                json!({ "errors": [{ "code": "invalid_client", "detail": "no" }] }),
                Some("invalid_client"),
            ),
            (
                json!({ "errors": { "type": "invalid_grant" } }),
                Some("invalid_grant"),
            ),
            (
                json!({ "Error": { "Code": "AccessDenied" } }),
                Some("access_denied"),
            ),
            (json!({ "errors": ["invalid_client"] }), None),
            (json!({}), None),
        ] {
            assert_eq!(
                code(body.as_object().unwrap()).as_deref(),
                expected,
                "{body}"
            );
        }
    }
}
