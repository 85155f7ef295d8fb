//! The state Secret of a refresh token. Each write uses the resourceVersion that was read.

use crate::Reason;
use std::time::Duration;

use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::refresh_token::{Answered, StateSecret};
use crate::controller::{
    api::calls::{ApiErrorKind, call, call_with_message},
    context::Context,
    locks::lock,
};
use crate::{
    api::names,
    credential::{Credential, binding},
    oauth::{
        Class, TokenError,
        renewal::{self, Changes, Notes, TokenState},
        spent::{self, Spent},
    },
};

/// How long a leader tries to store an answer before it retains the answer in memory and continues: the answer exists nowhere
/// else. A process that has lost its lease has no other work, and retries until it is terminated.
pub(in crate::controller) const PATIENCE: Duration = Duration::from_secs(30);

/// Whether an answer was stored.
pub(in crate::controller) enum Stored {
    /// The answer was stored, or no write was necessary.
    Yes,
    /// The Secret now contains another refresh token, which is the valid one.
    Replaced,
}

/// The wait before the next attempt, based on the elapsed time of all attempts.
fn pause(elapsed: Duration) -> Duration {
    (elapsed / 2).clamp(Duration::from_millis(250), Duration::from_secs(4))
}

/// The result of one attempt to store.
enum Try {
    Done(Stored),
    /// The Secret was changed in the meantime, and still contains a refresh token that the answer replaces.
    Moved,
    Failed(TokenError),
}

/// Stores the result for a refresh token: the new refresh token, if there is one, and the notes.
pub(in crate::controller) async fn finish(
    context: &Context,
    credential: &Credential,
    answered: &mut Answered,
) -> Result<Stored, TokenError> {
    let began = Instant::now();
    let mut moved = false;
    loop {
        let failed = match store(context, credential, answered).await {
            Try::Done(stored) => return Ok(stored),
            // The new version is known now. If another writer writes continuously, wait for it.
            Try::Moved if !moved => {
                moved = true;
                continue;
            }
            Try::Moved => error_kind(&answered.state, ApiErrorKind::Conflict),
            Try::Failed(token_error) => token_error,
        };
        let pause = pause(began.elapsed());
        if context.may_act() && began.elapsed() + pause >= PATIENCE {
            return Err(failed);
        }
        tokio::time::sleep(pause).await;
    }
}

/// Makes one attempt.
async fn store(context: &Context, credential: &Credential, answered: &mut Answered) -> Try {
    let token_state = answered.token_state();
    let new = answered.new_token().cloned();
    let error = answered.came.result.as_ref().err();
    let error = error.and_then(|r| r.error.clone());
    let notes = Notes::read(answered.state.annotations.as_ref());
    let what = (token_state, error.as_deref(), answered.new.as_deref());
    let rule = credential.issuer.reuse;
    let annotations = answered.state.annotations.as_ref();
    let issuer = annotations.and_then(|a| a.get(names::ISSUED_BY));
    let other = issuer != Some(&answered.state.issuer);
    let mut changes = renewal::after(&notes, rule, &answered.sent, what);
    // The response of the issuer proves that the refresh token belongs to this issuer.
    if matches!(token_state, TokenState::Rotated | TokenState::Unchanged)
        && (changes.is_some() || other)
    {
        let noted = (names::ISSUED_BY, Some(answered.state.issuer.clone()));
        changes.get_or_insert_default().extend([noted]);
    }
    let Some(mut changes) = changes else {
        return Try::Done(Stored::Yes);
    };
    // The target shows it as well, but a user may delete it or name another one.
    if let (Ok(token), false) = (&answered.came.result, rule.is_always()) {
        let end = crate::whole_second(token.expires_at).to_string();
        changes.insert(names::TOKEN_EXPIRES_AT, Some(end));
    }
    let state = &mut answered.state;
    match write(context, credential, state, &changes, new.as_ref()).await {
        Ok(()) => Try::Done(Stored::Yes),
        // Another writer changed the Secret in the meantime, or this process did and the response was lost.
        Err(ApiErrorKind::Conflict | ApiErrorKind::NotFound) => {
            match stored_token(context, credential, answered).await {
                Ok(StoredToken::New) => Try::Done(Stored::Yes),
                // An older token was restored while the request was in flight: the new token is valid.
                Ok(StoredToken::Spent) if token_state != TokenState::Rotated => {
                    Try::Done(Stored::Replaced)
                }
                Ok(StoredToken::Other) => Try::Done(Stored::Replaced),
                Ok(StoredToken::Sent | StoredToken::Spent) => Try::Moved,
                Err(token_error) => Try::Failed(token_error),
            }
        }
        Err(other) => Try::Failed(error_kind(&answered.state, other)),
    }
}

/// Writes annotations, and a new refresh token if there is one. This is an own write: a failure that the credential waits for does not depend on it.
pub(in crate::controller) async fn write(
    context: &Context,
    credential: &Credential,
    state: &mut StateSecret,
    changes: &Changes,
    token: Option<&SecretString>,
) -> Result<(), ApiErrorKind> {
    let mut change = json!({
        "metadata": { "resourceVersion": state.version, "annotations": changes },
    });
    if let Some(token) = token {
        change["stringData"] = json!({ (state.reference.key.as_str()): token.expose_secret() });
    }
    let params = PatchParams {
        field_manager: Some(names::MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let api = api(context, credential);
    let name = state.reference.name.clone();
    let seen = (credential.namespace.clone(), name.clone());
    let changed_at = lock(&context.secrets).get(&seen).and_then(|s| s.changed_at);
    let patch = Patch::Merge(&change);
    let request = || api.patch_metadata(&name, &params, &patch);
    let under_way = context.own_write(credential, &name);
    let write = call_with_message(&context.metrics, "patch_state", || true, request, token);
    // Boxed: the future of a reconcile is large.
    let made = Box::pin(write).await;
    let made = made.map_err(|failed| {
        state.server_message = failed.server_message;
        failed.error_kind
    })?;
    let version = made.metadata.resource_version.clone().unwrap_or_default();
    let before = std::mem::take(&mut state.version);
    context.wrote_state(credential, (before, version), changed_at);
    under_way.done(&made.metadata);
    state.take(made.metadata);
    Ok(())
}

/// Which refresh token is in the Secret.
enum StoredToken {
    /// The one that was sent.
    Sent,
    /// The new one from the answer.
    New,
    /// One that was used before.
    Spent,
    /// Another one.
    Other,
}

/// Reads the Secret again after a conflict.
async fn stored_token(
    context: &Context,
    credential: &Credential,
    answered: &mut Answered,
) -> Result<StoredToken, TokenError> {
    let name = answered.state.reference.name.clone();
    let secrets = api(context, credential);
    let read = call(&context.metrics, "get_secret", || secrets.get(&name)).await;
    let mut secret = read.map_err(|t| error_kind(&answered.state, t))?;
    let data = secret.data.take().unwrap_or_default();
    let there = data.get(&answered.state.reference.key);
    let there = there.filter(|bytes| !bytes.0.is_empty());
    let there = there.map(|bytes| crate::oauth::secret_text(&bytes.0));
    answered.state.take(secret.metadata);
    let annotations = answered.state.annotations.as_ref();
    let owner = annotations.and_then(|a| a.get(names::STATE_OF));
    let named = |o: &String| binding::is_named(o, &credential.name, &credential.uid);
    if !owner.is_some_and(named) {
        return Err(TokenError::local(
            Class::Invalid,
            Reason::NotAuthorizedBySecret,
            format!(
                "Secret {name} does not name this credential any more, and its newer refresh token exists only in memory; set the annotation {}: {} on it again",
                names::STATE_OF,
                credential.name
            ),
        ));
    }
    // If the Secret contains no refresh token, no newer one is lost.
    let Some(there) = there else {
        return Ok(StoredToken::Sent);
    };
    let Ok(there) = there else {
        return Ok(StoredToken::Other);
    };
    let is = |token: &SecretString| token.expose_secret() == there.expose_secret();
    if is(&answered.token) {
        return Ok(StoredToken::Sent);
    }
    if answered.new_token().is_some_and(is) {
        return Ok(StoredToken::New);
    }
    let digest = digest(context, &answered.state, &there).await?;
    let spent = answered.sent.spent.iter().any(|s| s.digest == digest);
    Ok(if spent {
        StoredToken::Spent
    } else {
        StoredToken::Other
    })
}

async fn digest(
    context: &Context,
    state: &StateSecret,
    token: &SecretString,
) -> Result<String, TokenError> {
    let digests = context.digest_key.get(&context.metrics).await;
    let digests = digests.map_err(|_| error_kind(state, ApiErrorKind::Unavailable))?;
    Ok(digests.refresh_token(token.expose_secret()))
}

/// The used refresh tokens that are recorded on the target Secret: a tool that replaces the state Secret does not change it.
pub(in crate::controller) async fn spent_on_target(
    context: &Context,
    credential: &Credential,
    state: &StateSecret,
) -> Result<Vec<Spent>, TokenError> {
    let secrets = api(context, credential);
    let request = || secrets.get_metadata(&credential.target.name);
    match call(&context.metrics, "get_target_metadata", request).await {
        Ok(target) => {
            // Independent of the credential that it was written for: a keyed digest belongs to one token, and a recreated
            // credential continues with the sign-in of its name.
            let annotations = target.metadata.annotations.unwrap_or_default();
            let noted = annotations.get(names::SPENT_REFRESH_TOKENS);
            Ok(spent::read(noted.map_or("", String::as_str)))
        }
        Err(ApiErrorKind::NotFound) => Ok(Vec::new()),
        Err(_) => Err(error_kind(state, ApiErrorKind::Unavailable)),
    }
}

/// The field manager that wrote the refresh token last, if it was not apicred.
pub(in crate::controller) async fn writer(
    context: &Context,
    credential: &Credential,
    state: &StateSecret,
) -> Option<String> {
    let secrets = api(context, credential);
    let request = || secrets.get_metadata(&state.reference.name);
    let read = call(&context.metrics, "get_secret", request).await.ok()?;
    let entries = read.metadata.managed_fields.unwrap_or_default();
    last_writer(&entries, &state.reference.key)
}

fn last_writer(entries: &[ManagedFieldsEntry], key: &str) -> Option<String> {
    let field = format!("f:{key}");
    // A server-side apply of `stringData` is recorded under `stringData`.
    let owns = |e: &&ManagedFieldsEntry| {
        let fields: Option<&Value> = e.fields_v1.as_ref().map(|f| &f.0);
        ["f:data", "f:stringData"]
            .iter()
            .any(|part| fields.and_then(|f| f.get(part)?.get(&field)).is_some())
    };
    // apicred did not write this refresh token, even if it owns the field within the same second.
    let others = |e: &&ManagedFieldsEntry| e.manager.as_deref() != Some(names::MANAGER);
    let writers = entries.iter().filter(owns).filter(others);
    let last = writers.max_by_key(|e| e.time.as_ref().map(|t| t.0))?;
    let shown = |name: &String| name.chars().all(|c| c.is_ascii_graphic() || c == ' ');
    last.manager.clone().filter(shown)
}

fn api(context: &Context, credential: &Credential) -> Api<Secret> {
    Api::namespaced(context.client.clone(), &credential.namespace)
}

/// The error of a call for the state Secret, as a message.
pub(in crate::controller) fn error_kind(
    state: &StateSecret,
    error_kind: ApiErrorKind,
) -> TokenError {
    let name = &state.reference.name;
    // Only names: a policy message may quote the refresh token in the Secret.
    let rejected_by = state.server_message.rejected_by();
    let rejected_by =
        rejected_by.map_or_else(String::new, |rejected_by| format!(" ({rejected_by})"));
    match error_kind {
        ApiErrorKind::Forbidden => TokenError::local(
            Class::Denied,
            Reason::StateWriteForbidden,
            format!(
                "apicred may not write Secret {name}, which contains the refresh token{rejected_by}; grant its role patch on secrets in this namespace, or ask the owner of the admission policy to allow it"
            ),
        ),
        ApiErrorKind::NotFound => TokenError::local(
            Class::Invalid,
            Reason::SignInRequired,
            format!("Secret {name} with the refresh token was deleted; sign in again"),
        ),
        ApiErrorKind::Invalid | ApiErrorKind::Quota | ApiErrorKind::Terminating => {
            TokenError::local(
                Class::Denied,
                Reason::StateWriteForbidden,
                format!(
                    "the API server rejects the change of Secret {name}, which contains the refresh token{rejected_by}; make it mutable, or ask the owner of the admission policy to allow it"
                ),
            )
        }
        ApiErrorKind::Conflict | ApiErrorKind::Unavailable | ApiErrorKind::Unwanted => {
            TokenError::local(
                Class::Transient,
                Reason::KubernetesUnavailable,
                format!("Secret {name} could not be written{rejected_by}; apicred tries again"),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_writer_of_a_refresh_token_is_the_last_owner_of_its_field() {
        let entry = |manager: &str, time: &str, fields: Value| -> ManagedFieldsEntry {
            serde_json::from_value(json!({
                "manager": manager, "operation": "Update", "time": time, "fieldsType": "FieldsV1", "fieldsV1": fields,
            }))
            .unwrap()
        };
        let data = json!({ "f:data": { "f:token": {} } });
        let early = "2026-01-01T00:00:00Z";
        let late = "2026-01-02T00:00:00Z";
        let labels = json!({ "f:metadata": { "f:labels": {} } });
        let all = [
            entry("kubectl-apicred", early, data.clone()),
            entry("argocd-controller", late, data.clone()),
            entry("labeller", late, labels),
        ];
        assert_eq!(
            last_writer(&all, "token").as_deref(),
            Some("argocd-controller")
        );
        assert_eq!(last_writer(&all, "other"), None);
        let applied = json!({ "f:stringData": { "f:token": {} } });
        let all = [entry("flux", early, applied)];
        assert_eq!(last_writer(&all, "token").as_deref(), Some("flux"));
        for unfit in ["apicred", "a\u{202e}b", "a\nb"] {
            let all = [entry(unfit, early, data.clone())];
            assert_eq!(last_writer(&all, "token"), None, "{unfit:?}");
        }
    }
}
