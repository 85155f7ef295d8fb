//! The known facts of each Secret, by namespace and name.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

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
pub(super) struct Map {
    pub(super) homes: HashMap<String, HashMap<Box<str>, Arc<Seen>>>,
    /// The few Secrets with values that rotations stored: each step of a rotation reads them.
    rotated: HashSet<SecretName>,
}

impl Map {
    pub(super) fn get(&self, (namespace, name): &SecretName) -> Option<&Arc<Seen>> {
        self.homes.get(namespace)?.get(name.as_str())
    }

    pub(super) fn insert(&mut self, full: &SecretName, seen: Arc<Seen>) {
        if seen.facts.rotated_until.is_some() {
            self.rotated.insert(full.clone());
        } else {
            self.rotated.remove(full);
        }
        let (namespace, name) = full;
        let home = match self.homes.get_mut(namespace) {
            Some(home) => home,
            None => self.homes.entry(namespace.clone()).or_default(),
        };
        home.insert(name.as_str().into(), seen);
    }

    pub(super) fn remove(&mut self, full: &SecretName) {
        self.rotated.remove(full);
        let (namespace, name) = full;
        if let Some(home) = self.homes.get_mut(namespace) {
            home.remove(name.as_str());
            if home.is_empty() {
                self.homes.remove(namespace);
            }
        }
    }

    /// Replaces the Secrets of a part.
    pub(super) fn replace(&mut self, part: &str, new: Self) {
        let other = |namespace: &String| !covers(part, Some(namespace));
        self.homes.retain(|namespace, _| other(namespace));
        self.homes.extend(new.homes);
        self.rotated.retain(|(namespace, _)| other(namespace));
        self.rotated.extend(new.rotated);
    }

    /// The Secrets with values that rotations stored.
    pub(super) fn rotated(&self) -> impl Iterator<Item = (&SecretName, &Arc<Seen>)> {
        let names = self.rotated.iter();
        names.filter_map(|name| Some((name, self.get(name)?)))
    }

    /// The Secrets in a part of the cluster.
    pub(super) fn iter_of(&self, part: &str) -> impl Iterator<Item = (SecretName, &Arc<Seen>)> {
        let named = |namespace: &String, name: &str| (namespace.clone(), name.to_owned());
        self.homes
            .iter()
            .filter(move |(namespace, _)| covers(part, Some(namespace)))
            .flat_map(move |(n, home)| home.iter().map(move |(k, seen)| (named(n, k), seen)))
    }
}
