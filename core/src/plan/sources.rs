//! Which client secrets or certificates a request tries, and what is known about those that do not work.
//!
//! A negative result expires. A refused secret is tried again while it is new, then daily, on request, and as soon as it changes. If another
//! secret works, status still reports the refused one.

use jiff::{SignedDuration, Timestamp};

use super::{Observed, Source, conditions::time, fingerprint};
use crate::{
    Reason, StoredReason,
    credential::Credential,
    oauth::{Class, Grant, TokenError},
    publish::{RefusedSource, SourceMark},
};

/// A refused secret is new for this long after its first token error: an issuer may need some time to know it (Entra ID:
/// seconds to some minutes), and a user who registers it late needs longer.
const YOUNG: SignedDuration = SignedDuration::from_hours(24);
/// After that, one attempt within this time is enough to notice that it works.
const DAILY: SignedDuration = SignedDuration::from_hours(24);

/// One entry of the list of client secrets, as a request tries it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice<'a> {
    /// The Secret; `None` if no Secret authenticates the client.
    pub source: Option<&'a Source>,
    /// Another entry works as far as is known, so a fault of this one must not fail the renewal.
    pub trial: bool,
}

/// The client secrets to try, in order.
///
/// Entries that are not known to be refused are in the order of the spec. At most one refused entry before the one in use is retried, so that a
/// retry costs one request for each renewal. The other refused entries are last: they are tried only if no other entry works. A requested
/// renewal tries all in the order of the spec.
pub fn candidates<'a>(
    credential: &Credential,
    observed: &'a Observed,
    now: Timestamp,
) -> Vec<Choice<'a>> {
    if observed.sources.is_empty() {
        return vec![Choice {
            source: None,
            trial: false,
        }];
    }
    let request = fingerprint::request(credential);
    let refused = |s: &Source| {
        let mark = s.mark()?;
        observed.memory.refused_source(&mark, &request)
    };
    let present = || observed.sources.iter().filter(|s| s.present.is_some());
    let works = present().any(|s| refused(s).is_none());
    let requested = is_requested(credential, observed);
    let in_use = position_in_use(observed);
    // If no token shows which one is in use, or that one is refused or missing now, it is the first that is not known to be refused.
    let good = |s: &Source| s.present.is_some() && refused(s).is_none();
    let in_use = in_use.filter(|used| good(&observed.sources[*used]));
    let end = in_use.or_else(|| observed.sources.iter().position(good));
    let before = |s: &Source| end.is_some_and(|end| position(observed, s) < Some(end));
    // After a failed attempt only the renewal itself matters.
    let may_retry = works && !requested && observed.failure(credential).is_none();
    let retry = present()
        .filter(|s| {
            may_retry && before(s) && refused(s).is_some_and(|r| is_due(credential, r, now))
        })
        // The one whose last attempt was longest ago, so that each of several gets its turn.
        .min_by_key(|s| refused(s).map(|r| r.at));
    let first = present().filter(|s| {
        let retried = retry.is_some_and(|r| r.reference == s.reference);
        requested || retried || refused(s).is_none()
    });
    let mut list: Vec<&Source> = first.collect();
    let rest: Vec<&Source> = present().filter(|s| !list.contains(s)).collect();
    list.extend(rest);
    let trial = |s: &Source| works && refused(s).is_some() || in_use.is_some() && before(s);
    list.into_iter()
        .map(|source| Choice {
            source: Some(source),
            trial: trial(source),
        })
        .collect()
}

/// Whether a renewal tries this refused entry again, although another one works.
fn is_due(credential: &Credential, refused: &RefusedSource, now: Timestamp) -> bool {
    if let Some(from) = refused.not_before {
        return now >= from;
    }
    // A fault that apicred itself finds lasts until the entry changes. A password is part of each request of its grant, and each refused
    // request may count towards a lockout.
    if !refused.by_issuer || matches!(credential.grant, Grant::Password(_)) {
        return false;
    }
    // A time in the future was recorded before the clock was set back.
    let since = |at: Timestamp| now.duration_since(at).max(SignedDuration::ZERO);
    since(refused.since) < YOUNG || since(refused.at) >= DAILY
}

/// Whether a renewal is requested by annotation and not done yet.
fn is_requested(credential: &Credential, observed: &Observed) -> bool {
    let handled = observed.record().and_then(|r| r.renew_handled.as_ref());
    credential.renew_requested.is_some() && credential.renew_requested.as_ref() != handled
}

/// Whether another entry of the list is tried after this error of an entry on trial. Servers answer a wrong secret in many ways, also
/// with a page or a failure of their own. A password or a refresh token is never sent again because of a guess.
pub fn is_guess(credential: &Credential, token_error: &TokenError) -> bool {
    let pauses = token_error.class == Class::Throttled
        || token_error.class == Class::Transient && token_error.retry_after.is_some();
    token_error.http_status.is_some_and(|status| status != 429)
        && !pauses
        && token_error.class != Class::NeedsUser
        && !token_error.until_change
        && !matches!(
            credential.grant,
            Grant::RefreshToken(_) | Grant::Password(_)
        )
}

fn position(observed: &Observed, source: &Source) -> Option<usize> {
    let found = |s: &Source| s.reference == source.reference;
    observed.sources.iter().position(found)
}

/// The position in the list of the secret with which the published token was requested.
fn position_in_use(observed: &Observed) -> Option<usize> {
    let used = observed.record()?.sources.used.as_ref()?;
    observed.sources.iter().position(|s| used.is(&s.reference))
}

/// The entries before the one in use whose present content was not tried. A new secret is used, or reported, at once and not at the next
/// renewal.
pub fn untried<'a>(credential: &Credential, observed: &'a Observed) -> Vec<&'a Source> {
    let Some(used) = position_in_use(observed) else {
        return Vec::new();
    };
    let request = fingerprint::request(credential);
    let news = |s: &&Source| {
        s.mark().is_some_and(|mark| {
            observed.memory.refused_source(&mark, &request).is_none()
                && !observed.memory.verified.contains(&mark)
        })
    };
    observed.sources.iter().take(used).filter(news).collect()
}

/// A source that cannot be used for a request.
#[derive(Clone, Copy)]
pub(super) struct Unusable<'a> {
    /// The source.
    pub(super) source: &'a Source,
    /// The token error of its present version; `None` if its Secret does not exist.
    pub(super) refused: Option<&'a RefusedSource>,
}

/// Those of these sources that cannot be used for this request, as far as is known.
pub(super) fn unusable<'a>(
    credential: &Credential,
    observed: &'a Observed,
    sources: &'a [Source],
) -> impl Iterator<Item = Unusable<'a>> {
    let request = fingerprint::request(credential);
    sources.iter().filter_map(move |source| {
        let refused = match source.mark() {
            Some(mark) => Some(observed.memory.refused_source(&mark, &request)?),
            None => None,
        };
        Some(Unusable { source, refused })
    })
}

/// The fault of an entry of the list while another one works.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Hidden {
    /// Stable reason for the condition.
    pub(super) reason: StoredReason,
    /// A sentence with the next step.
    pub(super) message: String,
}

/// The faults that do not fail the renewal because the secret in use works: entries that are refused, unusable or missing.
pub(super) fn hidden(credential: &Credential, observed: &Observed) -> Option<Hidden> {
    let used = observed.record()?.sources.used.as_ref()?;
    if observed.sources.len() < 2 {
        return None;
    }
    // A token error of the one in use fails the renewal, which reports it.
    let faults = unusable(credential, observed, &observed.sources)
        .filter(|u| u.refused.is_none() || !used.is(&u.source.reference))
        .map(|u| fault(credential, u));
    let mut found = faults.reduce(|mut first, next| {
        first.message.push_str(&format!("; {}", next.message));
        first
    })?;
    found.message.push_str(&format!(
        "; the token was obtained with {}",
        credential.authentication.entry(&used.name, &used.key)
    ));
    Some(found)
}

fn fault(credential: &Credential, unusable: Unusable<'_>) -> Hidden {
    let reference = &unusable.source.reference;
    let name = &reference.name;
    let entry = credential.authentication.entry(name, &reference.key);
    match unusable.refused {
        None => Hidden {
            reason: credential.authentication.lacking().secret.into(),
            message: format!(
                "Secret {name} does not exist; create it, or remove its entry from the client"
            ),
        },
        Some(r) if r.by_issuer => Hidden {
            reason: Reason::ClientCredentialRefused.into(),
            message: format!(
                "the issuer refused {entry} ({} at {}); correct it, or register it at the issuer: apicred retries it at each renewal for a day, then daily, and at once if it changes",
                r.reason, r.at
            ),
        },
        Some(r) => Hidden {
            reason: r.reason.clone(),
            message: format!("{entry} cannot be used ({}); correct it", r.reason),
        },
    }
}

impl super::Memory {
    /// The known token error of this version of a source, for this same request.
    pub fn refused_source(&self, mark: &SourceMark, request: &str) -> Option<&RefusedSource> {
        let same = |r: &&RefusedSource| r.mark == *mark && r.request == request;
        self.refused.iter().find(same)
    }

    /// Remembers a refused source. There is one entry for each key of a Secret: an older version is not relevant any more, unless its content
    /// is the same. Times become whole seconds, as on the Secret, so that a restart changes no status.
    pub fn refuse(&mut self, refused: RefusedSource) {
        let refused = RefusedSource {
            since: time(refused.since).0,
            at: time(refused.at).0,
            ..refused
        };
        let same_key =
            |r: &RefusedSource| r.mark.name == refused.mark.name && r.mark.key == refused.mark.key;
        let known = self
            .refused
            .iter()
            .position(same_key)
            .map(|at| self.refused.swap_remove(at));
        let same_content = |k: &RefusedSource| {
            k.request == refused.request
                && (k.mark == refused.mark
                    || k.fingerprint.is_some() && k.fingerprint == refused.fingerprint)
        };
        let since = known
            .filter(same_content)
            .map_or(refused.since, |k| k.since.min(refused.since));
        self.refused.push(RefusedSource { since, ..refused });
    }

    /// The refused sources that are stored with a new token: of versions that still exist, without the one in use.
    pub fn refused_to_store(
        &self,
        sources: &[Source],
        used: Option<&SourceMark>,
        request: &str,
    ) -> Vec<RefusedSource> {
        let still_applies = |r: &&RefusedSource| {
            r.request == request
                && used != Some(&r.mark)
                && sources.iter().any(|s| s.mark().as_ref() == Some(&r.mark))
        };
        self.refused.iter().filter(still_applies).cloned().collect()
    }
}
