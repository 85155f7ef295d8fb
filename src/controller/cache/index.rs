//! References from a Secret or an issuer to the credentials that depend on it. With them, the credentials of a changed Secret
//! are found without a scan.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use crate::{
    api::{ApiCredential, ApiCredentialSpec, IssuerKind},
    credential::{AuthenticationMethod, Key, Seniority},
    oauth::{Grant, RequiredInput},
};

/// Namespace and name of a Secret.
pub(in crate::controller) type SecretName = (String, String);
/// Kind, namespace (empty for cluster scope) and name of an issuer.
pub(in crate::controller) type IssuerName = (IssuerKind, String, String);

/// One credential. There are ten thousand of them, so names that several credentials share are stored once.
#[derive(Debug, PartialEq)]
struct Entry {
    /// Names of Secrets in its namespace.
    sources: Box<[String]>,
    /// Names of ServiceAccounts in its namespace.
    accounts: Box<[String]>,
    /// Name of its target.
    target: Arc<str>,
    issuer: Option<Arc<IssuerName>>,
    /// Name of an `ApiClient` in its namespace.
    client: Option<Box<str>>,
    seniority: Seniority,
}

/// The credentials that name one target, the oldest first.
type Rivals = Vec<(Seniority, Arc<Key>)>;

/// The reverse index.
#[derive(Debug, Default)]
pub(in crate::controller) struct Index {
    entries: HashMap<Arc<Key>, Entry>,
    by_source: HashMap<SecretName, HashSet<Arc<Key>>>,
    /// By namespace and name of the ServiceAccount.
    by_account: HashMap<(String, String), HashSet<Arc<Key>>>,
    /// By namespace and name.
    by_target: HashMap<String, HashMap<Arc<str>, Rivals>>,
    by_issuer: HashMap<Arc<IssuerName>, HashSet<Arc<Key>>>,
    by_client: HashMap<Key, HashSet<Arc<Key>>>,
}

impl Index {
    /// The number of credentials in the index.
    pub(in crate::controller) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The issuer that a credential refers to, and the name of its target.
    pub(in crate::controller) fn issuer_and_target(
        &self,
        key: &Key,
    ) -> (Option<&IssuerName>, &str) {
        let entry = self.entries.get(key);
        let issuer = entry.and_then(|entry| entry.issuer.as_deref());
        (issuer, entry.map_or("", |entry| &entry.target))
    }

    /// Adds an object with its inline client and the name of its `ApiClient`. Returns the other credentials that this affects:
    /// those that name the former target of this object.
    pub(in crate::controller) fn insert(
        &mut self,
        object: &ApiCredential,
        client: Option<&str>,
    ) -> Vec<Key> {
        let namespace = object.metadata.namespace.clone().unwrap_or_default();
        let key = Key::new(
            namespace.clone(),
            object.metadata.name.clone().unwrap_or_default(),
        );
        let entry = self.entry(object, &namespace, client);
        if self.entries.get(&key) == Some(&entry) {
            return Vec::new();
        }
        let left = self.remove(&key);
        let key = Arc::new(key);
        for source in &entry.sources {
            self.by_source
                .entry((namespace.clone(), source.clone()))
                .or_default()
                .insert(Arc::clone(&key));
        }
        for account in &entry.accounts {
            self.by_account
                .entry((namespace.clone(), account.clone()))
                .or_default()
                .insert(Arc::clone(&key));
        }
        if let Some(client) = &entry.client {
            let client = Key::new(namespace.as_str(), &**client);
            let named = self.by_client.entry(client).or_default();
            named.insert(Arc::clone(&key));
        }
        let rivals = self
            .by_target
            .entry(namespace)
            .or_default()
            .entry(Arc::clone(&entry.target))
            .or_insert_with(|| Vec::with_capacity(1));
        let place = (entry.seniority.clone(), Arc::clone(&key));
        let at = rivals.partition_point(|rival| *rival < place);
        rivals.insert(at, place);
        if let Some(issuer) = &entry.issuer {
            self.by_issuer
                .entry(Arc::clone(issuer))
                .or_default()
                .insert(Arc::clone(&key));
        }
        self.entries.insert(key, entry);
        left
    }

    /// The entry of an object in the index.
    fn entry(&self, object: &ApiCredential, namespace: &str, client: Option<&str>) -> Entry {
        let spec = &object.spec;
        let created = object
            .metadata
            .creation_timestamp
            .as_ref()
            .map(|t| t.0)
            .unwrap_or_default();
        let issuer = spec.issuer_ref.as_ref().map(|r| {
            let home = if r.kind == IssuerKind::TokenIssuer {
                namespace.to_owned()
            } else {
                String::new()
            };
            let name = Arc::new((r.kind, home, r.name.clone()));
            let known = self.by_issuer.get_key_value(&name);
            known.map_or(name, |(known, _)| Arc::clone(known))
        });
        Entry {
            sources: source_names(spec),
            accounts: account_names(spec),
            target: spec.target.secret_name.as_str().into(),
            issuer,
            client: client.map(Into::into),
            seniority: (
                created,
                object.metadata.uid.as_deref().unwrap_or_default().into(),
            ),
        }
    }

    /// Removes an object. Returns the credentials that name the same target.
    pub(in crate::controller) fn remove(&mut self, key: &Key) -> Vec<Key> {
        let Some(entry) = self.entries.remove(key) else {
            return Vec::new();
        };
        let here = |name: String| (key.namespace.clone(), name);
        for source in entry.sources {
            take(&mut self.by_source, &here(source), key);
        }
        for account in entry.accounts {
            take(&mut self.by_account, &here(account), key);
        }
        if let Some(issuer) = &entry.issuer {
            take(&mut self.by_issuer, issuer, key);
        }
        if let Some(client) = &entry.client {
            take(
                &mut self.by_client,
                &Key::new(key.namespace.as_str(), &**client),
                key,
            );
        }
        let Some(home) = self.by_target.get_mut(&key.namespace) else {
            return Vec::new();
        };
        let Some(rivals) = home.get_mut(&entry.target) else {
            return Vec::new();
        };
        rivals.retain(|(_, rival)| **rival != *key);
        let left = rivals.iter().map(|(_, k)| Key::clone(k)).collect();
        if rivals.is_empty() {
            home.remove(&entry.target);
            if home.is_empty() {
                self.by_target.remove(&key.namespace);
            }
        }
        left
    }

    /// Removes all other credentials; returns those that named the same target as a removed one.
    pub(in crate::controller) fn retain(&mut self, keep: &HashSet<Key>) -> Vec<Key> {
        let beyond = self.entries.keys().filter(|k| !keep.contains(k.as_ref()));
        let beyond: Vec<Arc<Key>> = beyond.cloned().collect();
        beyond.iter().flat_map(|key| self.remove(key)).collect()
    }

    /// Credentials that read or write this Secret.
    pub(in crate::controller) fn of_secret(&self, secret: &SecretName) -> Vec<Key> {
        let readers = self.by_source.get(secret).into_iter().flatten();
        let (namespace, name) = secret;
        let home = self.by_target.get(namespace);
        let writers = home.and_then(|home| home.get(name.as_str()));
        readers
            .chain(writers.into_iter().flatten().map(|(_, key)| key))
            .map(|k| Key::clone(k))
            .collect()
    }

    /// Credentials that need this ServiceAccount.
    pub(in crate::controller) fn of_account(&self, account: &(String, String)) -> Vec<Key> {
        let keys = self.by_account.get(account).into_iter().flatten();
        keys.map(|k| Key::clone(k)).collect()
    }

    /// Credentials that need a ServiceAccount.
    pub(in crate::controller) fn with_accounts(&self) -> Vec<Key> {
        let keys = self.by_account.values().flatten();
        keys.map(|k| Key::clone(k)).collect()
    }

    /// Whether any credential needs a ServiceAccount.
    pub(in crate::controller) fn has_accounts(&self) -> bool {
        !self.by_account.is_empty()
    }

    /// Credentials of this issuer.
    pub(in crate::controller) fn of_issuer(&self, issuer: &IssuerName) -> Vec<Key> {
        let keys = self.by_issuer.get(issuer).into_iter().flatten();
        keys.map(|k| Key::clone(k)).collect()
    }

    /// Whether a credential refers to this issuer.
    pub(in crate::controller) fn names_issuer(&self, issuer: &IssuerName) -> bool {
        self.by_issuer.contains_key(issuer)
    }

    /// Credentials that name this client.
    pub(in crate::controller) fn of_client(&self, client: &Key) -> Vec<Key> {
        let keys = self.by_client.get(client).into_iter().flatten();
        keys.map(|k| Key::clone(k)).collect()
    }

    /// Whether a credential names this client.
    pub(in crate::controller) fn names_client(&self, client: &Key) -> bool {
        self.by_client.contains_key(client)
    }

    /// Credentials of a namespace with a `ClusterTokenIssuer`, whose rules may use the namespace's labels.
    pub(in crate::controller) fn of_namespace(&self, namespace: &str) -> Vec<Key> {
        let cluster = |e: &Entry| {
            e.issuer
                .as_ref()
                .is_some_and(|i| i.0 == IssuerKind::ClusterTokenIssuer)
        };
        self.entries
            .iter()
            .filter(|(k, e)| k.namespace == namespace && cluster(e))
            .map(|(k, _)| Key::clone(k))
            .collect()
    }

    /// Credentials of a namespace.
    pub(in crate::controller) fn of_home(&self, namespace: &str) -> Vec<Key> {
        let keys = self.entries.keys().filter(|k| k.namespace == namespace);
        keys.map(|k| Key::clone(k)).collect()
    }

    /// An older credential that names the same target.
    pub(in crate::controller) fn senior(&self, key: &Key) -> Option<String> {
        let entry = self.entries.get(key)?;
        let rivals = self.by_target.get(&key.namespace)?.get(&entry.target)?;
        let (_, first) = rivals.first()?;
        (**first != *key).then(|| first.name.clone())
    }
}

/// Names of the Secrets that a spec needs. A credential whose spec cannot be parsed is triggered only by its own change.
fn source_names(spec: &ApiCredentialSpec) -> Box<[String]> {
    let authentication =
        AuthenticationMethod::parse(spec.client.as_ref()).unwrap_or(AuthenticationMethod::Absent);
    let copies = authentication.copies().into_iter().map(|c| c.copy.name);
    let grant = Grant::parse(spec.grant.as_deref()).map(|g| g.needs());
    let grant_sources = grant.unwrap_or_default();
    let static_key = spec.static_key.iter().map(|key| &key.token_ref);
    let grant_sources = grant_sources.iter().filter_map(RequiredInput::reference);
    let mut names: Vec<String> = authentication
        .alternatives()
        .iter()
        .chain(grant_sources)
        .chain(static_key)
        .chain(spec.parameter_secrets())
        .map(|r| r.name.clone())
        .chain(copies)
        .collect();
    names.sort_unstable();
    names.dedup();
    names.into()
}

/// Names of the ServiceAccounts that a spec uses.
fn account_names(spec: &ApiCredentialSpec) -> Box<[String]> {
    let authentication =
        AuthenticationMethod::parse(spec.client.as_ref()).unwrap_or(AuthenticationMethod::Absent);
    let needs = Grant::parse(spec.grant.as_deref()).map(|g| g.needs());
    crate::controller::cache::service_accounts::of(&authentication, &needs.unwrap_or_default())
        .into()
}

fn take<N: Eq + std::hash::Hash>(map: &mut HashMap<N, HashSet<Arc<Key>>>, name: &N, key: &Key) {
    if let Some(keys) = map.get_mut(name) {
        keys.remove(key);
        if keys.is_empty() {
            map.remove(name);
        }
    }
}
