//! Changes the registration of a client by its own registration access token (RFC 7592). A token that an answer brings is stored
//! before anything else of the answer is read: it ends the one before it, and nobody else has it.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use url::Url;

use super::{
    driver::{Driver, Unstored},
    execute::Execution,
    holder::{Holder, holder},
    issuer::not_sent,
    patience::Patience,
    seen::ClientValue,
};
use crate::controller::{
    api::calls::{Failed, Trouble, call, call_heard},
    token::exchange,
};
use crate::{
    Reason,
    api::names,
    credential::AuthenticationMethod,
    oauth::word,
    plan::Severity,
    rotation::{
        Class, Fault, Outcome, Registry, Tried,
        graph::GraphRequest,
        registration::{Access, Registration, registration, renewed},
    },
    telemetry::tries::warn_at_first,
};

impl Execution<'_> {
    pub(super) async fn read_registration(&mut self) -> Result<Outcome, Fault> {
        let mut access = self.access()?;
        let read = self.ask(&mut access, Access::read).await?;
        Ok(Outcome::Application(read.application(self.now())))
    }

    /// Registers the public key of the next private key beside the others.
    pub(super) async fn register_key(&mut self, digest: &str) -> Result<Outcome, Fault> {
        let Some(ClientValue::Key(next, _)) = self.value(Tried::Next, digest) else {
            return Ok(Outcome::NotWritten);
        };
        let AuthenticationMethod::Key(settings) = &self.sight.place.credential.authentication
        else {
            return Ok(Outcome::NotWritten);
        };
        let set = next.public_set(settings);
        let set = set.map_err(|problem| not_sent(Class::Invalid, settings.sentence(&problem)))?;
        let jwk: Map<String, Value> = set["keys"][0].as_object().cloned().unwrap_or_default();
        let id = next.thumbprint();
        let changed = self.update(|registration| registration.with(&jwk)).await?;
        if !changed.has(&id) {
            return Err(not_done(
                "the issuer did not add a public key to the registration; have it allow updates of jwks, or remove rotation",
            ));
        }
        Ok(Outcome::KeyAdded(Some(id)))
    }

    pub(super) async fn deregister_key(&mut self, id: &str) -> Result<Outcome, Fault> {
        let changed = self.update(|registration| registration.without(id)).await?;
        if changed.has(id) {
            return Err(not_done(
                "the issuer did not remove a public key from the registration; remove it there",
            ));
        }
        Ok(Outcome::Done)
    }

    /// Reads the registration, and replaces it by what `change` makes of it.
    async fn update(
        &mut self,
        change: impl FnOnce(&Registration) -> Value,
    ) -> Result<Registration, Fault> {
        let mut access = self.access()?;
        let before = self.ask(&mut access, Access::read).await;
        // Whatever went wrong, nothing was changed, and no change was asked for.
        let before = before.map_err(|fault| Fault {
            sent: false,
            may_have_happened: false,
            ..fault
        })?;
        let metadata = change(&before);
        self.ask(&mut access, |access| access.update(&metadata))
            .await
    }

    /// One request. A new registration access token is stored, and is in `access` afterwards.
    async fn ask(
        &mut self,
        access: &mut Access,
        request: impl FnOnce(&Access) -> GraphRequest,
    ) -> Result<Registration, Fault> {
        let (place, secret) = (&self.sight.place, &self.sight.secret);
        place.may_manage(&access.url, secret).await?;
        let leads = self.driver.context.may_refresh().await;
        leads.map_err(|_| {
            let said = exchange::not_leading().next_step.to_string();
            not_sent(Class::Transient, said)
        })?;
        // The process does not end before the answer is stored.
        let in_flight = self.driver.context.refreshes.begin();
        let request = request(access);
        let raw = place.send(request, "the registration endpoint").await?;
        if let Some(token) = renewed(&raw, &access.token) {
            access.token = token.clone();
            let Registry::Registration { url, token: key } = &self.sight.rotating.registry else {
                return Err(no_registration());
            };
            let name = self.sight.rotating.secret.clone();
            self.driver.unstored = Some(Unstored {
                secret: (name, secret.metadata.uid.clone(), key.clone()),
                registration: (url.clone(), access.url.clone()),
                token,
                patience: Patience::default(),
                _in_flight: in_flight,
            });
            self.driver.store_token().await.map_err(|(why, _)| Fault {
                sent: true,
                may_have_happened: true,
                ..not_sent(Class::Transient, why)
            })?;
        }
        let read = registration(&raw, &self.sight.rotating.client_id, self.now())?;
        // The issuer took the token.
        self.driver.lost = None;
        Ok(read)
    }

    /// Address and token, from the Secret.
    fn access(&self) -> Result<Access, Fault> {
        let Registry::Registration { url, token } = &self.sight.rotating.registry else {
            return Err(no_registration());
        };
        let secret = &self.sight.rotating.secret;
        let lacks = |key: &str, what: &str| {
            let text = format!("key {key} of Secret {secret} {what}");
            not_sent(Class::Caller, text)
        };
        let text = |key: &str| {
            let data = self.sight.secret.data.as_ref();
            let bytes = data.and_then(|data| data.get(key));
            let bytes = bytes.ok_or_else(|| {
                lacks(
                    key,
                    "is missing; store what the issuer gave when the client was registered",
                )
            })?;
            word(&bytes.0).map_err(|problem| lacks(key, &problem))
        };
        let address = text(url)?;
        let parsed = Url::parse(address.expose_secret());
        let address = parsed.map_err(|_| {
            lacks(
                url,
                "is not a URL; store the registration_client_uri of the client",
            )
        })?;
        Ok(Access {
            url: address,
            token: text(token)?,
        })
    }
}

/// The issuer answered with a registration that has not changed.
fn not_done(message: &str) -> Fault {
    Fault {
        sent: true,
        ..not_sent(Class::Invalid, message)
    }
}

fn no_registration() -> Fault {
    not_sent(
        Class::Invalid,
        "the client has no registration to change; set rotation.registration",
    )
}

impl Driver {
    /// Is something in no Secret yet, so that only this process has it?
    pub(super) fn has_unstored(&self) -> bool {
        self.unstored.is_some() || self.held_id().is_some()
    }

    /// Stores the registration access token that is in no Secret yet, if there is one.
    ///
    /// # Errors
    /// Why it is in none, and when to try again.
    pub(super) async fn store_token(&mut self) -> Result<(), (String, Duration)> {
        let Some(unstored) = &self.unstored else {
            return Ok(());
        };
        let mut stored = self.patch_token(unstored).await;
        let mut holder = self.holder(unstored, &stored).await;
        if let Holder::Again(uid) = holder {
            // It is stored there, and only there.
            if let Some(unstored) = &mut self.unstored {
                unstored.secret.1 = uid;
                stored = self.patch_again().await;
            }
            holder = Holder::Same;
        }
        if let Err(failed) = stored {
            return self.not_stored(&failed, holder).await;
        }
        self.is_stored();
        Ok(())
    }

    async fn patch_again(&self) -> Result<(), Failed> {
        match &self.unstored {
            Some(unstored) => self.patch_token(unstored).await,
            None => Ok(()),
        }
    }

    fn is_stored(&mut self) {
        let tries = self.context.worked("registration access token", &self.uid);
        let stored = self.unstored.take().filter(|_| tries > 0);
        if let Some(Unstored { secret, .. }) = stored {
            tracing::info!(
                namespace = self.key.namespace,
                name = self.key.name,
                secret = secret.0,
                tries,
                "the new registration access token is stored"
            );
        }
    }

    /// A try has failed. Nobody else has the token, so it is kept as long as the Secret may come back.
    async fn not_stored(
        &mut self,
        failed: &Failed,
        holder: Holder,
    ) -> Result<(), (String, Duration)> {
        let gone = match &holder {
            Holder::Gone => Some("the Secret was deleted".to_owned()),
            Holder::Another(why) => Some(format!("the Secret was created again and {why}")),
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
        let name = unstored.secret.0.clone();
        let (url, by) = (unstored.registration.0.clone(), names::ROTATE_BY);
        if !again {
            let because = gone
                .unwrap_or_else(|| "the client was deleted or its rotation was removed".to_owned());
            self.lost(&name, &because).await;
            return Ok(());
        }
        let result = failed.trouble.as_str();
        let failure = self
            .context
            .failed("registration access token", &self.uid, result);
        warn_at_first!(
            failure,
            namespace = self.key.namespace,
            name = self.key.name,
            secret = name,
            said = failed.said.fault(),
            "a new registration access token could not be stored and only this process has it; apicred tries again: {result}"
        );
        let client = &self.key.name;
        let anew =
            format!("with the same {url} and the annotation {by}: {client}, and apicred stores it");
        let why = match (gone, holder) {
            (Some(gone), _) => {
                format!("because {gone}: within ten minutes, create the Secret {anew}")
            }
            (None, Holder::Immutable) => format!(
                "because the Secret is immutable: create it again without immutable, {anew}"
            ),
            _ => format!("({result}): let apicred write the Secret"),
        };
        let why = format!(
            "the new registration access token could not be stored in Secret {name} {why}. Only this process has it: do not restart the operator before"
        );
        Err((why, pause))
    }

    async fn patch_token(&self, unstored: &Unstored) -> Result<(), Failed> {
        let (name, uid, key) = &unstored.secret;
        let token = &unstored.token;
        // An object of the same name with another UID is refused.
        let patch = json!({
            "metadata": { "uid": uid },
            "data": { key.as_str(): STANDARD.encode(token.expose_secret()) },
        });
        let context = &self.context;
        let api: Api<Secret> = Api::namespaced(context.client.clone(), &self.key.namespace);
        let params = PatchParams {
            field_manager: Some(names::MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patch = Patch::Merge(&patch);
        let request = || api.patch_metadata(name, &params, &patch);
        // It is stored whoever leads by now, and whatever else changed in the Secret.
        let may = || true;
        let stored = call_heard(
            &context.metrics,
            "patch_client_secret",
            may,
            request,
            Some(token),
        );
        stored.await.map(drop)
    }

    /// The Secret has this registration access token.
    pub(super) fn has_token(&mut self, digest: Option<String>) {
        if digest == self.token {
            return;
        }
        self.memory.caller_changed();
        self.token = digest;
        if self.lost.is_some() {
            // Whether it is the one that is wanted, the next reading tells.
            self.forget();
        }
    }

    /// The registration access token that is in no Secret is given up.
    async fn lost(&mut self, secret: &str, because: &str) {
        self.unstored = None;
        self.context.worked("registration access token", &self.uid);
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
        // The condition has an event.
        self.lost = Some(why.clone());
        self.blocked(why);
    }

    /// What stands in the place of the Secret, if the token could not be stored there.
    async fn holder(&self, unstored: &Unstored, stored: &Result<(), Failed>) -> Holder {
        let trouble = stored.as_ref().err().map(|failed| failed.trouble);
        if !matches!(
            trouble,
            Some(Trouble::NotFound | Trouble::Conflict | Trouble::Invalid)
        ) {
            return Holder::Same;
        }
        let context = &self.context;
        let api: Api<Secret> = Api::namespaced(context.client.clone(), &self.key.namespace);
        let (name, uid, _) = &unstored.secret;
        let (key, address) = &unstored.registration;
        let read = call(&context.metrics, "get_secret", || api.get(name)).await;
        match read {
            Ok(found) => holder(
                &found,
                uid.as_deref(),
                (key, address),
                (&self.key, &self.uid),
            ),
            Err(Trouble::NotFound) => Holder::Gone,
            Err(_) => Holder::Same,
        }
    }
}
