//! Executes one step of a plan.

use crate::Reason;
use jiff::Timestamp;

use super::{compare::compare, mint::mint, verify::verify};
use crate::controller::{
    api::{calls::ApiErrorKind, existence::is_gone},
    reconciliation::Reconciliation,
    target::{
        empty::empty,
        metadata::{render, take_over},
        publish::{publish, repeating},
        reformat::reformat,
        rejected::{unconfirmed, waiting_for_sync},
    },
};
use crate::{
    credential::Credential,
    plan::{Existence, Hold, Observed, Outcome, Plan},
    publish::ownership::{ForeignWrite, Target, UNNAMED},
};

/// Executes `plan`. The memory is changed to the state that will be stored.
pub(in crate::controller) async fn execute(
    reconciliation: &mut Reconciliation<'_>,
    plan: Plan,
) -> Outcome {
    if let Some(outcome) = without_credential(reconciliation, &plan).await {
        return outcome;
    }
    let now = reconciliation.context.clock.now();
    let memory = &mut reconciliation.observed.memory;
    match plan {
        Plan::Release => Outcome::Released,
        Plan::Keep { .. } => {
            // The state is correct, even if a call failed: a write may have succeeded although its response was lost.
            memory.failure = None;
            memory.paced_until.take_if(|at| *at <= now);
            memory.out_of_sync = None;
            reconciliation.drop_held();
            Outcome::Steady
        }
        Plan::Refuse { reason, message } => {
            // A failure with the same reason is obsolete as soon as the watches show that the reason no longer exists.
            memory.failure.take_if(|f| f.is(reason));
            Outcome::Refused { reason, message }
        }
        Plan::Hold { why, until } => {
            let Reconciliation {
                credential,
                observed,
                ..
            } = reconciliation;
            held_up(credential, observed, why, until)
        }
        Plan::Render => render(reconciliation).await,
        Plan::TakeOver => take_over(reconciliation).await,
        Plan::Reformat => reformat(reconciliation).await,
        Plan::Empty => empty(reconciliation).await,
        Plan::Compare => Box::pin(compare(reconciliation)).await,
        Plan::Verify => Box::pin(verify(reconciliation)).await,
        Plan::Mint(why) => mint(reconciliation, why, None).await,
        Plan::Publish(why) => match reconciliation.held() {
            Some(held) => publish(reconciliation, &held, why).await,
            None => Outcome::Queued { until: now },
        },
    }
}

/// The outcome if the credential is deleted, or if this must be known and is not.
async fn without_credential(
    reconciliation: &mut Reconciliation<'_>,
    plan: &Plan,
) -> Option<Outcome> {
    let (context, key) = (reconciliation.context, &reconciliation.key);
    let mut known = Existence {
        published: context.has_published(key),
        watch_failed: context.health.has_failed("credentials", &key.namespace),
    };
    if !plan.needs_existence(known) {
        return None;
    }
    match is_gone(context, &reconciliation.credential.uid, key).await {
        Ok(false) => None,
        Ok(true) => Some(Outcome::Released),
        Err(error_kind) => {
            // A role that no longer allows the list must not end the renewals: the API server answers, and the write can succeed.
            known.watch_failed = false;
            let (now, credential) = (context.clock.now(), reconciliation.credential);
            let needed = if error_kind == ApiErrorKind::Unavailable {
                !plan.is_urgent(credential, &reconciliation.observed, now)
            } else {
                plan.needs_existence(known)
            };
            needed.then(|| unconfirmed(reconciliation, error_kind))
        }
    }
}

/// The outcome of a plan that waits, with the message for the user.
fn held_up(credential: &Credential, observed: &Observed, why: Hold, until: Timestamp) -> Outcome {
    let secret = &credential.target.name;
    let (reason, message) = match why {
        Hold::Suspended => return Outcome::Suspended,
        Hold::Backoff => return Outcome::Backoff,
        // `Paced` and `CasUnread` last for seconds only: a report and its withdrawal would cost more writes than they are worth. For a
        // credential that another operator renews, the status is already reported (`left`).
        Hold::Paced | Hold::AnotherOperator | Hold::CasUnread => return Outcome::Queued { until },
        Hold::OutOfSync => return waiting_for_sync(credential, observed, until),
        Hold::Repeating => return repeating(until),
        Hold::TargetDeleting => (
            Reason::TargetDeleting,
            format!(
                "Secret {secret} is being deleted; apicred creates it again once it is deleted (if this takes long, check its finalizers)"
            ),
        ),
        Hold::OwnerGone => (
            Reason::WaitingForGarbageCollector,
            format!(
                "Secret {secret} belongs to an earlier ApiCredential of this name, which is gone; apicred waits until the garbage collector has deleted the Secret, and otherwise takes it over"
            ),
        ),
        Hold::TooShort => (
            Reason::LifetimeTooShort,
            "tokens of this issuer expire after a few seconds, and apicred requests one every 10 s at most; configure a longer lifetime at the issuer"
                .to_owned(),
        ),
        Hold::Repaired => (Reason::TargetContested, contested(credential, observed)),
    };
    Outcome::Waiting {
        reason,
        message,
        until,
    }
}

/// Who reverts the writes of apicred, according to the Secret.
fn contested(credential: &Credential, observed: &Observed) -> String {
    let name = &credential.target.name;
    match &observed.target {
        Target::Ours { published, .. } => match &published.foreign_write {
            ForeignWrite::Edited(manager) | ForeignWrite::Claimed(manager)
                if manager != UNNAMED =>
            {
                format!(
                    "field manager {manager} changes the token in Secret {name} repeatedly; exclude the Secret from that tool"
                )
            }
            _ => format!(
                "another writer changes the token in Secret {name} repeatedly; find it in the managedFields of the Secret or the audit log, and stop it"
            ),
        },
        _ => format!(
            "Secret {name} is deleted repeatedly; find the client in the audit log (a clean-up job, a GitOps tool that prunes?), and stop it"
        ),
    }
}
