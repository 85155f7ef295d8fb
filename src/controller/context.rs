//! The values that all reconciles share.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use jiff::Timestamp;
use kube::{
    Client,
    runtime::reflector::{ObjectRef, Store},
};

use super::{
    api::ids,
    cache::{
        ca_bundles::CaBundles,
        clients::Clients,
        doubts::Doubts,
        high_water_mark::HighWaterMark,
        index::{Index, IssuerName},
        packed::PackedCredential,
        readable::Unusable,
        secrets::{Secrets, newer},
        service_accounts::Accounts,
        unsynced::Unsynced,
    },
    clients::view::Rotations,
    limiter::issuers::IssuerLimiter,
    locks::lock,
    reconcile::log_lines::Journals,
    requeue::{Triggers, reference},
    settings::Settings,
    state::{LeavingQueue, NotifyQueue, Revocable, State},
    token::{
        digest_key::KeyKeeper, discovery_cache::DiscoveryCache, hint::Hints,
        refresh_token::Orphans, refreshes::Refreshes, single_flight::SingleFlight,
    },
};
use crate::{
    api::{
        ApiCredential, ApiCredentialStatus, ClusterTokenIssuer, IssuerKind, IssuerRef, TokenIssuer,
    },
    clock::Clock,
    credential::{Credential, FieldError, Issuer, IssuerLookup, Key, parse_with_client, resolve},
    http::Http,
    leader::{Authority, NoAuthority, election::GIVE_UP},
    limits::queue::give_room_back,
    oauth::spent,
    recent::Recent,
    telemetry::{
        health::Health,
        metrics::Metrics,
        tries::{Failure, ManyTries},
    },
};

/// A refresh begins only if the lease holds for this long: it was renewed less than 4 s ago then. Another process may lead
/// 11 s after that at the earliest, which is enough for the mark and for most exchanges.
const REFRESH: Duration = Duration::from_secs(6);
const _: () = assert!(REFRESH.as_secs() + 4 == GIVE_UP.as_secs());

/// How many entries the operator remembers, by what they are about. Tests check that nothing outlives its object.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Sizes {
    /// Credentials with a memory.
    pub states: usize,
    /// Credentials in the index.
    pub index: usize,
    /// Credentials with a time at which they are due.
    pub due: usize,
    /// Own writes that the watches have not shown yet.
    pub echoes: usize,
    /// Rate limiters of issuers.
    pub budgets: usize,
    /// Credentials that wait for a place, or have been given one.
    pub places: usize,
    /// Secrets with a call under way.
    pub secret_calls: usize,
    /// Secrets that the cache is in doubt about.
    pub secret_doubts: usize,
    /// Issuers and clients with a fault that was logged.
    pub faults: usize,
    /// Clients whose status could not be written.
    pub lost_statuses: usize,
    /// Clients whose rotation is driven.
    pub rotations: usize,
}

/// Shared state. The stores are filled by [`super::streams`], the rest by the reconciles.
pub(super) struct Context {
    pub(super) client: Client,
    pub(super) settings: Settings,
    /// This process: its name and a number that no other has, not even after a restart.
    pub(super) process: String,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) health: Arc<Health>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) http: Arc<Http>,
    pub(super) limiter: Arc<IssuerLimiter>,
    pub(super) single_flight: Arc<SingleFlight>,
    /// Refreshes whose request may be out and whose answer is not stored yet.
    pub(super) refreshes: Refreshes,
    /// Refresh tokens that this process has spent.
    pub(super) spent: Mutex<spent::Memory>,
    /// Answers of refreshes whose credential is gone, and that are not stored yet.
    pub(super) orphans: Orphans,
    pub(super) discovery: DiscoveryCache,
    /// By the version of an issuer: why its `caBundle` cannot be used.
    pub(super) ca_faults: Mutex<Recent<String, Option<String>, 256>>,
    /// Unexpected forms of secrets that were reported.
    pub(super) hints: Hints,
    pub(super) digest_key: KeyKeeper,
    /// When this process began to lead.
    pub(super) leads_since: Timestamp,
    pub(super) high_water_mark: HighWaterMark,
    pub(super) doubts: Doubts,
    /// The right to act; without leader election, none is set and it always holds.
    pub(super) authority: OnceLock<Authority>,
    pub(super) triggers: Triggers,
    /// Credentials that are being deleted and have the finalizer.
    pub(super) leaving: LeavingQueue,
    /// Writes that pods are to be notified of.
    pub(super) notifications: NotifyQueue,
    pub(super) credentials: Store<PackedCredential>,
    pub(super) token_issuers: Store<TokenIssuer>,
    pub(super) cluster_issuers: Store<ClusterTokenIssuer>,
    /// Issuers that exist and whose spec is not known; the stores do not have them.
    pub(super) unusable: Mutex<HashMap<IssuerName, Box<Unusable>>>,
    pub(super) journals: Journals,
    /// Failures of what is tried until it works, for the log.
    tries: Mutex<ManyTries>,
    pub(super) clients: Clients,
    pub(super) rotations: Rotations,
    pub(super) index: Mutex<Index>,
    pub(super) secrets: Mutex<Secrets>,
    pub(super) accounts: Accounts,
    pub(super) ca_bundles: CaBundles,
    pub(super) namespaces: Mutex<HashMap<String, NamespaceFacts>>,
    pub(super) unsynced: Unsynced,
    /// Boxed: thousands may be queued at once.
    states: Mutex<HashMap<Key, Box<State>>>,
}

/// What is kept of a namespace.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct NamespaceFacts {
    pub(super) labels: BTreeMap<String, String>,
    /// Being deleted: nothing can be created in it any more, so no token is worth asking for.
    pub(super) terminating: bool,
}

/// Parts of a context that its maker brings.
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
                Http::by_way_of(settings.issuer_proxy.clone())
                    .trusting(settings.issuer_cas.clone()),
            ),
            single_flight: Arc::default(),
            refreshes: Refreshes::default(),
            spent: Mutex::default(),
            orphans: Orphans::default(),
            discovery: DiscoveryCache::default(),
            ca_faults: Mutex::default(),
            hints: Hints::default(),
            high_water_mark: HighWaterMark::default(),
            doubts: Doubts::default(),
            leaving: LeavingQueue::default(),
            notifications: NotifyQueue::default(),
            authority: OnceLock::new(),
            unusable: Mutex::default(),
            journals: Journals::default(),
            tries: Mutex::default(),
            clients: Clients::default(),
            rotations: Rotations::default(),
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

    /// The issuer that a credential of `namespace` refers to.
    pub(super) fn issuer(&self, namespace: &str, reference: &IssuerRef) -> IssuerLookup {
        let home = match reference.kind {
            IssuerKind::TokenIssuer => namespace,
            IssuerKind::ClusterTokenIssuer => "",
        };
        let name = (reference.kind, home.to_owned(), reference.name.clone());
        if let Some(unusable) = lock(&self.unusable).get(&name) {
            return IssuerLookup::Faulty(vec![unusable.flaw.error()]);
        }
        let parsed = match reference.kind {
            IssuerKind::TokenIssuer => {
                let name = ObjectRef::new(&reference.name).within(namespace);
                self.token_issuers
                    .get(&name)
                    .map(|i| Issuer::namespaced(&i, &self.settings.allowed_cidrs))
            }
            IssuerKind::ClusterTokenIssuer if !self.settings.scope.sees_cluster() => {
                return IssuerLookup::OutOfScope;
            }
            IssuerKind::ClusterTokenIssuer => self
                .cluster_issuers
                .get(&ObjectRef::new(&reference.name))
                .map(|i| Issuer::cluster(&i)),
        };
        match parsed {
            None if self.has_other_kind(namespace, reference) => IssuerLookup::OtherKind,
            None => IssuerLookup::Missing,
            Some(Ok(issuer)) => IssuerLookup::Found(self.ca_bundles.fill(issuer)),
            Some(Err(errors)) => IssuerLookup::Faulty(errors),
        }
    }

    /// A credential as it is asked for: with the client that it names, and the issuer.
    pub(super) fn parse(&self, object: &ApiCredential) -> Result<Credential, Vec<FieldError>> {
        let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
        let client = |name: &str| self.clients.lookup(namespace, name);
        parse_with_client(object, client, |r| self.issuer(namespace, r))
    }

    /// A credential that is being deleted, for the revocation of its token.
    pub(super) fn parse_leaving(
        &self,
        object: &ApiCredential,
    ) -> Result<Credential, Vec<FieldError>> {
        let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
        let client = |name: &str| self.clients.lookup_leaving(namespace, name);
        parse_with_client(object, client, |r| self.issuer(namespace, r))
    }

    /// Takes a credential into the index, by the sources and the issuer of the client that it names as well. Gives those who
    /// named the target that it left.
    pub(super) fn insert(&self, index: &mut Index, object: &ApiCredential) -> Vec<Key> {
        let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
        let resolved = resolve(object, |name| self.clients.lookup(namespace, name));
        let resolved = resolved.as_deref().unwrap_or(object);
        let client = object.spec.client_ref.as_ref();
        index.insert(resolved, client.map(|r| r.name.as_str()))
    }

    /// Requeues the credentials that name a client, and takes its sources and its issuer into the index.
    pub(super) fn follow(&self, index: &mut Index, client: &Key) {
        for key in &index.of_client(client) {
            let object = self.credentials.get(&reference(key));
            if let Some(object) = object.and_then(|packed| packed.open()) {
                self.insert(index, &object);
            }
            self.triggers.send(key);
        }
        if index.has_accounts() {
            self.accounts.want();
        }
    }

    /// Is there an issuer of this name, and of the other kind?
    fn has_other_kind(&self, namespace: &str, reference: &IssuerRef) -> bool {
        let name = ObjectRef::new(&reference.name);
        match reference.kind {
            IssuerKind::TokenIssuer => self.cluster_issuers.get(&name).is_some(),
            IssuerKind::ClusterTokenIssuer => {
                let name = ObjectRef::new(&reference.name).within(namespace);
                self.token_issuers.get(&name).is_some()
            }
        }
    }

    /// A try to do `what` to the object of this UID has failed. Says how its line is written.
    pub(super) fn failed(&self, what: &'static str, uid: &str, result: &str) -> Failure {
        lock(&self.tries).failed(what, uid, result)
    }

    /// Such a try has worked. Gives the failures before it.
    pub(super) fn worked(&self, what: &'static str, uid: &str) -> u32 {
        lock(&self.tries).worked(what, uid)
    }

    /// Whether this process still leads, or leads alone. Checked before each request to an issuer and before each write.
    pub(super) fn may_act(&self) -> bool {
        self.authority.get().is_none_or(Authority::holds)
    }

    /// Waits until the lease was renewed so recently that a refresh can be sent and its answer stored before another
    /// process may lead.
    pub(super) async fn may_refresh(&self) -> Result<(), NoAuthority> {
        match self.authority.get() {
            Some(authority) => authority.wait_for(REFRESH).await,
            None => Ok(()),
        }
    }

    /// What is known of a namespace.
    pub(super) fn namespace(&self, name: &str) -> Option<NamespaceFacts> {
        lock(&self.namespaces).get(name).cloned()
    }

    /// Reads or changes what is remembered of a credential. An object of the same name with another UID begins
    /// anew; what is empty afterwards is not kept. Of an object that the store does not have nothing is kept either: it
    /// is deleted, and nobody would forget it again.
    pub(super) fn with_state<T>(
        &self,
        key: &Key,
        uid: &str,
        use_it: impl FnOnce(&mut State) -> T,
    ) -> T {
        let mut states = lock(&self.states);
        // Under the lock: `forget` takes it after the store has lost the object.
        let there = self.credentials.get(&reference(key));
        if there.is_none_or(|there| *there.uid != *uid) {
            if let Some(state) = states.get_mut(key).filter(|s| s.uid == uid) {
                return use_it(state);
            }
            // A state of another UID belongs to the object that has the name now.
            let mut state = State::default();
            let result = use_it(&mut state);
            self.orphans.adopt(state.unsaved);
            return result;
        }
        let mut state = match states.remove(key) {
            Some(state) if state.uid == uid => state,
            // Another object has the name now.
            other => {
                self.orphans.adopt(other.and_then(|other| other.unsaved));
                Box::default()
            }
        };
        uid.clone_into(&mut state.uid);
        let result = use_it(&mut state);
        if state.is_empty() {
            give_room_back(&mut states);
        } else {
            states.insert(key.clone(), state);
        }
        result
    }

    /// The credentials with an answer that could not be stored yet, as they were at the request.
    pub(super) fn unsaved(&self) -> Vec<(Key, Credential)> {
        let states = lock(&self.states);
        let kept = states.iter();
        kept.filter_map(|(key, s)| Some((key.clone(), s.unsaved.as_ref()?.credential.clone())))
            .collect()
    }

    /// The watch has shown a version of a credential.
    pub(super) fn saw(&self, key: &Key, version: &str) {
        let mut states = lock(&self.states);
        // Under the lock, as in `wrote_status`.
        let object = (key.namespace.clone(), key.name.clone());
        self.health.showed("credentials", &object, version);
        if let Some(state) = states.get_mut(key)
            && state
                .written
                .as_ref()
                .is_some_and(|(written, _)| !newer(written, version))
        {
            state.written = None;
            if state.is_empty() {
                states.remove(key);
                give_room_back(&mut states);
            }
        }
    }

    /// A status was written: it is what stands in the cluster until the watch has shown that version or a newer one,
    /// or a deletion.
    pub(super) fn wrote_status(
        &self,
        key: &Key,
        uid: &str,
        version: &str,
        status: &ApiCredentialStatus,
    ) {
        self.with_state(key, uid, |state| {
            // The watch may have been faster than the answer. The store is locked with the states.
            let shown = self.credentials.get(&reference(key));
            if shown.is_some_and(|shown| *shown.uid == *uid && newer(version, &shown.version)) {
                state.written = Some((version.to_owned(), status.clone()));
                let object = (key.namespace.clone(), key.name.clone());
                self.health
                    .wrote("credentials", &object, version, crate::clock::steady());
            }
        });
    }

    /// Hands the Secrets that the cache is in doubt about to [`crate::controller::cache::verify::run`].
    pub(super) fn settle_doubts(&self) {
        for name in lock(&self.secrets).take_doubtful() {
            self.doubts.raise(name);
        }
    }

    /// A namespace has had its first list of a kind.
    pub(super) fn synced(&self, stream: &'static str, namespace: &str) {
        self.unsynced.mark_synced(stream, namespace);
        self.clients.check_home(namespace);
        // Who waited for it.
        for key in lock(&self.index).of_home(namespace) {
            self.triggers.send(&key);
        }
    }

    /// How much is remembered that must not outlive its objects.
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

    /// The tokens of this credential that are to be revoked, if this process has them: the published one, and one that
    /// could not be written.
    pub(super) fn take_revocable(
        &self,
        key: &Key,
        uid: &str,
    ) -> (Option<Revocable>, Option<Revocable>) {
        self.with_state(key, uid, |s| {
            // Before anybody asks for it: the state Secret holds a refresh token that is spent until this one is stored.
            self.orphans.adopt(s.unsaved.take());
            let held = s.held.take().map(|held| Revocable {
                token: held.token,
                issued: held.issued,
            });
            (s.revocable.take(), held)
        })
    }

    /// True if this credential ever had a token, by its status.
    pub(super) fn has_published(&self, key: &Key) -> bool {
        let object = self.credentials.get(&reference(key));
        object.is_some_and(|kept| kept.shown.published)
    }

    /// A credential is gone.
    pub(super) fn forget(&self, key: &Key) {
        {
            let mut states = lock(&self.states);
            self.orphans
                .adopt(states.remove(key).and_then(|state| state.unsaved));
            give_room_back(&mut states);
        }
        self.limiter.forget(key);
        self.health.forget(key);
        let object = (key.namespace.clone(), key.name.clone());
        self.health.gone("credentials", &object);
    }
}
