//! Reports for each `ApiClient` whether credentials can use it. [`rotate`] replaces the client secret or certificate if the
//! client requests it.
//!
//! | Module | Content |
//! |---|---|
//! | [`usable`] | whether credentials can use a client |
//! | [`rotate`] | the loop: observes, lets `core/rotation` decide, executes, and stores the result |
//! | [`obstacle`] | other writers of the Secret, because of which it must not be changed |
//! | [`seen`] | the inputs of a decision: the Secret, its values, the credentials that use it |
//! | [`trial_request`] | the credential whose request a trial sends |
//! | [`takeover`] | what the status shows about the work of the previous process |
//! | [`held`] | a client secret that is not stored in a Secret yet, also if the client changes or is deleted |
//! | [`withdraw`] | its removal at the issuer, if it can no longer be stored in a Secret |
//! | [`patience`] | when storing it is retried |
//! | [`unstored`], [`holder`] | a registration access token that is not stored in a Secret yet, and where it belongs |
//! | [`stamp`] | what the next step depends on |
//! | [`execute`] | one step: a write, a call of the issuer's management API, a trial |
//! | [`unwritten`] | the report about a write that the API server rejects |
//! | [`patch`] | what a write changes |
//! | [`issuer`] | token requests with one value only, calls of Microsoft Graph, the token that manages the client |
//! | [`driver`] | the in-memory state of a process for a rotation |
//! | [`keypair`] | a new key pair |
//! | [`key_work`] | turns for computations with private keys |
//! | [`registration`] | a client's own registration (RFC 7592) |
//! | [`upload`] | a certificate that cert-manager created: the copy that proves it |
//! | [`view`], [`report`] | the content of status, log, events and metrics |

mod driver;
mod execute;
mod held;
mod holder;
mod issuer;
pub(super) mod key_work;
mod keypair;
mod obstacle;
mod patch;
mod patience;
mod registration;
mod report;
mod rotate;
mod seen;
mod stamp;
mod step_name;
mod takeover;
mod trial_request;
mod unstored;
mod unwritten;
mod upload;
mod usable;
pub(super) mod view;
mod withdraw;

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{Api, Resource};
use serde_json::json;

use usable::Fault;
use view::View;

use super::{
    api::calls::{Failed, apply_status, call_with_message},
    cache::cached_client::CachedClient,
    context::Context,
    locks::lock,
    rechecks::Object,
    reconcile::record,
};
use crate::{
    ConditionType, Reason,
    api::{ApiClient, ApiClientStatus},
    credential::Key,
    plan::conditions::{self, Conditions},
};

/// The maximum number of concurrent status writes.
const AT_ONCE: usize = 8;
/// The prefix of the condition types about a rotation.
const ROTATION: &str = "Rotation";
/// The kind, in the log and in events.
const KIND: &str = "ApiClient";

/// Checks each client that is received. Never returns.
pub(super) async fn check(context: Arc<Context>) {
    loop {
        context.clients.raised.notified().await;
        let unchecked = context.clients.take_unchecked();
        let checks = futures::stream::iter(unchecked);
        checks
            .for_each_concurrent(AT_ONCE, |key| check_one(&context, key))
            .await;
    }
}

async fn check_one(context: &Arc<Context>, key: Key) {
    let Some(client) = context.clients.get(&key) else {
        context.rotations.stop(&key);
        context.journals.forget(KIND, &key.namespace, &key.name);
        context.clients.rechecks.settled(&key);
        lock(&context.clients.opened).remove(&key);
        return;
    };
    let rotation = rotation(context, &key, &client);
    // An object that could not be listed yet would look as if it were missing. All clients are checked again after the list.
    if context.unsynced.first(&key.namespace).is_some() {
        return;
    }
    let checked = usable::check(context, &key, &client).await;
    if let Some(wait) = checked.again {
        recheck(context, key.clone(), wait);
    }
    let Some(found) = checked.found else {
        return;
    };
    let status = status(context, &client, found, rotation);
    if client.status.as_ref() == Some(&status) {
        context.clients.rechecks.settled(&key);
        return;
    }
    let written = write(context, &key, &client, &status).await;
    let old = client.status.as_ref().map_or(Vec::new(), of_client);
    let changed = (old.as_slice(), &*of_client(&status));
    record::object(context, KIND, &client.metadata, changed, written.is_ok()).await;
    match written {
        Ok(version) => {
            context.clients.wrote(&key, &client, &version, &status);
            context.clients.rechecks.settled(&key);
        }
        Err(failed) => {
            let object = Object {
                kind: KIND,
                namespace: Some(&key.namespace),
                name: &key.name,
            };
            let wait = context.clients.rechecks.lost(&key, object, &failed);
            recheck(context, key, wait);
        }
    }
}

fn recheck(context: &Arc<Context>, key: Key, wait: Duration) {
    let again = Arc::clone(context);
    let check = move |key| again.clients.check([key]);
    context.clients.rechecks.plan(key, wait, check);
}

/// The conditions whose changes cause log lines and events. A due rotation is not a fault; a failed rotation is reported when it fails.
fn of_client(status: &ApiClientStatus) -> Vec<Condition> {
    let others = [ConditionType::RotationDue, ConditionType::RotationFailed];
    let is_other = |c: &Condition| others.iter().any(|kind| kind.as_str() == c.type_);
    let all = status.conditions.iter();
    all.filter(|c| !is_other(c)).cloned().collect()
}

/// Starts or continues the rotation of a client, if it must be rotated. Returns what must be reported.
fn rotation(context: &Arc<Context>, key: &Key, client: &CachedClient) -> Rotation {
    let spec = client.spec.as_ref();
    let rotates = spec.is_ok_and(|spec| spec.rotation.is_some()) && !client.deleting;
    let uid = client.metadata.uid.as_deref().filter(|_| rotates);
    let Some(uid) = uid else {
        context.rotations.stop(key);
        return Rotation::Nothing;
    };
    let begin = |shared| rotate::begin(context, key, uid, shared);
    let view = context.rotations.attend(key, uid, begin);
    view.map_or(Rotation::Unknown, |view| Rotation::Known(Box::new(view)))
}

/// The known state of a client's rotation.
enum Rotation {
    /// The client is not rotated.
    Nothing,
    /// This process has not reconciled the rotation yet: the status is not changed.
    Unknown,
    Known(Box<View>),
}

impl Rotation {
    /// Adds the rotation to a status.
    fn put(
        self,
        status: &mut ApiClientStatus,
        conditions: Conditions<'_>,
        old: Option<&ApiClientStatus>,
    ) {
        let view = match (self, old) {
            (Self::Nothing, _) | (Self::Unknown, None) => return,
            (Self::Unknown, Some(old)) => return keep(status, old),
            (Self::Known(view), Some(old)) if view.initial => {
                keep(status, old);
                let kind = ConditionType::RotationBlocked;
                status.conditions.retain(|c| !kind.is(c));
                let made = view
                    .blocked
                    .map(|text| conditions.condition(kind, true, Reason::RotationBlocked, &text));
                status.conditions.extend(made);
                return;
            }
            (Self::Known(view), _) => view,
        };
        for (kind, reason, message) in [
            (ConditionType::RotationDue, Reason::RotationDue, view.due),
            (
                ConditionType::RotationBlocked,
                Reason::RotationBlocked,
                view.blocked,
            ),
            (
                ConditionType::RotationFailed,
                Reason::RotationFailed,
                view.failed,
            ),
            (
                ConditionType::RotationLeftover,
                Reason::RotationLeftover,
                view.left,
            ),
        ] {
            let made = message.map(|text| conditions.condition(kind, true, reason, &text));
            status.conditions.extend(made);
        }
        status.keys = view.keys;
        status.rotation_state = view.state.map(str::to_owned);
        status.next_rotation_at = view.rotates_at.map(conditions::time);
        status.last_handled_rotate_request = view.handled;
        status.last_failed_rotate_request = view.failed_request;
    }
}

/// Retains the part of the status about a rotation.
fn keep(status: &mut ApiClientStatus, old: &ApiClientStatus) {
    let rotation_conditions = old.conditions.iter();
    let rotation_conditions = rotation_conditions.filter(|c| c.type_.starts_with(ROTATION));
    status.conditions.extend(rotation_conditions.cloned());
    status.keys.clone_from(&old.keys);
    status.rotation_state.clone_from(&old.rotation_state);
    status.next_rotation_at.clone_from(&old.next_rotation_at);
    status
        .last_handled_rotate_request
        .clone_from(&old.last_handled_rotate_request);
    status
        .last_failed_rotate_request
        .clone_from(&old.last_failed_rotate_request);
}

fn status(
    context: &Context,
    client: &CachedClient,
    found: Result<(), Fault>,
    rotation: Rotation,
) -> ApiClientStatus {
    let (on, reason, message) = match found {
        Ok(()) => {
            let message = "credentials can use this client".to_owned();
            (true, Reason::ClientValid, message)
        }
        Err(fault) => (false, fault.reason, fault.message),
    };
    let generation = client.metadata.generation;
    let old = client.status.as_ref();
    let conditions = Conditions {
        previous: old.map_or(&[][..], |status| status.conditions.as_slice()),
        generation: generation.unwrap_or_default(),
        now: context.clock.now(),
    };
    let mut shown = vec![conditions.condition(ConditionType::Ready, on, reason, &message)];
    // A missing Secret or issuer may be created by the next apply. Credentials that need it report it after a while.
    if !on && !reason.waits_for_others() {
        shown.push(conditions.condition(ConditionType::Stalled, true, reason, &message));
    }
    let mut status = ApiClientStatus {
        observed_generation: generation,
        conditions: shown,
        ..ApiClientStatus::default()
    };
    status
        .conditions
        .extend(client.unread.as_ref().map(|reported| {
            let (kind, reason) = (ConditionType::AnnotationsIgnored, Reason::AnnotationUnknown);
            let message = format!("an annotation has no effect: {reported}");
            conditions.condition(kind, true, reason, &message)
        }));
    rotation.put(&mut status, conditions, old);
    status
}

async fn write(
    context: &Context,
    key: &Key,
    client: &CachedClient,
    status: &ApiClientStatus,
) -> Result<String, Failed> {
    let api: Api<ApiClient> = Api::namespaced(context.client.clone(), &key.namespace);
    let meta = &client.metadata;
    let body = json!({
        "apiVersion": ApiClient::api_version(&()),
        "kind": ApiClient::kind(&()),
        "metadata": {
            "name": key.name,
            "uid": meta.uid,
            // The status is for this version. A client that was edited in the meantime is checked again.
            "resourceVersion": meta.resource_version,
        },
        "status": status,
    });
    let apply = || apply_status(&api, &key.name, &body, &context.undeclared);
    let may = || context.may_act();
    call_with_message(&context.metrics, "patch_client_status", may, apply, None).await
}
