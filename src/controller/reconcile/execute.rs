//! Carries out one step of a plan.

use crate::Reason;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::controller::{
    api::{calls::Trouble, existence::is_gone},
    context::Context,
    failure::failed,
    limiter::issuers::Admission,
    state::Held,
    target::{
        empty::empty,
        metadata::{render, take_over},
        publish::{publish, repeating, waiting_for_sync, write_trouble},
        reformat::reformat,
    },
    token::{
        acquire::{self},
        exchange::Acquired,
        material::{self, Read},
    },
};
use crate::{
    credential::{Credential, Key, binding::IssuedBy},
    limits::queue::Urgency,
    oauth::Class,
    plan::{Hold, Observed, Outcome, Plan, Source, Why, fingerprint, schedule, untried},
    publish::{
        RefusedSource, SourceMark,
        ownership::{ForeignWrite, Target, UNNAMED},
    },
    whole_second,
};

/// Standing in a line is told after this: to say it and take it back would be two writes more for each of thousands, and
/// hold up those that bring tokens. In a minute a line of 7,200 is served at the rate of an issuer without limits.
pub(in crate::controller) const PATIENCE: SignedDuration = SignedDuration::from_mins(1);

/// Carries out `plan`. `observed.memory` is changed as it is to be remembered.
pub(in crate::controller) async fn execute(
    context: &Arc<Context>,
    credential: &Credential,
    key: &Key,
    observed: &mut Observed,
    plan: Plan,
) -> Outcome {
    let now = context.clock.now();
    match plan {
        Plan::Release => Outcome::Released,
        Plan::Keep { .. } => {
            // All is well, whatever went wrong on the way: a write may have landed although its answer was lost.
            observed.memory.failure = None;
            observed.memory.paced_until.take_if(|at| *at <= now);
            observed.memory.out_of_sync = None;
            context.with_state(key, &credential.uid, |s| s.held = None);
            Outcome::Steady
        }
        Plan::Refuse { reason, message } => {
            // A failure for the same reason is out of date as soon as the watches show that the reason has gone.
            observed.memory.failure.take_if(|f| f.is(reason));
            Outcome::Refused { reason, message }
        }
        Plan::Hold {
            why: Hold::Suspended,
            ..
        } => Outcome::Suspended,
        Plan::Hold {
            why: Hold::Backoff, ..
        } => Outcome::Backoff,
        // Paced takes seconds: to report it and take that back would cost more writes than it is worth. What another operator
        // renews has been reported (`left`).
        Plan::Hold {
            why: Hold::Paced | Hold::AnotherOperator,
            until,
        } => Outcome::Queued { until },
        Plan::Hold {
            why: Hold::TargetDeleting,
            until,
        } => Outcome::Waiting {
            reason: Reason::TargetDeleting,
            message: format!(
                "Secret {} is being deleted; apicred creates it again once it is gone (does a finalizer hold it?)",
                credential.target.name
            ),
            until,
        },
        Plan::Hold {
            why: Hold::OwnerGone,
            until,
        } => Outcome::Waiting {
            reason: Reason::WaitingForGarbageCollector,
            message: format!(
                "Secret {} belongs to an earlier ApiCredential of this name, which is gone; apicred waits until the garbage collector has deleted the Secret, and otherwise takes it over",
                credential.target.name
            ),
            until,
        },
        Plan::Hold {
            why: Hold::TooShort,
            until,
        } => Outcome::Waiting {
            reason: Reason::LifetimeTooShort,
            message: "tokens of this issuer expire after a few seconds, and apicred requests one every 10 s at most; configure a longer lifetime at the issuer"
                .to_owned(),
            until,
        },
        Plan::Hold {
            why: Hold::Repaired,
            until,
        } => Outcome::Waiting {
            reason: Reason::TargetContested,
            message: contested(credential, observed),
            until,
        },
        Plan::Hold {
            why: Hold::OutOfSync,
            until,
        } => waiting_for_sync(credential, observed, until),
        Plan::Hold {
            why: Hold::Repeating,
            until,
        } => repeating(until),
        Plan::Render => render(context, credential, key, observed).await,
        Plan::TakeOver => take_over(context, credential, key, observed).await,
        Plan::Reformat => reformat(context, credential, key, observed).await,
        Plan::Empty => empty(context, credential, key, observed).await,
        Plan::Verify => Box::pin(verify(context, credential, key, observed)).await,
        Plan::Mint(why) => mint(context, credential, key, observed, why, None).await,
        Plan::Publish(why) => {
            let held = context.with_state(key, &credential.uid, |s| s.held.clone());
            match held {
                Some(held) => publish(context, credential, key, observed, &held, why).await,
                None => Outcome::Queued { until: now },
            }
        }
    }
}

/// Who undoes what apicred writes, as far as the Secret says.
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

/// Reads a source that changed: a label on it is no reason for a token, another content is.
async fn verify(
    context: &Arc<Context>,
    credential: &Credential,
    key: &Key,
    observed: &mut Observed,
) -> Outcome {
    let Some(record) = observed.record().cloned() else {
        return again(context);
    };
    let used = record.sources.used.as_ref();
    let used = used.and_then(|used| observed.sources.iter().find(|s| used.is(&s.reference)));
    let changed = |mark: Option<SourceMark>| {
        mark.is_some_and(|m| {
            let known = record.sources.used.iter().chain(&record.sources.with);
            !observed.memory.verified.contains(&m) && !known.into_iter().any(|k| *k == m)
        })
    };
    let moved = used.is_some_and(|s| changed(s.mark()))
        || observed.grant_sources.iter().any(|s| changed(s.mark()));
    // One at a time: the next plan finds the next one.
    let untried = (!moved).then(|| {
        untried(credential, observed)
            .first()
            .map(|s| Source::clone(s))
    });
    let (source, new) = match untried.flatten() {
        Some(source) => (Some(source), true),
        None => (used.cloned(), false),
    };
    // Noted at the versions that the watch has shown: what was read may be newer, and is read again once it shows that.
    let shown = source.as_ref().and_then(Source::mark);
    let with: Vec<SourceMark> = observed
        .grant_sources
        .iter()
        .filter_map(Source::mark)
        .collect();
    match material::read(context, credential, source.as_ref()).await {
        // A rotation has replaced the value that got the token: the next one is requested when it is due.
        Ok(read)
            if record.fingerprint == read.fingerprint
                || read.previous.as_ref() == Some(&record.fingerprint) =>
        {
            for mark in shown.into_iter().chain(with) {
                let other = |v: &SourceMark| (&v.name, &v.key) != (&mark.name, &mark.key);
                observed.memory.verified.retain(other);
                observed.memory.verified.push(mark);
            }
            observed.memory.failure = None;
            // Labels may have changed in the same edit: look again with this out of the way.
            again(context)
        }
        Ok(read) => {
            // It was asked for already and could not be written: the next try costs the issuer nothing.
            let held = context.with_state(key, &credential.uid, |s| s.held.clone());
            if let Some(held) = held.filter(|h| h.fingerprint == read.fingerprint) {
                let why = Why::SourceChanged;
                return publish(context, credential, key, observed, &held, why).await;
            }
            let same = |r: &&RefusedSource| r.fingerprint.as_ref() == Some(&read.fingerprint);
            let known = observed.memory.refused.iter().find(same).cloned();
            if let (true, Some(known), Some(mark)) = (new, known, shown) {
                // A label on a refused Secret makes it no better.
                observed.memory.refuse(RefusedSource { mark, ..known });
                return again(context);
            }
            let why = Why::SourceChanged;
            mint(context, credential, key, observed, why, Some(read)).await
        }
        // The secret in use is as good as before.
        Err(refusal) if new && refusal.class == Class::Invalid => {
            if let Some(mark) = shown {
                let now = context.clock.now();
                observed.memory.refuse(RefusedSource {
                    mark,
                    asked: fingerprint::request(credential),
                    since: now,
                    at: now,
                    reason: refusal.reason.into(),
                    by_issuer: false,
                    not_before: None,
                    fingerprint: None,
                });
            }
            again(context)
        }
        Err(refusal) => failed(context, credential, observed, refusal),
    }
}

/// Something was learnt: the next plan decides with it.
fn again(context: &Context) -> Outcome {
    Outcome::Queued {
        until: context.clock.now(),
    }
}

async fn mint(
    context: &Arc<Context>,
    credential: &Credential,
    key: &Key,
    observed: &mut Observed,
    why: Why,
    first: Option<Read>,
) -> Outcome {
    if why == Why::Absent && context.has_published(key) {
        match was_deleted(context, credential, key).await {
            Ok(false) => {}
            Ok(true) => return Outcome::Released,
            Err(trouble) => return write_trouble(context, credential, observed, trouble),
        }
    }
    let now = context.clock.now();
    let valid = observed.valid(credential, now);
    let before = valid.map_or(SignedDuration::ZERO, |r| {
        let life = r.expires_at.duration_since(r.issued_at);
        observed.promise(credential).before(life)
    });
    let failures = observed.memory.failure.as_ref().map_or(0, |f| f.failures);
    let urgency = Urgency::new(valid.map(|r| r.expires_at), before, failures, now);
    // What is due anyway does not count.
    let requested = why == Why::Requested && valid.is_some_and(|r| r.renew_at > now);
    let admission = context.limiter.enter(credential, key, urgency, requested);
    let permit = match admission {
        Admission::Go(permit) => {
            observed.memory.queued_since = None;
            permit
        }
        // Beside the trigger that will come: to say so if it takes long.
        Admission::Wait => {
            observed.memory.queued_since.get_or_insert(now);
            return Outcome::Queued {
                until: schedule::later(now, PATIENCE),
            };
        }
        Admission::Paused(until) => {
            observed.memory.queued_since = None;
            return Outcome::Waiting {
                reason: Reason::IssuerPaused,
                message: format!(
                    "{} is rate limiting; apicred requests again after {}",
                    credential.issuer.id,
                    // To the second: one pause is one message.
                    whole_second(until)
                ),
                until: spread(until, credential),
            };
        }
    };
    observed.attempted(credential, why, now);
    let mut refused = Vec::new();
    let acquired = Box::pin(acquire::acquire(
        context,
        credential,
        key,
        observed,
        first,
        permit,
        &mut refused,
    ))
    .await;
    for refused in refused {
        observed.memory.refuse(refused);
    }
    match acquired {
        Ok(Acquired {
            token,
            mut sources,
            fingerprint,
            certificate_validity,
            issuer,
            spent,
        }) => {
            let request = fingerprint::request(credential);
            if let Some(used) = &sources.used {
                let same = |r: &RefusedSource| r.mark.name == used.name && r.mark.key == used.key;
                observed.memory.refused.retain(|r| !same(r));
            }
            // Also if nothing is written: what was tried is not tried again at once.
            let used = sources.used.as_ref();
            sources.refused =
                (observed.memory).standing_refusals(&observed.sources, used, &request);
            let held = Held {
                token,
                sources,
                fingerprint,
                certificate_validity,
                issued: IssuedBy { request, issuer },
                renew_requested: credential.renew_requested.clone(),
                spent,
            };
            // A token that cannot be written is kept, so that the next try costs the issuer nothing.
            context.with_state(key, &credential.uid, |s| s.held = Some(held.clone()));
            observed.held = true;
            publish(context, credential, key, observed, &held, why).await
        }
        Err(refusal) => failed(context, credential, observed, refusal),
    }
}

/// A Secret that had a token and is gone: did somebody delete it, or did the garbage collector, because the credential
/// is gone and its watch does not say so yet? Then each new Secret would be collected, and cost a token. Asked of the
/// server itself, and only in this case.
async fn was_deleted(
    context: &Context,
    credential: &Credential,
    key: &Key,
) -> Result<bool, Trouble> {
    is_gone(context, &credential.uid, key).await
}

/// Nobody comes back at the very moment a pause ends.
fn spread(until: Timestamp, credential: &Credential) -> Timestamp {
    let fraction = fingerprint::fraction(&[&credential.uid, &until.to_string()]);
    schedule::later(
        until,
        SignedDuration::try_from_secs_f64(2.0 * fraction).unwrap_or_default(),
    )
}
