//! What is known of the cluster's Secrets: small facts of their metadata, never their data.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::index::SecretName;
use crate::publish::ownership::{SecretFacts, examine};

/// A Secret as last seen.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seen {
    /// Its facts.
    pub(super) facts: SecretFacts,
    /// When it was seen to change, after the first list.
    pub(super) changed_at: Option<Timestamp>,
}

/// All Secrets of the cluster, by namespace and name.
#[derive(Debug, Default)]
pub(super) struct Secrets {
    seen: HashMap<SecretName, Seen>,
    /// The list that is being received, until it is complete.
    incoming: Option<HashMap<SecretName, Seen>>,
    /// Own writes while a list was being received: the list may be older than they are.
    noted: HashSet<SecretName>,
    listed: bool,
}

impl Secrets {
    /// Has a first list been received?
    pub(super) fn is_listed(&self) -> bool {
        self.listed
    }

    /// The Secret of that name.
    pub(super) fn get(&self, name: &SecretName) -> Option<&Seen> {
        self.seen.get(name)
    }

    /// A new list begins.
    pub(super) fn begin(&mut self) {
        self.incoming = Some(HashMap::new());
        self.noted.clear();
    }

    /// An object of the list.
    pub(super) fn listed(&mut self, meta: &ObjectMeta) {
        let facts = examine(meta);
        let name = name(meta);
        if let Some(incoming) = &mut self.incoming {
            let changed_at = self
                .seen
                .get(&name)
                .filter(|s| s.facts.version == facts.version)
                .and_then(|s| s.changed_at);
            incoming.insert(name, Seen { facts, changed_at });
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
                incoming.insert(name, own.clone());
            }
        }
        let mut changed: Vec<SecretName> = self
            .seen
            .keys()
            .filter(|n| !incoming.contains_key(*n))
            .cloned()
            .collect();
        for (name, seen) in &mut incoming {
            let known = self
                .seen
                .get(name)
                .is_some_and(|s| s.facts.version == seen.facts.version);
            if !known {
                // At the first list nothing is known about when a Secret changed.
                seen.changed_at = self.listed.then_some(now);
                changed.push(name.clone());
            }
        }
        self.listed = true;
        self.seen = incoming;
        changed
    }

    /// A Secret was made or changed. Says whether that is news: the echo of an own write is none.
    pub(super) fn apply(&mut self, meta: &ObjectMeta, now: Timestamp) -> Option<SecretName> {
        let name = name(meta);
        let facts = examine(meta);
        if let Some(old) = self.seen.get(&name)
            && old.facts.uid == facts.uid
            && !newer(&facts.version, &old.facts.version)
        {
            return None;
        }
        if self.incoming.is_some() {
            self.noted.insert(name.clone());
        }
        self.seen.insert(
            name.clone(),
            Seen {
                facts,
                changed_at: Some(now),
            },
        );
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
