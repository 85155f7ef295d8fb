//! `Ready` of an `ApiClient` is `True` only if some credential can use it.

use std::time::Duration;

use apicred::api::{ApiCredential, TokenIssuer};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use testenv::eventually;

use crate::{
    clients::by_client,
    support::{Place, SOON, World, condition, run, typed},
};

impl Place {
    /// Labels its namespace, or removes the label.
    async fn label(&self, label: Value) {
        let namespaces: Api<Namespace> = Api::all(self.kube.clone());
        let patch = json!({ "metadata": { "labels": { "apicred-test-team": label } } });
        let patch = Patch::Merge(patch);
        let params = PatchParams::default();
        let edited = namespaces.patch(&self.namespace, &params, &patch);
        edited.await.expect("a label");
    }

    /// Sets an annotation of a Secret, or removes it.
    async fn annotate(&self, secret: &str, name: &str, value: Value) {
        let note = json!({ format!("apicred.dev/{name}"): value });
        self.edit_secret(secret, json!({ "metadata": { "annotations": note } }))
            .await;
    }
}

#[test]
fn a_client_whose_issuer_does_not_serve_its_namespace_is_not_ready() {
    run(async {
        let world = World::shared().await;
        let place = world.place("client-served").await;
        place.put_client("shared", json!({})).await;
        place
            .until_client_reports("shared", "True", "ClientValid")
            .await;
        let allowing = |allowed: Value| {
            let mut spec = place.entra_issuer();
            spec["allowedNamespaces"] = allowed;
            place.put_issuer(spec)
        };
        allowing(json!({ "names": ["another"] })).await;
        let reported = place
            .until_client_reports("shared", "False", "NotAuthorizedByIssuer")
            .await;
        assert!(
            reported.contains(&place.namespace) && reported.contains("spec.allowedNamespaces"),
            "{reported}"
        );
        // Its credentials report the same.
        place.create("a", by_client("a")).await;
        let message = place.not_ready("a", "NotAuthorizedByIssuer").await;
        assert!(message.contains(&reported), "{message}");
        assert_eq!(place.posts(), 0);

        // With a label of the namespace, which is set and removed.
        let selector = json!({ "matchLabels": { "apicred-test-team": "blue" } });
        allowing(json!({ "selector": selector })).await;
        place.label(json!("blue")).await;
        place
            .until_client_reports("shared", "True", "ClientValid")
            .await;
        place.ready("a").await;
        place.label(Value::Null).await;
        place
            .until_client_reports("shared", "False", "NotAuthorizedByIssuer")
            .await;
        allowing(json!({ "names": [place.namespace] })).await;
        place
            .until_client_reports("shared", "True", "ClientValid")
            .await;

        // The installation allows only the public cloud.
        let at = |cloud: &str| {
            let entra = json!({ "tenantId": "contoso.onmicrosoft.com", "cloud": cloud });
            json!({ "issuerRef": null, "entra": entra })
        };
        place.put_client("abroad", at("China")).await;
        let reported = place
            .until_client_reports("abroad", "False", "CloudNotAllowed")
            .await;
        assert!(reported.contains("China"), "{reported}");
        place
            .edit_client("abroad", json!({ "spec": at("Public") }))
            .await;
        place
            .until_client_reports("abroad", "True", "ClientValid")
            .await;
    });
}

#[test]
fn a_client_whose_secrets_cannot_serve_it_is_not_ready() {
    run(async {
        let world = World::shared().await;
        let place = world.place("client-served-by").await;
        let entry = |key: &str| json!({ "name": "source", "key": key });
        let missing = json!({ "secrets": [entry("later")] });
        place.put_client("one", missing).await;
        let reported = place
            .until_client_reports("one", "False", "ClientSecretKeyMissing")
            .await;
        assert_eq!(
            reported,
            "spec.secrets: Secret source has no key later; correct the key or add it"
        );
        // One of two is sufficient.
        let two = json!({ "secrets": [entry("later"), entry("client-secret")] });
        place.put_client("two", two).await;
        place
            .until_client_reports("two", "True", "ClientValid")
            .await;
        let pair = json!({ "secrets": null, "certificates": [{ "secretName": "source" }] });
        place.put_client("pair", pair).await;
        place
            .until_client_reports("pair", "False", "SourceKeyMissing")
            .await;

        // After a change of the Secret alone, it is read again.
        let label = json!({ "metadata": { "labels": { "team": "x" } } });
        world.stays_quiet(&place, Duration::from_secs(1)).await;
        let mark = world.mark();
        place
            .edit_client("two", json!({ "spec": { "id": "other" } }))
            .await;
        place
            .until_client_reports("two", "True", "ClientValid")
            .await;
        assert_eq!(world.since(mark, &place).count("get", "secrets"), 0);
        place.edit_secret("source", label).await;
        let reads = || world.since(mark, &place).count("get", "secrets");
        eventually(SOON, "a read for each client", async || {
            (reads() >= 3)
                .then_some(())
                .ok_or_else(|| reads().to_string())
        })
        .await;
        world.stays_quiet(&place, Duration::from_secs(1)).await;
        assert_eq!(reads(), 3);
        let more = json!({ "stringData": { "later": "a~later.value" } });
        place.edit_secret("source", more).await;
        place
            .until_client_reports("one", "True", "ClientValid")
            .await;
        place
            .edit_secret("source", json!({ "data": { "later": null } }))
            .await;
        place
            .until_client_reports("one", "False", "ClientSecretKeyMissing")
            .await;

        // A Secret that its owner reserves for another use.
        place
            .annotate("source", "publish-by", json!("somebody"))
            .await;
        let reported = place
            .until_client_reports("two", "False", "NotAuthorizedBySecret")
            .await;
        assert!(reported.contains("apicred.dev/publish-by"), "{reported}");
        place.annotate("source", "publish-by", Value::Null).await;
        place
            .until_client_reports("two", "True", "ClientValid")
            .await;
    });
}

#[test]
fn a_client_at_an_issuer_that_its_secret_does_not_name_is_not_ready() {
    run(async {
        let world = World::shared().await;
        let place = world.place("client-not-named").await;
        let origin = place.issuer.origin();
        let own: Api<TokenIssuer> = Api::namespaced(place.kube.clone(), &place.namespace);
        let entra = json!({ "tenantId": place.issuer.tenant(), "authorityHost": origin });
        let issuer = typed(json!({
            "apiVersion": "apicred.dev/v1alpha1", "kind": "TokenIssuer", "metadata": { "name": "own" },
            "spec": { "entra": entra, "caBundle": place.issuer.ca_pem() },
        }));
        let made = own.create(&PostParams::default(), &issuer).await;
        made.expect("an issuer");
        let at = json!({ "issuerRef": { "kind": "TokenIssuer", "name": "own" } });
        place.put_client("shared", at).await;
        let reported = place
            .until_client_reports("shared", "False", "NotAuthorizedBySecret")
            .await;
        assert!(
            reported.contains(&format!("apicred.dev/allowed-issuers: {origin}")),
            "{reported}"
        );
        place.create("a", by_client("a")).await;
        let seen = |c: &ApiCredential| condition(c, "Ready").map(|r| (r.reason, r.message));
        let message = place.until("a", "a reason", |c| {
            seen(c).filter(|(reason, _)| reason == "NotAuthorizedBySecret")
        });
        let message = message.await.1;
        assert!(message.contains(&reported), "{message}");
        let named = json!(format!("https://another.example, {origin}"));
        place.annotate("source", "allowed-issuers", named).await;
        place
            .until_client_reports("shared", "True", "ClientValid")
            .await;
        place
            .annotate(
                "source",
                "allowed-issuers",
                json!("https://another.example"),
            )
            .await;
        place
            .until_client_reports("shared", "False", "NotAuthorizedBySecret")
            .await;

        // A ServiceAccount must name the issuer as well.
        let account = |note: Value| {
            let notes = json!({ "apicred.dev/allowed-issuers": note });
            typed::<ServiceAccount>(json!({
                "apiVersion": "v1", "kind": "ServiceAccount",
                "metadata": { "name": "sync", "annotations": notes },
            }))
        };
        let accounts: Api<ServiceAccount> = Api::namespaced(place.kube.clone(), &place.namespace);
        let other = account(json!("https://another.example"));
        let made = accounts.create(&PostParams::default(), &other).await;
        made.expect("an account");
        let by_account = json!({
            "issuerRef": { "kind": "TokenIssuer", "name": "own" },
            "secrets": null, "serviceAccount": { "name": "sync" },
        });
        place.put_client("account", by_account).await;
        let reported = place
            .until_client_reports("account", "False", "NotAuthorizedBySecret")
            .await;
        assert!(reported.contains("ServiceAccount sync"), "{reported}");
        let patch = Patch::Merge(account(json!(origin)));
        let params = PatchParams::default();
        let edited = accounts.patch("sync", &params, &patch);
        edited.await.expect("an annotation");
        place
            .until_client_reports("account", "True", "ClientValid")
            .await;
    });
}
