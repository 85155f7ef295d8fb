//! How many requests to issuers one namespace may have under way. Pure.
//!
//! A request holds a worker until it is answered, and issuers of one's own that never answer are easily had. So a
//! namespace may hold a quarter of the workers, and more only while half of them are free; and all requests to issuers of
//! namespaces, whose users choose addresses and limits themselves, hold three quarters of them at most.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    hash::Hash,
};

/// Who holds how many workers. `K` names a credential.
#[derive(Debug)]
pub struct Shares<K> {
    workers: u32,
    held: HashMap<String, u32>,
    total: u32,
    /// Of these, to issuers of namespaces.
    own: u32,
    parked: HashMap<String, VecDeque<(K, bool)>>,
    known: HashSet<K>,
}

impl<K: Clone + Eq + Hash> Shares<K> {
    /// Of so many workers.
    pub fn new(workers: u16) -> Self {
        Self {
            workers: u32::from(workers.max(1)),
            held: HashMap::new(),
            total: 0,
            own: 0,
            parked: HashMap::new(),
            known: HashSet::new(),
        }
    }

    /// May this one begin? If not it is parked, and [`Shares::give_back`] names it later. `own`: at an issuer of the
    /// namespace.
    pub fn may(&mut self, group: &str, key: &K, own: bool) -> bool {
        if self.has_room(group, own) {
            return true;
        }
        if self.known.insert(key.clone()) {
            let parked = self.parked.entry(group.to_owned()).or_default();
            parked.push_back((key.clone(), own));
        }
        false
    }

    /// One begins.
    pub fn take(&mut self, group: &str, own: bool) {
        *self.held.entry(group.to_owned()).or_default() += 1;
        self.total += 1;
        self.own += u32::from(own);
    }

    /// One has ended. Gives those who may come now.
    pub fn give_back(&mut self, group: &str, own: bool) -> Vec<K> {
        if let Some(held) = self.held.get_mut(group) {
            *held -= 1;
            self.total -= 1;
            self.own = self.own.saturating_sub(u32::from(own));
            if *held == 0 {
                self.held.remove(group);
            }
        }
        // One for one, of whoever waits; a worker that becomes free may serve another namespace.
        let groups: Vec<String> = self.parked.keys().cloned().collect();
        let mut called = Vec::new();
        for group in groups {
            let first = self.parked.get(&group).and_then(VecDeque::front);
            if !first.is_some_and(|(_, own)| self.has_room(&group, *own)) {
                continue;
            }
            let Some(parked) = self.parked.get_mut(&group) else {
                continue;
            };
            if let Some((key, _)) = parked.pop_front() {
                self.known.remove(&key);
                called.push(key);
            }
            if parked.is_empty() {
                self.parked.remove(&group);
            }
        }
        called
    }

    /// A credential is gone.
    pub fn forget(&mut self, key: &K) {
        if self.known.remove(key) {
            self.parked.retain(|_, parked| {
                parked.retain(|(k, _)| k != key);
                !parked.is_empty()
            });
        }
    }

    fn has_room(&self, group: &str, own: bool) -> bool {
        let held = self.held.get(group).copied().unwrap_or_default();
        let reserved = own && self.own >= (self.workers * 3 / 4).max(1);
        !reserved && (held < self.workers.div_ceil(4) || self.total < self.workers / 2)
    }
}
