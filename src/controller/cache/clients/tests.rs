use serde_json::{Value, json};

use super::*;
use crate::{
    api::{ApiClient, IssuerKind},
    controller::{cache::readable::Readable, requeue::key_of},
};

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
fn a_client_with_the_same_request_is_no_change() {
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
fn the_last_good_certificate_of_a_client_that_rotates_has_it_checked() {
    let clients = Clients::default();
    let plain = json!({
        "issuerRef": { "kind": "ClusterTokenIssuer", "name": "contoso" },
        "id": "c", "certificates": [{ "secretName": "s" }],
    });
    let mut rotates = plain.clone();
    rotates["rotation"] = json!({});
    for (key, client) in [held("a", &rotates, 1), held("b", &plain, 1)] {
        clients.put(&key, client);
    }
    clients.check_source(&("secops".to_owned(), "s-last-good".to_owned()));
    assert_eq!(unchecked(&clients), ["a"]);
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
    // An edit that names another Secret.
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
