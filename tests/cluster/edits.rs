//! Changes of the credential itself, also while a request is in flight.

use std::time::Duration;

use dev_issuer::Point;
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::json;
use testenv::eventually;

use crate::support::{LATER, Recorder, SOON, World, is_well, run};

/// The audience of Defender for Cloud Apps at the issuer.
const CLOUD_APPS: &str = "05a65629-4c1b-48c1-a78b-804c4abdd4af";

#[test]
fn an_answer_to_the_old_spec_is_never_published() {
    run(async {
        let world = World::shared().await;
        let place = world.place("edit-in-flight").await;
        let recorder = Recorder::of(&place, "token");
        let hold = place.issuer.hold(&place.client, Point::BeforeAnswer);
        place.create("c", json!({})).await;
        hold.reached().await;
        // The token for the first API is in flight; now another API is requested.
        place
            .edit(
                "c",
                json!({ "spec": { "scopes": [format!("{CLOUD_APPS}/.default")] } }),
            )
            .await;
        place.operator_has_seen_it().await;
        hold.release();
        let view = place.ready("c").await;
        assert_eq!(view.claims["aud"], CLOUD_APPS);
        assert_eq!(place.call("cloudapps", "v1/alerts", &view.token).await, 200);
        assert_eq!(place.posts(), 2);
        let seen = recorder.finish(&place);
        assert!(
            seen.iter().all(|v| v.claims["aud"] == CLOUD_APPS),
            "the old answer was published: {seen:?}"
        );
    });
}

#[test]
fn an_edit_of_a_queued_credential_is_what_is_requested() {
    run(async {
        let world = World::shared().await;
        let place = world.place("edit-in-line").await;
        let mut issuer = place.entra_issuer();
        issuer["limits"] = json!({ "maxInFlight": 1 });
        place.put_issuer(issuer).await;
        let hold = place.other_asks().await;

        let recorder = Recorder::of(&place, "token");
        place.create("c", json!({})).await;
        place.operator_has_seen_it().await;
        let spec = json!({ "spec": { "scopes": [format!("{CLOUD_APPS}/.default")] } });
        place.edit("c", spec).await;
        place.operator_has_seen_it().await;
        assert_eq!(place.posts(), 0, "it waits for the other one");
        hold.release();
        let view = place.ready("c").await;
        assert_eq!(view.claims["aud"], CLOUD_APPS);
        assert_eq!(place.posts(), 1);
        let seen = recorder.finish(&place);
        assert!(seen.iter().all(|v| v.claims["aud"] == CLOUD_APPS));
    });
}

#[test]
fn a_spec_for_another_token_gets_it_and_any_other_edit_costs_none() {
    run(async {
        let world = World::shared().await;
        let place = world.place("spec").await;
        let recorder = Recorder::of(&place, "token");
        place.create("c", json!({})).await;
        let first = place.ready("c").await;
        for edit in [
            json!({ "metadata": { "labels": { "team": "blue" }, "annotations": { "note": "x" } } }),
            json!({ "spec": { "minLifetime": "20m" } }),
            json!({ "spec": { "deletionPolicy": "Delete" } }),
            json!({ "spec": { "grant": { "clientCredentials": {} } } }),
        ] {
            place.edit("c", edit.clone()).await;
            assert_eq!(place.ready("c").await.token, first.token, "{edit}");
        }
        world.stays_quiet(&place, Duration::from_secs(2)).await;
        assert_eq!(place.posts(), 1);

        // A label that another user sets on a credential triggers nothing.
        let mark = world.mark();
        place
            .edit("c", json!({ "metadata": { "labels": { "team": "red" } } }))
            .await;
        world.stays_quiet(&place, Duration::from_secs(1)).await;
        assert_eq!(
            world
                .since(mark, &place)
                .0
                .iter()
                .filter(|e| e.verb != "watch")
                .count(),
            0
        );

        place
            .edit(
                "c",
                json!({ "spec": { "scopes": [format!("{CLOUD_APPS}/.default")] } }),
            )
            .await;
        let second = place.another_token("token", &first).await;
        assert_eq!(second.claims["aud"], CLOUD_APPS);
        assert_eq!(place.posts(), 2);
        assert_eq!(recorder.finish(&place).len(), 2);
    });
}

#[test]
fn the_target_keeps_its_name_and_a_credential_that_is_made_again_may_have_another() {
    run(async {
        let world = World::shared().await;
        let place = world.place("rename").await;
        let recorder = Recorder::of(&place, "token");
        place.create("c", json!({})).await;
        let first = place.ready("c").await;
        let moved = json!({ "spec": { "target": { "secretName": "elsewhere" } } });
        let params = PatchParams::default();
        let reported = place
            .credentials()
            .patch("c", &params, &Patch::Merge(&moved))
            .await;
        let reported = reported.expect_err("a token was moved away").to_string();
        assert!(
            reported.contains("spec.target.secretName: Forbidden: secretName cannot be changed")
                && reported.contains("create another ApiCredential with the new name"),
            "{reported}"
        );
        assert_eq!(place.ready("c").await.token, first.token);
        // A credential that is deleted and created again shortly after is, for the operator, a change as well: no token of the former
        // one stays.
        place.delete("c").await;
        let elsewhere = json!({ "target": { "secretName": "elsewhere" } });
        place.create("c", elsewhere).await;
        place.ready("c").await;
        assert_eq!(place.view("elsewhere").await.unwrap().owners, ["c"]);
        eventually(LATER, "the end of the first Secret", async || {
            let found = place.secrets().get_opt("token").await;
            found.is_ok_and(|s| s.is_none())
        })
        .await;
        world.stays_quiet(&place, Duration::from_secs(2)).await;
        assert_eq!(place.posts(), 2);
        assert_eq!(recorder.finish(&place).len(), 1);
    });
}

#[test]
fn a_credential_deleted_in_flight_leaves_no_secret() {
    run(async {
        let world = World::shared().await;
        let place = world.place("delete-in-flight").await;
        let hold = place.issuer.hold(&place.client, Point::BeforeAnswer);
        place.create("c", json!({})).await;
        hold.reached().await;
        place.delete("c").await;
        eventually(SOON, "its end", async || {
            place
                .credentials()
                .get_opt("c")
                .await
                .is_ok_and(|c| c.is_none())
        })
        .await;
        hold.release();
        eventually(SOON, "the answer", async || {
            place.issuer.token_requests_of(&place.client)[0].status == Some(200)
        })
        .await;
        world.stays_quiet(&place, Duration::from_secs(2)).await;
        assert!(
            place.secrets().get_opt("token").await.unwrap().is_none(),
            "a Secret without a credential"
        );
        assert_eq!(place.posts(), 1);
    });
}

#[test]
fn a_credential_recreated_in_flight_gets_a_token_of_its_own() {
    run(async {
        let world = World::shared().await;
        let place = world.place("again").await;
        let recorder = Recorder::of(&place, "token");
        let hold = place.issuer.hold(&place.client, Point::BeforeAnswer);
        let old = place.create("c", json!({})).await;
        hold.reached().await;
        place.delete("c").await;
        let new = place
            .create("c", json!({ "scopes": [format!("{CLOUD_APPS}/.default")] }))
            .await;
        place.operator_has_seen_it().await;
        hold.release();
        assert_ne!(old.metadata.uid, new.metadata.uid);
        let view = place.ready("c").await;
        assert_eq!(view.claims["aud"], CLOUD_APPS);
        assert_eq!(
            view.annotations.get("apicred.dev/credential-uid"),
            new.metadata.uid.as_ref()
        );
        world.stays_quiet(&place, Duration::from_secs(1)).await;
        assert_eq!(place.posts(), 2);

        // The same at rest: the Secret of the former credential is deleted, and a new one is created.
        place.delete("c").await;
        let newest = place.create("c", json!({})).await;
        let last = eventually(LATER, "the newest one's Secret", async || {
            let view = place.view("token").await?;
            let uid = view.annotations.get("apicred.dev/credential-uid");
            if uid == newest.metadata.uid.as_ref() {
                Ok(view)
            } else {
                Err(format!("of {uid:?}"))
            }
        })
        .await;
        place.ready("c").await;
        assert_eq!(place.call("demo", "whoami", &last.token).await, 200);
        recorder.finish(&place);
    });
}

#[test]
fn suspend_stops_renewals_and_resume_makes_up_for_them() {
    run(async {
        let world = World::shared().await;
        let place = world.place("suspend").await;
        let lifetime = Duration::from_mins(1);
        place.add_client(
            place
                .oauth_client()
                .lifetime(lifetime)
                .refresh_in(Duration::from_secs(6)),
        );
        let recorder = Recorder::of(&place, "token");
        place.create("c", json!({})).await;
        let first = place.ready("c").await;
        place
            .edit("c", json!({ "spec": { "suspend": true } }))
            .await;
        place
            .until("c", "a status of the suspension", |c| {
                is_well(c).then_some(())
            })
            .await;
        // Due after six seconds, checked after ten.
        world.stays_quiet(&place, Duration::from_secs(12)).await;
        assert_eq!(
            place.ready("c").await.token,
            first.token,
            "a suspended token stays as it is, and Ready"
        );
        place
            .edit("c", json!({ "spec": { "suspend": null } }))
            .await;
        place.another_token("token", &first).await;
        assert_eq!(place.posts(), 2);
        recorder.finish(&place);
    });
}

#[test]
fn a_renewal_that_is_requested_happens_once_and_is_echoed() {
    run(async {
        let world = World::shared().await;
        let place = world.place("requested").await;
        let recorder = Recorder::of(&place, "token");
        place.create("c", json!({})).await;
        let first = place.ready("c").await;
        let renewal_id = place.request_renewal("c").await;
        place.another_token("token", &first).await;
        place
            .until("c", "the echo", |c| {
                (c.status.as_ref()?.last_handled_renew_request.as_ref()? == &renewal_id)
                    .then_some(())
            })
            .await;
        assert_eq!(place.posts(), 2);
        // The removal of the request is not another request.
        place.edit("c", json!({ "metadata": { "annotations": { "apicred.dev/renew-requested-at": null } } })).await;
        world.stays_quiet(&place, Duration::from_secs(2)).await;
        assert_eq!(recorder.finish(&place).len(), 2);
    });
}

#[test]
fn deletion_takes_the_secret_along_unless_it_is_to_be_retained() {
    run(async {
        let world = World::shared().await;
        let place = world.place("deletion").await;
        place
            .create("goes", json!({ "target": { "secretName": "goes" } }))
            .await;
        // One after the other: equal requests that are in flight at the same time are sent once.
        place.ready("goes").await;
        let keep = json!({ "target": { "secretName": "stays" }, "deletionPolicy": "Retain" });
        place.create("stays", keep).await;
        let stays = place.ready("stays").await;
        assert!(stays.owners.is_empty());
        assert_eq!(place.view("goes").await.unwrap().owners, ["goes"]);
        // The policy may be changed later.
        place
            .edit("stays", json!({ "spec": { "deletionPolicy": "Delete" } }))
            .await;
        eventually(SOON, "an owner", async || {
            place
                .view("stays")
                .await
                .is_ok_and(|v| v.owners == ["stays"])
        })
        .await;
        place
            .edit("stays", json!({ "spec": { "deletionPolicy": "Retain" } }))
            .await;
        eventually(SOON, "no owner", async || {
            place.view("stays").await.is_ok_and(|v| v.owners.is_empty())
        })
        .await;

        place.ready("stays").await;
        world.stays_quiet(&place, Duration::from_millis(500)).await;

        let (mark, posts) = (world.mark(), place.posts());
        place.delete("goes").await;
        place.delete("stays").await;
        eventually(LATER, "the end of the Secret", async || {
            place
                .secrets()
                .get_opt("goes")
                .await
                .is_ok_and(|s| s.is_none())
        })
        .await;
        assert_eq!(place.view("stays").await.unwrap().token, stays.token);
        world.stays_quiet(&place, Duration::from_secs(2)).await;
        assert_eq!(
            world.since(mark, &place).writes(),
            Vec::<String>::new(),
            "the garbage collector does it"
        );
        assert_eq!(place.posts(), posts);
    });
}

#[test]
fn a_namespace_deleted_in_flight_goes_and_the_operator_is_quiet() {
    run(async {
        let world = World::shared().await;
        let place = world.place("namespace").await;
        place
            .create("settled", json!({ "target": { "secretName": "settled" } }))
            .await;
        place.ready("settled").await;
        let hold = place.issuer.hold(&place.client, Point::BeforeAnswer);
        place.create("c", json!({})).await;
        hold.reached().await;
        let namespaces: Api<Namespace> = Api::all(place.kube.clone());
        namespaces
            .delete(&place.namespace, &DeleteParams::default())
            .await
            .unwrap();
        hold.release();
        eventually(LATER, "the namespace's end", async || {
            namespaces
                .get_opt(&place.namespace)
                .await
                .is_ok_and(|n| n.is_none())
        })
        .await;
        let posts = place.posts();
        world.stays_quiet(&place, Duration::from_secs(3)).await;
        // The two requested ones. The Secrets that are deleted with the namespace may cost one more each while
        // their credentials still exist, but not more.
        assert!((2..=4).contains(&posts), "{posts}");
    });
}
