//! Reports a [`Hint`]: in the log, and as an Event on the Secret.

use aws_lc_rs::digest::{SHA256, digest};
use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, api::PostParams};

use super::hint::Hint;
use crate::controller::{
    api::{calls::call_once, ids},
    context::Context,
};
use crate::plan::{event_instance, event_name, event_note};

/// Reports it once. Repetitions are reported as a number.
pub(in crate::controller) async fn report(context: &Context, namespace: &str, hint: &Hint) {
    let event = event(namespace, hint, context);
    let Hint {
        mark, noun, form, ..
    } = hint;
    let name = event.metadata.name.as_deref().unwrap_or_default();
    let known = format!("{namespace}/{name}");
    let Some(repeats) = context.hints.note(&known, context.clock.now()) else {
        return;
    };
    tracing::warn!(
        namespace,
        secret = mark.name,
        key = mark.key,
        form,
        repeats,
        "the issuer refused a {noun} with an unexpected form"
    );
    let api: Api<Event> = Api::namespaced(context.client.clone(), namespace);
    let params = PostParams::default();
    let sent = api.create(&params, &event);
    // In most cases an Event with this name already exists, with the same content.
    if call_once(&context.metrics, "create_event", sent)
        .await
        .is_err()
    {
        tracing::debug!(secret = mark.name, "event was not created");
    }
}

fn event(namespace: &str, hint: &Hint, context: &Context) -> Event {
    let Hint {
        mark,
        reason,
        noun,
        form,
    } = hint;
    // One Event for each content of the Secret and each form, independent of how often the issuer rejects it.
    let reported = format!("{}/{}/{}/{form}", mark.uid, mark.version, mark.key);
    let digest = digest(&SHA256, reported.as_bytes());
    let note = format!(
        "the issuer refused the {noun} in key {}: the stored value {form}",
        mark.key
    );
    Event {
        metadata: ObjectMeta {
            name: Some(event_name(&mark.name, &ids::hex(&digest.as_ref()[..8]))),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        action: Some("Reconcile".to_owned()),
        event_time: Some(MicroTime(context.clock.now())),
        note: Some(event_note(&note).to_owned()),
        reason: Some(reason.to_string()),
        regarding: Some(ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Secret".to_owned()),
            name: Some(mark.name.clone()),
            namespace: Some(namespace.to_owned()),
            uid: Some(mark.uid.clone()),
            ..ObjectReference::default()
        }),
        reporting_controller: Some("apicred.dev/operator".to_owned()),
        reporting_instance: Some(event_instance(&context.settings.instance).to_owned()),
        type_: Some("Warning".to_owned()),
        ..Event::default()
    }
}
