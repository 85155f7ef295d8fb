//! Each state of a credential that status distinguishes: for tests of the status, and of tools that read it.

#![allow(missing_docs, reason = "only for tests")]

use super::{Minted, Observed, Outcome, RenewalCause, fail};
use crate::{
    credential::Credential,
    fixtures::{at, holding, observed, record},
    oauth::{Class, TokenError},
    publish::ownership::Target,
    reason::Reason,
};

/// A state of a credential.
pub struct State {
    pub name: &'static str,
    pub observed: Observed,
    pub outcome: Outcome,
    /// Such as `Ready=True/TokenPublished RenewalFailing=True/IssuerTimeout`.
    pub conditions: &'static str,
    /// The status that tools report which follow kstatus.
    pub kstatus: &'static str,
}

pub fn token_error(class: Class) -> TokenError {
    TokenError::local(class, Reason::RequestRefused, "check the client")
}

pub fn minted(why: RenewalCause) -> Outcome {
    Outcome::Minted(Minted {
        why,
        at: at(-300),
        correlation_id: Some("id-1".to_owned()),
    })
}

/// An observation whose last attempt has just failed.
pub fn failing(credential: &Credential, mut world: Observed, class: Class) -> Observed {
    world.memory = fail(credential, &world, token_error(class), at(0));
    world
}

pub fn refused() -> Outcome {
    Outcome::Refused {
        reason: Reason::SecretNotOwned,
        message: "choose another".to_owned(),
    }
}

pub fn waiting() -> Outcome {
    Outcome::Waiting {
        reason: Reason::IssuerPaused,
        message: "requested a pause".to_owned(),
        until: at(20),
    }
}

pub fn queued() -> Outcome {
    Outcome::Waiting {
        reason: Reason::WaitingForIssuer,
        message: "the issuer is busy".to_owned(),
        until: at(20),
    }
}

pub fn missing(reason: Reason) -> Outcome {
    Outcome::Refused {
        reason,
        message: "create it".to_owned(),
    }
}

/// Each state of a credential that status distinguishes, with its conditions.
pub fn states(credential: &Credential) -> Vec<State> {
    let healthy = || observed(credential);
    let empty = || Observed {
        target: Target::Absent,
        ..healthy()
    };
    let late = || holding(credential, record(credential, (-3000, -1200, 600)));
    let gone = || holding(credential, record(credential, (-3700, -1900, -100)));
    #[rustfmt::skip]
    let states = vec![
        ("healthy", healthy(), Outcome::Steady, "Ready=True/TokenPublished", "Current"),
        ("just published", healthy(), minted(RenewalCause::Due), "Ready=True/TokenPublished", "Current"),
        ("nothing yet", empty(), Outcome::Queued { until: at(1) }, "Ready=Unknown/Pending Reconciling=True/Pending", "InProgress"),
        ("first, in the queue", empty(), queued(), "Ready=Unknown/WaitingForIssuer Reconciling=True/WaitingForIssuer", "InProgress"),
        ("expired, in the queue", gone(), queued(), "Ready=False/WaitingForIssuer Reconciling=True/WaitingForIssuer RenewalFailing=True/WaitingForIssuer", "InProgress"),
        ("failing, token good", failing(credential, healthy(), Class::Transient), Outcome::Failed, "Ready=True/TokenPublished RenewalFailing=True/RequestRefused", "Current"),
        ("failing, minimum lifetime at risk", failing(credential, late(), Class::Transient), Outcome::Backoff, "Ready=True/TokenPublished RenewalFailing=True/RequestRefused LifetimeAtRisk=True/RenewalFailing", "Current"),
        ("failing, token gone", failing(credential, gone(), Class::Transient), Outcome::Backoff, "Ready=False/RequestRefused Reconciling=True/RequestRefused RenewalFailing=True/RequestRefused", "InProgress"),
        ("failing, no token", failing(credential, empty(), Class::Transient), Outcome::Backoff, "Ready=False/RequestRefused Reconciling=True/RequestRefused", "InProgress"),
        ("denied", failing(credential, healthy(), Class::Denied), Outcome::Failed, "Ready=True/TokenPublished RenewalFailing=True/RequestRefused", "Current"),
        ("denied, token gone", failing(credential, gone(), Class::Denied), Outcome::Failed, "Ready=False/RequestRefused Stalled=True/RequestRefused RenewalFailing=True/RequestRefused", "Failed"),
        ("invalid", failing(credential, empty(), Class::Invalid), Outcome::Failed, "Ready=False/RequestRefused Stalled=True/RequestRefused", "Failed"),
        ("needs a user", failing(credential, empty(), Class::NeedsUser), Outcome::Backoff, "Ready=False/RequestRefused Stalled=True/RequestRefused", "Failed"),
        ("throttled", failing(credential, empty(), Class::Throttled), Outcome::Failed, "Ready=False/RequestRefused Reconciling=True/RequestRefused", "InProgress"),
        ("refused", empty(), refused(), "Ready=False/SecretNotOwned Stalled=True/SecretNotOwned", "Failed"),
        ("a Secret is missing", empty(), missing(Reason::SourceMissing), "Ready=False/SourceMissing Reconciling=True/SourceMissing", "InProgress"),
        ("no user has signed in", empty(), missing(Reason::SignInRequired), "Ready=False/SignInRequired Reconciling=True/SignInRequired", "InProgress"),
        ("a Secret is missing, token good", healthy(), missing(Reason::SourceMissing), "Ready=True/TokenPublished RenewalFailing=True/SourceMissing", "Current"),
        ("its client is gone", empty(), missing(Reason::ClientNotFound), "Ready=False/ClientNotFound Reconciling=True/ClientNotFound", "InProgress"),
        ("its client is gone, token good", healthy(), missing(Reason::ClientNotFound), "Ready=True/TokenPublished RenewalFailing=True/ClientNotFound", "Current"),
        ("waiting", healthy(), waiting(), "Ready=True/TokenPublished RenewalFailing=True/IssuerPaused", "Current"),
        ("waiting, no token", empty(), waiting(), "Ready=False/IssuerPaused Reconciling=True/IssuerPaused", "InProgress"),
        ("suspended, token good", healthy(), Outcome::Suspended, "Ready=True/TokenPublished", "Current"),
        ("suspended, no token", empty(), Outcome::Suspended, "Ready=False/Suspended Stalled=True/Suspended", "Failed"),
    ];
    let state = |(name, observed, outcome, conditions, kstatus)| State {
        name,
        observed,
        outcome,
        conditions,
        kstatus,
    };
    states.into_iter().map(state).collect()
}
