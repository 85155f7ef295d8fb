//! The `ApiClients` that are known.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex},
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use tokio::sync::Notify;

use super::{
    changes::covers,
    index::{IssuerName, SecretName},
    readable::{Flaw, Readable, identity},
};
use crate::controller::{locks::lock, rechecks::Rechecks};
use crate::{
    ConditionType,
    api::{ApiClient, ApiClientSpec, ApiClientStatus, IssuerKind, names},
    credential::{
        AuthenticationMethod, ClientLookup, Key, MAX_RENEW_REQUEST,
        annotations::{self, Place},
    },
    printable,
};

/// An `ApiClient`, trimmed to what is used of it.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::controller) struct CachedClient {
    /// Which object it is, and its generation.
    pub(in crate::controller) metadata: ObjectMeta,
    /// Its spec, or why this is not known.
    pub(in crate::controller) spec: Result<ApiClientSpec, Flaw>,
    pub(in crate::controller) status: Option<ApiClientStatus>,
    /// The rotation that somebody requested.
    pub(in crate::controller) rotate_requested: Option<String>,
    pub(in crate::controller) deleting: bool,
    /// What is to be said about annotations that have no effect.
    pub(in crate::controller) unread: Option<String>,
    /// Names of the Secrets by which it authenticates.
    sources: Box<[String]>,
    /// Name of the ServiceAccount by which it authenticates.
    account: Option<Box<str>>,
}

impl From<Readable<ApiClient>> for CachedClient {
    fn from(object: Readable<ApiClient>) -> Self {
        let generation = object.meta().generation;
        let metadata = ObjectMeta {
            generation,
            ..identity(object.meta())
        };
        let (rotate_requested, unread, deleting) = {
            let meta = object.meta();
            let noted = meta.annotations.as_ref();
            let requested = noted.and_then(|a| a.get(names::ROTATE_REQUESTED_AT));
            let cut = |v: &String| printable(v).chars().take(MAX_RENEW_REQUEST).collect();
            let keys = noted.into_iter().flat_map(BTreeMap::keys);
            let unread = annotations::unread(keys, Place::Client);
            let deleting = meta.deletion_timestamp.is_some();
            (requested.map(cut), unread, deleting)
        };
        let (spec, status) = match object.0 {
            Ok(object) => (Ok(object.spec), object.status),
            Err(unusable) => {
                let status = unusable.status.as_ref();
                let status = status.and_then(|s| serde_json::from_str(s.get()).ok());
                (Err(unusable.flaw), status)
            }
        };
        let authentication = spec.as_ref().ok();
        let authentication =
            authentication.and_then(|spec| AuthenticationMethod::parse(Some(&spec.client)).ok());
        let sources = authentication
            .as_ref()
            .map_or(Vec::new(), AuthenticationMethod::alternatives);
        let account = match authentication {
            Some(AuthenticationMethod::ServiceAccount(account)) => Some(account.name.into()),
            _ => None,
        };
        Self {
            metadata,
            spec,
            status,
            rotate_requested,
            deleting,
            unread,
            sources: sources.into_iter().map(|r| r.name).collect(),
            account,
        }
    }
}

impl CachedClient {
    /// Name of the first Secret by which it authenticates.
    pub(in crate::controller) fn source(&self) -> Option<&str> {
        self.sources.first().map(String::as_str)
    }

    /// Name of the `ApiCredential` whose token rotates its client credential.
    pub(in crate::controller) fn manager(&self) -> Option<&str> {
        let rotation = self.spec.as_ref().ok()?.rotation.as_ref()?;
        let manager = rotation.management_ref.as_ref();
        manager.map(|manager| manager.name.as_str())
    }

    /// Does it ask for what this one asks for? A status or a label is no change.
    fn is_as(&self, other: &Self) -> bool {
        self.metadata.uid == other.metadata.uid && self.spec == other.spec
    }

    /// Does it authenticate by a ServiceAccount?
    pub(in crate::controller) fn has_account(&self) -> bool {
        self.account.is_some()
    }

    /// The objects that its status depends on.
    fn needs(&self, home: &str) -> HashSet<Need> {
        let own = |name: &str| (home.to_owned(), name.to_owned());
        let secrets = self.sources.iter().map(|name| Need::Secret(own(name)));
        let account = self.account.iter().map(|name| Need::Account(own(name)));
        let spec = self.spec.as_ref().ok();
        let issuer = spec.and_then(|s| s.issuer_ref.as_ref()).map(|r| {
            let home = match r.kind {
                IssuerKind::TokenIssuer => home,
                IssuerKind::ClusterTokenIssuer => "",
            };
            Need::Issuer((r.kind, home.to_owned(), r.name.clone()))
        });
        secrets.chain(account).chain(issuer).collect()
    }
}

/// What is held of a Secret that was read for the check of a client: nothing of its values.
#[derive(Debug)]
pub(in crate::controller) struct Opened {
    /// Its name, UID, version, and what its owner allows.
    pub(in crate::controller) meta: ObjectMeta,
    /// Names of its keys.
    pub(in crate::controller) keys: HashSet<String>,
}

/// An object that a client depends on.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Need {
    /// Namespace and name of a Secret.
    Secret(SecretName),
    /// Namespace and name of a ServiceAccount.
    Account((String, String)),
    Issuer(IssuerName),
}

/// The clients, and which of them need an object.
#[derive(Default)]
struct Held {
    clients: HashMap<Key, Arc<CachedClient>>,
    by_need: HashMap<Need, HashSet<Key>>,
}

impl Held {
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

/// The clients that are known, and those whose status is to be checked.
#[derive(Default)]
pub(in crate::controller) struct Clients {
    held: Mutex<Held>,
    unchecked: Mutex<HashSet<Key>>,
    /// Those that changed while the first list of credentials was not complete: the credentials that it has named so far cannot
    /// be read yet. Locked with the index.
    unindexed: Mutex<HashSet<Key>>,
    /// Clients that are gone and that credentials still name: when both are deleted together, the token of a credential is
    /// revoked by the client as it was.
    gone: Mutex<HashMap<Key, Arc<CachedClient>>>,
    /// Those whose status could not be written, and is written again later.
    pub(in crate::controller) rechecks: Arc<Rechecks<Key>>,
    /// One is unchecked.
    pub(in crate::controller) raised: Notify,
    /// What was read of the Secrets by which a client authenticates, so that a Secret that did not change is not read again.
    pub(in crate::controller) opened: Mutex<HashMap<Key, Vec<Arc<Opened>>>>,
}

impl Clients {
    /// The client of this name.
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

    /// The same for a credential that is being deleted: a client that is gone meanwhile counts as it was.
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
                spec.map_or(ClientLookup::Missing, |spec| {
                    ClientLookup::Found(Box::new(spec.clone()))
                })
            }
            found => found,
        }
    }

    /// How many have a spec that is not known.
    pub(in crate::controller) fn unreadable(&self) -> usize {
        let held = lock(&self.held);
        held.clients.values().filter(|c| c.spec.is_err()).count()
    }

    /// How many have a rotation that is blocked, and a last one that failed.
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

    /// Has the status of these checked.
    pub(in crate::controller) fn check(&self, keys: impl IntoIterator<Item = Key>) {
        lock(&self.unchecked).extend(keys);
        self.raised.notify_one();
    }

    /// Those that are to be checked now.
    pub(in crate::controller) fn take_unchecked(&self) -> HashSet<Key> {
        std::mem::take(&mut *lock(&self.unchecked))
    }

    /// Checks those that authenticate by this Secret.
    pub(in crate::controller) fn check_source(&self, secret: &SecretName) {
        self.check_need(&Need::Secret(secret.clone()));
    }

    /// Checks those that are rotated with the token of this credential.
    pub(super) fn check_managed_by(&self, credential: &Key) {
        let name = Some(credential.name.as_str());
        self.check_those(|key, held| {
            key.namespace == credential.namespace && held.manager() == name
        });
    }

    /// Checks those that are registered at this issuer.
    pub(in crate::controller) fn check_issuer(&self, issuer: &IssuerName) {
        self.check_need(&Need::Issuer(issuer.clone()));
    }

    /// Checks those that authenticate by one of these ServiceAccounts; `None`: by any.
    pub(in crate::controller) fn check_accounts(&self, accounts: Option<&[(String, String)]>) {
        match accounts {
            Some(accounts) => {
                for account in accounts {
                    self.check_need(&Need::Account(account.clone()));
                }
            }
            None => self.check_those(|_, client| client.has_account()),
        }
    }

    /// Checks those of a namespace, or all if it is empty.
    pub(in crate::controller) fn check_home(&self, namespace: &str) {
        self.check_those(|key, _| covers(namespace, Some(&key.namespace)));
    }

    /// Checks those of these namespaces.
    pub(in crate::controller) fn check_homes(&self, namespaces: &[String]) {
        if !namespaces.is_empty() {
            let homes: HashSet<&str> = namespaces.iter().map(String::as_str).collect();
            self.check_those(|key, _| homes.contains(&*key.namespace));
        }
    }

    fn check_need(&self, need: &Need) {
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

    /// One changed while credentials were being listed.
    pub(super) fn mark_unindexed(&self, key: &Key) {
        lock(&self.unindexed).insert(key.clone());
    }

    /// Those that changed while credentials were being listed.
    pub(super) fn take_unindexed(&self) -> HashSet<Key> {
        std::mem::take(&mut *lock(&self.unindexed))
    }

    /// A status was written: it is what is in the cluster until the watch shows a newer one.
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

    /// Says whether it asks for something else than before.
    pub(super) fn put(&self, key: &Key, client: CachedClient) -> bool {
        let client = Arc::new(client);
        lock(&self.gone).remove(key);
        let known = lock(&self.held).put(key, Arc::clone(&client));
        known.is_none_or(|known| !known.is_as(&client))
    }

    /// One is gone. `named`: a credential names it.
    pub(super) fn remove(&self, key: &Key, named: bool) {
        let known = lock(&self.held).remove(key);
        if let Some(known) = known.filter(|_| named) {
            lock(&self.gone).insert(key.clone(), known);
        }
    }

    /// Forgets those that are gone and that no credential names any more.
    pub(super) fn forget_gone(&self, named: impl Fn(&Key) -> bool) {
        lock(&self.gone).retain(|key, _| named(key));
    }

    pub(super) fn clear(&self) {
        *lock(&self.held) = Held::default();
    }

    /// The metadata of those of a part of the cluster.
    pub(super) fn identities(&self, part: &str) -> Vec<ObjectMeta> {
        let held = lock(&self.held);
        let of_part = held.clients.iter();
        let of_part = of_part.filter(|(key, _)| covers(part, Some(&key.namespace)));
        of_part.map(|(_, c)| identity(&c.metadata)).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::controller::requeue::key_of;

    fn held(name: &str, spec: &Value, generation: i64) -> (Key, CachedClient) {
        let object = json!({
            "metadata": { "namespace": "secops", "name": name, "uid": "u", "generation": generation },
            "spec": spec,
        });
        let read = Readable::<ApiClient>::read(object.to_string().as_bytes()).unwrap();
        (key_of(&read), read.into())
    }

    fn spec(secret: &str) -> Value {
        json!({
            "issuerRef": { "kind": "ClusterTokenIssuer", "name": "contoso" },
            "id": "c", "secrets": [{ "name": secret, "key": "k" }],
        })
    }

    fn account(name: &str) -> Value {
        let entra = json!({ "tenantId": "contoso.example" });
        json!({ "entra": entra, "id": "c", "serviceAccount": { "name": name } })
    }

    fn unchecked(clients: &Clients) -> Vec<String> {
        let mut names: Vec<String> = clients
            .take_unchecked()
            .into_iter()
            .map(|k| k.name)
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_client_that_asks_for_the_same_is_no_change() {
        let clients = Clients::default();
        let (key, first) = held("a", &spec("s"), 1);
        assert!(clients.put(&key, first.clone()));
        assert!(!clients.put(&key, first));
        assert!(
            !clients.put(&key, held("a", &spec("s"), 2).1),
            "a status or a label"
        );
        assert!(clients.put(&key, held("a", &spec("t"), 3).1));
        assert!(matches!(
            clients.lookup("secops", "a"),
            ClientLookup::Found(_)
        ));
        assert!(
            matches!(clients.lookup("other", "a"), ClientLookup::Missing),
            "of its own namespace only"
        );
        let broken = held("a", &json!({ "id": 7 }), 4).1;
        assert!(clients.put(&key, broken));
        assert!(matches!(
            clients.lookup("secops", "a"),
            ClientLookup::Faulty(_)
        ));
        assert_eq!(clients.unreadable(), 1);
        clients.remove(&key, false);
        assert!(matches!(
            clients.lookup("secops", "a"),
            ClientLookup::Missing
        ));
        let held = lock(&clients.held);
        assert!(held.clients.is_empty() && held.by_need.is_empty());
    }

    #[test]
    fn a_client_that_is_gone_serves_what_is_being_deleted_as_long_as_it_is_named() {
        let clients = Clients::default();
        let leaving = || {
            matches!(
                clients.lookup_leaving("secops", "a"),
                ClientLookup::Found(_)
            )
        };
        let (key, client) = held("a", &spec("s"), 1);
        clients.put(&key, client.clone());
        assert!(leaving());
        clients.remove(&key, true);
        assert!(leaving());
        assert!(matches!(
            clients.lookup("secops", "a"),
            ClientLookup::Missing
        ));
        clients.forget_gone(|gone| *gone == key);
        assert!(leaving());
        clients.forget_gone(|_| false);
        assert!(!leaving());
        clients.put(&key, client.clone());
        clients.remove(&key, true);
        clients.put(&key, client);
        clients.remove(&key, false);
        assert!(!leaving(), "one of that name came and went");
    }

    #[test]
    fn a_credential_has_the_clients_checked_that_are_rotated_with_its_token() {
        let clients = Clients::default();
        let mut rotated = spec("s");
        rotated["rotation"] = json!({ "managementRef": { "name": "rotator" } });
        for (key, client) in [held("a", &rotated, 1), held("b", &spec("t"), 1)] {
            clients.put(&key, client);
        }
        clients.check_managed_by(&Key::new("secops", "rotator"));
        assert_eq!(unchecked(&clients), ["a"]);
        clients.check_managed_by(&Key::new("secops", "other"));
        clients.check_managed_by(&Key::new("other", "rotator"));
        assert!(unchecked(&clients).is_empty());
    }

    #[test]
    fn an_object_has_the_clients_that_need_it_checked_and_no_others() {
        let clients = Clients::default();
        let own = json!({ "issuerRef": { "kind": "TokenIssuer", "name": "contoso" }, "id": "c", "public": {} });
        for (key, client) in [
            held("a", &spec("s"), 1),
            held("b", &spec("t"), 1),
            held("own", &own, 1),
            held("account", &account("sync"), 1),
        ] {
            clients.put(&key, client);
        }
        assert_eq!(unchecked(&clients), [""; 0], "by the watch alone");
        let secret = |namespace: &str, name: &str| (namespace.to_owned(), name.to_owned());
        clients.check_source(&secret("secops", "s"));
        assert_eq!(unchecked(&clients), ["a"]);
        clients.check_source(&secret("other", "s"));
        clients.check_source(&secret("secops", "stranger"));
        assert!(unchecked(&clients).is_empty());
        let issuer = |kind, home: &str, name: &str| (kind, home.to_owned(), name.to_owned());
        clients.check_issuer(&issuer(IssuerKind::ClusterTokenIssuer, "", "contoso"));
        assert_eq!(unchecked(&clients), ["a", "b"]);
        clients.check_issuer(&issuer(IssuerKind::TokenIssuer, "secops", "contoso"));
        assert_eq!(unchecked(&clients), ["own"]);
        clients.check_issuer(&issuer(IssuerKind::TokenIssuer, "other", "contoso"));
        assert!(unchecked(&clients).is_empty());
        clients.check_accounts(Some(&[secret("secops", "s"), secret("secops", "sync")]));
        assert_eq!(unchecked(&clients), ["account"]);
        clients.check_accounts(None);
        assert_eq!(unchecked(&clients), ["account"]);
        // An edit that names another one.
        clients.put(&held("a", &spec("t"), 2).0, held("a", &spec("t"), 2).1);
        clients.check_source(&secret("secops", "s"));
        assert!(unchecked(&clients).is_empty());
        clients.check_source(&secret("secops", "t"));
        assert_eq!(unchecked(&clients), ["a", "b"]);
        clients.check_home("other");
        assert!(unchecked(&clients).is_empty());
        clients.check_home("secops");
        assert_eq!(unchecked(&clients), ["a", "account", "b", "own"]);
    }
}
