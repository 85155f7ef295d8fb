//! Computes the lifetime of a token from the fields and claims of an answer.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use super::{
    Claims, LifetimeSource,
    issuer_clock::{IssuerClock, LEEWAY},
    jwt::claims,
    stated::{Statement, statements},
};
use crate::input::{epoch, number};

/// The lifetime if nothing states one: short, so that a wrong guess does little harm.
const GUESS: SignedDuration = SignedDuration::from_mins(15);
/// Longer lifetimes are cut to this: no access token should be valid for a year, and sums of times stay in range.
pub(super) const LONGEST: SignedDuration = SignedDuration::from_hours(24 * 366);
/// A JWT longer than this is not decoded for its `exp`.
const MAX_JWT: usize = 64 * 1024;

/// Most roles or scopes that are noted of one token.
pub(super) const MAX_CLAIMS: usize = 64;

/// The claims of a readable JWT. Never trusted: they can only shorten the lifetime or identify the token.
#[derive(Debug, Default, PartialEq)]
pub(super) struct JwtHints {
    pub(super) lifetime: Option<SignedDuration>,
    pub(super) exp: Option<Timestamp>,
    pub(super) id: Option<String>,
    /// True if it is bound to a key whose possession the holder must prove (RFC 7800, RFC 9449 section 6.1).
    pub(super) bound: bool,
    pub(super) claims: Option<Box<Claims>>,
}

impl JwtHints {
    /// `iat`, if there is an `exp` as well.
    pub(super) fn begins(&self) -> Option<Timestamp> {
        self.exp?.saturating_sub(self.lifetime?).ok()
    }
}

/// Why the expiry of a token is unknown or in the past.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum NoExpiry {
    /// This field states zero or less.
    Zero(&'static str, i64),
    /// This field states a time in the past.
    Past(&'static str, Timestamp),
    /// The token itself has expired.
    PastJwt,
    /// The answer was in a cache for this time, and the lifetime of the token is shorter.
    Cached(SignedDuration),
}

/// The expiry of a token, and its source. The first of these that is known is used:
///
/// 1. the earliest expiry of all unambiguous fields;
/// 2. the expiry in the JWT;
/// 3. the issuer's `assumedLifetime`;
/// 4. a field that needs an assumption about its unit;
/// 5. a guess.
///
/// If the JWT expires earlier than that, the expiry in the JWT is used.
///
/// # Errors
/// When the token has expired according to the answer, or the answer states only zero.
pub(super) fn expires_at(
    answer: &Map<String, Value>,
    jwt: &JwtHints,
    clock: &IssuerClock,
    assumed: Option<SignedDuration>,
) -> Result<(Timestamp, LifetimeSource), NoExpiry> {
    let (mut lifetime, mut source) = stated(answer, jwt, clock, assumed)?;
    let own = own_end(jwt, (lifetime, source), clock);
    // Times in a token are whole seconds.
    if let Some(own) = own.filter(|own| lifetime - *own >= SignedDuration::from_secs(1)) {
        let older = jwt.lifetime.is_none_or(|whole| whole - own > LEEWAY);
        if lifetime - own > LEEWAY && older && !matches!(source, LifetimeSource::Jwt) {
            source = LifetimeSource::Earlier("exp", lifetime.as_secs());
        }
        lifetime = own;
    }
    let lifetime = lifetime.min(LONGEST);
    let expiry = clock.sent.saturating_add(lifetime).ok();
    expiry
        .filter(|_| lifetime.is_positive())
        .map(|expiry| (expiry, source))
        .ok_or(NoExpiry::PastJwt)
}

/// How long a JWT is valid. An API refuses it after its own `exp`, even if the answer states a longer lifetime. So the time
/// until `exp` counts, and so does `exp - iat`, which does not depend on a clock (a backdated `iat` makes it too long).
fn own_end(
    jwt: &JwtHints,
    (lifetime, source): (SignedDuration, LifetimeSource),
    clock: &IssuerClock,
) -> Option<SignedDuration> {
    let left = clock.left(jwt.exp?);
    let whole = jwt.lifetime.map(|whole| whole - clock.age);
    let either = whole.map_or(left, |whole| whole.min(left));
    if clock.sure || !clock.may_be_new(jwt.exp?, jwt.lifetime.unwrap_or(lifetime)) {
        return Some(either);
    }
    // Only our clock, which may be wrong, shows that the token is older than the answer.
    let agrees = whole.is_none_or(|whole| whole >= lifetime);
    if agrees && !matches!(source, LifetimeSource::Jwt) {
        return None;
    }
    Some(if left.is_positive() { either } else { whole? })
}

/// When a field of the answer ends, if it is a JWT. `lifetime` is that of the access token.
pub(super) fn end_of_field(
    text: &str,
    lifetime: SignedDuration,
    clock: &IssuerClock,
) -> Option<Timestamp> {
    let left = own_end(
        &jwt_hints(text),
        (lifetime, LifetimeSource::ExpiresIn),
        clock,
    )?;
    clock.sent.saturating_add(left.min(LONGEST)).ok()
}

/// The earliest expiry of the unambiguous fields.
fn clear(
    stated: &[(&'static str, Statement)],
    clock: &IssuerClock,
    own: Option<SignedDuration>,
) -> Result<Option<(SignedDuration, LifetimeSource)>, NoExpiry> {
    let lengths = stated.iter().filter_map(|(_, statement)| match statement {
        Statement::For(length) => Some(*length),
        _ => None,
    });
    let length = lengths.min();
    let past = stated.iter().find_map(|(field, s)| match s {
        Statement::Past(at) => Some((*field, *at)),
        _ => None,
    });
    // Our clock may be ahead of the clock of the server that wrote this.
    if let Some((field, at)) = past
        && let Some(length) = length.or(own)
        && (clock.sure || !clock.may_be_new(at, length))
    {
        return Err(NoExpiry::Past(field, at));
    }
    let lasts = length.map(|length| (length - clock.age, LifetimeSource::ExpiresIn));
    let ends = stated.iter().filter_map(|(field, s)| match s {
        Statement::Until(at) => Some((clock.left(*at), *field)),
        _ => None,
    });
    Ok(match (lasts, ends.min()) {
        (Some((length, _)), Some((left, field))) if length - left > LEEWAY => {
            Some((left, LifetimeSource::Earlier(field, length.as_secs())))
        }
        (Some((length, source)), Some((left, _))) if length <= left => Some((length, source)),
        (_, Some((left, _))) => Some((left, LifetimeSource::ExpiresOn)),
        (lasts, None) => lasts,
    })
}

fn stated(
    answer: &Map<String, Value>,
    jwt: &JwtHints,
    clock: &IssuerClock,
    assumed: Option<SignedDuration>,
) -> Result<(SignedDuration, LifetimeSource), NoExpiry> {
    let stated = statements(answer, clock.now);
    let own = jwt.lifetime.or_else(|| Some(clock.left(jwt.exp?)));
    let clear = clear(&stated, clock, own)?;
    if let Some((lifetime, _)) = clear
        && !lifetime.is_positive()
    {
        return Err(NoExpiry::Cached(clock.age));
    }
    if let Some(found) = clear.or_else(|| own.map(|lifetime| (lifetime, LifetimeSource::Jwt))) {
        return Ok(found);
    }
    let of = |read: fn(&'static str, Statement) -> Option<Result<LifetimeSource, NoExpiry>>| {
        stated.iter().find_map(|(field, s)| read(field, *s))
    };
    let past = of(|field, s| match s {
        Statement::Past(at) => Some(Err(NoExpiry::Past(field, at))),
        _ => None,
    });
    let unclear = || {
        stated.iter().find_map(|(field, s)| match s {
            Statement::OtherUnit(number, lifetime) => {
                Some((*lifetime, LifetimeSource::OtherUnit(field, *number)))
            }
            Statement::TooLong => Some((LONGEST, LifetimeSource::TooLong(field))),
            _ => None,
        })
    };
    let zero = || {
        of(|field, s| match s {
            Statement::Zero(number) => Some(Err(NoExpiry::Zero(field, number))),
            _ => None,
        })
    };
    let unread =
        || of(|field, s| (s == Statement::Unread).then_some(Ok(LifetimeSource::Unread(field))));
    if let Some(Err(why)) = past {
        return Err(why);
    }
    if let Some(assumed) = assumed {
        return Ok((assumed, LifetimeSource::Assumed));
    }
    if let Some(found) = unclear() {
        return Ok(found);
    }
    let guess = zero()
        .or_else(unread)
        .unwrap_or(Ok(LifetimeSource::Guessed))?;
    Ok((GUESS, guess))
}

/// Reads the claims of a JWT. An opaque token has none.
pub(super) fn jwt_hints(token: &str) -> JwtHints {
    if token.len() > MAX_JWT {
        return JwtHints::default();
    }
    let Some(claims) = claims(token) else {
        return JwtHints::default();
    };
    // Some servers write milliseconds.
    let at = |name: &str| claims.get(name).and_then(number).and_then(epoch);
    let exp = at("exp");
    let id = ["uti", "jti"].iter().find_map(|k| claims.get(*k)?.as_str());
    JwtHints {
        lifetime: exp.zip(at("iat")).map(|(exp, iat)| exp.duration_since(iat)),
        exp,
        bound: is_bound(&claims),
        id: id.filter(|id| printable_id(id)).map(str::to_owned),
        claims: Some(Box::new(rights(&claims))),
    }
}

/// A token that is bound to a client certificate (`x5t#S256`, RFC 8705) can be used: the workload may have that certificate as well.
fn is_bound(claims: &Map<String, Value>) -> bool {
    let confirmation = claims.get("cnf").and_then(Value::as_object);
    confirmation.is_some_and(|cnf| {
        ["jkt", "jwk", "jwe", "kid"]
            .iter()
            .any(|k| cnf.contains_key(*k))
    })
}

/// The roles, scopes and audience of a JWT.
#[cfg(test)]
pub(crate) fn claims_of(token: &str) -> Option<Claims> {
    claims(token).as_ref().map(rights)
}

/// The words in claims about roles or scopes.
#[derive(Default)]
struct ClaimValues {
    /// The noted words.
    noted: Vec<String>,
    /// True if these are all.
    all: bool,
    /// The number of others.
    more: usize,
}

/// Words that an annotation or a condition cannot contain are only counted, and so are those beyond the limit: roles are short words.
fn claim_values(of: &[Option<&Value>]) -> ClaimValues {
    let reported = of
        .iter()
        .any(|v| matches!(v, Some(Value::String(_) | Value::Array(_))));
    let found: BTreeSet<String> = of
        .iter()
        .flatten()
        .flat_map(|value| match value {
            Value::String(text) => text.split(' ').map(str::to_owned).collect(),
            Value::Array(items) => items.iter().map(entry).collect(),
            _ => Vec::new(),
        })
        .filter(|word| !word.is_empty())
        .collect();
    let count = found.len();
    let fit: Vec<String> = found.into_iter().filter(|w| is_shown(w)).collect();
    let all = reported && fit.len() == count && count <= MAX_CLAIMS;
    let noted: Vec<String> = fit.into_iter().take(MAX_CLAIMS).collect();
    ClaimValues {
        more: count - noted.len(),
        noted,
        all,
    }
}

/// An entry of a list. An entry that is not a text counts as a separate word.
fn entry(item: &Value) -> String {
    match item {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => format!(" {other}"),
    }
}

fn is_shown(word: &str) -> bool {
    (1..=256).contains(&word.len()) && word.bytes().all(|b| (0x21..=0x7e).contains(&b))
}

/// The claims about roles, scopes and audience.
fn rights(claims: &Map<String, Value>) -> Claims {
    let roles = claim_values(&role_claims(claims));
    let mut scopes = claim_values(&[claims.get("scp")]);
    if scopes.noted.is_empty() && scopes.more == 0 && claims.contains_key("scope") {
        scopes = claim_values(&[claims.get("scope")]);
    }
    let tenant = claims.get("tid").and_then(Value::as_str);
    Claims {
        roles: roles.noted,
        scopes: scopes.noted,
        all_roles: roles.all,
        all_scopes: scopes.all,
        more_roles: roles.more,
        more_scopes: scopes.more,
        audience: claim_values(&[claims.get("aud")]).noted,
        tenant: tenant.filter(|t| is_shown(t)).map(str::to_owned),
    }
}

/// The claims with roles and permissions: `roles` at Entra ID, `realm_access.roles` and `resource_access.CLIENT.roles` at
/// Keycloak, `permissions` at Auth0 (with "Add Permissions in the Access Token").
fn role_claims(claims: &Map<String, Value>) -> Vec<Option<&Value>> {
    let realm = claims.get("realm_access").and_then(|v| v.get("roles"));
    let mut all = vec![claims.get("roles"), claims.get("permissions"), realm];
    let clients = claims.get("resource_access").and_then(Value::as_object);
    let clients = clients.into_iter().flat_map(Map::values);
    all.extend(clients.map(|client| client.get("roles")));
    all
}

/// Entra's ids of requests and answers are GUIDs (RFC 9562 section 4). Nothing else is shown as one.
pub(crate) fn is_guid(id: &str) -> bool {
    id.len() == 36
        && id.bytes().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}

/// Ids are shown in status and logs, so only characters of ids are allowed.
pub(super) fn printable_id(id: &str) -> bool {
    (1..=128).contains(&id.len())
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.~".contains(&b))
}
