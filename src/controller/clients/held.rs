//! A client secret that the issuer has created and that is not stored in a Secret yet. No other process has it, so it is stored
//! even if the client was changed or deleted, and even if another process now leads.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    driver::{self, Driver, StepInputs},
    patience::Patience,
};
use crate::{
    Reason,
    plan::Severity,
    rotation::{Memory, Slots, Step, Values, next},
};

/// Why the rotation does not continue with the client secret.
pub(super) const REMOVED: &str = "the client was deleted or its rotation was removed";
const RENAMED: &str = "the client named another application";
const MOVED: &str = "the client named another Secret or other keys";

/// What is rotated now, compared with the last reconcile.
pub(super) enum Application {
    Same,
    /// Another application, and a client secret of the previous one was stored: the Secret has changed.
    Stored,
    /// Another application, for this reason. A client secret of the previous one must be stored first.
    Unstored(&'static str),
}

impl Driver {
    /// The ID of the client secret at the issuer.
    pub(super) fn held_id(&self) -> Option<String> {
        self.memory.held()?.id.clone()
    }

    /// Resets the state if the spec now names another application: nothing that is known about one application is valid for another one.
    pub(super) async fn rotates(&mut self, inputs: &StepInputs) -> Application {
        let (rotating, issuer) = (&inputs.rotating, &inputs.place.credential.issuer);
        let application = driver::Application {
            client_id: rotating.client_id.clone(),
            kind: rotating.settings.kind,
            secret: (rotating.secret.clone(), rotating.keys.clone()),
            object_id: rotating.object_id.clone(),
            endpoint: issuer.endpoint.clone(),
            graph: issuer.graph.clone(),
            uploads: inputs.upload.is_some(),
        };
        let mut result = Application::Same;
        if self.application.as_ref() != Some(&application) {
            if self.held_id().is_some() {
                let before = self.of.as_ref().map(|(rotating, _)| rotating.client());
                let why = if before == Some(rotating.client()) {
                    MOVED
                } else {
                    RENAMED
                };
                if !Box::pin(self.store_held(Some(why))).await {
                    return Application::Unstored(why);
                }
                result = Application::Stored;
            }
            let first = self.application.is_none();
            self.forget();
            // These messages are about the previous application or Secret.
            (self.lost, self.unwritten, self.stuck) = (None, None, None);
            self.refused_address = None;
            if first {
                self.takes_over();
            }
            self.application = Some(application);
        }
        self.of = Some((rotating.clone(), inputs.place.clone()));
        result
    }

    /// Stores the client secret for the client of the last reconcile. `left`: why the rotation does not continue with it.
    /// Returns true if there is no unstored client secret any more.
    pub(super) async fn store_held(&mut self, left: Option<&str>) -> bool {
        let Some(id) = self.held_id() else {
            return true;
        };
        let over = self.client().is_none();
        // Whatever is stored there now is deleted with the namespace.
        let ends = over && self.is_namespace_terminating();
        let there = if ends {
            None
        } else {
            Box::pin(self.stored()).await
        };
        let stored = there == Some(true);
        let gone = ends || !stored && over && self.is_secret_gone().await;
        if !stored && !gone && self.patience.failed(left.is_some(), Instant::now()) {
            return false;
        }
        let Some(why) = left else {
            return true;
        };
        if stored {
            self.left((why, &id), "it is in the Secret as the next value")
                .await;
        } else {
            let where_it_is = if ends {
                "its namespace is being deleted"
            } else if gone {
                "its Secret does not exist any more"
            } else {
                "it could not be stored in the Secret"
            };
            // If the client is deleted, no other process removes the client secret. It is not removed if the Secret may contain it.
            let nowhere = gone || there == Some(false);
            if over && nowhere && self.withdraw(&id).await {
                self.removed(&id).await;
            } else {
                self.left((why, &id), where_it_is).await;
            }
            self.forget();
        }
        true
    }

    /// Whether the Secret no longer exists. If the client is deleted, the Secret is not expected to be recreated.
    async fn is_secret_gone(&self) -> bool {
        let Some((rotating, _)) = &self.of else {
            return false;
        };
        matches!(self.secret_now(&rotating.secret).await, Ok(None))
    }

    fn is_namespace_terminating(&self) -> bool {
        let namespace = self.context.namespace(&self.key.namespace);
        namespace.is_some_and(|namespace| namespace.terminating)
    }

    /// The message about the client secret while it cannot be stored.
    pub(super) fn held_nowhere(&self) -> Option<String> {
        let id = self.held_id()?;
        Some(format!(
            "client secret {id}, which the issuer created in the meantime, is in no Secret: apicred stores it when it can; if it must not be stored, remove it at the issuer"
        ))
    }

    /// The wait before the next attempt to store it.
    pub(super) fn until_stored(&self) -> Duration {
        self.patience.pause(self.context.refreshes.are_awaited())
    }

    /// Stores it. Returns whether the Secret contains it; `None` if this is unknown.
    async fn stored(&mut self) -> Option<bool> {
        let Some(of) = self.of.clone() else {
            return Some(true);
        };
        let inputs = self.sight_of(of.clone()).await.ok()?;
        let seen = self.observed(&inputs);
        if self.found(&seen.slots) {
            return Some(true);
        }
        let now = self.context.clock.now();
        let next = next(&seen, &self.memory, &inputs.rotating.settings, now);
        let stores =
            matches!(&next.step, Step::Write { change, .. } if change.values == Values::StoreNext);
        if stores && self.step(&inputs, &next, now).await.is_some() {
            // A write that failed may have taken effect.
            let slots = self.observed(&self.sight_of(of).await.ok()?).slots;
            self.found(&slots);
        }
        let stored = self.held_id().is_none();
        if stored {
            self.patience = Patience::default();
        }
        Some(stored)
    }

    /// Whether the Secret contains the unstored value. A write whose response was lost may have stored it.
    pub(super) fn found(&mut self, slots: &Slots) -> bool {
        let found = self.memory.found(slots);
        if found {
            self.held.clear();
            (self.held_by, self.in_flight) = (None, None);
            self.patience = Patience::default();
        }
        found
    }

    /// Resets everything that is known about the application.
    pub(super) fn forget(&mut self) {
        let context = &self.context;
        self.memory = Memory::new(context.clock.now(), &context.settings.rotation.pace);
        self.held.clear();
        self.held_by = None;
        self.in_flight = None;
        self.patience = Patience::default();
        (self.own, self.object_id) = (None, None);
        self.last_record = None;
    }

    /// Reports a client secret that is not removed.
    async fn left(&self, (why, id): (&str, &str), where_it_is: &str) {
        let client = self.of.as_ref().map(|(rotating, _)| rotating.client());
        let client = client.unwrap_or_default();
        let why = format!(
            "{why} while the issuer made client secret {id} of client {} at {}: {where_it_is}, and it stays valid there; remove it at the issuer",
            client.id, client.issuer
        );
        tracing::warn!(
            namespace = self.key.namespace,
            name = self.key.name,
            key_id = id,
            reason = Reason::RotationBlocked.as_str(),
            "{why}"
        );
        self.notify(Severity::Warning, Reason::RotationBlocked, why)
            .await;
    }
}
