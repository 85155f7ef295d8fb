//! Who refers to what: from a Secret or an issuer to the credentials that depend on it. Synchronous and small, so
//! that a changed Secret finds its credentials without a scan.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::{
    api::{ApiCredential, ApiCredentialSpec, IssuerKind},
    credential::{Key, Proof, Seniority},
    oauth::{Grant, Need},
};

/// Namespace and name of a Secret.
pub(super) type SecretName = (String, String);
/// Kind, namespace (empty for cluster scope) and name of an issuer.
pub(super) type IssuerName = (IssuerKind, String, String);

#[derive(Clone, Debug, PartialEq)]
struct Entry {
    sources: BTreeSet<SecretName>,
    target: SecretName,
    issuer: Option<IssuerName>,
    seniority: Seniority,
}

/// The reverse index.
#[derive(Debug, Default)]
pub(super) struct Index {
    entries: HashMap<Key, Entry>,
    by_source: HashMap<SecretName, HashSet<Key>>,
    by_target: HashMap<SecretName, BTreeSet<(Seniority, Key)>>,
    by_issuer: HashMap<IssuerName, HashSet<Key>>,
}

impl Index {
    /// Takes an object in. Gives the other credentials that this concerns: those who named the target it left.
    pub(super) fn insert(&mut self, object: &ApiCredential) -> Vec<Key> {
        let namespace = object.metadata.namespace.clone().unwrap_or_default();
        let key = Key {
            namespace: namespace.clone(),
            name: object.metadata.name.clone().unwrap_or_default(),
        };
        let spec = &object.spec;
        let created = object
            .metadata
            .creation_timestamp
            .as_ref()
            .map(|t| t.0)
            .unwrap_or_default();
        let entry = Entry {
            sources: source_names(spec)
                .into_iter()
                .map(|name| (namespace.clone(), name))
                .collect(),
            target: (namespace.clone(), spec.target.secret_name.clone()),
            issuer: spec.issuer_ref.as_ref().map(|r| {
                let home = if r.kind == IssuerKind::TokenIssuer {
                    namespace
                } else {
                    String::new()
                };
                (r.kind, home, r.name.clone())
            }),
            seniority: (created, object.metadata.uid.clone().unwrap_or_default()),
        };
        if self.entries.get(&key) == Some(&entry) {
            return Vec::new();
        }
        let left = self.remove(&key);
        for source in &entry.sources {
            self.by_source
                .entry(source.clone())
                .or_default()
                .insert(key.clone());
        }
        self.by_target
            .entry(entry.target.clone())
            .or_default()
            .insert((entry.seniority.clone(), key.clone()));
        if let Some(issuer) = &entry.issuer {
            self.by_issuer
                .entry(issuer.clone())
                .or_default()
                .insert(key.clone());
        }
        self.entries.insert(key, entry);
        left
    }

    /// Takes an object out. Gives those who named the same target.
    pub(super) fn remove(&mut self, key: &Key) -> Vec<Key> {
        let Some(entry) = self.entries.remove(key) else {
            return Vec::new();
        };
        for source in &entry.sources {
            take(&mut self.by_source, source, key);
        }
        if let Some(issuer) = &entry.issuer {
            take(&mut self.by_issuer, issuer, key);
        }
        let Some(rivals) = self.by_target.get_mut(&entry.target) else {
            return Vec::new();
        };
        rivals.remove(&(entry.seniority, key.clone()));
        if rivals.is_empty() {
            self.by_target.remove(&entry.target);
            return Vec::new();
        }
        rivals.iter().map(|(_, k)| k.clone()).collect()
    }

    /// Those that are in the index and not among these.
    pub(super) fn beyond(&self, keep: &HashSet<Key>) -> Vec<Key> {
        self.entries
            .keys()
            .filter(|k| !keep.contains(k))
            .cloned()
            .collect()
    }

    /// Keeps only these; gives those whose rivals went.
    pub(super) fn retain(&mut self, keep: &HashSet<Key>) -> Vec<Key> {
        self.beyond(keep)
            .iter()
            .flat_map(|key| self.remove(key))
            .collect()
    }

    /// Credentials that read or write this Secret.
    pub(super) fn of_secret(&self, secret: &SecretName) -> Vec<Key> {
        let readers = self.by_source.get(secret).into_iter().flatten().cloned();
        let writers = self
            .by_target
            .get(secret)
            .into_iter()
            .flatten()
            .map(|(_, key)| key.clone());
        readers.chain(writers).collect()
    }

    /// Credentials that ask this issuer.
    pub(super) fn of_issuer(&self, issuer: &IssuerName) -> Vec<Key> {
        self.by_issuer
            .get(issuer)
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    }

    /// Credentials of a namespace that ask a cluster issuer, whose rules may look at the namespace's labels.
    pub(super) fn of_namespace(&self, namespace: &str) -> Vec<Key> {
        let cluster = |e: &Entry| {
            e.issuer
                .as_ref()
                .is_some_and(|i| i.0 == IssuerKind::ClusterTokenIssuer)
        };
        self.entries
            .iter()
            .filter(|(k, e)| k.namespace == namespace && cluster(e))
            .map(|(k, _)| k.clone())
            .collect()
    }

    /// Credentials of a namespace.
    pub(super) fn of_home(&self, namespace: &str) -> Vec<Key> {
        let keys = self.entries.keys();
        keys.filter(|k| k.namespace == namespace).cloned().collect()
    }

    /// An older credential that names the same target.
    pub(super) fn senior(&self, key: &Key) -> Option<String> {
        let entry = self.entries.get(key)?;
        let (_, first) = self.by_target.get(&entry.target)?.first()?;
        (first != key).then(|| first.name.clone())
    }
}

/// Names of the Secrets that a spec draws on. A spec that cannot be parsed is woken by its own change alone.
fn source_names(spec: &ApiCredentialSpec) -> BTreeSet<String> {
    let proof = Proof::parse(spec.client.as_ref()).map(|p| p.alternatives());
    let grant = Grant::parse(spec.grant.as_ref()).map(|g| g.needs());
    let companions = grant.unwrap_or_default();
    let companions = companions.iter().filter_map(Need::reference);
    proof
        .unwrap_or_default()
        .iter()
        .chain(companions)
        .map(|r| r.name.clone())
        .collect()
}

fn take<N: Clone + Eq + std::hash::Hash>(map: &mut HashMap<N, HashSet<Key>>, name: &N, key: &Key) {
    if let Some(keys) = map.get_mut(name) {
        keys.remove(key);
        if keys.is_empty() {
            map.remove(name);
        }
    }
}
