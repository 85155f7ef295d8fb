//! Obstacles between a request and the store: webhooks that are down, a kind that became stricter than its objects (F18).

use futures::future::join;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use testenv::eventually;

use crate::{
    oracles::check,
    policies::{forbidden, in_force},
    scenario::{Case, Mode, in_both_modes, operator, reference, world},
    servers::{LAWLESS, fragile},
    support::{LATER, NAMESPACE, Place, SOON, World, run, typed},
};

/// A webhook for these requests of the operator in the place of the case, with no server behind it.
async fn webhook_down(case: &Case, group: &str, resource: &str, operation: &str) {
    let webhook = json!({
        "metadata": { "name": case.name },
        "webhooks": [{
            "name": "nobody.example.test",
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "failurePolicy": "Fail",
            "timeoutSeconds": 1,
            "clientConfig": { "url": "https://127.0.0.1:1/" },
            "rules": [{
                "apiGroups": [group], "apiVersions": ["*"], "resources": [resource],
                "operations": [operation],
            }],
            "namespaceSelector": { "matchLabels": {
                "kubernetes.io/metadata.name": case.place.namespace,
            } },
            "matchConditions": [{
                "name": "operator",
                "expression": "request.userInfo.username.endsWith(':apicred')",
            }],
        }],
    });
    let webhooks = webhooks(&case.place);
    let made = webhooks
        .create(&PostParams::default(), &typed(webhook))
        .await;
    made.expect("a webhook");
}

fn webhooks(place: &Place) -> Api<ValidatingWebhookConfiguration> {
    Api::all(place.kube.clone())
}

async fn webhook_gone(place: &Place, name: &str) {
    let gone = webhooks(place).delete(name, &DeleteParams::default()).await;
    gone.expect("it goes");
}

#[test]
fn a_webhook_that_is_down_holds_the_secret_up_and_costs_no_token() {
    run(in_both_modes(async |mode| {
        let mut case = Case::within(world().await, "f18-hook", mode).await;
        case.home = NAMESPACE.to_owned();
        webhook_down(&case, "", "secrets", "CREATE").await;
        in_force(&case).await;
        let (place, name) = (std::sync::Arc::clone(&case.place), case.name.clone());
        let text = [
            "the admission webhook nobody.example.test does not answer",
            "connection refused",
            "its owner must repair it",
        ];
        forbidden(case, ("KubernetesUnavailable", &text), async || {
            webhook_gone(&place, &name).await;
        })
        .await;
    }));
}

/// Runs a scenario whose status cannot be written at first; the token does not wait for it.
async fn unsaid(mut case: Case, code: u16, lift: impl AsyncFnOnce()) {
    let usual = reference().await;
    let (place, wire) = (std::sync::Arc::clone(&case.place), case.wire.clone());
    let name = case.name.clone();
    let lifted = async {
        place.any_token("token").await;
        eventually(LATER, format!("{name}: a refused status"), async || {
            wire.journal().iter().any(|e| {
                e.call.text() == "patch apicredentials/status c" && e.answered == Some(code)
            })
        })
        .await;
        assert_eq!(place.posts(), 1, "{name}: O3");
        lift().await;
    };
    let (scenario, ()) = join(case.live(), lifted).await;
    check(&scenario, usual);
    case.end(&scenario).await;
}

/// Waits until the API server refuses a status of this place to the operator.
async fn status_refused(world: &World, place: &Place) {
    let theirs =
        Api::<apicred::api::ApiCredential>::namespaced(operator(world).await, &place.namespace);
    place.create("probe", json!({})).await;
    let params = PatchParams {
        dry_run: true,
        ..PatchParams::default()
    };
    let status = Patch::Merge(json!({ "status": { "observedGeneration": 1 } }));
    eventually(SOON, "a status that is refused", async || {
        theirs
            .patch_status("probe", &params, &status)
            .await
            .is_err()
    })
    .await;
    place.delete("probe").await;
}

#[test]
fn an_unavailable_webhook_delays_the_status_and_not_the_token() {
    run(in_both_modes(async |mode| {
        let world = world().await;
        let case = Case::within(world, "f18-hush", mode).await;
        webhook_down(&case, "apicred.dev", "apicredentials/status", "UPDATE").await;
        status_refused(world, &case.place).await;
        let (place, name) = (std::sync::Arc::clone(&case.place), case.name.clone());
        unsaid(case, 500, async || webhook_gone(&place, &name).await).await;
    }));
}

/// The kind without changes, and one whose status must have a field that no version of apicred has.
async fn stricter(kinds: &Api<CustomResourceDefinition>) -> (Value, Value) {
    let kind = kinds.get("apicredentials.apicred.dev").await;
    let usual = serde_json::to_value(kind.expect("the kind")).expect("JSON")["spec"].clone();
    let mut strict = usual.clone();
    let schema = &mut strict["versions"][0]["schema"]["openAPIV3Schema"];
    let status = &mut schema["properties"]["status"];
    status["properties"]["unheardOf"] = json!({ "type": "string" });
    status["required"] = json!(["unheardOf"]);
    // It lacks the field, and a default must fit its own schema.
    status.as_object_mut().expect("a schema").remove("default");
    (usual, strict)
}

#[test]
fn a_stricter_crd_delays_the_status_and_not_the_token() {
    run(async {
        let mut world = LAWLESS.lock().await;
        let world = fragile(&mut world).await;
        let kinds: Api<CustomResourceDefinition> = Api::all(world.admin.clone());
        let (usual, strict) = stricter(&kinds).await;
        let put = async |spec: &Value| {
            let versions = Patch::Merge(json!({ "spec": { "versions": spec["versions"] } }));
            let params = PatchParams::default();
            let put = kinds.patch("apicredentials.apicred.dev", &params, &versions);
            put.await.expect("another kind");
        };
        for mode in Mode::BOTH {
            let case = Case::within(world, "f18-strict", mode).await;
            put(&strict).await;
            status_refused(world, &case.place).await;
            unsaid(case, 422, async || put(&usual).await).await;
        }
    });
}
