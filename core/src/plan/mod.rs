//! The decision. [`plan()`] takes a valid credential and what was observed, and returns the next step. [`status()`] turns the result of that
//! step into the status that a user reads. This module never executes the step.

mod another;
mod attempt;
pub mod conditions;
mod expect;
mod expiry;
pub mod finalizer;
pub mod fingerprint;
pub mod journal;
mod memory;
mod need;
mod notices;
pub mod notify;
mod observed;
mod obstacle;
mod out_of_sync;
mod outcome;
pub mod over;
mod pace;
mod problem;
mod progress;
mod recall;
mod repeated;
mod same_content;
pub mod schedule;
mod sources;
mod stamp;
#[cfg(any(test, feature = "fixtures"))]
#[doc(hidden)]
pub mod states;
mod status;
mod step;
mod stored_condition;
#[cfg(test)]
mod tests;
mod unclear;
mod unusable;
mod warnings;

pub use another::left_to_another;
pub use memory::{Cause, Failure, Memory, OwnWrites, Recalled};
pub use notices::{Notice, Severity, event_instance, event_name, event_note};
pub use observed::{Observed, Source};
pub use out_of_sync::OutOfSync;
pub use outcome::{Minted, NewToken, Outcome, fail, record};
pub use pace::Repairs;
pub use repeated::{Received, repeated_until};
pub use same_content::{Comparison, Sent, SentContent};
pub use sources::{Choice, candidates, is_guess, untried};
pub use stamp::stamp;
pub use status::{View, status};
pub use step::{Existence, Hold, Plan, RenewalCause};
pub use unclear::stop_unclear;
pub use unusable::{invalid, unlisted};

use jiff::{SignedDuration, Timestamp};

use crate::{
    credential::{CaFault, Credential},
    publish::{
        ownership::{ForeignWrite, Target},
        template,
    },
};
use need::{RenewalNeed, need};
use obstacle::{obstacle, target_obstacle};
use schedule::later_than;

/// How often a credential that waits for a change is reconciled. Watches report every change; this is the fallback.
const RECHECK: SignedDuration = SignedDuration::from_mins(10);
/// How often a credential is reconciled while the CAs of its issuer are being read. The end of the read is reported; this is the fallback.
const UNREAD: SignedDuration = SignedDuration::from_secs(5);

/// Decides the next step.
pub fn plan(credential: &Credential, observed: &Observed, now: Timestamp) -> Plan {
    let step = step(credential, observed, now);
    match observed.memory.in_sync_at(&observed.target, now) {
        Some(until) if step.writes() => Plan::Hold {
            until,
            why: Hold::OutOfSync,
        },
        _ => step,
    }
}

/// The next step, if every write succeeds.
fn step(credential: &Credential, observed: &Observed, now: Timestamp) -> Plan {
    if observed.deleting {
        return Plan::Release;
    }
    if let Some(step) = inherited(credential, observed, now) {
        return step;
    }
    if let Some(step) = over::step(credential, observed, now) {
        return step;
    }
    let metadata_step = metadata_step(credential, observed);
    if credential.suspend && metadata_step.is_none() {
        return Plan::Hold {
            until: schedule::later(now, RECHECK),
            why: Hold::Suspended,
        };
    }
    if let Some(refused) = target_obstacle(credential, observed) {
        return refused;
    }
    if let Some(until) = another::renews(credential, observed, now) {
        let why = Hold::AnotherOperator;
        return Plan::Hold { until, why };
    }
    if matches!(observed.target, Target::Deleting(_)) {
        return Plan::Hold {
            until: schedule::later(now, SignedDuration::from_secs(5)),
            why: Hold::TargetDeleting,
        };
    }
    // No token is requested, but the owner reference may have to be removed before the credential is deleted.
    if let (true, Some(step)) = (credential.suspend, &metadata_step) {
        return step.clone();
    }
    let step = match need(credential, observed, now) {
        RenewalNeed::Nothing => {
            let until = observed.record().map_or(now, |r| r.renew_at);
            return metadata_step.unwrap_or(Plan::Keep { until });
        }
        RenewalNeed::Verify => Plan::Verify,
        RenewalNeed::Token(why) if observed.held => Plan::Publish(why),
        RenewalNeed::Token(why) => Plan::Mint(why),
    };
    obtain(credential, observed, now, step, metadata_step)
}

/// The step for the Secret of an earlier credential of this name. It gets its new owner even if no token can be obtained or none is wanted now,
/// because no other program would ever delete it.
fn inherited(credential: &Credential, observed: &Observed, now: Timestamp) -> Option<Plan> {
    let Target::OwnerGone { left, .. } = &observed.target else {
        return None;
    };
    if target_obstacle(credential, observed).is_some() {
        return None;
    }
    if left.is_zero() {
        return Some(Plan::TakeOver);
    }
    let left = SignedDuration::try_from(*left).unwrap_or_default();
    Some(Plan::Hold {
        until: schedule::later(now, left),
        why: if credential.suspend {
            Hold::Suspended
        } else {
            Hold::OwnerGone
        },
    })
}

/// True if the metadata of the Secret differs from the spec.
fn drifted(credential: &Credential, observed: &Observed) -> bool {
    observed.target.published().is_some_and(|p| {
        p.record.is_some()
            && p.foreign_write == ForeignWrite::None
            && (!p.template_intact || p.template_digest != template(credential).digest())
    })
}

/// The step that corrects the metadata, if it is wrong, and the data, if the formats differ. A token that
/// cannot be read back is not written again; the next one has the new formats and metadata.
fn metadata_step(credential: &Credential, observed: &Observed) -> Option<Plan> {
    if !drifted(credential, observed) {
        return None;
    }
    match reformats(credential, observed) {
        true if observed.memory.unreadable => None,
        true => Some(Plan::Reformat),
        false => Some(Plan::Render),
    }
}

fn reformats(credential: &Credential, observed: &Observed) -> bool {
    observed
        .target
        .published()
        .is_some_and(|p| template(credential).has_other_formats(&p.template_digest))
}

/// The step that requests a token, unless it must not, cannot, or must wait.
fn obtain(
    credential: &Credential,
    observed: &Observed,
    now: Timestamp,
    step: Plan,
    metadata_step: Option<Plan>,
) -> Plan {
    let requests_token = !matches!(step, Plan::Publish(_));
    if let (true, Some((reason, message))) = (requests_token, obstacle(credential, observed)) {
        return Plan::Refuse { reason, message };
    }
    if requests_token && matches!(observed.ca_fault, Some(CaFault::Unread(_))) {
        let (until, why) = (schedule::later(now, UNREAD), Hold::CasUnread);
        return metadata_step.unwrap_or(Plan::Hold { until, why });
    }
    if requests_token && !observed.comparisons(credential).is_empty() {
        return Plan::Compare;
    }
    let held_back = if step == Plan::Mint(RenewalCause::Due) {
        observed
            .memory
            .not_before
            .filter(|t| *t > now)
            .map(|until| (until, Hold::Repeating))
    } else {
        None
    };
    let backoff = observed
        .failure(credential)
        // A failure that waits for a change waits regardless of the clock: only a few attempts with a refused password are possible.
        .filter(|f| f.next_attempt > now)
        .filter(|f| f.next_attempt == Timestamp::MAX || f.at <= later_than(now))
        .map(|f| (f.next_attempt, Hold::Backoff));
    let calm = match &step {
        Plan::Mint(RenewalCause::Due | RenewalCause::Expired) => observed
            .record()
            .map(|r| schedule::later(r.issued_at, schedule::SHORTEST))
            .filter(|t| *t > now && *t <= schedule::later(now, schedule::SHORTEST))
            .map(|t| (t, Hold::TooShort)),
        Plan::Mint(why) => observed
            .memory
            .calm_until(*why)
            .filter(|t| *t > now)
            .map(|t| (t, Hold::Repaired)),
        _ => None,
    };
    let why = match &step {
        Plan::Mint(why) => Some(*why),
        Plan::Verify => Some(RenewalCause::SourceChanged),
        _ => None,
    };
    let paced = why
        .and_then(|why| observed.paced_until(credential, why, now))
        .map(|until| (until, Hold::Paced));
    match backoff.or(held_back).or(calm).or(paced) {
        // While the issuer is unavailable, a label can still be corrected.
        Some((until, why)) => metadata_step.unwrap_or(Plan::Hold { until, why }),
        None => step,
    }
}
