mod taken_over;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use crate::{
    api::names,
    credential::Credential,
    fixtures::{UID, at, credential, credential_with, record, token},
    publish::{
        create, data,
        ownership::{ForeignWrite, Target, examine, target},
        template,
    },
};

/// The usual keys.
const KEYS: [&str; 4] = ["expires_at", "token", "token.json", "token_type"];

/// The metadata of a Secret as apicred creates it for `credential`, with more merged in.
fn meta(credential: &Credential, change: &Value) -> ObjectMeta {
    let mut noted = record(credential, (-300, 1500, 3300));
    if credential.static_key.is_some() {
        "Static".clone_into(&mut noted.lifetime);
    }
    let secret = create(
        "secops",
        "alerts-token",
        &template(credential),
        &noted,
        data(&token("t"), &credential.target.keys).unwrap(),
    );
    let mut value = serde_json::to_value(secret.metadata).unwrap();
    crate::fixtures::merge(
        &mut value,
        &json!({ "uid": "secret-uid", "resourceVersion": "42" }),
    );
    crate::fixtures::merge(&mut value, change);
    serde_json::from_value(value).unwrap()
}

/// A `managedFields` entry that owns these data keys and annotations.
fn entry(
    manager: &str,
    operation: &str,
    second: i64,
    data: &[&str],
    annotations: &[&str],
) -> Value {
    let set = |keys: &[&str]| {
        keys.iter()
            .map(|k| (format!("f:{k}"), json!({})))
            .collect::<serde_json::Map<_, _>>()
    };
    json!({
        "manager": manager, "operation": operation, "apiVersion": "v1", "time": at(second).to_string(),
        "fieldsType": "FieldsV1",
        "fieldsV1": { "f:data": set(data), "f:metadata": { "f:annotations": set(annotations), "f:labels": { "f:team": {} } } }
    })
}

fn own(second: i64) -> Value {
    entry(
        "apicred",
        "Update",
        second,
        &KEYS,
        &[names::EXPIRES_AT, names::SOURCES],
    )
}

fn foreign_write(entries: &[Value]) -> ForeignWrite {
    foreign_write_on(&credential(), entries)
}

fn foreign_write_on(credential: &Credential, entries: &[Value]) -> ForeignWrite {
    let facts = examine(&meta(credential, &json!({ "managedFields": entries })));
    let Target::Ours { published, version } = target(credential, Some(&facts)) else {
        panic!("ours");
    };
    assert_eq!(version, "42");
    published.foreign_write
}

#[test]
fn writes_of_others_are_seen_in_managed_fields() {
    let edited = |manager: &str| ForeignWrite::Edited(manager.to_owned());
    let claimed = |manager: &str| ForeignWrite::Claimed(manager.to_owned());
    let without = |key: &str| KEYS.into_iter().filter(|k| *k != key).collect::<Vec<_>>();
    #[rustfmt::skip]
    let cases = [
        ("alone", vec![own(0)], ForeignWrite::None),
        ("another's labels and keys", vec![own(0), entry("kubectl", "Update", 5, &["extra"], &["note"])], ForeignWrite::None),
        ("adopt-by and template are no notes", vec![own(0), entry("kubectl", "Update", 5, &[], &[names::ADOPT_BY, names::TEMPLATE_DIGEST])], ForeignWrite::None),
        ("token edited", vec![own(0), entry("kubectl-edit", "Update", 5, &["token"], &[])], edited("kubectl-edit")),
        ("edited in the same second", vec![own(5), entry("kubectl-edit", "Update", 5, &["token"], &[])], edited("kubectl-edit")),
        ("token.json edited", vec![own(0), entry("kubectl-edit", "Update", 5, &["token.json"], &[])], edited("kubectl-edit")),
        ("a note edited", vec![own(0), entry("kubectl-annotate", "Update", 5, &[], &[names::EXPIRES_AT])], edited("kubectl-annotate")),
        ("claimed by apply", vec![own(0), entry("argocd", "Apply", 5, &["token"], &[])], claimed("argocd")),
        ("claimed long ago", vec![own(9), entry("argocd", "Apply", 5, &["token_type"], &[])], claimed("argocd")),
        ("claimed and edited", vec![own(0), entry("kubectl", "Update", 5, &["token"], &[]), entry("argocd", "Apply", 5, &["token"], &[])], claimed("argocd")),
        ("apply of labels only", vec![own(0), entry("argocd", "Apply", 5, &[], &[])], ForeignWrite::None),
        ("a key taken away", vec![entry("apicred", "Update", 0, &without("token_type"), &[])], edited("another writer")),
        ("the token taken away", vec![entry("apicred", "Update", 0, &without("token"), &[])], edited("another writer")),
        ("token_type written in the second of our write", vec![own(5), entry("kubectl-edit", "Update", 5, &["token_type"], &[])], edited("kubectl-edit")),
        ("token_type written after it", vec![own(5), entry("kubectl-edit", "Update", 6, &["token_type"], &[])], edited("kubectl-edit")),
        ("list cleared", vec![], ForeignWrite::None),
        ("made by a restore", vec![entry("velero", "Update", 5, &KEYS, &[names::EXPIRES_AT])], ForeignWrite::None),
        // An update with the present value does not move ownership. A value that was edited (or restored, or adopted) and overwritten since is
        // not an edit any more. Otherwise it would be repaired without end.
        ("restored, then rotated", vec![entry("velero", "Update", 5, &["token_type"], &[names::SOURCES]), entry("apicred", "Update", 9, &without("token_type"), &[])], ForeignWrite::None),
        ("edited, then repaired", vec![own(9), entry("kubectl-edit", "Update", 5, &["token_type"], &[])], ForeignWrite::None),
        // A value that changes with each token cannot belong to another manager by chance, whatever the clocks of two servers show.
        ("edited by a server whose clock is behind", vec![own(9), entry("kubectl-edit", "Update", 5, &["token"], &[])], edited("kubectl-edit")),
    ];
    for (name, entries, expected) in cases {
        assert_eq!(foreign_write(&entries), expected, "{name}");
    }
    let mut undated = entry("kubectl-edit", "Update", 5, &["token"], &[]);
    undated.as_object_mut().unwrap().remove("time");
    assert_eq!(
        foreign_write(&[own(9), undated]),
        edited("kubectl-edit"),
        "a write without a time is a write"
    );
}

#[test]
fn writes_of_others_are_seen_on_the_keys_that_were_chosen_and_no_others() {
    let sets = [
        ("Authorization", "authorization"),
        ("Header", "a=b.header"),
        ("DotEnv", ".env"),
        ("DockerConfig", ".dockerconfigjson"),
        ("ExpiresAt", "expires_at"),
    ];
    for (format, name) in sets {
        let host = (format == "DockerConfig").then_some("registry.example.com");
        let keys = json!([{ "format": format, "key": name, "host": host }]);
        let credential = credential_with(&json!({ "target": { "keys": keys } }));
        let own = |data: &[&str]| entry("apicred", "Update", 0, data, &[names::EXPIRES_AT]);
        let other = |name: &str| entry("kubectl-edit", "Update", 5, &[name], &[]);
        let alone = foreign_write_on(&credential, &[own(&[name])]);
        assert_eq!(alone, ForeignWrite::None, "{format}");
        let beside = foreign_write_on(&credential, &[own(&[name]), other("token")]);
        assert_eq!(
            beside,
            ForeignWrite::None,
            "{format}: token is nobody's here"
        );
        let edited = foreign_write_on(&credential, &[own(&[]), other(name)]);
        assert_eq!(
            edited,
            ForeignWrite::Edited("kubectl-edit".to_owned()),
            "{format}"
        );
        let gone = foreign_write_on(&credential, &[own(&[])]);
        assert_eq!(
            gone,
            ForeignWrite::Edited("another writer".to_owned()),
            "{format}"
        );
    }
}

#[test]
fn a_static_key_that_was_there_before_stays_with_its_writer_and_is_no_edit() {
    let keys = json!([{ "format": "Token" }, { "format": "Authorization" }]);
    let credential = credential_with(&json!({
        "issuerRef": null, "client": null, "scopes": null, "target": { "keys": keys },
        "static": { "tokenRef": { "name": "legacy", "key": "key" } },
    }));
    let own = entry(
        "apicred",
        "Update",
        5,
        &["authorization"],
        &[names::SOURCES],
    );
    let there = |second| entry("kubectl-create", "Update", second, &["token"], &[]);
    assert_eq!(
        foreign_write_on(&credential, &[there(0), own.clone()]),
        ForeignWrite::None
    );
    let edited = ForeignWrite::Edited("kubectl-create".to_owned());
    assert_eq!(
        foreign_write_on(&credential, &[there(6), own.clone()]),
        edited
    );
    let gone = foreign_write_on(&credential, &[own]);
    assert_eq!(gone, ForeignWrite::Edited("another writer".to_owned()));
}

#[test]
fn a_secret_is_ours_by_uid_and_nothing_less() {
    let credential = credential();
    let of = |change: &Value| target(&credential, Some(&examine(&meta(&credential, change))));
    assert_eq!(target(&credential, None), Target::Absent);
    assert!(matches!(of(&json!({})), Target::Ours { .. }));
    let going = of(&json!({ "deletionTimestamp": "2026-01-01T00:00:00Z" }));
    assert!(matches!(going, Target::Deleting(Some(_))), "{going:?}");
    assert!(going.own().is_some() && going.published().is_none());
    let foreign = |change: &Value| match of(change) {
        Target::Foreign(whose) => whose,
        other => panic!("{change}: {other:?}"),
    };
    let other_uid =
        json!({ "annotations": { (names::CREDENTIAL_UID): "other" }, "ownerReferences": null });
    assert_eq!(
        foreign(&other_uid),
        "it was written for an earlier ApiCredential alerts and no longer has an owner"
    );
    assert_eq!(
        foreign(
            &json!({ "annotations": { (names::CREDENTIAL_UID): null }, "ownerReferences": null })
        ),
        "apicred did not create it"
    );
    assert!(
        matches!(of(&json!({ "labels": null })), Target::Ours { .. }),
        "a label that was removed is added again"
    );
    assert_eq!(
        foreign(&json!({ "labels": null, "annotations": null, "ownerReferences": null })),
        "apicred did not create it"
    );
    let owner = |uid: &str, controller: bool| json!({ "ownerReferences": [{ "apiVersion": "v1", "kind": "Boss", "name": "b", "uid": uid, "controller": controller }] });
    assert_eq!(foreign(&owner("boss", true)), "it is controlled by Boss b");
    assert!(
        matches!(of(&owner("boss", false)), Target::Ours { .. }),
        "an owner that does not control is no rival"
    );
    assert!(matches!(of(&owner(UID, true)), Target::Ours { .. }));
    // A renamed credential: the garbage collector deletes the Secret of the earlier one.
    let owned = json!({ "annotations": { (names::CREDENTIAL_UID): "other" }, "ownerReferences": [{
        "apiVersion": "apicred.dev/v1alpha1", "kind": "ApiCredential", "name": "old", "uid": "other", "controller": true,
    }] });
    assert_eq!(of(&owned), Target::OfAnother("old".to_owned()));
}

#[test]
fn a_secret_is_adopted_only_by_the_named_credential_and_never_from_a_controller() {
    let credential = credential();
    let bare = json!({ "labels": null, "annotations": null, "ownerReferences": null });
    let of = |adopt_by: &str, change: &Value| {
        let mut value = serde_json::to_value(meta(&credential, &bare)).unwrap();
        crate::fixtures::merge(
            &mut value,
            &json!({ "annotations": { (names::ADOPT_BY): adopt_by } }),
        );
        crate::fixtures::merge(&mut value, change);
        target(
            &credential,
            Some(&examine(&serde_json::from_value(value).unwrap())),
        )
    };
    assert_eq!(
        of("alerts", &json!({})),
        Target::Adoptable {
            version: "42".to_owned()
        }
    );
    assert!(matches!(of("other", &json!({})), Target::Foreign(_)));
    assert!(matches!(of("", &json!({})), Target::Foreign(_)));
    let boss = json!({ "ownerReferences": [{ "apiVersion": "v1", "kind": "Boss", "name": "b", "uid": "u", "controller": true }] });
    assert!(matches!(of("alerts", &boss), Target::Foreign(_)));
    assert_eq!(
        of(
            "alerts",
            &json!({ "deletionTimestamp": "2026-01-01T00:00:00Z" })
        ),
        Target::Deleting(None)
    );
    // It was published for an earlier credential of this name: the Secret may still request the new one.
    let orphan = json!({ "labels": { (names::MANAGED_BY): "apicred" }, "annotations": { (names::CREDENTIAL_UID): "old" } });
    assert_eq!(
        of("alerts", &orphan),
        Target::Adoptable {
            version: "42".to_owned()
        }
    );
}

#[test]
fn a_label_that_was_changed_or_an_owner_that_was_taken_off_shows() {
    let mut credential = credential();
    credential.target.labels = crate::fixtures::map(&[("team", "blue")]);
    let intact = |change: &Value| {
        let published = examine(&meta(&credential, change)).published.unwrap();
        published.template_intact
    };
    assert!(intact(&json!({})));
    assert!(intact(
        &json!({ "labels": { "stranger": "x" }, "annotations": { "stranger": "x" } })
    ));
    assert!(!intact(&json!({ "labels": { "team": "red" } })));
    assert!(!intact(&json!({ "labels": { "team": null } })));
    assert!(!intact(&json!({ "labels": null })));
    assert!(!intact(
        &json!({ "annotations": { (names::CREDENTIAL): "x" } })
    ));
    assert!(!intact(&json!({ "ownerReferences": null })));
    assert!(!intact(
        &json!({ "annotations": { (names::MANAGED_KEYS): "not json" } })
    ));
}

#[test]
fn a_secret_whose_notes_were_taken_off_is_still_known_by_its_owner() {
    let credential = credential();
    let facts = examine(&meta(
        &credential,
        &json!({ "annotations": null, "labels": null }),
    ));
    let Target::Ours { published, .. } = target(&credential, Some(&facts)) else {
        panic!("the owner reference says whose it is");
    };
    assert_eq!(published.record, None, "and a new token is due");
    let others = json!({ "annotations": null, "ownerReferences": [{
        "apiVersion": "example.com/v1", "kind": "ApiCredential", "name": "alerts", "uid": UID, "controller": true
    }] });
    let facts = examine(&meta(&credential, &others));
    assert!(
        matches!(target(&credential, Some(&facts)), Target::Foreign(_)),
        "a kind of another group"
    );
}

#[test]
fn the_end_of_a_client_secret_is_a_time_a_date_or_reported() {
    let facts = |text: Option<&str>| {
        let annotations = text.map(|t| json!({ "apicred.dev/secret-expires-at": t }));
        let meta = json!({ "name": "source", "annotations": annotations });
        examine(&serde_json::from_value(meta).unwrap())
    };
    let day = "2027-06-30T00:00:00Z".parse().unwrap();
    for (text, end) in [
        ("2027-06-30", Some(day)),
        (" 2027-06-30 ", Some(day)),
        ("2027-06-30T00:00:00Z", Some(day)),
        ("2027-06-30T02:00:00+02:00", Some(day)),
        ("2027-06-30T00:00:00.000Z", Some(day)),
        ("30.06.2027", Some(day)),
        ("2027/06/30", Some(day)),
        ("30 June 2027", Some(day)),
        ("\u{feff}2027-06-30\u{200b}\r\n", Some(day)),
        ("\"2027-06-30\"", Some(day)),
        // In the formats of `az`, `openssl x509 -enddate`, `date`, mail and logs.
        ("2027-06-30T00:00:00+00:00", Some(day)),
        ("2027-06-30 00:00:00+00:00", Some(day)),
        ("2027-06-30 00:00:00", Some(day)),
        ("Jun 30 00:00:00 2027 GMT", Some(day)),
        ("notAfter=Jun 30 00:00:00 2027 GMT", Some(day)),
        ("Wed, 30 Jun 2027 00:00:00 GMT", Some(day)),
        ("Wed Jun 30 00:00:00 UTC 2027", Some(day)),
        ("20270630", Some(day)),
        ("June 30, 2027", Some(day)),
        ("30-Jun-2027", Some(day)),
        // 5 July or 7 May, and years that are mistakes.
        ("05/07/2027", None),
        ("2027", None),
        ("2027-06", None),
        ("never", None),
        ("next year", None),
        ("in 3 months", None),
        ("06/30/2027", None),
        ("2027-02-30", None),
        ("", None),
    ] {
        let facts = facts(Some(text));
        assert_eq!(facts.secret_expires_at, end, "{text}");
        assert_eq!(facts.expiry_unreadable, end.is_none(), "{text}");
    }
    let without = facts(None);
    assert_eq!(without.secret_expires_at, None);
    assert!(!without.expiry_unreadable, "nothing is reported");
}

#[test]
fn retain_has_no_effect_while_the_secret_has_its_owner() {
    use crate::{
        api::DeletionPolicy,
        fixtures::{ours, published},
    };
    let mut credential = credential();
    let mut secret = published(&credential, None);
    let said = |credential: &Credential, secret| ours(secret).not_retained(credential);
    assert_eq!(said(&credential, secret.clone()), "");
    credential.target.deletion = DeletionPolicy::Retain;
    assert!(
        said(&credential, secret.clone())
            .contains("the Secret is still deleted with its credential")
    );
    assert_eq!(Target::Absent.not_retained(&credential), "");
    secret.owner = None;
    assert_eq!(said(&credential, secret), "");
}
