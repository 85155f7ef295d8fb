//! Notifies pods that the Secret that they mount was written (`spec.target.notifyPods`). This runs separately from reconciles,
//! so no renewal waits for it.

use std::{
    iter,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::{
    api::{
        calls::{self, call_with_message},
        pods::{self, PodPage, SelectedPod},
    },
    context::Context,
    limiter::namespaces::NamespaceLimiter,
    reconcile::contained,
    state::Write,
};
use crate::{
    api::names,
    plan::notify::{MOST_PODS, NotifyError, PAUSES, is_due, patch},
};

/// Concurrent requests for pods. The API server answers each one within milliseconds.
const AT_ONCE: usize = 48;
/// The maximum for one namespace.
const IN_A_NAMESPACE: usize = 16;
/// The deadline for all passes after one write.
const DEADLINE: Duration = Duration::from_mins(2);

/// Notifies pods. Never returns.
pub(super) async fn run(context: Arc<Context>) {
    let Some(writes) = context.notifications.receive() else {
        return;
    };
    let limiter = NamespaceLimiter::new(AT_ONCE, IN_A_NAMESPACE);
    let each = |write: Write| {
        let (context, limiter) = (Arc::clone(&context), limiter.clone());
        // Boxed: a waiting task does not need this memory.
        Box::pin(async move {
            let work = notify(&context, &limiter, &write);
            let result = contained(DEADLINE, Box::pin(work)).await;
            let result =
                result.unwrap_or_else(|_| Some(Err(failed(&context, NotifyError::Unavailable))));
            if let Some(result) = result {
                ended(&context, &write, result);
            }
        })
    };
    let writes = UnboundedReceiverStream::new(writes);
    writes.for_each_concurrent(None, each).await;
}

/// Whether this is still the newest write of an existing credential, and this process may act.
fn is_wanted(context: &Context, write: &Write) -> bool {
    let newest = context.newest_write(&write.key, &write.uid);
    newest == Some(write.written) && context.may_act()
}

/// Notifies the pods of one write. `None` if the result is not needed.
async fn notify(
    context: &Context,
    limiter: &NamespaceLimiter,
    write: &Write,
) -> Option<Result<(), NotifyError>> {
    let mut last = None;
    for pause in iter::once(Duration::ZERO).chain(PAUSES.iter().map(|p| p.unsigned_abs())) {
        tokio::time::sleep(pause).await;
        if !is_wanted(context, write) {
            return last;
        }
        let result = pass(context, limiter, write).await;
        let again = result.as_ref().is_err_and(|error_kind| !error_kind.lasts());
        last = Some(result);
        if !again {
            break;
        }
    }
    last
}

/// Stores the result. The credential is reconciled if its status changes, or for another attempt.
fn ended(context: &Context, write: &Write, result: Result<(), NotifyError>) {
    if context.notification_ended(&write.key, &write.uid, result) {
        context.triggers.send(&write.key);
    }
}

/// Lists the pods once, and patches each pod that was not notified of the write.
async fn pass(
    context: &Context,
    limiter: &NamespaceLimiter,
    write: &Write,
) -> Result<(), NotifyError> {
    let (mut found, mut more, mut result) = (0, String::new(), Ok(()));
    loop {
        let Some(page) = list(context, limiter, write, &more).await? else {
            return result;
        };
        found += page.pods.len();
        let mut due = page.pods;
        due.retain(|pod| is_due(pod.seen(), write.written));
        if let Err(error_kind) = all(context, limiter, write, due).await {
            if error_kind.lasts() {
                return Err(error_kind);
            }
            result = Err(error_kind);
        }
        more = page.more;
        if more.is_empty() {
            return result;
        }
        if found >= MOST_PODS {
            return Err(failed(context, NotifyError::TooMany));
        }
    }
}

/// One page of the pods; `None` if the notification is no longer wanted.
async fn list(
    context: &Context,
    limiter: &NamespaceLimiter,
    write: &Write,
    from: &str,
) -> Result<Option<PodPage>, NotifyError> {
    let namespace = &write.key.namespace;
    let _permit = limiter.acquire(namespace).await;
    let wanted = || is_wanted(context, write);
    let request = || pods::page(&context.client, namespace, &write.selector, from);
    match call_with_message(&context.metrics, "list_pods", wanted, request, None).await {
        Ok(page) => Ok(Some(page)),
        Err(error) if is_over(error.error_kind) => Ok(None),
        Err(error) => Err(failed(
            context,
            NotifyError::of("list", &error.server_message),
        )),
    }
}

/// Patches these pods, several at the same time.
async fn all(
    context: &Context,
    limiter: &NamespaceLimiter,
    write: &Write,
    due: Vec<SelectedPod>,
) -> Result<(), NotifyError> {
    // If the role forbids one patch, it forbids the patch of every pod.
    let forbidden = AtomicBool::new(false);
    let forbidden = &forbidden;
    let patches = due.into_iter().map(|pod| async move {
        let _permit = limiter.acquire(&write.key.namespace).await;
        let wanted = || !forbidden.load(Ordering::Relaxed) && is_wanted(context, write);
        let result = one(context, write, &pod, wanted).await;
        if let Err(NotifyError::Forbidden(_)) = result {
            forbidden.store(true, Ordering::Relaxed);
        }
        result
    });
    let results = stream::iter(patches).buffer_unordered(IN_A_NAMESPACE);
    results
        .fold(Ok(()), |all: Result<(), NotifyError>, result| {
            // A permanent error is reported before a temporary one.
            let all = match (all, result) {
                (Err(known), Err(error_kind)) if !known.lasts() => Err(error_kind),
                (all @ Err(_), _) => all,
                (Ok(()), result) => result,
            };
            std::future::ready(all)
        })
        .await
}

async fn one(
    context: &Context,
    write: &Write,
    pod: &SelectedPod,
    wanted: impl FnMut() -> bool,
) -> Result<(), NotifyError> {
    let api: Api<Pod> = Api::namespaced(context.client.clone(), &write.key.namespace);
    let params = PatchParams {
        field_manager: Some(names::MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let body = Patch::Merge(patch(&pod.uid, write.written));
    let request = || api.patch_metadata(&pod.name, &params, &body);
    match call_with_message(&context.metrics, "patch_pod", wanted, request, None).await {
        Ok(_) => {
            context.metrics.notified("ok");
            Ok(())
        }
        Err(error) if is_over(error.error_kind) => Ok(()),
        Err(error) => Err(failed(
            context,
            NotifyError::of("patch", &error.server_message),
        )),
    }
}

/// Counts a failure, which `ApicredPodsNotNotified` reports.
fn failed(context: &Context, error_kind: NotifyError) -> NotifyError {
    context.metrics.notified("failed");
    error_kind
}

/// Whether this pod no longer needs a notification: it was deleted, or a new pod with the same name mounts the newest file, or
/// its namespace is being deleted, or a newer write is being notified.
fn is_over(error_kind: calls::ApiErrorKind) -> bool {
    matches!(
        error_kind,
        calls::ApiErrorKind::NotFound
            | calls::ApiErrorKind::Conflict
            | calls::ApiErrorKind::Terminating
            | calls::ApiErrorKind::Unwanted
    )
}

#[cfg(test)]
mod tests;
