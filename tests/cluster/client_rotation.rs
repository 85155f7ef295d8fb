//! A client's own certificate or secret is rotated at an issuer that behaves like Entra ID, with its Microsoft Graph.
//!
//! The operator runs in its own process, whose waits for issuers are short ([`crate::crash::victim`]).

mod beside;
mod crashes;
mod elsewhere;
mod faults;
mod gone;
mod kinds;
mod leaving;
mod manager;
mod refused;
mod registration;
mod restart;
mod rig;
mod shared_secret;
mod stopping;
mod trials;
mod unlisted;
mod unread;
mod upload;

use std::sync::atomic::Ordering;

use dev_issuer::{AppPolicy, CredentialKind, Effect, Fault, RetryAfter, Surface};
use serde_json::{Value, json};

use crate::{
    plugin::Plugin,
    support::{World, run},
};
use rig::Rig;

/// With the longest overlap that a test can wait for.
fn soon() -> Value {
    json!({ "overlap": "1s" })
}

#[test]
fn a_certificate_rotates_and_no_reader_and_no_issuer_notices() {
    run(async {
        let world = World::own().await;
        let mut rig = Rig::with_certificate(&world, "rotates", soon()).await;
        let first = rig.at_issuer(CredentialKind::Certificate).remove(0);
        rig.run().await;
        let token = rig.place.ready("a").await.token;
        rig.until("the first reconciliation", |s| {
            s.keys.len() == 1 && s.rotation_state.is_some()
        })
        .await;
        let before = rig.data().await;
        let (done, reader) = rig.reader();

        // A user made the first certificate: it stays until `adopt` names it.
        let request = rig.request().await;
        let status = rig.switched(&request).await;
        assert_ne!(status.keys[0].thumbprint, status.keys[1].thumbprint);
        let data = rig.data().await;
        assert_eq!(data["tls.crt-previous"], before["tls.crt"]);
        assert_eq!(data["tls.key-previous"], before["tls.key"]);
        assert_ne!(data["tls.key"], before["tls.key"]);
        // The token is valid, so none is requested because of a rotation.
        let status = rig
            .until_condition("RotationLeftover", "was not created by apicred")
            .await;
        // The rotation does not wait for this, so it is not an alert.
        let blocked = status
            .conditions
            .iter()
            .find(|c| c.type_ == "RotationBlocked");
        assert_eq!(blocked, None);
        assert_eq!(rig.place.view("token-a").await.unwrap().token, token);
        rig.adopt(&first).await;
        // The credential follows at its renewal, and no fault is reported before.
        let status = rig
            .until("the overlap", |s| {
                s.rotation_state.as_deref() == Some("Overlap")
            })
            .await;
        let mut all = status.conditions.iter();
        assert!(all.all(|c| c.type_ != "RotationBlocked"), "{status:?}");
        assert_eq!(rig.place.view("token-a").await.unwrap().token, token);
        rig.follows_through(&request).await;
        let second = rig.at_issuer(CredentialKind::Certificate);
        assert!(second.len() == 1 && second[0] != first, "{second:?}");

        // The next proof is signed by the one that apicred made.
        let request = rig.request().await;
        rig.switched(&request).await;
        rig.place.request_renewal("a").await;
        let status = rig.rotated(&request).await;
        let third = rig.at_issuer(CredentialKind::Certificate);
        assert!(third.len() == 1 && third != second, "{third:?}");
        assert!(
            status
                .next_rotation_at
                .is_some_and(|at| at.0 > jiff::Timestamp::now())
        );
        done.store(true, Ordering::SeqCst);
        assert!(reader.await.expect("no call was refused") > 5);
    });
}

#[test]
fn a_client_secret_rotates_by_another_application_that_owns_it() {
    run(async {
        let world = World::own().await;
        let mut rig = Rig::with_secret(&world, "secret-rotates", soon()).await;
        let first = rig.at_issuer(CredentialKind::Secret).remove(0);
        rig.run().await;
        rig.place.ready("a").await;
        rig.place.ready("graph-rotator").await;
        let (done, reader) = rig.reader();
        // As a user requests it who waits until credentials use the new one.
        let kubeconfig = world.cluster.admin_kubeconfig().into();
        let args = ["rotate", "shared", "--wait", "-n", &rig.place.namespace];
        let (good, output) = Plugin::start(&kubeconfig, &args).end().await;
        assert!(
            good && output.contains("credentials use the new one"),
            "{output}"
        );
        let request = rig.requested().await;
        let status = rig.switched(&request).await;
        let current = status
            .keys
            .iter()
            .find(|k| k.state == "Current")
            .expect("a current one");
        assert!(current.key_id.is_some() && current.hint.is_some() && current.not_after.is_some());
        let noted = rig.source().await.metadata.annotations.unwrap_or_default();
        assert!(
            noted.contains_key("apicred.dev/secret-expires-at"),
            "the end of a client secret warns"
        );
        rig.adopt(&first).await;
        rig.follows_through(&request).await;
        let current = [current.key_id.clone().unwrap_or_default()];
        rig.only(CredentialKind::Secret, &current).await;
        done.store(true, Ordering::SeqCst);
        assert!(reader.await.expect("no call was refused") > 5);
    });
}

#[test]
fn what_the_issuer_refuses_is_reported_and_costs_nothing() {
    run(async {
        let world = World::own().await;
        let mut rig = Rig::with_secret(&world, "refused", soon()).await;
        let first = rig.at_issuer(CredentialKind::Secret);
        rig.place
            .issuer
            .set_app_policies(vec![AppPolicy::PasswordAddition]);
        rig.run().await;
        rig.place.ready("a").await;
        rig.place.ready("graph-rotator").await;
        let request = rig.request().await;
        let status = rig
            .until_condition("RotationFailed", "refused to add")
            .await;
        let blocked = status
            .conditions
            .iter()
            .find(|c| c.type_ == "RotationBlocked");
        assert!(
            blocked.is_some_and(|c| c.message.contains("policy of the tenant")),
            "{status:?}"
        );
        // It is in the annotation, so that the next process reports the same.
        rig.until_condition("RotationFailed", "a policy of the tenant does not allow it")
            .await;
        assert_eq!(rig.at_issuer(CredentialKind::Secret), first);
        // A credential that a lost answer hides is found and removed, and the rotation continues when it can.
        let graph = |effect| Fault {
            on: Surface::Graph,
            times: Some(1),
            effect,
            ..Fault::default()
        };
        rig.place.issuer.fault(graph(Effect::TooManyRequests {
            retry_after: Some(RetryAfter::Seconds(1)),
        }));
        rig.place.issuer.set_app_policies(Vec::new());
        rig.switched(&request).await;
        assert_eq!(rig.at_issuer(CredentialKind::Secret).len(), 2);
        rig.adopt(&first[0]).await;
        rig.follows_through(&request).await;
        assert_eq!(rig.at_issuer(CredentialKind::Secret).len(), 1);
    });
}

#[test]
fn the_object_id_of_another_application_gives_no_client_secret_of_it() {
    run(async {
        let world = World::own().await;
        let mut rig = Rig::with_secret(&world, "mixed-up", soon()).await;
        let issuer = &rig.place.issuer;
        let before = issuer.credentials_of(&rig.other).len();
        let (own, other) = (issuer.object_id(&rig.app), issuer.object_id(&rig.other));
        rig.point_at(json!({ "objectId": other })).await;
        rig.run().await;
        rig.place.ready("a").await;
        rig.place.ready("graph-rotator").await;
        let request = rig.request().await;
        let status = rig
            .until_condition("RotationBlocked", "correct objectId")
            .await;
        let message = format!("{status:?}");
        assert!(message.contains(&rig.other), "{message}");
        rig.point_at(json!({ "objectId": own })).await;
        rig.switched(&request).await;
        assert_eq!(rig.place.issuer.credentials_of(&rig.other).len(), before);
    });
}

#[test]
fn what_is_noted_of_one_application_gives_no_client_secret_of_another() {
    run(async {
        let world = World::own().await;
        let mut rig = Rig::with_secret(&world, "renamed", soon()).await;
        let before = rig.place.issuer.credentials_of(&rig.other).len();
        rig.run().await;
        rig.place.ready("a").await;
        rig.place.ready("graph-rotator").await;
        let request = rig.request().await;
        let status = rig.switched(&request).await;
        let own = rig.at_issuer(CredentialKind::Secret).len();
        // Another credential gets tokens of the first application with the same Secret. This proves nothing about the second one.
        let inline = json!({
            "client": { "id": rig.app, "secrets": [{ "name": rig::SOURCE, "key": "value" }] },
            "target": { "secretName": "inline" },
        });
        rig.place.create("inline", inline).await;
        rig.place.ready("inline").await;
        // apicred made the value in the Secret, for the first application.
        rig.point_at(json!({ "id": rig.other, "objectId": null }))
            .await;
        rig.request().await;
        let made = status.keys[0].key_id.as_deref().expect("its ID");
        rig.until_condition("RotationBlocked", made).await;
        rig.forget().await;
        // The value before it also belongs to the first application, as far as apicred can know.
        rig.until_condition("RotationBlocked", "-previous").await;
        let removed = json!({ "data": { "value-previous": null } });
        rig.place.edit_secret(rig::SOURCE, removed).await;
        for restarted in [false, true] {
            if restarted {
                rig.run().await;
            }
            let status = rig
                .until_condition("RotationBlocked", "refuses the credential")
                .await;
            let added = rig.place.issuer.credentials_of(&rig.other).len();
            assert_eq!(added, before, "{status:?}");
        }
        assert_eq!(rig.at_issuer(CredentialKind::Secret).len(), own);
    });
}

#[test]
fn only_the_owner_of_a_secret_lets_it_be_rotated() {
    run(async {
        let world = World::own().await;
        let mut rig = Rig::with_certificate(&world, "consent", soon()).await;
        rig.annotate_source(json!({ "apicred.dev/rotate-by": null }))
            .await;
        let (version, first) = (
            rig.source().await.metadata.resource_version,
            rig.at_issuer(CredentialKind::Certificate),
        );
        rig.run().await;
        let request = rig.request().await;
        rig.until_condition("RotationBlocked", "apicred.dev/rotate-by: shared")
            .await;
        rig.place.ready("a").await;
        assert_eq!(rig.source().await.metadata.resource_version, version);
        assert_eq!(rig.at_issuer(CredentialKind::Certificate), first);
        rig.annotate_source(json!({ "apicred.dev/rotate-by": "shared" }))
            .await;
        rig.switched(&request).await;
        // If a tool restores the Secret, this is reported, and the operator does not write against the tool.
        rig.annotate_source(json!({ "argocd.argoproj.io/tracking-id": "x" }))
            .await;
        rig.until_condition("RotationBlocked", "belongs to Argo CD")
            .await;
    });
}
