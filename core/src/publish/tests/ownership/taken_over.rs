//! A Secret of an earlier credential of the same name.

use super::*;

/// What happens to a Secret whose controller is an earlier credential of this name, after the garbage collector has had this many seconds.
fn earlier(change: &Value, seconds: u64) -> Target {
    let credential = credential();
    let owner = json!({
        "annotations": { (names::CREDENTIAL_UID): "earlier" },
        "ownerReferences": [{
            "apiVersion": "apicred.dev/v1alpha1", "kind": "ApiCredential", "name": "alerts", "uid": "earlier",
            "controller": true,
        }],
    });
    let mut value = serde_json::to_value(meta(&credential, &owner)).unwrap();
    crate::fixtures::merge(&mut value, change);
    let facts = examine(&serde_json::from_value(value).unwrap());
    target(&credential, Some(&facts)).seen_for(std::time::Duration::from_secs(seconds))
}

#[test]
fn a_secret_of_an_earlier_credential_of_this_name_waits_for_the_garbage_collector() {
    let left = |seconds| match earlier(&json!({}), seconds) {
        Target::OwnerGone {
            version, uid, left, ..
        } => {
            assert_eq!((version.as_str(), uid.as_str()), ("42", "earlier"));
            left.as_secs()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!([left(0), left(29), left(30), left(3_000)], [30, 1, 0, 0]);
    // Without its annotations the owner reference still shows the owner.
    let bare = json!({ "annotations": null, "labels": null });
    assert!(matches!(
        earlier(&bare, 30),
        Target::OwnerGone { uid, .. } if uid == "earlier"
    ));
}

#[test]
fn a_secret_of_another_owner_is_never_taken_over() {
    let owner = |change: &Value| {
        let mut owner = json!({
            "apiVersion": "apicred.dev/v1alpha1", "kind": "ApiCredential", "name": "alerts", "uid": "earlier",
            "controller": true,
        });
        crate::fixtures::merge(&mut owner, change);
        json!({ "ownerReferences": [owner] })
    };
    for change in [
        owner(&json!({ "name": "other" })),
        owner(&json!({ "kind": "Boss" })),
        owner(&json!({ "apiVersion": "apicred.development/v1" })),
        owner(&json!({ "controller": false })),
        owner(&json!({ "controller": null })),
        // The annotations name another credential than the owner reference.
        json!({ "annotations": { (names::CREDENTIAL_UID): "third" } }),
        json!({ "annotations": { (names::CREDENTIAL_UID): UID } }),
        json!({ "ownerReferences": null }),
    ] {
        let target = earlier(&change, 3_000);
        let is_other = matches!(target, Target::Foreign(_) | Target::OfAnother(_));
        assert!(is_other, "{change}: {target:?}");
    }
    let deleting = json!({ "deletionTimestamp": "2026-01-01T00:00:00Z" });
    assert_eq!(earlier(&deleting, 3_000), Target::Deleting(None));
    let living = owner(&json!({ "uid": UID }));
    let mut ours = json!({ "annotations": { (names::CREDENTIAL_UID): UID } });
    crate::fixtures::merge(&mut ours, &living);
    assert!(matches!(earlier(&ours, 3_000), Target::Ours { .. }));
}
