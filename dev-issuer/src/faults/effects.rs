//! How an answer is changed.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::{StreamExt, stream};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderName, HeaderValue, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::{Effect, RetryAfter};
use crate::answer::{Answer, response};
use crate::entra;
use crate::ids::guid;

/// The answer of an effect that replaces the issuer's.
pub(crate) fn replacement(
    effect: &Effect,
    (origin, correlation_id): (&str, Option<&str>),
) -> Option<Answer> {
    let plain = |status: u16, body: &str| Answer {
        status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        body: Bytes::copy_from_slice(body.as_bytes()),
        ..Answer::default()
    };
    let retry = |answer: Answer, after: &Option<RetryAfter>| match after {
        Some(after) => answer.header(RETRY_AFTER, &header_value(after)),
        None => answer,
    };
    Some(match effect {
        Effect::TooManyRequests { retry_after } => retry(plain(429, ""), retry_after),
        Effect::Status {
            status,
            body,
            retry_after,
        } => retry(
            plain(*status, body.as_deref().unwrap_or_default()),
            retry_after,
        ),
        Effect::Redirect { status, location } => plain(*status, "").header(LOCATION, location),
        Effect::ErrorWith200 => Answer::json(
            StatusCode::OK,
            &json!({ "error": "invalid_client", "error_description": "an error in the coat of success" }),
        ),
        Effect::Aadsts { code } => {
            let id = correlation_id.map_or_else(guid, str::to_owned);
            entra::error_answer(*code).into_answer(origin, &id)
        }
        Effect::Custom {
            status,
            headers,
            body,
        } => {
            let mut answer = plain(*status, body);
            for (name, value) in headers {
                let name = HeaderName::from_bytes(name.as_bytes());
                if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
                    answer.headers.append(name, value);
                }
            }
            answer
        }
        _ => return None,
    })
}

fn header_value(after: &RetryAfter) -> String {
    match after {
        RetryAfter::Seconds(seconds) => seconds.to_string(),
        RetryAfter::Text(text) => text.clone(),
        RetryAfter::DateIn(seconds) => {
            let date = Timestamp::now()
                .checked_add(SignedDuration::from_secs(*seconds))
                .unwrap_or(Timestamp::MAX);
            date.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
        }
    }
}

/// Changes an answer. Effects that do not concern the body leave it unchanged.
pub(crate) fn distort(effect: &Effect, mut answer: Answer) -> Response {
    match effect {
        Effect::Empty => {
            answer.status = StatusCode::OK;
            answer.body = Bytes::new();
        }
        Effect::NoContent => {
            answer.status = StatusCode::NO_CONTENT;
            answer.headers.remove(CONTENT_TYPE);
            answer.body = Bytes::new();
        }
        Effect::Html => {
            answer.status = StatusCode::OK;
            answer = answer.header(CONTENT_TYPE, "text/html");
            answer.body = Bytes::from_static(
                b"<!doctype html><title>Sign in</title><p>Welcome to the network.</p>",
            );
        }
        Effect::Truncated => answer.body.truncate(answer.body.len() / 2),
        Effect::DuplicateKeys => {
            let rest = text(&answer).trim_start_matches('{').to_owned();
            answer.body = format!(r#"{{"access_token":"decoy","expires_in":1,{rest}"#).into();
        }
        Effect::MissingAccessToken => edit(&mut answer, |fields| {
            fields.remove("access_token");
        }),
        Effect::ExpiresIn { json } => {
            edit(&mut answer, |fields| {
                fields.remove("expires_in");
                fields.remove("expires_on");
            });
            if let Some(json) = json {
                // As text: `1e400` is JSON, but not a number that this program can represent.
                let rest = text(&answer).trim_start_matches('{').to_owned();
                answer.body = format!(r#"{{"expires_in":{json},{rest}"#).into();
            }
        }
        Effect::TokenType { value } => edit(&mut answer, |fields| {
            fields.insert("token_type".to_owned(), json!(value));
        }),
        Effect::TokenWithNewline => edit(&mut answer, |fields| {
            if let Some(Value::String(token)) = fields.get_mut("access_token") {
                token.push('\n');
            }
        }),
        Effect::GzipLie => answer = answer.header(CONTENT_ENCODING, "gzip"),
        Effect::Huge { bytes } => {
            let body = huge(text(&answer), *bytes);
            return response(answer.status, answer.headers, body);
        }
        Effect::Slow { ms_per_byte } => {
            let body = slow(answer.body, Duration::from_millis(*ms_per_byte));
            return response(answer.status, answer.headers, body);
        }
        _ => {}
    }
    answer.into_response()
}

fn text(answer: &Answer) -> &str {
    std::str::from_utf8(&answer.body).unwrap_or_default()
}

fn edit(answer: &mut Answer, change: impl FnOnce(&mut Map<String, Value>)) {
    if let Ok(Value::Object(mut fields)) = serde_json::from_slice(&answer.body) {
        change(&mut fields);
        answer.body = Value::Object(fields).to_string().into();
    }
}

/// The answer with a very long field in front. A stream has no known length, hence the chunks.
fn huge(answer: &str, bytes: usize) -> Body {
    const CHUNK: usize = 16 * 1024;
    let head = Bytes::from_static(br#"{"padding":""#);
    let tail = Bytes::from(format!(r#"",{}"#, answer.trim_start_matches('{')));
    let padding = stream::repeat(Bytes::from(vec![b'x'; CHUNK])).take(bytes.div_ceil(CHUNK));
    let all = stream::iter([head])
        .chain(padding)
        .chain(stream::iter([tail]));
    Body::from_stream(all.map(Ok::<_, Infallible>))
}

fn slow(body: Bytes, pause: Duration) -> Body {
    let bytes = stream::iter(0..body.len()).then(move |i| {
        let byte = body.slice(i..=i);
        async move {
            tokio::time::sleep(pause).await;
            Ok::<_, Infallible>(byte)
        }
    });
    Body::from_stream(bytes)
}
