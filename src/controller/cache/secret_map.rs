//! The known facts of each Secret, by namespace and name.

use std::{collections::HashMap, sync::Arc};

use jiff::Timestamp;

use super::{changes::covers, index::SecretName};
use crate::publish::ownership::SecretFacts;

/// A Secret as last observed.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::controller) struct Seen {
    /// Its facts.
    pub(in crate::controller) facts: SecretFacts,
    /// When a change was observed after the first list.
    pub(in crate::controller) changed_at: Option<Timestamp>,
}

/// By namespace and name. Most Secrets of a cluster do not belong to apicred, and there are many: the name of each namespace is
/// stored once. The facts of a Secret are stored separately, so that an empty slot of a map needs little memory, and a list
/// that is received shares the unchanged facts with the list before it.
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

    /// Replaces the Secrets of a part.
    pub(super) fn replace(&mut self, part: &str, new: Self) {
        self.0.retain(|namespace, _| !covers(part, Some(namespace)));
        self.0.extend(new.0);
    }

    /// The Secrets in a part of the cluster.
    pub(super) fn iter_of(&self, part: &str) -> impl Iterator<Item = (SecretName, &Arc<Seen>)> {
        let named = |namespace: &String, name: &str| (namespace.clone(), name.to_owned());
        self.0
            .iter()
            .filter(move |(namespace, _)| covers(part, Some(namespace)))
            .flat_map(move |(n, home)| home.iter().map(move |(k, seen)| (named(n, k), seen)))
    }
}
