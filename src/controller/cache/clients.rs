//! The `ApiClients` that are known.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use tokio::sync::Notify;

use super::{
    changes::covers,
    index::IssuerName,
    readable::{Flaw, Readable, identity},
};
use crate::controller::locks::lock;
use crate::{
    api::{ApiClient, ApiClientSpec, ApiClientStatus, IssuerKind, names},
    credential::{ClientLookup, Key, MAX_RENEW_REQUEST, Proof},
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
    /// Names of the Secrets by which it authenticates.
    sources: Box<[String]>,
}

impl From<Readable<ApiClient>> for CachedClient {
    fn from(object: Readable<ApiClient>) -> Self {
        let generation = object.meta().generation;
        let metadata = ObjectMeta {
            generation,
            ..identity(object.meta())
        };
        let (rotate_requested, deleting) = {
            let meta = object.meta();
            let noted = meta.annotations.as_ref();
            let requested = noted.and_then(|a| a.get(names::ROTATE_REQUESTED_AT));
            let cut = |v: &String| printable(v).chars().take(MAX_RENEW_REQUEST).collect();
            (requested.map(cut), meta.deletion_timestamp.is_some())
        };
        let (spec, status) = match object.0 {
            Ok(object) => (Ok(object.spec), object.status),
            Err(unusable) => {
                let status = unusable.status.as_ref();
                let status = status.and_then(|s| serde_json::from_str(s.get()).ok());
                (Err(unusable.flaw), status)
            }
        };
        let proof = spec
            .as_ref()
            .ok()
            .map(|spec| Proof::parse(Some(&spec.client)));
        let sources = match proof {
            Some(Ok(proof)) => proof.alternatives(),
            _ => Vec::new(),
        };
        Self {
            metadata,
            spec,
            status,
            rotate_requested,
            deleting,
            sources: sources.into_iter().map(|r| r.name).collect(),
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

    fn is_at(&self, (kind, _, name): &IssuerName) -> bool {
        let spec = self.spec.as_ref().ok();
        let reference = spec.and_then(|s| s.issuer_ref.as_ref());
        reference.is_some_and(|r| r.kind == *kind && r.name == *name)
    }
}

/// By namespace, then by name: what a Secret concerns is sought among the few of its namespace.
pub(super) type Map = HashMap<String, HashMap<String, Arc<CachedClient>>>;

/// The clients that are known, and those whose status is to be checked.
#[derive(Default)]
pub(in crate::controller) struct Clients {
    pub(super) held: Mutex<Map>,
    unchecked: Mutex<HashSet<Key>>,
    /// Those whose status could not be written, and is written again later: one try at a time is planned for each.
    pub(in crate::controller) planned: Mutex<HashSet<Key>>,
    /// One is unchecked.
    pub(in crate::controller) raised: Notify,
}

impl Clients {
    /// The client of this name.
    pub(in crate::controller) fn get(&self, key: &Key) -> Option<Arc<CachedClient>> {
        let held = lock(&self.held);
        held.get(&key.namespace)?.get(&key.name).cloned()
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

    /// How many have a spec that is not known.
    pub(in crate::controller) fn unreadable(&self) -> usize {
        let held = lock(&self.held);
        let all = held.values().flat_map(HashMap::values);
        all.filter(|held| held.spec.is_err()).count()
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
    pub(in crate::controller) fn check_source(&self, (namespace, name): &(String, String)) {
        self.check_those(namespace, |held| held.sources.contains(name));
    }

    /// Checks those that are rotated with the token of this credential.
    pub(super) fn check_managed_by(&self, credential: &Key) {
        let name = Some(credential.name.as_str());
        self.check_those(&credential.namespace, |held| held.manager() == name);
    }

    /// Checks those that are registered at this issuer.
    pub(in crate::controller) fn check_issuer(&self, issuer: &IssuerName) {
        let home = match issuer.0 {
            IssuerKind::TokenIssuer => issuer.1.as_str(),
            IssuerKind::ClusterTokenIssuer => "",
        };
        self.check_those(home, |held| held.is_at(issuer));
    }

    /// Checks those of a namespace, or of all if it is empty.
    pub(in crate::controller) fn check_those(
        &self,
        namespace: &str,
        concerned: impl Fn(&CachedClient) -> bool,
    ) {
        let keys: Vec<Key> = {
            let held = lock(&self.held);
            let homes = held
                .iter()
                .filter(|(home, _)| covers(namespace, Some(home)));
            let all = homes.flat_map(|(home, clients)| clients.iter().map(move |c| (home, c)));
            let concerned = all.filter(|(_, (_, held))| concerned(held));
            concerned
                .map(|(home, (name, _))| Key::new(home, name))
                .collect()
        };
        if !keys.is_empty() {
            self.check(keys);
        }
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
        let held = held
            .get_mut(&key.namespace)
            .and_then(|home| home.get_mut(&key.name));
        if let Some(held) = held
            && held.metadata.resource_version == of.metadata.resource_version
        {
            let held = Arc::make_mut(held);
            held.metadata.resource_version = Some(version.to_owned());
            held.status = Some(status.clone());
        }
    }

    /// Says whether it asks for something else than before.
    pub(super) fn put(&self, key: &Key, client: CachedClient) -> bool {
        let mut held = lock(&self.held);
        let home = held.entry(key.namespace.clone()).or_default();
        let client = Arc::new(client);
        let known = home.insert(key.name.clone(), Arc::clone(&client));
        known.is_none_or(|known| !known.is_as(&client))
    }

    pub(super) fn remove(&self, key: &Key) {
        let mut held = lock(&self.held);
        if let Some(home) = held.get_mut(&key.namespace) {
            home.remove(&key.name);
            if home.is_empty() {
                held.remove(&key.namespace);
            }
        }
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
        clients.remove(&key);
        assert!(matches!(
            clients.lookup("secops", "a"),
            ClientLookup::Missing
        ));
        assert!(lock(&clients.held).is_empty());
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
    fn a_secret_or_an_issuer_has_the_clients_that_need_it_checked_and_no_others() {
        let clients = Clients::default();
        let own = json!({ "issuerRef": { "kind": "TokenIssuer", "name": "contoso" }, "id": "c", "public": {} });
        for (key, client) in [
            held("a", &spec("s"), 1),
            held("b", &spec("t"), 1),
            held("own", &own, 1),
        ] {
            clients.put(&key, client);
        }
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
    }
}
