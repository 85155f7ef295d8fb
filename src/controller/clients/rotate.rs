//! Drives the rotation of one client: observes, lets [`next`] decide, executes, and stores the result. Only this code sends or
//! writes something for a rotation; `core/rotation/mod.rs` explains the states.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use serde_json::json;

use super::{
    driver::{Driver, RECHECK, StepInputs},
    execute::Execution,
    held::{Application, REMOVED},
    issuer::ClientPlace,
    keypair,
    obstacle::{obstacle, with_added},
    patience::{LONGEST, LONGEST_SLEEP, PAUSE, sleep_until},
    seen::{in_others, is_listed, slots, users},
    step_name::{OutcomeName, StepName},
    trial_request::trial_request,
    upload::{copy_of, joined},
    view::Shared,
};
use crate::controller::{
    api::calls::{ApiErrorKind, call},
    cache::cached_client::CachedClient,
    context::Context,
    lookup::permission,
};
use crate::{
    api::{ApiCredential, ApiPreset, IssuerRef},
    credential::{ClientLookup, FieldError, Key, parse_client, parse_with_client},
    rotation::{
        Next, Observed, Outcome, Record, Registry, Rotating, Step, Uploading, lagging, next,
        rotating, upload, used_at,
    },
};

/// The result of a reconcile of the rotation.
enum Reconciled {
    /// There is nothing left to rotate.
    Gone,
    /// Reconcile again after this time, or when something changed.
    Sleep(Duration),
}

/// Starts to drive the rotation of a client.
pub(super) fn begin(
    context: &Arc<Context>,
    key: &Key,
    uid: &str,
    shared: Arc<Shared>,
) -> tokio::task::AbortHandle {
    let driver = Driver::new(context, key, uid, shared);
    tokio::spawn(driver.run()).abort_handle()
}

impl Driver {
    async fn run(mut self) {
        loop {
            let stamp = self.stamp();
            let sleep = match Box::pin(self.reconcile()).await {
                Reconciled::Gone => return,
                Reconciled::Sleep(sleep) => sleep,
            };
            // With a monotonic clock, which is never set.
            let until = tokio::time::Instant::now() + sleep.min(LONGEST_SLEEP);
            let refreshes = self.context.refreshes.clone();
            let hurries = self.has_unstored() && !refreshes.are_awaited();
            loop {
                tokio::select! {
                    () = tokio::time::sleep_until(until) => break,
                    () = self.shared.changed.notified() => if self.stamp() != stamp {
                        break;
                    },
                    () = refreshes.awaited(), if hurries => break,
                }
            }
        }
    }

    /// The current client. `None` if it is another object, is being deleted, or must not be rotated.
    pub(super) fn client(&self) -> Option<Arc<CachedClient>> {
        let client = self.context.clients.get(&self.key)?;
        let same = client.metadata.uid.as_deref() == Some(self.uid.as_str());
        let wanted = client
            .spec
            .as_ref()
            .is_ok_and(|spec| spec.rotation.is_some());
        let ours = self.context.rotations.has(&self.key, &self.shared);
        (same && wanted && ours && !client.deleting).then_some(client)
    }

    /// Continues as far as possible.
    async fn reconcile(&mut self) -> Reconciled {
        loop {
            // Nothing else has the token, so it is stored first.
            if let Err((why, again)) = self.store_token().await {
                self.blocked(why);
                return Reconciled::Sleep(again);
            }
            let (context, client) = (Arc::clone(&self.context), self.client());
            let acts = context.may_act() && is_listed(&context, &self.key.namespace);
            // No other process has this value either.
            let left = client.is_none().then_some(REMOVED);
            let goes_on = client.is_some() && acts;
            if !goes_on && !Box::pin(self.store_held(left)).await {
                return Reconciled::Sleep(self.until_stored());
            }
            let Some(client) = client else {
                return Reconciled::Gone;
            };
            if !acts {
                return Reconciled::Sleep(PAUSE);
            }
            self.follows(&client);
            let inputs = match self.inputs(&client).await {
                Ok(inputs) => inputs,
                Err((why, again)) => {
                    self.blocked(why);
                    return Reconciled::Sleep(again);
                }
            };
            match Box::pin(self.rotates(&inputs)).await {
                Application::Same => {}
                Application::Stored => continue,
                Application::Unstored(why) => {
                    self.blocked(why.to_owned());
                    return Reconciled::Sleep(self.until_stored());
                }
            }
            self.has_token(inputs.registration_token());
            self.unmanaged = inputs.unmanaged();
            let (next, now) = self.decide(&client, &inputs).await;
            self.begins(&next.step);
            // Until then the status shows what the previous process has observed.
            if self.observed_all {
                self.decided(&next);
            }
            if let Step::Wait { until } = next.step {
                self.failures = 0;
                return Reconciled::Sleep(sleep_until(until, now));
            }
            if let Some(pause) = self.step(&inputs, &next, now).await {
                self.observed_all = true;
                return Reconciled::Sleep(pause);
            }
        }
    }

    /// Resets what the start of this step makes obsolete.
    fn begins(&mut self, step: &Step) {
        if !matches!(step, Step::Write { .. }) {
            self.unwritten = None;
        }
        if matches!(step, Step::Wait { .. }) {
            self.stuck = None;
            self.observed_all = true;
        }
    }

    /// The Secret was read from the API server a short time ago, so the decision does not depend on the cache.
    async fn decide(&mut self, client: &CachedClient, inputs: &StepInputs) -> (Next, Timestamp) {
        let settings = &inputs.rotating.settings;
        let now = self.context.clock.now();
        let Some(pairs) = &inputs.upload else {
            let seen = Observed {
                requested: client.rotate_requested.clone(),
                handled: client.handled(),
                ..self.observed(inputs)
            };
            self.found(&seen.slots);
            self.reads(&seen, settings, now).await;
            return (next(&seen, &self.memory, settings, now), now);
        };
        let mut seen = self.uploading(client, inputs, pairs);
        if self.uploaded(&seen).await {
            seen.handled.clone_from(&seen.requested);
        }
        let next = upload(&seen, &self.memory, settings, now);
        self.upload_failed(&next).await;
        (next, now)
    }

    /// Executes one step. Returns a wait if it failed for another reason than the issuer.
    pub(super) async fn step(
        &mut self,
        inputs: &StepInputs,
        next: &Next,
        now: Timestamp,
    ) -> Option<Duration> {
        self.memory.before(&next.step, now);
        let execution = Execution {
            driver: self,
            inputs,
        };
        let outcome = execution.run(&next.step).await;
        let repeated = match &next.step {
            Step::RemoveKey { id } | Step::RemovePassword { id } => self.memory.has_removed(id),
            _ => false,
        };
        self.memory
            .after(&next.step, &outcome, self.context.clock.now());
        tracing::debug!(
            namespace = self.key.namespace,
            name = self.key.name,
            step = ?StepName(&next.step),
            outcome = ?OutcomeName(&outcome),
            "a step of a rotation"
        );
        if let (Step::Write { change, .. }, Outcome::Done) = (&next.step, &outcome) {
            self.last_record = Some(Box::new(change.record.clone()));
            self.wrote(&next.record, change).await;
        }
        if let (Step::RemoveKey { id } | Step::RemovePassword { id }, Outcome::Done) =
            (&next.step, &outcome)
            && !repeated
        {
            self.removed(id).await;
        }
        if self.memory.held().is_none() {
            self.held.clear();
            self.held_by = None;
        }
        if self.held_id().is_none() {
            self.in_flight = None;
        }
        if outcome == Outcome::NotWritten {
            return Some(self.had_no_effect(inputs, next));
        }
        // A read precedes a step that may again have no effect.
        if next.step != Step::ReadApplication {
            (self.failures, self.stuck) = (0, None);
        }
        None
    }

    /// All inputs of a step, or why nothing can be done and when to reconcile again.
    async fn inputs(&self, client: &CachedClient) -> Result<StepInputs, (String, Duration)> {
        let of = self.place(client).map_err(|fault| (fault, RECHECK))?;
        self.sight_of(of).await
    }

    /// The same for what is rotated.
    pub(super) async fn sight_of(
        &self,
        (rotating, place): (Rotating, ClientPlace),
    ) -> Result<StepInputs, (String, Duration)> {
        let context = &self.context;
        let api: Api<Secret> = Api::namespaced(context.client.clone(), &self.key.namespace);
        let name = rotating.secret.as_str();
        let read = call(&context.metrics, "get_secret", || api.get(name)).await;
        let mut secret = read.map_err(|error_kind| match error_kind {
            ApiErrorKind::NotFound => (format!("Secret {name} does not exist; create it"), RECHECK),
            _ => (
                format!("Secret {name} cannot be read; apicred tries again"),
                LONGEST,
            ),
        })?;
        let copy = copy_of(&rotating, &place.credential, &secret.metadata);
        let copy = match &copy {
            Some(copy) => Some(self.copy(copy, &secret.metadata).await?),
            None => match obstacle(&secret, &rotating, &self.key, &self.uid) {
                Some(why) => return Err((with_added(why, &secret, &self.uid), RECHECK)),
                None => None,
            },
        };
        let digests = context.digest_key.get(&context.metrics).await;
        let digests = digests.map_err(|_| {
            let why = "the operator's digest key cannot be read; apicred tries again";
            (why.to_owned(), LONGEST)
        })?;
        let digests = digests.clone();
        // To read the private keys of a full Secret takes longer than other tasks may wait.
        let read = move || {
            let upload = copy.map(|copy| joined(&rotating, &digests, &mut secret, copy.as_ref()));
            let none = BTreeMap::new();
            let all = || slots(&rotating, secret.data.as_ref().unwrap_or(&none), &digests);
            let slots = upload.as_ref().map_or_else(all, Uploading::slots);
            let inputs = StepInputs {
                rotating,
                place,
                secret,
                slots,
                digests,
                upload,
                unmakeable: None,
            };
            let unmakeable = keypair::unmakeable(&inputs);
            StepInputs {
                unmakeable,
                ..inputs
            }
        };
        let read = context.key_reads.run(&self.key.namespace, read).await;
        read.ok_or_else(|| {
            let why = "the values of the Secret cannot be read; this is a defect of apicred";
            (why.to_owned(), LONGEST)
        })
    }

    /// What is rotated, and the issuer from the view of this client.
    fn place(&self, client: &CachedClient) -> Result<(Rotating, ClientPlace), String> {
        let context = &self.context;
        let joined = |faults: Vec<FieldError>| FieldError::join(&faults);
        let spec = client
            .spec
            .as_ref()
            .map_err(|flaw| joined(vec![flaw.error()]))?;
        let issuer = |reference: &IssuerRef| context.issuer(&self.key.namespace, reference);
        let (found, authentication) = parse_client(spec, issuer).map_err(joined)?;
        let pace = (
            context.settings.rotation.trials,
            context.settings.rotation.pace,
        );
        let rotating = rotating(spec, (&found, &authentication), pace);
        let rotating = rotating.map_err(|fault| joined(vec![fault]))?;
        let rotating = rotating.ok_or_else(|| "there is no rotation".to_owned())?;
        let (object, requested_by) = self
            .object(&rotating)
            .ok_or_else(|| "the request cannot be made; this is a defect of apicred".to_owned())?;
        let client = |_: &str| ClientLookup::Found(Box::new(spec.clone()));
        let credential = parse_with_client(&object, client, issuer).map_err(joined)?;
        let (allowed, terminating) = permission(context, &credential);
        allowed.map_err(|denial| denial.message().to_owned())?;
        if terminating {
            return Err("the namespace is being deleted".to_owned());
        }
        let context = Arc::clone(context);
        Ok((
            rotating,
            ClientPlace {
                context,
                credential,
                requested_by,
            },
        ))
    }

    /// Represents the client in limits and requests. Names of objects contain no slash, so it cannot conflict with a credential.
    fn object(&self, rotating: &Rotating) -> Option<(ApiCredential, Option<String>)> {
        let mut requested_by = None;
        let mut object: ApiCredential = serde_json::from_value(json!({
            "apiVersion": "apicred.dev/v1alpha1",
            "kind": "ApiCredential",
            "metadata": {
                "namespace": self.key.namespace, "name": format!("apiclient/{}", self.key.name), "uid": self.uid,
            },
            "spec": { "clientRef": { "name": self.key.name }, "target": { "secretName": "none" } },
        }))
        .ok()?;
        match &rotating.registry {
            Registry::Graph(_) => object.spec.api = Some(ApiPreset::MicrosoftGraph),
            // Other issuers may issue tokens only for what a credential of this client requests.
            Registry::Registration { .. } => {
                let trial_request =
                    trial_request(&self.context, &self.key, rotating, &self.failed_requests);
                if let Some((name, spec)) = trial_request {
                    requested_by = Some(name);
                    let target = std::mem::replace(&mut object.spec, spec).target;
                    object.spec.target = target;
                }
            }
        }
        Some((object, requested_by))
    }

    /// All observations, except the requests in the client resource.
    pub(super) fn observed(&self, inputs: &StepInputs) -> Observed {
        let meta = &inputs.secret.metadata;
        let version = meta.resource_version.clone().unwrap_or_default();
        let noted = Record::read(&meta.annotations.clone().unwrap_or_default());
        let uid = meta.uid.as_deref().unwrap_or_default();
        let users = users(
            &self.context,
            &self.key.namespace,
            &inputs.rotating,
            &inputs.place.credential.issuer,
            uid,
        );
        Observed {
            lagging: lagging(&users, &noted, &version, inputs.rotating.settings.overlap),
            used_at: used_at(&users, &version),
            slots: inputs.slots.clone(),
            names: inputs.names(&self.uid),
            others_known: self.context.unsynced.has_all_secrets(),
            in_others: in_others(&self.context, &self.key.namespace, &inputs.rotating),
            client: inputs.rotating.client(),
            unmakeable: inputs.unmakeable.clone(),
            requested: None,
            handled: None,
            version,
            noted,
        }
    }
}
