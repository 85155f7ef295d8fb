//! Adds the finalizer to a credential whose token must be revoked at its end, before it has a token; removes the finalizer if
//! the revocation is no longer requested.

use std::time::Duration;

use jiff::SignedDuration;
use tokio::time::Instant;

use crate::controller::{
    api::{calls::ApiErrorKind, finalizer},
    context::Context,
    locks::lock,
    requeue::key_of,
    state::Leaving,
};
use crate::{
    Reason,
    api::{ApiCredential, DeletionPolicy},
    credential::{Credential, Key},
    plan::{
        Observed, Outcome, Plan, RenewalCause,
        finalizer::{Facts, Step, step, time_left},
        over, schedule,
    },
    telemetry::tries::warn_at_first,
};

/// The wait after the finalizer could not be added.
const AGAIN: SignedDuration = SignedDuration::from_secs(30);

/// Adds or removes the finalizer if necessary. Returns an outcome if the plan must wait for this: without the finalizer, no
/// first token is requested. An existing token is still renewed.
pub(super) async fn settle(
    context: &Context,
    object: &ApiCredential,
    (credential, observed): (&Credential, &Observed),
    plan: &Plan,
) -> Option<Outcome> {
    let facts = Facts {
        policy: Some(credential.target.deletion),
        present: finalizer::has(&object.metadata),
        // No finalizer is added in a namespace that is being deleted.
        deleting: observed.deleting,
        has_token: true,
        last: None,
    };
    let wanted = match step(facts, Duration::ZERO, Duration::MAX) {
        // The removal of a token does not wait for a finalizer.
        Step::Add if over::is_over(credential.end, context.clock.now()) => return None,
        Step::Add => true,
        Step::Remove(_) if !observed.deleting => false,
        _ => return None,
    };
    let set = finalizer::set(context, &credential.key(), &credential.uid, wanted).await;
    let Err(error_kind) = set else {
        context.worked("finalizer", &credential.uid);
        return None;
    };
    let now = context.clock.now();
    let renews = matches!(plan, Plan::Mint(_) | Plan::Publish(_));
    if !wanted || renews && observed.valid(credential, now).is_some() {
        let result = error_kind.as_str();
        let failure = context.failed("finalizer", &credential.uid, result);
        warn_at_first!(
            failure,
            result,
            wanted,
            "the finalizer cannot be changed; apicred tries again with the next reconcile"
        );
        return None;
    }
    let (reason, message) = match error_kind {
        // The credential is being deleted, or another process is the leader.
        ApiErrorKind::Unwanted => {
            let until = schedule::later(now, SignedDuration::from_secs(1));
            return Some(Outcome::Queued { until });
        }
        ApiErrorKind::Invalid => (
            Reason::FinalizerForbidden,
            "the API server refuses the finalizer of apicred, or an admission policy or webhook removes it again, and without it deletionPolicy Revoke cannot be applied; exclude apicredentials from that policy, or set another deletionPolicy",
        ),
        ApiErrorKind::Forbidden => (
            Reason::FinalizerForbidden,
            "apicred may not add its finalizer, without which deletionPolicy Revoke cannot be applied; let the operator's role patch apicredentials, and admission policies admit it",
        ),
        _ => (
            Reason::KubernetesUnavailable,
            "the finalizer of this credential cannot be added now; apicred tries again",
        ),
    };
    Some(Outcome::Waiting {
        reason,
        message: message.to_owned(),
        until: schedule::later(now, AGAIN),
    })
}

/// Passes a credential that is being deleted and has the finalizer to the task that revokes its token. Must be called when no
/// other work on it is in progress: a token that is published afterwards would not be revoked.
pub(super) fn hand_over(context: &Context, object: &ApiCredential) {
    let meta = &object.metadata;
    let Some(deleted_at) = meta.deletion_timestamp.as_ref() else {
        return;
    };
    let uid = meta.uid.as_deref().unwrap_or_default();
    if !finalizer::has(meta) || context.leaving.has(uid) {
        return;
    }
    let key = key_of(object);
    let (token, unwritten) = context.take_revocable(&key, uid);
    let has_token = token.is_some() || unwritten.is_some() || has_token(context, object, &key);
    context.leaving.send(Leaving {
        deadline: time_left(deleted_at.0, context.clock.now()),
        since: Instant::now(),
        uid: uid.to_owned(),
        ended: false,
        token,
        unwritten,
        has_token,
        key,
    });
}

/// Starts the revocation of the token of an expired credential (`notAfter`), before the token is removed from its Secret: if
/// the process is killed in between, the next process finds the token there. Returns an outcome while the removal waits for the
/// revocation, at most for as long as a deletion.
pub(super) fn revoke_ended(
    context: &Context,
    credential: &Credential,
    plan: &mut Plan,
) -> Option<Outcome> {
    let (key, uid) = (credential.key(), credential.uid.as_str());
    let (done, has) = context.with_state(&key, uid, |s| {
        (s.revoked_at_end, s.revocable.is_some() || s.held.is_some())
    });
    // The Secret may be deleted before the end, and a token may never have been written: this process has the token all the same.
    let left = has
        && matches!(
            plan,
            Plan::Refuse {
                reason: Reason::Ended,
                ..
            }
        );
    let under_way = context.leaving.has(uid);
    let wanted =
        (*plan == Plan::Empty || left) && credential.target.deletion == DeletionPolicy::Revoke;
    if !wanted {
        // The token was revoked, and `notAfter` was extended since: the readers need another token. The write of a token clears this state.
        if let (Some(true), Plan::Keep { .. }) = (done, &plan) {
            *plan = Plan::Mint(RenewalCause::SpecChanged);
        } else if done == Some(false) {
            context.with_state(&key, uid, |s| s.revoked_at_end = None);
        }
        return None;
    }
    // A token that was issued after that revocation is revoked as well.
    if done.is_some() && !has && !under_way {
        return None;
    }
    let now = context.clock.now();
    if !under_way {
        let (token, unwritten) = context.take_revocable(&key, uid);
        context.leaving.send(Leaving {
            deadline: time_left(credential.end.unwrap_or(now), now),
            since: Instant::now(),
            uid: uid.to_owned(),
            ended: true,
            token,
            unwritten,
            has_token: true,
            key,
        });
    }
    // The credential is requeued as soon as the revocation has ended.
    let until = schedule::later(now, AGAIN);
    Some(Outcome::Queued { until })
}

/// Whether there ever was a token, according to the status, the Secret or a sign-in.
fn has_token(context: &Context, object: &ApiCredential, key: &Key) -> bool {
    let published = object.status.as_ref().and_then(|s| s.issued_at.as_ref());
    let uid = object.metadata.uid.as_deref().unwrap_or_default();
    let secrets = lock(&context.secrets);
    let named = |name: &str| (key.namespace.clone(), name.to_owned());
    let target = named(&object.spec.target.secret_name);
    let grant = object.spec.grant.as_deref();
    let state = grant.and_then(|g| g.refresh_token.as_ref());
    published.is_some()
        || secrets
            .published(&target, uid)
            .is_some_and(|p| !p.is_emptied())
        || state.is_some_and(|state| secrets.get(&named(&state.secret_ref.name)).is_some())
}
