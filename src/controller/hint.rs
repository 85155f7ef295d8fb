//! Tells those who may read a Secret that the client secret in it has an odd form: in the log, and as an Event on the Secret.
//! The status of a credential has more readers, and says where to look.

use aws_lc_rs::digest::{SHA256, digest};
use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, api::PostParams};

use super::{calls::call_once, context::Context, ids};
use crate::publish::SourceMark;

/// Longest name of a Secret that goes into the name of an Event, which ends at 253 characters.
const MAX_STEM: usize = 200;

/// Tells it. `form`: the rest of a sentence that begins with "what is stored", without anything of the value.
pub(super) async fn report(context: &Context, namespace: &str, mark: &SourceMark, form: &str) {
    tracing::warn!(
        namespace,
        secret = mark.name,
        key = mark.key,
        form,
        "the issuer refused a client secret of an odd form"
    );
    let event = event(namespace, mark, form, context);
    let api: Api<Event> = Api::namespaced(context.client.clone(), namespace);
    let params = PostParams::default();
    let sent = api.create(&params, &event);
    // An Event of this name is there already, most of the time: it tells the same.
    if call_once(&context.metrics, "create_event", sent)
        .await
        .is_err()
    {
        tracing::debug!(secret = mark.name, "event was not created");
    }
}

fn event(namespace: &str, mark: &SourceMark, form: &str, context: &Context) -> Event {
    // One for each content of the Secret and each form, however often the issuer refuses it.
    let told = format!("{}/{}/{}/{form}", mark.uid, mark.version, mark.key);
    let digest = digest(&SHA256, told.as_bytes());
    let stem: String = mark.name.chars().take(MAX_STEM).collect();
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{stem}.{}", ids::hex(&digest.as_ref()[..8]))),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        action: Some("Reconcile".to_owned()),
        event_time: Some(MicroTime(context.clock.now())),
        note: Some(format!(
            "the issuer refused the client secret under key {}: what is stored {form}",
            mark.key
        )),
        reason: Some("ClientSecretForm".to_owned()),
        regarding: Some(ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Secret".to_owned()),
            name: Some(mark.name.clone()),
            namespace: Some(namespace.to_owned()),
            uid: Some(mark.uid.clone()),
            ..ObjectReference::default()
        }),
        reporting_controller: Some("apicred.dev/operator".to_owned()),
        reporting_instance: Some(context.settings.instance.clone()),
        type_: Some("Warning".to_owned()),
        ..Event::default()
    }
}
