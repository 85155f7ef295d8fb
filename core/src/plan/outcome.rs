//! The result of a step, and what the process remembers of it.

use crate::Reason;
use jiff::Timestamp;

use super::{
    Cause, Failure, Memory, Observed, RenewalCause, expect, fingerprint,
    same_content::is_comparable, schedule, stamp, unclear::is_unclear,
};
use crate::{
    credential::Credential,
    oauth::{LifetimeSource, Token, TokenError, Validity},
    publish::{ENDLESS, Record, SourceUse},
};

/// The result of a plan.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Nothing was due, or only the metadata was changed.
    Steady,
    /// A token was published.
    Minted(Minted),
    /// A step is due and waits for its turn.
    Waiting {
        /// Stable reason.
        reason: Reason,
        /// The message.
        message: String,
        /// The time of the next reconcile.
        until: Timestamp,
    },
    /// It is queued, or something changed meanwhile. It is reconciled again soon, and nothing is reported.
    Queued {
        /// The time of the next reconcile.
        until: Timestamp,
    },
    /// The attempt has just failed; see [`Memory::failure`].
    Failed,
    /// The wait after an earlier failure has not passed.
    Backoff,
    /// Nothing can be done until something changes.
    Refused {
        /// Stable reason.
        reason: Reason,
        /// The message.
        message: String,
    },
    /// `spec.suspend`.
    Suspended,
    /// The credential is deleted or being deleted. Nothing is written about it any more.
    Released,
}

/// A token that was published.
#[derive(Clone, Debug)]
pub struct Minted {
    /// Why it was needed.
    pub why: RenewalCause,
    /// When it was requested.
    pub at: Timestamp,
    /// Issuer's id of the exchange.
    pub correlation_id: Option<String>,
}

fn renewal(
    credential: &Credential,
    token: &Token,
    (promise, phase): (schedule::Promise, u32),
) -> schedule::Renewal {
    schedule::renewal(
        token.issued_at,
        token.expires_at,
        token.refresh_in,
        promise,
        schedule::Spread {
            seed: &credential.uid,
            phase,
        },
    )
}

/// A token to publish, and the inputs of its request.
pub struct NewToken<'a> {
    /// The token.
    pub token: &'a Token,
    /// Keyed digest of the token.
    pub token_digest: String,
    /// Keyed digest of the request with its secrets.
    pub fingerprint: String,
    /// The Secrets that were used.
    pub sources: SourceUse,
    /// Validity of the certificate that authenticated the client, if there was one.
    pub certificate_validity: Option<Validity>,
}

/// The record that is stored on the Secret for a new token. The phase is that of the cluster, see [`schedule::Spread`].
pub fn record(
    credential: &Credential,
    new: NewToken<'_>,
    (promise, phase): (schedule::Promise, u32),
) -> Record {
    let token = new.token;
    let renewal = match token.lifetime_source {
        LifetimeSource::Static => schedule::Renewal {
            at: ENDLESS,
            reason: "",
        },
        _ => renewal(credential, token, (promise, phase)),
    };
    Record {
        issued_at: token.issued_at,
        expires_at: token.expires_at,
        renew_at: renewal.at,
        renew_reason: renewal.reason.to_owned(),
        lifetime: token.lifetime_source.note(),
        request: fingerprint::request(credential),
        issuer: String::new(),
        fingerprint: new.fingerprint,
        token_digest: new.token_digest,
        sources: new.sources,
        claims: expect::claims(credential, token),
        not_granted: token.not_granted(&credential.issuer, &credential.request.scopes),
        token_id: token.id.clone(),
        certificate_validity: new.certificate_validity,
        renew_handled: credential.renew_requested.clone(),
        operator: Some(phase),
        spent: None,
    }
}

/// Reasons that time does not resolve: something expired is not new to the issuer.
const OVER: [Reason; 2] = [Reason::ClientSecretExpired, Reason::CertificateExpired];

/// Remembers a failed attempt and sets the time of the next one.
pub fn fail(
    credential: &Credential,
    observed: &Observed,
    token_error: TokenError,
    now: Timestamp,
) -> Memory {
    let stamp = stamp(credential, observed);

    let recent = |at: Timestamp| now.duration_since(at) < schedule::PROPAGATION;
    // The validity of a certificate is read from it, so an issuer need not learn anything.
    let expired = [Reason::CertificateExpired, Reason::CertificateNotYetValid]
        .contains(&token_error.reason)
        && token_error.http_status.is_none();
    let may_be_unknown = token_error.about_client
        && !expired
        && !token_error.until_change
        && !OVER.contains(&token_error.reason);
    let sources = observed.sources.iter().chain(&observed.grant_sources);
    let changes = sources.filter_map(|s| observed.memory.changed_at(s));
    // A time in the future was recorded before the clock was set back.
    let newest = changes.map(|at| at.min(now)).filter(|at| recent(*at)).max();
    let changed = newest.filter(|_| may_be_unknown);
    let last = observed.failure(credential);
    // It failed with the same sources, also if this attempt ended before it sent anything.
    let sent = last
        .filter(|_| is_comparable(&token_error))
        .and_then(|f| f.sent.clone());
    // When the time for a new secret has passed, failures are counted from one: the frequent attempts before do not count.
    let earlier = last.filter(|f| f.changed.is_some() == changed.is_some());
    let failures = earlier.map_or(0, |f| f.failures).saturating_add(1);
    let unclear = last.map_or(0, |f| f.unclear) + u32::from(is_unclear(credential, &token_error));
    let deadline = observed.deadline(credential, now);
    let retry = schedule::Retry {
        class: token_error.class,
        failures,
        retry_after: token_error.retry_after,
        propagating: changed.is_some(),
        deadline,
        seed: &credential.uid,
    };
    let next_attempt = match token_error.retry_at {
        Some(at) => at,
        None if token_error.until_change => Timestamp::MAX,
        None => schedule::next_attempt(&retry, now),
    };
    let mut memory = observed.memory.clone();
    memory.failure = Some(Failure {
        stamp,
        failures,
        unclear,
        at: now,
        next_attempt,
        requested: credential.renew_requested.clone(),
        cause: Cause::Seen(token_error),
        sent,
        changed,
    });
    memory
}
