//! The decision. [`plan()`] takes a valid credential and what was observed, and returns the next step. [`status()`] turns the result of that
//! step into the status that a user reads. Never does the step.

mod another;
mod attempt;
pub mod conditions;
mod expect;
mod expiry;
pub mod finalizer;
pub mod fingerprint;
pub mod journal;
mod notices;
pub mod notify;
mod observed;
mod outcome;
pub mod over;
mod progress;
mod recall;
pub mod schedule;
mod sources;
#[cfg(any(test, feature = "fixtures"))]
#[doc(hidden)]
pub mod states;
mod status;
mod step;
mod stored_condition;
#[cfg(test)]
mod tests;
mod trouble;
mod unusable;
mod warnings;

pub use another::left_to_another;
pub use notices::{Notice, Severity};
pub use observed::{
    Cause, Failure, Memory, Observed, OutOfSync, OwnWrites, Recalled, Repairs, Source, stamp,
};
pub use outcome::{Minted, Outcome, fail, record};
pub use sources::{Choice, candidates, untried};
pub use status::{View, status};
pub use step::{Hold, Plan, Why};
pub use unusable::{invalid, unlisted};

use crate::Reason;
use jiff::{SignedDuration, Timestamp};

use crate::{
    credential::Credential,
    oauth::Grant,
    publish::{
        Record, SourceMark, noted_type,
        ownership::{ForeignWrite, Published, Target},
        rejection::other_type,
        template,
    },
};

/// How often a credential that waits for a change is reconciled: watches report every change, and this is the fallback.
const RECHECK: SignedDuration = SignedDuration::from_mins(10);

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

/// The next step, as if each write succeeded.
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
    if let Some(refused) = target_refusal(credential, observed) {
        return refused;
    }
    if let Some(until) = another::renews(credential, observed, now) {
        let why = Hold::AnotherOperator;
        return Plan::Hold { until, why };
    }
    if observed.target == Target::Deleting {
        return Plan::Hold {
            until: schedule::later(now, SignedDuration::from_secs(5)),
            why: Hold::TargetDeleting,
        };
    }
    // No token, but its owner reference may have to go before the credential does.
    if let (true, Some(step)) = (credential.suspend, &metadata_step) {
        return step.clone();
    }
    let step = match need(credential, observed, now) {
        Need::Nothing => {
            let until = observed.record().map_or(now, |r| r.renew_at);
            return metadata_step.unwrap_or(Plan::Keep { until });
        }
        Need::Look => Plan::Verify,
        Need::Token(why) if observed.held => Plan::Publish(why),
        Need::Token(why) => Plan::Mint(why),
    };
    obtain(credential, observed, now, step, metadata_step)
}

/// What becomes of the Secret of an earlier credential of this name. It gets its new owner even if no token can be had,
/// or is not wanted for now: no other program would ever delete it.
fn inherited(credential: &Credential, observed: &Observed, now: Timestamp) -> Option<Plan> {
    let Target::OwnerGone { left, .. } = &observed.target else {
        return None;
    };
    if target_refusal(credential, observed).is_some() {
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
    published(&observed.target).is_some_and(|p| {
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
    published(&observed.target)
        .is_some_and(|p| template(credential).has_other_formats(&p.template_digest))
}

/// The step that requests a token, unless it may not, cannot, or must wait.
fn obtain(
    credential: &Credential,
    observed: &Observed,
    now: Timestamp,
    step: Plan,
    metadata_step: Option<Plan>,
) -> Plan {
    let asks = !matches!(step, Plan::Publish(_));
    if let (true, Some((reason, message))) = (asks, obstacle(credential, observed)) {
        return Plan::Refuse { reason, message };
    }
    let held_back = if step == Plan::Mint(Why::Due) {
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
        // What waits for a change waits whatever the clock says: a refused password is one try of a few.
        .filter(|f| f.next_attempt > now)
        .filter(|f| f.next_attempt == Timestamp::MAX || f.at <= later_than(now))
        .map(|f| (f.next_attempt, Hold::Backoff));
    let calm = match &step {
        Plan::Mint(Why::Due | Why::Expired) => observed
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
        Plan::Verify => Some(Why::SourceChanged),
        _ => None,
    };
    let paced = why
        .and_then(|why| observed.paced_until(credential, why, now))
        .map(|until| (until, Hold::Paced));
    match backoff.or(held_back).or(calm).or(paced) {
        // While the issuer is out, a label can still be put right.
        Some((until, why)) => metadata_step.unwrap_or(Plan::Hold { until, why }),
        None => step,
    }
}

/// Why the next request cannot be made, as far as the watches show: a source that is gone, a permission that was taken
/// away. Reported at once and not when the token is due.
fn obstacle(credential: &Credential, observed: &Observed) -> Option<(Reason, String)> {
    if let Err(denial) = &observed.permission {
        return Some((denial.reason(), denial.message().to_owned()));
    }
    if let Some(fault) = &observed.ca_fault {
        return Some((Reason::CaBundleInvalid, fault.clone()));
    }
    let namespace = &credential.namespace;
    let sources = &observed.sources;
    if !sources.is_empty() && sources.iter().all(|s| s.present.is_none()) {
        let names: Vec<&str> = sources.iter().map(|s| s.reference.name.as_str()).collect();
        let names = names.join(", ");
        return Some((
            credential.authentication.lacking().secret,
            format!(
                "Secret {names} with the {} does not exist in namespace {namespace}; create it",
                credential.authentication.noun()
            ),
        ));
    }
    if let Some(name) = &observed.missing_account {
        return Some((
            Reason::ServiceAccountMissing,
            format!("ServiceAccount {name} does not exist in namespace {namespace}; create it"),
        ));
    }
    let gone = observed
        .grant_sources
        .iter()
        .find(|s| s.present.is_none())?;
    let name = &gone.reference.name;
    Some(if matches!(credential.grant, Grant::RefreshToken(_)) {
        (
            Reason::SignInRequired,
            format!(
                "Secret {name} with the refresh token does not exist: nobody has signed in yet; run kubectl apicred login {} --namespace {namespace}",
                credential.name
            ),
        )
    } else {
        (
            Reason::SourceMissing,
            format!("Secret {name} does not exist in namespace {namespace}; create it"),
        )
    })
}

/// What the target forbids.
fn target_refusal(credential: &Credential, observed: &Observed) -> Option<Plan> {
    let name = &credential.target.name;
    let refuse = |reason, message| Some(Plan::Refuse { reason, message });
    // The credential whose UID is on the Secret keeps it; without a UID, the oldest credential gets it. If an older one
    // that names the Secret later replaced the owner, neither of them would renew it.
    if let (Some(senior), false) = (&observed.senior, published(&observed.target).is_some()) {
        return refuse(
            Reason::TargetClaimed,
            format!(
                "ApiCredential {senior} is older and writes Secret {name} as well; create this credential again with another target.secretName"
            ),
        );
    }
    match &observed.target {
        Target::Foreign(whose) => refuse(
            Reason::SecretNotOwned,
            format!(
                "Secret {name} exists and {whose}; create this credential again with another target.secretName, delete the Secret, or ask its owner to set the annotation {}: {}",
                crate::api::names::ADOPT_BY,
                credential.name
            ),
        ),
        Target::Ours { published, .. } => match &published.foreign_write {
            ForeignWrite::Claimed(manager) => refuse(
                Reason::TargetConflict,
                format!(
                    "field manager {manager} applies token fields of Secret {name} too; remove the Secret from its manifests"
                ),
            ),
            ForeignWrite::None | ForeignWrite::Edited(_) => {
                let wanted = credential.target.type_.as_str();
                let has = noted_type(&published.template_digest).filter(|has| *has != wanted)?;
                refuse(Reason::TargetInvalid, other_type(name, (Some(has), wanted)))
            }
        },
        Target::Absent | Target::Deleting | Target::Adoptable { .. } | Target::OwnerGone { .. } => {
            None
        }
    }
}

enum Need {
    Nothing,
    Look,
    Token(Why),
}

/// True if a token is needed, by the annotations of the Secret.
fn need(credential: &Credential, observed: &Observed, now: Timestamp) -> Need {
    let Some(published) = published(&observed.target) else {
        return Need::Token(match observed.target {
            Target::Adoptable { .. } => Why::Adopted,
            _ => Why::Absent,
        });
    };
    // It had ended, and has another end by now.
    if published.is_emptied() {
        return Need::Token(Why::SpecChanged);
    }
    let Some(record) = published
        .record
        .as_ref()
        .filter(|_| published.foreign_write == ForeignWrite::None)
    else {
        return Need::Token(Why::Edited);
    };
    if record.request != fingerprint::request(credential) {
        return Need::Token(Why::SpecChanged);
    }
    if credential.renew_requested.is_some() && credential.renew_requested != record.renew_handled {
        return Need::Token(Why::Requested);
    }
    if reformats(credential, observed) && observed.memory.unreadable {
        return Need::Token(Why::SpecChanged);
    }
    let Some(sources) = sources_of(record, observed) else {
        return Need::Token(Why::SourceChanged);
    };
    if record.expires_at <= now {
        return Need::Token(Why::Expired);
    }
    // Asked for in the future: the clock was ahead then, so the end that was noted is later than the real one.
    if record.renew_at <= now || record.issued_at > later_than(now) {
        return Need::Token(Why::Due);
    }
    // Unmoved; or gone, and then the token is still good until it is due.
    let moved = |(used, source): &(&SourceMark, &Source)| {
        let known = |m: &SourceMark| m == *used || observed.memory.verified.contains(m);
        let seen = [source.mark(), observed.memory.foreign_mark(source)];
        source.present.is_some() && !seen.iter().flatten().any(known)
    };
    if sources.iter().any(moved) || !sources::untried(credential, observed).is_empty() {
        Need::Look
    } else {
        Need::Nothing
    }
}

/// The sources that a record names, as they are now; `None` when the spec names others by now.
fn sources_of<'a>(
    record: &'a Record,
    observed: &'a Observed,
) -> Option<Vec<(&'a SourceMark, &'a Source)>> {
    let find = |mark: &'a SourceMark, among: &'a [Source]| {
        among
            .iter()
            .find(|s| mark.is(&s.reference))
            .map(|source| (mark, source))
    };
    let mut found = Vec::new();
    match &record.sources.used {
        Some(used) => found.push(find(used, &observed.sources)?),
        None if observed.sources.is_empty() => {}
        None => return None,
    }
    if record.sources.with.len() != observed.grant_sources.len() {
        return None;
    }
    for mark in &record.sources.with {
        found.push(find(mark, &observed.grant_sources)?);
    }
    Some(found)
}

/// What lies beyond this was noted by a clock that has been set back since.
pub fn later_than(now: Timestamp) -> Timestamp {
    schedule::later(now, SignedDuration::from_mins(1))
}

fn published(target: &Target) -> Option<&Published> {
    match target {
        Target::Ours { published, .. } => Some(published),
        _ => None,
    }
}

impl Observed {
    /// The record on the target Secret, if it is ours and unchanged.
    pub fn record(&self) -> Option<&Record> {
        published(&self.target)
            .filter(|p| p.foreign_write == ForeignWrite::None)?
            .record
            .as_ref()
    }

    /// The record, if its token is good now for this very request.
    pub fn valid(&self, credential: &Credential, now: Timestamp) -> Option<&Record> {
        self.record()
            .filter(|r| r.expires_at > now && r.request == fingerprint::request(credential))
    }
}
