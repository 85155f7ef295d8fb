//! Executes one step of a rotation.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use secrecy::{ExposeSecret, SecretString};

use super::{
    driver::{Driver, StepInputs},
    issuer::{GraphToken, not_sent},
    keypair,
    seen::ClientValue,
    unwritten::unwritten,
};
use crate::controller::api::calls::{ApiErrorKind, call_with_message};
use crate::{
    api::names,
    oauth::{KeyShape, PROOF_AUDIENCE, proof_of_possession},
    rotation::{
        Change, Class, Fault, Kind, Outcome, Registry, Step, Tried, UnstoredValue, Values,
        graph::{self, Address, Graph},
    },
    telemetry::tries::warn_at_first,
};

/// One step with all its inputs.
pub(super) struct Execution<'a> {
    pub(super) driver: &'a mut Driver,
    pub(super) inputs: &'a StepInputs,
}

/// An input of the step no longer exists, although the decision was made a short time ago.
fn moved() -> Outcome {
    Outcome::NotWritten
}

/// Whether Microsoft Graph rejected the token of the call, or possibly the token. The next call uses another token if the client gets it itself.
fn refuses_token(fault: &Fault) -> bool {
    fault.sent && matches!(fault.class, Class::Token | Class::Proof)
}

impl Execution<'_> {
    pub(super) async fn run(mut self, step: &Step) -> Outcome {
        let own = matches!(self.inputs.rotating.registry, Registry::Registration { .. });
        let result = match step {
            // An upload never has this step: its values are joined from two Secrets and are not the content of this Secret.
            Step::Write { .. } if self.inputs.upload.is_some() => Ok(moved()),
            Step::Write { version, change } => Ok(self.write(version, change).await),
            Step::ReadApplication if own => self.read_registration().await,
            Step::ReadApplication => self.read().await,
            Step::MakeKeyPair { n, name, until } => self.make(*n, name, *until).await,
            Step::AddKey { digest, .. } if own => self.register_key(digest).await,
            Step::AddKey { digest, .. } => self.add_key(digest).await,
            Step::AddPassword { n, name, until } => self.add_password(*n, name, *until).await,
            Step::RemoveKey { id } if own => self.deregister_key(id).await,
            Step::RemoveKey { id } => self.remove(id, Kind::Certificate).await,
            Step::RemovePassword { id } => self.remove(id, Kind::Secret).await,
            Step::Trial { of, digest, .. } => Ok(self.trial(*of, digest).await),
            Step::Wait { .. } => Ok(Outcome::Done),
        };
        result.unwrap_or_else(|fault| {
            if refuses_token(&fault) {
                self.driver.own = None;
            }
            Outcome::Failed(fault)
        })
    }

    pub(super) fn now(&self) -> Timestamp {
        self.driver.context.clock.now()
    }

    fn graph(&self) -> Result<Graph, Fault> {
        match &self.inputs.rotating.registry {
            Registry::Graph(base) => Ok(Graph::new(base.clone())),
            Registry::Registration { .. } => Err(not_sent(
                Class::Invalid,
                "the client has no Microsoft Graph; remove rotation.registration",
            )),
        }
    }

    fn object_id(&self) -> Option<String> {
        let declared = self.inputs.rotating.object_id.clone();
        declared.or_else(|| self.driver.object_id.clone())
    }

    /// A value, if it is the one that the step refers to.
    pub(super) fn value(&self, of: Tried, digest: &str) -> Option<ClientValue> {
        let (value, slot) = match of {
            Tried::Current => (self.inputs.current(), &self.inputs.slots.current),
            Tried::Next => (self.inputs.next(), &self.inputs.slots.next),
        };
        slot.as_ref().filter(|slot| slot.digest == digest)?;
        value
    }

    async fn trial(&mut self, of: Tried, digest: &str) -> Outcome {
        let Some(value) = self.value(of, digest) else {
            return moved();
        };
        let place = &self.inputs.place;
        let outcome = place.trial(value.material(), &self.inputs.secret).await;
        if let (Outcome::NoAnswer(fault, _), Some(name)) = (&outcome, &place.requested_by)
            && fault.class == Class::Token
        {
            // Another credential of the client may get a token.
            let times = self.driver.failed_requests.entry(name.clone()).or_default();
            *times = times.saturating_add(1);
        }
        outcome
    }

    /// The token for calls of Microsoft Graph.
    async fn token(&mut self) -> Result<GraphToken, Fault> {
        let inputs = self.inputs;
        if let Some(manager) = &inputs.rotating.manager {
            return inputs.place.managed_by(manager, &inputs.secret).await;
        }
        let (Some(current), Some(slot)) = (inputs.current(), &inputs.slots.current) else {
            return Err(not_sent(
                Class::Proof,
                "the Secret has no valid certificate; store one",
            ));
        };
        let with = (current.material(), slot.digest.as_str());
        let cached = &mut self.driver.own;
        inputs.place.own(cached, with, &inputs.secret).await
    }

    /// The proof of possession with the current certificate. It is sent together with `_token`, which may be sent there.
    fn proof(&self, _token: &GraphToken) -> Result<SecretString, Fault> {
        let Some(object) = self.object_id() else {
            return Err(not_sent(
                Class::Invalid,
                "the object ID of the application is not known, and the client may not read it; set spec.objectId",
            ));
        };
        let Some(ClientValue::Certificate(identity)) = self.inputs.current() else {
            return Err(not_sent(
                Class::Proof,
                "the Secret has no valid certificate; store one",
            ));
        };
        proof_of_possession(&identity, (PROOF_AUDIENCE, &object), self.now())
            .map_err(|problem| not_sent(Class::Invalid, problem))
    }

    async fn read(&mut self) -> Result<Outcome, Fault> {
        let token = self.token().await?;
        let object = self.object_id();
        let address = self.address(object.as_deref());
        let answer = self.call(&token, |graph, call| graph.read(address, call));
        let answer = answer.await?;
        let rotating = &self.inputs.rotating;
        let (client, kind) = (&rotating.client_id, rotating.settings.kind);
        let read = graph::application(&answer, client, kind, self.now());
        let named = object.is_some();
        let (id, application) = read.map_err(|fault| {
            if named {
                fault
            } else {
                graph::unnamed(fault, kind)
            }
        })?;
        self.driver.object_id = Some(id);
        Ok(Outcome::Application(application))
    }

    async fn make(&mut self, n: u32, name: &str, until: Timestamp) -> Result<Outcome, Fault> {
        if self.inputs.rotating.settings.kind == Kind::Key {
            return self.make_key(n).await;
        }
        let (bits, name, now) = (keypair::bits(self.inputs), name.to_owned(), self.now());
        let make = move || keypair::make(bits, &name, until, now);
        let (work, key) = (&self.driver.context.key_generations, &self.driver.key);
        let made = work.run(&key.namespace, make);
        let Some(Ok(pair)) = made.await else {
            tracing::error!("a key pair could not be generated; apicred tries again");
            return Ok(Outcome::NotWritten);
        };
        let span = (pair.from, Some(pair.until));
        let held = pair.under(&self.inputs.rotating.keys);
        Ok(self.hold(held, n, None, span))
    }

    /// Generates a private key like the current one.
    async fn make_key(&mut self, n: u32) -> Result<Outcome, Fault> {
        let (Some(ClientValue::Key(current, _)), [name]) =
            (self.inputs.current(), self.inputs.rotating.keys.as_slice())
        else {
            return Ok(moved());
        };
        let (work, key) = (&self.driver.context.key_generations, &self.driver.key);
        let made = work.run(&key.namespace, move || keypair::after(&current));
        let Some(Some(made)) = made.await else {
            tracing::error!("a private key could not be generated; apicred tries again");
            return Ok(Outcome::NotWritten);
        };
        let value = ByteString(made.expose_secret().as_bytes().to_vec());
        let held = BTreeMap::from([(name.clone(), value)]);
        Ok(self.hold(held, n, None, (self.now(), None)))
    }

    fn hold(
        &mut self,
        held: BTreeMap<String, ByteString>,
        n: u32,
        id: Option<String>,
        (from, until): (Timestamp, Option<Timestamp>),
    ) -> Outcome {
        let value = ClientValue::read(&self.inputs.rotating, &held, "");
        let slot = value.and_then(|value| value.slot(&self.inputs.rotating, &self.inputs.digests));
        let Some(slot) = slot else {
            return moved();
        };
        self.driver.held = held;
        Outcome::Held(UnstoredValue {
            n,
            slot,
            id,
            from,
            until,
        })
    }

    async fn add_key(&mut self, digest: &str) -> Result<Outcome, Fault> {
        let Some(ClientValue::Certificate(next)) = self.value(Tried::Next, digest) else {
            return Ok(moved());
        };
        if !next
            .key()
            .is_ok_and(|key| matches!(key.shape(), KeyShape::Rsa(_)))
        {
            return Err(not_sent(
                Class::Invalid,
                "the new certificate in the Secret has no RSA key, and Entra ID takes no other; have cert-manager make one with privateKey.algorithm: RSA",
            ));
        }
        let token = self.token().await?;
        let proof = self.proof(&token)?;
        let object = self.object_id();
        let address = self.address(object.as_deref());
        let answer = self.call(&token, |graph, call| {
            graph.add_key(address, &next, &proof, call)
        });
        let answer = answer.await?;
        graph::new_key(&answer, self.now()).map(Outcome::KeyAdded)
    }

    async fn add_password(
        &mut self,
        n: u32,
        name: &str,
        until: Timestamp,
    ) -> Result<Outcome, Fault> {
        let token = self.token().await?;
        let sent = self.now();
        // The process must not exit before the response is stored.
        self.driver.in_flight = Some(self.driver.context.refreshes.begin());
        let client = self.address(None);
        let answer = self.call(&token, |graph, call| {
            graph.add_password(client, (name, until), call)
        });
        let answer = answer.await?;
        let new = graph::new_password(&answer, self.now())?;
        let key = self.inputs.rotating.reference.key.clone();
        let value = new.value.expose_secret().as_bytes().to_vec();
        let held = BTreeMap::from([(key, ByteString(value))]);
        let span = (new.from.unwrap_or(sent), new.until.or(Some(until)));
        self.driver.held_by = Some(token);
        Ok(self.hold(held, n, Some(new.id), span))
    }

    async fn remove(&mut self, id: &str, kind: Kind) -> Result<Outcome, Fault> {
        let token = self.token().await?;
        let answer = match kind {
            Kind::Certificate => {
                let proof = self.proof(&token)?;
                let object = self.object_id();
                let address = self.address(object.as_deref());
                let answer = self.call(&token, |graph, call| {
                    graph.remove_key(address, id, &proof, call)
                });
                answer.await?
            }
            Kind::Secret | Kind::Key => {
                let client = self.address(None);
                let answer = self.call(&token, |graph, call| {
                    graph.remove_password(client, id, call)
                });
                answer.await?
            }
        };
        graph::removed(&answer, kind, self.now()).map(|()| Outcome::Done)
    }

    /// The address of the application: by its object ID if set, else by its client ID.
    fn address<'a>(&'a self, object: Option<&'a str>) -> Address<'a> {
        let client = Address::Client(&self.inputs.rotating.client_id);
        object.map_or(client, Address::Object)
    }

    /// Calls Microsoft Graph.
    async fn call(
        &self,
        token: &GraphToken,
        build: impl FnOnce(&Graph, graph::GraphCall<'_>) -> Option<graph::GraphRequest>,
    ) -> Result<crate::oauth::RawAnswer, Fault> {
        let graph = self.graph()?;
        let place = &self.inputs.place;
        place.call(token, |call| build(&graph, call)).await
    }

    /// Writes the source Secret once, with the version that was read.
    async fn write(&mut self, version: &str, change: &Change) -> Outcome {
        let patch = Patch::Merge(self.patch(version, change));
        let (driver, inputs) = (&mut *self.driver, self.inputs);
        let context = &driver.context;
        let credential = &inputs.place.credential;
        let api: Api<Secret> = Api::namespaced(context.client.clone(), &credential.namespace);
        let params = PatchParams {
            field_manager: Some(names::MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let secret = inputs.rotating.secret.as_str();
        let request = || api.patch_metadata(secret, &params, &patch);
        // A value that was requested is stored, even if another process now leads.
        let stores =
            change.values == Values::StoreNext && inputs.rotating.settings.kind == Kind::Secret;
        let may = || stores || context.may_act();
        let under_way = context.own_write(credential, secret);
        let hidden = driver.held.values().next();
        let hidden = hidden
            .and_then(|v| std::str::from_utf8(&v.0).ok())
            .map(SecretString::from);
        let made = call_with_message(
            &context.metrics,
            "patch_client_secret",
            may,
            request,
            hidden.as_ref(),
        )
        .await;
        match made {
            Ok(made) => {
                under_way.done(&made.metadata);
                context.worked("client secret", &driver.uid);
                driver.unwritten = None;
                if stores || change.values == Values::StoreNext {
                    driver.held.clear();
                    driver.held_by = None;
                }
                Outcome::Done
            }
            Err(failed) => {
                drop(under_way);
                let kind = failed.error_kind;
                if !matches!(kind, ApiErrorKind::Conflict | ApiErrorKind::Unwanted) {
                    let server_message = failed.server_message.fault();
                    let failure = context.failed("client secret", &driver.uid, kind.as_str());
                    warn_at_first!(
                        failure,
                        namespace = credential.namespace,
                        secret,
                        server_message,
                        "the Secret of a client could not be written and is tried again: {}",
                        kind.as_str()
                    );
                    driver.unwritten = unwritten(secret, &failed, driver.failures);
                }
                Outcome::NotWritten
            }
        }
    }
}
