//! The record of a token in the annotations of its Secret. Every plan starts from these annotations; status is only a view of them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    StoredReason,
    api::{SecretKeyRef, names},
    oauth::{self, Claims, LifetimeSource, Validity},
};

/// The facts of one published token.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// When it was requested.
    pub issued_at: Timestamp,
    /// When the Secret expires: the token, or a published field of the answer that expires earlier; [`ENDLESS`] for a static key.
    pub expires_at: Timestamp,
    /// When the next one is due; [`ENDLESS`] for a static key.
    pub renew_at: Timestamp,
    /// Which rule chose `renew_at`.
    pub renew_reason: String,
    /// The source of `expires_at`, by name of [`crate::oauth::LifetimeSource`].
    pub lifetime: String,
    /// Digest of the request without its secret.
    pub request: String,
    /// The issuer that issued the token ([`crate::credential::binding::issuer_mark`]); empty for a static key.
    pub issuer: String,
    /// Keyed digest of the request with its secret.
    pub fingerprint: String,
    /// Keyed digest of the token.
    pub token_digest: String,
    /// The Secrets that were used, and those before them in the list that were refused.
    pub sources: SourceUse,
    /// The claims of the token, if it can be read.
    pub claims: Option<Box<Claims>>,
    /// Scopes that were requested and that the answer does not contain.
    pub not_granted: Vec<String>,
    /// The token's own id.
    pub token_id: Option<String>,
    /// The validity of the certificate that authenticated the client.
    pub certificate_validity: Option<Validity>,
    /// The renewal request that this token answered.
    pub renew_handled: Option<String>,
    /// The operator that wrote it ([`crate::plan::fingerprint::DigestKey::phase`]); None on a Secret of an earlier version.
    pub operator: Option<u32>,
    /// Digests of spent refresh tokens. They are written and never read back here, because memory holds thousands of these records.
    pub spent: Option<String>,
}

/// A version of a source Secret's key.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SourceMark {
    /// Secret name.
    #[serde(rename = "n")]
    pub name: String,
    /// Key in it.
    #[serde(rename = "k")]
    pub key: String,
    /// UID of the Secret.
    #[serde(rename = "u")]
    pub uid: String,
    /// resourceVersion of the Secret.
    #[serde(rename = "v")]
    pub version: String,
}

impl std::fmt::Display for SourceMark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}@{}", self.name, self.key, self.version)
    }
}

impl SourceMark {
    /// Whether this is the same Secret and key, whatever its version.
    pub fn is(&self, reference: &SecretKeyRef) -> bool {
        self.name == reference.name && self.key == reference.key
    }
}

/// The sources of a token.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct SourceUse {
    /// The one that authenticated the client; None if no Secret does.
    #[serde(rename = "used", default, skip_serializing_if = "Option::is_none")]
    pub used: Option<SourceMark>,
    /// Those that the grant used.
    #[serde(rename = "with", default, skip_serializing_if = "Vec::is_empty")]
    pub with: Vec<SourceMark>,
    /// Those that were refused or unusable at these versions, while another one worked.
    #[serde(rename = "refused", default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<RefusedSource>,
}

/// A version of a source that did not work, and why. It is stored on the target Secret, so that a restart neither forgets it nor tries it more
/// often.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct RefusedSource {
    /// The version.
    #[serde(flatten)]
    pub mark: SourceMark,
    /// Digest of the request for which it was refused. On a Secret, the digest of the token's request.
    #[serde(skip)]
    pub request: String,
    /// When this content was first refused.
    #[serde(rename = "s", with = "whole_seconds")]
    pub since: Timestamp,
    /// When it was last refused.
    #[serde(rename = "t", with = "whole_seconds")]
    pub at: Timestamp,
    /// Stable reason.
    #[serde(rename = "r")]
    pub reason: StoredReason,
    /// Whether the issuer refused it. Otherwise apicred cannot use it, and sends nothing.
    #[serde(rename = "i")]
    pub by_issuer: bool,
    /// It cannot be used before this time: a certificate that is not valid yet.
    #[serde(
        rename = "b",
        with = "maybe_seconds",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub not_before: Option<Timestamp>,
    /// Keyed digest of the request with this content, if it was read: a new label on the Secret does not change the content.
    #[serde(rename = "f", default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
}

/// Times in JSON as whole seconds since 1970.
mod whole_seconds {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(at: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_i64(at.as_second())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
        Timestamp::from_second(i64::deserialize(from)?).map_err(D::Error::custom)
    }
}

/// A static key expires when a user revokes it, which is not reported. Inside apicred its expiry is the end of time, which is never written or
/// shown.
pub const ENDLESS: Timestamp = Timestamp::MAX;

fn is_static(lifetime: &str) -> bool {
    lifetime == LifetimeSource::Static.as_str()
}

/// The same for a time that may be missing.
mod maybe_seconds {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    #[expect(clippy::ref_option, reason = "the form that serde calls")]
    pub(super) fn serialize<S: Serializer>(
        at: &Option<Timestamp>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        at.map(Timestamp::as_second).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Timestamp>, D::Error> {
        let seconds = Option::<i64>::deserialize(from)?;
        seconds
            .map(Timestamp::from_second)
            .transpose()
            .map_err(D::Error::custom)
    }
}

/// Maximum number of Secrets that a grant uses, and of refused ones: a spec lists fewer of each.
const MAX_SOURCES: usize = 32;
/// Maximum number of scopes that were not granted: a spec has at most 100.
const MAX_NOT_GRANTED: usize = 128;

impl Record {
    /// Returns true for a static key. Such a record has no expiry and no renewal.
    pub fn is_static(&self) -> bool {
        is_static(&self.lifetime)
    }

    /// When the token itself expires, as far as the issuer stated it.
    pub fn token_end(&self) -> Timestamp {
        oauth::end_after_fields(&self.lifetime).unwrap_or(self.expires_at)
    }

    /// When the token itself expires, if the issuer stated it. A lifetime that was assumed may be too short.
    pub fn stated_end(&self) -> Option<Timestamp> {
        (!oauth::is_uncertain(&self.lifetime)).then(|| self.token_end())
    }

    /// Whether the issuer may still accept the token.
    pub fn may_be_valid(&self, now: Timestamp) -> bool {
        self.stated_end().is_none_or(|end| end > now)
    }

    /// Whether a published field of the answer expires before the token.
    pub fn is_limited(&self) -> bool {
        oauth::end_after_fields(&self.lifetime).is_some()
    }

    /// The record as annotations. Times have whole seconds; an expiry time is rounded down, so it is never too late.
    pub fn annotations(&self) -> BTreeMap<String, Option<String>> {
        let sources = serde_json::to_string(&self.sources).unwrap_or_default();
        let claims = |c: &Claims| serde_json::to_string(c).ok();
        let timed = !self.is_static();
        [
            (names::ISSUED_AT, Some(seconds(self.issued_at))),
            (names::EXPIRES_AT, timed.then(|| seconds(self.expires_at))),
            (names::RENEW_AT, timed.then(|| seconds(self.renew_at))),
            (
                names::RENEW_REASON,
                timed.then(|| self.renew_reason.clone()),
            ),
            (names::LIFETIME, Some(self.lifetime.clone())),
            (names::REQUEST_DIGEST, Some(self.request.clone())),
            (
                names::ISSUED_BY,
                Some(self.issuer.clone()).filter(|i| !i.is_empty()),
            ),
            (names::FINGERPRINT, Some(self.fingerprint.clone())),
            (names::TOKEN_DIGEST, Some(self.token_digest.clone())),
            (names::SOURCES, Some(sources)),
            (names::CLAIMS, self.claims.as_deref().and_then(claims)),
            (
                names::NOT_GRANTED,
                Some(self.not_granted.join(" ")).filter(|t| !t.is_empty()),
            ),
            (names::TOKEN_ID, self.token_id.clone()),
            (
                names::CERTIFICATE_VALIDITY,
                self.certificate_validity.map(span),
            ),
            (names::RENEW_HANDLED, self.renew_handled.clone()),
            (names::OPERATOR, self.operator.map(|id| format!("{id:08x}"))),
        ]
        .into_iter()
        // If it is not known here, the annotation is not changed.
        .chain(
            self.spent
                .clone()
                .map(|spent| (names::SPENT_REFRESH_TOKENS, Some(spent))),
        )
        .map(|(k, v)| (k.to_owned(), v))
        .collect()
    }

    /// Reads annotations; `None` if a required one is missing or unreadable, or if a list has more entries than apicred writes. Any user may
    /// write them on a Secret of theirs, and in memory an entry takes many times its length.
    pub fn read(annotations: &BTreeMap<String, String>) -> Option<Self> {
        let text = |key: &str| annotations.get(key).cloned();
        let time = |key: &str| annotations.get(key)?.parse::<Timestamp>().ok();
        let lifetime = text(names::LIFETIME)?;
        let (expires_at, renew_at, renew_reason) = if is_static(&lifetime) {
            (ENDLESS, ENDLESS, String::new())
        } else {
            let (expires_at, renew_at) = (time(names::EXPIRES_AT)?, time(names::RENEW_AT)?);
            (expires_at, renew_at, text(names::RENEW_REASON)?)
        };
        let sources: SourceUse = serde_json::from_str(annotations.get(names::SOURCES)?).ok()?;
        let claims = annotations.get(names::CLAIMS);
        let claims: Option<Box<Claims>> = claims.and_then(|c| serde_json::from_str(c).ok());
        let not_granted = annotations
            .get(names::NOT_GRANTED)
            .map_or("", String::as_str);
        let not_granted = || not_granted.split(' ').filter(|s| !s.is_empty());
        let lists = [sources.with.len(), sources.refused.len()];
        let is_bounded = lists.iter().all(|count| *count <= MAX_SOURCES)
            && claims.as_ref().is_none_or(|claims| claims.is_bounded())
            && not_granted().nth(MAX_NOT_GRANTED).is_none();
        if !is_bounded {
            return None;
        }
        Some(Self {
            issued_at: time(names::ISSUED_AT)?,
            expires_at,
            renew_at,
            renew_reason,
            lifetime,
            request: text(names::REQUEST_DIGEST)?,
            // A Secret of an earlier version has none: its token is valid and is not sent back.
            issuer: text(names::ISSUED_BY).unwrap_or_default(),
            fingerprint: text(names::FINGERPRINT)?,
            token_digest: text(names::TOKEN_DIGEST)?,
            sources,
            claims,
            not_granted: not_granted().map(str::to_owned).collect(),
            token_id: text(names::TOKEN_ID),
            certificate_validity: text(names::CERTIFICATE_VALIDITY).and_then(|t| validity(&t)),
            renew_handled: text(names::RENEW_HANDLED),
            operator: text(names::OPERATOR).and_then(|id| u32::from_str_radix(&id, 16).ok()),
            spent: None,
        })
    }
}

/// The validity of a certificate as `from/until` (an interval of ISO 8601).
fn span(validity: Validity) -> String {
    format!("{}/{}", seconds(validity.from), seconds(validity.until))
}

fn validity(text: &str) -> Option<Validity> {
    let (from, until) = text.split_once('/')?;
    Some(Validity {
        from: from.parse().ok()?,
        until: until.parse().ok()?,
    })
}

/// RFC 3339 in whole seconds.
pub(super) fn seconds(at: Timestamp) -> String {
    crate::whole_second(at).to_string()
}
