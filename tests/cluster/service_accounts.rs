//! A `ServiceAccount` authenticates a client.

use serde_json::{Value, json};

use super::systems::{place, works};
use crate::support::{Place, World, run};

/// The cluster's own issuer and keys, as Entra ID would fetch them.
pub(crate) async fn cluster_issuer(world: &World) -> (String, String) {
    let get = async |path: &str| {
        let request = http::Request::get(path)
            .body(Vec::new())
            .expect("a request");
        world.admin.request_text(request).await.expect("an answer")
    };
    let document: Value =
        serde_json::from_str(&get("/.well-known/openid-configuration").await).expect("JSON");
    let issuer = document["issuer"].as_str().expect("an issuer").to_owned();
    (issuer, get("/openid/v1/jwks").await)
}

pub(crate) async fn service_account(place: &Place, name: &str, annotations: Value) {
    use k8s_openapi::api::core::v1::ServiceAccount;
    let api: kube::Api<ServiceAccount> =
        kube::Api::namespaced(place.kube.clone(), &place.namespace);
    let object = crate::support::typed(json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": { "name": name, "annotations": annotations },
    }));
    api.create(&kube::api::PostParams::default(), &object)
        .await
        .expect("a ServiceAccount");
}

#[test]
fn a_service_account_authenticates_its_client_and_nothing_is_stored() {
    run(async {
        let world = World::shared().await;
        let place = place(world, "keyless").await;
        let (issuer, jwks) = cluster_issuer(world).await;
        place.issuer.trust_issuer(&issuer, &jwks).expect("keys");
        service_account(&place, "workload", Value::Null).await;
        let subject = format!("system:serviceaccount:{}:workload", place.namespace);
        let generic = place.issuer.generic_issuer();
        place.add_client(
            place
                .oauth_client()
                .federated(&issuer, &subject, "api://AzureADTokenExchange")
                .federated(&issuer, &subject, &generic),
        );
        let account = json!({ "id": place.client, "secrets": null, "serviceAccount": { "name": "workload" } });
        place
            .create(
                "entra",
                json!({ "client": account, "target": { "secretName": "entra" } }),
            )
            .await;
        works(&place, "entra", ("demo", "records")).await;

        // A mistyped name is reported with the values that Entra ID requires.
        let mut nobody = account.clone();
        nobody["serviceAccount"]["name"] = json!("nobody");
        place
            .create(
                "nobody",
                json!({ "client": nobody, "target": { "secretName": "nobody" } }),
            )
            .await;
        let reported = place.not_ready("nobody", "ServiceAccountMissing").await;
        assert!(reported.contains("nobody does not exist"), "{reported}");
        service_account(&place, "stranger", Value::Null).await;
        let mut stranger = account.clone();
        stranger["serviceAccount"]["name"] = json!("stranger");
        place
            .create(
                "stranger",
                json!({ "client": stranger, "target": { "secretName": "stranger" } }),
            )
            .await;
        // The API server's own audience is not an audience for a token that leaves the cluster: here it is its issuer.
        let mut own = account.clone();
        own["serviceAccount"]["audience"] = json!(issuer);
        place
            .create(
                "own",
                json!({ "client": own, "target": { "secretName": "own" } }),
            )
            .await;
        let reported = place.not_ready("own", "ServiceAccountTokenRefused").await;
        assert!(reported.contains(&issuer), "{reported}");
        place
            .until("stranger", "refused with 700213", |c| {
                let last = c.status.as_ref()?.last_attempt.as_ref()?;
                (last.code.as_deref() == Some("AADSTS700213")).then_some(())
            })
            .await;
    });
}

/// A place whose issuer is the generic one.
pub(crate) async fn generic(world: &World, label: &str) -> Place {
    let place = place(world, label).await;
    let mut spec =
        place.issuer_spec(json!({ "oidc": { "issuerUrl": place.issuer.generic_issuer() } }));
    spec["entra"] = Value::Null;
    place.put_issuer(spec).await;
    place.issuer_ready().await;
    place
}

#[test]
fn a_service_account_is_exchanged_and_asserted_at_any_issuer() {
    run(async {
        let world = World::shared().await;
        let place = generic(world, "exchange").await;
        let (issuer, jwks) = cluster_issuer(world).await;
        place.issuer.trust_issuer(&issuer, &jwks).expect("keys");
        service_account(&place, "workload", Value::Null).await;
        let subject = format!("system:serviceaccount:{}:workload", place.namespace);
        let own = place.issuer.generic_issuer();
        place.add_client(place.oauth_client().federated(&issuer, &subject, &own));
        let asserted = json!({
            "client": { "secrets": null, "serviceAccount": { "name": "workload" } },
            "scopes": ["read"], "audience": "api://demo", "target": { "secretName": "asserted" },
        });
        place.create("asserted", asserted).await;
        works(&place, "asserted", ("demo", "records")).await;
        let exchanged = json!({
            "grant": { "tokenExchange": { "subject": { "serviceAccount": { "name": "workload" } } } },
            "scopes": ["read"], "audience": "api://demo", "target": { "secretName": "exchanged" },
        });
        place.create("exchanged", exchanged).await;
        let view = place.ready("exchanged").await;
        assert_eq!(view.claims["sub"], subject);
        assert_eq!(place.call("demo", "records", &view.token).await, 200);
    });
}
