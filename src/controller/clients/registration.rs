//! Changes the registration of a client with its registration access token (RFC 7592). A new token in a response is stored
//! before the rest of the response is read: it invalidates the previous token, and no other process has it. Another address of
//! the registration is stored after it was used successfully, if the token may be sent there.

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use url::Url;

use super::{
    driver::Unstored, execute::Execution, issuer::not_sent, patience::Patience, seen::ClientValue,
};
use crate::controller::token::{exchange, refreshes::InFlight};
use crate::{
    bounded,
    credential::AuthenticationMethod,
    oauth::{RawAnswer, secret_text},
    rotation::{
        Class, Fault, Outcome, Registry, Tried,
        graph::GraphRequest,
        registration::{Access, Registration, moved, of_another, registration, renewed},
    },
};

impl Execution<'_> {
    pub(super) async fn read_registration(&mut self) -> Result<Outcome, Fault> {
        let mut access = self.access()?;
        let read = self.send(&mut access, Access::read).await?;
        Ok(Outcome::Application(
            read.with_keys()?.application(self.now()),
        ))
    }

    /// Registers the public key of the next private key in addition to the other keys.
    pub(super) async fn register_key(&mut self, digest: &str) -> Result<Outcome, Fault> {
        let Some(ClientValue::Key(next, _)) = self.value(Tried::Next, digest) else {
            return Ok(Outcome::NotWritten);
        };
        let AuthenticationMethod::Key(settings) = &self.inputs.place.credential.authentication
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

    /// Reads the registration, and replaces it with the result of `change`.
    async fn update(
        &mut self,
        change: impl FnOnce(&Registration) -> Value,
    ) -> Result<Registration, Fault> {
        let mut access = self.access()?;
        let before = self.send(&mut access, Access::read).await;
        // The read failed, so nothing was changed, and no change was requested.
        let before = before.map_err(|fault| Fault {
            sent: false,
            may_have_happened: false,
            ..fault
        })?;
        // The update would remove every key that is registered.
        let before = before.with_keys()?;
        let metadata = change(&before);
        let after = self.send(&mut access, |access| access.update(&metadata));
        let after = after.await?;
        if after.has_keys() {
            return Ok(after);
        }
        // The update was answered with a success, so it probably has taken effect: only a reading shows it.
        let read = self.send(&mut access, Access::read).await;
        read.and_then(Registration::with_keys)
            .map_err(|fault| Fault {
                sent: true,
                may_have_happened: true,
                ..fault
            })
    }

    /// Sends one request. A new registration access token and a new address are stored, and are in `access` afterwards.
    async fn send(
        &mut self,
        access: &mut Access,
        request: impl FnOnce(&Access) -> GraphRequest,
    ) -> Result<Registration, Fault> {
        let (place, secret) = (&self.inputs.place, &self.inputs.secret);
        let posted = place.may_manage(&access.url, secret).await?;
        let leads = self.driver.context.may_refresh().await;
        leads.map_err(|_| {
            let next_step = exchange::not_leading().next_step.to_string();
            not_sent(Class::Transient, next_step)
        })?;
        // The process must not exit before the response is stored.
        let in_flight = self.driver.context.refreshes.begin();
        let request = request(access);
        let raw = place.send(request, "the registration endpoint").await?;
        // The registration of another client has another token.
        let client = &self.inputs.rotating.client_id;
        if let Some(fault) = of_another(&raw, client) {
            return Err(self.with_refused(fault));
        }
        self.keep(access, (renewed(&raw, &access.token), None), in_flight)
            .await?;
        if let Some(address) = self.address_in(&raw, &access.url, &posted) {
            self.moves(access, address).await?;
        }
        let read = registration(&raw, &self.inputs.rotating.client_id, self.now());
        let read = read.map_err(|fault| self.with_refused(fault))?;
        // The issuer accepted the token.
        self.driver.lost = None;
        Ok(read)
    }

    /// Uses another address of the registration from now on, if it works: some issuers behind a proxy do not know their own address.
    async fn moves(&mut self, access: &mut Access, address: Url) -> Result<(), Fault> {
        let in_flight = self.driver.context.refreshes.begin();
        let there = Access {
            url: address.clone(),
            token: access.token.clone(),
        };
        let sent = self
            .inputs
            .place
            .send(there.read(), "the registration endpoint");
        let Ok(raw) = sent.await else {
            return Ok(());
        };
        let serves = registration(&raw, &self.inputs.rotating.client_id, self.now()).is_ok();
        let another = of_another(&raw, &self.inputs.rotating.client_id).is_some();
        let token = renewed(&raw, &access.token).filter(|_| !another);
        let used = serves.then(|| address.clone());
        self.keep(access, (token, used), in_flight).await?;
        if !serves {
            let status = raw.status;
            let why = format!(
                "the issuer's answer named another address of the registration, which answered HTTP {status}"
            );
            self.not_used(address, why);
        }
        Ok(())
    }

    /// Stores a new registration access token and a new address, and uses them.
    async fn keep(
        &mut self,
        access: &mut Access,
        (token, address): (Option<SecretString>, Option<Url>),
        in_flight: InFlight,
    ) -> Result<(), Fault> {
        if token.is_none() && address.is_none() {
            return Ok(());
        }
        let token = token.unwrap_or_else(|| access.token.clone());
        let before = std::mem::replace(&mut access.token, token.clone());
        let Registry::Registration { url, token: key } = &self.inputs.rotating.registry else {
            return Err(no_registration());
        };
        let name = self.inputs.rotating.secret.clone();
        let uid = self.inputs.secret.metadata.uid.clone();
        self.driver.unstored = Some(Unstored {
            secret: (name, uid, key.clone()),
            registration: (url.clone(), access.url.clone()),
            address: address.clone(),
            token,
            before,
            patience: Patience::default(),
            _in_flight: in_flight,
        });
        self.driver.store_token().await.map_err(|(why, _)| Fault {
            sent: true,
            may_have_happened: true,
            ..not_sent(Class::Transient, why)
        })?;
        if let Some(address) = address {
            access.url = address;
        }
        Ok(())
    }

    /// Records that another address of the registration is not used, with the reason. It is logged once.
    fn not_used(&mut self, address: Url, why: String) {
        let refused = Some((address, why));
        if self.driver.refused_address != refused
            && let Some((_, why)) = &refused
        {
            tracing::info!(
                namespace = self.driver.key.namespace,
                name = self.driver.key.name,
                "{why}"
            );
        }
        self.driver.refused_address = refused;
    }

    /// Another address of the registration in a response, if the token may be sent there. Otherwise the previous address is
    /// still used, which many issuers accept: behind a proxy they do not know their own address.
    fn address_in(&mut self, raw: &RawAnswer, before: &Url, posted: &str) -> Option<Url> {
        let url = moved(raw, before)?;
        let (place, secret) = (&self.inputs.place, &self.inputs.secret);
        if place.may_manage_at((&url, posted), secret).is_ok() {
            // An address that did not work is not tried again at each request.
            let refused = self.driver.refused_address.as_ref();
            return refused
                .is_none_or(|(other, _)| *other != url)
                .then_some(url);
        }
        let origin = bounded(&url.origin().ascii_serialization(), 253);
        let why = format!(
            "the issuer's answer named another address of the registration, at {origin}, where the registration access token is not sent"
        );
        self.not_used(url, why);
        None
    }

    /// Adds the rejected address to the message if the previous address no longer works.
    fn with_refused(&self, fault: Fault) -> Fault {
        let refused = self.driver.refused_address.as_ref();
        match refused.filter(|_| matches!(fault.class, Class::NoApplication | Class::Caller)) {
            Some((_, refused)) => Fault {
                message: format!("{}; {refused}", fault.message),
                ..fault
            },
            None => fault,
        }
    }

    /// The address and the token from the Secret.
    fn access(&self) -> Result<Access, Fault> {
        let Registry::Registration { url, token } = &self.inputs.rotating.registry else {
            return Err(no_registration());
        };
        let secret = &self.inputs.rotating.secret;
        let lacks = |key: &str, what: &str| {
            let text = format!("key {key} of Secret {secret} {what}");
            not_sent(Class::Caller, text)
        };
        let text = |key: &str| {
            let data = self.inputs.secret.data.as_ref();
            let bytes = data.and_then(|data| data.get(key));
            let bytes = bytes.ok_or_else(|| {
                lacks(
                    key,
                    "is missing; store what the issuer gave when the client was registered",
                )
            })?;
            secret_text(&bytes.0).map_err(|problem| lacks(key, &problem))
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

/// The issuer returned a registration that was not changed.
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
