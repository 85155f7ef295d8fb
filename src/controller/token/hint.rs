//! Tells those who may read a Secret that what an issuer refused has an odd form: in the log, and as an Event on the Secret.
//! The status of a credential has more readers, and says where to look.

use std::{collections::HashMap, sync::Mutex};

use aws_lc_rs::digest::{SHA256, digest};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, api::PostParams};

use crate::controller::{
    api::{calls::call_once, ids},
    context::{Context, lock},
};
use crate::{oauth::Odd, publish::SourceMark};

/// Longest name of a Secret that goes into the name of an Event, which ends at 253 characters.
const MAX_STEM: usize = 200;

/// What was told is not told again within this time: as long as the API server keeps an Event.
const QUIET: SignedDuration = SignedDuration::from_hours(1);
/// Forms that are remembered as told.
const MAX_TOLD: usize = 1024;

/// What was told, when, and how often it came since.
#[derive(Default)]
pub(in crate::controller) struct Hints(Mutex<HashMap<String, (Timestamp, u32)>>);

impl Hints {
    /// Is it told now, and how often did it come since it was told last?
    fn note(&self, name: &str, now: Timestamp) -> Option<u32> {
        let mut all = lock(&self.0);
        let recent = |at: Timestamp| {
            let age = now.duration_since(at);
            age < QUIET && !age.is_negative()
        };
        if let Some((at, repeats)) = all.get_mut(name) {
            if recent(*at) {
                *repeats = repeats.saturating_add(1);
                return None;
            }
            *at = now;
            return Some(std::mem::take(repeats));
        }
        if all.len() >= MAX_TOLD {
            all.retain(|_, (at, _)| recent(*at));
        }
        if all.len() < MAX_TOLD {
            all.insert(name.to_owned(), (now, 0));
        }
        Some(0)
    }
}

/// Something of an odd form.
pub(in crate::controller) struct Hint {
    /// Where it is stored.
    pub(in crate::controller) mark: SourceMark,
    /// Reason of the Event.
    reason: &'static str,
    /// What should be stored.
    noun: &'static str,
    /// The rest of a sentence that begins with "what is stored", without anything of the value.
    form: String,
}

impl Hint {
    /// About a client secret.
    pub(in crate::controller) fn of_client(mark: SourceMark, form: String) -> Self {
        Self {
            mark,
            reason: "ClientSecretForm",
            noun: "client secret",
            form,
        }
    }

    /// About what a grant draws on.
    pub(in crate::controller) fn of_grant(mark: SourceMark, odd: Odd) -> Self {
        Self {
            mark,
            reason: "GrantSecretForm",
            noun: odd.noun,
            form: odd.form,
        }
    }
}

/// Tells it once, and repeats as a number.
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
        "the issuer refused a {noun} of an odd form"
    );
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

fn event(namespace: &str, hint: &Hint, context: &Context) -> Event {
    let Hint {
        mark,
        reason,
        noun,
        form,
    } = hint;
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
            "the issuer refused the {noun} under key {}: what is stored {form}",
            mark.key
        )),
        reason: Some((*reason).to_owned()),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::at;

    #[test]
    fn a_form_is_told_once_an_hour_with_the_number_of_its_repeats() {
        let hints = Hints::default();
        assert_eq!(hints.note("a", at(0)), Some(0));
        assert_eq!(hints.note("a", at(5)), None);
        assert_eq!(hints.note("b", at(5)), Some(0));
        assert_eq!(hints.note("a", at(3599)), None);
        assert_eq!(hints.note("a", at(3600)), Some(2));
        assert_eq!(hints.note("a", at(3601)), None);
        // The clock went back.
        assert_eq!(hints.note("a", at(-10)), Some(1));
        for n in 0..2 * MAX_TOLD {
            assert_eq!(hints.note(&format!("n{n}"), at(0)), Some(0));
        }
        assert!(lock(&hints.0).len() <= MAX_TOLD);
    }
}
