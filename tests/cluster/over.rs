//! `spec.notAfter`: access for a time, from the first token to its removal.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use kube::api::DeleteParams;
use serde_json::json;
use testenv::eventually;

use crate::{
    revocation::{gone, issuer, no_warning, place as place_at, revoke, revoked, warned},
    support::{Listener, Place, SOON, World, condition, merge, run},
};

/// The time in so many seconds, as users write it.
fn soon(seconds: i64) -> String {
    let at = Timestamp::now() + SignedDuration::from_secs(seconds);
    Timestamp::from_second(at.as_second())
        .expect("a time")
        .to_string()
}

/// Waits until the Secret has neither a token nor annotations about one.
async fn emptied(place: &Place, secret: &str) {
    eventually(SOON, format!("{secret} is empty"), async || {
        let secret = place
            .secrets()
            .get(secret)
            .await
            .map_err(|e| e.to_string())?;
        let files: Vec<String> = secret.data.unwrap_or_default().into_keys().collect();
        let notes = secret.metadata.annotations.unwrap_or_default();
        let noted = ["issued-at", "expires-at", "fingerprint", "token-digest"]
            .iter()
            .any(|note| notes.contains_key(&format!("apicred.dev/{note}")));
        if files.is_empty() && !noted {
            Ok(())
        } else {
            Err(format!("{files:?} {notes:?}"))
        }
    })
    .await;
}

#[test]
fn a_token_for_a_time_works_is_removed_and_comes_back_with_a_later_end() {
    run(async {
        let world = World::shared().await;
        let place = world.place("for-a-time").await;
        place.create("c", json!({ "notAfter": soon(3600) })).await;
        let view = place.ready("c").await;
        assert_eq!(place.call("demo", "records", &view.token).await, 200);
        // The end itself triggers the operator: nothing else happens in the meantime.
        place
            .edit("c", json!({ "spec": { "notAfter": soon(2) } }))
            .await;
        let reported = place.not_ready("c", "Ended").await;
        assert!(reported.contains("spec.notAfter"), "{reported}");
        emptied(&place, "token").await;
        let posts = place.posts();
        let credential = place.credentials().get("c").await.expect("a credential");
        assert!(condition(&credential, "Stalled").is_some());
        assert!(condition(&credential, "RenewalFailing").is_none());
        // No annotation, label or deletion causes a new token.
        place.request_renewal("c").await;
        let secrets = place.secrets();
        let deleted = secrets.delete("token", &DeleteParams::default()).await;
        deleted.expect("it goes");
        place.operator_has_seen_it().await;
        world.stays_quiet(&place, Duration::from_secs(1)).await;
        assert_eq!(place.posts(), posts, "no request after the end");
        place
            .edit("c", json!({ "spec": { "notAfter": soon(3600) } }))
            .await;
        let again = place.ready("c").await;
        assert_ne!(again.token, view.token);
        assert_eq!(place.call("demo", "records", &again.token).await, 200);
    });
}

#[test]
fn a_suspension_or_an_invalid_spec_does_not_keep_a_token_beyond_not_after() {
    run(async {
        let world = World::shared().await;
        let place = world.place("beyond").await;
        place.create("c", json!({})).await;
        place.ready("c").await;
        let pause = json!({ "spec": { "suspend": true, "notAfter": soon(1) } });
        place.edit("c", pause).await;
        emptied(&place, "token").await;
        place.not_ready("c", "Ended").await;
        let other = json!({ "target": { "secretName": "other" } });
        place.create("broken", other).await;
        place.ready("broken").await;
        let spec = json!({
            "issuerRef": { "name": "there-is-no-such-issuer" }, "notAfter": soon(1),
        });
        place.edit("broken", json!({ "spec": spec })).await;
        emptied(&place, "other").await;
        place.not_ready("broken", "Ended").await;
        let credential = place.credentials().get("broken").await;
        let credential = credential.expect("a credential");
        assert!(condition(&credential, "Stalled").is_some());
        assert!(condition(&credential, "RenewalFailing").is_none());
        // What is missing after the end is no news.
        let spec = json!({ "spec": { "issuerRef": { "name": "there-is-no-such-issuer" } } });
        place.edit("c", spec).await;
        place.operator_has_seen_it().await;
        place.not_ready("c", "Ended").await;
        let events = place.events("c").await;
        let reasons = events.iter().map(|(kind, reason, _)| (&**kind, &**reason));
        assert_eq!(reasons.collect::<Vec<_>>(), [("Normal", "Ended")]);
    });
}

#[test]
fn a_suspended_credential_whose_client_does_not_exist_is_only_suspended() {
    run(async {
        let world = World::shared().await;
        let place = world.place("paused").await;
        let spec = json!({
            "clientRef": { "name": "there-is-no-such-client" },
            "client": null, "issuerRef": null, "suspend": true,
        });
        place.create("c", spec).await;
        let reported = place.not_ready("c", "Suspended").await;
        assert!(reported.contains("there-is-no-such-client"), "{reported}");
        let resume = json!({ "spec": { "suspend": false } });
        place.edit("c", resume).await;
        place.not_ready("c", "ClientNotFound").await;
    });
}

#[test]
fn a_pull_secret_keeps_the_one_key_that_its_type_demands() {
    run(async {
        let world = World::shared().await;
        let place = world.place("pull").await;
        let target = json!({
            "type": "kubernetes.io/dockerconfigjson",
            "keys": [{ "format": "DockerConfig", "host": "registry.example.com" }, { "format": "Token" }],
        });
        place.create("c", json!({ "target": target })).await;
        place
            .until("c", "ready", |c| {
                condition(c, "Ready").filter(|ready| ready.status == "True")
            })
            .await;
        place
            .edit("c", json!({ "spec": { "notAfter": soon(1) } }))
            .await;
        place.not_ready("c", "Ended").await;
        let secret = place.secrets().get("token").await.expect("a Secret");
        let data = secret.data.expect("data");
        let files: Vec<&String> = data.keys().collect();
        assert_eq!(files, [".dockerconfigjson"]);
        assert_eq!(data[".dockerconfigjson"].0, br#"{"auths":{}}"#);
    });
}

/// A credential whose token is revoked at its end, two seconds from now.
async fn ends_soon(place: &Place) -> String {
    let spec = merge(revoke("token"), json!({ "notAfter": soon(3600) }));
    place.create("c", spec).await;
    let token = place.ready("c").await.token;
    let end = json!({ "spec": { "notAfter": soon(2) } });
    place.edit("c", end).await;
    token
}

fn revocations(listener: &Listener) -> usize {
    let requests = listener.requests();
    requests
        .iter()
        .filter(|r| r.starts_with("POST /revoke "))
        .count()
}

#[test]
fn the_token_of_a_credential_that_ends_and_wants_it_is_revoked() {
    run(async {
        let world = World::shared().await;
        // The first revocation is answered with 503.
        let listener = issuer(|n| if n == 0 { "503 Busy" } else { "200 OK" });
        let place = place_at(world, "over-revoked", &listener).await;
        let token = ends_soon(&place).await;
        place.not_ready("c", "Ended").await;
        emptied(&place, "token").await;
        assert!(revoked(&listener, &token));
        assert_eq!(revocations(&listener), 2);
        // A later end, another token; when the object is deleted, no data of the first one is left.
        let later = json!({ "spec": { "notAfter": soon(3600) } });
        place.edit("c", later).await;
        assert_ne!(place.ready("c").await.token, token);
        let end = json!({ "spec": { "notAfter": soon(1) } });
        place.edit("c", end).await;
        place.not_ready("c", "Ended").await;
        assert_eq!(revocations(&listener), 3);
        place.delete("c").await;
        gone(&place, "c", SOON).await;
        assert_eq!(revocations(&listener), 3);
        no_warning(&place, "c").await;
    });
}

#[test]
fn a_token_that_cannot_be_revoked_is_removed_at_the_end_all_the_same() {
    run(async {
        let world = World::shared().await;
        let listener = issuer(|_| "400 Bad Request");
        let place = place_at(world, "over-unrevoked", &listener).await;
        let token = ends_soon(&place).await;
        place.not_ready("c", "Ended").await;
        emptied(&place, "token").await;
        let note = warned(&place, "c").await;
        assert!(note.contains("the token was not revoked"), "{note}");
        assert!(!note.contains(&token), "{note}");
        assert_eq!(revocations(&listener), 1);
    });
}

#[test]
fn an_operator_that_is_killed_at_the_end_leaves_the_token_to_the_next_one() {
    run(async {
        let mut world = World::own().await;
        world.start_operator().await;
        let works = Arc::new(AtomicBool::new(false));
        let answers = Arc::clone(&works);
        let listener = issuer(move |_| {
            if answers.load(Ordering::SeqCst) {
                "200 OK"
            } else {
                "503 Busy"
            }
        });
        let place = place_at(&world, "over-killed", &listener).await;
        let token = ends_soon(&place).await;
        eventually(SOON, "a first attempt", async || revocations(&listener) > 0).await;
        world.kill_operator().await;
        assert_eq!(place.view("token").await.expect("a token").token, token);
        works.store(true, Ordering::SeqCst);
        let before = revocations(&listener);
        world.start_operator().await;
        place.not_ready("c", "Ended").await;
        emptied(&place, "token").await;
        assert_eq!(revocations(&listener), before + 1);
        assert!(revoked(&listener, &token));
    });
}

#[test]
fn an_end_that_is_moved_while_the_token_is_revoked_brings_another_token() {
    run(async {
        let world = World::shared().await;
        let (request_seen, go) = (Arc::new(AtomicBool::new(false)), mpsc::channel());
        let (seen, wait) = (Arc::clone(&request_seen), Mutex::new(go.1));
        let listener = issuer(move |n| {
            seen.store(true, Ordering::SeqCst);
            if n == 0 {
                let wait = wait.lock().expect("no panic");
                let _ = wait.recv_timeout(Duration::from_secs(10));
            }
            "200 OK"
        });
        let place = place_at(world, "over-moved", &listener).await;
        let token = ends_soon(&place).await;
        eventually(SOON, "the revocation", async || {
            request_seen.load(Ordering::SeqCst)
        })
        .await;
        let later = json!({ "spec": { "notAfter": soon(3600) } });
        place.edit("c", later).await;
        place.operator_has_seen_it().await;
        go.0.send(()).expect("it waits");
        eventually(SOON, "another token", async || {
            place
                .view("token")
                .await
                .is_ok_and(|view| view.token != token)
        })
        .await;
        place.ready("c").await;
    });
}
