//! The state Secret of a refresh token: the mark before a request, the new token after it. The rules are in
//! [`crate::oauth::renewal`]; here they are written down, each write at the version that was read.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::{
    calls::{Trouble, call},
    context::Context,
    materials::StateSecret,
};
use crate::{
    api::names,
    credential::Credential,
    oauth::{
        Class, Refusal, Token,
        renewal::{self, Fate, Notes, Step},
    },
    publish::SourceMark,
};

/// How often a new refresh token is tried to be stored before it is left to the memory: it exists nowhere else.
const STORE_TRIES: u32 = 6;

/// Makes ready to send: sets the mark if one is needed. Says whether one stands now.
pub(super) async fn begin(
    context: &Context,
    credential: &Credential,
    state: &mut StateSecret,
    now: Timestamp,
) -> Result<bool, Refusal> {
    let noted = Notes::read(state.annotations.as_ref());
    let name = format!("{}/{}", credential.namespace, credential.name);
    match renewal::before(&noted, credential.issuer.reuse, &name, now) {
        Step::Stop(refusal) => Err(refusal),
        Step::Send { mark: None } => Ok(noted.in_flight_since.is_some()),
        Step::Send { mark: Some(at) } => {
            let change = json!({ "metadata": { "annotations": { (names::IN_FLIGHT_SINCE): at.to_string() } } });
            write(context, credential, state, change)
                .await
                .map_err(|trouble| trouble_with(state, trouble))?;
            Ok(true)
        }
    }
}

/// Writes down what became of the refresh token. Gives the mark of the state Secret as it is now.
pub(super) async fn finish(
    context: &Arc<Context>,
    credential: &Credential,
    state: &mut StateSecret,
    marked: bool,
    sent: &SecretString,
    result: &Result<Token, Refusal>,
) -> Result<(), Refusal> {
    let noted = Notes::read(state.annotations.as_ref());
    let change = match result {
        Ok(token) => {
            let new = token
                .refresh_token
                .as_ref()
                .filter(|new| new.expose_secret() != sent.expose_secret());
            let rotates = new.is_some();
            let notes = state.annotations.as_ref();
            let issuer = notes.and_then(|a| a.get(names::ISSUED_BY));
            let noted_already = noted.rotates == Some(false) && issuer == Some(&state.issuer);
            if new.is_none() && !marked && noted_already {
                return Ok(());
            }
            let mut change = json!({ "metadata": { "annotations": {
                (names::IN_FLIGHT_SINCE): null,
                (names::SIGN_IN_REQUIRED): null,
                (names::ROTATES): rotates.to_string(),
                (names::ISSUED_BY): state.issuer,
            } } });
            if let Some(new) = new {
                change["stringData"] =
                    json!({ (state.reference.key.as_str()): new.expose_secret() });
            }
            change
        }
        Err(refusal) => match renewal::fate(refusal) {
            Fate::Unknown => return Ok(()),
            Fate::Used | Fate::Intact if !marked => return Ok(()),
            Fate::Used | Fate::Intact => {
                json!({ "metadata": { "annotations": { (names::IN_FLIGHT_SINCE): null } } })
            }
            Fate::Dead => json!({ "metadata": { "annotations": {
                (names::IN_FLIGHT_SINCE): null,
                (names::SIGN_IN_REQUIRED): refusal.error.as_deref().unwrap_or("refused"),
            } } }),
        },
    };
    let mut tries = 0;
    loop {
        tries += 1;
        match write(context, credential, state, change.clone()).await {
            Ok(()) => return Ok(()),
            // Somebody wrote to it while the request was out: a person who signed in again, or a label. Whose
            // refresh token stands there decides.
            Err(Trouble::Conflict) => {
                if !still_ours(context, credential, state, sent).await? {
                    return Err(Refusal::local(
                        Class::Transient,
                        "StateChanged",
                        "somebody signed in anew while a refresh was under way; apicred uses the newer one",
                    ));
                }
            }
            Err(trouble) if tries >= STORE_TRIES => return Err(trouble_with(state, trouble)),
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(250 << tries)).await,
        }
        if tries >= STORE_TRIES {
            return Err(trouble_with(state, Trouble::Conflict));
        }
    }
}

impl StateSecret {
    /// The version that stands now, as a source.
    pub(super) fn mark(&self) -> SourceMark {
        SourceMark {
            name: self.reference.name.clone(),
            key: self.reference.key.clone(),
            uid: self.uid.clone(),
            version: self.version.clone(),
        }
    }
}

async fn write(
    context: &Context,
    credential: &Credential,
    state: &mut StateSecret,
    mut change: Value,
) -> Result<(), Trouble> {
    change["metadata"]["resourceVersion"] = json!(state.version);
    let params = PatchParams {
        field_manager: Some(names::MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let api = api(context, credential);
    let patch = Patch::Merge(&change);
    let request = || api.patch_metadata(&state.reference.name, &params, &patch);
    let under_way = context.own_write(credential, &state.reference.name);
    let made = call(&context.metrics, "patch_state", request).await?;
    under_way.done(&made.metadata);
    state.version = made.metadata.resource_version.unwrap_or_default();
    state.annotations = made.metadata.annotations;
    Ok(())
}

/// Does the refresh token that was sent still stand there? Then the write may go on at the newer version.
async fn still_ours(
    context: &Context,
    credential: &Credential,
    state: &mut StateSecret,
    sent: &SecretString,
) -> Result<bool, Refusal> {
    let api = api(context, credential);
    let secret = call(&context.metrics, "get_secret", || {
        api.get(&state.reference.name)
    })
    .await
    .map_err(|trouble| trouble_with(state, trouble))?;
    let same = secret.metadata.uid.as_deref() == Some(state.uid.as_str());
    let bytes = secret
        .data
        .as_ref()
        .and_then(|d| d.get(&state.reference.key));
    let there = bytes.and_then(|b| crate::oauth::word(&b.0).ok());
    state.version = secret.metadata.resource_version.unwrap_or_default();
    state.annotations = secret.metadata.annotations;
    Ok(same && there.is_some_and(|t| t.expose_secret() == sent.expose_secret()))
}

fn api(context: &Context, credential: &Credential) -> Api<Secret> {
    Api::namespaced(context.client.clone(), &credential.namespace)
}

fn trouble_with(state: &StateSecret, trouble: Trouble) -> Refusal {
    let name = &state.reference.name;
    match trouble {
        Trouble::Forbidden => Refusal::local(
            Class::Denied,
            "StateWriteForbidden",
            format!(
                "apicred may not write Secret {name}, where the refresh token lives; give its role patch on secrets here"
            ),
        ),
        Trouble::NotFound => Refusal::local(
            Class::Invalid,
            "SignInRequired",
            format!("Secret {name} with the refresh token is gone"),
        ),
        Trouble::Invalid | Trouble::Quota | Trouble::Terminating => Refusal::local(
            Class::Denied,
            "StateWriteForbidden",
            format!(
                "the API server refuses to change Secret {name}; is it immutable, or guarded by a policy?"
            ),
        ),
        Trouble::Conflict | Trouble::Unavailable | Trouble::Unwanted => Refusal::local(
            Class::Transient,
            "KubernetesUnavailable",
            format!("Secret {name} could not be written; apicred tries again"),
        ),
    }
}
