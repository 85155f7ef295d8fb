//! Reconciles one credential: observe, plan, execute, report, schedule. Each step is a file.

mod compare;
pub(super) mod ended;
mod execute;
mod finalizer;
pub(super) mod log_lines;
mod mint;
pub(super) mod not_ready;
mod object;
pub(super) mod observe;
pub(super) mod record;
pub(super) mod snapshot;
mod verify;
mod work;

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
    cache::packed::PackedCredential,
    context::Context,
    requeue::{key_of, reference},
};
use crate::{credential::Key, plan::schedule};
use ended::Ended;
use object::Watched;

/// The maximum duration of a reconciliation: two reads, one exchange of at most 15 s for each of four secrets, two writes. A
/// shutdown waits for a shorter time (see app.rs): it may interrupt a reconciliation with several slow secrets.
const DEADLINE: Duration = Duration::from_secs(75);
/// The wait after a reconciliation that panicked or timed out.
const AFTER_DEFECT: Duration = Duration::from_mins(1);
/// Defects of one credential are logged once per this interval.
const DEFECTS_COUNTED: Duration = Duration::from_hours(1);

/// Why a reconciliation has no result. Only defects are errors: everything expected is an outcome.
#[derive(Debug, thiserror::Error)]
pub(in crate::controller) enum Defect {
    #[error("a reconciliation panicked")]
    Panicked,
    #[error("a reconciliation took too long")]
    TookTooLong,
    #[error("a stored credential could not be decompressed")]
    Unreadable,
}

/// Reconciles a credential. Never panics, and always ends.
pub(in crate::controller) async fn reconcile(
    packed: Arc<PackedCredential>,
    context: Arc<Context>,
) -> Result<Action, Defect> {
    let key = key_of(packed.as_ref());
    // Not `name`: in JSON a span has its own `name` field, and a reader uses the last of two fields with the same name.
    let span = tracing::info_span!(
        "reconcile",
        namespace = key.namespace,
        credential = key.name
    );
    let started = Instant::now();
    if !context.health.expects(&key) {
        context.with_state(&key, &packed.uid, |s| s.undecided = true);
    }
    context.health.forget(&key);
    // Boxed: the future of a reconciliation with all its reads and requests is too large to be moved.
    let reconciled = reconcile_object(&packed, &key, &context).boxed();
    let result = contained(DEADLINE, reconciled).instrument(span).await;
    let result = result.flatten().map(|ended| {
        context.metrics.reconciled(ended.outcome, started.elapsed());
        ended.requeue
    });
    let wait = result.as_ref().copied().unwrap_or(Some(AFTER_DEFECT));
    let Some(wait) = wait else {
        return Ok(Action::await_change());
    };
    schedule(&context, &key, wait);
    result.map(|_| Action::requeue(wait))
}

async fn reconcile_object(
    packed: &PackedCredential,
    key: &Key,
    context: &Arc<Context>,
) -> Result<Ended, Defect> {
    let object = |object| Watched {
        context,
        object,
        key,
    };
    if let Some((unusable, flaw)) = packed.open_unusable() {
        return Ok(object(&unusable).unusable(flaw).await);
    }
    let opened = packed.open().ok_or(Defect::Unreadable)?;
    Ok(object(&opened).reconcile().await)
}

/// Reports to the health check when the next reconciliation is due.
fn schedule(context: &Context, key: &Key, wait: Duration) {
    let at = SignedDuration::try_from(wait).unwrap_or(SignedDuration::from_hours(1));
    let exists = || context.credentials.get(&reference(key)).is_some();
    let due = schedule::later(crate::clock::steady(), at);
    context.health.scheduled(key.clone(), due, exists);
}

/// Isolates a reconciliation from others: catches a panic, and ends a wait that takes too long.
pub(in crate::controller) async fn contained<T>(
    deadline: Duration,
    reconciled: impl Future<Output = T>,
) -> Result<T, Defect> {
    let reconciled = AssertUnwindSafe(tokio::time::timeout(deadline, reconciled)).catch_unwind();
    match reconciled.await {
        Ok(Ok(came)) => Ok(came),
        Ok(Err(_)) => Err(Defect::TookTooLong),
        Err(_) => Err(Defect::Panicked),
    }
}

/// The action after a defect: this object waits, and the others are not affected.
#[expect(clippy::needless_pass_by_value, reason = "kube's signature")]
pub(in crate::controller) fn after_defect(
    packed: Arc<PackedCredential>,
    defect: &Defect,
    context: Arc<Context>,
) -> Action {
    let key = key_of(packed.as_ref());
    context.metrics.reconciled("defect", Duration::ZERO);
    let repeats = context.with_state(&key, &packed.uid, |state| {
        let now = Instant::now();
        let (since, count) = state.defects.take().unwrap_or((now, 0));
        // The first defect, and then one per hour.
        let log = count == 0 || now - since >= DEFECTS_COUNTED;
        state.defects = Some(if log { (now, 1) } else { (since, count + 1) });
        log.then_some(count)
    });
    if let Some(repeats) = repeats {
        let (namespace, name) = (&key.namespace, &key.name);
        tracing::error!(namespace, name, uid = &*packed.uid, repeats, "{defect}");
    }
    Action::requeue(AFTER_DEFECT)
}
