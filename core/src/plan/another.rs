//! Two operators that reconcile one credential. Each has its own digest key. So each sees the other's tokens as tokens of another client
//! secret, and both would request a token for each change.
//!
//! The operator that wrote the token continues to renew it. The other one writes only the condition, and takes over when the minimum remaining
//! lifetime is at risk.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{Observed, View, conditions::Conditions, notices::notices, schedule, schedule::later};
use crate::{
    ConditionType, Reason, api::ApiCredentialStatus, credential::Credential, plan::Outcome,
};

/// How long the operator that renews retains the condition that the other one has set. If the other one still runs, it sets the condition
/// again.
const RETAINED_FOR: SignedDuration = SignedDuration::from_hours(1);

/// How long this operator waits for the status of the other operator, to which it adds its report, and for that report to appear.
const STATUS_AWAITED: Duration = Duration::from_secs(5);

/// Until when this operator leaves the renewal to another operator; `None` if no other one renews.
pub(super) fn renews(
    credential: &Credential,
    observed: &Observed,
    now: Timestamp,
) -> Option<Timestamp> {
    let record = observed.record().filter(|_| observed.another_operator)?;
    let promise = observed.promise(credential);
    let risk = schedule::risk_at(record.issued_at, record.expires_at, promise);
    (risk > now).then_some(risk)
}

/// What is reported for a credential whose token another operator renews: the status as that one wrote it, and the condition. The other
/// operator would overwrite any other status, and both would repeat this without end.
pub fn left_to_another(
    credential: &Credential,
    known: Option<&ApiCredentialStatus>,
    until: Timestamp,
    now: Timestamp,
) -> View {
    let old = known.cloned().unwrap_or_default();
    let mut status = old.clone();
    let say = Conditions {
        previous: &old.conditions,
        generation: credential.generation,
        now,
    };
    let failing = ConditionType::RenewalFailing;
    let current = old.observed_generation == Some(credential.generation);
    let is_reported = failing.find(&old.conditions).is_some();
    if current && !is_reported {
        let message = format!(
            "another operator of this cluster renews the token of Secret {} as well; let one of them watch this namespace (docs/install.md#limit-the-operator-to-some-namespaces), or restart the remaining one after the other one was removed",
            credential.target.name
        );
        let reported = say.condition(failing, true, Reason::AnotherOperator, &message);
        status.conditions.push(reported);
    }
    let wait = Duration::try_from(until.duration_since(now)).unwrap_or_default();
    // Both requested the first token, and the other one has not written its status yet; or it is writing one now without the condition.
    let most = if current && is_reported {
        Duration::from_hours(1)
    } else {
        STATUS_AWAITED
    };
    View {
        notices: notices(&old, &status, &Outcome::Steady),
        status,
        requeue: wait.clamp(Duration::from_secs(1), most),
    }
}

/// The condition that the other operator has set, and until when it is retained.
pub(super) fn retained(old: &[Condition], now: Timestamp) -> Option<(Condition, Timestamp)> {
    let reported = ConditionType::RenewalFailing.find(old)?;
    if Reason::parse(&reported.reason) != Some(Reason::AnotherOperator) {
        return None;
    }
    let until = later(reported.last_transition_time.0, RETAINED_FOR);
    // A time in the future was recorded before the clock was set back.
    (until > now && reported.last_transition_time.0 <= super::schedule::later_than(now))
        .then(|| (reported.clone(), until))
}
