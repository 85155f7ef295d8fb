use std::collections::{BTreeSet, HashSet};

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    api::{ApiCredential, IssuerKind},
    controller::cache::index::Index,
    credential::Key,
    fixtures::object,
};

fn key(name: &str) -> Key {
    Key {
        namespace: "secops".to_owned(),
        name: name.to_owned(),
    }
}

fn secret(name: &str) -> (String, String) {
    ("secops".to_owned(), name.to_owned())
}

/// A credential with this name and this creation time in seconds, with a change of its spec.
fn credential(name: &str, born: i64, change: &Value) -> ApiCredential {
    let mut object = object(change);
    object.metadata.name = Some(name.to_owned());
    object.metadata.uid = Some(format!("uid-{name}"));
    let time = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(crate::fixtures::at(born));
    object.metadata.creation_timestamp = Some(time);
    object
}

fn insert(index: &mut Index, object: &ApiCredential) -> Vec<Key> {
    index.insert(object, None)
}

fn target(name: &str) -> Value {
    json!({ "target": { "secretName": name } })
}

fn names(keys: Vec<Key>) -> BTreeSet<String> {
    keys.into_iter().map(|k| k.name).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}

#[test]
fn a_secret_finds_its_readers_and_its_writer() {
    let mut index = Index::default();
    insert(
        &mut index,
        &credential(
            "a",
            0,
            &json!({
                "client": { "secrets": [{ "name": "s1", "key": "k" }, { "name": "s2", "key": "k" }] }, "target": { "secretName": "t-a" }
            }),
        ),
    );
    insert(
        &mut index,
        &credential(
            "b",
            0,
            &json!({
                "client": { "secrets": [{ "name": "s2", "key": "k" }, { "name": "s2", "key": "k2" }] }, "target": { "secretName": "t-b" }
            }),
        ),
    );
    assert_eq!(names(index.of_secret(&secret("s1"))), set(&["a"]));
    assert_eq!(names(index.of_secret(&secret("s2"))), set(&["a", "b"]));
    assert_eq!(names(index.of_secret(&secret("t-b"))), set(&["b"]));
    assert!(index.of_secret(&secret("stranger")).is_empty());
    // Values of parameters, of the request and of an extension grant.
    let value = |name: &str| json!([{ "name": "p", "secretRef": { "name": name, "key": "k" } }]);
    let grant = json!({ "extension": { "grantType": "urn:x:y", "parameters": value("s3") } });
    let change = json!({ "grant": grant, "parameters": [{ "name": "q", "secretRef": { "name": "s4", "key": "k" } }] });
    insert(&mut index, &credential("p", 0, &change));
    for source in ["s3", "s4"] {
        assert_eq!(names(index.of_secret(&secret(source))), set(&["p"]));
    }
    assert!(!index.has_accounts());
    assert!(
        index
            .of_secret(&("other".to_owned(), "s1".to_owned()))
            .is_empty(),
        "of its own namespace only"
    );
}

#[test]
fn a_service_account_maps_to_its_credentials() {
    let mut index = Index::default();
    let account = json!({ "serviceAccount": { "name": "sync" } });
    let mut client = account.clone();
    client["secrets"] = Value::Null;
    insert(
        &mut index,
        &credential("a", 0, &json!({ "client": client })),
    );
    let exchange = json!({ "tokenExchange": { "subject": account } });
    insert(
        &mut index,
        &credential("b", 0, &json!({ "grant": exchange })),
    );
    insert(&mut index, &credential("c", 0, &json!({})));
    assert_eq!(names(index.of_account(&secret("sync"))), set(&["a", "b"]));
    assert_eq!(names(index.with_accounts()), set(&["a", "b"]));
    let elsewhere = ("other".to_owned(), "sync".to_owned());
    assert!(index.of_account(&elsewhere).is_empty());
    for name in ["a", "b"] {
        assert!(index.has_accounts());
        index.remove(&key(name));
    }
    assert!(!index.has_accounts());
}

#[test]
fn an_issuer_finds_its_credentials_and_a_namespace_those_at_cluster_issuers() {
    let mut index = Index::default();
    let local = json!({ "issuerRef": { "kind": "TokenIssuer", "name": "contoso" }, "target": { "secretName": "t2" } });
    let inline = json!({ "issuerRef": null, "entra": { "tenantId": "t" }, "target": { "secretName": "t3" } });
    insert(&mut index, &credential("cluster", 0, &json!({})));
    insert(&mut index, &credential("local", 0, &local));
    insert(&mut index, &credential("inline", 0, &inline));
    let cluster = (
        IssuerKind::ClusterTokenIssuer,
        String::new(),
        "contoso".to_owned(),
    );
    let namespaced = (
        IssuerKind::TokenIssuer,
        "secops".to_owned(),
        "contoso".to_owned(),
    );
    assert_eq!(names(index.of_issuer(&cluster)), set(&["cluster"]));
    assert_eq!(names(index.of_issuer(&namespaced)), set(&["local"]));
    assert_eq!(names(index.of_namespace("secops")), set(&["cluster"]));
    assert!(index.of_namespace("other").is_empty());
}

#[test]
fn the_oldest_is_senior_and_equal_ages_go_by_uid() {
    let mut index = Index::default();
    insert(&mut index, &credential("b", 5, &json!({})));
    assert_eq!(index.senior(&key("b")), None, "nobody is junior alone");
    insert(&mut index, &credential("c", 9, &json!({})));
    insert(&mut index, &credential("a", 5, &json!({})));
    assert_eq!(index.senior(&key("a")), None);
    assert_eq!(index.senior(&key("b")).as_deref(), Some("a"));
    assert_eq!(index.senior(&key("c")).as_deref(), Some("a"));
    assert_eq!(index.senior(&key("unknown")), None);
}

#[test]
fn the_others_are_triggered_when_a_target_becomes_free() {
    let mut index = Index::default();
    assert!(insert(&mut index, &credential("old", 1, &json!({}))).is_empty());
    insert(&mut index, &credential("young", 2, &json!({})));
    insert(
        &mut index,
        &credential("bystander", 0, &target("elsewhere")),
    );
    // By naming another target ...
    assert_eq!(
        names(insert(
            &mut index,
            &credential("old", 1, &target("new-place"))
        )),
        set(&["young"])
    );
    assert_eq!(index.senior(&key("young")), None);
    assert!(
        index
            .of_secret(&secret("alerts-token"))
            .contains(&key("young"))
    );
    assert!(
        !index
            .of_secret(&secret("alerts-token"))
            .contains(&key("old"))
    );
    // ... and by its deletion.
    insert(&mut index, &credential("old", 1, &json!({})));
    assert_eq!(index.senior(&key("young")).as_deref(), Some("old"));
    assert_eq!(names(index.remove(&key("old"))), set(&["young"]));
    assert_eq!(index.senior(&key("young")), None);
    assert!(index.remove(&key("old")).is_empty(), "gone is gone");
}

#[test]
fn an_unchanged_object_triggers_no_reconcile() {
    let mut index = Index::default();
    insert(&mut index, &credential("old", 1, &json!({})));
    insert(&mut index, &credential("young", 2, &json!({})));
    assert!(insert(&mut index, &credential("old", 1, &json!({}))).is_empty());
    assert!(
        insert(
            &mut index,
            &credential("old", 1, &json!({ "scopes": ["other"] }))
        )
        .is_empty()
    );
}

#[test]
fn an_object_that_is_recreated_loses_its_seniority() {
    let mut index = Index::default();
    insert(&mut index, &credential("a", 1, &json!({})));
    insert(&mut index, &credential("b", 2, &json!({})));
    let mut reborn = credential("a", 3, &json!({}));
    reborn.metadata.uid = Some("uid-new".to_owned());
    assert_eq!(names(insert(&mut index, &reborn)), set(&["b"]));
    assert_eq!(index.senior(&key("a")).as_deref(), Some("b"));
    assert_eq!(index.senior(&key("b")), None);
}

#[test]
fn a_relist_removes_missing_credentials_and_triggers_their_rivals() {
    let mut index = Index::default();
    insert(&mut index, &credential("old", 1, &json!({})));
    insert(&mut index, &credential("young", 2, &json!({})));
    insert(&mut index, &credential("other", 3, &target("t")));
    let keep = HashSet::from([key("young"), key("other")]);
    assert_eq!(names(index.retain(&keep)), set(&["young"]));
    assert!(index.retain(&keep).is_empty());
    assert_eq!(index.senior(&key("young")), None);
}

proptest! {
    #[test]
    fn the_reverse_maps_never_disagree_with_the_objects(
        steps in prop::collection::vec((0_u8..5, 0_u8..3, 0_u8..3, any::<bool>()), 1..40),
    ) {
        let mut index = Index::default();
        let mut truth = std::collections::BTreeMap::new();
        for (who, to, from, gone) in steps {
            let name = format!("c{who}");
            if gone {
                index.remove(&key(&name));
                truth.remove(&name);
            } else {
                let change = json!({
                    "client": { "secrets": [{ "name": format!("s{from}"), "key": "k" }] }, "target": { "secretName": format!("t{to}") }
                });
                insert(&mut index, &credential(&name, i64::from(who), &change));
                truth.insert(name, (format!("t{to}"), format!("s{from}")));
            }
            for n in 0_u8..3 {
                let by = |pick: fn(&(String, String)) -> &String, secret: String| -> BTreeSet<String> {
                    truth.iter().filter(|(_, v)| *pick(v) == secret).map(|(k, _)| k.clone()).collect()
                };
                prop_assert_eq!(names(index.of_secret(&secret(&format!("t{n}")))), by(|v| &v.0, format!("t{n}")));
                prop_assert_eq!(names(index.of_secret(&secret(&format!("s{n}")))), by(|v| &v.1, format!("s{n}")));
            }
            for (name, (to, _)) in &truth {
                // c0 is the oldest.
                let first = truth.iter().find(|(_, v)| v.0 == *to).map(|(k, _)| k.clone());
                prop_assert_eq!(index.senior(&key(name)), first.filter(|f| f != name));
            }
        }
    }
}

#[test]
fn a_client_finds_the_credentials_that_name_it() {
    let mut index = Index::default();
    let object = |name: &str| credential(name, 0, &target(&format!("t-{name}")));
    index.insert(&object("a"), Some("shared"));
    index.insert(&object("b"), Some("shared"));
    index.insert(&object("c"), Some("other"));
    index.insert(&object("d"), None);
    assert_eq!(names(index.of_client(&key("shared"))), set(&["a", "b"]));
    let elsewhere = Key {
        namespace: "other".to_owned(),
        name: "shared".to_owned(),
    };
    assert!(
        index.of_client(&elsewhere).is_empty(),
        "of its own namespace only"
    );
    index.insert(&object("b"), Some("other"));
    assert_eq!(names(index.of_client(&key("shared"))), set(&["a"]));
    assert_eq!(names(index.of_client(&key("other"))), set(&["b", "c"]));
    index.remove(&key("a"));
    assert!(index.of_client(&key("shared")).is_empty());
}
