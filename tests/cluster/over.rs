//! `spec.notAfter`: access for a time, from the first token to its removal.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::api::DeleteParams;
use serde_json::json;
use testenv::eventually;

use crate::support::{Place, SOON, World, condition, run};

/// So many seconds from now, as people write it.
fn soon(seconds: i64) -> String {
    let at = Timestamp::now() + SignedDuration::from_secs(seconds);
    Timestamp::from_second(at.as_second())
        .expect("a time")
        .to_string()
}

/// Waits until the Secret has neither a token nor a record of one.
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
        // The end itself wakes the operator: nothing else happens in the meantime.
        place
            .edit("c", json!({ "spec": { "notAfter": soon(2) } }))
            .await;
        let told = place.not_ready("c", "Ended").await;
        assert!(told.contains("spec.notAfter"), "{told}");
        emptied(&place, "token").await;
        let posts = place.posts();
        let credential = place.credentials().get("c").await.expect("a credential");
        assert!(condition(&credential, "Stalled").is_some());
        assert!(condition(&credential, "RenewalFailing").is_none());
        // No annotation, label or deletion brings a token.
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
fn a_suspension_or_a_broken_spec_does_not_keep_a_token_beyond_its_end() {
    run(async {
        let world = World::shared().await;
        let place = world.place("beyond").await;
        place.create("c", json!({})).await;
        place.ready("c").await;
        let pause = json!({ "spec": { "suspend": true, "notAfter": soon(1) } });
        place.edit("c", pause).await;
        emptied(&place, "token").await;
        let other = json!({ "target": { "secretName": "other" } });
        place.create("broken", other).await;
        place.ready("broken").await;
        let spec = json!({
            "issuerRef": { "name": "there-is-no-such-issuer" }, "notAfter": soon(1),
        });
        place.edit("broken", json!({ "spec": spec })).await;
        emptied(&place, "other").await;
        place.not_ready("broken", "IssuerNotFound").await;
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
