//! A client secret that the issuer has made and that is in no Secret yet. Nobody else has it, so it is stored whatever became of the client and
//! whoever leads by now.

use std::sync::Arc;

use super::driver::{Driver, PAUSE};
use crate::{
    Reason,
    controller::cache::cached_client::CachedClient,
    plan::Severity,
    rotation::{Memory, Step, Values, next},
};

/// So often it is tried to store it for a client that is not rotated any more: for ten minutes.
const TRIES: u64 = 600 / PAUSE.as_secs();

impl Driver {
    /// Its ID at the issuer.
    pub(super) fn held_id(&self) -> Option<String> {
        self.memory.held()?.id.clone()
    }

    /// Stores it, for the client as it is or, if it is not rotated any more, as it was. Says whether there is none any more.
    pub(super) async fn store_held(&mut self, client: Option<&Arc<CachedClient>>) -> bool {
        let Some(id) = self.held_id() else {
            return true;
        };
        let last = self.last.clone();
        let Some(of) = client.cloned().or(last) else {
            return true;
        };
        if self.stored(&of).await {
            if client.is_none() {
                self.left(&id, "it is in the Secret as the next value")
                    .await;
            }
            return true;
        }
        if client.is_some() {
            return false;
        }
        self.unstored_tries += 1;
        if self.unstored_tries < TRIES {
            return false;
        }
        self.left(&id, "it could not be stored in the Secret").await;
        self.forget();
        true
    }

    async fn stored(&mut self, client: &CachedClient) -> bool {
        let Ok(sight) = self.sight(client).await else {
            return false;
        };
        let seen = self.observed(client, &sight);
        let now = self.context.clock.now();
        let next = next(&seen, &self.memory, &sight.rotating.settings, now);
        let stores =
            matches!(&next.step, Step::Write { change, .. } if change.values == Values::StoreNext);
        if stores {
            self.step(&sight, &next, now).await;
        }
        self.held_id().is_none()
    }

    /// Nothing is known of the application any more.
    pub(super) fn forget(&mut self) {
        let context = &self.context;
        self.memory = Memory::new(context.clock.now(), &context.settings.rotation.pace);
        self.held.clear();
        self.in_flight = None;
        (self.own, self.object_id) = (None, None);
    }

    /// Nothing removes it.
    async fn left(&self, id: &str, where_it_is: &str) {
        let why = format!(
            "the client was deleted or its rotation was removed while the issuer made client secret {id}: {where_it_is}, and it stays valid at the issuer; remove it there"
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
