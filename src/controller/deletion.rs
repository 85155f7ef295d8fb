//! Handles a deleted credential that has the finalizer: revokes its token and removes the finalizer. The deletion waits for
//! this, but not longer than its deadline; [`finalizer::step`] decides. The same applies to the token of an expired credential
//! (`spec.notAfter`): its removal from the Secret waits.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::{
    api::{self, calls::ApiErrorKind, existence::metadata},
    context::Context,
    limiter::namespaces::NamespaceLimiter,
    reconcile::{Defect, contained, record},
    requeue::reference,
    state::Leaving,
    token::revoke,
};
use crate::{
    Reason,
    api::ApiCredential,
    credential::{FieldError, Key},
    oauth::{Class, TokenError},
    plan::{
        Notice, Severity,
        finalizer::{self, Attempt, End, Facts, Step},
        over,
    },
};

/// Concurrent revocations.
const AT_ONCE: usize = 64;
/// The maximum for one namespace: its issuer may never answer.
const IN_A_NAMESPACE: usize = 16;
/// The timeout of one attempt, including all its reads.
const ATTEMPT: Duration = Duration::from_secs(15);
/// The first and the longest wait between two attempts to remove a finalizer. The wait doubles.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// The interval between two reports of a finalizer that cannot be removed.
const REPORT_AGAIN: Duration = Duration::from_mins(30);

/// Finishes deleted and expired credentials. Never returns.
pub(super) async fn run(context: Arc<Context>) {
    let Some(leaving) = context.leaving.receive() else {
        return;
    };
    let limiter = NamespaceLimiter::new(AT_ONCE, IN_A_NAMESPACE);
    let end = |leaving: Leaving| {
        let (context, limiter) = (Arc::clone(&context), limiter.clone());
        // Boxed: a waiting task does not need this memory.
        Box::pin(async move {
            let end = end(&context, &limiter, &leaving).await;
            context.leaving.ended(&leaving.uid);
            if leaving.ended && shown(&context, &leaving).is_some() {
                let revoked = end == Some(End::Revoked);
                context.with_state(&leaving.key, &leaving.uid, |s| {
                    s.revoked_at_end = Some(revoked);
                });
                context.triggers.send(&leaving.key);
            }
        })
    };
    let leaving = UnboundedReceiverStream::new(leaving);
    leaving.for_each_concurrent(None, end).await;
}

/// The credential as stored, and whether its spec is readable; `None` if it is deleted.
fn shown(context: &Context, leaving: &Leaving) -> Option<(ApiCredential, bool)> {
    let packed = context.credentials.get(&reference(&leaving.key))?;
    if *packed.uid != *leaving.uid {
        return None;
    }
    Some((packed.known()?, packed.flaw().is_none()))
}

/// Returns the result, if there is one.
async fn end(context: &Arc<Context>, limiter: &NamespaceLimiter, leaving: &Leaving) -> Option<End> {
    let (mut last, mut tries) = (None, 0);
    while let Some((object, readable)) = shown(context, leaving) {
        let facts = Facts {
            policy: readable.then(|| object.spec.deletion_policy.unwrap_or_default()),
            present: leaving.ended || api::finalizer::has(&object.metadata),
            deleting: leaving.ended || object.metadata.deletion_timestamp.is_some(),
            has_token: leaving.has_token,
            last: last.as_ref(),
        };
        match finalizer::step(facts, leaving.since.elapsed(), leaving.deadline) {
            Step::Leave | Step::Add => return None,
            Step::Wait(until) => sleep_until(leaving.since + until).await,
            Step::Revoke => {
                let until = leaving.since + leaving.deadline;
                // There is no attempt if no permit becomes free before the deadline.
                let turn = timeout_at(until, limiter.acquire(&leaving.key.namespace)).await;
                let Ok(_permit) = turn else { continue };
                tries += 1;
                last = match attempt(context, &object, leaving, tries).await {
                    None => return None,
                    attempt => attempt,
                };
            }
            Step::Remove(end) => {
                // Another process is the leader now and handles this credential.
                if !context.may_act() {
                    return None;
                }
                let token_end = record::token_end(context, &object, &leaving.key);
                record::report_end(context, &object, &leaving.key, (&end, token_end)).await;
                if !leaving.ended {
                    remove(context, &object, leaving).await;
                }
                return Some(end);
            }
        }
    }
    None
}

/// One attempt; `None` if the credential is gone, or if the result is no longer needed.
async fn attempt(
    context: &Arc<Context>,
    object: &ApiCredential,
    leaving: &Leaving,
    tries: u32,
) -> Option<Attempt> {
    let passing = |why: &str| {
        let token_error = TokenError::local(Class::Transient, Reason::RevocationFailed, why);
        Some(Attempt::failed(
            &token_error,
            leaving.since.elapsed(),
            tries,
        ))
    };
    let left = leaving.deadline.saturating_sub(leaving.since.elapsed());
    let once = async {
        // A revoked token cannot be restored, and the cache may be wrong.
        match metadata(context, &leaving.key).await {
            Ok(Some(meta))
                if meta.uid.as_deref() == Some(&leaving.uid)
                    && (leaving.ended && over::is_over(object.spec.end(), context.clock.now())
                        || meta.deletion_timestamp.is_some() && api::finalizer::has(&meta)) => {}
            Ok(_) => return None,
            Err(_) => return passing("the API server did not confirm it"),
        }
        if let Some(kind) = context.unsynced.first(&leaving.key.namespace) {
            return passing(&format!("apicred may not list {kind} in this namespace"));
        }
        // An expired credential is not deleted, so its issuer cannot have been deleted together with it.
        let deleted = (!leaving.ended).then(|| leaving.since.into_std());
        let credential = match context.parse_leaving(object, deleted) {
            Ok(credential) => credential,
            Err(errors) => return Some(Attempt::Impossible(FieldError::join(&errors))),
        };
        let revoked = revoke::attempt(context, &credential, leaving).await;
        Some(match revoked {
            Ok(()) => Attempt::Revoked,
            Err(token_error) => Attempt::failed(&token_error, leaving.since.elapsed(), tries),
        })
    };
    // A panic for one credential must not stop the process or other deletions.
    match contained(ATTEMPT.min(left), Box::pin(once)).await {
        Ok(attempt) => attempt,
        Err(Defect::TookTooLong) => passing("the issuer did not answer in time"),
        Err(Defect::Panicked | Defect::Unreadable) => Some(Attempt::Impossible(
            "apicred failed; report it with the operator's log".to_owned(),
        )),
    }
}

/// Removes the finalizer, with retries. The object exists until this succeeds, so a failure is reported repeatedly: the events
/// of the first report are deleted after an hour.
async fn remove(context: &Context, object: &ApiCredential, leaving: &Leaving) {
    let (mut pause, longest) = AGAIN;
    let mut reported: Option<Instant> = None;
    while let Err(error_kind) =
        api::finalizer::set(context, &leaving.key, &leaving.uid, false).await
    {
        if error_kind == ApiErrorKind::Unwanted {
            return;
        }
        // An API server that is not available does not accept an event either.
        let due = reported.is_none_or(|at| at.elapsed() >= REPORT_AGAIN);
        if due && error_kind != ApiErrorKind::Unavailable {
            not_removed(context, object, &leaving.key, error_kind).await;
            reported = Some(Instant::now());
        }
        sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
}

/// What a user can do about a finalizer that cannot be removed.
fn not_removed_note(key: &Key) -> String {
    let (namespace, name) = (&key.namespace, &key.name);
    format!(
        "the finalizer cannot be removed, which delays the deletion; allow the operator's role to list and patch apicredentials, and let admission policies admit it. In a namespace that is being deleted, no role can be created any more: remove the finalizer with: kubectl -n {namespace} patch apicredentials.apicred.dev {name} --type=merge -p '{{\"metadata\":{{\"finalizers\":null}}}}' (this also removes the finalizers of others)"
    )
}

/// Reports a finalizer that cannot be removed: in the log, and as an event if a configuration change is required.
async fn not_removed(
    context: &Context,
    object: &ApiCredential,
    key: &Key,
    error_kind: ApiErrorKind,
) {
    let (namespace, credential) = (&key.namespace, &key.name);
    let result = error_kind.as_str();
    let note = not_removed_note(key);
    tracing::warn!(namespace, credential, result, "{note}");
    if !matches!(error_kind, ApiErrorKind::Forbidden | ApiErrorKind::Invalid) {
        return;
    }
    let notice = Notice {
        severity: Severity::Warning,
        reason: Reason::FinalizerForbidden.into(),
        note,
    };
    record::notify(context, object, key, &[notice], context.clock.now()).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_of_a_finalizer_that_stays_has_a_command_that_helps_in_a_terminating_namespace() {
        let key = Key {
            namespace: "team-b".to_owned(),
            name: "mail".to_owned(),
        };
        let note = not_removed_note(&key);
        let command = r#"kubectl -n team-b patch apicredentials.apicred.dev mail --type=merge -p '{"metadata":{"finalizers":null}}'"#;
        assert!(note.contains(command), "{note}");
    }
}
