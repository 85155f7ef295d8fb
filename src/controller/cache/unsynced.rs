//! Namespaces whose first list of a kind is not complete.

use std::{collections::BTreeSet, sync::Mutex};

use crate::controller::{locks::lock, settings::Scope};

/// Namespaces, and kinds that could not be listed in them yet. A decision in a namespace needs all of them.
pub(in crate::controller) struct Unsynced(Mutex<BTreeSet<(String, &'static str)>>);

impl Unsynced {
    /// At the start. A watch of all namespaces is one list: nothing is decided before it is complete.
    pub(in crate::controller) fn new(scope: &Scope) -> Self {
        let names = scope.names().into_iter().flatten();
        let all = names.flat_map(|n| {
            ["secrets", "tokenissuers", "apiclients"].map(|stream| (n.clone(), stream))
        });
        Self(Mutex::new(all.collect()))
    }

    /// A namespace has had its first list of a kind.
    pub(in crate::controller) fn mark_synced(&self, stream: &'static str, namespace: &str) {
        lock(&self.0).remove(&(namespace.to_owned(), stream));
    }

    /// A kind that could not be listed in this namespace yet.
    pub(in crate::controller) fn first(&self, namespace: &str) -> Option<&'static str> {
        let unsynced = lock(&self.0);
        let mut of_it = unsynced.iter().filter(|(n, _)| n == namespace);
        of_it.next().map(|(_, stream)| *stream)
    }
}
