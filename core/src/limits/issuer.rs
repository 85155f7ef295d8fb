//! The limits of one issuer: how many requests a second, how many in flight, pauses, and who waits. Pure. Times are
//! monotonic and count from the start of the process: no step of the wall clock changes anything.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use super::queue::{Queue, Urgency, give_room_back};

/// After a pause one request at a time finds out whether it has ended, for this long at most.
const PROBING: Duration = Duration::from_mins(10);
/// Longer pauses are not asked for: an hour at most, and the spread on top of it.
const LONGEST_PAUSE: Duration = Duration::from_mins(75);
/// An issuer that has had a request for this long and has answered none counts as one that does not answer.
const SILENT: Duration = Duration::from_secs(3);
/// Renewals that the annotation requests, of one namespace at one issuer, unless the issuer says how many: so many a minute,
/// and so many at once. A tenant cannot use up the issuer's quota with them. What exceeds it waits.
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

/// What a pause is for.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Whom {
    Client(Client),
    Namespace(String),
    All,
}

impl Whom {
    /// All that concern a client.
    fn of(client: &Client) -> [Self; 3] {
        [
            Self::All,
            Self::Namespace(client.namespace.clone()),
            Self::Client(client.clone()),
        ]
    }
}

/// A pause that no good answer has followed yet.
#[derive(Debug)]
struct Pause {
    until: Duration,
    /// Requests under way that began since.
    in_flight: u32,
}

/// A bucket that refills.
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

    /// When a whole token is there.
    fn next(&self, rate: f64) -> Duration {
        let missing = (1.0 - self.tokens).max(0.0);
        self.at + Duration::from_secs_f64(missing / rate)
    }
}

/// What a credential that waits asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Wish {
    pub(super) client: Client,
    /// Asked for by the annotation alone, and not due.
    pub(super) requested: bool,
}

/// The limits of one issuer. `K` names a credential.
#[derive(Debug)]
pub(super) struct Budget<K> {
    rate: f64,
    max_in_flight: u32,
    may_request: Requested,
    bucket: Bucket,
    in_flight: u32,
    pauses: HashMap<Whom, Pause>,
    queue: Queue<K>,
    waiting: HashMap<K, Wish>,
    requested: HashMap<String, Bucket>,
    /// When the last request ended without an answer; none if an answer followed.
    unanswered: Option<Duration>,
    /// Since when there are requests and no answers.
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

    /// Takes over limits; the state stays.
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

    /// Until when this client asks for nothing.
    pub(super) fn paused(&self, client: &Client, now: Duration) -> Option<Duration> {
        let pauses = Whom::of(client).into_iter();
        let until = pauses.filter_map(|whom| Some(self.pauses.get(&whom)?.until));
        until.filter(|until| *until > now).max()
    }

    /// Is there a client that asks for nothing now?
    pub(super) fn is_paused(&self, now: Duration) -> bool {
        self.pauses.values().any(|pause| pause.until > now)
    }

    /// Adds an entry to the queue.
    pub(super) fn push(&mut self, key: &K, wish: Wish, urgency: Urgency) {
        self.queue.push(key, &wish.client.namespace, urgency);
        self.waiting.insert(key.clone(), wish);
    }

    /// Leaves the queue.
    pub(super) fn leave_queue(&mut self, key: &K) {
        if self.waiting.remove(key).is_some() {
            give_room_back(&mut self.waiting);
            self.queue.leave(key);
        }
    }

    /// The next who may ask, whose request begins with that. `room` says whether a namespace finds a place.
    pub(super) fn next(&mut self, now: Duration, room: impl Fn(&str) -> bool) -> Option<(K, Wish)> {
        if !self.is_open(now) {
            return None;
        }
        for bucket in self.requested.values_mut() {
            bucket.refill(self.may_request.a_second, self.may_request.at_once, now);
        }
        let (waiting, pauses, requested) = (&self.waiting, &self.pauses, &self.requested);
        let spent = |wish: &Wish| {
            let bucket = requested.get(&wish.client.namespace);
            wish.requested && bucket.is_some_and(|b| b.tokens < 1.0)
        };
        let simple = pauses.is_empty() && requested.is_empty();
        let may = |key: &K| {
            simple
                || waiting
                    .get(key)
                    .is_none_or(|wish| !spent(wish) && !probed(pauses, &wish.client, now))
        };
        let key = self.queue.pop(room, may)?;
        let wish = self.waiting.remove(&key)?;
        give_room_back(&mut self.waiting);
        self.bucket.tokens -= 1.0;
        self.in_flight += 1;
        self.listening.get_or_insert(now);
        if wish.requested {
            let bucket = self.requested.entry(wish.client.namespace.clone());
            let full = Bucket {
                tokens: self.may_request.at_once,
                at: now,
            };
            bucket.or_insert(full).tokens -= 1.0;
        }
        for whom in Whom::of(&wish.client) {
            if let Some(pause) = self.pauses.get_mut(&whom) {
                pause.in_flight += 1;
            }
        }
        Some((key, wish))
    }

    /// May anybody begin a request?
    pub(super) fn is_open(&mut self, now: Duration) -> bool {
        let most = self.rate;
        self.bucket.refill(self.rate, most, now);
        !self.queue.is_empty() && self.in_flight < self.max_in_flight && self.bucket.tokens >= 1.0
    }

    /// A request has ended, or was never made.
    pub(super) fn leave(&mut self, client: &Client) {
        self.in_flight = self.in_flight.saturating_sub(1);
        for whom in Whom::of(client) {
            if let Some(pause) = self.pauses.get_mut(&whom) {
                pause.in_flight = pause.in_flight.saturating_sub(1);
            }
        }
        if self.in_flight == 0 {
            self.listening = None;
        }
    }

    /// The issuer has answered, whatever it said. `well`: as one that is well, be it by a token error.
    pub(super) fn answered(&mut self, client: &Client, well: bool, now: Duration) {
        self.unanswered = None;
        self.listening = Some(now);
        if well {
            for whom in Whom::of(client) {
                // The answer to a request that began before the pause says nothing about it.
                if self.pauses.get(&whom).is_some_and(|p| p.until <= now) {
                    self.pauses.remove(&whom);
                }
            }
        }
    }

    /// A request has ended without an answer.
    pub(super) fn unanswered(&mut self, now: Duration) {
        self.unanswered = Some(now);
    }

    /// Does it not answer?
    pub(super) fn is_silent(&self, now: Duration) -> bool {
        let long = |since| now.saturating_sub(since) >= SILENT;
        let recently = |at| now.saturating_sub(at) < PROBING;
        self.unanswered.is_some_and(recently)
            || (self.in_flight > 0 && self.listening.is_some_and(long))
    }

    /// The issuer wants fewer requests of this client: it asks for nothing until then. If another client of the namespace
    /// has a pause, the whole namespace pauses; if another client of another namespace has one, everybody does. So no
    /// namespace stops the others by what it asks. Gives those who waited for what pauses now: each shows it in its status.
    pub(super) fn pause(&mut self, client: &Client, until: Duration, now: Duration) -> Vec<K> {
        let until = until.min(now + LONGEST_PAUSE);
        let active = self.pauses.iter().filter(|(_, p)| p.until > now);
        let others: Vec<&Client> = active
            .filter_map(|(whom, _)| match whom {
                Whom::Client(other) if other.id != client.id => Some(other),
                _ => None,
            })
            .collect();
        let mut whom = vec![Whom::Client(client.clone())];
        if others.iter().any(|o| o.namespace == client.namespace) {
            whom.push(Whom::Namespace(client.namespace.clone()));
        }
        if others.iter().any(|o| o.namespace != client.namespace) {
            whom.push(Whom::All);
            // After it the first requests find out whether it has ended: with an empty bucket.
            self.bucket = Bucket {
                tokens: 0.0,
                at: until,
            };
        }
        for whom in whom {
            let pause = self.pauses.entry(whom).or_insert(Pause {
                until,
                in_flight: 0,
            });
            // Never shorter.
            pause.until = pause.until.max(until);
        }
        let stopped: Vec<K> = self
            .waiting
            .iter()
            .filter(|(_, wish)| self.paused(&wish.client, now).is_some())
            .map(|(key, _)| key.clone())
            .collect();
        for key in &stopped {
            self.leave_queue(key);
        }
        stopped
    }

    /// The issuer object is gone: pauses and silence were about it. What limits the rate stays, so that nobody gets a new burst
    /// by making the object again.
    pub(super) fn forget_trouble(&mut self, now: Duration) {
        self.pauses.clear();
        self.unanswered = None;
        self.bucket.at = self.bucket.at.min(now);
    }

    /// When the queue may move although no request ends.
    pub(super) fn next_moment(&self, now: Duration) -> Option<Duration> {
        if self.queue.is_empty() {
            return None;
        }
        let rate = self.may_request.a_second;
        let asked: HashSet<&String> = self
            .waiting
            .values()
            .filter(|wish| wish.requested)
            .map(|wish| &wish.client.namespace)
            .collect();
        let requested = asked.into_iter().filter_map(|n| self.requested.get(n));
        let requested = requested.map(|bucket| bucket.next(rate));
        let probes = self.pauses.values().map(|p| p.until + PROBING);
        let all = requested.chain(probes).chain([self.bucket.next(self.rate)]);
        all.filter(|at| *at > now).min()
    }

    /// Drops what has no effect any more. True: the whole budget has none.
    pub(super) fn is_idle(&mut self, now: Duration) -> bool {
        self.pauses.retain(|_, p| p.until + PROBING > now);
        let Requested { a_second, at_once } = self.may_request;
        self.requested.retain(|_, bucket| {
            bucket.refill(a_second, at_once, now);
            bucket.tokens < at_once
        });
        let rate = self.rate;
        self.bucket.refill(rate, rate, now);
        // A bucket that is not full yet has an effect: a new one would begin with a whole burst.
        self.in_flight == 0
            && self.bucket.tokens >= rate
            && self.queue.is_empty()
            && self.pauses.is_empty()
            && self.requested.is_empty()
            && !self.is_silent(now)
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Does anybody press?
    pub(super) fn presses(&self) -> bool {
        self.queue.presses()
    }
}

/// Has a pause of this client ended without a good answer since, and is somebody finding out?
fn probed(pauses: &HashMap<Whom, Pause>, client: &Client, now: Duration) -> bool {
    Whom::of(client).iter().any(|whom| {
        let pause = pauses.get(whom);
        pause.is_some_and(|p| p.until <= now && now < p.until + PROBING && p.in_flight > 0)
    })
}
