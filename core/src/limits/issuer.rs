//! The limits of one issuer: requests per second, requests in flight, pauses, and the queue. Pure. Times are monotonic and
//! count from the start of the process, so a change of the wall clock has no effect.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use super::queue::{Queue, Urgency, give_room_back};

/// After a pause, one request at a time tests whether the issuer accepts requests again, for at most this time.
const PROBING: Duration = Duration::from_mins(10);
/// The longest pause: at most one hour, and the spread that is added to it.
const LONGEST_PAUSE: Duration = Duration::from_mins(75);
/// An issuer does not answer if it has had a request for this time and has answered none.
const SILENT: Duration = Duration::from_secs(3);
/// The rate and the burst of renewals that the annotation requests, for one namespace at one issuer, if the issuer does not
/// set a rate. Further ones wait, so that a tenant cannot use up the issuer's quota with them.
const REQUESTED: Requested = Requested {
    a_second: 1.0,
    at_once: 200.0,
};

/// How many renewals a namespace may request.
#[derive(Clone, Copy, Debug)]
struct Requested {
    a_second: f64,
    at_once: f64,
}

impl Requested {
    fn of(per_minute: Option<u32>) -> Self {
        per_minute.map_or(REQUESTED, |n| Self {
            a_second: f64::from(n.max(1)) / 60.0,
            at_once: f64::from(n.max(1)),
        })
    }
}

/// A client at this issuer: namespace of the credential, client ID.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Client {
    /// Namespace.
    pub namespace: String,
    /// Client ID.
    pub id: String,
}

/// The scope of a pause.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum PauseScope {
    Client(Client),
    Namespace(String),
    All,
}

impl PauseScope {
    /// All scopes that apply to a client.
    fn of(client: &Client) -> [Self; 3] {
        [
            Self::All,
            Self::Namespace(client.namespace.clone()),
            Self::Client(client.clone()),
        ]
    }
}

/// A pause that no successful answer has followed yet.
#[derive(Debug)]
struct Pause {
    until: Duration,
    /// Requests in flight that began after the pause was set.
    in_flight: u32,
}

/// A token bucket.
#[derive(Debug)]
struct Bucket {
    tokens: f64,
    at: Duration,
}

impl Bucket {
    fn refill(&mut self, rate: f64, most: f64, now: Duration) {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * rate).min(most);
        self.at = self.at.max(now);
    }

    /// The time at which a whole token is available.
    fn next(&self, rate: f64) -> Duration {
        let missing = (1.0 - self.tokens).max(0.0);
        self.at + Duration::from_secs_f64(missing / rate)
    }
}

/// The request of a credential in the queue.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct QueuedRequest {
    pub(super) client: Client,
    /// True if only the annotation requests the renewal, and it is not due.
    pub(super) requested: bool,
}

/// The limits of one issuer. `K` identifies a credential.
#[derive(Debug)]
pub(super) struct Budget<K> {
    rate: f64,
    max_in_flight: u32,
    may_request: Requested,
    bucket: Bucket,
    in_flight: u32,
    pauses: HashMap<PauseScope, Pause>,
    queue: Queue<K>,
    waiting: HashMap<K, QueuedRequest>,
    requested: HashMap<String, Bucket>,
    /// When the last request ended without an answer; `None` if an answer followed.
    unanswered: Option<Duration>,
    /// Since when there have been requests without answers.
    listening: Option<Duration>,
}

impl<K: Clone + Eq + std::hash::Hash + Ord> Budget<K> {
    pub(super) fn new(now: Duration) -> Self {
        Self {
            rate: 1.0,
            max_in_flight: 1,
            may_request: REQUESTED,
            bucket: Bucket {
                tokens: f64::INFINITY,
                at: now,
            },
            in_flight: 0,
            pauses: HashMap::new(),
            queue: Queue::new(),
            waiting: HashMap::new(),
            requested: HashMap::new(),
            unanswered: None,
            listening: None,
        }
    }

    /// Sets the limits. The state does not change.
    pub(super) fn configure(
        &mut self,
        requests_per_second: u32,
        max_in_flight: u32,
        requested_per_minute: Option<u32>,
    ) {
        self.may_request = Requested::of(requested_per_minute);
        self.rate = f64::from(requests_per_second.max(1));
        self.max_in_flight = max_in_flight.max(1);
        self.bucket.tokens = self.bucket.tokens.min(self.rate);
    }

    /// When the pause of this client ends, if it has one.
    pub(super) fn paused(&self, client: &Client, now: Duration) -> Option<Duration> {
        let pauses = PauseScope::of(client).into_iter();
        let until = pauses.filter_map(|scope| Some(self.pauses.get(&scope)?.until));
        until.filter(|until| *until > now).max()
    }

    /// True if some client has a pause now.
    pub(super) fn is_paused(&self, now: Duration) -> bool {
        self.pauses.values().any(|pause| pause.until > now)
    }

    /// Adds an entry to the queue.
    pub(super) fn push(&mut self, key: &K, queued: QueuedRequest, urgency: Urgency) {
        self.queue.push(key, &queued.client.namespace, urgency);
        self.waiting.insert(key.clone(), queued);
    }

    /// Removes an entry from the queue.
    pub(super) fn leave_queue(&mut self, key: &K) {
        if self.waiting.remove(key).is_some() {
            give_room_back(&mut self.waiting);
            self.queue.leave(key);
        }
    }

    /// Removes the next entry from the queue; its request counts as in flight from then on. `room` returns whether a namespace can get a permit.
    pub(super) fn next(
        &mut self,
        now: Duration,
        room: impl Fn(&str) -> bool,
    ) -> Option<(K, QueuedRequest)> {
        if !self.is_open(now) {
            return None;
        }
        for bucket in self.requested.values_mut() {
            bucket.refill(self.may_request.a_second, self.may_request.at_once, now);
        }
        let (waiting, pauses, requested) = (&self.waiting, &self.pauses, &self.requested);
        let spent = |queued: &QueuedRequest| {
            let bucket = requested.get(&queued.client.namespace);
            queued.requested && bucket.is_some_and(|b| b.tokens < 1.0)
        };
        let simple = pauses.is_empty() && requested.is_empty();
        let may = |key: &K| {
            simple
                || waiting
                    .get(key)
                    .is_none_or(|queued| !spent(queued) && !probed(pauses, &queued.client, now))
        };
        let key = self.queue.pop(room, may)?;
        let queued = self.waiting.remove(&key)?;
        give_room_back(&mut self.waiting);
        self.bucket.tokens -= 1.0;
        self.in_flight += 1;
        self.listening.get_or_insert(now);
        if queued.requested {
            let bucket = self.requested.entry(queued.client.namespace.clone());
            let full = Bucket {
                tokens: self.may_request.at_once,
                at: now,
            };
            bucket.or_insert(full).tokens -= 1.0;
        }
        for scope in PauseScope::of(&queued.client) {
            if let Some(pause) = self.pauses.get_mut(&scope) {
                pause.in_flight += 1;
            }
        }
        Some((key, queued))
    }

    /// True if the limits allow another request and the queue is not empty.
    pub(super) fn is_open(&mut self, now: Duration) -> bool {
        let most = self.rate;
        self.bucket.refill(self.rate, most, now);
        !self.queue.is_empty() && self.in_flight < self.max_in_flight && self.bucket.tokens >= 1.0
    }

    /// A request has ended, or was never sent.
    pub(super) fn leave(&mut self, client: &Client) {
        self.in_flight = self.in_flight.saturating_sub(1);
        for scope in PauseScope::of(client) {
            if let Some(pause) = self.pauses.get_mut(&scope) {
                pause.in_flight = pause.in_flight.saturating_sub(1);
            }
        }
        if self.in_flight == 0 {
            self.listening = None;
        }
    }

    /// The issuer has answered. `well`: the answer, which may be a token error, shows that the issuer works.
    pub(super) fn answered(&mut self, client: &Client, well: bool, now: Duration) {
        self.unanswered = None;
        self.listening = Some(now);
        if well {
            for scope in PauseScope::of(client) {
                // The answer to a request that began before the pause shows nothing about the pause.
                if self.pauses.get(&scope).is_some_and(|p| p.until <= now) {
                    self.pauses.remove(&scope);
                }
            }
        }
    }

    /// A request has ended without an answer.
    pub(super) fn unanswered(&mut self, now: Duration) {
        self.unanswered = Some(now);
    }

    /// True if the issuer does not answer.
    pub(super) fn is_silent(&self, now: Duration) -> bool {
        let long = |since| now.saturating_sub(since) >= SILENT;
        let recently = |at| now.saturating_sub(at) < PROBING;
        self.unanswered.is_some_and(recently)
            || (self.in_flight > 0 && self.listening.is_some_and(long))
    }

    /// The issuer wants fewer requests of this client, so the client sends none until that time. If another client of the
    /// namespace has a pause, the whole namespace pauses. If a client with another ID in another namespace has one, all
    /// clients pause. So one namespace cannot stop the others. Returns the credentials that were queued and now have a pause:
    /// each shows it in its status.
    pub(super) fn pause(&mut self, client: &Client, until: Duration, now: Duration) -> Vec<K> {
        let until = until.min(now + LONGEST_PAUSE);
        let active = self.pauses.iter().filter(|(_, p)| p.until > now);
        let others: Vec<&Client> = active
            .filter_map(|(scope, _)| match scope {
                PauseScope::Client(other) if other.id != client.id => Some(other),
                _ => None,
            })
            .collect();
        let mut scope = vec![PauseScope::Client(client.clone())];
        if others.iter().any(|o| o.namespace == client.namespace) {
            scope.push(PauseScope::Namespace(client.namespace.clone()));
        }
        if others.iter().any(|o| o.namespace != client.namespace) {
            scope.push(PauseScope::All);
            // The bucket is empty when the pause ends: the first requests test whether the issuer accepts requests again.
            self.bucket = Bucket {
                tokens: 0.0,
                at: until,
            };
        }
        for scope in scope {
            let pause = self.pauses.entry(scope).or_insert(Pause {
                until,
                in_flight: 0,
            });
            // A pause is never shortened.
            pause.until = pause.until.max(until);
        }
        let stopped: Vec<K> = self
            .waiting
            .iter()
            .filter(|(_, queued)| self.paused(&queued.client, now).is_some())
            .map(|(key, _)| key.clone())
            .collect();
        for key in &stopped {
            self.leave_queue(key);
        }
        stopped
    }

    /// The issuer object was deleted or names another origin, so its pauses and the missing answers do not count any more. The rate limit stays:
    /// a recreated or edited object must not get a new burst.
    pub(super) fn forget_trouble(&mut self, now: Duration) {
        self.pauses.clear();
        self.unanswered = None;
        self.bucket.at = self.bucket.at.min(now);
    }

    /// When an entry may leave the queue although no request ends.
    pub(super) fn next_moment(&self, now: Duration) -> Option<Duration> {
        if self.queue.is_empty() {
            return None;
        }
        let rate = self.may_request.a_second;
        let namespaces: HashSet<&String> = self
            .waiting
            .values()
            .filter(|queued| queued.requested)
            .map(|queued| &queued.client.namespace)
            .collect();
        let requested = namespaces.into_iter().filter_map(|n| self.requested.get(n));
        let requested = requested.map(|bucket| bucket.next(rate));
        let probes = self.pauses.values().map(|p| p.until + PROBING);
        let all = requested.chain(probes).chain([self.bucket.next(self.rate)]);
        all.filter(|at| *at > now).min()
    }

    /// Drops state that has no effect any more. Returns true if nothing of it is left.
    pub(super) fn is_idle(&mut self, now: Duration) -> bool {
        self.pauses.retain(|_, p| p.until + PROBING > now);
        let Requested { a_second, at_once } = self.may_request;
        self.requested.retain(|_, bucket| {
            bucket.refill(a_second, at_once, now);
            bucket.tokens < at_once
        });
        let rate = self.rate;
        self.bucket.refill(rate, rate, now);
        // A bucket that is not full has an effect: a new one would begin with a whole burst.
        self.in_flight == 0
            && self.bucket.tokens >= rate
            && self.queue.is_empty()
            && self.pauses.is_empty()
            && self.requested.is_empty()
            && !self.is_silent(now)
    }

    /// The number of entries in the queue.
    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// True if an entry is urgent.
    pub(super) fn presses(&self) -> bool {
        self.queue.presses()
    }
}

/// True if a pause of this client has expired without a successful answer since, and a request in flight tests it.
fn probed(pauses: &HashMap<PauseScope, Pause>, client: &Client, now: Duration) -> bool {
    PauseScope::of(client).iter().any(|scope| {
        let pause = pauses.get(scope);
        pause.is_some_and(|p| p.until <= now && now < p.until + PROBING && p.in_flight > 0)
    })
}
