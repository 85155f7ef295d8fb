//! A client secret that the issuer has made and that is in no Secret yet. Nobody else has it, so it is stored whatever became of the client and
//! whoever leads by now.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    driver::{self, Driver, Sight},
    patience::Patience,
};
use crate::{
    Reason,
    plan::Severity,
    rotation::{Memory, Slots, Step, Values, next},
};

/// Why nothing goes on with it.
pub(super) const REMOVED: &str = "the client was deleted or its rotation was removed";
const RENAMED: &str = "the client named another application";
const MOVED: &str = "the client named another Secret";

/// What is rotated now, beside what was rotated at the last reconciliation.
pub(super) enum Application {
    Same,
    /// Another one, and a client secret of the one before it was stored: the Secret has changed.
    Stored,
    /// Another one, for this reason, and such a client secret is to be stored first.
    Unstored(&'static str),
}

impl Driver {
    /// Its ID at the issuer.
    pub(super) fn held_id(&self) -> Option<String> {
        self.memory.held()?.id.clone()
    }

    /// Forgets everything if the spec names another application now: nothing that is known of one holds for another.
    pub(super) async fn rotates(&mut self, sight: &Sight) -> Application {
        let (rotating, issuer) = (&sight.rotating, &sight.place.credential.issuer);
        let application = driver::Application {
            client_id: rotating.client_id.clone(),
            secret: (rotating.secret.clone(), rotating.keys.clone()),
            object_id: rotating.object_id.clone(),
            endpoint: issuer.endpoint.clone(),
            graph: issuer.graph.clone(),
            uploads: sight.upload.is_some(),
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
            // What is open is about the application or the Secret before.
            (self.lost, self.unwritten, self.stuck) = (None, None, None);
            self.refused_address = None;
            if first {
                self.takes_over();
            }
            self.application = Some(application);
        }
        self.of = Some((rotating.clone(), sight.place.clone()));
        result
    }

    /// Stores it for the client as it was at the last reconciliation. `left`: why nothing goes on with it. Says whether there is none any more.
    pub(super) async fn store_held(&mut self, left: Option<&str>) -> bool {
        let Some(id) = self.held_id() else {
            return true;
        };
        let over = self.client().is_none();
        // What is stored there now goes with it.
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
            // With the client gone, no other process removes it. What the Secret may have is not removed.
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

    /// Does the Secret not exist any more? With the client gone, nobody creates it again.
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

    /// What is reported of it as long as it cannot be stored.
    pub(super) fn held_nowhere(&self) -> Option<String> {
        let id = self.held_id()?;
        Some(format!(
            "client secret {id}, which the issuer made meanwhile, is in no Secret: apicred stores it when it can; if it shall not be stored, remove it at the issuer"
        ))
    }

    /// How long until it is tried again to store it.
    pub(super) fn until_stored(&self) -> Duration {
        self.patience.pause(self.context.refreshes.are_awaited())
    }

    /// Stores it. Says whether the Secret has it. None: nobody knows.
    async fn stored(&mut self) -> Option<bool> {
        let Some(of) = self.of.clone() else {
            return Some(true);
        };
        let sight = self.sight_of(of.clone()).await.ok()?;
        let seen = self.observed(&sight);
        if self.found(&seen.slots) {
            return Some(true);
        }
        let now = self.context.clock.now();
        let next = next(&seen, &self.memory, &sight.rotating.settings, now);
        let stores =
            matches!(&next.step, Step::Write { change, .. } if change.values == Values::StoreNext);
        if stores && self.step(&sight, &next, now).await.is_some() {
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

    /// Has the Secret what is in hand? A write whose answer was lost may have stored it.
    pub(super) fn found(&mut self, slots: &Slots) -> bool {
        let found = self.memory.found(slots);
        if found {
            self.held.clear();
            (self.held_by, self.in_flight) = (None, None);
            self.patience = Patience::default();
        }
        found
    }

    /// Nothing is known of the application any more.
    pub(super) fn forget(&mut self) {
        let context = &self.context;
        self.memory = Memory::new(context.clock.now(), &context.settings.rotation.pace);
        self.held.clear();
        self.held_by = None;
        self.in_flight = None;
        self.patience = Patience::default();
        (self.own, self.object_id) = (None, None);
    }

    /// Nothing removes it.
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
