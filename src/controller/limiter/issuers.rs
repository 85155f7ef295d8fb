//! The shell around [`crate::limits::limiter`]: time, a lock, and a task that dequeues waiting credentials.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use tokio::{sync::Notify, time::Instant};

use crate::controller::{cache::index::IssuerName, locks::lock, requeue::Triggers};
use crate::{
    api::IssuerKind,
    clock::Clock,
    credential::{Credential, Issuer, IssuerId, Key},
    limits::{
        issuer::Client,
        limiter::{Entry, Grant, Limiter, Load, Request},
        queue::Urgency,
    },
    plan::schedule,
};

/// State that has no effect any more is dropped this often.
const TIDY: Duration = Duration::from_mins(1);
/// The timer of the queue is never shorter: the resolution of the rate limit.
const GRAIN: Duration = Duration::from_millis(2);
/// Between two questions of [`IssuerLimiter::turn`]. A call is kept for five seconds.
const AGAIN: Duration = Duration::from_millis(200);

/// The rate limiters of all issuers, and the queue before them.
pub(in crate::controller) struct IssuerLimiter {
    limiter: Mutex<Limiter<IssuerId, Key>>,
    /// A credential waits, or something changed for one that waits.
    changed: Notify,
    triggers: Triggers,
    clock: Arc<dyn Clock>,
    /// Monotonic times count from here.
    began: Instant,
}

/// The answer to a credential that wants to send a request.
pub(in crate::controller) enum Admission {
    /// Send it. Dropping the permit ends the request.
    Go(Permit),
    /// Queued; a trigger will come.
    Wait,
    /// The issuer has asked for a pause until then.
    Paused(Timestamp),
}

/// A permit for one request.
pub(in crate::controller) struct Permit {
    limiter: Arc<IssuerLimiter>,
    grant: Grant<IssuerId>,
}

/// The client of the request, as the issuer knows it.
fn client(credential: &Credential) -> Client {
    Client {
        namespace: credential.namespace.clone(),
        id: credential.client_id.clone(),
    }
}

impl IssuerLimiter {
    pub(in crate::controller) fn new(
        triggers: Triggers,
        clock: Arc<dyn Clock>,
        places: u16,
    ) -> Arc<Self> {
        Arc::new(Self {
            limiter: Mutex::new(Limiter::new(places)),
            changed: Notify::new(),
            triggers,
            clock,
            began: Instant::now(),
        })
    }

    /// Asks for one request. `requested`: by the annotation alone, although no renewal is due.
    pub(in crate::controller) fn enter(
        self: &Arc<Self>,
        credential: &Credential,
        key: &Key,
        urgency: Urgency,
        requested: bool,
    ) -> Admission {
        let issuer: &Issuer = &credential.issuer;
        let request = Request {
            issuer: issuer.id.clone(),
            own: matches!(&issuer.id, IssuerId::Object(IssuerKind::TokenIssuer, ..)),
            client: client(credential),
            urgency,
            requested,
            requests_per_second: issuer.requests_per_second,
            max_in_flight: issuer.max_in_flight,
            requested_per_minute: issuer.requested_per_minute,
        };
        let now = self.began.elapsed();
        let (entry, called) = lock(&self.limiter).enter(key, &request, now);
        self.call(&called);
        match entry {
            Entry::Go(grant) => Admission::Go(Permit {
                limiter: Arc::clone(self),
                grant,
            }),
            Entry::Wait => Admission::Wait,
            Entry::Paused(until) => {
                let left = SignedDuration::try_from(until.saturating_sub(now));
                let left = left.unwrap_or(SignedDuration::ZERO);
                Admission::Paused(schedule::later(self.clock.now(), left))
            }
        }
    }

    /// Waits until this credential may send one request, for work that no trigger calls back. [`Admission::Wait`]: its turn did
    /// not come in time.
    pub(in crate::controller) async fn turn(
        self: &Arc<Self>,
        credential: &Credential,
        urgency: Urgency,
        longest: Duration,
    ) -> Admission {
        let key = credential.key();
        let until = Instant::now() + longest;
        loop {
            let last = match self.enter(credential, &key, urgency, false) {
                Admission::Go(permit) => return Admission::Go(permit),
                Admission::Wait if Instant::now() < until => {
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
                last => last,
            };
            self.forget(&key);
            return last;
        }
    }

    /// The issuer wants fewer requests.
    pub(in crate::controller) fn pause(&self, credential: &Credential, pause: Duration) {
        let now = self.began.elapsed();
        let until = now.saturating_add(pause);
        let (issuer, client) = (&credential.issuer.id, client(credential));
        let called = lock(&self.limiter).pause(issuer, &client, until, now);
        self.call(&called);
    }

    /// The issuer has answered. `well`: as one that is well, be it by a token error.
    pub(in crate::controller) fn answered(&self, credential: &Credential, well: bool) {
        let (issuer, client) = (&credential.issuer.id, client(credential));
        lock(&self.limiter).answered(issuer, &client, well, self.began.elapsed());
    }

    /// A request has ended without an answer.
    pub(in crate::controller) fn unanswered(&self, credential: &Credential) {
        lock(&self.limiter).unanswered(&credential.issuer.id, self.began.elapsed());
    }

    /// A credential is gone.
    pub(in crate::controller) fn forget(&self, key: &Key) {
        let called = lock(&self.limiter).forget(key, self.began.elapsed());
        self.call(&called);
    }

    /// An issuer object is gone, and its pauses with it.
    pub(in crate::controller) fn forget_issuer(&self, (kind, namespace, name): &IssuerName) {
        let issuer = IssuerId::Object(*kind, namespace.clone(), name.clone());
        let called = lock(&self.limiter).forget_issuer(&issuer, self.began.elapsed());
        self.call(&called);
    }

    /// How many issuers have limits that are in use, and how many credentials wait or were called.
    pub(in crate::controller) fn sizes(&self) -> (usize, usize) {
        let mut limiter = lock(&self.limiter);
        limiter.tidy(self.began.elapsed());
        limiter.sizes()
    }

    /// Requests in progress, credentials that wait, and issuers with a pause.
    pub(in crate::controller) fn load(&self) -> Load {
        lock(&self.limiter).load(self.began.elapsed())
    }

    /// Dequeues, for ever. Sleeps until time alone lets the next one through.
    pub(in crate::controller) async fn run(self: Arc<Self>) {
        loop {
            let now = self.began.elapsed();
            let next = {
                let mut limiter = lock(&self.limiter);
                let called = limiter.call(now);
                limiter.tidy(now);
                let next = limiter.next_moment(now);
                drop(limiter);
                for key in &called {
                    self.triggers.send(key);
                }
                next.map_or(TIDY, |at| at.saturating_sub(now).clamp(GRAIN, TIDY))
            };
            let _ = tokio::time::timeout(next, self.changed.notified()).await;
        }
    }

    fn call(&self, called: &[Key]) {
        for key in called {
            self.triggers.send(key);
        }
        self.changed.notify_one();
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let now = self.limiter.began.elapsed();
        let called = lock(&self.limiter.limiter).leave(&self.grant, now);
        self.limiter.call(&called);
    }
}
