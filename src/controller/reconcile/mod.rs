//! One look at one credential: observe, plan, execute, record, schedule.

pub(super) mod execute;
mod finalizer;
pub(super) mod log_lines;
pub(super) mod not_ready;
pub(super) mod observe;
pub(super) mod record;
pub(super) mod snapshot;

use crate::{ConditionType, Reason};
use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::FutureExt;
use jiff::SignedDuration;
use kube::runtime::controller::Action;
use tracing::Instrument;

use crate::controller::{
    cache::{packed::PackedCredential, readable::Flaw},
    context::Context,
    locks::lock,
    notify,
    rechecks::{after_lost_status, is_reported_again},
    requeue::{key_of, reference},
    target::empty::empty_unusable,
};
use crate::{
    api::{ApiCredential, ApiCredentialStatus},
    credential::{Credential, FieldError, Key},
    plan::{
        self, Hold, Outcome, Plan,
        journal::{Seen, Step},
        schedule,
    },
    publish::ownership::SecretFacts,
};
use execute::{PATIENCE, execute};
use log_lines::Subject;
use observe::{needs_key, observe};

/// A look ends by then, whatever happens: two reads, one exchange of at most 15 s for each of four secrets, two
/// writes. A stop waits less long (see app.rs): it may cut a look at several slow secrets short.
const DEADLINE: Duration = Duration::from_secs(75);
/// After a look that panicked or ran out of time.
const AFTER_DEFECT: Duration = Duration::from_mins(1);
/// A credential without any status gets one after this time at the latest, also if its first token takes longer. Most
/// tokens come sooner, and then one write says all.
const FIRST_STATUS: Duration = Duration::from_secs(1);
/// Defects of one credential are told once in this time.
const DEFECTS_COUNTED: Duration = Duration::from_hours(1);

/// Why a look came to nothing. Only defects are errors: everything foreseen is an outcome.
#[derive(Debug, thiserror::Error)]
pub(in crate::controller) enum Defect {
    #[error("a reconciliation panicked")]
    Panicked,
    #[error("a reconciliation took too long")]
    TookTooLong,
    #[error("a stored credential could not be decompressed")]
    Unreadable,
}

/// Looks at a credential. Never panics, always ends.
pub(in crate::controller) async fn reconcile(
    kept: Arc<PackedCredential>,
    context: Arc<Context>,
) -> Result<Action, Defect> {
    let key = key_of(kept.as_ref());
    // Not `name`: as JSON a span has its own name there, and a reader takes the last of two.
    let span = tracing::info_span!(
        "reconcile",
        namespace = key.namespace,
        credential = key.name
    );
    let started = Instant::now();
    if !context.health.expects(&key) {
        context.with_state(&key, &kept.uid, |s| s.undecided = true);
    }
    context.health.forget(&key);
    // Boxed: the future of a look with all its reads and requests is too large to be moved about.
    let look = if let Some((object, flaw)) = kept.open_unusable() {
        unusable(object, flaw, &key, &context).boxed()
    } else {
        let object = kept.open().ok_or(Defect::Unreadable)?;
        look(object, &key, &context).boxed()
    };
    let result = contained(DEADLINE, look).instrument(span).await;
    let result = result.map(|(outcome, wait)| {
        context.metrics.reconciled(outcome, started.elapsed());
        wait
    });
    let wait = result.as_ref().copied().unwrap_or(Some(AFTER_DEFECT));
    let Some(wait) = wait else {
        return Ok(Action::await_change());
    };
    let at = SignedDuration::try_from(wait).unwrap_or(SignedDuration::from_hours(1));
    let exists = || context.credentials.get(&reference(&key)).is_some();
    let due = schedule::later(crate::clock::steady(), at);
    context.health.scheduled(key.clone(), due, exists);
    result.map(|_| Action::requeue(wait))
}

/// A look that harms no other: a panic ends in it, and so does the wait for what never comes.
pub(in crate::controller) async fn contained<T>(
    deadline: Duration,
    look: impl Future<Output = T>,
) -> Result<T, Defect> {
    let look = AssertUnwindSafe(tokio::time::timeout(deadline, look)).catch_unwind();
    match look.await {
        Ok(Ok(came)) => Ok(came),
        Ok(Err(_)) => Err(Defect::TookTooLong),
        Err(_) => Err(Defect::Panicked),
    }
}

/// What to do after a defect: this one object waits, the others do not notice.
#[expect(clippy::needless_pass_by_value, reason = "kube's signature")]
pub(in crate::controller) fn after_defect(
    kept: Arc<PackedCredential>,
    defect: &Defect,
    context: Arc<Context>,
) -> Action {
    let key = key_of(kept.as_ref());
    context.metrics.reconciled("defect", Duration::ZERO);
    let repeats = context.with_state(&key, &kept.uid, |state| {
        let now = Instant::now();
        let (since, count) = state.defects.take().unwrap_or((now, 0));
        // The first one, and then one an hour.
        let tell = count == 0 || now - since >= DEFECTS_COUNTED;
        state.defects = Some(if tell { (now, 1) } else { (since, count + 1) });
        tell.then_some(count)
    });
    if let Some(repeats) = repeats {
        let (namespace, name) = (&key.namespace, &key.name);
        tracing::error!(namespace, name, uid = &*kept.uid, repeats, "{defect}");
    }
    Action::requeue(AFTER_DEFECT)
}

async fn look(
    object: ApiCredential,
    key: &Key,
    context: &Arc<Context>,
) -> (&'static str, Option<Duration>) {
    if object.metadata.deletion_timestamp.is_some() {
        return release(&object, key, context);
    }
    // Before anything is looked up: in a list that failed, everything is missing.
    if let Some(kind) = context.unsynced.first(&key.namespace) {
        return blind(&object, key, context, kind).await;
    }
    match context.parse(&object) {
        Ok(credential) => work(&object, key, context, &credential).await,
        Err(errors) => explain(&object, key, context, &errors).await,
    }
}

/// A credential that is being deleted is forgotten; what its finalizer is for happens beside the reconciles.
fn release(
    object: &ApiCredential,
    key: &Key,
    context: &Context,
) -> (&'static str, Option<Duration>) {
    finalizer::hand_over(context, object);
    context.forget(key);
    (label(&Outcome::Released), None)
}

/// An object whose spec is not known gets a status, and keeps what it has: its Secret, its place, its memory.
async fn unusable(
    object: ApiCredential,
    flaw: &Flaw,
    key: &Key,
    context: &Arc<Context>,
) -> (&'static str, Option<Duration>) {
    if object.metadata.deletion_timestamp.is_some() {
        return release(&object, key, context);
    }
    let known = record::known_status(context, &object, key);
    // What another version has said of this very generation is not known to be so.
    let unconfirmed = known.clone().map(|status| ApiCredentialStatus {
        observed_generation: None,
        ..status
    });
    let facts = target_facts(context, &object, key);
    let (errors, now) = ([flaw.error()], context.clock.now());
    let view = plan::invalid(&object, unconfirmed.as_ref(), facts.as_ref(), &errors, now);
    let wait = tell(&object, key, context, known.as_ref(), &view).await;
    ("unreadable", Some(wait))
}

/// What is known of the Secret that a credential names as its target.
fn target_facts(context: &Context, object: &ApiCredential, key: &Key) -> Option<SecretFacts> {
    let name = (
        key.namespace.clone(),
        object.spec.target.secret_name.clone(),
    );
    lock(&context.secrets).get(&name).map(|s| s.facts.clone())
}

async fn work(
    object: &ApiCredential,
    key: &Key,
    context: &Arc<Context>,
    credential: &Credential,
) -> (&'static str, Option<Duration>) {
    let now = context.clock.now();
    let deleting = object.metadata.deletion_timestamp.is_some();
    let first = context.with_state(key, &credential.uid, |s| std::mem::take(&mut s.undecided));
    if credential.static_key.is_none() {
        let (grant, issuer) = (credential.grant.key(), &credential.issuer.id);
        context.metrics.expect(grant, issuer);
    }
    let mut observed = observe(context, credential, key, deleting, now);
    if needs_key(context, &observed) {
        // Without it, this reconcile decides as if there were no other operator.
        let _ = context.digest_key.get(&context.metrics).await;
        observed = observe(context, credential, key, deleting, now);
    }
    // A process that has seen the credential before knows better than its status.
    if first {
        let mut memory = observed.memory.clone();
        memory.recall(credential, &observed, object.status.as_ref(), now);
        observed.memory = memory;
    }
    let plan = plan::plan(credential, &observed, now);
    tracing::debug!(?plan, "planned");
    if let Plan::Hold {
        why: Hold::AnotherOperator,
        until,
    } = plan
    {
        context.with_state(key, &credential.uid, |s| s.memory = observed.memory.clone());
        return left(object, key, context, (credential, &observed), until).await;
    }
    let pending = first_status(object, key, context, (credential, &observed), now);
    // Boxed, as above.
    let step = Box::pin(async {
        match finalizer::settle(context, object, (credential, &observed), &plan).await {
            Some(outcome) => outcome,
            None => execute(context, credential, key, &mut observed, plan).await,
        }
    });
    let outcome = reported(object, key, context, pending, step).await;
    context.with_state(key, &credential.uid, |s| s.memory = observed.memory.clone());

    let now = context.clock.now();
    let known = record::known_status(context, object, key);
    let outcome = overdue(outcome, known.as_ref(), credential, &observed, now);
    let label = label(&outcome);
    match outcome {
        Outcome::Released => {
            context.forget(key);
            return (label, None);
        }
        Outcome::Queued { until } => {
            let wait = Duration::try_from(until.duration_since(now)).unwrap_or_default();
            let wait = if is_reported(known.as_ref()) {
                wait
            } else {
                wait.min(FIRST_STATUS)
            };
            return (label, Some(wait.max(Duration::from_millis(10))));
        }
        _ => {}
    }
    let observed = observe(context, credential, key, deleting, now);
    notify::take_up(context, credential, &observed);
    let view = plan::status(credential, &observed, &outcome, known.as_ref(), now);
    let wait = tell(object, key, context, known.as_ref(), &view).await;
    (label, Some(wait))
}

/// What another operator renews is left to it.
async fn left(
    object: &ApiCredential,
    key: &Key,
    context: &Arc<Context>,
    (credential, observed): (&Credential, &plan::Observed),
    until: jiff::Timestamp,
) -> (&'static str, Option<Duration>) {
    let issued = observed.record().map(|record| record.issued_at);
    let counted = context.with_state(key, &credential.uid, |s| {
        std::mem::replace(&mut s.foreign, issued)
    });
    if counted != issued {
        context.metrics.foreign_write();
    }
    let known = record::known_status(context, object, key);
    let now = context.clock.now();
    let view = plan::left_to_another(credential, known.as_ref(), until, now);
    let wait = tell(object, key, context, known.as_ref(), &view).await;
    ("waiting", Some(wait))
}

/// Where the Secrets, issuers or clients of a namespace could not be listed nothing is decided: what is there would look like
/// what is not. Status says so; the list has all of them reconciled.
async fn blind(
    object: &ApiCredential,
    key: &Key,
    context: &Arc<Context>,
    kind: &'static str,
) -> (&'static str, Option<Duration>) {
    let known = record::known_status(context, object, key);
    let facts = target_facts(context, object, key);
    let now = context.clock.now();
    let view = plan::unlisted(object, known.as_ref(), facts.as_ref(), kind, now);
    let wait = tell(object, key, context, known.as_ref(), &view).await;
    ("waiting", Some(wait))
}

/// Has the credential the condition `Ready`?
fn is_reported(known: Option<&ApiCredentialStatus>) -> bool {
    known.is_some_and(|s| ConditionType::Ready.find(&s.conditions).is_some())
}

/// What a credential without any status reports while its first token is requested.
fn first_status(
    object: &ApiCredential,
    key: &Key,
    context: &Context,
    (credential, observed): (&Credential, &plan::Observed),
    now: jiff::Timestamp,
) -> Option<ApiCredentialStatus> {
    let known = record::known_status(context, object, key);
    if observed.deleting || is_reported(known.as_ref()) {
        return None;
    }
    let queued = Outcome::Queued { until: now };
    Some(plan::status(credential, observed, &queued, known.as_ref(), now).status)
}

/// Carries out a step, and writes the first status beside it if it takes long.
async fn reported(
    object: &ApiCredential,
    key: &Key,
    context: &Context,
    pending: Option<ApiCredentialStatus>,
    step: impl Future<Output = Outcome>,
) -> Outcome {
    let Some(pending) = pending else {
        return step.await;
    };
    let (done, ended) = tokio::sync::oneshot::channel();
    let report = async {
        if tokio::time::timeout(FIRST_STATUS, ended).await.is_err() {
            let known = record::known_status(context, object, key);
            // Whether it was written or not, the status after the step follows.
            let _ = record::write_status(context, object, key, known.as_ref(), &pending).await;
        }
    };
    let step = async {
        let outcome = step.await;
        let _ = done.send(());
        outcome
    };
    tokio::join!(step, report).0
}

/// A place in the queue is not reported, unless it lasts and status says Ready although the token has expired meanwhile, or
/// says nothing yet.
fn overdue(
    outcome: Outcome,
    known: Option<&ApiCredentialStatus>,
    credential: &Credential,
    observed: &plan::Observed,
    now: jiff::Timestamp,
) -> Outcome {
    let says_ready = || {
        let ready = known.and_then(|s| ConditionType::Ready.find(&s.conditions));
        ready.is_some_and(|c| c.status == "True")
    };
    let waited = |since: jiff::Timestamp| now.duration_since(since);
    let waited = observed.memory.queued_since.map(waited);
    let first = SignedDuration::try_from(FIRST_STATUS).unwrap_or(PATIENCE);
    let lasts = waited.is_some_and(|waited| {
        waited >= PATIENCE && says_ready() || waited >= first && !is_reported(known)
    });
    match outcome {
        Outcome::Queued { until } if lasts && observed.valid(credential, now).is_none() => {
            Outcome::Waiting {
                reason: Reason::WaitingForIssuer,
                message: format!(
                    "{} is busy, and this credential waits for a free request slot; raise limits.requestsPerSecond of the issuer if it lasts",
                    credential.issuer.id
                ),
                until,
            }
        }
        other => other,
    }
}

async fn explain(
    object: &ApiCredential,
    key: &Key,
    context: &Arc<Context>,
    errors: &[FieldError],
) -> (&'static str, Option<Duration>) {
    let now = context.clock.now();
    let facts = target_facts(context, object, key);
    empty_unusable(context, object, key, facts.as_ref()).await;
    let facts = target_facts(context, object, key);
    let known = record::known_status(context, object, key);
    let view = plan::invalid(object, known.as_ref(), facts.as_ref(), errors, now);
    let wait = tell(object, key, context, known.as_ref(), &view).await;
    ("invalid", Some(wait))
}

async fn tell(
    object: &ApiCredential,
    key: &Key,
    context: &Arc<Context>,
    known: Option<&ApiCredentialStatus>,
    view: &plan::View,
) -> Duration {
    let written = record::write_status(context, object, key, known, &view.status).await;
    let now = context.clock.now();
    let uid = object.metadata.uid.as_deref().unwrap_or_default();
    let exists = record::shown(context, key, uid).is_some();
    let (lost, entry) = context.with_state(key, uid, |state| {
        state.lost_statuses = written.map_or_else(|_| state.lost_statuses + 1, |()| 0);
        state.defects = None;
        let told = state.told.take();
        let before = told.as_deref().or(known).map(Seen::from);
        let refused = state.refused.take();
        let step = Step {
            now,
            tried: false,
            refused: refused.as_deref(),
        };
        let (before, after) = (before.unwrap_or_default(), Seen::from(&view.status));
        let entry = state.journal.step(before, after, step);
        if written.is_err() {
            state.told = Some(Box::new(view.status.clone()));
        }
        (state.lost_statuses, entry)
    });
    // An object that is gone has no conditions.
    if exists {
        let subject = Subject {
            kind: "ApiCredential",
            namespace: Some(&key.namespace),
            name: &key.name,
            uid,
        };
        for line in &entry.lines {
            log_lines::write(subject, line);
        }
    }
    // An event tells a change of the status, so it goes with the status or not at all.
    if let Err(trouble) = written {
        if exists && is_reported_again(lost, trouble) {
            tracing::warn!(
                tries = lost,
                result = trouble.as_str(),
                "the status cannot be written; only the log contains the state of the credential"
            );
        }
        return view.requeue.min(after_lost_status(lost));
    }
    let notices = record::worth(&view.notices, &entry);
    record::notify(context, object, key, &notices, now).await;
    view.requeue
}

const fn label(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Steady => "unchanged",
        Outcome::Minted(_) => "renewed",
        Outcome::Waiting { .. } => "waiting",
        Outcome::Queued { .. } => "queued",
        Outcome::Failed => "failed",
        Outcome::Backoff => "backoff",
        Outcome::Refused { .. } => "refused",
        Outcome::Suspended => "suspended",
        Outcome::Released => "released",
    }
}
