//! A copy that could not be written: what is reported, and until when.

use serde_json::json;

use crate::{
    credential::{Copied, Credential},
    fixtures::credential_with,
    publish::{
        copy_fault::{CopyFault, in_the_way},
        last_good::LastGood,
        ownership::{SecretFacts, examine},
    },
};

const WHY: &str = "the quota few leaves no room";

fn credential() -> Credential {
    credential_with(&json!({
        "client": { "secrets": null, "certificates": [{ "secretName": "tls" }] },
    }))
}

fn source(uid: &str, version: &str, keeps: &str) -> SecretFacts {
    let meta = json!({
        "name": "tls", "uid": uid, "resourceVersion": version,
        "annotations": { "apicred.dev/keep-last-good": keeps },
    });
    examine(&serde_json::from_value(meta).unwrap())
}

fn copy(of: Option<&str>) -> SecretFacts {
    let annotations = of.map(|of| json!({ "apicred.dev/last-good-of": of }));
    let meta = json!({
        "name": "tls-last-good", "uid": "copy", "resourceVersion": "9", "annotations": annotations,
    });
    examine(&serde_json::from_value(meta).unwrap())
}

fn kept(copy: &SecretFacts) -> Option<&LastGood> {
    copy.last_good.as_deref()
}

fn first<T>(credential: &Credential, of: impl FnOnce(&Copied<'_>) -> T) -> T {
    of(&credential.authentication.copies()[0])
}

#[test]
fn a_pair_that_is_not_stored_is_reported_until_the_copy_changes_or_is_not_requested() {
    let credential = credential();
    let tls = source("a", "1", "true");
    for before in [None, Some(copy(Some("a/0"))), Some(copy(Some("")))] {
        let fault = first(&credential, |copied| {
            CopyFault::storing(copied, &tls, before.as_ref().and_then(kept), WHY.to_owned())
        });
        let fault = fault.expect("a fault");
        let lasts =
            |source: Option<&SecretFacts>, copy: Option<&SecretFacts>| fault.lasts(source, copy);
        let same = before.as_ref();
        assert!(lasts(Some(&tls), same));
        // The pair was replaced before its copy could be stored.
        assert!(lasts(Some(&source("a", "2", "true")), same));
        assert!(!lasts(Some(&source("a", "2", "false")), same));
        assert!(!lasts(Some(&source("b", "3", "true")), same));
        assert!(!lasts(None, same));
        // It was stored, or another writer has created a Secret with this name.
        for other in [copy(Some("a/1")), copy(None)] {
            assert!(!lasts(Some(&tls), Some(&other)), "{before:?}");
        }
        if before.is_some() {
            assert!(!lasts(Some(&tls), None));
        }
    }
    // Only its owner was to be added.
    let stored = copy(Some("a/1"));
    let fault = first(&credential, |copied| {
        CopyFault::storing(copied, &tls, kept(&stored), WHY.to_owned())
    });
    assert_eq!(fault, None);
}

#[test]
fn a_key_that_stays_in_a_copy_is_reported_until_the_copy_is_empty_or_requested() {
    let (credential, full) = (credential(), copy(Some("a/1")));
    let fault = first(&credential, |copied| {
        CopyFault::emptying(copied, "a", kept(&full), WHY.to_owned())
    });
    for (source, copy, lasts) in [
        (None, Some(&full), true),
        (Some(&source("a", "2", "false")), Some(&full), true),
        // A new Secret with the same name.
        (Some(&source("b", "2", "true")), Some(&full), true),
        (Some(&source("a", "2", "true")), Some(&full), false),
        (None, Some(&copy(Some(""))), false),
        (None, None, false),
    ] {
        assert_eq!(fault.lasts(source, copy), lasts, "{source:?} {copy:?}");
    }
}

#[test]
fn the_messages_name_both_secrets_who_refused_and_one_next_step() {
    let (credential, tls) = (credential(), source("a", "1", "true"));
    let storing = first(&credential, |copied| {
        CopyFault::storing(copied, &tls, None, WHY.to_owned()).unwrap()
    });
    let emptying = first(&credential, |copied| {
        CopyFault::emptying(copied, "a", None, WHY.to_owned())
    });
    let target = serde_json::from_value(json!({
        "name": "tls-last-good", "uid": "t", "resourceVersion": "9",
        "annotations": { "apicred.dev/credential": "shop", "apicred.dev/credential-uid": "u" },
    }));
    let target = examine(&target.unwrap());
    let off = "or set the annotation apicred.dev/keep-last-good: \"false\" on Secret tls";
    for (message, words) in [
        (
            storing.message(),
            [
                "the certificate in Secret tls is not stored as the last good one",
                "Secret tls-last-good cannot be written (the quota few leaves no room)",
                off,
            ],
        ),
        (
            in_the_way("tls", "tls-last-good", None),
            [
                "the certificate in Secret tls is not stored as the last good one",
                "Secret tls-last-good exists, and apicred did not create it; delete or rename Secret tls-last-good",
                off,
            ],
        ),
        (
            in_the_way("tls", "tls-last-good", Some(&target)),
            [
                "the certificate in Secret tls is not stored as the last good one",
                "Secret tls-last-good exists, and it was written for ApiCredential shop; create an ApiCredential with another target.secretName in place of ApiCredential shop, and delete Secret tls-last-good",
                off,
            ],
        ),
        (
            emptying.message(),
            [
                "Secret tls-last-good still contains a private key",
                "Secret tls-last-good cannot be emptied (the quota few leaves no room)",
                "delete Secret tls-last-good",
            ],
        ),
    ] {
        for words in words {
            assert!(message.contains(words), "{message}");
        }
    }
}
