//! Credentials with Flux: its own libraries apply them, wait for their health, and apply them again.

use std::time::Duration;

use serde_json::{Value, json};
use testenv::FluxApply;

use crate::support::{Place, World, condition, run, unique};

/// Longer than every wait of the tests.
const LONG: Duration = Duration::from_mins(1);

/// A client and a credential, as they are in Git.
fn manifest(place: &Place) -> String {
    let object = |kind: &str, name: &str, spec: Value| {
        json!({
            "apiVersion": "apicred.dev/v1alpha1", "kind": kind,
            "metadata": { "name": name, "namespace": place.namespace }, "spec": spec,
        })
    };
    let client = json!({
        "issuerRef": { "kind": "ClusterTokenIssuer", "name": place.issuer_name },
        "id": place.client, "secrets": [{ "name": "source", "key": "client-secret" }],
    });
    let credential = json!({
        "clientRef": { "name": "crm" }, "scopes": ["api://demo/.default"], "target": { "secretName": "token" },
    });
    let objects = [
        object("ApiClient", "crm", client),
        object("ApiCredential", "c", credential),
    ];
    objects.map(|o| o.to_string()).join("\n---\n")
}

async fn apply(world: &World, place: &Place, timeout: Duration) -> FluxApply {
    let applied = world.cluster.flux(&manifest(place), timeout, None).await;
    let applied = applied.expect("an apply");
    assert!(
        applied.applied.iter().all(|a| a.ends_with(" created")),
        "{applied:?}"
    );
    assert!(
        applied.again.iter().all(|a| a.ends_with(" unchanged")),
        "{applied:?}"
    );
    applied
}

#[test]
fn without_an_operator_nothing_is_healthy() {
    run(async {
        let world = World::own().await;
        let place = world.place("flux-nobody").await;
        let applied = apply(&world, &place, Duration::from_secs(5)).await;
        assert!(
            applied.wait.starts_with("timeout waiting for: ["),
            "{applied:?}"
        );
        for kind in ["ApiClient", "ApiCredential"] {
            assert!(applied.wait.contains(kind), "{applied:?}");
        }
    });
}

#[test]
fn a_client_secret_that_comes_after_the_credential_fails_nothing() {
    run(async {
        testenv::build_tools().await.expect("programs");
        let world = World::shared().await;
        let place = world.place("flux-secret").await;
        place
            .secrets()
            .delete("source", &kube::api::DeleteParams::default())
            .await
            .expect("it goes");
        let late = async {
            place.not_ready("c", "ClientSecretMissing").await;
            tokio::time::sleep(Duration::from_secs(5)).await;
            place.put_source(&place.secret).await;
        };
        let (applied, ()) = tokio::join!(apply(world, &place, LONG), late);
        assert_eq!(applied.wait, "", "{applied:?}");
        assert!(applied.seconds >= 5.0, "it did not wait: {applied:?}");
        place.ready("c").await;
        assert_eq!(place.posts(), 1);
        // Existing objects are not changed.
        world.stays_quiet(&place, Duration::from_secs(1)).await;
        let versions = async || {
            let client = place.clients().get("crm").await.expect("a client");
            let credential = place.credentials().get("c").await.expect("a credential");
            [
                client.metadata.resource_version,
                credential.metadata.resource_version,
            ]
        };
        let (mark, before) = (world.mark(), versions().await);
        let again = world.cluster.flux(&manifest(&place), LONG, None).await;
        let again = again.expect("an apply");
        assert!(
            again.applied.iter().all(|a| a.ends_with(" unchanged")),
            "{again:?}"
        );
        assert_eq!(again.wait, "");
        let writes = world.since(mark, &place).writes();
        assert!(writes.is_empty(), "{writes:?}");
        assert_eq!(
            versions().await,
            before,
            "an apply that changes nothing wrote"
        );
        assert_eq!(place.posts(), 1);
    });
}

#[test]
fn an_issuer_that_comes_after_the_credential_fails_nothing() {
    run(async {
        testenv::build_tools().await.expect("programs");
        let world = World::shared().await;
        let mut place = world.place("flux-issuer").await;
        place.issuer_name = format!("{}-late", place.issuer_name);
        let late = async {
            place.not_ready("c", "IssuerNotFound").await;
            tokio::time::sleep(Duration::from_secs(5)).await;
            place.put_issuer(place.entra_issuer()).await;
        };
        let (applied, ()) = tokio::join!(apply(world, &place, LONG), late);
        assert_eq!(applied.wait, "", "{applied:?}");
        assert!(applied.seconds >= 5.0, "it did not wait: {applied:?}");
        assert_eq!(place.posts(), 1);
    });
}

/// A client secret that has just changed may not be active at the issuer yet. Two minutes later it fails early like the one below; the
/// tests of `plan/status.rs` simulate that time.
#[test]
fn a_client_secret_that_has_just_changed_and_is_refused_is_in_progress_at_first() {
    run(async {
        testenv::build_tools().await.expect("programs");
        let world = World::shared().await;
        let place = world.place("flux-fresh").await;
        place.put_source(&unique()).await;
        let applied = apply(world, &place, Duration::from_secs(8)).await;
        let reported = format!("ApiCredential/{}/c status: 'InProgress'", place.namespace);
        assert!(applied.wait.starts_with("timeout"), "{applied:?}");
        assert!(applied.wait.contains(&reported), "{applied:?}");
        place.not_ready("c", "ClientSecretRefused").await;
        let credential = place.credentials().get("c").await.expect("a credential");
        let reconciling = condition(&credential, "Reconciling").expect("Reconciling");
        assert_eq!(reconciling.reason, "ClientSecretRefused");
    });
}

#[test]
fn a_wrong_client_secret_fails_early_and_is_reported() {
    run(async {
        // A client secret that has just changed is in progress for two minutes.
        let mut world = World::own().await;
        let place = world.place("flux-wrong").await;
        place.put_source(&unique()).await;
        world.start_operator().await;
        let applied = apply(&world, &place, LONG).await;
        let reported = format!("ApiCredential/{}/c status: 'Failed'", place.namespace);
        assert!(
            applied
                .wait
                .starts_with("failed early due to stalled resources"),
            "{applied:?}"
        );
        assert!(applied.wait.contains(&reported), "{applied:?}");
        let credential = place.credentials().get("c").await.expect("a credential");
        let stalled = condition(&credential, "Stalled").expect("Stalled");
        assert_eq!(stalled.reason, "ClientSecretRefused", "{stalled:?}");
    });
}

/// With the expressions of `deploy/flux`, an issuer that cannot be reached has failed; without them it is in progress.
#[test]
fn issuers_are_evaluated_by_the_expressions_for_flux() {
    run(async {
        let world = World::shared().await;
        let place = world.place("flux-exprs").await;
        let checks = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/deploy/flux/kustomizations.yaml"
        );
        let checks = Some(std::path::Path::new(checks));
        let issuer = |name: &str, spec: Value| {
            let name = format!("{}-{name}", place.namespace);
            let meta = json!({ "name": name });
            json!({ "apiVersion": "apicred.dev/v1alpha1", "kind": "ClusterTokenIssuer", "metadata": meta, "spec": spec }).to_string()
        };
        let good = issuer("good", place.entra_issuer());
        let applied = world
            .cluster
            .flux(&good, LONG, checks)
            .await
            .expect("an apply");
        assert_eq!(applied.wait, "", "{applied:?}");
        let nowhere = json!({ "oidc": { "issuerUrl": "https://login.invalid" } });
        let nowhere = issuer("nowhere", nowhere);
        let applied = world
            .cluster
            .flux(&nowhere, LONG, checks)
            .await
            .expect("an apply");
        assert!(applied.wait.starts_with("failed early"), "{applied:?}");
        let short = Duration::from_secs(5);
        let applied = world
            .cluster
            .flux(&nowhere, short, None)
            .await
            .expect("an apply");
        assert!(applied.wait.starts_with("timeout"), "{applied:?}");
        for name in ["good", "nowhere"] {
            let name = format!("{}-{name}", place.namespace);
            let params = kube::api::DeleteParams::default();
            place
                .issuers()
                .delete(&name, &params)
                .await
                .expect("it goes");
        }
    });
}
