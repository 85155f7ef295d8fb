//! Adds the finalizer to a credential that wants its token revoked at its end, before it has one; removes it from one that
//! does not want it any more.

use std::time::Duration;

use jiff::SignedDuration;
use tokio::time::Instant;

use crate::controller::{
    api::{calls::Trouble, finalizer},
    context::Context,
    locks::lock,
    requeue::key_of,
    state::Leaving,
};
use crate::{
    Reason,
    api::ApiCredential,
    credential::{Credential, Key},
    plan::{
        Observed, Outcome, Plan,
        finalizer::{Facts, Step, step, time_left},
        schedule,
    },
    telemetry::tries::warn_at_first,
};

/// After a finalizer that could not be added.
const AGAIN: SignedDuration = SignedDuration::from_secs(30);

/// Does what is to be done with the finalizer. Gives an outcome if the plan has to wait for that: without it no first token
/// is requested. A token that is there is renewed all the same.
pub(super) async fn settle(
    context: &Context,
    object: &ApiCredential,
    (credential, observed): (&Credential, &Observed),
    plan: &Plan,
) -> Option<Outcome> {
    let facts = Facts {
        policy: Some(credential.target.deletion),
        present: finalizer::has(&object.metadata),
        // In a namespace that is being deleted none is added.
        deleting: observed.deleting,
        has_token: true,
        last: None,
    };
    let wanted = match step(facts, Duration::ZERO, Duration::MAX) {
        Step::Add => true,
        Step::Remove(_) if !observed.deleting => false,
        _ => return None,
    };
    let set = finalizer::set(context, &credential.key(), &credential.uid, wanted).await;
    let Err(trouble) = set else {
        context.worked("finalizer", &credential.uid);
        return None;
    };
    let now = context.clock.now();
    let renews = matches!(plan, Plan::Mint(_) | Plan::Publish(_));
    if !wanted || renews && observed.valid(credential, now).is_some() {
        let result = trouble.as_str();
        let failure = context.failed("finalizer", &credential.uid, result);
        warn_at_first!(
            failure,
            result,
            wanted,
            "the finalizer cannot be changed; apicred tries again with the next reconcile"
        );
        return None;
    }
    let (reason, message) = match trouble {
        // It is being deleted, or another process leads.
        Trouble::Unwanted => {
            let until = schedule::later(now, SignedDuration::from_secs(1));
            return Some(Outcome::Queued { until });
        }
        Trouble::Forbidden | Trouble::Invalid => (
            Reason::FinalizerForbidden,
            "apicred may not add its finalizer, without which deletionPolicy Revoke cannot be kept; let the operator's role patch apicredentials, and admission policies admit it",
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

/// Hands a credential that is being deleted to the task that ends it, if it has the finalizer. To be called when no other work
/// on it is under way: a token that is published afterwards would not be revoked.
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
        token,
        unwritten,
        has_token,
        key,
    });
}

/// Was there ever a token, as far as the status, the Secret or a sign-in say?
fn has_token(context: &Context, object: &ApiCredential, key: &Key) -> bool {
    let published = object.status.as_ref().and_then(|s| s.issued_at.as_ref());
    let uid = object.metadata.uid.as_deref().unwrap_or_default();
    let secrets = lock(&context.secrets);
    let named = |name: &str| (key.namespace.clone(), name.to_owned());
    let target = named(&object.spec.target.secret_name);
    let grant = object.spec.grant.as_deref();
    let state = grant.and_then(|g| g.refresh_token.as_ref());
    published.is_some()
        || secrets.published(&target, uid).is_some()
        || state.is_some_and(|state| secrets.get(&named(&state.secret_ref.name)).is_some())
}
