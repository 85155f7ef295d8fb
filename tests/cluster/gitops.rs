//! Those who write the same thing again and again, or very much at once: pipelines, and people with `--all` (F34, F35).

use std::time::Duration;

use futures::future::join_all;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use testenv::eventually;

use crate::support::{LATER, World, condition, run};

/// The audience of Defender for Cloud Apps at the issuer.
const CLOUD_APPS: &str = "05a65629-4c1b-48c1-a78b-804c4abdd4af";
/// Edits of one object.
const EDITS: usize = 1000;
/// Writers at once.
const LANES: usize = 4;
/// How often a pipeline applies what is there already.
const ROUNDS: usize = 5;

/// Each edit asks for another token than the one before it, as fast as the API server takes them.
#[test]
fn of_a_thousand_edits_the_last_one_wins_and_few_cost_a_token() {
    run(async {
        let world = World::shared().await;
        let place = world.place("edits").await;
        place.create("c", json!({})).await;
        place.ready("c").await;
        let began = std::time::Instant::now();
        let edit = async |scope: &str| {
            let patch =
                Patch::Merge(json!({ "spec": { "scopes": [format!("{scope}/.default")] } }));
            let credentials = place.credentials();
            credentials
                .patch("c", &PatchParams::default(), &patch)
                .await
        };
        let lane = async |lane: usize| {
            for number in 0..EDITS / LANES {
                let scope = ["api://demo", CLOUD_APPS][(number + lane) % 2];
                // Of those who write at the very same time, some are told to try again, and do not.
                let _ = edit(scope).await;
            }
        };
        join_all((0..LANES).map(lane)).await;
        edit("api://demo").await.expect("the last edit but one");
        edit(CLOUD_APPS).await.expect("the last edit");
        let took = began.elapsed();
        let last = eventually(LATER, "the token of the last edit", async || {
            let view = place.view("token").await?;
            let credential = place.credentials().get("c").await;
            let credential = credential.map_err(|e| e.to_string())?;
            let ready = condition(&credential, "Ready").is_some_and(|c| c.status == "True");
            let status = credential.status.unwrap_or_default();
            let current = status.observed_generation == credential.metadata.generation;
            if ready && current && view.claims["aud"] == CLOUD_APPS {
                Ok(view)
            } else {
                Err(format!("{status:?}"))
            }
        })
        .await;
        assert_eq!(place.call("cloudapps", "v1/alerts", &last.token).await, 200);
        world.stays_quiet(&place, Duration::from_secs(2)).await;
        let posts = place.posts();
        let most = EDITS / 4;
        assert!(
            posts <= most,
            "{posts} tokens for {EDITS} edits in {took:?}"
        );
        assert_eq!(
            place.view("token").await.expect("a token").token,
            last.token
        );
    });
}

#[test]
fn a_pipeline_that_applies_the_same_again_and_labels_on_everything_cost_nothing() {
    run(async {
        let world = World::shared().await;
        let place = world.place("gitops").await;
        let manifest = |name: &str| {
            json!({
                "apiVersion": "apicred.dev/v1alpha1",
                "kind": "ApiCredential",
                "metadata": { "name": name, "namespace": place.namespace, "labels": { "app": "shop" } },
                "spec": place.spec(json!({ "target": { "secretName": format!("t-{name}") } })),
            })
            .to_string()
        };
        let (server, client) = (manifest("server"), manifest("client"));
        let file = world
            .cluster
            .dir()
            .join(format!("{}.json", place.namespace));
        std::fs::write(&file, &client).expect("a file");
        let file = file.display().to_string();
        let apply = async || {
            // Without --force-conflicts: a field that apicred took from the pipeline would fail it.
            world.cluster.kubectl_apply(&server).await.expect("applied");
            let args = ["apply", "-f", &file];
            world.cluster.kubectl(&args).await.expect("applied");
        };
        apply().await;
        let tokens = (place.ready("server").await, place.ready("client").await);
        world.stays_quiet(&place, Duration::from_millis(500)).await;
        let mark = world.mark();
        for _ in 0..ROUNDS {
            apply().await;
        }
        let kubectl = async |args: &[&str]| {
            let in_place = [args, &["--namespace", &place.namespace]].concat();
            world.cluster.kubectl(&in_place).await.expect("it works")
        };
        let diff = kubectl(&["diff", "-f", &file]).await;
        assert_eq!(diff, "", "a pipeline sees a drift");
        for kind in ["apicredentials.apicred.dev", "secrets"] {
            kubectl(&["label", kind, "--all", "audited=yes"]).await;
            kubectl(&["annotate", kind, "--all", "audited-by=somebody"]).await;
        }
        world.stays_quiet(&place, Duration::from_secs(2)).await;
        let writes = world.since(mark, &place).writes();
        assert!(writes.is_empty(), "{writes:?}");
        assert_eq!(place.posts(), 2, "one token each, and no more");
        for (name, before) in [("server", &tokens.0), ("client", &tokens.1)] {
            let now = place.ready(name).await;
            assert_eq!(now.token, before.token);
            assert_eq!(now.labels.get("audited").map(String::as_str), Some("yes"));
        }
        // A pipeline goes on where it stands.
        apply().await;
    });
}

#[test]
fn a_status_that_somebody_edits_is_put_right_at_once() {
    run(async {
        let world = World::shared().await;
        let place = world.place("status").await;
        place.create("c", json!({})).await;
        place.ready("c").await;
        // When a condition changed last is left out: it will have changed.
        let told = async || {
            let there = place.credentials().get("c").await;
            let mut status = there.map(|c| c.status.unwrap_or_default())?;
            for condition in &mut status.conditions {
                condition.last_transition_time.0 = jiff::Timestamp::UNIX_EPOCH;
            }
            Ok::<_, kube::Error>(status)
        };
        let right = told().await.expect("a status");
        let mut wrong = serde_json::to_value(&right).expect("JSON");
        wrong["expiresAt"] = json!("2040-01-01T00:00:00Z");
        for condition in wrong["conditions"].as_array_mut().expect("conditions") {
            condition["status"] = json!("False");
            condition["reason"] = json!("SaidByHand");
        }
        for _ in 0..2 {
            let edit = Patch::Merge(json!({ "status": wrong }));
            let (credentials, params) = (place.credentials(), PatchParams::default());
            let edited = credentials.patch_status("c", &params, &edit);
            let edited = edited.await.expect("an edit").status.unwrap_or_default();
            assert_ne!(edited.expires_at, right.expires_at);
            eventually(LATER, "the status as it was", async || {
                let there = told().await.map_err(|e| e.to_string())?;
                if there == right {
                    Ok(())
                } else {
                    Err(format!("{there:?}"))
                }
            })
            .await;
        }
        world.stays_quiet(&place, Duration::from_secs(2)).await;
        assert_eq!(place.posts(), 1);
    });
}
