//! Objects of a CRD that is newer than the operator: an object that it cannot read does not count as deleted.

use std::sync::atomic::{AtomicUsize, Ordering};

use apicred::api::{ApiCredential, ClusterTokenIssuer};
use jiff::{SignedDuration, Timestamp};
use kube::{
    Api,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
};
use serde_json::{Value, json};
use testenv::eventually;

use crate::{
    calls::Fault,
    scenario::Case,
    stream::StreamFault,
    support::{LATER, Listener, World, issuer_of, run},
};

/// A value that no version supports, and that is in no other object.
const UNKNOWN: &str = "aGalacticYear";

/// Reasons why another credential does not get the Secret. If both were created in one second, their UIDs decide which one
/// is older.
const TAKEN: [&str; 2] = ["SecretNotOwned", "TargetClaimed"];

/// Opens a field of a CRD to any value, as a newer version of it may. Rules about the field would not compile any more.
async fn widen(world: &World, crd: &str, field: &str) {
    let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";
    let any = json!([
        { "op": "remove", "path": format!("{spec}/x-kubernetes-validations") },
        { "op": "replace", "path": format!("{spec}/properties/{field}"), "value": { "x-kubernetes-preserve-unknown-fields": true } },
    ]);
    let (crd, patch) = (format!("{crd}.apicred.dev"), any.to_string());
    let args = ["patch", "crd", &crd, "--type=json", "-p", &patch];
    world.cluster.kubectl(&args).await.expect("a wider CRD");
}

/// An issuer with a revocation endpoint. Each of its tokens is another one.
fn issuer() -> Listener {
    let count = AtomicUsize::new(0);
    Listener::answering("200 OK", move |request| {
        let issuer = issuer_of(request);
        let (token, end) = (format!("{issuer}/token"), format!("{issuer}/revoke"));
        if request.starts_with("GET") {
            json!({ "issuer": issuer, "token_endpoint": token, "revocation_endpoint": end })
        } else {
            let token = format!("token-{}", count.fetch_add(1, Ordering::SeqCst));
            json!({ "access_token": token, "token_type": "Bearer", "expires_in": 3600 })
        }
        .to_string()
    })
}

fn credentials(case: &Case) -> Api<DynamicObject> {
    let kind = ApiResource::erase::<ApiCredential>(&());
    Api::namespaced_with(case.place.kube.clone(), &case.place.namespace, &kind)
}

fn issuers(case: &Case) -> Api<DynamicObject> {
    let kind = ApiResource::erase::<ClusterTokenIssuer>(&());
    Api::all_with(case.place.kube.clone(), &kind)
}

/// Changes an object, after the API server has loaded the wider CRD.
async fn edit(api: &Api<DynamicObject>, name: &str, patch: &Value) {
    let patch = Patch::Merge(patch);
    eventually(LATER, format!("an edit of {name}"), async || {
        let edited = api.patch(name, &PatchParams::default(), &patch).await;
        edited.map(drop).map_err(|error| error.to_string())
    })
    .await;
}

/// Waits until the status of an object reports, for its present generation, why it is not ready.
async fn until_reported(api: &Api<DynamicObject>, name: &str, reasons: &[&str]) -> String {
    eventually(LATER, format!("{name}: {reasons:?}"), async || {
        let object = api.get(name).await.map_err(|error| error.to_string())?;
        let status = &object.data["status"];
        let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
        let ready = conditions.iter().find(|c| c["type"] == "Ready");
        let reported = ready.filter(|ready| {
            ready["status"] == "False"
                && ready["reason"]
                    .as_str()
                    .is_some_and(|r| reasons.contains(&r))
                && status["observedGeneration"] == json!(object.metadata.generation)
        });
        reported
            .map(|ready| ready["message"].as_str().unwrap_or_default().to_owned())
            .ok_or_else(|| status.to_string())
    })
    .await
}

#[test]
fn a_credential_that_cannot_be_read_keeps_what_it_has_through_lists_and_restarts() {
    run(async {
        let world = World::own().await;
        let mut case = Case::new(&world, "f59-credential").await;
        // Each event about it makes the operator list again.
        case.wire.rule(|call| {
            let watch = call.verb == "watch" && call.resource == "apicredentials";
            watch.then_some(Fault::Stream(StreamFault::GoneAfter(UNKNOWN)))
        });
        let listener = issuer();
        let requests_of = |prefix: &str| {
            let requests = listener.requests();
            requests.iter().filter(|r| r.starts_with(prefix)).count()
        };
        case.place.put_listener(&listener).await;
        case.start();
        let revoked = json!({ "deletionPolicy": "Revoke" });
        case.place.create("c", revoked).await;
        let first = case.until_ready(None).await;
        case.place.create("rival", json!({})).await;
        let api = credentials(&case);
        let refused = until_reported(&api, "rival", &TAKEN).await;
        widen(&world, "apicredentials", "minLifetime").await;

        for (name, value, reason) in [
            ("unknown", json!({ "later": UNKNOWN }), "NotReadable"),
            // No rule of the wider field limits it.
            ("large", json!([UNKNOWN, "x".repeat(70_000)]), "InvalidSpec"),
        ] {
            let lists = || {
                let journal = case.wire.journal();
                let lists = journal
                    .iter()
                    .filter(|e| e.call.verb == "list" && e.call.resource == "apicredentials");
                lists.count()
            };
            let (before, posts) = (lists(), requests_of("POST /token "));
            edit(&api, "c", &json!({ "spec": { "minLifetime": value } })).await;
            let message = until_reported(&api, "c", &[reason]).await;
            assert!(message.contains("spec"), "{message}");
            eventually(LATER, format!("{name}: another list"), async || {
                lists() > before
            })
            .await;
            // The old spec is not used any more.
            let patch = json!({ "metadata": { "annotations": { "apicred.dev/renew-requested-at": name } } });
            edit(&api, "c", &patch).await;
            case.stays_quiet(std::time::Duration::from_millis(400))
                .await;
            case.stop().await;
            case.start();
            edit(
                &api,
                "c",
                &json!({ "metadata": { "labels": { "seen": name } } }),
            )
            .await;
            until_reported(&api, "c", &[reason]).await;
            case.stays_quiet(std::time::Duration::from_millis(400))
                .await;
            assert_eq!(requests_of("POST /token "), posts, "{name}");
            let there = case.place.view("token").await.expect("the token stays");
            assert_eq!(there.token, first.token, "{name}");
            assert_eq!(
                until_reported(&api, "rival", &TAKEN).await,
                refused,
                "{name}"
            );
        }
        assert_eq!(requests_of("POST /revoke "), 0, "{}", case.log.text());

        let usual = json!({ "spec": { "minLifetime": null } });
        edit(&api, "c", &usual).await;
        case.until_ready(Some((&first, None))).await;
        // It is deleted only now.
        case.place.delete("c").await;
        eventually(LATER, "a revocation", async || {
            requests_of("POST /revoke ") == 1
        })
        .await;
        case.stop().await;
    });
}

#[test]
fn a_credential_that_cannot_be_read_ends_at_its_time() {
    run(async {
        let world = World::own().await;
        let mut case = Case::new(&world, "f59-end").await;
        let listener = issuer();
        case.place.put_listener(&listener).await;
        case.start();
        let revoked = json!({ "deletionPolicy": "Revoke" });
        case.place.create("c", revoked).await;
        let first = case.until_ready(None).await;
        let api = credentials(&case);
        widen(&world, "apicredentials", "minLifetime").await;
        let unreadable = json!({ "spec": { "minLifetime": { "later": UNKNOWN } } });
        edit(&api, "c", &unreadable).await;
        until_reported(&api, "c", &["NotReadable"]).await;
        let there = case.place.view("token").await.expect("the token stays");
        assert_eq!(there.token, first.token);
        let paused = json!({ "spec": { "suspend": true } });
        edit(&api, "c", &paused).await;
        let message = until_reported(&api, "c", &["Suspended"]).await;
        assert!(message.contains("spec.minLifetime: "), "{message}");

        // The operator does not run at the end: the next one finds an object that it cannot read.
        case.stop().await;
        let end = Timestamp::now() + SignedDuration::from_secs(2);
        let end = json!({ "spec": { "notAfter": end.to_string() } });
        edit(&api, "c", &end).await;
        case.start();
        until_reported(&api, "c", &["Ended"]).await;
        let secret = case.place.secrets().get("token").await.expect("a Secret");
        assert_eq!(secret.data.unwrap_or_default().len(), 0);
        let events = case.place.events("c").await;
        let warned = |(_, reason, note): &(String, String, String)| {
            reason == "RevocationFailed" && note.contains("the credential could not be used")
        };
        assert!(events.iter().any(warned), "{events:?}");

        let usual = json!({ "spec": { "minLifetime": null, "notAfter": null, "suspend": null } });
        edit(&api, "c", &usual).await;
        case.until_ready(Some((&first, None))).await;
        case.stop().await;
    });
}

#[test]
fn an_unreadable_issuer_does_not_serve_by_its_old_spec() {
    run(async {
        let world = World::own().await;
        let mut case = Case::new(&world, "f59-issuer").await;
        case.start();
        case.place.create("c", json!({})).await;
        let first = case.until_ready(None).await;
        let posts = case.place.posts();
        let (name, api) = (case.place.issuer_name.clone(), issuers(&case));
        widen(&world, "clustertokenissuers", "limits").await;
        edit(&api, &name, &json!({ "spec": { "limits": UNKNOWN } })).await;
        let message = until_reported(&api, &name, &["NotReadable"]).await;
        assert!(message.starts_with("spec.limits: "), "{message}");
        case.place
            .create("d", json!({ "target": { "secretName": "other" } }))
            .await;
        let message = until_reported(&credentials(&case), "d", &["IssuerNotReady"]).await;
        assert!(message.contains("spec.limits"), "{message}");
        assert_eq!(case.place.posts(), posts);
        // Existing data stays, and a new process sees the same.
        case.stop().await;
        case.start();
        edit(
            &credentials(&case),
            "d",
            &json!({ "metadata": { "labels": { "a": "b" } } }),
        )
        .await;
        case.stays_quiet(std::time::Duration::from_millis(400))
            .await;
        let there = case.place.view("token").await.expect("the token stays");
        assert_eq!(there.token, first.token);
        edit(&api, &name, &json!({ "spec": { "limits": null } })).await;
        case.place.ready("d").await;
        assert_eq!(case.place.posts(), posts + 1);
        case.stop().await;
    });
}
