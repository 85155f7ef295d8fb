//! An answer of a token endpoint into a token or a refusal. Total: any bytes give one of the two, and no text of
//! the body but codes and ids from fixed alphabets comes out.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use serde_json::{Map, Value};

use super::{
    Class, Grant, Granted, Refusal, Token, aadsts, challenge, granted,
    lifetime::{self, is_guid},
    managed_identity,
    refusal::{classify, error_code},
};
use crate::{
    credential::{Credential, Endpoint, Proof},
    input::object,
};

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
    let fields = fields(raw).unwrap_or_default();
    let text = |name: &str| {
        fields
            .get(name)
            .and_then(Value::as_str)
            .filter(|t| !t.is_empty())
    };
    let success = (200..=299).contains(&raw.status);
    let error = fields.get("error").filter(|e| !e.is_null());
    let (Some(token), true, None) = (text("access_token"), success, error) else {
        return Err(refusal(raw, &fields, context.now));
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
        lifetime::end(&fields, &jwt, context.sent, context.assumed_lifetime)
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
    answer(raw, context).map_err(|refusal| for_credential(credential, raw.status, refusal))
}

fn for_credential(credential: &Credential, status: u16, mut refusal: Refusal) -> Refusal {
    if matches!(credential.proof, Proof::ManagedIdentity(_)) && refusal.aadsts.is_none() {
        return managed_identity::refused(status, refusal);
    }
    let name = format!("{}/{}", credential.namespace, credential.name);
    let verdict = refusal
        .error
        .as_deref()
        .and_then(|e| credential.grant.flow().refused(e, &name));
    match verdict {
        // What is known about the number says more than the grant can, but who is to act is the grant's word.
        Some(verdict) if refusal.aadsts.is_some_and(|n| aadsts::known(n).is_some()) => {
            let both = (verdict.class, refusal.class) == (Class::NeedsUser, Class::NeedsUser);
            let more = both.then(|| format!("; {}", verdict.next_step));
            refusal.next_step.push_str(&more.unwrap_or_default());
        }
        Some(verdict) => {
            refusal.class = verdict.class;
            refusal.reason = verdict.reason;
            refusal.next_step = verdict.next_step;
            refusal.about_client = false;
            refusal.until_change = verdict.until_change;
        }
        None => {}
    }
    if refusal.reason == "ClientRefused" {
        refusal.next_step = format!("check client.id and the {}", credential.proof.noun());
    }
    if let (Endpoint::Entra { authority }, "ConsentRequired") =
        (&credential.issuer.endpoint, refusal.reason)
    {
        refusal.next_step.push_str(&format!(
            ": {authority}/adminconsent?client_id={}",
            credential.client_id
        ));
    }
    // Each refused try counts towards a lockout, whatever its code.
    if matches!(credential.grant, Grant::Password(_))
        && matches!(
            refusal.class,
            Class::Denied | Class::Invalid | Class::NeedsUser
        )
    {
        refusal.until_change = true;
    }
    refusal
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

fn refusal(raw: &RawAnswer, fields: &Map<String, Value>, now: Timestamp) -> Refusal {
    let error = fields
        .get("error")
        .and_then(Value::as_str)
        .and_then(error_code);
    let aadsts = aadsts_code(fields);
    let (class, reason, mut next_step, about_client) =
        classify(raw.status, error.as_deref(), aadsts);
    if let Some(asked) = challenge::asked(fields) {
        next_step.push_str(&format!(" (the issuer asks for the claims {asked})"));
    }
    let id = |name: &str| {
        fields
            .get(name)
            .and_then(Value::as_str)
            .filter(|i| is_guid(i))
            .map(str::to_owned)
    };
    let asked = raw.retry_after.as_deref().and_then(|v| retry_after(v, now));
    let known = aadsts.and_then(aadsts::known).and_then(|k| k.wait);
    Refusal {
        class,
        reason,
        next_step,
        http_status: Some(raw.status),
        error,
        aadsts,
        correlation_id: id("correlation_id"),
        trace_id: id("trace_id"),
        retry_after: asked.max(known),
        about_client,
        not_sent: false,
        until_change: false,
        retry_at: None,
    }
}

/// The first of `error_codes`, else the number in the description of an endpoint that sends no list.
fn aadsts_code(fields: &Map<String, Value>) -> Option<u32> {
    let listed = fields
        .get("error_codes")
        .and_then(Value::as_array)
        .and_then(|l| l.first())
        .and_then(Value::as_u64);
    let described = || {
        let text = fields.get("error_description")?.as_str()?;
        let digits: String = text
            .strip_prefix("AADSTS")?
            .chars()
            .take_while(char::is_ascii_digit)
            .take(9)
            .collect();
        digits.parse().ok()
    };
    listed
        .or_else(described)
        .and_then(|n| u32::try_from(n).ok())
}

fn malformed(raw: &RawAnswer, next_step: &str) -> Refusal {
    Refusal {
        http_status: Some(raw.status),
        ..Refusal::local(Class::Transient, "MalformedAnswer", next_step)
    }
}
