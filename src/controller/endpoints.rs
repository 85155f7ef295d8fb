//! Token endpoints of issuers with a discovery document, found once and kept.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp};

use crate::{
    credential::{Endpoint, Issuer, IssuerId},
    issuer::discovery,
    oauth::{
        Class, Refusal, TokenEndpoint,
        http::{Http, not_found},
    },
};

/// A document is read again after this; endpoints change once in years.
const FRESH: SignedDuration = SignedDuration::from_hours(6);

type Slot = Arc<tokio::sync::Mutex<Option<Found>>>;

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
    /// The token endpoint of an issuer with discovery. Asked for once, however many wait for it; an old answer
    /// serves on when a new one cannot be had.
    pub(super) async fn discovered(
        &self,
        http: &Http,
        issuer: &Issuer,
        now: Timestamp,
    ) -> Result<TokenEndpoint, Refusal> {
        let slot = Arc::clone(
            self.slots
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .entry(issuer.id.clone())
                .or_default(),
        );
        let mut found = slot.lock().await;
        let known = found.as_ref().filter(|f| f.version == issuer.version);
        if let Some(known) = known.filter(|f| now.duration_since(f.at) < FRESH) {
            return Ok(known.endpoint.clone());
        }
        match discover(http, issuer).await {
            Ok(endpoint) => {
                *found = Some(Found {
                    version: issuer.version.clone(),
                    at: now,
                    endpoint: endpoint.clone(),
                });
                Ok(endpoint)
            }
            Err(refusal) => known.map(|f| f.endpoint.clone()).ok_or(refusal),
        }
    }
}

async fn discover(http: &Http, issuer: &Issuer) -> Result<TokenEndpoint, Refusal> {
    let Endpoint::Discover(url) = &issuer.endpoint else {
        return Err(Refusal::local(
            Class::Invalid,
            "DiscoveryFailed",
            "this issuer has no discovery document",
        ));
    };
    for address in discovery::addresses(url) {
        let answer = http.get(issuer, address).await?;
        match answer.status {
            200 => return discovery::read(url, &answer.body, issuer.style),
            _ if not_found(&answer) => {}
            status => {
                let class = if status >= 500 || status == 429 {
                    Class::Transient
                } else {
                    Class::Invalid
                };
                return Err(Refusal {
                    http_status: Some(status),
                    ..Refusal::local(
                        class,
                        "DiscoveryFailed",
                        "the discovery document cannot be read; check issuerUrl",
                    )
                });
            }
        }
    }
    Err(Refusal::local(
        Class::Invalid,
        "DiscoveryFailed",
        "there is no discovery document below issuerUrl; correct it or use oauth2.tokenUrl",
    ))
}
