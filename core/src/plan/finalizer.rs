//! When the finalizer [`REVOKE_FINALIZER`](crate::api::names::REVOKE_FINALIZER) is added and removed. PURE.
//!
//! A credential with `deletionPolicy: Revoke` gets it before its first token is written. When the credential is deleted, the finalizer retains
//! it until the token is revoked, until that is known to be impossible, or until the deadline. A deletion never waits longer.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::{
    api::DeletionPolicy,
    oauth::{Class, TokenError},
};

/// How long after its deletion a credential may wait for the revocation of its token.
pub const DEADLINE: Duration = Duration::from_mins(1);
/// The time that remains if the operator notices a deletion late, because it did not run. Also the minimum if a clock is wrong.
const LATE: Duration = Duration::from_secs(15);
/// The time between two attempts doubles from the first to the last.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(8));

/// How long the revocation may take, measured by a monotonic clock. `deleted_at` comes from the clock of the API server and `now` from the
/// operator's: they are compared once, within bounds, so that no jump of either shortens or prolongs a wait.
pub fn time_left(deleted_at: Timestamp, now: Timestamp) -> Duration {
    let passed: SignedDuration = now.duration_since(deleted_at);
    let passed = Duration::try_from(passed).unwrap_or_default();
    DEADLINE.saturating_sub(passed).max(LATE)
}

/// What is known of a credential and its finalizer.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The policy in its spec. None if the spec cannot be read.
    pub policy: Option<DeletionPolicy>,
    /// Whether it has the finalizer.
    pub present: bool,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Whether a token was ever published for it, or it can have a refresh token.
    pub has_token: bool,
    /// The last attempt to revoke the token.
    pub last: Option<&'a Attempt>,
}

/// The result of an attempt to revoke a token.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Attempt {
    /// The issuer revoked it.
    Revoked,
    /// Another attempt is useless.
    Impossible(String),
    /// Another attempt may succeed.
    Failed {
        /// Why it failed.
        why: String,
        /// When the next one begins, counted like the deadline.
        next: Duration,
    },
}

impl Attempt {
    /// An attempt that failed. `at`: when, counted like the deadline; `tries`: the number of attempts, including this one.
    pub fn failed(token_error: &TokenError, at: Duration, tries: u32) -> Self {
        let why = token_error.message();
        if !matches!(token_error.class, Class::Transient | Class::Throttled) {
            return Self::Impossible(why);
        }
        let (first, last) = PAUSE;
        let pause = first * 2_u32.saturating_pow(tries.saturating_sub(1).min(10));
        let pause = pause
            .min(last)
            .max(token_error.retry_after.unwrap_or_default());
        Self::Failed {
            why,
            next: at.saturating_add(pause),
        }
    }
}

/// The next step.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// Nothing.
    Leave,
    /// Add the finalizer.
    Add,
    /// Try to revoke the token.
    Revoke,
    /// Wait until then, counted like the deadline.
    Wait(Duration),
    /// Remove the finalizer.
    Remove(End),
}

/// Why the finalizer is removed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum End {
    /// The policy is another one.
    NotWanted,
    /// There is nothing to revoke.
    NoToken,
    /// The token was revoked.
    Revoked,
    /// It cannot be revoked.
    NotRevoked(String),
    /// It was not revoked before the deadline.
    TimedOut(String),
}

/// Returns the next step. `passed`: the time since the deletion was noticed, `deadline`: see [`time_left`].
pub fn step(facts: Facts<'_>, passed: Duration, deadline: Duration) -> Step {
    let wanted = facts.policy == Some(DeletionPolicy::Revoke);
    match (facts.present, facts.deleting) {
        (false, false) if wanted => return Step::Add,
        (false, _) => return Step::Leave,
        // The policy in an unreadable spec is not known.
        (true, false) if wanted || facts.policy.is_none() => return Step::Leave,
        (true, false) => return Step::Remove(End::NotWanted),
        (true, true) => {}
    }
    match (facts.policy, facts.last) {
        // This result holds, whatever was changed meanwhile.
        (_, Some(Attempt::Revoked)) => Step::Remove(End::Revoked),
        (None, _) => Step::Remove(End::NotRevoked(
            "apicred cannot read the spec of the credential".to_owned(),
        )),
        _ if !wanted => Step::Remove(End::NotWanted),
        _ if !facts.has_token => Step::Remove(End::NoToken),
        (_, Some(Attempt::Impossible(why))) => Step::Remove(End::NotRevoked(why.clone())),
        (_, last) if passed >= deadline => {
            let why = match last {
                Some(Attempt::Failed { why, .. }) => why.as_str(),
                _ => "too many revocations were waiting",
            };
            Step::Remove(End::TimedOut(why.to_owned()))
        }
        (_, Some(Attempt::Failed { next, .. })) if passed < *next => {
            Step::Wait((*next).min(deadline))
        }
        _ => Step::Revoke,
    }
}

impl End {
    /// The metric label; None if nothing was to be revoked.
    pub const fn label(&self) -> Option<&'static str> {
        match self {
            Self::NotWanted | Self::NoToken => None,
            Self::Revoked => Some("ok"),
            Self::NotRevoked(_) => Some("failed"),
            Self::TimedOut(_) => Some("timeout"),
        }
    }

    /// What is reported about a token that was not revoked.
    pub fn warning(&self, expires_at: Option<Timestamp>) -> Option<String> {
        let (why, late) = match self {
            Self::NotWanted | Self::NoToken | Self::Revoked => return None,
            Self::NotRevoked(why) => (why, ""),
            Self::TimedOut(why) => (why, " in time"),
        };
        let valid = expires_at.map_or_else(
            || "it stays valid until it expires".to_owned(),
            |at| format!("it stays valid until {at}"),
        );
        Some(format!(
            "the token was not revoked{late}, {valid}: {why}; revoke it at the issuer if it must not be used any more"
        ))
    }
}
