//! Conditions from the first moment on, as pipelines read them.

use apicred::api::TokenIssuer;
use apicred_core::{
    Reason,
    credential::FieldError,
    fixtures::{at, credential, object},
    plan::{invalid, states, status},
};
use dev_issuer::Fault;
use kube::{
    Api,
    api::{DeleteParams, PostParams},
};
use serde_json::{Value, json};

use crate::support::{LATER, World, condition, is_well, merge, run, typed};

/// A new object as the API server shows it before the first reconcile: kstatus must not report it as ready.
#[test]
fn an_object_without_a_status_is_not_current() {
    run(async {
        let world = World::shared().await;
        let place = world.place("unseen").await;
        // The answer to a create is older than any reconcile.
        let made = place.create("c", json!({})).await;
        let seen = made.status.and_then(|s| s.observed_generation);
        assert_eq!(seen, Some(-1));
        let name = format!("{}-unseen", place.namespace);
        let issuer = |kind: &str, spec: Value| json!({ "apiVersion": "apicred.dev/v1alpha1", "kind": kind, "metadata": { "name": name }, "spec": spec });
        let spec = json!({ "oauth2": { "tokenUrl": "https://issuer.example/token" } });
        let params = PostParams::default();
        let own: Api<TokenIssuer> = Api::namespaced(place.kube.clone(), &place.namespace);
        let object = typed(issuer("TokenIssuer", spec.clone()));
        let made = own.create(&params, &object);
        let status = made.await.expect("an issuer").status;
        assert_eq!(status.and_then(|s| s.observed_generation), Some(-1));
        let spec = merge(
            spec,
            json!({ "allowedNamespaces": { "names": [place.namespace] } }),
        );
        let object = typed(issuer("ClusterTokenIssuer", spec));
        let issuers = place.issuers();
        let made = issuers.create(&params, &object);
        let status = made.await.expect("an issuer").status;
        assert_eq!(status.and_then(|s| s.observed_generation), Some(-1));
        let deleted = place
            .issuers()
            .delete(&name, &DeleteParams::default())
            .await;
        deleted.expect("it goes");
    });
}

#[test]
fn a_first_token_that_takes_long_is_reported_as_pending() {
    run(async {
        let world = World::shared().await;
        let place = world.place("pending").await;
        let slow = Fault::latency(4_000).client(&place.client).times(1);
        place.issuer.fault(slow);
        place.create("c", json!({})).await;
        let ready = place
            .until("c", "Ready from the first reconcile", |c| {
                condition(c, "Ready")
            })
            .await;
        assert_eq!(
            (ready.status.as_str(), ready.reason.as_str()),
            ("Unknown", "Pending")
        );
        let reconciling = place
            .until("c", "Reconciling", |c| condition(c, "Reconciling"))
            .await;
        assert_eq!(reconciling.reason, "Pending");
        place.ready("c").await;
        place
            .until("c", "no other condition", |c| {
                (is_well(c) && condition(c, "Reconciling").is_none()).then_some(())
            })
            .await;
        assert_eq!(place.posts(), 1);
        assert_eq!(place.events("c").await, []);
    });
}

#[test]
fn a_first_token_that_waits_for_its_turn_is_reported_as_that() {
    run(async {
        let world = World::shared().await;
        let place = world.place("turn").await;
        let mut issuer = place.entra_issuer();
        issuer["limits"] = json!({ "maxInFlight": 1 });
        place.put_issuer(issuer).await;
        let hold = place.other_asks().await;
        place.create("c", json!({})).await;
        let ready = place
            .until("c", "Ready in the queue", |c| condition(c, "Ready"))
            .await;
        assert_eq!(
            (ready.status.as_str(), ready.reason.as_str()),
            ("Unknown", "WaitingForIssuer")
        );
        hold.release();
        testenv::eventually(LATER, "a token", async || {
            let c = place
                .credentials()
                .get("c")
                .await
                .map_err(|e| e.to_string())?;
            is_well(&c)
                .then_some(())
                .ok_or_else(|| format!("{:?}", c.status))
        })
        .await;
    });
}

/// Computed by the library that Flux and other tools use.
#[test]
fn kstatus_of_every_state() {
    run(async {
        let credential = credential();
        let (mut names, mut objects, mut expected) = (Vec::new(), Vec::new(), Vec::new());
        let mut row = |name: &str, status: Value, change: Value, kstatus: &'static str| {
            let bare = serde_json::to_value(object(&json!({}))).expect("JSON");
            names.push(name.to_owned());
            objects.push(merge(merge(bare, json!({ "status": status })), change));
            expected.push(kstatus);
        };
        let json = |status| serde_json::to_value(status).expect("JSON");
        for state in states::states(&credential) {
            let view = status(&credential, &state.observed, &state.outcome, None, at(0));
            row(
                state.name,
                json(view.status.clone()),
                json!({}),
                state.kstatus,
            );
            // Two minutes later without a change.
            let view = status(
                &credential,
                &state.observed,
                &state.outcome,
                Some(&view.status),
                at(130),
            );
            let missing = ["Missing", "SignIn", "ClientNotFound"]
                .iter()
                .any(|what| state.conditions.contains(what));
            let later = match state.kstatus {
                "InProgress" if missing => "Failed",
                same => same,
            };
            row(
                &format!("{}, later", state.name),
                json(view.status.clone()),
                json!({}),
                later,
            );
            let edited = json!({ "metadata": { "generation": 4 } });
            row(
                &format!("{}, edited", state.name),
                json(view.status.clone()),
                edited,
                "InProgress",
            );
            let deleted = json!({ "metadata": { "deletionTimestamp": "2026-01-01T00:00:00Z" } });
            row(
                &format!("{}, deleted", state.name),
                json(view.status),
                deleted,
                "Terminating",
            );
        }
        row(
            "new",
            json!({ "observedGeneration": -1 }),
            json!({}),
            "InProgress",
        );
        for (reason, kstatus) in [
            (Reason::InvalidSpec, "Failed"),
            (Reason::IssuerNotFound, "InProgress"),
            (Reason::ClientNotFound, "InProgress"),
        ] {
            let errors = [FieldError::new("spec", "is wrong").because(reason)];
            let view = invalid(&object(&json!({})), None, None, &errors, at(0));
            row(reason.as_str(), json(view.status), json!({}), kstatus);
        }
        let found = testenv::kstatus(&objects).await.expect("kstatus");
        let differ = names.iter().zip(expected).zip(&found);
        let differ: Vec<_> = differ
            .filter(|((_, expected), found)| expected != found)
            .collect();
        assert_eq!(found.len(), names.len());
        assert!(differ.is_empty(), "{differ:#?}");
    });
}
