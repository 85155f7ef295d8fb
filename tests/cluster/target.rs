//! Changes of the target Secret by others.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use testenv::eventually;

use crate::support::{LATER, Place, Recorder, SOON, World, a_second_after, run, typed};

#[test]
fn a_deleted_target_comes_back_at_once() {
    run(async {
        let world = World::shared().await;
        let place = world.place("deleted").await;
        place.create("c", json!({})).await;
        let first = place.ready("c").await;
        place
            .secrets()
            .delete("token", &DeleteParams::default())
            .await
            .unwrap();
        // Its renewal is due only in half an hour.
        let second = place.another_token("token", &first).await;
        assert_ne!(first.uid, second.uid);
        assert_eq!(place.call("demo", "whoami", &second.token).await, 200);
        assert_eq!(place.posts(), 2);
        place.ready("c").await;
        world.stays_quiet(&place, Duration::from_secs(2)).await;
    });
}

#[test]
fn edited_data_is_corrected_and_reported() {
    run(async {
        let world = World::shared().await;
        let place = world.place("edited").await;
        place.create("c", json!({})).await;
        let mut view = place.ready("c").await;
        for (posts, edit) in [
            json!({ "stringData": { "token": "not-a-token" } }),
            json!({ "data": { "expires_at": null } }),
            json!({ "metadata": { "annotations": { "apicred.dev/renew-at": "2099-01-01T00:00:00Z" } } }),
            json!({ "data": null }),
        ]
        .into_iter()
        .enumerate()
        {
            place.edit_secret("token", edit.clone()).await;
            view = place.another_token("token", &view).await;
            assert_eq!(place.call("demo", "whoami", &view.token).await, 200, "{edit}");
            place.ready("c").await;
            assert_eq!(place.posts(), posts + 2, "{edit}");
        }
        let reported = eventually(SOON, "the event", async || {
            let events = place.events("c").await;
            events.into_iter().find(|e| e.1 == "TargetRepaired")
        })
        .await;
        assert_eq!(reported.0, "Warning");
        world.stays_quiet(&place, Duration::from_secs(2)).await;
    });
}

#[test]
fn drift_of_the_metadata_is_corrected_without_a_token() {
    run(async {
        let world = World::shared().await;
        let place = world.place("template").await;
        let recorder = Recorder::of(&place, "token");
        let target = json!({
            "secretName": "token",
            "type": "apicred.dev/token",
            "labels": { "example.com/team": "blue", "example.com/tier": "one" },
            "annotations": { "example.com/note": "hello" },
        });
        place.create("c", json!({ "target": target })).await;
        let first = place.ready("c").await;
        assert_eq!(first.type_, "apicred.dev/token");
        assert_eq!(first.labels["example.com/team"], "blue");
        assert_eq!(first.annotations["example.com/note"], "hello");

        for drift in [
            json!({ "metadata": { "labels": { "example.com/team": null } } }),
            json!({ "metadata": { "labels": { "example.com/team": "red" } } }),
            json!({ "metadata": { "annotations": { "example.com/note": null } } }),
            json!({ "metadata": { "labels": { "app.kubernetes.io/managed-by": null } } }),
            json!({ "metadata": { "ownerReferences": null } }),
        ] {
            place.edit_secret("token", drift.clone()).await;
            eventually(
                SOON,
                format!("the template is right after {drift}"),
                async || {
                    let now = place.view("token").await?;
                    let right = now.labels == first.labels
                        && now.owners == first.owners
                        && now.annotations.get("example.com/note")
                            == first.annotations.get("example.com/note");
                    if right {
                        Ok(())
                    } else {
                        Err(format!(
                            "{:?} {:?} {:?}",
                            now.labels, now.owners, now.annotations
                        ))
                    }
                },
            )
            .await;
        }

        // The spec changes again: removed labels are deleted, labels of others stay.
        place
            .edit_secret(
                "token",
                json!({ "metadata": { "labels": { "foreign": "mine" } } }),
            )
            .await;
        let target = json!({ "labels": { "example.com/tier": null, "example.com/team": "green" }, "annotations": null });
        place
            .edit("c", json!({ "spec": { "target": target } }))
            .await;
        eventually(SOON, "the new template", async || {
            let now = place.view("token").await?;
            let right = now
                .labels
                .get("example.com/team")
                .is_some_and(|t| t == "green")
                && !now.labels.contains_key("example.com/tier")
                && now.labels.contains_key("foreign")
                && !now.annotations.contains_key("example.com/note");
            if right {
                Ok(())
            } else {
                Err(format!("{:?} {:?}", now.labels, now.annotations))
            }
        })
        .await;
        place.ready("c").await;
        assert_eq!(place.posts(), 1, "a template is no reason for a token");
        world.stays_quiet(&place, Duration::from_secs(2)).await;
        assert_eq!(recorder.finish(&place).len(), 1);
    });
}

/// A Secret that another writer created before, byte for byte.
async fn foreign(place: &Place) -> Value {
    let secret: Secret = typed(json!({
        "metadata": { "name": "token", "labels": { "app": "theirs" }, "annotations": { "note": "hands off" } },
        "stringData": { "token": "theirs", "other": "thing" },
    }));
    place
        .secrets()
        .create(&PostParams::default(), &secret)
        .await
        .expect("a Secret");
    whole(place).await
}

async fn whole(place: &Place) -> Value {
    let secret = place
        .secrets()
        .get("token")
        .await
        .expect("the Secret is there");
    serde_json::to_value(secret).expect("JSON")
}

#[test]
fn a_foreign_secret_in_the_way_is_left_as_it_is() {
    run(async {
        let world = World::shared().await;
        let place = world.place("foreign").await;
        let before = foreign(&place).await;
        place.create("c", json!({})).await;
        let message = place.not_ready("c", "SecretNotOwned").await;
        assert!(
            message.contains("apicred.dev/adopt-by"),
            "no next step in: {message}"
        );
        world.stays_quiet(&place, Duration::from_secs(2)).await;
        assert_eq!(
            whole(&place).await,
            before,
            "O5: not a byte of it may change"
        );
        assert_eq!(
            place.posts(),
            0,
            "no token is requested that cannot be written"
        );

        // The deletion of the credential does not change the Secret.
        place.delete("c").await;
        world.stays_quiet(&place, Duration::from_secs(2)).await;
        assert_eq!(whole(&place).await, before, "O5");

        // When the Secret is deleted, the credential can create its own.
        place.create("c", json!({})).await;
        place.not_ready("c", "SecretNotOwned").await;
        place
            .secrets()
            .delete("token", &DeleteParams::default())
            .await
            .unwrap();
        place.ready("c").await;
    });
}

#[test]
fn a_secret_may_request_its_adoption() {
    run(async {
        let world = World::shared().await;
        let place = world.place("adopt").await;
        foreign(&place).await;
        place.create("c", json!({})).await;
        place.not_ready("c", "SecretNotOwned").await;
        // The name of another credential is not a permission.
        place
            .edit_secret(
                "token",
                json!({ "metadata": { "annotations": { "apicred.dev/adopt-by": "d" } } }),
            )
            .await;
        world.stays_quiet(&place, Duration::from_secs(1)).await;
        assert_eq!(place.posts(), 0);
        place
            .edit_secret(
                "token",
                json!({ "metadata": { "annotations": { "apicred.dev/adopt-by": "c" } } }),
            )
            .await;
        let view = place.ready("c").await;
        assert_eq!(place.call("demo", "whoami", &view.token).await, 200);
        assert_eq!(view.owners, ["c"]);
        assert_eq!(view.labels["app"], "theirs");
        let data = place.secrets().get("token").await.unwrap().data.unwrap();
        assert_eq!(data["other"].0, b"thing", "what is not ours stays");
        // And it is renewed like any other.
        place.request_renewal("c").await;
        place.another_token("token", &view).await;
        place.ready("c").await;
        assert_eq!(place.posts(), 2);
        world.stays_quiet(&place, Duration::from_secs(2)).await;
    });
}

#[test]
fn where_owner_references_are_guarded_tokens_come_and_are_renewed_and_adoption_is_refused() {
    run(async {
        let plugin = "--enable-admission-plugins=OwnerReferencesPermissionEnforcement";
        let mut world = World::own_with(&[plugin]).await;
        world.start_operator().await;
        let place = world.place("guarded-owners").await;
        place.create("c", json!({})).await;
        let first = place.ready("c").await;
        assert_eq!(first.owners, ["c"]);
        place.request_renewal("c").await;
        place.another_token("token", &first).await;
        // The admission plugin is active: an adoption changes an owner reference, which needs the right to delete.
        place.put_secret("theirs", "k", "v").await;
        place
            .edit_secret(
                "theirs",
                json!({ "metadata": { "annotations": { "apicred.dev/adopt-by": "d" } } }),
            )
            .await;
        place
            .create("d", json!({ "target": { "secretName": "theirs" } }))
            .await;
        place.not_ready("d", "TargetWriteForbidden").await;
    });
}

#[test]
fn of_two_credentials_for_one_secret_the_older_wins_until_it_goes() {
    run(async {
        let world = World::shared().await;
        let place = world.place("rivals").await;
        let older = place.create("older", json!({})).await;
        let first = place.ready("older").await;
        a_second_after(&older.metadata).await;
        place.create("younger", json!({})).await;
        let message = place.not_ready("younger", "TargetClaimed").await;
        assert!(message.contains("older"), "it does not say who: {message}");
        assert_eq!(place.posts(), 1, "the younger credential requests nothing");
        world.stays_quiet(&place, Duration::from_secs(2)).await;
        assert_eq!(place.view("token").await.unwrap().version, first.version);

        place.delete("older").await;
        // The Secret of the older one is deleted with it; then the younger one creates its own.
        let second = eventually(LATER, "the younger's token", async || {
            let view = place.view("token").await?;
            if view.owners == ["younger"] {
                Ok(view)
            } else {
                Err(format!("owned by {:?}", view.owners))
            }
        })
        .await;
        place.ready("younger").await;
        assert_ne!(first.uid, second.uid);
        assert_eq!(place.posts(), 2);
    });
}

#[test]
fn a_field_that_another_manager_applies_is_reported_and_not_fought_over() {
    run(async {
        let world = World::shared().await;
        let place = world.place("claimed").await;
        place.create("c", json!({})).await;
        place.ready("c").await;
        let theirs = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "token" }, "stringData": { "token": "theirs" },
        });
        let params = PatchParams::apply("gitops").force();
        place
            .secrets()
            .patch("token", &params, &Patch::Apply(&theirs))
            .await
            .unwrap();
        let message = place.not_ready("c", "TargetConflict").await;
        assert!(message.contains("gitops"), "it does not say who: {message}");
        world.stays_quiet(&place, Duration::from_secs(2)).await;
        assert_eq!(place.posts(), 1);
    });
}

#[test]
fn an_immutable_target_is_reported() {
    run(async {
        let world = World::shared().await;
        let place = world.place("immutable").await;
        place.create("c", json!({})).await;
        let first = place.ready("c").await;
        place
            .edit_secret("token", json!({ "immutable": true }))
            .await;
        place.request_renewal("c").await;
        let reported = place
            .until("c", "the trouble", |c| {
                crate::support::condition(c, "RenewalFailing")
                    .filter(|r| r.reason == "TargetInvalid")
            })
            .await;
        assert!(
            reported.message.contains("Secret token is immutable")
                && reported.message.contains("delete it"),
            "{}",
            reported.message
        );
        let posts = place.posts();
        assert!(
            posts <= 2,
            "a token that cannot be written is not requested repeatedly: {posts}"
        );
        assert_eq!(place.view("token").await.unwrap().token, first.token);
        place
            .secrets()
            .delete("token", &DeleteParams::default())
            .await
            .unwrap();
        place.another_token("token", &first).await;
        place.ready("c").await;
        // The token that could not be written was kept in memory, and is written now.
        assert_eq!(place.posts(), posts);
    });
}
