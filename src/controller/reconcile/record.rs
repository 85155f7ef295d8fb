//! Reports the result of a reconcile: writes the status if it differs, and sends events for changes. A failure of this never fails a reconcile.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, ObjectMeta},
};
use kube::{Api, Resource, api::PostParams};
use serde_json::json;

use super::log_lines::{self, Subject};
use crate::controller::{
    api::{
        calls::{ApiErrorKind, apply_status, call_once, call_with_message},
        ids,
    },
    cache::{calls_under_way::newer, packed::PackedCredential},
    context::Context,
    locks::lock,
    rechecks::is_lasting,
    requeue::reference,
};
use crate::{
    ConditionType, Reason,
    api::{ApiCredential, ApiCredentialStatus, TokenIssuer},
    credential::Key,
    plan::{
        Notice, Severity, event_instance, event_name, event_note,
        finalizer::End,
        journal::{Change, Entry, Line, Step},
    },
};

/// The maximum number of attempts to write the status of an object that other writers edit at the same time.
const TRIES: usize = 3;
/// How long the watch may take to deliver the change that caused a conflict.
const CATCH_UP: Duration = Duration::from_secs(1);

/// The status in the cluster, as far as this process knows: its own last write until the watch delivers it, else the status that the watch delivered.
pub(in crate::controller) fn known_status(
    context: &Context,
    object: &ApiCredential,
    key: &Key,
) -> Option<ApiCredentialStatus> {
    let uid = object.metadata.uid.as_deref().unwrap_or_default();
    let written = context.written_status(key, uid).map(|(_, status)| status);
    // The object at the start of this reconcile may be older than what the watch has delivered in the meantime.
    let newest = || {
        let there = shown(context, key, uid)?;
        let newer = object.metadata.resource_version.as_deref() != Some(&*there.version);
        newer.then(|| there.status())
    };
    written.or_else(|| newest().unwrap_or_else(|| object.status.clone()))
}

/// Writes the status if it differs. `Ok` if the cluster now has it.
///
/// The write requires the known version: a writer that does not know of a change cannot overwrite it. This includes a process
/// that is no longer the leader.
pub(in crate::controller) async fn write_status(
    context: &Context,
    object: &ApiCredential,
    key: &Key,
    known: Option<&ApiCredentialStatus>,
    status: &ApiCredentialStatus,
) -> Result<(), ApiErrorKind> {
    if known == Some(status) {
        return Ok(());
    }
    let uid = object.metadata.uid.as_deref().unwrap_or_default();
    let api: Api<ApiCredential> = Api::namespaced(context.client.clone(), &key.namespace);
    for _ in 0..TRIES {
        let version = known_version(context, object, key);
        let body = json!({
            "apiVersion": ApiCredential::api_version(&()),
            "kind": ApiCredential::kind(&()),
            // The UID prevents a write to an object with the same name that was created in the meantime.
            "metadata": { "name": key.name, "uid": uid, "resourceVersion": version },
            "status": status,
        });
        let apply = || apply_status(&api, &key.name, &body, &context.undeclared);
        let may = || context.may_act();
        match call_with_message(&context.metrics, "patch_status", may, apply, None).await {
            Ok(version) => {
                context.wrote_status(key, uid, &version, status);
                return Ok(());
            }
            Err(failed) if failed.error_kind == ApiErrorKind::Terminating => return Ok(()),
            Err(failed)
                if failed.error_kind == ApiErrorKind::Conflict
                    && still_fits(context, key, uid, &version, known).await => {}
            // Another conflict, or a 404, may be caused by a busy store or by a kind that is temporarily not served. If the
            // object was deleted or recreated, the watch delivers this, and there is no retry.
            Err(failed) => {
                let first = || context.lost_statuses(key, uid) == 0;
                if is_lasting(&failed) && first() {
                    let server_message = failed.server_message.fault();
                    tracing::warn!(
                        server_message,
                        "the status cannot be written; apicred tries again"
                    );
                }
                return Err(failed.error_kind);
            }
        }
    }
    Err(ApiErrorKind::Conflict)
}

/// The last version of this object that the watch delivered.
pub(in crate::controller) fn shown(
    context: &Context,
    key: &Key,
    uid: &str,
) -> Option<Arc<PackedCredential>> {
    let there = context.credentials.get(&reference(key));
    there.filter(|there| *there.uid == *uid)
}

/// The version of [`known_status`].
fn known_version(context: &Context, object: &ApiCredential, key: &Key) -> String {
    let uid = object.metadata.uid.as_deref().unwrap_or_default();
    let written = context.written_status(key, uid).map(|(version, _)| version);
    let newest = || shown(context, key, uid).map(|there| there.version.to_string());
    let begun_with = || object.metadata.resource_version.clone();
    written
        .or_else(newest)
        .or_else(begun_with)
        .unwrap_or_default()
}

/// After a conflict: waits until the watch delivers the current version, and returns whether its status is the known one. For
/// example, a changed label does not affect the status; another status requires a new reconcile.
async fn still_fits(
    context: &Context,
    key: &Key,
    uid: &str,
    version: &str,
    known: Option<&ApiCredentialStatus>,
) -> bool {
    let begun = tokio::time::Instant::now();
    while begun.elapsed() < CATCH_UP {
        let Some(there) = shown(context, key, uid) else {
            return false;
        };
        if newer(&there.version, version) {
            // Otherwise the next attempt might still use the version of this process's own last write.
            context.saw(key, &there.version);
            return there.status().as_ref() == known;
        }
        tokio::time::sleep(CATCH_UP / 50).await;
    }
    false
}

/// The events that remain after the counting of the log: a fault that repeats every few seconds is not reported each time.
pub(in crate::controller) fn worth(notices: &[Notice], entry: &Entry) -> Vec<Notice> {
    let ended = || entry.lines.iter().any(|l| l.change == Change::Ended);
    let worth = |notice: &&Notice| match notice.severity {
        Severity::Warning => !entry.counted.contains(&notice.reason),
        Severity::Normal => entry.counted.is_empty() || ended(),
    };
    notices.iter().filter(worth).cloned().collect()
}

/// Sends events for a credential.
pub(in crate::controller) async fn notify(
    context: &Context,
    object: &ApiCredential,
    key: &Key,
    notices: &[Notice],
    now: Timestamp,
) {
    let regarding = ObjectReference {
        api_version: Some(ApiCredential::api_version(&()).into_owned()),
        kind: Some(ApiCredential::kind(&()).into_owned()),
        name: Some(key.name.clone()),
        namespace: Some(key.namespace.clone()),
        uid: object.metadata.uid.clone(),
        ..ObjectReference::default()
    };
    for notice in notices {
        send(context, &regarding, notice, now).await;
    }
}

/// Logs the changes of conditions after a check of an issuer or a client, and sends events for them. `written`: whether its
/// status now contains the conditions.
pub(in crate::controller) async fn object(
    context: &Context,
    kind: &str,
    meta: &ObjectMeta,
    (old, new): (&[Condition], &[Condition]),
    written: bool,
) {
    let subject = Subject {
        kind,
        namespace: meta.namespace.as_deref(),
        name: meta.name.as_deref().unwrap_or_default(),
        uid: meta.uid.as_deref().unwrap_or_default(),
    };
    let now = context.clock.now();
    // Each check of a faulty object counts as an attempt.
    let step = Step {
        now,
        tried: true,
        refused: None,
    };
    let entry = context.journals.step(subject, (old, new), written, step);
    let regarding = ObjectReference {
        api_version: Some(TokenIssuer::api_version(&()).into_owned()),
        kind: Some(kind.to_owned()),
        name: meta.name.clone(),
        namespace: meta.namespace.clone(),
        uid: meta.uid.clone(),
        ..ObjectReference::default()
    };
    for line in &entry.lines {
        log_lines::write(subject, line);
        if let (true, Some(notice)) = (written, of_object(line, new)) {
            send(context, &regarding, &notice, now).await;
        }
    }
}

/// The event for a line about an issuer or a client: `None` if the fault is only counted.
fn of_object(line: &Line, new: &[Condition]) -> Option<Notice> {
    let (severity, reason) = match line.change {
        // Nothing waits for this condition.
        Change::Began | Change::Changed if line.condition == ConditionType::RotationLeftover => {
            (Severity::Normal, line.reason.clone())
        }
        Change::Began | Change::Changed => (Severity::Warning, line.reason.clone()),
        Change::Ended => {
            let now = line.condition.find(new)?;
            (Severity::Normal, now.reason.as_str().into())
        }
        Change::Repeated => return None,
    };
    let note = line.message.clone();
    Some(Notice {
        severity,
        reason,
        note,
    })
}

/// Sends one event.
pub(in crate::controller) async fn send(
    context: &Context,
    regarding: &ObjectReference,
    notice: &Notice,
    now: Timestamp,
) {
    // Events for cluster-scoped objects are created in the namespace `default`, as required by the API server.
    let namespace = regarding.namespace.as_deref().unwrap_or("default");
    let event = event(context, regarding, namespace, notice, now);
    let api: Api<Event> = Api::namespaced(context.client.clone(), namespace);
    let params = PostParams::default();
    let sent = call_once(
        &context.metrics,
        "create_event",
        api.create(&params, &event),
    )
    .await;
    if sent.is_err() {
        tracing::debug!(reason = notice.reason.as_str(), "event could not be sent");
    }
}

fn event(
    context: &Context,
    regarding: &ObjectReference,
    namespace: &str,
    notice: &Notice,
    now: Timestamp,
) -> Event {
    let object = regarding.name.as_deref().unwrap_or_default();
    Event {
        metadata: ObjectMeta {
            name: Some(event_name(object, &ids::hex(&ids::random::<8>()))),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        action: Some("Reconcile".to_owned()),
        event_time: Some(MicroTime(now)),
        note: Some(event_note(&notice.note).to_owned()),
        reason: Some(notice.reason.to_string()),
        regarding: Some(regarding.clone()),
        reporting_controller: Some("apicred.dev/operator".to_owned()),
        reporting_instance: Some(event_instance(&context.settings.instance).to_owned()),
        type_: Some(
            match notice.severity {
                Severity::Normal => "Normal",
                Severity::Warning => "Warning",
            }
            .to_owned(),
        ),
        ..Event::default()
    }
}

/// When the published token of this object expires at the issuer, if it is stated.
pub(in crate::controller) fn token_end(
    context: &Context,
    object: &ApiCredential,
    key: &Key,
) -> Option<Timestamp> {
    let target = object.spec.target.secret_name.clone();
    let uid = object.metadata.uid.as_deref().unwrap_or_default();
    let secrets = lock(&context.secrets);
    let published = secrets.published(&(key.namespace.clone(), target), uid)?;
    published.record.as_ref()?.stated_end()
}

/// Reports the result of a revocation: in the log, in the metric and, if the token was not revoked, as an event.
pub(in crate::controller) async fn report_end(
    context: &Context,
    object: &ApiCredential,
    key: &Key,
    (end, token_end): (&End, Option<Timestamp>),
) {
    let (namespace, credential) = (&key.namespace, &key.name);
    if let Some(result) = end.label() {
        context.metrics.revoked(result);
    }
    match end.warning(token_end) {
        Some(note) => {
            // Events cannot be created in a namespace that is being deleted. The result is then only in the log.
            tracing::warn!(namespace, credential, "{note}");
            let notice = Notice {
                severity: Severity::Warning,
                reason: Reason::RevocationFailed.into(),
                note,
            };
            notify(context, object, key, &[notice], context.clock.now()).await;
        }
        None if *end == End::Revoked => tracing::info!(namespace, credential, "token revoked"),
        None => tracing::debug!(namespace, credential, ?end, "nothing to revoke"),
    }
}
