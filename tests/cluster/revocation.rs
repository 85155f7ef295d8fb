//! `deletionPolicy: Revoke`: the token is revoked before the credential is deleted, and no deletion waits longer than a minute.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api,
    api::{DeleteParams, PropagationPolicy},
};
use serde_json::{Value, json};
use testenv::eventually;

use crate::support::{LATER, Listener, Place, SOON, World, reply, run};

pub(crate) const FINALIZER: &str = "apicred.dev/revoke";
/// The finalizer of another tool.
const THEIRS: &str = "example.com/theirs";

pub(crate) fn revoke(target: &str) -> Value {
    json!({ "deletionPolicy": "Revoke", "target": { "secretName": target } })
}

/// An issuer whose revocation endpoint answers as `revocation` returns, from the number of its requests so far.
pub(crate) fn issuer(revocation: impl Fn(usize) -> &'static str + Send + 'static) -> Listener {
    let (tokens, ends) = (AtomicUsize::new(0), AtomicUsize::new(0));
    Listener::replying(move |request| {
        if request.starts_with("POST /revoke ") {
            let status = revocation(ends.fetch_add(1, Ordering::SeqCst));
            return reply(status, "", b"");
        }
        let token = format!("t0ken-{}", tokens.fetch_add(1, Ordering::SeqCst));
        let token = json!({ "access_token": token, "token_type": "Bearer", "expires_in": 3600 });
        reply("200 OK", "", token.to_string().as_bytes())
    })
}

pub(crate) fn spec_of(place: &Place, listener: &Listener) -> Value {
    json!({
        "oauth2": {
            "tokenUrl": listener.token_url,
            "revocationUrl": format!("{}/revoke", listener.origin()),
        },
        "caBundle": listener.ca_pem,
        "network": { "allowedCidrs": ["127.0.0.0/8"] },
        "allowedNamespaces": { "names": [place.namespace] },
    })
}

/// Deletes the issuer of a place, and waits until the operator has seen this.
pub(crate) async fn delete_issuer(place: &Place) {
    let params = DeleteParams::default();
    let deleted = place.issuers().delete(&place.issuer_name, &params).await;
    deleted.expect("a deletion");
    place.operator_has_seen_it().await;
}

async fn offer(place: &Place, listener: &Listener) {
    place.put_issuer(spec_of(place, listener)).await;
}

/// A place whose issuer is this listener.
pub(crate) async fn place(world: &World, label: &str, listener: &Listener) -> Place {
    let place = world.place(label).await;
    offer(&place, listener).await;
    place
}

pub(crate) fn revoked(listener: &Listener, token: &str) -> bool {
    let requests = listener.requests();
    let mut ends = requests.iter().filter(|r| r.starts_with("POST /revoke "));
    ends.any(|r| r.contains(&format!("token={token}&")) || r.ends_with(&format!("token={token}")))
}

pub(crate) async fn finalizers(place: &Place, name: &str) -> Vec<String> {
    let object = place.credentials().get(name).await.expect("a credential");
    object.metadata.finalizers.unwrap_or_default()
}

pub(crate) async fn gone(place: &Place, name: &str, within: Duration) {
    eventually(within, format!("{name} is gone"), async || {
        match place.credentials().get_opt(name).await {
            Ok(None) => Ok(()),
            other => Err(format!("{:?}", other.map(|o| o.map(|o| o.metadata)))),
        }
    })
    .await;
}

/// The event about a token that was not revoked.
pub(crate) async fn warned(place: &Place, name: &str) -> String {
    eventually(SOON, "the event", async || {
        let events = place.events(name).await;
        let mut events = events.into_iter();
        let found = events.find(|(_, reason, _)| reason == "RevocationFailed");
        found.map(|(_, _, note)| note).ok_or("none")
    })
    .await
}

pub(crate) async fn no_warning(place: &Place, name: &str) {
    let events = place.events(name).await;
    assert!(
        events
            .iter()
            .all(|(_, reason, _)| reason != "RevocationFailed"),
        "{events:?}"
    );
}

#[test]
fn the_finalizer_comes_before_the_first_token_and_follows_the_policy() {
    run(async {
        let world = World::shared().await;
        let listener = issuer(|_| "200 OK");
        let place = place(world, "end-policy", &listener).await;
        place.create("c", revoke("token")).await;
        place.ready("c").await;
        assert_eq!(finalizers(&place, "c").await, [FINALIZER]);
        let adds = world.cluster.audit_events(|e| {
            e.uri.contains(&place.namespace)
                && e.verb == "patch"
                && e.uri.contains("/apicredentials/c")
                && !e.uri.contains("/status")
        });
        assert_eq!(adds.expect("an audit log").len(), 1, "one write");
        let theirs = json!({ "metadata": { "finalizers": [FINALIZER, THEIRS] } });
        place.edit("c", theirs).await;
        for (policy, expected) in [
            ("Delete", vec![THEIRS]),
            ("Revoke", vec![THEIRS, FINALIZER]),
            ("Retain", vec![THEIRS]),
            ("Revoke", vec![THEIRS, FINALIZER]),
        ] {
            place
                .edit("c", json!({ "spec": { "deletionPolicy": policy } }))
                .await;
            eventually(SOON, policy, async || {
                let now = finalizers(&place, "c").await;
                (now == expected)
                    .then_some(())
                    .ok_or_else(|| now.join(", "))
            })
            .await;
        }
        // A user removes the finalizer: it is added again.
        let none = json!({ "metadata": { "finalizers": [THEIRS] } });
        place.edit("c", none).await;
        eventually(SOON, "the finalizer", async || {
            finalizers(&place, "c")
                .await
                .contains(&FINALIZER.to_owned())
        })
        .await;
        let token = place.view("token").await.expect("a Secret").token;
        place.delete("c").await;
        eventually(SOON, "the revocation", async || revoked(&listener, &token)).await;
        eventually(SOON, "their finalizer alone", async || {
            finalizers(&place, "c").await == [THEIRS]
        })
        .await;
        let none = json!({ "metadata": { "finalizers": null } });
        place.edit("c", none).await;
        gone(&place, "c", SOON).await;
        no_warning(&place, "c").await;
        assert_eq!(
            listener
                .requests()
                .iter()
                .filter(|r| r.starts_with("POST /revoke "))
                .count(),
            1
        );
    });
}

#[test]
fn a_token_is_revoked_whichever_way_its_credential_is_deleted() {
    run(async {
        let world = World::shared().await;
        let listener = issuer(|n| {
            if n == 0 {
                "503 Service Unavailable"
            } else {
                "200 OK"
            }
        });
        let place = place(world, "end-ways", &listener).await;
        for (name, way, change) in [
            ("background", PropagationPolicy::Background, json!(null)),
            ("foreground", PropagationPolicy::Foreground, json!(null)),
            ("orphan", PropagationPolicy::Orphan, json!(null)),
            (
                "suspended",
                PropagationPolicy::Background,
                json!({ "suspend": true }),
            ),
        ] {
            place.create(name, revoke(name)).await;
            let token = place.ready(name).await.token;
            if !change.is_null() {
                place.edit(name, json!({ "spec": change })).await;
            }
            let params = DeleteParams {
                propagation_policy: Some(way),
                ..DeleteParams::default()
            };
            place
                .credentials()
                .delete(name, &params)
                .await
                .expect("a deletion");
            gone(&place, name, SOON).await;
            assert!(revoked(&listener, &token), "{name}");
            no_warning(&place, name).await;
        }
        // The Secret is deleted first, and is not created again.
        place.create("first", revoke("first")).await;
        let token = place.ready("first").await.token;
        place
            .edit("first", json!({ "spec": { "suspend": true } }))
            .await;
        place
            .secrets()
            .delete("first", &DeleteParams::default())
            .await
            .expect("a deletion");
        place.operator_has_seen_it().await;
        place.delete("first").await;
        gone(&place, "first", SOON).await;
        assert!(revoked(&listener, &token));
    });
}

#[test]
fn a_credential_that_cannot_be_revoked_is_deleted_at_once_and_reported() {
    run(async {
        let world = World::shared().await;
        let listener = issuer(|_| "400 Bad Request");
        let place = place(world, "end-cannot", &listener).await;
        // Without a token there is nothing to revoke, and nothing to report.
        let nothing = json!({ "client": { "secrets": [{ "name": "missing", "key": "k" }] } });
        let mut spec = revoke("nothing");
        spec["client"] = nothing["client"].clone();
        place.create("nothing", spec).await;
        place.not_ready("nothing", "ClientSecretMissing").await;
        place.delete("nothing").await;
        gone(&place, "nothing", SOON).await;
        no_warning(&place, "nothing").await;
        for name in ["refused", "secretless"] {
            place.create(name, revoke(name)).await;
            place.ready(name).await;
        }
        place.delete("refused").await;
        gone(&place, "refused", SOON).await;
        let note = warned(&place, "refused").await;
        assert!(
            note.contains("HTTP 400") && note.contains("stays valid until 2"),
            "{note}"
        );
        place
            .secrets()
            .delete("source", &DeleteParams::default())
            .await
            .expect("a deletion");
        place.operator_has_seen_it().await;
        place.delete("secretless").await;
        gone(&place, "secretless", SOON).await;
        let note = warned(&place, "secretless").await;
        assert!(note.contains("Secret source"), "{note}");
        let logs = world.operator_logs();
        assert!(
            logs.lines()
                .any(|l| l.contains("not revoked") && l.contains(&place.namespace))
        );
    });
}

#[test]
fn a_namespace_is_deleted_whatever_goes_first() {
    run(async {
        let world = World::shared().await;
        let listener = issuer(|_| "200 OK");
        let place = place(world, "end-namespace", &listener).await;
        for n in 0..10 {
            let name = format!("c{n}");
            place.create(&name, revoke(&name)).await;
        }
        for n in 0..10 {
            place.ready(&format!("c{n}")).await;
        }
        let namespaces: Api<Namespace> = Api::all(world.admin.clone());
        namespaces
            .delete(&place.namespace, &DeleteParams::default())
            .await
            .expect("a deletion");
        eventually(LATER, "the end of the namespace", async || {
            namespaces
                .get_opt(&place.namespace)
                .await
                .is_ok_and(|n| n.is_none())
        })
        .await;
        // Each token was revoked, or the log reports that it was not: the Secret that authenticates the client may be deleted first. The operator has
        // the token itself, so it does not need the target Secret.
        let logs = world.operator_logs();
        for n in 0..10 {
            let name = format!("\"c{n}\"");
            let about = |l: &&str| l.contains(&place.namespace) && l.contains(&name);
            let mut lines = logs.lines().filter(about);
            assert!(lines.any(|l| l.contains("revoked")), "{name}");
            let mut lines = logs.lines().filter(about);
            assert!(
                !lines.any(|l| l.contains("its Secret was deleted before the revocation")),
                "{name}"
            );
        }
    });
}

#[test]
fn two_hundred_deletions_behind_an_issuer_that_does_not_answer_end_at_their_deadline() {
    run(async {
        const MANY: usize = 200;
        let world = World::shared().await;
        let listener = issuer(|_| {
            // One connection at a time, and this one never ends.
            std::thread::sleep(Duration::from_mins(10));
            "200 OK"
        });
        let silent = place(world, "end-many", &listener).await;
        let names: Arc<Vec<String>> = Arc::new((0..MANY).map(|n| format!("c{n}")).collect());
        for name in names.iter() {
            silent.create(name, revoke(name)).await;
        }
        for name in names.iter() {
            silent.ready(name).await;
        }
        let well = issuer(|_| "200 OK");
        let other = place(world, "end-other", &well).await;
        other.create("c", revoke("token")).await;
        let token = other.ready("c").await.token;
        for name in names.iter() {
            silent.delete(name).await;
        }
        // Another namespace does not wait for them.
        other.delete("c").await;
        gone(&other, "c", SOON).await;
        assert!(revoked(&well, &token));
        for name in names.iter() {
            gone(&silent, name, LATER).await;
        }
        let note = warned(&silent, "c0").await;
        assert!(note.contains("not revoked in time"), "{note}");
        let (_, metrics) = world.operator().get("/metrics").await.expect("metrics");
        let timeouts = metrics
            .lines()
            .find_map(|l| l.strip_prefix("apicred_revocations_total{result=\"timeout\"} "))
            .and_then(|n| n.trim().parse::<usize>().ok());
        assert!(timeouts.is_some_and(|n| n >= MANY), "{timeouts:?}");
    });
}
