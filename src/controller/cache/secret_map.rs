//! What is known of each Secret, by namespace and name.

use std::{collections::HashMap, sync::Arc};

use jiff::Timestamp;

use super::{changes::covers, index::SecretName};
use crate::publish::ownership::SecretFacts;

/// A Secret as last seen.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::controller) struct Seen {
    /// Its facts.
    pub(in crate::controller) facts: SecretFacts,
    /// When it was seen to change, after the first list.
    pub(in crate::controller) changed_at: Option<Timestamp>,
}

/// By namespace and name. Most Secrets of a cluster are none of ours, and there are many: each namespace's name is held
/// once, and what is known of one stands apart, so that an empty place of a map costs little and a list that is
/// received shares with the one before it what has not changed.
#[derive(Debug, Default)]
pub(super) struct Map(pub(super) HashMap<String, HashMap<Box<str>, Arc<Seen>>>);

impl Map {
    pub(super) fn get(&self, (namespace, name): &SecretName) -> Option<&Arc<Seen>> {
        self.0.get(namespace)?.get(name.as_str())
    }

    pub(super) fn insert(&mut self, (namespace, name): &SecretName, seen: Arc<Seen>) {
        let home = match self.0.get_mut(namespace) {
            Some(home) => home,
            None => self.0.entry(namespace.clone()).or_default(),
        };
        home.insert(name.as_str().into(), seen);
    }

    pub(super) fn remove(&mut self, (namespace, name): &SecretName) {
        if let Some(home) = self.0.get_mut(namespace) {
            home.remove(name.as_str());
            if home.is_empty() {
                self.0.remove(namespace);
            }
        }
    }

    /// Puts what a part has in place of what it had.
    pub(super) fn replace(&mut self, part: &str, new: Self) {
        self.0.retain(|namespace, _| !covers(part, Some(namespace)));
        self.0.extend(new.0);
    }

    /// Those of a part of the cluster.
    pub(super) fn iter_of(&self, part: &str) -> impl Iterator<Item = (SecretName, &Arc<Seen>)> {
        let named = |namespace: &String, name: &str| (namespace.clone(), name.to_owned());
        self.0
            .iter()
            .filter(move |(namespace, _)| covers(part, Some(namespace)))
            .flat_map(move |(n, home)| home.iter().map(move |(k, seen)| (named(n, k), seen)))
    }
}
