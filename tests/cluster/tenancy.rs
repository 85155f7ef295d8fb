//! Which namespace may use which issuer, and which secret may be sent where.

use std::time::Duration;

use apicred::api::TokenIssuer;
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::support::{Place, World, condition, merge, run, typed};

/// An issuer of the place's own namespace.
pub(crate) async fn namespaced(place: &Place, spec: Value) {
    let api: Api<TokenIssuer> = Api::namespaced(place.kube.clone(), &place.namespace);
    let issuer = typed(json!({
        "apiVersion": "apicred.dev/v1alpha1",
        "kind": "TokenIssuer",
        "metadata": { "name": "mine" },
        "spec": spec,
    }));
    api.create(&PostParams::default(), &issuer)
        .await
        .expect("an issuer");
}

#[test]
fn a_namespaced_issuer_gets_no_secret_that_does_not_name_it() {
    run(async {
        let world = World::shared().await;
        let place = world.place("allowed-issuers").await;
        let entra =
            json!({ "tenantId": place.issuer.tenant(), "authorityHost": place.issuer.origin() });
        namespaced(
            &place,
            json!({ "entra": entra, "caBundle": place.issuer.ca_pem() }),
        )
        .await;
        place
            .create(
                "c",
                json!({ "issuerRef": { "kind": "TokenIssuer", "name": "mine" } }),
            )
            .await;
        let message = place.not_ready("c", "NotAuthorizedBySecret").await;
        assert!(
            message.contains("apicred.dev/allowed-issuers"),
            "no next step in: {message}"
        );
        assert!(
            message.contains(place.issuer.origin()),
            "which origin? {message}"
        );

        let allow = |origins: &str| json!({ "metadata": { "annotations": { "apicred.dev/allowed-issuers": origins } } });
        place
            .edit_secret(
                "source",
                allow("https://127.0.0.1, https://login.microsoftonline.com"),
            )
            .await;
        world.stays_quiet(&place, Duration::from_secs(1)).await;
        place.not_ready("c", "NotAuthorizedBySecret").await;
        assert_eq!(
            place.posts(),
            0,
            "nothing may be sent before the Secret allows it"
        );

        place
            .edit_secret(
                "source",
                allow(&format!(
                    "https://other.example, {}/",
                    place.issuer.origin()
                )),
            )
            .await;
        let view = place.ready("c").await;
        assert_eq!(place.call("demo", "whoami", &view.token).await, 200);
        assert_eq!(place.posts(), 1);

        // Permission removed: the token stays until it expires, and the next one is not requested.
        place
            .edit_secret("source", allow("https://other.example"))
            .await;
        place.request_renewal("c").await;
        place
            .until("c", "the refusal", |c| {
                condition(c, "RenewalFailing").filter(|r| r.reason == "NotAuthorizedBySecret")
            })
            .await;
        assert_eq!(place.ready("c").await.token, view.token);
        assert_eq!(place.posts(), 1);
    });
}

#[test]
fn a_cluster_issuer_serves_the_namespaces_that_it_names() {
    run(async {
        let world = World::shared().await;
        let place = world.place("allowed-namespaces").await;
        let selector = json!({ "matchLabels": { "tokens": "yes" } });
        let allowed =
            json!({ "allowedNamespaces": { "names": ["another"], "selector": selector } });
        place.put_issuer(merge(place.entra_issuer(), allowed)).await;
        place.issuer_ready().await;
        place.create("c", json!({})).await;
        let message = place.not_ready("c", "NotAuthorizedByIssuer").await;
        assert!(
            message.contains(&place.namespace) && message.contains("allowedNamespaces"),
            "{message}"
        );
        world.stays_quiet(&place, Duration::from_secs(1)).await;
        assert_eq!(place.posts(), 0);

        let namespaces: Api<Namespace> = Api::all(place.kube.clone());
        let label = json!({ "metadata": { "labels": { "tokens": "yes" } } });
        namespaces
            .patch(
                &place.namespace,
                &PatchParams::default(),
                &Patch::Merge(label),
            )
            .await
            .unwrap();
        place.ready("c").await;
        assert_eq!(place.posts(), 1);
    });
}

#[test]
fn a_cluster_issuer_gives_the_scopes_that_it_names() {
    run(async {
        let world = World::shared().await;
        let place = world.place("allowed-scopes").await;
        let allowed = json!({ "allowedScopes": ["api://demo/.default"] });
        place.put_issuer(merge(place.entra_issuer(), allowed)).await;
        place.issuer_ready().await;
        let more = json!({ "scopes": ["api://demo/.default"], "parameters": [{ "name": "organization", "value": "all" }] });
        place
            .create(
                "more",
                merge(more, json!({ "target": { "secretName": "more" } })),
            )
            .await;
        let message = place.not_ready("more", "ParameterNotAllowed").await;
        assert!(
            message.contains("\"organization\"") && message.contains("allowedParameters"),
            "{message}"
        );
        place.delete("more").await;
        let api = "05a65629-4c1b-48c1-a78b-804c4abdd4af/.default";
        place.create("c", json!({ "scopes": [api] })).await;
        let message = place.not_ready("c", "ScopeNotAllowed").await;
        assert!(
            message.contains(api) && message.contains("api://demo/.default"),
            "{message}"
        );
        // The v1 endpoint does not circumvent the limit.
        place.edit("c", json!({ "spec": { "scopes": null, "resources": [api.trim_end_matches("/.default")] } })).await;
        place
            .until("c", "the refusal of the resource", |c| {
                let reported = condition(c, "Ready")?;
                (reported.observed_generation == c.metadata.generation
                    && reported.reason == "ScopeNotAllowed")
                    .then_some(())
            })
            .await;
        assert_eq!(place.posts(), 0);
        place
            .edit(
                "c",
                json!({ "spec": { "resources": null, "scopes": ["api://demo/.default"] } }),
            )
            .await;
        place.ready("c").await;
        assert_eq!(place.posts(), 1);
    });
}

#[test]
fn an_issuer_on_a_private_address_needs_an_administrators_permission() {
    run(async {
        let world = World::shared().await;
        let place = world.place("network").await;
        let spec = merge(place.entra_issuer(), json!({ "network": null }));
        place.put_issuer(spec).await;
        place.create("c", json!({})).await;
        let message = place.not_ready("c", "AddressNotAllowed").await;
        assert!(
            message.contains("allowedCidrs"),
            "no next step in: {message}"
        );
        // The issuer reports this as well, and an issuer without namespaces reports that it serves none.
        place
            .until_issuer_reports("AddressNotAllowed", &["allowedCidrs"])
            .await;
        assert_eq!(place.posts(), 0);
        let nobody = json!({ "allowedNamespaces": null });
        place.put_issuer(merge(place.entra_issuer(), nobody)).await;
        place
            .until_issuer_reports("EndpointKnown", &["no namespace may use it"])
            .await;
        place.put_issuer(place.entra_issuer()).await;
        place.ready("c").await;
    });
}
