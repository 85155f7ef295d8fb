//! The discovery cache: endpoints of issuers with a discovery document, and whether token endpoints are reachable. Entries
//! expire, and are removed when they prove wrong.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex},
};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc;
use url::Url;

use crate::controller::{cache::index::IssuerName, locks::lock};
use crate::{
    clock::Clock,
    credential::{Endpoint, Issuer, IssuerId, OptionalEndpoints, SecretStyle},
    http::Http,
    issuer::lookup::discover,
    oauth::{TokenEndpoint, TokenError},
    plan::fingerprint::fraction,
};

/// The age after which a document is read again, less up to a quarter of jitter; endpoints change once in years.
const FRESH: SignedDuration = SignedDuration::from_hours(6);

/// The wait after a failed attempt. In this time every caller gets the failure, or the known endpoint, and no worker is
/// blocked. The wait also applies after a document was read again because its endpoint proved wrong.
const AGAIN: SignedDuration = SignedDuration::from_secs(20);

/// The maximum number of times that the wait doubles after consecutive attempts without a new result: up to 21 minutes.
const DOUBLINGS: u32 = 6;

/// The time for which a server that was reached counts as reached: a restart reconciles every issuer, and many issuers may be on one server.
const REACHED: SignedDuration = SignedDuration::from_mins(10);
/// The maximum number of servers that are remembered as reached.
const MAX_REACHED: usize = 4096;

type Slot = Arc<tokio::sync::Mutex<Entry>>;

#[derive(Default)]
struct Entry {
    found: Option<Found>,
    failed: Option<Failed>,
}

impl Found {
    fn is_current(&self, now: Timestamp, doubted: bool, seed: f64) -> bool {
        let confirmed = doubted.then_some(self.confirmed);
        is_current(now.duration_since(self.at), confirmed, seed)
    }
}

/// Everything in the spec of an issuer that decides what a document means. If only other fields are edited, the endpoint that is known may still be
/// used. It is never used for another URL, other CAs or another object.
#[derive(PartialEq)]
struct DiscoveryKey {
    uid: String,
    endpoint: Endpoint,
    places: OptionalEndpoints,
    style: Option<SecretStyle>,
    ca_bundle: Option<String>,
}

impl DiscoveryKey {
    fn of(issuer: &Issuer) -> Self {
        let uid = issuer.version.split('/').next().unwrap_or_default();
        Self {
            uid: uid.to_owned(),
            endpoint: issuer.endpoint.clone(),
            places: issuer.places.clone(),
            style: issuer.style,
            ca_bundle: issuer.ca_bundle.clone(),
        }
    }
}

/// The result of discovery.
pub(in crate::controller) struct Discovered {
    /// The endpoints to use.
    pub(in crate::controller) endpoint: TokenEndpoint,
    /// Why there is no new document. The endpoints are then those of the last one.
    pub(in crate::controller) fault: Option<TokenError>,
}

impl Discovered {
    /// Endpoints of a document that is current.
    const fn current(endpoint: TokenEndpoint) -> Self {
        let fault = None;
        Self { endpoint, fault }
    }
}

struct Failed {
    version: String,
    at: Timestamp,
    /// The number of consecutive failures.
    count: u32,
    token_error: TokenError,
}

impl Failed {
    /// Whether it is too early for the next attempt, which follows after `wait` or after the time that the server requests.
    fn is_recent(&self, now: Timestamp, wait: SignedDuration) -> bool {
        let age = now.duration_since(self.at);
        let retry_after = self.token_error.retry_after.unwrap_or_default();
        let retry_after = SignedDuration::try_from(retry_after).unwrap_or_default();
        age < wait.max(retry_after) && !age.is_negative()
    }
}

struct Found {
    version: String,
    place: DiscoveryKey,
    at: Timestamp,
    /// The number of consecutive times that the document was read again because its endpoint proved wrong, and was unchanged.
    confirmed: u32,
    endpoint: TokenEndpoint,
}

/// The results of discovery, by issuer.
#[derive(Default)]
pub(in crate::controller) struct DiscoveryCache {
    slots: Mutex<HashMap<IssuerId, Slot>>,
    /// Issuers whose endpoint proved wrong after their document was read.
    doubted: Mutex<HashSet<IssuerId>>,
    /// The time at which a server was reached, by its origin and the trusted CAs.
    reached: Mutex<HashMap<u64, Timestamp>>,
    hasher: RandomState,
    /// Receives issuers whose endpoint has changed, or whose document fails or works again.
    moved: Mutex<Option<mpsc::UnboundedSender<IssuerName>>>,
}

impl DiscoveryCache {
    /// Removes a deleted issuer.
    pub(in crate::controller) fn forget(&self, issuer: &IssuerId) {
        lock(&self.slots).remove(issuer);
        lock(&self.doubted).remove(issuer);
    }

    /// Sets the channel for the names of issuers whose endpoint changed, or whose document fails or works again.
    pub(in crate::controller) fn report_to(&self, moved: mpsc::UnboundedSender<IssuerName>) {
        *lock(&self.moved) = Some(moved);
    }

    /// Records that the endpoint of a document proved wrong: the document is read again soon.
    pub(in crate::controller) fn doubt(&self, issuer: &IssuerId) {
        if lock(&self.slots).contains_key(issuer) {
            lock(&self.doubted).insert(issuer.clone());
        }
    }

    /// Whether the endpoint proved wrong and the document was not read since.
    pub(in crate::controller) fn is_doubted(&self, issuer: &IssuerId) -> bool {
        lock(&self.doubted).contains(issuer)
    }

    /// The token endpoint of an issuer with discovery. It is requested once, independent of the number of waiting callers; if a
    /// new document is not available, the old endpoint is still used, and the result contains the fault.
    pub(in crate::controller) async fn discovered(
        &self,
        http: &Http,
        issuer: &Issuer,
        clock: &dyn Clock,
    ) -> Result<Discovered, TokenError> {
        let slot = Arc::clone(lock(&self.slots).entry(issuer.id.clone()).or_default());
        let mut entry = slot.lock().await;
        let now = clock.now();
        let doubted = self.is_doubted(&issuer.id);
        let seed = fraction(&[&issuer.id.to_string(), "discovery"]);
        let version = issuer.version.clone();
        let place = DiscoveryKey::of(issuer);
        let known = entry.found.as_ref().filter(|f| f.place == place);
        let current = known.filter(|f| f.version == version && f.is_current(now, doubted, seed));
        if let Some(current) = current {
            return Ok(Discovered::current(current.endpoint.clone()));
        }
        let known = known.map(|f| (f.endpoint.clone(), f.confirmed));
        let failed = entry.failed.as_ref().filter(|f| f.version == version);
        let failures = failed.map_or(0, |f| f.count);
        // A caller without an endpoint waits less than a caller with an endpoint that may still be correct.
        let before = known.as_ref().map_or(0, |_| failures.saturating_sub(1));
        if let Some(failed) = failed.filter(|f| f.is_recent(now, again(before))) {
            return fallback(known.map(|k| k.0), failed.token_error.clone());
        }
        // Boxed: a caller that finds a cached document does not need this memory.
        match Box::pin(discover(http, issuer, now)).await {
            Ok(endpoint) => {
                let same = known.as_ref().is_some_and(|(old, _)| *old == endpoint);
                let confirmed = known
                    .as_ref()
                    .filter(|_| same && doubted)
                    .map_or(0, |(_, n)| n + 1);
                lock(&self.doubted).remove(&issuer.id);
                self.note_reached(issuer, &issuer.origin, now);
                *entry = Entry {
                    found: Some(Found {
                        version,
                        place,
                        at: now,
                        confirmed,
                        endpoint: endpoint.clone(),
                    }),
                    failed: None,
                };
                if known.is_some() && (!same || failures > 0) {
                    self.announce(&issuer.id);
                }
                Ok(Discovered::current(endpoint))
            }
            Err(token_error) => {
                // With the time at the end of the attempt: for a caller that waited for it, the failure must be recent.
                entry.failed = Some(Failed {
                    version,
                    at: clock.now(),
                    count: failures.saturating_add(1),
                    token_error: token_error.clone(),
                });
                // The first failure is reported on the issuer at once. Without an endpoint, the credential reports it.
                if known.is_some() && failures == 0 {
                    self.announce(&issuer.id);
                }
                fallback(known.map(|k| k.0), token_error)
            }
        }
    }

    /// Checks that the server of this endpoint is reachable over TLS, through the proxy if there is one. A server that was
    /// reached a short time ago is not contacted again.
    ///
    /// # Errors
    /// Why there is no connection, with the cause.
    pub(in crate::controller) async fn reached(
        &self,
        http: &Http,
        issuer: &Issuer,
        endpoint: &Url,
        clock: &dyn Clock,
    ) -> Result<(), TokenError> {
        let origin = endpoint.origin().ascii_serialization();
        let key = self.key(issuer, &origin);
        let last = lock(&self.reached).get(&key).copied();
        let recent = |at: Timestamp| {
            let age = clock.now().duration_since(at);
            age < REACHED && !age.is_negative()
        };
        if last.is_some_and(recent) {
            return Ok(());
        }
        http.reach(issuer, endpoint).await?;
        self.note_reached(issuer, &origin, clock.now());
        Ok(())
    }

    fn note_reached(&self, issuer: &Issuer, origin: &str, now: Timestamp) {
        let key = self.key(issuer, origin);
        let mut reached = lock(&self.reached);
        if reached.len() >= MAX_REACHED {
            reached.retain(|_, at| now.duration_since(*at) < REACHED);
        }
        if reached.len() < MAX_REACHED {
            reached.insert(key, now);
        }
    }

    fn key(&self, issuer: &Issuer, origin: &str) -> u64 {
        let networks: Vec<String> = issuer
            .allowed_cidrs
            .iter()
            .map(ToString::to_string)
            .collect();
        self.hasher.hash_one((origin, &issuer.ca_bundle, networks))
    }

    fn announce(&self, issuer: &IssuerId) {
        if let (IssuerId::Object(kind, namespace, name), Some(moved)) =
            (issuer, lock(&self.moved).as_ref())
        {
            let _ = moved.send((*kind, namespace.clone(), name.clone()));
        }
    }
}

/// The result if there is no new document: the endpoint that is known, with the fault.
fn fallback(known: Option<TokenEndpoint>, fault: TokenError) -> Result<Discovered, TokenError> {
    let Some(endpoint) = known else {
        return Err(fault);
    };
    let fault = Some(fault);
    Ok(Discovered { endpoint, fault })
}

/// Whether a document of this age is used without another request. `confirmed`: its endpoint proved wrong, and the document was
/// already read again this many times without a change. `seed` spreads the times of issuers that were read together.
fn is_current(age: SignedDuration, confirmed: Option<u32>, seed: f64) -> bool {
    let fresh = FRESH - FRESH.mul_f64(seed / 4.0);
    !age.is_negative() && age < fresh && confirmed.is_none_or(|n| age < again(n))
}

/// The wait after this number of attempts without a new result.
fn again(tries: u32) -> SignedDuration {
    AGAIN * (1 << tries.min(DOUBLINGS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_expires_by_time_and_sooner_if_its_endpoint_is_wrong() {
        let secs = SignedDuration::from_secs;
        #[rustfmt::skip]
        let cases = [
            (secs(0), None, 0.0, true),
            (secs(6 * 3600 - 1), None, 0.0, true),
            (secs(6 * 3600), None, 0.0, false),
            (secs(5 * 3600), None, 0.99, false),
            (secs(4 * 3600), None, 0.99, true),
            // The clock was set back.
            (secs(-1), None, 0.0, false),
            (secs(19), Some(0), 0.0, true),
            (secs(20), Some(0), 0.0, false),
            (secs(39), Some(1), 0.0, true),
            (secs(40), Some(1), 0.0, false),
            (secs(20 * 64 - 1), Some(u32::MAX), 0.0, true),
            (secs(20 * 64), Some(u32::MAX), 0.0, false),
        ];
        for (age, confirmed, seed, current) in cases {
            assert_eq!(
                is_current(age, confirmed, seed),
                current,
                "{age} {confirmed:?} {seed}"
            );
        }
    }

    #[test]
    fn an_endpoint_stays_known_after_an_edit_that_is_not_about_it() {
        let issuer = crate::fixtures::issuer();
        let same = |change: fn(&mut Issuer)| {
            let mut edited = issuer.clone();
            edited.version = "uid-1/2".to_owned();
            change(&mut edited);
            let mut before = issuer.clone();
            before.version = "uid-1/1".to_owned();
            DiscoveryKey::of(&before) == DiscoveryKey::of(&edited)
        };
        let url = || Endpoint::Discover("https://other.example/".parse().unwrap());
        assert!(same(|i| i.max_in_flight = 1));
        assert!(same(|i| i.requests_per_second = 1));
        assert!(!same(|i| i.version = "uid-2/1".to_owned()), "a new object");
        let moved = Issuer {
            endpoint: url(),
            ..issuer.clone()
        };
        assert!(DiscoveryKey::of(&moved) != DiscoveryKey::of(&issuer));
        assert!(!same(|i| i.ca_bundle = Some("CA".to_owned())));
        assert!(!same(|i| i.places.issuer = Some("https://x".to_owned())));
        assert!(!same(|i| i.style = Some(SecretStyle::Post)));
    }

    #[test]
    fn only_an_issuer_that_was_read_is_doubted_and_one_that_is_gone_is_forgotten() {
        let endpoints = DiscoveryCache::default();
        let id = IssuerId::Inline("tenant".to_owned());
        endpoints.doubt(&id);
        assert!(!endpoints.is_doubted(&id));
        lock(&endpoints.slots).entry(id.clone()).or_default();
        endpoints.doubt(&id);
        assert!(endpoints.is_doubted(&id));
        endpoints.forget(&id);
        assert!(!endpoints.is_doubted(&id) && lock(&endpoints.slots).is_empty());
    }

    #[test]
    fn a_server_is_reachable_for_issuers_with_the_same_trust() {
        let endpoints = DiscoveryCache::default();
        let issuer = crate::fixtures::issuer();
        let key = |change: fn(&mut Issuer), origin: &str| {
            let mut issuer = issuer.clone();
            change(&mut issuer);
            endpoints.key(&issuer, origin)
        };
        let one = key(|_| {}, "https://a");
        assert_eq!(key(|i| i.version.push('x'), "https://a"), one);
        assert_ne!(key(|_| {}, "https://b"), one);
        assert_ne!(
            key(|i| i.ca_bundle = Some("CA".to_owned()), "https://a"),
            one
        );
        let inner = |i: &mut Issuer| i.allowed_cidrs.push("10.0.0.0/8".parse().unwrap());
        assert_ne!(key(inner, "https://a"), one);
    }
}
