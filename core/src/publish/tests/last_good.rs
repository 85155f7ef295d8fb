//! The copy of the last good certificate: when it is stored, used and emptied.

mod histories;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    credential::{AuthenticationMethod, Credential},
    fixtures::{credential, credential_with},
    publish::{
        SourceMark,
        last_good::{
            Known, LastGood, Step, blocked, create, empty_patch, is_wanted, serves, step,
            store_patch,
        },
        ownership::{SecretFacts, examine},
    },
};

const NAME: &str = "tls";
const COPY: &str = "tls-last-good";
const ME: &str = "me";

fn meta(version: &str, annotations: &Value) -> ObjectMeta {
    serde_json::from_value(json!({
        "name": NAME, "uid": "source", "resourceVersion": version, "annotations": annotations,
    }))
    .unwrap()
}

/// The Secret at a version, with the request of its owner.
fn source(version: &str) -> SecretFacts {
    examine(&meta(
        version,
        &json!({ "apicred.dev/keep-last-good": "true" }),
    ))
}

/// The copy of a version of it.
fn copy(of: &str) -> SecretFacts {
    let meta = json!({
        "name": COPY, "uid": "copy", "resourceVersion": "100",
        "annotations": { "apicred.dev/last-good-of": of },
        "ownerReferences": [{ "apiVersion": "apicred.dev/v1alpha1", "kind": "ApiCredential", "name": "c", "uid": ME }],
    });
    examine(&serde_json::from_value(meta).unwrap())
}

fn mark(version: &str) -> SourceMark {
    SourceMark {
        name: NAME.to_owned(),
        key: "tls.key".to_owned(),
        uid: "source".to_owned(),
        version: version.to_owned(),
    }
}

fn decide(source: Option<&SecretFacts>, copy: Option<&SecretFacts>, used: &str) -> Step {
    let used = mark(used);
    let known = Known {
        used: Some(&used),
        name: NAME,
        owner: ME,
        needed: false,
    };
    step(source, copy, known)
}

fn store(version: Option<&str>) -> Step {
    Step::Store(version.map(str::to_owned))
}

fn empty() -> Step {
    Step::Empty("100".to_owned(), "source".to_owned())
}

#[test]
fn a_copy_is_stored_for_cert_manager_and_if_the_owner_requests_it() {
    for (annotations, wanted) in [
        (json!({ "apicred.dev/keep-last-good": "true" }), true),
        (json!({ "apicred.dev/keep-last-good": "True" }), false),
        (json!({ "apicred.dev/keep-last-good": "" }), false),
        (json!({}), false),
        // cert-manager replaces the pair of its Secrets without a request.
        (json!({ "cert-manager.io/certificate-name": "tls" }), true),
        (
            json!({ "cert-manager.io/certificate-name": "tls", "apicred.dev/keep-last-good": "false" }),
            false,
        ),
        (
            json!({ "cert-manager.io/certificate-name": "tls", "apicred.dev/rotate-by": "x" }),
            true,
        ),
        // apicred proves the next pair of such a Secret before it is used.
        (
            json!({ "apicred.dev/keep-last-good": "true", "apicred.dev/rotate-by": "x" }),
            false,
        ),
        // A copy has no copy.
        (
            json!({ "apicred.dev/keep-last-good": "true", "apicred.dev/last-good-of": "" }),
            false,
        ),
    ] {
        assert_eq!(is_wanted(&meta("1", &annotations)), wanted, "{annotations}");
    }
    let unwanted = examine(&meta("1", &json!({})));
    assert_eq!(decide(Some(&unwanted), None, "1"), Step::Leave);
}

#[test]
fn a_pair_is_stored_once_it_got_a_token() {
    let (one, two) = (source("1"), source("2"));
    assert_eq!(decide(Some(&one), None, "1"), store(None));
    assert_eq!(decide(Some(&two), None, "1"), Step::Leave, "not proven");
    let stored = copy("source/1");
    assert_eq!(decide(Some(&one), Some(&stored), "1"), Step::Leave);
    // Replaced, refused, and registered at last.
    assert_eq!(decide(Some(&two), Some(&stored), "1"), Step::Leave);
    assert_eq!(decide(Some(&two), Some(&stored), "2"), store(Some("100")));
    // The annotation was removed and set again.
    assert_eq!(decide(Some(&two), Some(&copy("")), "2"), store(Some("100")));
    // Nothing has got a token; another entry has; a key with another name has.
    let known = |used| Known {
        used,
        name: NAME,
        owner: ME,
        needed: false,
    };
    let other = SourceMark {
        key: "other.key".to_owned(),
        ..mark("1")
    };
    let elsewhere = SourceMark {
        name: COPY.to_owned(),
        ..mark("1")
    };
    for used in [None, Some(&other), Some(&elsewhere)] {
        assert_eq!(step(Some(&one), None, known(used)), Step::Leave, "{used:?}");
    }
}

#[test]
fn a_copy_that_others_need_is_not_replaced_and_gets_their_owners() {
    let (one, two, stored) = (source("1"), source("2"), copy("source/1"));
    let used = [mark("1"), mark("2")];
    let known = |at: usize, owner, needed| Known {
        used: Some(&used[at]),
        name: NAME,
        owner,
        needed,
    };
    let decided = |source, known| step(Some(source), Some(&stored), known);
    assert_eq!(decided(&two, known(1, ME, true)), Step::Leave);
    assert_eq!(decided(&two, known(1, ME, false)), store(Some("100")));
    // The same pair: an additional owner does not change the content.
    assert_eq!(decided(&one, known(0, "another", true)), store(Some("100")));
    assert_eq!(decided(&one, known(0, ME, true)), Step::Leave);
}

#[test]
fn without_its_secret_or_its_annotation_the_copy_is_emptied() {
    let stored = copy("source/1");
    let unwanted = examine(&meta("2", &json!({})));
    let again = SecretFacts {
        uid: "another".to_owned(),
        ..source("3")
    };
    let leaving = SecretFacts {
        deleting: true,
        ..source("2")
    };
    for source in [None, Some(&unwanted), Some(&again), Some(&leaving)] {
        assert_eq!(decide(source, Some(&stored), "1"), empty(), "{source:?}");
        assert!(!serves(source, Some(&stored)), "{source:?}");
    }
    // The pair of the recreated Secret replaces it as soon as it has got a token.
    let used = SourceMark {
        uid: "another".to_owned(),
        ..mark("3")
    };
    let known = Known {
        used: Some(&used),
        name: NAME,
        owner: ME,
        needed: true,
    };
    let decided = step(Some(&again), Some(&stored), known);
    assert_eq!(decided, store(Some("100")));
    // Only once.
    assert_eq!(decide(None, Some(&copy("")), "1"), Step::Leave);
    assert_eq!(decide(None, None, "1"), Step::Leave);
}

#[test]
fn a_secret_in_the_way_is_left_as_it_is() {
    let foreign = examine(&meta("7", &json!({ "team": "blue" })));
    let wanted = source("1");
    assert_eq!(decide(Some(&wanted), Some(&foreign), "1"), Step::Leave);
    assert_eq!(decide(None, Some(&foreign), "1"), Step::Leave);
    assert!(blocked(Some(&wanted), Some(&foreign)));
    assert!(!blocked(Some(&wanted), Some(&copy("source/1"))));
    assert!(!blocked(Some(&wanted), None));
    assert!(!blocked(Some(&foreign), Some(&foreign)), "nobody asked");
    assert!(!serves(Some(&wanted), Some(&foreign)));
    let leaving = SecretFacts {
        deleting: true,
        ..copy("source/1")
    };
    assert!(!serves(Some(&source("2")), Some(&leaving)));
    assert_eq!(decide(Some(&wanted), Some(&leaving), "1"), Step::Leave);
}

#[test]
fn only_another_pair_than_the_present_one_serves() {
    assert!(!serves(Some(&source("1")), Some(&copy("source/1"))));
    assert!(serves(Some(&source("2")), Some(&copy("source/1"))));
    assert!(!serves(Some(&source("2")), Some(&copy(""))));
    assert!(!serves(Some(&source("2")), Some(&copy("another/1"))));
    assert!(!serves(None, Some(&copy("source/1"))));
}

#[test]
fn the_writes_name_version_owner_and_origin() {
    let owner = OwnerReference {
        api_version: "apicred.dev/v1alpha1".to_owned(),
        kind: "ApiCredential".to_owned(),
        name: "c".to_owned(),
        uid: ME.to_owned(),
        ..OwnerReference::default()
    };
    let pair: std::collections::BTreeMap<_, _> = ["tls.crt", "tls.key"]
        .map(|key| (key.to_owned(), k8s_openapi::ByteString(vec![1])))
        .into();
    let made = create("ns", COPY, ("source", "1"), &owner, pair.clone());
    let facts = examine(&made.metadata);
    let of = Some(("source".to_owned(), "1".to_owned()));
    let stored = LastGood {
        of,
        owners: vec![ME.to_owned()],
    };
    assert_eq!(facts.last_good.as_deref(), Some(&stored));
    // It is not a target of the credential, and no controller owns it.
    assert_eq!((facts.published, facts.controller), (None, None));
    assert_eq!(made.type_.as_deref(), Some("kubernetes.io/tls"));

    let patch = empty_patch("100", (NAME, "source"));
    assert_eq!(patch["metadata"]["resourceVersion"], "100");
    assert_eq!(patch["data"], json!({ "tls.crt": "", "tls.key": "" }));
    let instead = json!({ "$patch": "replace" });
    let source = json!({ "apiVersion": "v1", "kind": "Secret", "name": NAME, "uid": "source" });
    let owners = &patch["metadata"]["ownerReferences"];
    assert_eq!(*owners, json!([instead, source]));
    let emptied = LastGood {
        of: None,
        owners: vec!["source".to_owned()],
    };
    let patch = store_patch("101", ("source", "2"), (&owner, &emptied), &pair);
    let owners = &patch["metadata"]["ownerReferences"];
    assert_eq!(*owners, json!([instead, owner]));
    let replaced = &patch["metadata"]["labels"]["$patch"];
    assert_eq!(*replaced, "replace");
    let noted = &patch["metadata"]["annotations"]["apicred.dev/last-good-of"];
    assert_eq!(noted, "source/2");
    // An owner that is listed with others stays.
    let patch = store_patch("102", ("source", "2"), (&owner, &stored), &pair);
    assert_eq!(patch["metadata"]["ownerReferences"], json!([owner]));
}

fn with(list: &Value) -> Credential {
    credential_with(&json!({ "client": { "secrets": null, "certificates": list } }))
}

#[test]
fn only_certificates_under_the_usual_keys_have_copies() {
    let names = |authentication: &AuthenticationMethod| -> Vec<String> {
        let copies = authentication.copies();
        copies.iter().map(|c| c.copy.name.clone()).collect()
    };
    let (long, longest) = ("a".repeat(244), "a".repeat(243));
    for (list, expected) in [
        (
            json!([{ "secretName": "a" }, { "secretName": "b" }]),
            vec!["a-last-good", "b-last-good"],
        ),
        (
            json!([{ "secretName": "a", "privateKeyKey": "new.key" }]),
            vec![],
        ),
        (
            json!([{ "secretName": "a" }, { "secretName": "a-last-good" }]),
            vec!["a-last-good-last-good"],
        ),
        (json!([{ "secretName": long }]), vec![]),
    ] {
        assert_eq!(names(&with(&list).authentication), expected);
    }
    let most = with(&json!([{ "secretName": longest }]));
    assert_eq!(names(&most.authentication)[0].len(), 253);
    assert!(names(&credential().authentication).is_empty());
    let mtls = credential_with(&json!({
        "issuerRef": { "name": "x" }, "client": { "secrets": null, "mtls": { "secretName": "a" } },
    }));
    assert!(names(&mtls.authentication).is_empty());
}
