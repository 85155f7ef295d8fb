//! The status that a user reads: conditions and times. Also the events, and the time of the next reconcile.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{
    Observed, Outcome, RECHECK, another,
    attempt::{last_attempt, remembered},
    conditions::{Conditions, time},
    expiry, fingerprint,
    notices::{Notice, notices},
    over,
    problem::{FIRST, Problem, problem},
    progress::progress,
    schedule, sources,
    warnings::{foreseen, warnings},
};
use crate::{
    ConditionType, Reason,
    api::{ApiCredentialStatus, ClientStatus, RefusedRef, SourceRef, UsedRef},
    credential::Credential,
    publish::Record,
};

/// Everything that is reported about one reconcile of a credential.
#[derive(Clone, Debug)]
pub struct View {
    /// The status to write, if it differs.
    pub status: ApiCredentialStatus,
    /// The events to send.
    pub notices: Vec<Notice>,
    /// The latest time of the next reconcile.
    pub requeue: Duration,
}

/// The message of `RenewalFailing` if `Ready` has the same cause. `Stalled` repeats the message of `Ready`, because tools that follow kstatus
/// show that one.
pub(super) const SEE_READY: &str = "the token has expired; see the condition Ready";

/// The findings of one reconcile of a credential. Status is computed only from them.
#[derive(Clone, Copy)]
pub(super) struct Findings<'a> {
    pub(super) credential: &'a Credential,
    pub(super) observed: &'a Observed,
    pub(super) outcome: &'a Outcome,
    /// The record of the token, if the Secret contains a valid one for this spec.
    pub(super) valid: Option<&'a Record>,
    /// Why there is no token, or why its renewal fails.
    pub(super) problem: Option<&'a Problem>,
    /// The client's secret or certificate that expires first.
    pub(super) ending: Option<&'a expiry::Ending>,
    pub(super) now: Timestamp,
}

/// The view of a valid credential after a step.
pub fn status(
    credential: &Credential,
    observed: &Observed,
    outcome: &Outcome,
    previous: Option<&ApiCredentialStatus>,
    now: Timestamp,
) -> View {
    let problem = problem(credential, observed, outcome, now);
    let ending = expiry::ending(credential, observed);
    let found = Findings {
        credential,
        observed,
        outcome,
        // At the end the token may have been revoked, although its removal from the Secret fails.
        valid: observed
            .valid(credential, now)
            .filter(|_| !over::is_over(credential.end, now)),
        problem: problem.as_ref(),
        ending: ending.as_ref(),
        now,
    };
    let old = previous.cloned().unwrap_or_default();
    let say = Conditions {
        previous: &old.conditions,
        generation: credential.generation,
        now,
    };
    let mut status = found.facts(&old);
    let (progress, turns) = found.progress(say).unzip();
    let (renewal, reported_until) = found.renewal(say).unzip();
    status.conditions.push(found.ready(say));
    status.conditions.extend(progress);
    status.conditions.extend(renewal);
    status.conditions.extend(warnings(&found, say));
    let wait = requeue(&found);
    let wait = sooner(wait, turns.flatten(), now);
    let requeue = sooner(wait, reported_until.flatten(), now);
    let requeue = sooner(requeue, observed.notifies_again(credential, now), now);
    let notices = notices(&old, &status, outcome);
    View {
        status,
        notices,
        requeue,
    }
}

impl Findings<'_> {
    /// Status without its conditions.
    fn facts(&self, old: &ApiCredentialStatus) -> ApiCredentialStatus {
        let failure = self.observed.memory.failure.as_ref();
        let record = self.observed.record();
        let mut status = ApiCredentialStatus {
            observed_generation: Some(self.credential.generation),
            last_attempt: last_attempt(self.outcome, failure)
                .or_else(|| remembered(old, record))
                .map(Box::new),
            ..ApiCredentialStatus::default()
        };
        if let Some(record) = record {
            token_facts(&mut status, record);
        }
        if let (Some(failure), true) = (failure, self.problem.is_some()) {
            status.consecutive_failures = i32::try_from(failure.failures).ok();
            status.next_attempt =
                (failure.next_attempt != Timestamp::MAX).then(|| time(failure.next_attempt));
        }
        let client = ClientStatus {
            expires_at: self.ending.and_then(expiry::Ending::of_client).map(time),
            refused: refused(self.credential, self.observed),
            observed_generation: self.credential.client_generation,
            ..status.client.take().map(|c| *c).unwrap_or_default()
        };
        status.client = (client != ClientStatus::default()).then(|| Box::new(client));
        status
    }

    fn ready(&self, say: Conditions<'_>) -> Condition {
        let ready = ConditionType::Ready;
        match (self.valid, self.problem) {
            (Some(record), _) => {
                let message = published_message(self.credential, record);
                say.condition(ready, true, Reason::TokenPublished, &message)
            }
            // While the first token is requested, the status is unknown.
            (None, None) => say.unknown(ready, FIRST.reason, FIRST.message),
            (None, Some(t))
                if t.reason.known() == Some(Reason::WaitingForIssuer) && self.is_first() =>
            {
                say.unknown(ready, &t.reason, &t.message)
            }
            (None, Some(t)) => say.condition(ready, false, &t.reason, &t.message),
        }
    }

    /// `Reconciling` or `Stalled` while there is no valid token, and when time alone changes it.
    fn progress(&self, say: Conditions<'_>) -> Option<(Condition, Option<Timestamp>)> {
        let fault = self.problem.map_or(FIRST, Problem::fault);
        self.valid.is_none().then(|| progress(say, fault))
    }

    /// `RenewalFailing`, and when time alone ends it.
    fn renewal(&self, say: Conditions<'_>) -> Option<(Condition, Option<Timestamp>)> {
        if let Some(failing) = self.failing(say) {
            return Some((failing, None));
        }
        self.valid?;
        let (condition, until) = another::retained(say.previous, self.now)?;
        Some((condition, Some(until)))
    }

    fn failing(&self, say: Conditions<'_>) -> Option<Condition> {
        let failing = ConditionType::RenewalFailing;
        if over::is_over(self.credential.end, self.now) {
            return None;
        }
        match self.problem {
            Some(t) if self.valid.is_some() => {
                Some(say.condition(failing, true, &t.reason, &t.message))
            }
            // Without a token `Ready` has the same message, which is not repeated.
            Some(t) if !self.credential.suspend && !self.is_first() => {
                Some(say.condition(failing, true, &t.reason, SEE_READY))
            }
            Some(_) => None,
            None => {
                let (reason, message) = foreseen(self)?;
                Some(say.condition(failing, true, reason, &message))
            }
        }
    }

    /// Whether no token of this spec has been published yet.
    fn is_first(&self) -> bool {
        let requested = fingerprint::request(self.credential);
        let record = self.observed.record();
        record.is_none_or(|r| r.request != requested)
    }
}

/// The wait, shortened if time alone changes the status earlier.
pub(super) fn sooner(wait: Duration, turn: Option<Timestamp>, now: Timestamp) -> Duration {
    let left = turn.map(|at| Duration::try_from(at.duration_since(now)).unwrap_or_default());
    left.map_or(wait, |left| wait.min(left.max(Duration::from_millis(100))))
}

pub(super) fn token_facts(status: &mut ApiCredentialStatus, record: &Record) {
    status.issued_at = Some(time(record.issued_at));
    // A static key expires when a user revokes it, which is not reported. It is not renewed either: it is published again when its Secret
    // changes.
    if !record.is_static() {
        status.expires_at = Some(time(record.expires_at));
        status.renew_at = Some(time(record.renew_at));
        status.renew_reason = Some(record.renew_reason.clone());
    }
    status.client = record.sources.used.as_ref().map(|used| {
        Box::new(ClientStatus {
            secret_ref: Some(UsedRef {
                name: used.name.clone(),
                key: used.key.clone(),
            }),
            ..ClientStatus::default()
        })
    });
    status.token_id.clone_from(&record.token_id);
    status
        .last_handled_renew_request
        .clone_from(&record.renew_handled);
}

/// Maximum number of entries in the list of refused ones.
const MOST_REFUSED: usize = 8;

/// The refused sources whose version still exists, and entries of a list whose Secret does not exist.
fn refused(credential: &Credential, observed: &Observed) -> Vec<RefusedRef> {
    let several = observed.sources.len() > 1;
    let client = sources::unusable(credential, observed, &observed.sources)
        .filter(|u| several || u.refused.is_some());
    let grant = sources::unusable(credential, observed, &observed.grant_sources)
        .filter(|u| u.refused.is_some());
    let missing = credential.authentication.lacking().secret;
    let entry = |unusable: sources::Unusable<'_>| {
        let sources::Unusable { source, refused } = unusable;
        RefusedRef {
            reference: SourceRef {
                name: source.reference.name.clone(),
                key: source.reference.key.clone(),
                resource_version: source.present.as_ref().map(|(_, version)| version.clone()),
            },
            reason: refused.map_or_else(|| missing.to_string(), |r| r.reason.to_string()),
            at: refused.map(|r| time(r.at)),
        }
    };
    client.chain(grant).take(MOST_REFUSED).map(entry).collect()
}

pub(super) fn valid_until(record: &Record) -> String {
    if record.is_static() {
        return "the Secret contains the static key".to_owned();
    }
    format!("the token is valid until {}", time(record.expires_at).0)
}

fn published_message(credential: &Credential, record: &Record) -> String {
    if record.is_static() {
        return format!("Secret {} contains the static key", credential.target.name);
    }
    format!(
        "Secret {} contains a token that is valid until {}",
        credential.target.name,
        time(record.expires_at).0
    )
}

pub(super) fn duration_text(span: SignedDuration) -> String {
    let s = span.as_secs();
    match (s / 60, s % 60) {
        (0, s) => format!("{s} s"),
        (m, 0) => format!("{m} min"),
        (m, s) => format!("{m} min {s} s"),
    }
}

/// The latest time of the next reconcile, as far as the plan knows it.
fn requeue(found: &Findings<'_>) -> Duration {
    let Findings {
        credential,
        observed,
        valid,
        ending,
        now,
        ..
    } = *found;
    let failure = observed.memory.failure.as_ref();
    let promise = observed.promise(credential);
    let soon = |at: Timestamp| {
        Duration::try_from(at.duration_since(now))
            .unwrap_or_default()
            .max(Duration::from_millis(100))
    };
    let work = match found.outcome {
        Outcome::Steady | Outcome::Minted(_) => {
            valid.map_or(Duration::from_secs(10), |r| schedule::wait(now, r.renew_at))
        }
        Outcome::Waiting { until, .. } | Outcome::Queued { until } => soon(*until),
        Outcome::Failed | Outcome::Backoff => {
            failure.map_or(Duration::from_secs(10), |f| soon(f.next_attempt))
        }
        Outcome::Refused { .. } | Outcome::Suspended => {
            Duration::try_from(RECHECK).unwrap_or_default()
        }
        Outcome::Released => Duration::from_hours(1),
    };
    // Reconcile also when the content of status becomes outdated.
    let turning = valid.into_iter().flat_map(|r| {
        [
            schedule::risk_at(r.issued_at, r.expires_at, promise),
            r.expires_at,
        ]
    });
    let turning = turning
        .chain(ending.into_iter().flat_map(|e| [e.warn_at, e.at]))
        .chain(credential.end);
    turning
        .filter(|at| *at > now)
        .map(soon)
        .fold(work, Duration::min)
        .min(Duration::from_hours(1))
}
