//! How long a token lives, from whatever the answer says about it.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use super::{Claims, LifetimeSource};
use crate::input::object;

/// When nobody says anything (DESIGN, section 3).
const GUESS: SignedDuration = SignedDuration::from_mins(15);
/// Longer lives are cut to this: no access token should live for a year, and sums of times stay in range.
const LONGEST: SignedDuration = SignedDuration::from_hours(24 * 366);
/// A JWT longer than this is not decoded for its `exp`.
const MAX_JWT: usize = 64 * 1024;

/// Roles or scopes that are noted of one token.
const MAX_CLAIMS: usize = 64;

/// What a readable JWT says of itself. Never trusted: only ever shortens a life or names the token.
#[derive(Debug, Default, PartialEq)]
pub(super) struct JwtHints {
    pub(super) life: Option<SignedDuration>,
    pub(super) exp: Option<Timestamp>,
    pub(super) id: Option<String>,
    pub(super) claims: Option<Box<Claims>>,
}

/// The end of a token that was asked for at `sent`, and where that was learnt. `None`: the answer says that it
/// has ended already.
pub(super) fn end(
    answer: &Map<String, Value>,
    jwt: &JwtHints,
    sent: Timestamp,
    assumed: Option<SignedDuration>,
) -> Option<(Timestamp, LifetimeSource)> {
    let (life, source) = if let Some(seconds) = answer.get("expires_in").and_then(seconds) {
        (seconds, LifetimeSource::ExpiresIn)
    } else if let Some(at) = answer.get("expires_on").and_then(instant) {
        (at.duration_since(sent), LifetimeSource::ExpiresOn)
    } else if let Some(life) = jwt
        .life
        .or_else(|| jwt.exp.map(|exp| exp.duration_since(sent)))
    {
        (life, LifetimeSource::Jwt)
    } else if let Some(assumed) = assumed {
        (assumed, LifetimeSource::Assumed)
    } else {
        (GUESS, LifetimeSource::Guessed)
    };
    // A JWT that lives shorter than its answer claims is refused by the API at its own end. `exp - iat` tells
    // its life whatever our clock says. Where that decides, a backdated `iat` (Entra's is five minutes old) would
    // add to it, so the time left until `exp` counts as well, unless our clock is past it and thus of no use.
    let left = || {
        let left = jwt.exp?.duration_since(sent);
        left.is_positive().then_some(left)
    };
    let life = match jwt.life {
        Some(own) if own < life || matches!(source, LifetimeSource::Jwt) => {
            left().map_or(own, |left| own.min(left))
        }
        _ => life,
    }
    .min(LONGEST);
    if life <= SignedDuration::ZERO {
        return None;
    }
    Some((sent.saturating_add(life).ok()?, source))
}

/// A number of seconds as JSON number or as the string that Entra v1 sends.
pub(super) fn seconds(value: &Value) -> Option<SignedDuration> {
    let number = match value {
        Value::Number(n) => n.as_f64()?,
        Value::String(s) => s.trim().parse::<f64>().ok()?,
        _ => return None,
    };
    if !number.is_finite() {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "clamped to a range that fits"
    )]
    let whole = number.clamp(-1e12, 1e12).trunc() as i64;
    Some(SignedDuration::from_secs(whole))
}

/// A point in time: Unix seconds as number or string, RFC 3339, or the two formats seen at managed identity
/// endpoints (facts, section 1.3).
fn instant(value: &Value) -> Option<Timestamp> {
    if let Some(unix) = seconds(value) {
        return Timestamp::from_second(unix.as_secs()).ok();
    }
    let text = value.as_str()?.trim();
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at);
    }
    ["%m/%d/%Y %H:%M:%S", "%Y-%m-%d %H:%M:%S"]
        .iter()
        .find_map(|format| {
            let civil =
                jiff::civil::DateTime::strptime(format, text.trim_end_matches(" +00:00")).ok()?;
            civil
                .to_zoned(jiff::tz::TimeZone::UTC)
                .ok()
                .map(|z| z.timestamp())
        })
}

/// Reads what a JWT says of itself; an opaque token says nothing.
pub(super) fn jwt_hints(token: &str) -> JwtHints {
    if token.len() > MAX_JWT {
        return JwtHints::default();
    }
    let Some(claims) = claims(token) else {
        return JwtHints::default();
    };
    let at = |name: &str| claims.get(name).and_then(seconds).map(|s| s.as_secs());
    let exp = at("exp");
    let id = ["uti", "jti"].iter().find_map(|k| claims.get(*k)?.as_str());
    JwtHints {
        life: exp
            .zip(at("iat"))
            .map(|(exp, iat)| SignedDuration::from_secs(exp.saturating_sub(iat))),
        exp: exp.and_then(|s| Timestamp::from_second(s).ok()),
        id: id.filter(|id| printable_id(id)).map(str::to_owned),
        claims: Some(Box::new(rights(&claims))),
    }
}

/// The claims set of a JWT.
fn claims(token: &str) -> Option<Map<String, Value>> {
    let mut parts = token.split('.');
    let fields = (parts.next(), parts.next(), parts.next(), parts.next());
    let (Some(_), Some(payload), Some(_), None) = fields else {
        return None;
    };
    object(&URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?).ok()
}

/// Every audience in the `aud` claim of a JWT, exactly as it stands there: one text or a list (RFC 7519 section 4.1.3).
/// Empty if the token cannot be read or if one entry is not a text.
pub fn audiences(token: &str) -> Vec<String> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    match claims(token).as_ref().and_then(|c| c.get("aud")) {
        Some(Value::Array(entries)) => entries.iter().map(text).collect(),
        Some(one) => text(one).map(|one| vec![one]),
        None => None,
    }
    .unwrap_or_default()
}

/// The claims about rights. What could not stand in an annotation or a condition is left out, and so is what is
/// beyond a bound: roles are short words.
fn rights(claims: &Map<String, Value>) -> Claims {
    let shown =
        |s: &&str| (1..=256).contains(&s.len()) && s.bytes().all(|b| (0x21..=0x7e).contains(&b));
    let list = |name: &str| -> Vec<String> {
        let words: Vec<&str> = match claims.get(name) {
            Some(Value::String(text)) => text.split(' ').collect(),
            Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let mut words: Vec<String> = words.into_iter().filter(shown).map(str::to_owned).collect();
        words.sort();
        words.dedup();
        words.truncate(MAX_CLAIMS);
        words
    };
    let scp = list("scp");
    Claims {
        roles: list("roles"),
        scopes: if scp.is_empty() { list("scope") } else { scp },
        audience: list("aud"),
        tenant: claims
            .get("tid")
            .and_then(Value::as_str)
            .filter(shown)
            .map(str::to_owned),
    }
}

/// Entra's ids of requests and answers are GUIDs (RFC 9562 section 4), and nothing else is shown as one.
pub(super) fn is_guid(id: &str) -> bool {
    id.len() == 36
        && id.bytes().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}

/// Ids are shown in status and logs, so only the characters that ids are made of pass.
pub(super) fn printable_id(id: &str) -> bool {
    (1..=128).contains(&id.len())
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.~".contains(&b))
}
