//! A client rolls its own certificates without any permission: the application may not be read.

use apicred::api::ApiClientStatus;
use dev_issuer::CredentialKind;
use serde_json::json;
use testenv::eventually;

use super::{Rig, rig::SOURCE};
use crate::support::{
    LATER, World,
    keys::{self, Kind},
    run,
};

fn blocked(status: &ApiClientStatus) -> bool {
    let stops = ["RotationBlocked", "RotationFailed"];
    let mut types = status.conditions.iter().map(|c| c.type_.as_str());
    types.any(|kind| stops.contains(&kind))
}

/// Two rotations; the IDs at the issuer in the order in which they were added, and the status at the end.
async fn rotate_twice(rig: &mut Rig<'_>) -> (Vec<String>, ApiClientStatus) {
    let first = rig.at_issuer(CredentialKind::Certificate).remove(0);
    rig.run().await;
    rig.place.ready("a").await;
    let request = rig.request().await;
    rig.switched(&request).await;
    let mut ids = vec![first.clone()];
    let added = |rig: &Rig<'_>, ids: &[String]| {
        let mut all = rig.at_issuer(CredentialKind::Certificate).into_iter();
        all.find(|id| !ids.contains(id)).expect("another one")
    };
    ids.push(added(rig, &ids));
    // A user made the first one, so it stays. The rotation does not wait for that.
    let status = rig
        .until_condition("RotationLeftover", "was not created by apicred")
        .await;
    let first = status.keys.iter().find(|k| k.state == "Previous");
    let thumbprint = first
        .and_then(|key| key.thumbprint.as_deref())
        .expect("one");
    let message = |s: &ApiClientStatus| format!("{:?}", s.conditions);
    assert!(message(&status).contains(thumbprint), "{status:#?}");
    let steady = |s: &ApiClientStatus| s.rotation_state.as_deref() == Some("Steady");
    let status = rig.until("the end of the overlap", steady).await;
    assert!(!blocked(&status), "{status:#?}");
    let message = async || {
        let all = rig.events("RotationLeftover").await;
        (all.len() == 1)
            .then_some(())
            .ok_or_else(|| format!("{all:?}"))
    };
    eventually(LATER, "one event".to_owned(), message).await;

    let request = rig.request().await;
    rig.follows_through(&request).await;
    ids.push(added(rig, &ids));
    (ids, rig.status().await)
}

#[test]
fn what_apicred_added_is_removed_by_the_id_that_the_answer_has() {
    run(async {
        let world = World::own().await;
        let mut rig = Rig::without_permission(&world, "unread").await;
        rig.place.issuer.name_new_keys(true);
        let (ids, status) = rotate_twice(&mut rig).await;
        let left = [ids[0].clone(), ids[2].clone()];
        rig.only(CredentialKind::Certificate, &left).await;
        assert_eq!(status.keys[0].key_id.as_ref(), Some(&ids[2]));
    });
}

#[test]
fn a_credential_without_known_id_stays_until_it_expires_and_an_event_reports_it() {
    run(async {
        let world = World::own().await;
        let mut rig = Rig::without_permission(&world, "unread-unnamed").await;
        let (ids, status) = rotate_twice(&mut rig).await;
        assert_eq!(rig.at_issuer(CredentialKind::Certificate), ids);
        assert_eq!(status.keys[0].key_id, None);
        let message = async || {
            let all = rig.events("RotationLeftover").await;
            let own = |note: &&String| {
                let words = ["/1 is not used", "thumbprint", "stays valid there until"];
                words.iter().all(|word| note.contains(word))
            };
            match all.iter().filter(own).count() {
                1 => Ok(()),
                n => Err(format!("{n}: {all:?}")),
            }
        };
        eventually(LATER, "an event".to_owned(), message).await;
    });
}

#[test]
fn a_certificate_of_apicred_that_a_user_replaces_is_named_once() {
    run(async {
        let world = World::own().await;
        let mut rig = Rig::without_permission(&world, "unread-replaced").await;
        rig.place.issuer.name_new_keys(true);
        rig.run().await;
        rig.place.ready("a").await;
        let request = rig.request().await;
        rig.switched(&request).await;
        let steady = |s: &ApiClientStatus| s.rotation_state.as_deref() == Some("Steady");
        let status = rig.until("the end of the overlap", steady).await;
        let made = status.keys[0].key_id.clone().expect("its key ID");

        let theirs = keys::keys(Kind::Rsa, "theirs", None);
        let certificates = vec![theirs.certificate.clone()];
        let known = rig.place.issuer.set_certificates(&rig.app, certificates);
        known.expect("the application");
        let pair = json!({ "tls.crt": theirs.certificate, "tls.key": theirs.key });
        rig.place.put_secrets(SOURCE, &pair).await;
        let said = async || {
            let all = rig.events("RotationLeftover").await;
            let own = |note: &&String| {
                let words = [made.as_str(), "was created by apicred"];
                words.iter().all(|word| note.contains(word))
            };
            match all.iter().filter(own).count() {
                1 => Ok(()),
                n => Err(format!("{n}: {all:?}")),
            }
        };
        eventually(LATER, "an event".to_owned(), said).await;
        rig.renews().await;
        let left = rig.at_issuer(CredentialKind::Certificate);
        assert!(left.contains(&made), "{left:?}");
    });
}
