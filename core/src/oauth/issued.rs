//! Turns a successful answer into a [`Token`], if a workload can use what was issued.
//!
//! If not, the next request waits for minutes, because the issuer would issue the same again.

use crate::Reason;
use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::{Map, Value};

use super::{
    AnswerContext, Class, Granted, RawAnswer, Stage, Token, TokenError, answer_fields, granted,
    issuer_clock::IssuerClock,
    lifetime::{self, NoExpiry, is_guid},
    refused,
    token_error::{MOST_DIGITS, SAYS},
};
use crate::{
    credential::Credential,
    input::{get, is_nothing, list, seconds, text_of},
    oauth::Grant,
};

/// Longest access token that is published: a Secret may have 1 MiB, and it contains the token twice.
const MAX_TOKEN: usize = 256 * 1024;
/// Prefix of the token types of RFC 8693 section 3.
const URN: &str = "urn:ietf:params:oauth:token-type:";
/// Longest token type that is shown.
const MAX_TYPE: usize = 24;
/// Names of the type Bearer (RFC 6750), in lower case and without blanks, hyphens and underscores. `BearerToken` is Apigee's,
/// `bot` and `user` are Slack's. The others describe the token.
const BEARER: [&str; 13] = [
    "bearer",
    "bearertoken",
    "bearerjwt",
    "jwtbearer",
    "jwt",
    "jwttoken",
    "oauth",
    "oauth2",
    "oauthbearer",
    "accesstoken",
    "token",
    "bot",
    "user",
];
/// Parts of the names of types whose token requires a key with each request: `DPoP` (RFC 9449), proof of possession (RFC 7800
/// and Entra ID), MAC, HTTP signatures, holder of key.
const BOUND: [&str; 8] = [
    "dpop",
    "pop",
    "mac",
    "hmac",
    "httpsig",
    "holderofkey",
    "hok",
    "signed",
];
/// RFC 8693 section 2.2.1: the issued token is not an access token.
const NOT_APPLICABLE: &str = "na";
/// Fields with the lifetime of a refresh token, of Keycloak, Azure AD B2C and GitHub, Google.
const REFRESH_LIFETIMES: [&str; 3] = [
    "refresh_expires_in",
    "refresh_token_expires_in",
    "refresh_token_lifetime",
];

/// The access token in an answer.
pub(super) fn access_token(fields: &Map<String, Value>) -> Option<String> {
    let text = text_of(fields, "access_token")?;
    // Some servers send the value of a header.
    let scheme = text.get(..7).filter(|s| s.eq_ignore_ascii_case("bearer "));
    let token = scheme.map_or(&*text, |s| text[s.len()..].trim_start());
    (!is_nothing(token)).then(|| token.to_owned())
}

/// Checks what was issued.
///
/// # Errors
/// When no workload could use the token. Never [`Class::Transient`].
pub(super) fn token(
    raw: &RawAnswer,
    fields: &Map<String, Value>,
    token: &str,
    context: AnswerContext,
    credential: Option<&Credential>,
) -> Result<Token, TokenError> {
    let unusable = |reason, next_step: &str| TokenError {
        http_status: Some(raw.status),
        detail: Some(Box::new(refused::detail(raw, credential))),
        ..TokenError::local(Class::Invalid, reason, next_step).at(Stage::Answered)
    };
    let text = |name: &str| text_of(fields, name).map(std::borrow::Cow::into_owned);
    if token.len() > MAX_TOKEN {
        return Err(unusable(
            Reason::TokenTooLarge,
            "the token is larger than 256 KiB and does not fit into a Secret; request fewer permissions",
        ));
    }
    // RFC 6749 appendix A.12: a token consists of visible ASCII characters. A line break in it would be written into a header.
    if !token.bytes().all(|b| (0x20..=0x7e).contains(&b)) {
        return Err(unusable(
            Reason::MalformedAnswer,
            "the token has characters that no HTTP header can carry; the issuer must issue a token of visible ASCII characters (RFC 6749 appendix A.12)",
        ));
    }
    let jwt = lifetime::jwt_hints(token);
    let not_supported = |next_step: String| unusable(Reason::TokenTypeNotSupported, &next_step);
    type_of(fields, credential).map_err(not_supported)?;
    if jwt.bound {
        return Err(not_supported(
            "the token is bound to a key (its claim cnf), which a Secret of apicred does not hold; turn sender-constrained tokens (DPoP) off for this client"
                .to_owned(),
        ));
    }
    let clock = IssuerClock::of(raw, context, jwt.begins());
    let (expires_at, lifetime_source) =
        lifetime::expires_at(fields, &jwt, &clock, context.assumed_lifetime)
            .map_err(|why| no_end(why, clock.now, &unusable))?;
    if expires_at <= context.now {
        return Err(unusable(
            Reason::TokenExpired,
            &format!(
                "the token expired before its answer arrived: it is valid for {} s; raise the lifetime of access tokens at the issuer",
                expires_at.duration_since(context.sent).as_secs()
            ),
        ));
    }
    let refresh_token = match granted(raw) {
        Granted::New(token) => Some(token),
        Granted::Same | Granted::Nothing => None,
    };
    let published = answer_fields::of(fields, &raw.body, refresh_token.as_ref());
    Ok(Token {
        ends: answer_fields::ends(&published.fields, expires_at, &clock),
        secret: SecretString::from(token),
        answer: published.fields,
        omitted: published.omitted,
        refresh_token,
        instance_url: text("instance_url")
            .filter(|u| u.len() <= 1024 && u.starts_with("https://") && shown(u)),
        claims: jwt.claims,
        token_type: "Bearer".to_owned(),
        issued_at: context.sent,
        expires_at,
        lifetime_source,
        refresh_in: refresh_in(fields, credential),
        scope: scope(fields),
        id: jwt.id,
        correlation_id: text("correlation_id").filter(|id| is_guid(id)),
    })
}

/// Granted scopes: one text (RFC 6749 section 3.3), or a list, as Twitch sends it.
fn scope(fields: &Map<String, Value>) -> Option<String> {
    let text = match get(fields, "scope")? {
        Value::String(text) => text.trim().to_owned(),
        many @ Value::Array(_) => list(many).join(" "),
        _ => return None,
    };
    (!text.is_empty() && text.len() <= 4096 && shown(&text)).then_some(text)
}

/// The renewal time that the issuer recommends. A refresh token that expires before the access token must be used before.
fn refresh_in(
    fields: &Map<String, Value>,
    credential: Option<&Credential>,
) -> Option<jiff::SignedDuration> {
    let positive = |name: &str| {
        let lifetime = get(fields, name).and_then(seconds);
        lifetime.filter(jiff::SignedDuration::is_positive)
    };
    let refreshes = credential.is_some_and(|c| matches!(c.grant, Grant::RefreshToken(_)));
    // 0 means that it does not expire, or that there is none (facts, section 5.4).
    let half = REFRESH_LIFETIMES
        .iter()
        .filter(|_| refreshes)
        .find_map(|name| positive(name))
        .map(|lifetime| lifetime / 2);
    positive("refresh_in").into_iter().chain(half).min()
}

/// Checks that it is a bearer token.
///
/// # Errors
/// What it is instead, and what to do.
fn type_of(fields: &Map<String, Value>, credential: Option<&Credential>) -> Result<(), String> {
    let issued = text_of(fields, "issued_token_type").unwrap_or_default();
    // RFC 8693 section 2.2.1. Workloads mount the Secret, and a refresh token stays valid after their access is removed.
    if issued.to_ascii_lowercase().contains("refresh") {
        return Err("the issuer gave a refresh token (issued_token_type), which apicred does not publish; configure the exchange at the issuer to give an access token".to_owned());
    }
    let seen = match get(fields, "token_type") {
        // RFC 6749 section 5.1 requires it, and many servers do not send it.
        None => return Ok(()),
        Some(Value::String(text)) => text.as_str(),
        Some(Value::Array(one)) if one.len() == 1 => one[0].as_str().unwrap_or_default(),
        Some(_) => {
            return Err("the issuer gave a token whose token_type is not a text; it must be Bearer (RFC 6749 section 5.1)".to_owned());
        }
    };
    let plain = |text: &str| -> String {
        let letters = text.chars().filter(char::is_ascii_alphanumeric);
        letters.map(|c| c.to_ascii_lowercase()).collect()
    };
    let short = |text: &str| plain(text.trim().strip_prefix(URN).unwrap_or(text));
    let kind = short(seen);
    if BEARER.contains(&kind.as_str()) {
        return Ok(());
    }
    let type_seen = shown_type(seen).map_or_else(
        || "another token_type than Bearer".to_owned(),
        |seen| format!("token_type {seen}"),
    );
    if kind == NOT_APPLICABLE {
        let requested = credential.and_then(requested_type);
        let Some(requested) = requested else {
            return Err(format!(
                "{SAYS} {type_seen}: the issued token is not an access token; set grant.tokenExchange.requestedTokenType to {URN}access_token, or to the type that you want to publish"
            ));
        };
        if issued.is_empty() || short(&issued) == short(&requested) {
            return Ok(());
        }
        let other = shown_type(&issued).unwrap_or("another type");
        return Err(format!(
            "the issuer issued {other} (issued_token_type) and not the requested type; correct grant.tokenExchange.requestedTokenType, or the exchange at the issuer"
        ));
    }
    Err(if BOUND.iter().any(|part| kind.contains(part)) {
        format!(
            "{SAYS} {type_seen}: the token is bound to a key, which a Secret of apicred does not hold; turn sender-constrained tokens (DPoP) off for this client"
        )
    } else {
        format!(
            "{SAYS} {type_seen}, which apicred does not know; configure the client at the issuer for bearer tokens"
        )
    })
}

/// The token type that the credential requests in an exchange.
fn requested_type(credential: &Credential) -> Option<String> {
    let inputs = credential.grant.flow().inputs();
    let requested = inputs
        .into_iter()
        .find(|(name, _)| *name == "requested_token_type");
    requested.map(|(_, value)| value)
}

/// A token type that may be shown. Anything else could contain a secret, and is not shown.
fn shown_type(text: &str) -> Option<&str> {
    let text = text.trim();
    let text = text.strip_prefix(URN).unwrap_or(text);
    let fits = (1..=MAX_TYPE).contains(&text.len())
        && text.bytes().filter(u8::is_ascii_digit).count() < MOST_DIGITS
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    fits.then_some(text)
}

fn no_end(
    why: NoExpiry,
    now: Timestamp,
    unusable: &dyn Fn(Reason, &str) -> TokenError,
) -> TokenError {
    match why {
        NoExpiry::Zero(field, number) => unusable(
            Reason::LifetimeUnknown,
            &format!(
                "{SAYS} {field} {number}: the token has expired, or the issuer does not state its lifetime; in that case set assumedLifetime on the issuer"
            ),
        ),
        NoExpiry::Past(field, at) => unusable(
            Reason::TokenExpired,
            &format!(
                "the issuer gave a token that expired {} s before it was requested ({field}); compare the clocks of the issuer and of this cluster",
                now.duration_since(at).as_secs()
            ),
        ),
        NoExpiry::Cached(age) => unusable(
            Reason::TokenExpired,
            &format!(
                "the answer was in a cache for {} s (Age), and its token has expired; have the gateway or proxy before the issuer cache no answers of the token endpoint",
                age.as_secs()
            ),
        ),
        NoExpiry::PastJwt => unusable(
            Reason::TokenExpired,
            "the issuer gave a token that has already expired (its claim exp); compare the clocks of the issuer and of this cluster, and see whether a gateway between repeats answers from a cache",
        ),
    }
}

/// True for a text of printable ASCII characters.
fn shown(text: &str) -> bool {
    text.bytes().all(|b| (0x20..=0x7e).contains(&b))
}
