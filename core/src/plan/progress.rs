//! Sets `Reconciling` if progress is expected without intervention, or `Stalled` if a user must change something.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{conditions::Conditions, schedule::later};
use crate::{ConditionType, Reason, StoredReason};

/// How long a missing object or permission may still be created before `Stalled` reports it, and how long a client secret that has just changed
/// may be refused. A pipeline applies an issuer, a Secret and a credential in any order, and tools that follow kstatus stop at once when they
/// read `Stalled`. Entra ID accepts most new secrets within 20 s.
pub(super) const GRACE: SignedDuration = SignedDuration::from_mins(2);

/// What ends a fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum End {
    /// Time, or another attempt.
    Progress,
    /// An object or a permission that the next apply may create.
    Neighbour,
    /// Time, or another attempt, until then. Afterwards a change by a user, although attempts continue.
    Until(Timestamp),
    /// A change by a user.
    User,
}

impl End {
    /// What ends a fault with this reason, if it needs a change.
    pub(super) fn of(reason: &StoredReason) -> Self {
        if reason.is(Reason::waits_for_others) {
            Self::Neighbour
        } else {
            Self::User
        }
    }
}

/// A fault of a credential without a valid token.
#[derive(Clone, Copy)]
pub(super) struct Fault<'a> {
    /// Stable reason.
    pub(super) reason: &'a StoredReason,
    /// The message.
    pub(super) message: &'a str,
    /// What ends it.
    pub(super) end: End,
}

/// The condition, and when time alone changes it.
///
/// `Reconciling` and `RenewalFailing` store the time at which a missing object was first noticed as their transition time, so that a restart
/// does not restart the two minutes. Another reason, or another generation of the spec, starts them again.
pub(super) fn progress(
    conditions: Conditions<'_>,
    fault: Fault<'_>,
) -> (Condition, Option<Timestamp>) {
    let Fault {
        reason, message, ..
    } = fault;
    let Conditions {
        previous,
        generation,
        now,
    } = conditions;
    let same = |kind: ConditionType| {
        kind.find(previous).filter(|c| {
            c.status == "True"
                && c.reason == reason.as_str()
                && c.observed_generation == Some(generation)
        })
    };
    let stalled = || conditions.condition(ConditionType::Stalled, true, reason, message);
    let shown =
        |to: Conditions<'_>| to.condition(ConditionType::Reconciling, true, reason, message);
    match fault.end {
        End::User => (stalled(), None),
        End::Progress => (shown(conditions), None),
        End::Until(until) if until <= now => (stalled(), None),
        End::Until(until) => (shown(conditions), Some(until)),
        End::Neighbour if same(ConditionType::Stalled).is_some() => (stalled(), None),
        End::Neighbour => {
            let seen = [
                same(ConditionType::Reconciling),
                same(ConditionType::RenewalFailing),
            ];
            let seen = seen.into_iter().flatten();
            // A time in the future was recorded before the clock was set back.
            let first = seen.map(|c| c.last_transition_time.0.min(now)).min();
            let until = later(first.unwrap_or(now), GRACE);
            if until <= now {
                return (stalled(), None);
            }
            // With the time of its own first notice, and not that of the previous missing object.
            let mut reconciling = shown(Conditions {
                previous: &[],
                ..conditions
            });
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

    const fn known(reason: Reason) -> StoredReason {
        StoredReason::Known(reason)
    }

    fn fault(reason: &StoredReason) -> Fault<'_> {
        Fault {
            reason,
            message: "create it",
            end: End::of(reason),
        }
    }

    fn at_time(previous: &[Condition], generation: i64, seconds: i64) -> Conditions<'_> {
        Conditions {
            previous,
            generation,
            now: at(seconds),
        }
    }

    /// Seconds, reason, and generation of the spec.
    type Step = (i64, Reason, i64);

    /// `Reconciling` or `Stalled` at each of these times and generations, in this order.
    fn story(steps: &[Step]) -> Vec<String> {
        let mut old = Vec::new();
        let mut reported = Vec::new();
        for (seconds, reason, generation) in steps {
            let reason = known(*reason);
            let (shown, until) = progress(at_time(&old, *generation, *seconds), fault(&reason));
            let reconciles = ConditionType::Reconciling.is(&shown);
            assert_eq!(until.is_some(), reconciles, "{steps:?}");
            reported.push(shown.type_.clone());
            old = vec![shown];
        }
        reported
    }

    #[test]
    fn what_is_missing_stalls_two_minutes_after_its_first_sight() {
        let (r, s) = ("Reconciling", "Stalled");
        let (missing, key) = (Reason::SourceMissing, Reason::SourceKeyMissing);
        #[rustfmt::skip]
        let cases: [(&[Step], &[&str]); 11] = [
            (&[(0, missing, 1), (119, missing, 1), (120, missing, 1), (121, missing, 1)], &[r, r, s, s]),
            // Another object is missing: its own two minutes begin.
            (&[(0, missing, 1), (119, key, 1), (120, key, 1), (239, key, 1)], &[r, r, r, s]),
            (&[(0, missing, 1), (120, missing, 1), (121, key, 1)], &[r, s, r]),
            // An edit of the spec may belong to an apply that creates it.
            (&[(0, missing, 1), (119, missing, 2), (200, missing, 2), (239, missing, 2)], &[r, r, r, s]),
            (&[(0, missing, 1), (120, missing, 1), (121, missing, 2)], &[r, s, r]),
            // If the clock was set back, the time is neither shortened nor prolonged by more than that.
            (&[(1000, missing, 1), (0, missing, 1), (120, missing, 1)], &[r, r, s]),
            // The same sync may remove the older credential, or raise the quota.
            (&[(0, Reason::TargetClaimed, 1), (119, Reason::TargetClaimed, 1), (120, Reason::TargetClaimed, 1)], &[r, r, s]),
            (&[(0, Reason::TargetQuotaExceeded, 1), (120, Reason::TargetQuotaExceeded, 1)], &[r, s]),
            // The same apply may create the ConfigMap of caBundleRef.
            (&[(0, Reason::CaBundleInvalid, 1), (119, Reason::CaBundleInvalid, 1), (120, Reason::CaBundleInvalid, 1)], &[r, r, s]),
            (&[(0, Reason::SecretNotOwned, 1)], &[s]),
            (&[(0, Reason::InvalidSpec, 1), (1, missing, 1)], &[s, r]),
        ];
        for (steps, expected) in cases {
            assert_eq!(story(steps), expected, "{steps:?}");
        }
    }

    #[test]
    fn a_renewal_that_failed_for_long_before_the_token_expired_is_no_first_sight() {
        let missing = known(Reason::SourceMissing);
        let failing = |reason: Reason| {
            at_time(&[], 1, -600).condition(ConditionType::RenewalFailing, true, reason, "x")
        };
        let same = [failing(Reason::SourceMissing)];
        let (now, _) = progress(at_time(&same, 1, 0), fault(&missing));
        assert!(ConditionType::Stalled.is(&now));
        let other = [failing(Reason::IssuerTimeout)];
        let (now, until) = progress(at_time(&other, 1, 0), fault(&missing));
        assert!(ConditionType::Reconciling.is(&now));
        assert_eq!(until, Some(at(120)));
    }
}
