//! `Reconciling` or `Stalled`: does a credential without a valid token need somebody, or is progress expected? PURE.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{
    conditions::{condition, find},
    schedule::later,
};

/// How long an object or a permission that is missing may still come before `Stalled` reports it. A pipeline applies an
/// issuer, a Secret and a credential in any order, and tools that go by kstatus give up at once when they see `Stalled`.
const GRACE: SignedDuration = SignedDuration::from_mins(2);

/// Reasons that end as soon as another object comes, or its owner gives a permission.
const MISSING: [&str; 21] = [
    "IssuerNotFound",
    "IssuerNotReady",
    "ClientSecretMissing",
    "ClientSecretKeyMissing",
    "SourceMissing",
    "SourceKeyMissing",
    "ServiceAccountMissing",
    "NamespaceNotReadable",
    "NotAuthorizedByIssuer",
    "NotAuthorizedBySecret",
    "GrantNotAllowed",
    "ScopeNotAllowed",
    "ParameterNotAllowed",
    "SubjectNotAllowed",
    "AudienceNotAllowed",
    "IdentityNotAllowed",
    "ServiceAccountForbidden",
    "ClientSecretForbidden",
    "StateWriteForbidden",
    "TargetWriteForbidden",
    "FinalizerForbidden",
];

/// What ends a fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum End {
    /// Time, or another attempt.
    Progress,
    /// An object or a permission that may come with the next apply.
    Neighbour,
    /// A change by somebody.
    Somebody,
}

impl End {
    /// What ends a fault with this reason that needs a change.
    pub(super) fn of(reason: &str) -> Self {
        if MISSING.contains(&reason) {
            Self::Neighbour
        } else {
            Self::Somebody
        }
    }
}

/// A fault of a credential without a valid token.
#[derive(Clone, Copy)]
pub(super) struct Fault<'a> {
    /// Stable reason.
    pub(super) reason: &'a str,
    /// In words.
    pub(super) message: &'a str,
    /// What ends it.
    pub(super) end: End,
}

/// The condition, and when it becomes another one by time alone.
///
/// The first sight of a missing object is what `Reconciling` and `RenewalFailing` keep as their transition time, so that a
/// restart does not start the time again. Another reason, or another generation of the spec, is another first sight.
pub(super) fn progress(
    old: &[Condition],
    fault: Fault<'_>,
    generation: i64,
    now: Timestamp,
) -> (Condition, Option<Timestamp>) {
    let Fault {
        reason, message, ..
    } = fault;
    let same = |kind: &str| {
        find(old, kind).filter(|c| {
            c.status == "True" && c.reason == reason && c.observed_generation == Some(generation)
        })
    };
    let stalled = || condition(old, "Stalled", true, reason, message, generation, now);
    let shown =
        |old: &[Condition]| condition(old, "Reconciling", true, reason, message, generation, now);
    match fault.end {
        End::Somebody => (stalled(), None),
        End::Progress => (shown(old), None),
        End::Neighbour if same("Stalled").is_some() => (stalled(), None),
        End::Neighbour => {
            let seen = [same("Reconciling"), same("RenewalFailing")];
            let seen = seen.into_iter().flatten();
            // A time ahead was noted by a clock that was set back since.
            let first = seen.map(|c| c.last_transition_time.0.min(now)).min();
            let until = later(first.unwrap_or(now), GRACE);
            if until <= now {
                return (stalled(), None);
            }
            // With its own first sight, and not that of what was waited for before.
            let mut reconciling = shown(&[]);
            if let Some(first) = first {
                reconciling.last_transition_time = super::conditions::time(first);
            }
            (reconciling, Some(until))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::at;

    fn fault(reason: &str) -> Fault<'_> {
        Fault {
            reason,
            message: "create it",
            end: End::of(reason),
        }
    }

    /// Seconds, reason, and generation of the spec.
    type Step<'a> = (i64, &'a str, i64);

    /// `Reconciling` or `Stalled`, at each of these times and generations, one after the other.
    fn story(steps: &[Step<'_>]) -> Vec<String> {
        let mut old = Vec::new();
        let mut told = Vec::new();
        for (seconds, reason, generation) in steps {
            let (shown, until) = progress(&old, fault(reason), *generation, at(*seconds));
            assert_eq!(until.is_some(), shown.type_ == "Reconciling", "{steps:?}");
            told.push(shown.type_.clone());
            old = vec![shown];
        }
        told
    }

    #[test]
    fn what_is_missing_stalls_two_minutes_after_its_first_sight() {
        let (r, s) = ("Reconciling", "Stalled");
        let missing = "SourceMissing";
        #[rustfmt::skip]
        let cases: [(&[Step<'_>], &[&str]); 8] = [
            (&[(0, missing, 1), (119, missing, 1), (120, missing, 1), (121, missing, 1)], &[r, r, s, s]),
            // Another thing is missing: its own two minutes.
            (&[(0, missing, 1), (119, "SourceKeyMissing", 1), (120, "SourceKeyMissing", 1), (239, "SourceKeyMissing", 1)], &[r, r, r, s]),
            (&[(0, missing, 1), (120, missing, 1), (121, "SourceKeyMissing", 1)], &[r, s, r]),
            // An edit of the spec may belong to an apply that brings it.
            (&[(0, missing, 1), (119, missing, 2), (200, missing, 2), (239, missing, 2)], &[r, r, r, s]),
            (&[(0, missing, 1), (120, missing, 1), (121, missing, 2)], &[r, s, r]),
            // A clock that was set back neither shortens nor prolongs it by more than its own step.
            (&[(1000, missing, 1), (0, missing, 1), (120, missing, 1)], &[r, r, s]),
            (&[(0, "SecretNotOwned", 1)], &[s]),
            (&[(0, "InvalidSpec", 1), (1, missing, 1)], &[s, r]),
        ];
        for (steps, expected) in cases {
            assert_eq!(story(steps), expected, "{steps:?}");
        }
    }

    #[test]
    fn a_renewal_that_failed_for_long_before_the_token_expired_is_no_first_sight() {
        let missing = fault("SourceMissing");
        let failing = condition(
            &[],
            "RenewalFailing",
            true,
            "SourceMissing",
            "x",
            1,
            at(-600),
        );
        let (now, _) = progress(std::slice::from_ref(&failing), missing, 1, at(0));
        assert_eq!(now.type_, "Stalled");
        let other = condition(
            &[],
            "RenewalFailing",
            true,
            "IssuerTimeout",
            "x",
            1,
            at(-600),
        );
        let (now, until) = progress(&[other], missing, 1, at(0));
        assert_eq!((now.type_.as_str(), until), ("Reconciling", Some(at(120))));
    }
}
