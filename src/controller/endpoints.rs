//! Token endpoints of issuers with a discovery document, found once and kept.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp};

use crate::{
    clock::Clock,
    credential::{Issuer, IssuerId},
    issuer::lookup::discover,
    oauth::{Refusal, TokenEndpoint, http::Http},
};

/// A document is read again after this; endpoints change once in years.
const FRESH: SignedDuration = SignedDuration::from_hours(6);

/// After a failed try the next one waits this long: everybody who asks meanwhile is told of the failure, or given
/// the endpoint that is known, and no worker hangs.
const AGAIN: SignedDuration = SignedDuration::from_secs(20);

type Slot = Arc<tokio::sync::Mutex<Entry>>;

#[derive(Default)]
struct Entry {
    found: Option<Found>,
    failed: Option<Failed>,
}

struct Failed {
    version: String,
    at: Timestamp,
    refusal: Refusal,
}

struct Found {
    version: String,
    at: Timestamp,
    endpoint: TokenEndpoint,
}

/// What was discovered, by issuer.
#[derive(Default)]
pub(super) struct Endpoints {
    slots: Mutex<HashMap<IssuerId, Slot>>,
}

impl Endpoints {
    /// Forgets an issuer that is gone.
    pub(super) fn forget(&self, issuer: &IssuerId) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.remove(issuer);
    }

    /// The token endpoint of an issuer with discovery. Asked for once, however many wait for it; an old answer
    /// serves on when a new one cannot be had.
    pub(super) async fn discovered(
        &self,
        http: &Http,
        issuer: &Issuer,
        clock: &dyn Clock,
    ) -> Result<TokenEndpoint, Refusal> {
        let slot = Arc::clone(
            self.slots
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .entry(issuer.id.clone())
                .or_default(),
        );
        let mut entry = slot.lock().await;
        let now = clock.now();
        let known = entry.found.as_ref().filter(|f| f.version == issuer.version);
        if let Some(known) = known.filter(|f| now.duration_since(f.at) < FRESH) {
            return Ok(known.endpoint.clone());
        }
        let known = known.map(|f| f.endpoint.clone());
        let recent = |f: &&Failed| {
            let age = now.duration_since(f.at);
            f.version == issuer.version && age < AGAIN && !age.is_negative()
        };
        if let Some(failed) = entry.failed.as_ref().filter(recent) {
            return known.ok_or_else(|| failed.refusal.clone());
        }
        let version = issuer.version.clone();
        match discover(http, issuer).await {
            Ok(endpoint) => {
                let found = Found {
                    version,
                    at: now,
                    endpoint: endpoint.clone(),
                };
                *entry = Entry {
                    found: Some(found),
                    failed: None,
                };
                Ok(endpoint)
            }
            Err(refusal) => {
                // By the time of the end of the try: whoever waited for it must find it recent.
                entry.failed = Some(Failed {
                    version,
                    at: clock.now(),
                    refusal: refusal.clone(),
                });
                known.ok_or(refusal)
            }
        }
    }
}
