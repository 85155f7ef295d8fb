//! Turns an answer of a token endpoint into a token or a token error.
//!
//! Any input gives one of the two. No text of the body is returned, except codes and IDs with fixed alphabets.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use super::{Token, TokenError, github_app, issued, refused, unread};
use crate::{
    credential::{Credential, Protocol},
    input::{NotObject, http_date, lossy, object, stated},
};

/// A form that is not declared as one is recognized by one of these fields (RFC 6749 section 5).
const FORM: [&str; 4] = [
    "access_token",
    "refresh_token",
    "error",
    "error_description",
];
/// Most fields of an answer in form encoding.
const MAX_FIELDS: usize = 256;
/// A longer `Retry-After` is reduced to this, as in the MSAL libraries (facts, section 3.2).
pub(super) const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);

/// An answer as it was received.
pub struct RawAnswer {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`, if any.
    pub content_type: Option<String>,
    /// `Content-Encoding`, if any.
    pub content_encoding: Option<String>,
    /// `Retry-After`, if any.
    pub retry_after: Option<String>,
    /// `X-RateLimit-Reset`, if `X-RateLimit-Remaining` is `0`. The unit is the issuer's: GitHub writes seconds since the epoch.
    pub limit_reset: Option<String>,
    /// `WWW-Authenticate`, if any.
    pub challenge: Option<String>,
    /// `Date`, if any.
    pub date: Option<String>,
    /// `Age`, if the answer was in a cache.
    pub age: Option<String>,
    /// `Location`, if any.
    pub location: Option<String>,
    /// The body, complete.
    pub body: Vec<u8>,
}

impl RawAnswer {
    /// An answer without any of these headers.
    pub const fn new(status: u16, body: Vec<u8>) -> Self {
        Self {
            status,
            content_type: None,
            content_encoding: None,
            retry_after: None,
            limit_reset: None,
            challenge: None,
            date: None,
            age: None,
            location: None,
            body,
        }
    }

    /// The pause that the issuer requests. A date is relative to the `Date` of the same answer, because clocks differ.
    pub fn requested_pause(&self, now: Timestamp) -> Option<Duration> {
        retry_after(self.retry_after.as_deref()?, self.clock(now))
    }

    /// The time of the issuer's clock, or ours if the answer does not contain it.
    fn clock(&self, now: Timestamp) -> Timestamp {
        self.date.as_deref().and_then(http_date).unwrap_or(now)
    }
}

/// The values that reading an answer requires in addition to the bytes.
#[derive(Clone, Copy, Debug)]
pub struct AnswerContext {
    /// The time just before the request was sent.
    pub sent: Timestamp,
    /// Now.
    pub now: Timestamp,
    /// The issuer's `assumedLifetime`.
    pub assumed_lifetime: Option<SignedDuration>,
}

/// Reads an answer.
///
/// # Errors
/// A classified token error.
pub fn answer(raw: &RawAnswer, context: AnswerContext) -> Result<Token, TokenError> {
    read(raw, context, None, &AnswerForm::OAUTH)
}

/// The field names of an answer.
pub(super) struct AnswerForm {
    /// Name of the field.
    pub(super) token: &'static str,
    /// What a user must check if the field is missing.
    pub(super) check: &'static str,
    /// Returns the answer with the field names of OAuth, or `None` if it has no such token. If not set, the fields already have the names of OAuth.
    pub(super) renamed: Option<fn(&RawAnswer) -> Option<RawAnswer>>,
}

impl AnswerForm {
    /// RFC 6749.
    pub(super) const OAUTH: Self = Self {
        token: "access_token",
        check: "check that the URL is the token endpoint",
        renamed: None,
    };
}

pub(super) fn read(
    raw: &RawAnswer,
    context: AnswerContext,
    credential: Option<&Credential>,
    form: &AnswerForm,
) -> Result<Token, TokenError> {
    let found = body(raw);
    let empty = Map::new();
    let fields = found.as_ref().unwrap_or(&empty);
    let success = (200..=299).contains(&raw.status) && stated(fields, "error").is_none();
    if success {
        let issued = |raw: &RawAnswer, fields: &Map<String, Value>| {
            let token = issued::access_token(fields)?;
            Some(issued::token(raw, fields, &token, context, credential))
        };
        let token = match form.renamed {
            None => issued(raw, fields),
            Some(renamed) => renamed(raw).and_then(|own| issued(&own, &body(&own).ok()?)),
        };
        if let Some(token) = token {
            return token;
        }
    }
    let refused = refused::token_error(raw, found.as_ref().ok(), context.now, credential);
    Err(unread::completed(raw, &found, refused, form))
}

/// Reads the answer to a credential's request: [`answer`], with the meaning of a token error for its grant and issuer.
///
/// # Errors
/// A classified token error.
pub fn answer_to(
    credential: &Credential,
    raw: &RawAnswer,
    sent: Timestamp,
    now: Timestamp,
) -> Result<Token, TokenError> {
    let context = AnswerContext {
        sent,
        now,
        assumed_lifetime: credential.issuer.assumed_lifetime,
    };
    match credential.issuer.protocol {
        Protocol::OAuth => read(raw, context, Some(credential), &AnswerForm::OAUTH),
        Protocol::GitHubApp => github_app::answer(credential, raw, context),
    }
}

/// `Retry-After` in its two forms (RFC 9110 section 10.2.3), at most an hour. Some servers send a fraction of a second, which is
/// rounded up. An invalid value is ignored. `now` is a time of the server's clock: see [`RawAnswer::requested_pause`].
pub fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    let decimal = value.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let seconds = value.parse::<f64>().ok().filter(|_| decimal);
    let wait = if let Some(seconds) = seconds {
        let seconds = seconds.min(MAX_RETRY_AFTER.as_secs_f64());
        Duration::from_secs_f64(seconds.ceil())
    } else {
        let at = http_date(value)?;
        Duration::try_from(at.duration_since(now)).unwrap_or_default()
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

/// The time until the end of a rate limit, which is stated in seconds since the epoch, at most an hour. By the clock of the
/// answer if it contains the time. `None` if there is no end, or it has passed.
pub(super) fn limit_ends_after(raw: &RawAnswer, now: Timestamp) -> Option<Duration> {
    let end: i64 = raw.limit_reset.as_deref()?.trim().parse().ok()?;
    let left = u64::try_from(end.checked_sub(raw.clock(now).as_second())?).ok()?;
    let wait = Duration::from_secs(left).min(MAX_RETRY_AFTER);
    (left > 0).then_some(wait)
}

/// The fields of an answer, if it has any.
pub(super) fn fields(raw: &RawAnswer) -> Option<Map<String, Value>> {
    body(raw).ok()
}

/// The fields of a body that is a JSON object or a form. Some issuers answer form-encoded, some declare JSON as `text/plain`
/// and a form as `text/html` (facts, section 5.2), so the body decides and the header only helps.
fn body(raw: &RawAnswer) -> Result<Map<String, Value>, NotObject> {
    let not_object = match object(&raw.body) {
        Ok(fields) => return Ok(fields),
        Err(what) => what,
    };
    // Salesforce and others send a list of errors.
    if not_object == NotObject::Other("list")
        && !(200..=299).contains(&raw.status)
        && let Ok(all) = serde_json::from_slice::<Vec<Value>>(&raw.body)
        && let Some(Value::Object(first)) = all.into_iter().next()
    {
        return Ok(first);
    }
    if not_object != NotObject::Text {
        return Err(not_object);
    }
    let text = lossy(&raw.body)?;
    let text = text.trim().trim_start_matches(['?', '#', '&']);
    let declared = raw.content_type.as_deref().is_some_and(|kind| {
        let kind = kind.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("application/x-www-form-urlencoded")
    });
    if !declared && !looks_like_form(text) {
        return Err(not_object);
    }
    let pairs = url::form_urlencoded::parse(text.as_bytes()).take(MAX_FIELDS);
    Ok(pairs
        .map(|(k, v)| (k.into_owned(), Value::String(v.into_owned())))
        .collect())
}

/// True for a text with a field of OAuth and without blanks, quotes and tags. An HTML page is not a form, whatever its links contain.
fn looks_like_form(text: &str) -> bool {
    let fits = |b: u8| (0x21..=0x7e).contains(&b) && !b"<>\"{}".contains(&b);
    text.bytes().all(fits)
        && text.split('&').any(|pair| {
            let name = pair.split_once('=').map(|(name, _)| name);
            name.is_some_and(|name| FORM.contains(&name))
        })
}
