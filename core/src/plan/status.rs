//! The status that a user reads: conditions and times. Also the events, and the time of the next reconcile.

use crate::{ConditionType, Reason, StoredReason};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{
    Cause, Failure, Observed, Outcome, RECHECK, another,
    attempt::{last_attempt, remembered},
    conditions::{Conditions, time},
    expect, expiry, fingerprint,
    notices::{Notice, notices},
    notify::too_short,
    obstacle,
    progress::{End, Fault, progress},
    schedule::{self, Promise},
    sources,
};
use crate::{
    api::{ApiCredentialStatus, ClientStatus, RefusedRef, SourceRef, UsedRef},
    credential::Credential,
    oauth,
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

/// The message of `RenewalFailing` where `Ready` says the same. `Stalled` repeats it: tools that go by kstatus show that one.
pub(super) const SEE_READY: &str = "the token has expired; see the condition Ready";

/// What is to be said about the state beside the token's own facts.
struct Trouble {
    reason: StoredReason,
    message: String,
    end: End,
}

impl Trouble {
    fn fault(&self) -> Fault<'_> {
        Fault {
            reason: &self.reason,
            message: &self.message,
            end: self.end,
        }
    }
}

/// The view of a valid credential after a step.
pub fn status(
    credential: &Credential,
    observed: &Observed,
    outcome: &Outcome,
    previous: Option<&ApiCredentialStatus>,
    now: Timestamp,
) -> View {
    let failure = observed.memory.failure.as_ref();
    let trouble = trouble(credential, observed, outcome, now);
    let valid = observed.valid(credential, now);
    let old = previous.cloned().unwrap_or_default();

    let mut status = ApiCredentialStatus {
        observed_generation: Some(credential.generation),
        last_attempt: last_attempt(outcome, failure)
            .or_else(|| remembered(&old, observed.record()))
            .map(Box::new),
        ..ApiCredentialStatus::default()
    };
    if let Some(record) = observed.record() {
        token_facts(&mut status, record);
    }
    let ending = expiry::ending(credential, observed);
    if let (Some(failure), true) = (failure, trouble.is_some()) {
        status.consecutive_failures = i32::try_from(failure.failures).ok();
        status.next_attempt =
            (failure.next_attempt != Timestamp::MAX).then(|| time(failure.next_attempt));
    }
    let client = ClientStatus {
        expires_at: ending
            .as_ref()
            .and_then(expiry::Ending::of_client)
            .map(time),
        refused: refused(credential, observed),
        ..status.client.take().map(|c| *c).unwrap_or_default()
    };
    status.client = (client != ClientStatus::default()).then(|| Box::new(client));

    let say = Conditions {
        previous: &old.conditions,
        generation: credential.generation,
        now,
    };
    let ready = ConditionType::Ready;
    status.conditions.push(match (valid, &trouble) {
        (Some(record), _) => {
            let message = published_message(credential, record);
            say.condition(ready, true, Reason::TokenPublished, &message)
        }
        // While the first token is requested: neither good nor bad.
        (None, None) => say.unknown(ready, FIRST.reason, FIRST.message),
        (None, Some(t))
            if t.reason.known() == Some(Reason::WaitingForIssuer)
                && is_first(credential, observed) =>
        {
            say.unknown(ready, &t.reason, &t.message)
        }
        (None, Some(t)) => say.condition(ready, false, &t.reason, &t.message),
    });
    let turn = valid.is_none().then(|| {
        let fault = trouble.as_ref().map_or(FIRST, Trouble::fault);
        let (condition, until) = progress(say, fault);
        status.conditions.push(condition);
        until
    });
    let foreseen = foreseen(credential, observed, outcome, (valid, ending.as_ref()));
    let failing = match (&trouble, &foreseen) {
        (Some(t), _) if valid.is_some() => Some((t.reason.clone(), t.message.as_str())),
        // Without a token `Ready` has the same message: one that is read twice is read no better.
        (Some(t), _) if !credential.suspend && !is_first(credential, observed) => {
            Some((t.reason.clone(), SEE_READY))
        }
        (None, Some((reason, message))) => Some(((*reason).into(), message.as_str())),
        _ => None,
    };
    let failing = failing.map(|(reason, message)| {
        say.condition(ConditionType::RenewalFailing, true, reason, message)
    });
    let another = match (&failing, valid) {
        (None, Some(_)) => another::kept(&old.conditions, now),
        _ => None,
    };
    let told_until = another.as_ref().map(|(_, until)| *until);
    status
        .conditions
        .extend(failing.or(another.map(|(condition, _)| condition)));
    let risk =
        risk(credential, observed, valid, trouble.is_some(), now).map(|(reason, message)| {
            say.condition(ConditionType::LifetimeAtRisk, true, reason, &message)
        });
    status.conditions.extend(risk);
    let lack = valid.and_then(|r| expect::missing(credential, r));
    let lack = lack.map(|lack| (lack, ConditionType::PermissionsMissing));
    status
        .conditions
        .extend(lack.map(|(lack, kind)| match lack {
            expect::Lack::Missing(reason, message) => say.condition(kind, true, reason, &message),
            expect::Lack::Unknown(message) => say.unknown(kind, Reason::NotVerifiable, &message),
        }));
    let surplus = valid.and_then(|r| expect::surplus(credential, r));
    status.conditions.extend(surplus.map(|message| {
        let reason = Reason::PermissionsExceeded;
        say.condition(ConditionType::PermissionsExceeded, true, reason, &message)
    }));
    let client = client_credential(credential, observed, ending.as_ref(), now);
    status.conditions.extend(client.map(|(reason, message)| {
        say.condition(
            ConditionType::ClientCredentialExpiring,
            true,
            reason,
            &message,
        )
    }));
    let unread = unread(credential, observed);
    status.conditions.extend(unread.map(|message| {
        let reason = Reason::AnnotationUnknown;
        say.condition(ConditionType::AnnotationsIgnored, true, reason, &message)
    }));
    let promise = observed.promise(credential);
    let requeue = requeue(
        (promise, credential.end),
        outcome,
        failure,
        (valid, ending.as_ref()),
        now,
    );
    let requeue = sooner(requeue, turn.flatten(), now);
    let requeue = sooner(requeue, told_until, now);
    let requeue = sooner(requeue, observed.notifies_again(credential, now), now);
    let notices = notices(&old, &status, outcome);
    View {
        status,
        notices,
        requeue,
    }
}

/// Why there is no token, as long as the first one is requested.
const FIRST: Fault<'static> = Fault {
    reason: &StoredReason::Known(Reason::Pending),
    message: "no token has been published yet",
    end: End::Progress,
};

/// Has no token of this spec been published yet?
fn is_first(credential: &Credential, observed: &Observed) -> bool {
    let asked = fingerprint::request(credential);
    observed.record().is_none_or(|r| r.request != asked)
}

/// The wait, cut short by a moment at which time alone changes what status says.
pub(super) fn sooner(wait: Duration, turn: Option<Timestamp>, now: Timestamp) -> Duration {
    let left = turn.map(|at| Duration::try_from(at.duration_since(now)).unwrap_or_default());
    left.map_or(wait, |left| wait.min(left.max(Duration::from_millis(100))))
}

pub(super) fn token_facts(status: &mut ApiCredentialStatus, record: &Record) {
    status.issued_at = Some(time(record.issued_at));
    // A static key expires when a user revokes it, which is not reported. Nor is it renewed: it is published again when
    // its Secret changes.
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

/// Most entries of the list of refused ones.
const MOST_REFUSED: usize = 8;

/// The refused sources whose version is still there, and entries of a list whose Secret does not exist.
fn refused(credential: &Credential, observed: &Observed) -> Vec<RefusedRef> {
    let several = observed.sources.len() > 1;
    let client = sources::unusable(credential, observed, &observed.sources)
        .filter(|u| several || u.refusal.is_some());
    let grant = sources::unusable(credential, observed, &observed.grant_sources)
        .filter(|u| u.refusal.is_some());
    let missing = credential.authentication.lacking().secret;
    let entry = |unusable: sources::Unusable<'_>| {
        let sources::Unusable { source, refusal } = unusable;
        RefusedRef {
            reference: SourceRef {
                name: source.reference.name.clone(),
                key: source.reference.key.clone(),
                resource_version: source.present.as_ref().map(|(_, version)| version.clone()),
            },
            reason: refusal.map_or_else(|| missing.to_string(), |r| r.reason.to_string()),
            at: refusal.map(|r| time(r.at)),
        }
    };
    client.chain(grant).take(MOST_REFUSED).map(entry).collect()
}

/// The next renewal is not due and is known to fail: the reason, and when.
fn foreseen(
    credential: &Credential,
    observed: &Observed,
    outcome: &Outcome,
    (valid, ending): (Option<&Record>, Option<&expiry::Ending>),
) -> Option<(Reason, String)> {
    if credential.suspend || !matches!(outcome, Outcome::Steady | Outcome::Minted(_)) {
        return None;
    }
    let record = valid?;
    let ended = || ending.and_then(|e| e.obstacle(record.renew_at));
    let (reason, message) = obstacle(credential, observed).or_else(ended)?;
    // A static key is not renewed, and when it ends is not known.
    if record.is_static() {
        let name = &credential.target.name;
        let message = format!("{message}; until then Secret {name} keeps the current key");
        return Some((reason, message));
    }
    let (renew, end) = (time(record.renew_at).0, time(record.expires_at).0);
    let message = format!(
        "{message}; until then the renewal at {renew} will fail, and the current token expires at {end}"
    );
    Some((reason, message))
}

/// What is to be said about the secrets and certificates of the client: one that ends, one that another one covers for.
fn client_credential(
    credential: &Credential,
    observed: &Observed,
    ending: Option<&expiry::Ending>,
    now: Timestamp,
) -> Option<(StoredReason, String)> {
    let ends = ending.and_then(|e| e.warning(now));
    let over = ending.is_some_and(|e| now >= e.at);
    let ends = ends.map(|(reason, message)| (reason.into(), message));
    let hidden = sources::hidden(credential, observed).map(|h| (h.reason, h.message));
    let unread = expiry::unreadable(observed).map(|(reason, message)| (reason.into(), message));
    // What has ended comes first, then what does not work, then what will end.
    let mut told: Vec<(StoredReason, String)> = if over {
        [ends, hidden, unread].into_iter().flatten().collect()
    } else {
        [hidden, ends, unread].into_iter().flatten().collect()
    };
    let rest = told.split_off(told.len().min(1));
    let (reason, mut message) = told.pop()?;
    for (_, more) in rest {
        message.push_str(&format!("; {more}"));
    }
    Some((reason, message))
}

/// What is to be said about annotations that have no effect.
fn unread(credential: &Credential, observed: &Observed) -> Option<String> {
    let own = credential.unread.as_ref();
    let own = own.map(|said| format!("the annotation {said}"));
    let said: Vec<String> = own
        .into_iter()
        .chain(observed.unread.iter().cloned())
        .collect();
    (!said.is_empty()).then(|| format!("an annotation has no effect: {}", said.join("; ")))
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

fn trouble(
    credential: &Credential,
    observed: &Observed,
    outcome: &Outcome,
    now: Timestamp,
) -> Option<Trouble> {
    match outcome {
        Outcome::Steady | Outcome::Minted(_) | Outcome::Queued { .. } | Outcome::Released => None,
        Outcome::Suspended => observed.valid(credential, now).is_none().then(|| Trouble {
            reason: Reason::Suspended.into(),
            message: "spec.suspend is set and there is no valid token; unset it to get one"
                .to_owned(),
            end: End::Somebody,
        }),
        Outcome::Waiting {
            reason, message, ..
        } => Some(Trouble {
            reason: (*reason).into(),
            message: message.clone(),
            end: match End::of(&(*reason).into()) {
                End::Somebody => End::Progress,
                end => end,
            },
        }),
        Outcome::Refused { reason, message } => Some(Trouble {
            reason: (*reason).into(),
            message: message.clone(),
            // The state Secret may come with a sign-in that is under way.
            end: if *reason == Reason::SignInRequired {
                End::Neighbour
            } else {
                End::of(&(*reason).into())
            },
        }),
        Outcome::Failed | Outcome::Backoff => observed
            .memory
            .failure
            .as_ref()
            .map(|f| failed(credential, f)),
    }
}

fn failed(credential: &Credential, failure: &Failure) -> Trouble {
    use crate::oauth::Class;
    let refusal = match &failure.cause {
        Cause::Seen(refusal) => refusal,
        Cause::Recalled(recalled) => {
            return Trouble {
                reason: recalled.reason.clone(),
                message: recalled.message.clone(),
                end: match End::of(&recalled.reason) {
                    End::Somebody if !recalled.stalled => End::Progress,
                    end => end,
                },
            };
        }
    };
    let mut message = refusal.message();
    if failure.propagating {
        // Entra ID calls a new secret expired as well, while a replica knows the expired ones only.
        message.push_str(&format!(
            "; the Secret has just changed and the issuer may not know the new {} yet, so apicred tries again soon",
            credential.authentication.noun()
        ));
    }
    let waits = matches!(
        refusal.class,
        Class::Invalid | Class::Denied | Class::NeedsUser
    );
    Trouble {
        reason: refusal.reason.into(),
        message,
        end: if waits && !failure.propagating {
            End::of(&refusal.reason.into())
        } else {
            End::Progress
        },
    }
}

/// Is the promise to readers in danger? Said before it breaks.
fn risk(
    credential: &Credential,
    observed: &Observed,
    valid: Option<&Record>,
    late: bool,
    now: Timestamp,
) -> Option<(Reason, String)> {
    let record = valid?;
    let life = record.expires_at.duration_since(record.issued_at);
    let promise = observed.promise(credential);
    if late && now >= schedule::risk_at(record.issued_at, record.expires_at, promise) {
        let least = promise.min_lifetime(life);
        let end = schedule::later(record.expires_at, -least);
        return Some((
            Reason::RenewalFailing,
            format!(
                "the renewal is late, and readers have less than {} left from {} on; see the condition RenewalFailing for its cause",
                words(least),
                time(end).0
            ),
        ));
    }
    oauth::uncertain(&record.lifetime, life)
        .or_else(|| observed.not_notified(credential))
        .or_else(|| too_short(promise, life))
}

pub(super) fn words(span: SignedDuration) -> String {
    let s = span.as_secs();
    match (s / 60, s % 60) {
        (0, s) => format!("{s} s"),
        (m, 0) => format!("{m} min"),
        (m, s) => format!("{m} min {s} s"),
    }
}

fn requeue(
    (promise, end): (Promise, Option<Timestamp>),
    outcome: &Outcome,
    failure: Option<&Failure>,
    (valid, ending): (Option<&Record>, Option<&expiry::Ending>),
    now: Timestamp,
) -> Duration {
    let soon = |at: Timestamp| {
        Duration::try_from(at.duration_since(now))
            .unwrap_or_default()
            .max(Duration::from_millis(100))
    };
    let work = match outcome {
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
    // Wake up as well when what status says stops being true.
    let turning = valid.into_iter().flat_map(|r| {
        [
            schedule::risk_at(r.issued_at, r.expires_at, promise),
            r.expires_at,
        ]
    });
    let turning = turning
        .chain(ending.into_iter().flat_map(|e| [e.warn_at, e.at]))
        .chain(end);
    turning
        .filter(|at| *at > now)
        .map(soon)
        .fold(work, Duration::min)
        .min(Duration::from_hours(1))
}
