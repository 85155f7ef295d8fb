//! The values that all reconciles share.

mod refreshes;
mod spec;
mod states;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use jiff::Timestamp;
use kube::{Client, runtime::reflector::Store};

use super::{
    api::{ids, undeclared::Undeclared},
    cache::{
        ca_bundles::CaBundles,
        clients::Clients,
        doubts::Doubts,
        gone_issuers::GoneIssuers,
        high_water_mark::HighWaterMark,
        index::{Index, IssuerName},
        packed::PackedCredential,
        readable::Unusable,
        secrets::Secrets,
        service_accounts::Accounts,
        unsynced::Unsynced,
    },
    clients::{key_work::KeyWork, view::Rotations},
    issuer_checks::IssuerChecks,
    limiter::issuers::IssuerLimiter,
    locks::lock,
    reconcile::log_lines::Journals,
    requeue::Triggers,
    settings::Settings,
    state::{LeavingQueue, NotifyQueue, State},
    token::{
        digest_key::KeyKeeper, discovery_cache::DiscoveryCache, hint::Hints,
        refresh_token::Orphans, refreshes::Refreshes, single_flight::SingleFlight,
    },
};
use crate::{
    api::{ClusterTokenIssuer, TokenIssuer},
    clock::Clock,
    credential::{CaFault, Key},
    http::Http,
    leader::{Authority, NoAuthority, election::GIVE_UP},
    oauth::spent,
    recent::Recent,
    telemetry::{
        health::Health,
        metrics::Metrics,
        tries::{Failure, ManyTries},
    },
};

/// A refresh starts only if the lease holds for at least this time: the lease was then renewed less than 4 s ago. Another
/// process becomes the leader 11 s later at the earliest, which is enough time for the mark and for most exchanges.
const REFRESH: Duration = Duration::from_secs(6);
const _: () = assert!(REFRESH.as_secs() + 4 == GIVE_UP.as_secs());

/// The number of entries that the operator stores in memory, by their subject. Tests check that no entry outlives its object.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Sizes {
    /// Credentials with an in-memory state.
    pub states: usize,
    /// Credentials in the index.
    pub index: usize,
    /// Credentials with a due time.
    pub due: usize,
    /// Own writes that the watches have not delivered yet.
    pub echoes: usize,
    /// Rate limiters of issuers.
    pub budgets: usize,
    /// Credentials that wait for a place or have received one.
    pub places: usize,
    /// Secrets with a call in progress.
    pub secret_calls: usize,
    /// Secrets for which the cache is in doubt.
    pub secret_doubts: usize,
    /// Issuers and clients with a fault that was logged.
    pub faults: usize,
    /// Clients whose status could not be written.
    pub lost_statuses: usize,
    /// Clients whose rotation this process drives.
    pub rotations: usize,
}

/// Shared state. The watches ([`super::streams`]) fill the stores, and the reconciles fill the rest.
pub(super) struct Context {
    pub(super) client: Client,
    pub(super) settings: Settings,
    /// This process: its name, and a number that no other process has, also after a restart.
    pub(super) process: String,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) health: Arc<Health>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) http: Arc<Http>,
    pub(super) limiter: Arc<IssuerLimiter>,
    pub(super) single_flight: Arc<SingleFlight>,
    /// Refreshes whose request may have been sent and whose answer is not stored yet.
    pub(super) refreshes: Refreshes,
    /// Refresh tokens that this process has used.
    pub(super) spent: Mutex<spent::Memory>,
    /// Answers to refreshes whose credential is deleted, and that are not stored yet.
    pub(super) orphans: Orphans,
    /// Fields of a status that the CRDs do not have.
    pub(super) undeclared: Undeclared,
    pub(super) discovery: DiscoveryCache,
    /// By the version of an issuer: why its `caBundle` is unusable.
    pub(super) ca_faults: Mutex<Recent<String, Option<CaFault>, 256>>,
    /// Reported unexpected forms of secrets.
    pub(super) hints: Hints,
    pub(super) digest_key: KeyKeeper,
    /// When this process became the leader.
    pub(super) leads_since: Timestamp,
    pub(super) high_water_mark: HighWaterMark,
    pub(super) doubts: Doubts,
    /// The authority to act. Without leader election it is not set, and this process may always act.
    pub(super) authority: OnceLock<Authority>,
    pub(super) triggers: Triggers,
    /// Credentials that are being deleted and have the finalizer.
    pub(super) leaving: LeavingQueue,
    /// Writes that pods must be notified of.
    pub(super) notifications: NotifyQueue,
    pub(super) credentials: Store<PackedCredential>,
    pub(super) token_issuers: Store<TokenIssuer>,
    pub(super) cluster_issuers: Store<ClusterTokenIssuer>,
    /// Issuers that exist and whose spec is not known; they are not in the stores.
    pub(super) unusable: Mutex<HashMap<IssuerName, Box<Unusable>>>,
    /// Issuers that were deleted and that credentials still name.
    pub(super) gone_issuers: GoneIssuers,
    pub(super) journals: Journals,
    pub(super) issuer_checks: IssuerChecks,
    /// Failures of operations that are retried until they succeed, for the log.
    tries: Mutex<ManyTries>,
    pub(super) clients: Clients,
    pub(super) rotations: Rotations,
    /// Turns for reading the private keys of a client's Secret.
    pub(super) key_reads: KeyWork,
    /// Turns for generating a private key. Reads do not wait for it.
    pub(super) key_generations: KeyWork,
    pub(super) index: Mutex<Index>,
    pub(super) secrets: Mutex<Secrets>,
    pub(super) accounts: Accounts,
    pub(super) ca_bundles: CaBundles,
    pub(super) namespaces: Mutex<HashMap<String, NamespaceFacts>>,
    pub(super) unsynced: Unsynced,
    /// Boxed: thousands may be queued at the same time.
    states: Mutex<HashMap<Key, Box<State>>>,
}

/// The cached facts of a namespace.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct NamespaceFacts {
    pub(super) labels: BTreeMap<String, String>,
    /// The namespace is being deleted: nothing can be created in it any more, so no token is requested.
    pub(super) terminating: bool,
}

/// The parts of a context that its creator provides.
pub(super) struct Parts {
    pub(super) client: Client,
    pub(super) settings: Settings,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) health: Arc<Health>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) triggers: Triggers,
    pub(super) credentials: Store<PackedCredential>,
    pub(super) token_issuers: Store<TokenIssuer>,
    pub(super) cluster_issuers: Store<ClusterTokenIssuer>,
}

impl Context {
    pub(super) fn new(parts: Parts) -> Arc<Self> {
        let Parts {
            client,
            settings,
            clock,
            health,
            metrics,
            triggers,
            credentials,
            token_issuers,
            cluster_issuers,
        } = parts;
        Arc::new(Self {
            digest_key: KeyKeeper::new(client.clone(), &settings.namespace),
            leads_since: clock.now(),
            limiter: IssuerLimiter::new(triggers.clone(), Arc::clone(&clock), settings.concurrency),
            http: Arc::new(
                Http::with_proxy(settings.issuer_proxy.clone())
                    .trusting(settings.issuer_cas.clone()),
            ),
            single_flight: Arc::default(),
            refreshes: Refreshes::default(),
            spent: Mutex::default(),
            orphans: Orphans::default(),
            undeclared: Undeclared::default(),
            discovery: DiscoveryCache::default(),
            ca_faults: Mutex::default(),
            hints: Hints::default(),
            high_water_mark: HighWaterMark::default(),
            doubts: Doubts::default(),
            leaving: LeavingQueue::default(),
            notifications: NotifyQueue::default(),
            authority: OnceLock::new(),
            unusable: Mutex::default(),
            gone_issuers: GoneIssuers::default(),
            journals: Journals::default(),
            issuer_checks: IssuerChecks::default(),
            tries: Mutex::default(),
            clients: Clients::default(),
            rotations: Rotations::default(),
            key_reads: KeyWork::default(),
            key_generations: KeyWork::default(),
            index: Mutex::default(),
            secrets: Mutex::default(),
            accounts: Accounts::default(),
            ca_bundles: CaBundles::default(),
            namespaces: Mutex::default(),
            unsynced: Unsynced::new(&settings.scope),
            states: Mutex::default(),
            process: format!("{}-{}", settings.instance, ids::hex(&ids::random::<4>())),
            client,
            settings,
            clock,
            health,
            metrics,
            triggers,
            credentials,
            token_issuers,
            cluster_issuers,
        })
    }

    /// Records that an attempt to do `what` to the object with this UID failed. Returns how to log it.
    pub(super) fn failed(&self, what: &'static str, uid: &str, result: &str) -> Failure {
        lock(&self.tries).failed(what, uid, result)
    }

    /// Records that such an attempt succeeded. Returns the number of failures before it.
    pub(super) fn worked(&self, what: &'static str, uid: &str) -> u32 {
        lock(&self.tries).worked(what, uid)
    }

    /// Whether this process is still the leader, or runs without leader election. Checked before each request to an issuer and before each write.
    pub(super) fn may_act(&self) -> bool {
        self.authority.get().is_none_or(Authority::holds)
    }

    /// Waits until the last renewal of the lease is so recent that a refresh can be sent and its answer stored before another
    /// process may become the leader.
    pub(super) async fn may_refresh(&self) -> Result<(), NoAuthority> {
        match self.authority.get() {
            Some(authority) => authority.wait_for(REFRESH).await,
            None => Ok(()),
        }
    }

    /// The known facts of a namespace.
    pub(super) fn namespace(&self, name: &str) -> Option<NamespaceFacts> {
        lock(&self.namespaces).get(name).cloned()
    }

    /// Passes the Secrets for which the cache is in doubt to [`crate::controller::cache::verify::run`].
    pub(super) fn verify_doubtful(&self) {
        for name in lock(&self.secrets).take_doubtful() {
            self.doubts.raise(name);
        }
    }

    /// Records that the first list of a kind in a namespace is complete.
    pub(super) fn synced(&self, stream: &'static str, namespace: &str) {
        let before = self.unsynced.has_all_secrets();
        self.unsynced.mark_synced(stream, namespace);
        // The rotations of all namespaces wait for the last list of Secrets.
        let all = self.unsynced.has_all_secrets() && !before;
        self.clients.check_home(if all { "" } else { namespace });
        // These credentials waited for it.
        for key in lock(&self.index).of_home(namespace) {
            self.triggers.send(&key);
        }
    }

    /// The number of entries in memory that must not outlive their objects.
    pub(super) fn sizes(&self) -> Sizes {
        let (due, echoes) = self.health.sizes();
        let (budgets, places) = self.limiter.sizes();
        let secrets = lock(&self.secrets).transient();
        Sizes {
            states: lock(&self.states).len(),
            index: lock(&self.index).len(),
            due,
            echoes,
            budgets,
            places,
            secret_calls: secrets.calls,
            secret_doubts: secrets.noted + secrets.doubtful + self.doubts.len(),
            faults: self.journals.len(),
            lost_statuses: self.clients.rechecks.len(),
            rotations: self.rotations.len(),
        }
    }
}
