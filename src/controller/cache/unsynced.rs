//! Namespaces whose first list of a kind is not complete.

use std::{collections::BTreeSet, sync::Mutex};

use crate::controller::{locks::lock, settings::Scope};

/// The kind that decisions about credentials do not wait for: a credential is decided about when it arrives.
const CREDENTIALS: &str = "credentials";

/// The kind that some decisions need of all namespaces.
const SECRETS: &str = "secrets";

/// Namespaces, and kinds that could not be listed in them yet. A decision in a namespace needs all these kinds.
pub(in crate::controller) struct Unsynced(Mutex<BTreeSet<(String, &'static str)>>);

impl Unsynced {
    /// The initial state. A watch of all namespaces is one list: nothing is decided before it is complete.
    pub(in crate::controller) fn new(scope: &Scope) -> Self {
        let names = scope.names().into_iter().flatten();
        let all = names.flat_map(|n| {
            [SECRETS, "tokenissuers", "apiclients", CREDENTIALS].map(|stream| (n.clone(), stream))
        });
        Self(Mutex::new(all.collect()))
    }

    /// Records that the first list of a kind in a namespace is complete.
    pub(in crate::controller) fn mark_synced(&self, stream: &'static str, namespace: &str) {
        lock(&self.0).remove(&(namespace.to_owned(), stream));
    }

    /// A kind that decisions about a credential need and that could not be listed in this namespace yet.
    pub(in crate::controller) fn first(&self, namespace: &str) -> Option<&'static str> {
        let unsynced = lock(&self.0);
        let mut of_it = unsynced
            .iter()
            .filter(|(n, stream)| n == namespace && *stream != CREDENTIALS);
        of_it.next().map(|(_, stream)| *stream)
    }

    /// Whether the Secrets of each namespace are listed. A decision about what another Secret may contain needs all of them.
    pub(in crate::controller) fn has_all_secrets(&self) -> bool {
        lock(&self.0).iter().all(|(_, stream)| *stream != SECRETS)
    }

    /// Whether the credentials of this namespace could not be listed yet.
    pub(in crate::controller) fn credentials(&self, namespace: &str) -> bool {
        lock(&self.0).contains(&(namespace.to_owned(), CREDENTIALS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_synced_kind_by_kind_and_no_credential_waits_for_the_others() {
        let names = ["a", "b"].map(str::to_owned).into();
        let unsynced = Unsynced::new(&Scope::Namespaces {
            names,
            cluster_issuers: false,
        });
        for stream in ["secrets", "tokenissuers", "apiclients"] {
            assert!(unsynced.first("a").is_some());
            unsynced.mark_synced(stream, "a");
        }
        assert_eq!(unsynced.first("a"), None);
        assert!(unsynced.credentials("a"), "they are not listed yet");
        unsynced.mark_synced("credentials", "a");
        assert!(!unsynced.credentials("a"));
        assert!(unsynced.credentials("b") && unsynced.first("b").is_some());
        assert!(!unsynced.has_all_secrets(), "those of b may be copies");
        unsynced.mark_synced("secrets", "b");
        assert!(unsynced.has_all_secrets() && unsynced.first("b").is_some());
        let all = Unsynced::new(&Scope::Cluster);
        assert!(!all.credentials("a") && all.first("a").is_none());
        assert!(all.has_all_secrets());
    }
}
