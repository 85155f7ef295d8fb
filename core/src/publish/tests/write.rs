use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    api::names,
    fixtures::{at, credential_with, record, token},
    publish::{
        ManagedKeys, Record, Template, create, data, empty_patch, ownership, render_patch,
        rotate_patch, take_over_patch, template,
    },
};

fn made(change: &Value) -> (Template, Record) {
    let credential = credential_with(change);
    (template(&credential), record(&credential, (0, 1800, 3600)))
}

fn before() -> ManagedKeys {
    ManagedKeys {
        labels: vec!["old".to_owned(), names::MANAGED_BY.to_owned()],
        annotations: vec!["gone".to_owned(), names::CREDENTIAL.to_owned()],
        data: vec!["token=Token".to_owned(), "old.env=DotEnv".to_owned()],
    }
}

/// The usual data of a token with this text.
fn files(text: &str) -> BTreeMap<String, k8s_openapi::ByteString> {
    data(&token(text), &credential_with(&json!({})).target.keys).unwrap()
}

#[test]
fn a_created_secret_has_owner_type_marks_notes_and_data() {
    let (wanted, noted) =
        made(&json!({ "target": { "labels": { "team": "blue" }, "type": "apicred.dev/token" } }));
    let secret = create("secops", "alerts-token", &wanted, &noted, files("t0ken"));
    let meta = &secret.metadata;
    assert_eq!(
        (meta.namespace.as_deref(), meta.name.as_deref()),
        (Some("secops"), Some("alerts-token"))
    );
    assert_eq!(
        meta.resource_version, None,
        "a create demands that nothing is there"
    );
    assert_eq!(secret.type_.as_deref(), Some("apicred.dev/token"));
    assert_eq!(meta.labels.as_ref().unwrap()["team"], "blue");
    let annotations = meta.annotations.as_ref().unwrap();
    assert_eq!(Record::read(annotations), Some(noted));
    assert!(!annotations.contains_key(names::RENEW_HANDLED));
    let owner = &meta.owner_references.as_ref().unwrap()[0];
    assert_eq!(
        (owner.kind.as_str(), owner.api_version.as_str()),
        ("ApiCredential", "apicred.dev/v1alpha1")
    );
    assert_eq!(
        (owner.name.as_str(), owner.uid.as_str()),
        ("alerts", crate::fixtures::UID)
    );
    assert_eq!(
        (owner.controller, owner.block_owner_deletion),
        (Some(true), Some(false))
    );
    assert!(secret.data.is_some() && secret.string_data.is_none());
}

#[test]
fn what_was_created_is_recognized_as_intact_and_ours() {
    for policy in ["Delete", "Retain"] {
        let credential = credential_with(&json!({
            "deletionPolicy": policy, "target": { "labels": { "team": "blue" }, "annotations": { "note": "x" } }
        }));
        let secret = create(
            "secops",
            "alerts-token",
            &template(&credential),
            &record(&credential, (0, 1, 2)),
            files("t"),
        );
        let facts = ownership::examine(&secret.metadata);
        let ownership::Target::Ours { published, .. } =
            ownership::target(&credential, Some(&facts))
        else {
            panic!("what was just created is ours");
        };
        assert_eq!(
            published.template_digest,
            template(&credential).digest(),
            "{policy}"
        );
        assert!(published.template_intact, "{policy}: no patch without end");
    }
}

#[test]
fn a_retained_secret_has_no_owner_and_a_patch_takes_the_owner_off() {
    let (wanted, noted) = made(&json!({ "deletionPolicy": "Retain" }));
    assert_eq!(
        create("n", "s", &wanted, &noted, files("t"))
            .metadata
            .owner_references,
        None
    );
    let off = json!([{ "$patch": "delete", "uid": crate::fixtures::UID }]);
    assert_eq!(
        render_patch("1", &wanted, &before())["metadata"]["ownerReferences"],
        off
    );
    let (owned, _) = made(&json!({}));
    let on = &render_patch("1", &owned, &before())["metadata"]["ownerReferences"][0];
    assert_eq!(
        (&on["uid"], &on["controller"]),
        (&json!(crate::fixtures::UID), &json!(true))
    );
}

#[test]
fn a_rotation_demands_its_version_takes_off_old_keys_and_carries_the_token() {
    let (wanted, noted) = made(&json!({ "target": { "labels": { "new": "1" } } }));
    let patch = rotate_patch("42", &wanted, &before(), &noted, &files("t0ken"));
    assert_eq!(
        patch["data"]["old.env"],
        Value::Null,
        "a key that is not wanted goes"
    );
    assert!(patch["data"]["token"].is_string());
    assert_eq!(patch["metadata"]["resourceVersion"], "42");
    assert_eq!(
        patch["metadata"]["labels"],
        json!({ "old": null, "new": "1", (names::MANAGED_BY): "apicred" })
    );
    let annotations = patch["metadata"]["annotations"].as_object().unwrap();
    assert_eq!(annotations["gone"], Value::Null);
    assert_eq!(annotations[names::RENEW_HANDLED], Value::Null);
    assert_eq!(annotations[names::EXPIRES_AT], json!(at(3600).to_string()));
    assert_eq!(
        annotations[names::CREDENTIAL],
        "alerts",
        "still wanted, so not removed"
    );
    assert_eq!(patch["data"].as_object().unwrap().len(), 5);
    assert_eq!(patch["data"]["token"], "dDBrZW4=");
}

#[test]
fn a_render_leaves_token_and_notes_alone() {
    let (wanted, _) = made(&json!({}));
    let patch = render_patch("42", &wanted, &before());
    assert_eq!(patch["metadata"]["resourceVersion"], "42");
    assert_eq!(patch.get("data"), None);
    let annotations = patch["metadata"]["annotations"].as_object().unwrap();
    let keys: Vec<&str> = annotations.keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        [
            names::CREDENTIAL,
            names::CREDENTIAL_UID,
            names::MANAGED_KEYS,
            names::TEMPLATE_DIGEST,
            "gone",
            names::RELOADER_IGNORE
        ]
    );
    assert_eq!(annotations[names::TEMPLATE_DIGEST], json!(wanted.digest()));
}

#[test]
fn reloader_ignores_the_secret_unless_the_spec_sets_otherwise() {
    let ignore_value = |wanted: &Template, before: &ManagedKeys| {
        let patch = render_patch("42", wanted, before);
        patch["metadata"]["annotations"][names::RELOADER_IGNORE].clone()
    };
    let chosen = json!({ "target": { "annotations": { (names::RELOADER_IGNORE): "false" } } });
    let ((usual, noted), (other, _)) = (made(&json!({})), made(&chosen));
    assert_eq!(ignore_value(&usual, &before()), "true");
    assert_eq!(ignore_value(&other, &usual.keys()), "false");
    assert_eq!(ignore_value(&usual, &other.keys()), "true", "taken back");
    let created = create("secops", "s", &usual, &noted, files("t0ken")).metadata;
    let mut wanted = created.annotations.unwrap();
    assert_eq!(wanted[names::RELOADER_IGNORE], "true");
    // A Secret that was written before this annotation existed is not written for it alone.
    wanted.remove(names::RELOADER_IGNORE);
    let meta = k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
        labels: created.labels,
        annotations: Some(wanted),
        owner_references: created.owner_references,
        ..Default::default()
    };
    assert!(ownership::examine(&meta).published.unwrap().template_intact);
}

#[test]
fn a_take_over_puts_one_owner_in_place_of_another_and_leaves_the_token() {
    for (policy, controllers) in [("Delete", 1), ("Revoke", 1), ("Retain", 0)] {
        let (wanted, noted) = made(&json!({ "deletionPolicy": policy }));
        let patch = take_over_patch("42", &wanted, "earlier");
        let owners = patch["metadata"]["ownerReferences"].as_array().unwrap();
        let uids: Vec<&Value> = owners.iter().map(|o| &o["uid"]).collect();
        assert_eq!(uids, [crate::fixtures::UID, "earlier"]);
        assert_eq!(owners[1]["$patch"], "delete");
        let controls = owners.iter().filter(|o| o["controller"] == true).count();
        assert_eq!(controls, controllers);
        assert_eq!(patch["metadata"]["resourceVersion"], "42");
        assert_eq!(patch["data"], Value::Null);
        let annotations = patch["metadata"]["annotations"].as_object().unwrap();
        assert_eq!(annotations[names::CREDENTIAL_UID], crate::fixtures::UID);
        assert!(!annotations.contains_key(names::MANAGED_KEYS));
        // The remaining annotations do not describe a token of this credential.
        let mut left: BTreeMap<String, String> = noted
            .annotations()
            .into_iter()
            .filter_map(|(k, v)| Some((k, v?)))
            .collect();
        assert!(Record::read(&left).is_some());
        left.retain(|name, _| !annotations.contains_key(name));
        assert!(Record::read(&left).is_none());
    }
}

#[test]
fn an_emptied_secret_has_no_file_and_no_record_and_is_recognized() {
    for (kind, left) in [
        (json!({}), json!(null)),
        (
            json!({ "type": "kubernetes.io/dockerconfigjson", "keys": [{ "format": "DockerConfig", "host": "r.example" }] }),
            json!("eyJhdXRocyI6e319"),
        ),
    ] {
        let credential = credential_with(&json!({ "target": kind }));
        let noted = record(&credential, (0, 1800, 3600));
        let whole = data(&token("t0ken"), &credential.target.keys).unwrap();
        let mut secret = create(
            "secops",
            "alerts-token",
            &template(&credential),
            &noted,
            whole,
        );
        let facts = ownership::examine(&secret.metadata);
        let published = facts.published.unwrap();
        assert!(!published.is_emptied());
        let patch = empty_patch("42", &published);
        assert_eq!(patch["metadata"]["resourceVersion"], "42");
        for (key, value) in patch["data"].as_object().unwrap() {
            let kept = if key == ".dockerconfigjson" {
                &left
            } else {
                &Value::Null
            };
            assert_eq!(value, kept, "{key}");
        }
        assert_eq!(
            patch["data"].as_object().unwrap().len(),
            secret.data.as_ref().unwrap().len()
        );
        let annotations = secret.metadata.annotations.as_mut().unwrap();
        for (name, value) in patch["metadata"]["annotations"].as_object().unwrap() {
            match value.as_str() {
                Some(text) => annotations.insert(name.clone(), text.to_owned()),
                None => annotations.remove(name),
            };
        }
        let left = ownership::examine(&secret.metadata).published.unwrap();
        assert!(left.is_emptied() && left.credential_uid == credential.uid);
        // The next token overwrites it like any other.
        let again = rotate_patch(
            "43",
            &template(&credential),
            &left.managed_keys,
            &noted,
            &files("next"),
        );
        assert_eq!(again["data"]["token"], json!("bmV4dA=="));
    }
}
