//! What is known of the cluster's Secrets: small facts of their metadata, never their data.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::index::SecretName;
use crate::publish::{
    DressKeys,
    ownership::{SecretFacts, examine},
};

/// A Secret as last seen.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seen {
    /// Its facts.
    pub(super) facts: SecretFacts,
    /// When it was seen to change, after the first list.
    pub(super) changed_at: Option<Timestamp>,
}

/// By namespace and name. Most Secrets of a cluster are none of ours, and there are many: each namespace's name is held
/// once, and what is known of one stands apart, so that an empty place of a map costs little and a list that is
/// received shares with the one before it what has not changed.
#[derive(Debug, Default)]
struct Map(HashMap<String, HashMap<Box<str>, Arc<Seen>>>);

impl Map {
    fn get(&self, (namespace, name): &SecretName) -> Option<&Arc<Seen>> {
        self.0.get(namespace)?.get(name.as_str())
    }

    fn insert(&mut self, (namespace, name): &SecretName, seen: Arc<Seen>) {
        let home = match self.0.get_mut(namespace) {
            Some(home) => home,
            None => self.0.entry(namespace.clone()).or_default(),
        };
        home.insert(name.as_str().into(), seen);
    }

    fn remove(&mut self, (namespace, name): &SecretName) {
        if let Some(home) = self.0.get_mut(namespace) {
            home.remove(name.as_str());
            if home.is_empty() {
                self.0.remove(namespace);
            }
        }
    }

    fn iter(&self) -> impl Iterator<Item = (SecretName, &Arc<Seen>)> {
        let named = |namespace: &String, name: &str| (namespace.clone(), name.to_owned());
        self.0
            .iter()
            .flat_map(move |(n, home)| home.iter().map(move |(k, seen)| (named(n, k), seen)))
    }
}

/// All Secrets of the cluster.
#[derive(Debug, Default)]
pub(super) struct Secrets {
    seen: Map,
    /// The list that is being received, until it is complete.
    incoming: Option<Map>,
    /// Own writes while a list was being received: the list may be older than they are.
    noted: HashSet<SecretName>,
    /// Own writes that are not answered yet, and the version that the watch has shown meanwhile.
    writing: HashMap<SecretName, Option<String>>,
    /// Keys of dresses, each kind once: nearly all Secrets wear the same.
    kinds: HashSet<Arc<DressKeys>>,
    listed: bool,
}

impl Secrets {
    /// Has a first list been received?
    pub(super) fn is_listed(&self) -> bool {
        self.listed
    }

    /// The Secret of that name.
    pub(super) fn get(&self, name: &SecretName) -> Option<&Seen> {
        self.seen.get(name).map(Arc::as_ref)
    }

    /// A new list begins.
    pub(super) fn begin(&mut self) {
        self.incoming = Some(Map::default());
        self.noted.clear();
    }

    /// An object of the list.
    pub(super) fn listed(&mut self, meta: &ObjectMeta) {
        if self.incoming.is_none() {
            return;
        }
        let name = name(meta);
        let same = |s: &&Arc<Seen>| Some(&s.facts.version) == meta.resource_version.as_ref();
        let seen = match self.seen.get(&name).filter(same) {
            Some(known) => Arc::clone(known),
            None => Arc::new(Seen {
                facts: self.facts(meta),
                changed_at: None,
            }),
        };
        if let Some(incoming) = &mut self.incoming {
            incoming.insert(&name, seen);
        }
    }

    /// The list is complete. Gives the Secrets that differ from what was known.
    pub(super) fn finish(&mut self, now: Timestamp) -> Vec<SecretName> {
        let Some(mut incoming) = self.incoming.take() else {
            return Vec::new();
        };
        for name in self.noted.drain() {
            let Some(own) = self.seen.get(&name) else {
                continue;
            };
            let listed = incoming
                .get(&name)
                .is_some_and(|l| !newer(&own.facts.version, &l.facts.version));
            if !listed {
                incoming.insert(&name, Arc::clone(own));
            }
        }
        let known = self.seen.iter().map(|(name, _)| name);
        let mut changed: Vec<SecretName> = known.filter(|n| incoming.get(n).is_none()).collect();
        let is_news = |(name, seen): &(SecretName, &Arc<Seen>)| {
            let known = self.seen.get(name);
            known.is_none_or(|s| s.facts.version != seen.facts.version)
        };
        let news: Vec<SecretName> = incoming.iter().filter(is_news).map(|(n, _)| n).collect();
        for name in &news {
            // At the first list nothing is known about when a Secret changed.
            if let (true, Some(seen)) = (self.listed, incoming.get(name)) {
                let mut seen = Seen::clone(seen);
                seen.changed_at = Some(now);
                incoming.insert(name, Arc::new(seen));
            }
        }
        changed.extend(news);
        self.listed = true;
        self.seen = incoming;
        // What nobody wears any more.
        self.kinds.retain(|kind| Arc::strong_count(kind) > 1);
        changed
    }

    /// An own write is on its way.
    pub(super) fn write_begins(&mut self, name: SecretName) {
        self.writing.insert(name, None);
    }

    /// It was answered or given up. Gives the version that the watch showed meanwhile, if any.
    pub(super) fn write_ends(&mut self, name: &SecretName) -> Option<String> {
        self.writing.remove(name).flatten()
    }

    /// A Secret was made or changed. Says whether that is news to act on: the echo of an own write is none, and what
    /// comes while one is on its way is told when it ends.
    pub(super) fn apply(&mut self, meta: &ObjectMeta, now: Timestamp) -> Option<SecretName> {
        let name = name(meta);
        let version = meta.resource_version.as_deref().unwrap_or_default();
        if let Some(old) = self.seen.get(&name)
            && Some(&old.facts.uid) == meta.uid.as_ref()
            && !newer(version, &old.facts.version)
        {
            return None;
        }
        let facts = self.facts(meta);
        if self.incoming.is_some() {
            self.noted.insert(name.clone());
        }
        let changed_at = Some(now);
        self.seen
            .insert(&name, Arc::new(Seen { facts, changed_at }));
        if let Some(shown) = self.writing.get_mut(&name) {
            *shown = Some(version.to_owned());
            return None;
        }
        Some(name)
    }

    /// A Secret is gone.
    pub(super) fn delete(&mut self, meta: &ObjectMeta) -> Option<SecretName> {
        let name = name(meta);
        // One of the same name may have been made and noted meanwhile.
        let same = self
            .seen
            .get(&name)
            .is_some_and(|s| Some(&s.facts.uid) == meta.uid.as_ref());
        same.then(|| {
            self.seen.remove(&name);
            name
        })
    }

    fn facts(&mut self, meta: &ObjectMeta) -> SecretFacts {
        let mut facts = examine(meta);
        if let Some(published) = &mut facts.published {
            let known = self.kinds.get(&published.dress_keys).map(Arc::clone);
            published.dress_keys = known.unwrap_or_else(|| {
                self.kinds.insert(Arc::clone(&published.dress_keys));
                Arc::clone(&published.dress_keys)
            });
        }
        facts
    }
}

fn name(meta: &ObjectMeta) -> SecretName {
    (
        meta.namespace.clone().unwrap_or_default(),
        meta.name.clone().unwrap_or_default(),
    )
}

/// Is version `a` later than `b`? Versions of one resource are numbers that only grow (KEP-5504); should one not
/// be a number, the later news wins.
pub(super) fn newer(a: &str, b: &str) -> bool {
    match (a.parse::<u64>(), b.parse::<u64>()) {
        (Ok(a), Ok(b)) => a > b,
        _ => a != b,
    }
}
