//! Stores a registration access token from a response: no other process has it, and it has invalidated the previous token.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use secrecy::ExposeSecret;
use serde_json::json;
use tokio::time::Instant;

use super::{
    driver::{Driver, Unstored},
    holder::{Holder, holder},
};
use crate::controller::api::calls::{ApiErrorKind, Failed, call, call_with_message};
use crate::{Reason, api::names, plan::Severity, telemetry::tries::warn_at_first};

impl Unstored {
    /// The name of what only this process has.
    fn what(&self) -> &'static str {
        if self.is_token() {
            "registration access token"
        } else {
            "address of the registration"
        }
    }

    /// Whether the token is new. If not, only the address is new, and the issuer will return it again.
    fn is_token(&self) -> bool {
        self.token.expose_secret() != self.before.expose_secret()
    }
}

impl Driver {
    /// Whether a value is not stored in a Secret yet, so that only this process has it.
    pub(super) fn has_unstored(&self) -> bool {
        self.unstored.is_some() || self.held_id().is_some()
    }

    /// Stores the registration access token that is not in a Secret yet, if there is one.
    ///
    /// # Errors
    /// Why it is not stored, and when to try again.
    pub(super) async fn store_token(&mut self) -> Result<(), (String, Duration)> {
        let Some(unstored) = &self.unstored else {
            return Ok(());
        };
        let first = !unstored.patience.has_failed();
        match self.try_to_store(first).await {
            Ok(()) => {
                self.is_stored();
                Ok(())
            }
            Err((failed, holder)) => self.not_stored(&failed, holder).await,
        }
    }

    /// Makes one attempt. An error contains the state of the Secret.
    async fn try_to_store(&mut self, first: bool) -> Result<(), (Failed, Holder)> {
        let Some(unstored) = &self.unstored else {
            return Ok(());
        };
        let mut failed = Failed::from(ApiErrorKind::Conflict);
        // The Secret contains the token of the request, as far as is known: it was read a short time ago.
        if first {
            match self.patch_token(unstored).await {
                Ok(()) => return Ok(()),
                Err(refused) => failed = refused,
            }
        }
        let holder = self.holder(unstored).await;
        let tries = match &holder {
            Holder::Again(uid) => {
                // From now on the token is stored only in this Secret.
                if let Some(unstored) = &mut self.unstored {
                    unstored.secret.1.clone_from(uid);
                }
                true
            }
            Holder::Same => !first,
            Holder::Unread(error_kind) => {
                if !first {
                    failed = (*error_kind).into();
                }
                false
            }
            Holder::Immutable | Holder::Another(_) | Holder::Gone => false,
        };
        match self.unstored.as_ref().filter(|_| tries) {
            Some(unstored) => self
                .patch_token(unstored)
                .await
                .map_err(|refused| (refused, holder)),
            None => Err((failed, holder)),
        }
    }

    fn is_stored(&mut self) {
        let tries = self.context.worked("registration access token", &self.uid);
        let stored = self.unstored.take().filter(|_| tries > 0);
        if let Some(stored) = stored {
            tracing::info!(
                namespace = self.key.namespace,
                name = self.key.name,
                secret = stored.secret.0,
                tries,
                "the new {} is stored",
                stored.what()
            );
        }
    }

    /// Handles a failed attempt. No other process has the token, so it is retained as long as the Secret may be recreated.
    async fn not_stored(
        &mut self,
        failed: &Failed,
        holder: Holder,
    ) -> Result<(), (String, Duration)> {
        let gone = match &holder {
            Holder::Gone => Some("the Secret was deleted".to_owned()),
            Holder::Another(why) => Some(format!("the Secret {why}")),
            _ => None,
        };
        let left = self.client().is_none();
        let ends = self.context.refreshes.are_awaited();
        let Some(unstored) = &mut self.unstored else {
            return Ok(());
        };
        let again = unstored
            .patience
            .failed(left || gone.is_some(), Instant::now());
        let pause = unstored.patience.pause(ends);
        let (name, what) = (unstored.secret.0.clone(), unstored.what());
        let (url, by) = (unstored.registration.0.clone(), names::ROTATE_BY);
        if !again {
            let because = gone
                .unwrap_or_else(|| "the client was deleted or its rotation was removed".to_owned());
            self.lost(&name, &because).await;
            return Ok(());
        }
        let result = failed.error_kind.as_str();
        let failure = self
            .context
            .failed("registration access token", &self.uid, result);
        warn_at_first!(
            failure,
            namespace = self.key.namespace,
            name = self.key.name,
            secret = name,
            server_message = failed.server_message.fault(),
            "a new {what} could not be stored and only this process has it; apicred tries again: {result}"
        );
        let client = &self.key.name;
        let with =
            format!("with the same {url} and the annotation {by}: {client}, and apicred stores it");
        let why = match (gone, holder) {
            (Some(gone), _) => {
                format!("because {gone}: within ten minutes, create the Secret {with}")
            }
            (None, Holder::Immutable) => format!(
                "because the Secret is immutable: create it again without immutable, {with}"
            ),
            _ => format!("({result}): let apicred write the Secret"),
        };
        let only = if unstored.is_token() {
            ". Only this process has it: do not restart the operator before"
        } else {
            ""
        };
        let why = format!("the new {what} could not be stored in Secret {name} {why}{only}");
        Err((why, pause))
    }

    async fn patch_token(&self, unstored: &Unstored) -> Result<(), Failed> {
        let (name, uid, key) = &unstored.secret;
        let token = &unstored.token;
        // An object with the same name and another UID is rejected.
        let mut data = json!({});
        // The owner may have stored another token in the meantime.
        if unstored.is_token() {
            data[key.as_str()] = json!(STANDARD.encode(token.expose_secret()));
        }
        if let Some(address) = &unstored.address {
            data[unstored.registration.0.as_str()] = json!(STANDARD.encode(address.as_str()));
        }
        let patch = json!({ "metadata": { "uid": uid }, "data": data });
        let context = &self.context;
        let api: Api<Secret> = Api::namespaced(context.client.clone(), &self.key.namespace);
        let params = PatchParams {
            field_manager: Some(names::MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patch = Patch::Merge(&patch);
        let request = || api.patch_metadata(name, &params, &patch);
        // The token is stored even if another process now leads, and independent of other changes in the Secret.
        let may = || true;
        let stored = call_with_message(
            &context.metrics,
            "patch_client_secret",
            may,
            request,
            Some(token),
        );
        stored.await.map(drop)
    }

    /// Records that the Secret contains this registration access token.
    pub(super) fn has_token(&mut self, digest: Option<String>) {
        if digest == self.token {
            return;
        }
        self.memory.caller_changed();
        self.token = digest;
        if self.lost.is_some() {
            // The next read shows whether it is the required one.
            self.forget();
        }
    }

    /// Gives up the registration access token that is not stored in a Secret.
    async fn lost(&mut self, secret: &str, because: &str) {
        let is_token = self.unstored.take().is_some_and(|u| u.is_token());
        self.context.worked("registration access token", &self.uid);
        if !is_token {
            return;
        }
        let client = &self.key.name;
        let why = format!(
            "the new registration access token of ApiClient {client} could not be stored in Secret {secret}, because {because}, and is lost; have the issuer give a new one, and store it"
        );
        tracing::error!(
            namespace = self.key.namespace,
            name = self.key.name,
            secret,
            reason = Reason::RotationBlocked.as_str(),
            "{why}"
        );
        if self.client().is_none() {
            return self
                .notify(Severity::Warning, Reason::RotationBlocked, why)
                .await;
        }
        // The condition has its own event.
        self.lost = Some(why.clone());
        self.blocked(why);
    }

    /// The state of the Secret, if the token could not be stored there.
    async fn holder(&self, unstored: &Unstored) -> Holder {
        let (name, uid, token_key) = &unstored.secret;
        let (key, address) = &unstored.registration;
        let addresses = [address, unstored.address.as_ref().unwrap_or(address)];
        let tokens = [&unstored.token, &unstored.before];
        match self.secret_now(name).await {
            Ok(Some(found)) => holder(
                &found,
                uid.as_deref(),
                (key, addresses),
                (token_key, tokens),
                (&self.key, &self.uid),
            ),
            Ok(None) => Holder::Gone,
            Err(error_kind) => Holder::Unread(error_kind),
        }
    }

    /// The Secret with this name from the API server and not from the cache; `None` if it does not exist.
    pub(super) async fn secret_now(&self, name: &str) -> Result<Option<Secret>, ApiErrorKind> {
        let context = &self.context;
        let api: Api<Secret> = Api::namespaced(context.client.clone(), &self.key.namespace);
        match call(&context.metrics, "get_secret", || api.get(name)).await {
            Ok(found) => Ok(Some(found)),
            Err(ApiErrorKind::NotFound) => Ok(None),
            Err(error_kind) => Err(error_kind),
        }
    }
}
