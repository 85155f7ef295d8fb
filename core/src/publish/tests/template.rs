use proptest::prelude::*;
use serde_json::json;

use crate::{
    api::{TargetKey, names},
    credential::Credential,
    fixtures::{credential, credential_with, map},
    publish::{ManagedKeys, template, template::live_digest},
};

#[test]
fn the_template_is_the_labels_of_the_user_and_the_annotations_of_apicred() {
    let credential = credential_with(&json!({ "target": {
        "labels": { "team": "blue" }, "annotations": { "note": "x" }, "type": "apicred.dev/token"
    }, "deletionPolicy": "Retain" }));
    let wanted = template(&credential);
    assert_eq!(
        wanted.labels,
        map(&[("team", "blue"), (names::MANAGED_BY, "apicred")])
    );
    assert_eq!(
        wanted.annotations,
        map(&[
            ("note", "x"),
            (names::CREDENTIAL, "alerts"),
            (names::CREDENTIAL_UID, &credential.uid)
        ])
    );
    assert_eq!((wanted.type_, wanted.owned), ("apicred.dev/token", false));
    assert!(
        template(&crate::fixtures::credential()).owned,
        "deleted with its credential unless it says otherwise"
    );
}

fn last(credential: &mut Credential) -> &mut TargetKey {
    credential.target.keys.last_mut().unwrap()
}

#[test]
fn each_part_of_a_template_changes_its_digest() {
    type Change = fn(&mut Credential);
    let changes: [(&str, Change); 12] = [
        ("label", |c| c.target.labels = map(&[("a", "b")])),
        ("label value", |c| c.target.labels = map(&[("a", "c")])),
        ("annotation", |c| c.target.annotations = map(&[("a", "b")])),
        ("type", |c| c.target.type_ = crate::api::SecretType::Token),
        ("deletion", |c| {
            c.target.deletion = crate::api::DeletionPolicy::Retain;
        }),
        ("name", |c| c.name.push('x')),
        ("fewer keys", |c| drop(c.target.keys.pop())),
        ("order of keys", |c| c.target.keys.reverse()),
        ("a key's name", |c| last(c).key = Some("x".to_owned())),
        ("a key's host", |c| last(c).host = Some("x".to_owned())),
        ("a key's user", |c| last(c).username = Some("x".to_owned())),
        ("a key's variable", |c| {
            last(c).variable = Some("x".to_owned());
        }),
    ];
    let mut seen = vec![template(&credential()).digest()];
    for (what, change) in changes {
        let mut credential = credential();
        change(&mut credential);
        let digest = template(&credential).digest();
        assert!(!seen.contains(&digest), "{what}");
        seen.push(digest);
    }
}

#[test]
fn other_formats_are_distinguished_from_other_metadata() {
    let written = template(&credential()).digest();
    let mut other = credential();
    other.target.labels = map(&[("a", "b")]);
    other.target.type_ = crate::api::SecretType::Token;
    assert!(
        !template(&other).has_other_formats(&written),
        "only the metadata"
    );
    other.target.keys.pop();
    assert!(template(&other).has_other_formats(&written));
    let before_there_was_a_choice = written.rsplit_once(':').unwrap().0;
    assert!(template(&credential()).has_other_formats(before_there_was_a_choice));
}

#[test]
fn a_secret_that_does_not_name_its_keys_has_the_usual_ones() {
    let old: ManagedKeys = serde_json::from_str(r#"{"l":["team"],"a":[]}"#).unwrap();
    assert_eq!(old.data, template(&credential()).keys().data);
    assert_eq!(ManagedKeys::unknown().data, old.data);
}

fn any_map() -> impl Strategy<Value = std::collections::BTreeMap<String, String>> {
    prop::collection::btree_map("[a-c:0-9]{1,4}", "[a-c:0-9]{0,4}", 0..4)
}

proptest! {
    #[test]
    fn a_live_secret_has_the_noted_digest_exactly_while_its_metadata_is_as_written(
        labels in any_map(), annotations in any_map(), other_labels in any_map(), strangers in any_map(), owned: bool, live_owned: bool,
    ) {
        let mut credential = credential();
        (credential.target.labels, credential.target.annotations) = (labels, annotations);
        if !owned {
            credential.target.deletion = crate::api::DeletionPolicy::Retain;
        }
        let wanted = template(&credential);
        let live = |labels: &_, annotations: &_, owned| {
            live_digest(Some(labels), Some(annotations), &wanted.keys(), owned, &wanted.digest())
        };
        // Keys of others do not matter, because only recorded keys are read.
        let mut crowded = strangers.clone();
        crowded.retain(|k, _| !wanted.labels.contains_key(k));
        crowded.extend(wanted.labels.clone());
        prop_assert_eq!(live(&crowded, &wanted.annotations, live_owned) == wanted.digest(), live_owned == owned);
        let same = wanted.labels.iter().all(|(k, v)| other_labels.get(k) == Some(v));
        prop_assert_eq!(live(&other_labels, &wanted.annotations, owned) == wanted.digest(), same);
        prop_assert_eq!(live_digest(None, Some(&wanted.annotations), &wanted.keys(), owned, &wanted.digest()) == wanted.digest(), false);
    }

    #[test]
    fn the_noted_keys_survive_their_writing(lists in prop::array::uniform3(prop::collection::vec(".{0,9}", 0..4))) {
        let [labels, annotations, data] = lists;
        let keys = ManagedKeys { labels, annotations, data };
        let text = serde_json::to_string(&keys).unwrap();
        prop_assert_eq!(serde_json::from_str::<ManagedKeys>(&text).unwrap(), keys);
    }
}
