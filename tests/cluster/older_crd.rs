//! An operator that is newer than the CRDs of its cluster, as after an upgrade of the image alone.

use apicred::api::ApiCredential;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::json;
use testenv::eventually;

use crate::support::{LATER, SOON, World, condition, run};

/// A field in the status of every credential with a token.
const FIELD: &str = "tokenId";

#[test]
fn a_field_of_the_status_that_the_crd_lacks_is_left_out_and_reported_once() {
    run(async {
        let mut world = World::own().await;
        let place = world.place("older-crd").await;
        let kinds: Api<CustomResourceDefinition> = Api::all(place.kube.clone());
        let kind = kinds.get("apicredentials.apicred.dev").await;
        let mut spec = serde_json::to_value(kind.expect("the kind")).expect("JSON")["spec"].clone();
        let status = &mut spec["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
            ["properties"];
        let lost = status.as_object_mut().expect("properties").remove(FIELD);
        lost.expect("the field");
        let older = Patch::Merge(json!({ "spec": { "versions": spec["versions"] } }));
        let params = PatchParams::default();
        let put = kinds.patch("apicredentials.apicred.dev", &params, &older);
        put.await.expect("an older kind");
        place.create("c", json!({})).await;
        let try_it = async || {
            let status = json!({
                "apiVersion": "apicred.dev/v1alpha1", "kind": "ApiCredential", "status": { FIELD: "x" },
            });
            let params = PatchParams::apply("test").dry_run();
            let credentials = place.credentials();
            let status = Patch::Apply(&status);
            let made = credentials.patch_status("c", &params, &status).await;
            let refused = made.err()?.to_string();
            refused
                .contains("field not declared in schema")
                .then_some(())
        };
        eventually(LATER, "the older kind", try_it).await;

        world.start_operator().await;
        let view = place.ready("c").await;
        let status = place
            .credentials()
            .get("c")
            .await
            .expect("it")
            .status
            .expect("a status");
        assert!(status.token_id.is_none() && status.expires_at.is_some());
        // A later fault is in the status as well.
        let params = DeleteParams::default();
        let gone = place.secrets().delete("source", &params).await;
        gone.expect("a deletion");
        let failing = |c: &ApiCredential| {
            let failing = condition(c, "RenewalFailing")?;
            (failing.reason == "ClientSecretMissing").then_some(())
        };
        place.until("c", "the source is missing", failing).await;
        assert_eq!(place.ready("c").await.token, view.token);
        let message = async || {
            let logs = world.operator_logs();
            let lines = logs.lines().filter(|l| l.contains("upgrade the CRDs"));
            let lines: Vec<&str> = lines.collect();
            let named = lines.iter().all(|l| l.contains(".status.tokenId"));
            (lines.len() == 1 && named)
                .then_some(())
                .ok_or(format!("{lines:?}"))
        };
        eventually(SOON, "one line", message).await;
    });
}
