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

/// The interval at which state without effect is removed.
const TIDY: Duration = Duration::from_mins(1);
/// The minimum duration of the queue's timer: the resolution of the rate limit.
const GRAIN: Duration = Duration::from_millis(2);
/// The interval between two attempts of [`IssuerLimiter::turn`]. A dequeued credential keeps its permit for five seconds.
const AGAIN: Duration = Duration::from_millis(200);

/// The rate limiters of all issuers, and the queue before them.
pub(in crate::controller) struct IssuerLimiter {
    limiter: Mutex<Limiter<IssuerId, Key>>,
    /// Notified when a credential waits, or when something changes for a waiting one.
    changed: Notify,
    triggers: Triggers,
    clock: Arc<dyn Clock>,
    /// Monotonic times count from this time.
    began: Instant,
}

/// The result for a credential that wants to send a request.
pub(in crate::controller) enum Admission {
    /// Send the request. Dropping the permit ends the request.
    Go(Permit),
    /// The credential is queued and will be triggered.
    Wait,
    /// The issuer has requested a pause until this time.
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

    /// Requests a permit for one request. `requested`: only because of the annotation, although no renewal is due.
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

    /// Waits until this credential may send one request, for work that no trigger resumes. [`Admission::Wait`]: there was no permit in time.
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

    /// Records that the issuer requests a pause.
    pub(in crate::controller) fn pause(&self, credential: &Credential, pause: Duration) {
        let now = self.began.elapsed();
        let until = now.saturating_add(pause);
        let (issuer, client) = (&credential.issuer.id, client(credential));
        let called = lock(&self.limiter).pause(issuer, &client, until, now);
        self.call(&called);
    }

    /// Records that the issuer has answered. `well`: the issuer works normally, even if the answer is a token error.
    pub(in crate::controller) fn answered(&self, credential: &Credential, well: bool) {
        let (issuer, client) = (&credential.issuer.id, client(credential));
        lock(&self.limiter).answered(issuer, &client, well, self.began.elapsed());
    }

    /// Records that a request ended without a response.
    pub(in crate::controller) fn unanswered(&self, credential: &Credential) {
        lock(&self.limiter).unanswered(&credential.issuer.id, self.began.elapsed());
    }

    /// Removes a deleted credential.
    pub(in crate::controller) fn forget(&self, key: &Key) {
        let called = lock(&self.limiter).forget(key, self.began.elapsed());
        self.call(&called);
    }

    /// Removes the pauses of an issuer object that was deleted, or whose requests now go to another origin.
    pub(in crate::controller) fn forget_issuer(&self, (kind, namespace, name): &IssuerName) {
        let issuer = IssuerId::Object(*kind, namespace.clone(), name.clone());
        let called = lock(&self.limiter).forget_issuer(&issuer, self.began.elapsed());
        self.call(&called);
    }

    /// The number of issuers with limits in use, and the number of credentials that wait or were dequeued.
    pub(in crate::controller) fn sizes(&self) -> (usize, usize) {
        let mut limiter = lock(&self.limiter);
        limiter.tidy(self.began.elapsed());
        limiter.sizes()
    }

    /// Requests in progress, waiting credentials, and issuers with a pause.
    pub(in crate::controller) fn load(&self) -> Load {
        lock(&self.limiter).load(self.began.elapsed())
    }

    /// Dequeues credentials. Never returns. Sleeps until the next credential may be dequeued only because time has passed.
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
