//! One budget an issuer: how many requests a second, how many in flight, and a pause that all share. Pure: the
//! shell asks [`Budget::enter`] before a request and tells [`Budget::leave`] after it.
//!
//! Who does not get in stands in a [line](super::line) and gives up its worker; [`Budget::admit`] names who may come
//! back. So a slow or throttled issuer holds no worker of the others.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

use super::line::{Line, Urgency};

/// How long an admission waits to be used. A credential that was deleted meanwhile never uses it.
const ADMISSION: SignedDuration = SignedDuration::from_secs(5);

/// After a pause one request at a time finds out whether the issuer is well again, for this long at most.
const PROBING: SignedDuration = SignedDuration::from_mins(10);

/// Longer pauses are not asked for: an hour at most, and the spread on top of it.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_mins(75);

/// What [`Budget::enter`] says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Entry {
    /// Go; call [`Budget::leave`] afterwards.
    Go,
    /// Stand in line; somebody will say when.
    Wait,
    /// The issuer asked to be left alone until then.
    Paused(Timestamp),
}

/// The budget of one issuer. `K` names a credential.
#[derive(Debug)]
pub struct Budget<K> {
    rate: f64,
    max_in_flight: u32,
    tokens: f64,
    refilled: Timestamp,
    in_flight: u32,
    paused_until: Option<Timestamp>,
    /// A pause that no good answer has followed yet.
    probing: bool,
    line: Line<K>,
    admitted: HashMap<K, Timestamp>,
}

impl<K: Clone + Eq + std::hash::Hash + Ord> Budget<K> {
    /// A full budget.
    pub fn new(requests_per_second: u32, max_in_flight: u32, now: Timestamp) -> Self {
        let rate = f64::from(requests_per_second.max(1));
        Self {
            rate,
            max_in_flight: max_in_flight.max(1),
            tokens: rate,
            refilled: now,
            in_flight: 0,
            paused_until: None,
            probing: false,
            line: Line::new(),
            admitted: HashMap::new(),
        }
    }

    /// Takes over new limits; the state stays.
    pub fn configure(&mut self, requests_per_second: u32, max_in_flight: u32) {
        self.rate = f64::from(requests_per_second.max(1));
        self.max_in_flight = max_in_flight.max(1);
    }

    /// Asks for one request; `group` is the credential's namespace.
    pub fn enter(&mut self, key: &K, group: &str, urgency: Urgency, now: Timestamp) -> Entry {
        if let Some(until) = self.paused(now) {
            self.forget(key);
            return Entry::Paused(until);
        }
        self.refill(now);
        if self.admitted.remove(key).is_some() {
            return Entry::Go;
        }
        if self.line.is_empty() && self.free(now) {
            self.take();
            return Entry::Go;
        }
        self.line.stand(key, group, urgency);
        Entry::Wait
    }

    /// A request of this budget has ended.
    pub fn leave(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// The issuer has answered as one that is well, be it by a refusal.
    pub fn answered(&mut self) {
        self.probing = false;
    }

    /// Nobody asks until then. Never shortens a pause.
    pub fn pause(&mut self, until: Timestamp) {
        let old = self
            .paused_until
            .filter(|old| old.duration_since(until) < LONGEST_PAUSE);
        let until = old.map_or(until, |old| old.max(until));
        self.paused_until = Some(until);
        self.probing = true;
        // After the pause the first requests find out whether it is over: start with an empty bucket.
        self.tokens = 0.0;
        self.refilled = until;
    }

    /// Until when nobody asks. A pause is never longer than an hour and its spread, so one that ends later was set
    /// by a clock that has been set back since.
    pub fn paused(&self, now: Timestamp) -> Option<Timestamp> {
        self.paused_until
            .filter(|until| *until > now && until.duration_since(now) < LONGEST_PAUSE)
    }

    /// Those who may come back now, in the order of the line. Each holds its place for five seconds.
    pub fn admit(&mut self, now: Timestamp) -> Vec<K> {
        self.refill(now);
        let before = self.admitted.len();
        self.admitted
            .retain(|_, since| now.duration_since(*since) < ADMISSION);
        self.in_flight = self
            .in_flight
            .saturating_sub(u32::try_from(before - self.admitted.len()).unwrap_or(u32::MAX));
        let mut out = Vec::new();
        if self.paused(now).is_some() {
            // Let them come back and be told of the pause, so that each says so in its status.
            return self.line.drain();
        }
        while self.free(now) {
            let Some(key) = self.line.pop() else {
                break;
            };
            self.take();
            self.admitted.insert(key.clone(), now);
            out.push(key);
        }
        out
    }

    /// Does anybody stand in line?
    pub fn has_line(&self) -> bool {
        !self.line.is_empty()
    }

    /// Nothing held, nobody waiting, no pause: may be dropped.
    pub fn is_idle(&self, now: Timestamp) -> bool {
        self.in_flight == 0
            && self.line.is_empty()
            && self.admitted.is_empty()
            && self.paused(now).is_none()
            && !self.probes(now)
    }

    /// Takes a credential out of the line and gives its admission back.
    pub fn forget(&mut self, key: &K) {
        self.line.leave(key);
        if self.admitted.remove(key).is_some() {
            self.leave();
        }
    }

    fn free(&self, now: Timestamp) -> bool {
        let most = if self.probes(now) {
            1
        } else {
            self.max_in_flight
        };
        self.in_flight < most && self.tokens >= 1.0
    }

    fn probes(&self, now: Timestamp) -> bool {
        let since = |until: Timestamp| now.duration_since(until);
        self.probing && self.paused_until.is_some_and(|u| since(u) < PROBING)
    }

    fn take(&mut self) {
        self.tokens -= 1.0;
        self.in_flight += 1;
    }

    /// The bucket holds one second's worth.
    fn refill(&mut self, now: Timestamp) {
        let passed = now.duration_since(self.refilled).as_secs_f64();
        if passed > 0.0 {
            self.tokens = (self.tokens + passed * self.rate).min(self.rate);
            self.refilled = now;
        } else if passed < -1.0 && self.paused(now).is_none() {
            // The clock went back: do not wait for it to catch up.
            self.refilled = now;
        }
    }
}
