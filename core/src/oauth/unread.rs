//! Explains a successful answer without a readable token.
//!
//! If a token was issued nevertheless, the next one would be lost as well. So the next request waits for minutes. Refresh
//! tokens are an exception: their notes decide when they are sent again.

use crate::Reason;
use serde_json::{Map, Value};

use super::{
    Class, Note, RawAnswer, Stage, TokenError,
    error_kind::{Kind, Meaning, meaning},
    refused,
    response::AnswerForm,
};
use crate::input::{NotObject, Unreadable, get, is_nothing, object, stated};

/// Names of tokens. Only one of them is the requested one.
const TOKENS: [&str; 6] = [
    "access_token",
    "id_token",
    "refresh_token",
    "token",
    "jwt",
    "assertion",
];
/// Names of a token in text that is not JSON as a whole.
const NAMES: [&[u8]; 4] = [
    b"access_token",
    b"accessToken",
    b"refresh_token",
    b"id_token",
];

/// Completes the token error of an answer.
pub(super) fn completed(
    raw: &RawAnswer,
    body: &Result<Map<String, Value>, NotObject>,
    mut token_error: TokenError,
    form: &AnswerForm,
) -> TokenError {
    if let Some(coding) = coding_of(raw, body) {
        let seen = format!(
            "the response is {}; turn compression off for the token endpoint, at the issuer or in the gateway before it",
            compressed(&coding)
        );
        if is_success(raw) {
            let lost = "; a refresh token in it is lost as well, and if the one that was sent is not valid any more, a user must sign in again";
            return malformed(token_error, format!("{seen}{lost}"));
        }
        token_error.next_step.note(Note::Clause(seen));
        return token_error;
    }
    if !is_success(raw) {
        return token_error;
    }
    let (seen, brought) = match body {
        // An error in the answer is more specific than the token next to it.
        Ok(fields) if stated(fields, "error").is_some() => {
            if get(fields, form.token).is_none() {
                return with_error(token_error);
            }
            let passing = matches!(token_error.class, Class::Transient | Class::Throttled);
            let seen = "the answer has an error and an access token; the issuer's logs explain it";
            (seen.to_owned(), passing)
        }
        Ok(fields) => lacking(fields, form),
        Err(what) => (
            format!(
                "the answer {what}; {}, and that nothing between changes answers",
                form.check
            ),
            mentions_token(what, &raw.body),
        ),
    };
    if brought {
        malformed(token_error, seen)
    } else {
        if token_error.reason == Reason::MalformedAnswer {
            token_error.next_step = seen.into();
        }
        token_error
    }
}

/// A success with an error and without a token. An error that is not a code is still an error, and not transient.
fn with_error(token_error: TokenError) -> TokenError {
    if token_error.reason != Reason::MalformedAnswer {
        return token_error;
    }
    let Meaning {
        class,
        reason,
        next_step,
        about_client,
    } = meaning(Kind::Answer);
    TokenError {
        class,
        reason,
        next_step,
        about_client,
        stage: Stage::Answered,
        ..token_error
    }
}

/// The error for an answer of this host that was too long to be read.
pub fn too_large(raw: &RawAnswer, host: &str) -> TokenError {
    let token_error = TokenError::local(
        Class::Transient,
        Reason::AnswerTooLarge,
        format!(
            "the answer of {host} is larger than 1 MiB, as no answer of a token endpoint and no discovery document is; check the URL of the issuer"
        ),
    );
    TokenError {
        http_status: Some(raw.status),
        detail: Some(Box::new(refused::detail(raw, None))),
        ..token_error.at(Stage::Foreign)
    }
}

/// Completes the token error of an incomplete answer to a token request. If it begins like a success, the token was issued
/// and is lost, and the next one would be lost as well. A refresh may still be repeated at once, so the message states no time.
#[must_use]
pub fn broken_off(part: &RawAnswer, token_error: TokenError) -> TokenError {
    if !is_success(part) || is_page(part) {
        return token_error;
    }
    if token_error.stage == Stage::Foreign {
        // Too large. A megabyte of something else has no token after it.
        let brought = is_object(part) || mentions_token(&NotObject::Short, &part.body);
        return if brought {
            TokenError {
                class: Class::Invalid,
                stage: Stage::Answered,
                ..token_error
            }
        } else {
            token_error
        };
    }
    let what = token_error.next_step.what();
    let next_step = format!(
        "{what}; a token that was issued is lost with the answer, and the next one would probably be lost as well; find out what ends connections early, at the issuer or between (a limit of time or size)"
    );
    TokenError {
        class: Class::Invalid,
        reason: Reason::AnswerIncomplete,
        next_step: next_step.into(),
        http_status: Some(part.status),
        detail: Some(Box::new(refused::detail(part, None))),
        ..token_error
    }
}

/// True if it begins like a JSON object.
fn is_object(part: &RawAnswer) -> bool {
    let body = crate::input::without_mark(&part.body);
    body.trim_ascii_start().starts_with(b"{")
}

/// True if it is the start of a document for humans, which no token endpoint returns.
fn is_page(part: &RawAnswer) -> bool {
    match object(&part.body) {
        Err(NotObject::WebPage | NotObject::Xml) => true,
        Err(NotObject::Empty) => {
            let kind = part.content_type.as_deref().unwrap_or_default();
            let kind = kind.trim_start().to_ascii_lowercase();
            kind.starts_with("text/html") || kind.starts_with("application/xhtml")
        }
        _ => false,
    }
}

fn is_success(raw: &RawAnswer) -> bool {
    (200..=299).contains(&raw.status)
}

fn malformed(token_error: TokenError, next_step: String) -> TokenError {
    TokenError {
        class: Class::Invalid,
        reason: Reason::MalformedAnswer,
        stage: Stage::Answered,
        next_step: next_step.into(),
        retry_after: None,
        about_client: false,
        ..token_error
    }
}

/// The content coding of an answer that cannot be read (RFC 9110 section 8.4): by its header, else by its first bytes.
#[must_use]
pub fn coding(raw: &RawAnswer, what: Option<&NotObject>) -> Option<String> {
    let header = raw.content_encoding.as_deref().unwrap_or_default();
    let named = header
        .split(',')
        .map(|coding| coding.trim().to_ascii_lowercase())
        .rfind(|coding| !["", "identity", "none", "utf-8"].contains(&coding.as_str()));
    // Registered names (IANA) are short; others could contain a secret.
    let shown = |coding: String| {
        let fits =
            coding.len() <= 12 && coding.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
        if fits {
            coding
        } else {
            "an unknown coding".to_owned()
        }
    };
    let by_bytes = match what {
        Some(NotObject::Unreadable(Unreadable::Compressed(format))) => Some((*format).to_owned()),
        _ => None,
    };
    named.map(shown).or(by_bytes)
}

/// What is reported about an answer with this coding.
pub(super) fn compressed(coding: &str) -> String {
    format!("compressed with {coding}, although the request forbids it (accept-encoding: identity)")
}

/// The same for an answer that should be a JSON object and is compressed.
pub(crate) fn compression(raw: &RawAnswer) -> Option<String> {
    let what = object(&raw.body).err()?;
    coding(raw, Some(&what)).map(|coding| compressed(&coding))
}

/// The coding of a body that was read as a form in which no field has a known name: brotli and raw deflate have no identifying first bytes.
fn coding_of(raw: &RawAnswer, body: &Result<Map<String, Value>, NotObject>) -> Option<String> {
    match body {
        Err(what) => coding(raw, Some(what)),
        Ok(fields) => {
            let known = ["access_token", "error", "error_description", "message"];
            let unknown = known.iter().all(|name| get(fields, name).is_none());
            coding(raw, None).filter(|_| unknown && object(&raw.body).is_err())
        }
    }
}

/// What an object without a readable token contains, and whether a token was issued.
fn lacking(fields: &Map<String, Value>, form: &AnswerForm) -> (String, bool) {
    let AnswerForm { token, check, .. } = form;
    if let Some(Value::String(text)) = get(fields, token)
        && is_nothing(text)
    {
        let seen = format!(
            "the answer has a text that means no value (such as null, none or not_supported) instead of its {token}; see in the issuer's log why it issues none"
        );
        return (seen, true);
    }
    if get(fields, token).is_some() {
        let seen = format!("the answer has a field {token} that is not a text; {check}");
        return (seen, true);
    }
    let inside = |value: &Value| match value {
        Value::Object(inner) => get(inner, token).is_some(),
        _ => false,
    };
    if fields.values().any(inside) {
        let seen = format!(
            "the answer has its {token} inside of another object, and not at the top; {check}"
        );
        return (seen, true);
    }
    let others: Vec<&str> = TOKENS
        .into_iter()
        .filter(|name| get(fields, name).is_some())
        .collect();
    if others.is_empty() {
        let seen = format!("the answer is a JSON object without {token}; {check}");
        return (seen, false);
    }
    let others = others.join(", ");
    let request = if form.renamed.is_none() {
        "request an access token (scopes, grant), and "
    } else {
        ""
    };
    let seen = format!("the answer has {others} and no {token}; {request}{check}");
    (seen, true)
}

/// True if a body that cannot be read may contain a token.
fn mentions_token(what: &NotObject, body: &[u8]) -> bool {
    match what {
        NotObject::Empty | NotObject::WebPage => false,
        NotObject::Jwt | NotObject::Unreadable(_) => true,
        _ => NAMES.iter().any(|name| {
            body.windows(name.len())
                .any(|part| part.eq_ignore_ascii_case(name))
        }),
    }
}
