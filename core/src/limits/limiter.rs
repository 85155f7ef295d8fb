//! Decides which credential may send a request to which issuer. Pure: takes a monotonic time and returns the dequeued
//! credentials. A credential in the queue holds no permit. A dequeued ("called") one holds both a permit among all requests
//! and one of the issuer, so that neither is held while the other is missing.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
    time::Duration,
};

use super::{
    concurrency::{Holder, Permits},
    issuer::{Budget, Client, QueuedRequest},
    queue::Urgency,
};

/// How long the permits of a dequeued credential are reserved. A credential that was deleted in the meantime never uses them.
const CALLED: Duration = Duration::from_secs(5);
/// Every fourth permit goes to the issuer that was served least recently, even if others have urgent requests.
const FREE_FOR_ALL: u64 = 4;

/// A request that needs permits.
#[derive(Clone, Debug)]
pub struct Request<I> {
    /// The issuer.
    pub issuer: I,
    /// True if the issuer is an object of the credential's namespace.
    pub own: bool,
    /// The client at the issuer.
    pub client: Client,
    /// How urgent it is.
    pub urgency: Urgency,
    /// True if the annotation requests this renewal and it is not due.
    pub requested: bool,
    /// Limit of the issuer.
    pub requests_per_second: u32,
    /// Limit of the issuer.
    pub max_in_flight: u32,
    /// Limit of the issuer.
    pub requested_per_minute: Option<u32>,
}

/// The permits for one request; they must be returned.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Grant<I> {
    holder: Holder<I>,
    client: Client,
}

/// The result of [`Limiter::enter`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Entry<I> {
    /// The request may be sent; the permits must be returned afterwards.
    Go(Grant<I>),
    /// The credential is in the queue and will be dequeued later.
    Wait,
    /// The client has a pause until then.
    Paused(Duration),
}

/// What [`Limiter::load`] counts.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Load {
    /// Requests in progress.
    pub in_flight: usize,
    /// Credentials that wait for a request.
    pub waiting: usize,
    /// Issuers with a pause.
    pub paused: usize,
}

/// The rate limiter of all issuers. `I` identifies an issuer, `K` a credential.
#[derive(Debug)]
pub struct Limiter<I, K> {
    budgets: HashMap<I, Turned<K>>,
    places: Permits<I>,
    /// The issuer in whose queue a credential is.
    at: HashMap<K, I>,
    called: HashMap<K, (Grant<I>, Duration)>,
    turn: u64,
}

#[derive(Debug)]
struct Turned<K> {
    budget: Budget<K>,
    own: bool,
    /// The number of the turn in which the issuer was served last.
    served: u64,
}

impl<I, K> Limiter<I, K>
where
    I: Clone + Eq + Hash + Ord,
    K: Clone + Eq + Hash + Ord,
{
    /// A limiter with this number of permits.
    pub fn new(places: u16) -> Self {
        Self {
            budgets: HashMap::new(),
            places: Permits::new(places),
            at: HashMap::new(),
            called: HashMap::new(),
            turn: 0,
        }
    }

    /// Requests the permits for one request. Also returns other credentials that were dequeued by this.
    pub fn enter(&mut self, key: &K, request: &Request<I>, now: Duration) -> (Entry<I>, Vec<K>) {
        let holder = Holder {
            issuer: request.issuer.clone(),
            namespace: request.client.namespace.clone(),
            own: request.own,
        };
        if let Some((grant, _)) = self.called.remove(key) {
            let same = grant.holder == holder && grant.client == request.client;
            let paused = self.paused(&grant, now);
            if same && paused.is_none() {
                return (Entry::Go(grant), Vec::new());
            }
            self.end(&grant);
        }
        if self.at.get(key).is_some_and(|at| *at != request.issuer) {
            self.leave_queue(key);
        }
        let turned = self.budgets.entry(request.issuer.clone());
        let turned = turned.or_insert_with(|| Turned {
            budget: Budget::new(now),
            own: request.own,
            served: 0,
        });
        turned.own = request.own;
        let budget = &mut turned.budget;
        budget.configure(
            request.requests_per_second,
            request.max_in_flight,
            request.requested_per_minute,
        );
        if let Some(until) = budget.paused(&request.client, now) {
            self.leave_queue(key);
            return (Entry::Paused(until), self.call(now));
        }
        let queued = QueuedRequest {
            client: request.client.clone(),
            requested: request.requested,
        };
        budget.push(key, queued, request.urgency);
        self.at.insert(key.clone(), request.issuer.clone());
        let mut called = self.call(now);
        let before = called.len();
        called.retain(|k| k != key);
        match self.called.remove(key) {
            Some((grant, _)) if called.len() < before => (Entry::Go(grant), called),
            _ => (Entry::Wait, called),
        }
    }

    /// A request has ended. Returns the dequeued credentials.
    pub fn leave(&mut self, grant: &Grant<I>, now: Duration) -> Vec<K> {
        self.end(grant);
        self.call(now)
    }

    /// A credential was deleted. Returns the dequeued credentials.
    pub fn forget(&mut self, key: &K, now: Duration) -> Vec<K> {
        self.leave_queue(key);
        if let Some((grant, _)) = self.called.remove(key) {
            self.end(&grant);
        }
        self.call(now)
    }

    /// The issuer has answered. `well`: the answer, which may be a token error, shows that the issuer works.
    pub fn answered(&mut self, issuer: &I, client: &Client, well: bool, now: Duration) {
        if let Some(turned) = self.budgets.get_mut(issuer) {
            turned.budget.answered(client, well, now);
        }
    }

    /// A request has ended without an answer.
    pub fn unanswered(&mut self, issuer: &I, now: Duration) {
        if let Some(turned) = self.budgets.get_mut(issuer) {
            turned.budget.unanswered(now);
        }
    }

    /// The issuer wants fewer requests of this client. Returns the credentials that left the queue, so that their status shows the pause.
    pub fn pause(&mut self, issuer: &I, client: &Client, until: Duration, now: Duration) -> Vec<K> {
        let Some(turned) = self.budgets.get_mut(issuer) else {
            return Vec::new();
        };
        let stopped = turned.budget.pause(client, until, now);
        for key in &stopped {
            self.at.remove(key);
        }
        stopped
    }

    /// The issuer object was deleted or names another origin, and its pauses end with it. Returns the dequeued credentials.
    pub fn forget_issuer(&mut self, issuer: &I, now: Duration) -> Vec<K> {
        if let Some(turned) = self.budgets.get_mut(issuer) {
            turned.budget.forget_trouble(now);
        }
        self.tidy(now);
        self.call(now)
    }

    /// Dequeues all credentials that may send a request now. Their permits are reserved for five seconds.
    pub fn call(&mut self, now: Duration) -> Vec<K> {
        let late: Vec<K> = self
            .called
            .iter()
            .filter(|(_, (_, since))| now.saturating_sub(*since) >= CALLED)
            .map(|(key, _)| key.clone())
            .collect();
        for key in late {
            if let Some((grant, _)) = self.called.remove(&key) {
                self.end(&grant);
            }
        }
        let mut called = Vec::new();
        while let Some(key) = self.next(now) {
            called.push(key);
        }
        called
    }

    /// Dequeues the next credential.
    fn next(&mut self, now: Duration) -> Option<K> {
        if self.places.are_full() || self.at.is_empty() {
            return None;
        }
        let mut open: Vec<(bool, u64, I)> = Vec::new();
        let mut silent: HashSet<I> = HashSet::new();
        let by_urgency = !self.turn.is_multiple_of(FREE_FOR_ALL);
        for (issuer, turned) in &mut self.budgets {
            if turned.budget.is_silent(now) {
                silent.insert(issuer.clone());
            }
            if turned.budget.is_open(now) {
                let patient = by_urgency && !turned.budget.presses();
                open.push((patient, turned.served, issuer.clone()));
            }
        }
        open.sort_unstable();
        for (_, _, issuer) in open {
            let Some(turned) = self.budgets.get_mut(&issuer) else {
                continue;
            };
            let (places, own) = (&self.places, turned.own);
            let holder = |namespace: &str| Holder {
                issuer: issuer.clone(),
                namespace: namespace.to_owned(),
                own,
            };
            let room = |namespace: &str| {
                places.has_room(&holder(namespace), |issuer| silent.contains(issuer))
            };
            let Some((key, queued)) = turned.budget.next(now, room) else {
                continue;
            };
            let grant = Grant {
                holder: holder(&queued.client.namespace),
                client: queued.client,
            };
            self.turn += 1;
            turned.served = self.turn;
            self.places.take(&grant.holder);
            self.at.remove(&key);
            self.called.insert(key.clone(), (grant, now));
            return Some(key);
        }
        None
    }

    /// When a credential may be dequeued although no request ends, or a reservation expires.
    pub fn next_moment(&self, now: Duration) -> Option<Duration> {
        let lines = self.budgets.values();
        let lines = lines.filter_map(|t| t.budget.next_moment(now));
        let called = self.called.values().map(|(_, since)| *since + CALLED);
        lines.chain(called).min()
    }

    /// Drops the state of issuers that has no effect any more.
    pub fn tidy(&mut self, now: Duration) {
        self.budgets.retain(|_, t| !t.budget.is_idle(now));
    }

    /// The number of issuers with state, and of credentials that are queued or dequeued.
    pub fn sizes(&self) -> (usize, usize) {
        let waiting: usize = self.budgets.values().map(|t| t.budget.waiting()).sum();
        (self.budgets.len(), waiting + self.called.len())
    }

    /// The number of requests in flight, of queued credentials, and of issuers with a paused client. A dequeued credential
    /// that has not sent its request yet counts as queued.
    pub fn load(&self, now: Duration) -> Load {
        let called = self.called.len();
        let budgets = self.budgets.values();
        let under_way = usize::try_from(self.places.total()).unwrap_or(usize::MAX);
        Load {
            in_flight: under_way.saturating_sub(called),
            waiting: self.at.len() + called,
            paused: budgets.filter(|t| t.budget.is_paused(now)).count(),
        }
    }

    /// Requests in flight, and permits that are reserved.
    pub fn under_way(&self) -> u32 {
        self.places.total()
    }

    fn paused(&self, grant: &Grant<I>, now: Duration) -> Option<Duration> {
        let turned = self.budgets.get(&grant.holder.issuer)?;
        turned.budget.paused(&grant.client, now)
    }

    fn end(&mut self, grant: &Grant<I>) {
        self.places.give_back(&grant.holder);
        if let Some(turned) = self.budgets.get_mut(&grant.holder.issuer) {
            turned.budget.leave(&grant.client);
        }
    }

    fn leave_queue(&mut self, key: &K) {
        if let Some(issuer) = self.at.remove(key)
            && let Some(turned) = self.budgets.get_mut(&issuer)
        {
            turned.budget.leave_queue(key);
        }
    }
}
