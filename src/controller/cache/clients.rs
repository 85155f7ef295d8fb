//! The known `ApiClients`.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio::sync::Notify;

use super::{
    cached_client::{CachedClient, Dependency, Opened},
    changes::covers,
    index::{IssuerName, SecretName},
    readable::identity,
};
use crate::controller::{locks::lock, rechecks::Rechecks};
use crate::{
    ConditionType,
    api::ApiClientStatus,
    credential::{ClientLookup, Key},
};

/// The clients, and an index of the clients that need an object.
#[derive(Default)]
struct ClientIndex {
    clients: HashMap<Key, Arc<CachedClient>>,
    by_need: HashMap<Dependency, HashSet<Key>>,
}

impl ClientIndex {
    fn put(&mut self, key: &Key, client: Arc<CachedClient>) -> Option<Arc<CachedClient>> {
        let known = self.remove(key);
        for need in client.needs(&key.namespace) {
            self.by_need.entry(need).or_default().insert(key.clone());
        }
        self.clients.insert(key.clone(), client);
        known
    }

    fn remove(&mut self, key: &Key) -> Option<Arc<CachedClient>> {
        let known = self.clients.remove(key)?;
        for need in known.needs(&key.namespace) {
            if let Some(keys) = self.by_need.get_mut(&need) {
                keys.remove(key);
                if keys.is_empty() {
                    self.by_need.remove(&need);
                }
            }
        }
        Some(known)
    }
}

/// The known clients, and those whose status must be checked.
#[derive(Default)]
pub(in crate::controller) struct Clients {
    held: Mutex<ClientIndex>,
    unchecked: Mutex<HashSet<Key>>,
    /// Clients that changed before the first list of credentials was complete: the credentials that were listed so far cannot
    /// be read yet. Locked together with the index.
    unindexed: Mutex<HashSet<Key>>,
    /// Deleted clients that credentials still name: when both are deleted together, the token of a credential is revoked with the former client.
    gone: Mutex<HashMap<Key, Arc<CachedClient>>>,
    /// Clients whose status could not be written and is written again later.
    pub(in crate::controller) rechecks: Arc<Rechecks<Key>>,
    /// Notified when a client must be checked.
    pub(in crate::controller) raised: Notify,
    /// The content of the Secrets for the authentication of a client, so that an unchanged Secret is not read again.
    pub(in crate::controller) opened: Mutex<HashMap<Key, Vec<Arc<Opened>>>>,
}

impl Clients {
    /// The client with this name.
    pub(in crate::controller) fn get(&self, key: &Key) -> Option<Arc<CachedClient>> {
        lock(&self.held).clients.get(key).cloned()
    }

    /// The client that a credential of `namespace` names.
    pub(in crate::controller) fn lookup(&self, namespace: &str, name: &str) -> ClientLookup {
        let key = Key::new(namespace, name);
        match self.get(&key).as_deref().map(|held| &held.spec) {
            None => ClientLookup::Missing,
            Some(Ok(spec)) => ClientLookup::Found(Box::new(spec.clone())),
            Some(Err(flaw)) => ClientLookup::Faulty(vec![flaw.error()]),
        }
    }

    /// The same for a credential that is being deleted: a client that was deleted in the meantime is still used.
    pub(in crate::controller) fn lookup_leaving(
        &self,
        namespace: &str,
        name: &str,
    ) -> ClientLookup {
        match self.lookup(namespace, name) {
            ClientLookup::Missing => {
                let gone = lock(&self.gone);
                let spec = gone.get(&Key::new(namespace, name));
                let spec = spec.and_then(|gone| gone.spec.as_ref().ok());
                spec.map_or(ClientLookup::Deleted, |spec| {
                    ClientLookup::Found(Box::new(spec.clone()))
                })
            }
            found => found,
        }
    }

    /// The number of clients whose spec is not known.
    pub(in crate::controller) fn unreadable(&self) -> usize {
        let held = lock(&self.held);
        held.clients.values().filter(|c| c.spec.is_err()).count()
    }

    /// The number of clients with a blocked rotation, and the number with a failed last rotation.
    pub(in crate::controller) fn rotations_stopped(&self) -> [u64; 2] {
        let kinds = [
            ConditionType::RotationBlocked,
            ConditionType::RotationFailed,
        ];
        let held = lock(&self.held);
        let mut counts = [0; 2];
        for status in (held.clients.values()).filter_map(|client| client.status.as_ref()) {
            for (count, kind) in counts.iter_mut().zip(kinds) {
                *count += u64::from(kind.find(&status.conditions).is_some());
            }
        }
        counts
    }

    /// The start of each client's next rotation in Unix seconds, by namespace and name.
    pub(in crate::controller) fn next_rotations(&self) -> Vec<(Key, i64)> {
        let held = lock(&self.held);
        let next = |(key, client): (&Key, &Arc<CachedClient>)| {
            let at = client.status.as_ref()?.next_rotation_at.as_ref()?;
            Some((key.clone(), at.0.as_second()))
        };
        let mut all: Vec<_> = held.clients.iter().filter_map(next).collect();
        all.sort();
        all
    }

    /// Requests a check of the status of these clients.
    pub(in crate::controller) fn check(&self, keys: impl IntoIterator<Item = Key>) {
        lock(&self.unchecked).extend(keys);
        self.raised.notify_one();
    }

    /// The clients that must be checked now.
    pub(in crate::controller) fn take_unchecked(&self) -> HashSet<Key> {
        std::mem::take(&mut *lock(&self.unchecked))
    }

    /// Checks the clients that authenticate with this Secret.
    pub(in crate::controller) fn check_source(&self, secret: &SecretName) {
        self.check_need(&Dependency::Secret(secret.clone()));
    }

    /// Checks the clients that are rotated with the token of this credential.
    pub(super) fn check_managed_by(&self, credential: &Key) {
        let name = Some(credential.name.as_str());
        self.check_those(|key, held| {
            key.namespace == credential.namespace && held.manager() == name
        });
    }

    /// Checks the clients that are registered at this issuer.
    pub(in crate::controller) fn check_issuer(&self, issuer: &IssuerName) {
        self.check_need(&Dependency::Issuer(issuer.clone()));
    }

    /// Checks the clients that authenticate with one of these ServiceAccounts; `None`: with any ServiceAccount.
    pub(in crate::controller) fn check_accounts(&self, accounts: Option<&[(String, String)]>) {
        match accounts {
            Some(accounts) => {
                for account in accounts {
                    self.check_need(&Dependency::Account(account.clone()));
                }
            }
            None => self.check_those(|_, client| client.has_account()),
        }
    }

    /// Checks the clients of a namespace, or all clients if it is empty.
    pub(in crate::controller) fn check_home(&self, namespace: &str) {
        self.check_those(|key, _| covers(namespace, Some(&key.namespace)));
    }

    /// Checks the clients of these namespaces.
    pub(in crate::controller) fn check_homes(&self, namespaces: &[String]) {
        if !namespaces.is_empty() {
            let homes: HashSet<&str> = namespaces.iter().map(String::as_str).collect();
            self.check_those(|key, _| homes.contains(&*key.namespace));
        }
    }

    fn check_need(&self, need: &Dependency) {
        let concerned = lock(&self.held).by_need.get(need).cloned();
        if let Some(keys) = concerned {
            self.check(keys);
        }
    }

    fn check_those(&self, concerned: impl Fn(&Key, &CachedClient) -> bool) {
        let keys: Vec<Key> = {
            let held = lock(&self.held);
            let concerned = held.clients.iter().filter(|(key, c)| concerned(key, c));
            concerned.map(|(key, _)| key.clone()).collect()
        };
        if !keys.is_empty() {
            self.check(keys);
        }
    }

    /// Records that a client changed while credentials were being listed.
    pub(super) fn mark_unindexed(&self, key: &Key) {
        lock(&self.unindexed).insert(key.clone());
    }

    /// The clients that changed while credentials were being listed.
    pub(super) fn take_unindexed(&self) -> HashSet<Key> {
        std::mem::take(&mut *lock(&self.unindexed))
    }

    /// Records a written status: it is the current one until the watch delivers a newer one.
    pub(in crate::controller) fn wrote(
        &self,
        key: &Key,
        of: &CachedClient,
        version: &str,
        status: &ApiClientStatus,
    ) {
        let mut held = lock(&self.held);
        if let Some(held) = held.clients.get_mut(key)
            && held.metadata.resource_version == of.metadata.resource_version
        {
            let held = Arc::make_mut(held);
            held.metadata.resource_version = Some(version.to_owned());
            held.status = Some(status.clone());
        }
    }

    /// Stores a client. Returns true if its request changed.
    pub(super) fn put(&self, key: &Key, client: CachedClient) -> bool {
        let client = Arc::new(client);
        lock(&self.gone).remove(key);
        let known = lock(&self.held).put(key, Arc::clone(&client));
        known.is_none_or(|known| !known.is_as(&client))
    }

    /// Removes a deleted client. `named`: a credential names it.
    pub(super) fn remove(&self, key: &Key, named: bool) {
        let known = lock(&self.held).remove(key);
        if let Some(known) = known.filter(|_| named) {
            lock(&self.gone).insert(key.clone(), known);
        }
    }

    /// Removes the deleted clients that no credential names any more.
    pub(in crate::controller) fn forget_gone(&self, named: impl Fn(&Key) -> bool) {
        lock(&self.gone).retain(|key, _| named(key));
    }

    pub(super) fn clear(&self) {
        *lock(&self.held) = ClientIndex::default();
    }

    /// The metadata of the clients in a part of the cluster.
    pub(super) fn identities(&self, part: &str) -> Vec<ObjectMeta> {
        let held = lock(&self.held);
        let of_part = held.clients.iter();
        let of_part = of_part.filter(|(key, _)| covers(part, Some(&key.namespace)));
        of_part.map(|(_, c)| identity(&c.metadata)).collect()
    }
}

#[cfg(test)]
mod tests;
