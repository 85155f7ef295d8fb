//! Who of all credentials may ask now: how many requests are under way in the process, and how many of them for one
//! namespace. Pure.
//!
//! A request takes long, and issuers of one's own that never answer are easily had. So a namespace may hold a quarter
//! of the places, and more only while half of them are free; and requests to issuers of namespaces, whose users choose
//! addresses and limits themselves, hold three quarters of them at most. Who finds no place stands in a
//! [line](super::line), so that a new credential goes before those who renew in good time.

use std::{collections::HashMap, hash::Hash};

use jiff::{SignedDuration, Timestamp};

use super::line::{Line, Urgency, give_room_back};

/// How long a place is kept for one who was called. A credential that was deleted meanwhile never comes.
const CALLED: SignedDuration = SignedDuration::from_secs(5);

/// Who asks: the credential's namespace, and whether the issuer is one of the namespace.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Holder {
    /// The namespace.
    pub namespace: String,
    /// At an issuer of the namespace.
    pub own: bool,
}

/// Who holds how many places. `K` names a credential.
#[derive(Debug)]
pub struct Shares<K> {
    taken: Taken,
    line: Line<K>,
    /// Who stands in line at what.
    waiting: HashMap<K, Holder>,
    /// Places that are kept for those who were called.
    called: HashMap<K, (Holder, Timestamp)>,
}

impl<K: Clone + Eq + Hash + Ord> Shares<K> {
    /// Of so many places.
    pub fn new(places: u16) -> Self {
        Self {
            taken: Taken {
                places: u32::from(places.max(1)),
                held: HashMap::new(),
                total: 0,
                own: 0,
            },
            line: Line::new(),
            waiting: HashMap::new(),
            called: HashMap::new(),
        }
    }

    /// Takes a place, to be given back; or stands in line, until [`Shares::call`] names it.
    pub fn enter(&mut self, key: &K, holder: &Holder, urgency: Urgency, now: Timestamp) -> bool {
        if let Some((kept, _)) = self.called.remove(key) {
            if kept == *holder {
                return true;
            }
            self.give_back(&kept);
        }
        self.expire(now);
        if self.taken.has_room(holder) {
            self.leave(key);
            self.taken.add(holder);
            return true;
        }
        self.waiting.insert(key.clone(), holder.clone());
        self.line.stand(key, &holder.namespace, urgency);
        false
    }

    /// A place is free again. [`Shares::call`] follows.
    pub fn give_back(&mut self, holder: &Holder) {
        self.taken.remove(holder);
    }

    /// Those who may come now; a place is kept for each.
    pub fn call(&mut self, now: Timestamp) -> Vec<K> {
        self.expire(now);
        let mut called = Vec::new();
        while self.taken.total < self.taken.places {
            let (taken, waiting) = (&self.taken, &self.waiting);
            let may = |key: &K| waiting.get(key).is_none_or(|h| taken.has_room(h));
            let next = self.line.pop_where(may);
            let Some(key) = next else {
                break;
            };
            if let Some(holder) = self.waiting.remove(&key) {
                give_room_back(&mut self.waiting);
                self.taken.add(&holder);
                self.called.insert(key.clone(), (holder, now));
                called.push(key);
            }
        }
        called
    }

    /// How many wait for a place, or have been given one that they have not taken yet.
    pub fn len(&self) -> usize {
        self.waiting.len() + self.called.len()
    }

    /// Does nobody wait?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A credential is gone. [`Shares::call`] follows.
    pub fn forget(&mut self, key: &K) {
        self.leave(key);
        if let Some((holder, _)) = self.called.remove(key) {
            self.give_back(&holder);
        }
    }

    fn leave(&mut self, key: &K) {
        if self.waiting.remove(key).is_some() {
            give_room_back(&mut self.waiting);
            self.line.leave(key);
        }
    }

    fn expire(&mut self, now: Timestamp) {
        let late = |(_, since): &(Holder, Timestamp)| now.duration_since(*since) >= CALLED;
        if !self.called.values().any(late) {
            return;
        }
        let gone: Vec<K> = self
            .called
            .iter()
            .filter(|(_, kept)| late(kept))
            .map(|(key, _)| key.clone())
            .collect();
        for key in gone {
            if let Some((holder, _)) = self.called.remove(&key) {
                self.give_back(&holder);
            }
        }
    }
}

/// The places that are taken.
#[derive(Debug)]
struct Taken {
    places: u32,
    held: HashMap<String, u32>,
    total: u32,
    /// Of these, at issuers of namespaces.
    own: u32,
}

impl Taken {
    fn add(&mut self, holder: &Holder) {
        *self.held.entry(holder.namespace.clone()).or_default() += 1;
        self.total += 1;
        self.own += u32::from(holder.own);
    }

    fn remove(&mut self, holder: &Holder) {
        if let Some(held) = self.held.get_mut(&holder.namespace) {
            *held -= 1;
            self.total -= 1;
            self.own -= u32::from(holder.own);
            if *held == 0 {
                self.held.remove(&holder.namespace);
            }
        }
    }

    fn has_room(&self, holder: &Holder) -> bool {
        let held = self.held.get(&holder.namespace).copied();
        let within = held.unwrap_or_default() < self.places.div_ceil(4);
        let reserved = holder.own && self.own >= (self.places * 3 / 4).max(1);
        self.total < self.places && !reserved && (within || self.total < self.places / 2)
    }
}
