//! Whether a received token may be written, or the issuer repeats the token that the Secret already contains.

use jiff::{SignedDuration, Timestamp};

use super::{
    RenewalCause,
    schedule::{later, later_than},
};
use crate::publish::{Record, SourceUse};

/// The shortest wait before the next request to an issuer that repeats a token.
const LEAST: SignedDuration = SignedDuration::from_secs(30);

/// A token that was received, as far as it is compared.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// Keyed digest of the request.
    pub fingerprint: &'a str,
    /// Keyed digest of the token.
    pub token_digest: &'a str,
    /// The Secrets with which it was obtained.
    pub sources: &'a SourceUse,
    /// When the Secret with it expires.
    pub expires_at: Timestamp,
    /// Whether a published field of the answer expires before the token.
    pub limited: bool,
    /// Why it was requested.
    pub why: RenewalCause,
}

/// The time before which no new request is sent, if this is the token of `old` or a token that does not expire later. `old` is valid.
/// `expires-at` never decreases for one fingerprint, and an issuer that caches tokens would otherwise make apicred write in a loop.
pub fn repeated_until(old: &Record, new: &Received<'_>, now: Timestamp) -> Option<Timestamp> {
    // The same token in other formats is not a loop.
    if old.fingerprint != new.fingerprint || new.why == RenewalCause::Requested {
        return None;
    }
    // The token was obtained with the last good certificate instead of a new one. It is written, so that the new certificate is not read
    // repeatedly.
    if place(&old.sources) != place(new.sources) {
        return None;
    }
    let is_later = new.expires_at > old.expires_at;
    let is_same = old.token_digest == new.token_digest;
    // The same token with a later end is a guess from the time of the answer, except if the field that expires first was renewed.
    let is_news = is_later && (!is_same || new.limited || old.is_limited());
    let left = old.expires_at.duration_since(now);
    (!is_news && old.issued_at <= later_than(now)).then(|| later(now, (left / 4).max(LEAST)))
}

/// The Secret and key that authenticated the client.
fn place(sources: &SourceUse) -> Option<(&str, &str)> {
    let used = sources.used.as_ref()?;
    Some((&used.name, &used.key))
}
