//! An answer of a token endpoint into a token or a refusal. Total: any bytes give one of the two, and no text of
//! the body but codes and ids from fixed alphabets comes out.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use serde_json::{Map, Value};

use super::{
    Class, Granted, Refusal, Token, granted,
    lifetime::{self, is_guid},
    refused,
};
use crate::{credential::Credential, input::object};

/// Longest access token that is published: a Secret holds 1 MiB and the token stands in it twice.
const MAX_TOKEN: usize = 256 * 1024;
/// `issued_token_type` of a refresh token (RFC 8693 section 3).
const REFRESH_TOKEN: &str = "urn:ietf:params:oauth:token-type:refresh_token";
/// Most fields of an answer in form encoding.
const MAX_FIELDS: usize = 256;
/// `Retry-After` beyond this is cut, as the MSAL libraries do (facts, section 3.2).
const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);

/// An answer as it came off the wire.
pub struct RawAnswer {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`, if any.
    pub content_type: Option<String>,
    /// `Retry-After`, if any.
    pub retry_after: Option<String>,
    /// `WWW-Authenticate`, if any.
    pub challenge: Option<String>,
    /// `Date`, if any.
    pub date: Option<String>,
    /// The body, complete.
    pub body: Vec<u8>,
}

/// What is needed beside the bytes to read an answer.
#[derive(Clone, Copy, Debug)]
pub struct AnswerContext {
    /// The moment before the request left.
    pub sent: Timestamp,
    /// Now.
    pub now: Timestamp,
    /// The issuer's `assumedLifetime`.
    pub assumed_lifetime: Option<SignedDuration>,
}

/// Reads an answer.
///
/// # Errors
/// A classified refusal.
pub fn answer(raw: &RawAnswer, context: AnswerContext) -> Result<Token, Refusal> {
    read(raw, context, None)
}

fn read(
    raw: &RawAnswer,
    context: AnswerContext,
    credential: Option<&Credential>,
) -> Result<Token, Refusal> {
    let parsed = fields(raw);
    let empty = Map::new();
    let fields = parsed.as_ref().unwrap_or(&empty);
    let text = |name: &str| {
        fields
            .get(name)
            .and_then(Value::as_str)
            .filter(|t| !t.is_empty())
    };
    let success = (200..=299).contains(&raw.status);
    let error = fields.get("error").filter(|e| !e.is_null());
    let (Some(token), true, None) = (text("access_token"), success, error) else {
        return Err(refused::refusal(
            raw,
            parsed.as_ref(),
            context.now,
            credential,
        ));
    };

    if token.len() > MAX_TOKEN {
        return Err(Refusal {
            http_status: Some(raw.status),
            ..Refusal::local(
                Class::Invalid,
                "TokenTooLarge",
                "the token is larger than 256 KiB and does not fit into a Secret; ask for fewer permissions",
            )
        });
    }
    // RFC 6749 appendix A.12: a token is made of visible ASCII. A line break in it would end up in a header.
    if !token.bytes().all(|b| (0x20..=0x7e).contains(&b)) {
        return Err(malformed(
            raw,
            "the token has characters that no HTTP header can carry",
        ));
    }
    // A DPoP or MAC token is of no use without its key, which a Secret of apicred does not hold.
    if text("token_type").is_some_and(|t| !t.eq_ignore_ascii_case("bearer")) {
        return Err(Refusal {
            http_status: Some(raw.status),
            ..Refusal::local(
                Class::Invalid,
                "TokenTypeNotSupported",
                "the issuer gave a token that is not of type Bearer; turn sender-constrained tokens off for this client",
            )
        });
    }
    // RFC 8693 section 2.2.1. The Secret is mounted by workloads, and a refresh token outlives what they may do.
    if text("issued_token_type").is_some_and(|t| t.eq_ignore_ascii_case(REFRESH_TOKEN)) {
        return Err(Refusal {
            http_status: Some(raw.status),
            ..Refusal::local(
                Class::Invalid,
                "TokenTypeNotSupported",
                "the issuer gave a refresh token (issued_token_type), which apicred does not publish; configure the exchange at the issuer to give an access token",
            )
        });
    }
    let jwt = lifetime::jwt_hints(token);
    let Some((expires_at, lifetime_source)) =
        lifetime::end(fields, &jwt, context.sent, context.assumed_lifetime)
    else {
        return Err(malformed(
            raw,
            "the issuer gave a token that has already ended",
        ));
    };
    if expires_at <= context.now {
        return Err(malformed(raw, "the token ended before its answer arrived"));
    }
    let refresh_in = fields
        .get("refresh_in")
        .and_then(lifetime::seconds)
        .filter(jiff::SignedDuration::is_positive);
    Ok(Token {
        secret: SecretString::from(token),
        refresh_token: match granted(raw) {
            Granted::New(token) => Some(token),
            Granted::Same | Granted::Nothing => None,
        },
        instance_url: text("instance_url")
            .filter(|u| u.len() <= 1024 && u.starts_with("https://") && shown(u))
            .map(str::to_owned),
        claims: jwt.claims,
        token_type: "Bearer".to_owned(),
        issued_at: context.sent,
        expires_at,
        lifetime_source,
        refresh_in,
        scope: text("scope")
            .filter(|s| s.len() <= 4096 && shown(s))
            .map(str::to_owned),
        id: jwt.id,
        correlation_id: text("correlation_id")
            .filter(|id| is_guid(id))
            .map(str::to_owned),
    })
}

/// Printable ASCII alone.
fn shown(text: &str) -> bool {
    text.bytes().all(|b| (0x20..=0x7e).contains(&b))
}

/// Reads the answer to a credential's request: [`answer`], and what its grant and issuer make of a refusal.
///
/// # Errors
/// A classified refusal.
pub fn answer_to(
    credential: &Credential,
    raw: &RawAnswer,
    sent: Timestamp,
    now: Timestamp,
) -> Result<Token, Refusal> {
    let context = AnswerContext {
        sent,
        now,
        assumed_lifetime: credential.issuer.assumed_lifetime,
    };
    read(raw, context, Some(credential))
}

/// `Retry-After` in its two forms (RFC 9110 section 10.2.3), cut to an hour; garbage is none.
pub fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    let wait = if let Ok(seconds) = value.parse::<u64>() {
        Duration::from_secs(seconds)
    } else {
        let at = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
        Duration::try_from(at.duration_since(now)).unwrap_or_default()
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

/// The fields of a JSON object or of a form, whichever the body is. Some issuers answer form-encoded, some call
/// JSON `text/plain` (facts, section 5.2), so the body decides and the header only helps.
pub(super) fn fields(raw: &RawAnswer) -> Option<Map<String, Value>> {
    let body = raw.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&raw.body);
    if let Ok(map) = object(body) {
        return Some(map);
    }
    let kind = raw
        .content_type
        .as_deref()
        .unwrap_or_default()
        .to_ascii_lowercase();
    let form =
        kind.starts_with("application/x-www-form-urlencoded") || kind.starts_with("text/plain");
    let looks_like_it = body.starts_with(b"access_token=") || body.starts_with(b"error=");
    (form && looks_like_it).then(|| {
        url::form_urlencoded::parse(body.trim_ascii_end())
            .take(MAX_FIELDS)
            .map(|(k, v)| (k.into_owned(), Value::String(v.into_owned())))
            .collect()
    })
}

fn malformed(raw: &RawAnswer, next_step: &str) -> Refusal {
    Refusal {
        http_status: Some(raw.status),
        ..Refusal::local(Class::Transient, "MalformedAnswer", next_step)
    }
}
