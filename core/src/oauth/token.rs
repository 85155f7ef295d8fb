//! An issued token. It contains the secret, so it never implements `Debug` or `Serialize`.

use std::collections::BTreeMap;

use crate::Reason;
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::{answer_fields::Omitted, lifetime::MAX_CLAIMS, token_error::SAYS};
use crate::{
    api::TargetKey,
    credential::{Issuer, scopes},
    whole_second,
};

/// A token that was just received.
#[derive(Clone)]
pub struct Token {
    /// The access token. Opaque: only ever written into the Secret.
    pub secret: SecretString,
    /// The new refresh token, if the answer has one.
    pub refresh_token: Option<SecretString>,
    /// The URL of the API, if the issuer reports it (Salesforce's `instance_url`).
    pub instance_url: Option<String>,
    /// The claims of the token, if they can be read.
    pub claims: Option<Box<Claims>>,
    /// How it is presented: `Bearer`, or the scheme of a static key.
    pub token_type: String,
    /// When it was requested: the time just before the request was sent, so that the computed lifetime is never too long.
    pub issued_at: Timestamp,
    /// When it expires.
    pub expires_at: Timestamp,
    /// The source of the expiry.
    pub lifetime_source: LifetimeSource,
    /// The renewal time that the issuer recommends, counted from `issued_at`.
    pub refresh_in: Option<SignedDuration>,
    /// Scopes granted, if the answer contains them.
    pub scope: Option<String>,
    /// The token's own id (`uti` or `jti` of a readable JWT), to find it in the issuer's logs.
    pub id: Option<String>,
    /// The issuer's id of the exchange.
    pub correlation_id: Option<String>,
    /// Other fields of the answer: texts and numbers by name, for their own files.
    pub answer: Answer,
    /// Fields in `answer` that are JWTs and expire before the access token, and when.
    pub ends: BTreeMap<String, Timestamp>,
    /// Fields of the answer that are not in `answer`, and why.
    pub omitted: BTreeMap<String, Omitted>,
}

/// Fields of an answer; values may be secret.
pub type Answer = BTreeMap<String, SecretString>;

impl Token {
    /// Scopes that were requested and not granted, if the answer shows it.
    pub fn not_granted(&self, issuer: &Issuer, wanted: &[String]) -> Vec<String> {
        scopes::not_granted(issuer, wanted, self.scope.as_deref())
    }

    /// When a Secret with these keys expires: with the token, or with a published field that expires earlier.
    pub fn end_with(&self, keys: &[TargetKey]) -> Timestamp {
        self.end_of_fields(keys).unwrap_or(self.expires_at)
    }

    fn end_of_fields(&self, keys: &[TargetKey]) -> Option<Timestamp> {
        let fields = keys.iter().filter_map(|key| key.field.as_ref());
        let ends = fields.filter_map(|field| self.ends.get(field));
        ends.filter(|end| **end > self.issued_at).min().copied()
    }

    /// This token with an earlier expiry, if one of these keys publishes a JWT that expires earlier: a reader of the Secret needs both. A JWT
    /// that has already expired does not count, because it is never published ([`crate::publish::data`]).
    pub fn limited_by(&self, keys: &[TargetKey]) -> Option<Self> {
        let expires_at = self.end_of_fields(keys)?;
        let lifetime_source = match self.lifetime_source {
            LifetimeSource::ExpiresIn
            | LifetimeSource::ExpiresOn
            | LifetimeSource::Jwt
            | LifetimeSource::Assumed => LifetimeSource::AnswerField(self.expires_at),
            // What is reported about the issuer's answer stays.
            uncertain => uncertain,
        };
        Some(Self {
            expires_at,
            lifetime_source,
            ..self.clone()
        })
    }
}

/// The roles, scopes and audience of a readable JWT. Never trusted; stored for comparison with the expected ones.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Claims {
    /// Roles: `roles` (Entra ID), `realm_access.roles` and `resource_access.*.roles` (Keycloak), `permissions` (Auth0).
    #[serde(rename = "r", default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// `scp` or `scope`, split at spaces.
    #[serde(rename = "s", default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// `aud`.
    #[serde(rename = "a", default, skip_serializing_if = "Vec::is_empty")]
    pub audience: Vec<String>,
    /// True if these are all roles of the token. False if it has no such claim, or too many roles.
    #[serde(rename = "R", default, skip_serializing_if = "is_false")]
    pub all_roles: bool,
    /// The same for scopes.
    #[serde(rename = "S", default, skip_serializing_if = "is_false")]
    pub all_scopes: bool,
    /// The number of further roles, whose names are not stored.
    #[serde(rename = "m", default, skip_serializing_if = "is_zero")]
    pub more_roles: usize,
    /// The same for scopes.
    #[serde(rename = "n", default, skip_serializing_if = "is_zero")]
    pub more_scopes: usize,
    /// `tid`.
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
}

impl Claims {
    /// Whether each list has at most as many entries as apicred stores.
    pub(crate) fn is_bounded(&self) -> bool {
        let lists = [&self.roles, &self.scopes, &self.audience];
        lists.iter().all(|list| list.len() <= MAX_CLAIMS)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_false(value: &bool) -> bool {
    !*value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_zero(value: &usize) -> bool {
    *value == 0
}

/// The source of a lifetime, best first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LifetimeSource {
    /// `expires_in` of the answer.
    ExpiresIn,
    /// `expires_on` of the answer.
    ExpiresOn,
    /// `exp` inside a readable JWT.
    Jwt,
    /// `assumedLifetime` of the issuer.
    Assumed,
    /// This field of the answer has this number, which is not plausible in seconds.
    OtherUnit(&'static str, i64),
    /// This field of the answer states more than 366 days, which are assumed.
    TooLong(&'static str),
    /// This field, or the claim `exp` of the token, states a much earlier expiry than the rest of the answer, which states this number of seconds.
    Earlier(&'static str, i64),
    /// This field of the answer cannot be read: 15 minutes.
    Unread(&'static str),
    /// There is no statement: 15 minutes.
    Guessed,
    /// `exp` of a JWT in a field of the answer that is published beside the token. The token itself expires at this later time.
    AnswerField(Timestamp),
    /// It never expires: a static key.
    Static,
}

impl LifetimeSource {
    /// The note on the Secret: the name, with the field and the number that need an assumption.
    pub fn note(self) -> String {
        let name = self.as_str();
        match self {
            Self::OtherUnit(field, number) | Self::Earlier(field, number) => {
                format!("{name} {field} {number}")
            }
            Self::TooLong(field) | Self::Unread(field) => format!("{name} {field}"),
            Self::AnswerField(end) => format!("{name} {}", whole_second(end)),
            _ => name.to_owned(),
        }
    }

    /// The name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ExpiresIn => "ExpiresIn",
            Self::ExpiresOn => "ExpiresOn",
            Self::Jwt => "Jwt",
            Self::Assumed => "Assumed",
            Self::OtherUnit(..) => "OtherUnit",
            Self::TooLong(_) => "TooLong",
            Self::Earlier(..) => "Earlier",
            Self::Unread(_) => "Unread",
            Self::Guessed => "Guessed",
            Self::AnswerField(_) => "AnswerField",
            Self::Static => "Static",
        }
    }
}

/// When the token itself expires, from the note on the Secret, if a published field of the answer expires earlier.
pub fn end_after_fields(note: &str) -> Option<Timestamp> {
    note.strip_prefix("AnswerField ")?.parse().ok()
}

/// Whether the lifetime was not stated, so that the token may be valid for longer than recorded, from the note on the Secret.
pub fn is_uncertain(note: &str) -> bool {
    uncertain(note, SignedDuration::ZERO).is_some()
}

/// What to report about an uncertain lifetime, from the note on the Secret: reason and message.
pub fn uncertain(note: &str, lifetime: SignedDuration) -> Option<(Reason, String)> {
    let mut parts = note.split(' ');
    let (name, field) = (parts.next()?, parts.next().unwrap_or("expires_in"));
    let set = "set assumedLifetime on the issuer";
    Some(match name {
        "Guessed" => (
            Reason::LifetimeUnknown,
            format!(
                "the issuer does not state the lifetime of its tokens in a field that apicred reads, so 15 minutes are assumed; {set}"
            ),
        ),
        "Unread" => (
            Reason::LifetimeUnknown,
            format!(
                "the issuer states the lifetime of its tokens in a form that apicred cannot read ({field}), so 15 minutes are assumed; {set}"
            ),
        ),
        "OtherUnit" => {
            let number = parts.next().unwrap_or_default();
            let seconds = number.parse().unwrap_or_default();
            (
                Reason::LifetimeUnclear,
                format!(
                    "{SAYS} {field} {number}, which is {} in seconds; apicred takes it for a smaller unit and assumes {}; {set} if that is wrong",
                    span(SignedDuration::from_secs(seconds)),
                    span(lifetime)
                ),
            )
        }
        "TooLong" => (
            Reason::LifetimeUnclear,
            format!(
                "the issuer states a token lifetime of more than 366 days ({field}); apicred assumes {}; {set} if that is wrong",
                span(lifetime)
            ),
        ),
        "Earlier" => {
            let number = parts.next().unwrap_or_default();
            let seconds = number.parse().unwrap_or_default();
            (
                Reason::LifetimeUnclear,
                format!(
                    "{SAYS} that the token is valid for {}, and according to {field} it expires after {}, which counts; find out whether a gateway or proxy between repeats answers from a cache, or correct the lifetime that the issuer states",
                    span(SignedDuration::from_secs(seconds)),
                    span(lifetime)
                ),
            )
        }
        _ => return None,
    })
}

/// A duration in its two largest units.
fn span(lifetime: SignedDuration) -> String {
    let seconds = lifetime.as_secs();
    let units = [(86_400, "d"), (3600, "h"), (60, "min"), (1, "s")];
    let first = units.iter().position(|(unit, _)| seconds >= *unit);
    let mut left = seconds;
    let mut parts = Vec::new();
    for (unit, name) in units.iter().skip(first.unwrap_or(3)).take(2) {
        let count = left / unit;
        left %= unit;
        if count > 0 || parts.is_empty() {
            parts.push(format!("{count} {name}"));
        }
    }
    parts.join(" ")
}
