//! `ApiClient`: one client, named by several credentials.

use std::time::Duration;

use apicred::api::{ApiClient, ApiCredential};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use testenv::eventually;

use crate::support::{Place, SOON, World, merge, run, typed, unique};

impl Place {
    pub(crate) fn clients(&self) -> Api<ApiClient> {
        Api::namespaced(self.kube.clone(), &self.namespace)
    }

    /// Makes an `ApiClient` for this place's client, with changes of its spec.
    pub(crate) async fn put_client(&self, name: &str, changes: Value) {
        let spec = json!({
            "issuerRef": { "kind": "ClusterTokenIssuer", "name": self.issuer_name },
            "id": self.client, "secrets": [{ "name": "source", "key": "client-secret" }],
        });
        let client = typed(json!({
            "apiVersion": "apicred.dev/v1alpha1", "kind": "ApiClient",
            "metadata": { "name": name }, "spec": merge(spec, changes),
        }));
        let made = self.clients().create(&PostParams::default(), &client).await;
        made.expect("a client");
    }

    pub(crate) async fn edit_client(&self, name: &str, patch: Value) {
        let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
        let edited = self.clients().patch(name, &params, &patch).await;
        edited.expect("an edit");
    }

    pub(crate) async fn delete_client(&self, name: &str) {
        let deleted = self.clients().delete(name, &DeleteParams::default()).await;
        deleted.expect("it goes");
    }

    /// Waits until `Ready` of a client has this status and reason; returns its message.
    pub(crate) async fn until_client_reports(
        &self,
        name: &str,
        status: &str,
        reason: &str,
    ) -> String {
        eventually(SOON, format!("{name}: {status}/{reason}"), async || {
            let client = self.clients().get(name).await.map_err(|e| e.to_string())?;
            let seen = client.status.clone().unwrap_or_default();
            let current = seen.observed_generation == client.metadata.generation;
            let ready = seen.conditions.iter().find(|c| c.type_ == "Ready");
            ready
                .filter(|c| current && c.status == status && c.reason == reason)
                .map(|c| c.message.clone())
                .ok_or_else(|| format!("{seen:?}"))
        })
        .await
    }
}

/// A credential of that name with the client `shared`, whose issuer it uses.
pub(crate) fn by_client(name: &str) -> Value {
    json!({
        "client": null, "issuerRef": null, "clientRef": { "name": "shared" },
        "target": { "secretName": format!("token-{name}") },
    })
}

#[test]
fn credentials_that_share_a_client_follow_its_edits() {
    run(async {
        let world = World::shared().await;
        let place = world.place("shared-client").await;
        place.create("a", by_client("a")).await;
        let message = place.not_ready("a", "ClientNotFound").await;
        assert!(
            message.contains("ApiClient shared does not exist"),
            "{message}"
        );
        assert_eq!(place.posts(), 0);
        place.put_client("shared", json!({})).await;
        place
            .until_client_reports("shared", "True", "ClientValid")
            .await;
        let first = place.ready("a").await;
        place.create("b", by_client("b")).await;
        place.ready("b").await;
        world.stays_quiet(&place, Duration::from_secs(1)).await;

        // A change that does not affect a request costs no token: a label, an expiry for the warning, another secret after the first.
        let posts = place.posts();
        place.put_secret("old", "value", &unique()).await;
        let secrets = json!([
            { "name": "source", "key": "client-secret", "expiresAt": "2099-01-01" },
            { "name": "old", "key": "value" },
        ]);
        let edit =
            json!({ "metadata": { "labels": { "team": "x" } }, "spec": { "secrets": secrets } });
        place.edit_client("shared", edit).await;
        place
            .until_client_reports("shared", "True", "ClientValid")
            .await;
        for name in ["a", "b"] {
            let end = |c: &ApiCredential| c.status.as_ref()?.client.as_ref()?.expires_at.clone();
            place.until(name, "the end of the secret", end).await;
            let client = place.clients().get("shared").await.expect("a client");
            let about = |c: &ApiCredential| {
                let about = c.status.as_ref()?.client.as_ref()?.observed_generation;
                (about.is_some() && about == client.metadata.generation).then_some(())
            };
            place.until(name, "a status about this client", about).await;
        }
        assert_eq!(place.posts(), posts, "a token for nothing");
        assert_eq!(place.view("token-a").await.unwrap().token, first.token);

        // Another client requires another token, for each of them.
        let other = format!("{}-other", place.client);
        place.add_client(
            dev_issuer::Client::new(&other)
                .secret(&place.secret)
                .role("demo", "Records.Read"),
        );
        place
            .edit_client("shared", json!({ "spec": { "id": other } }))
            .await;
        for secret in ["token-a", "token-b"] {
            eventually(SOON, "a token of the other client", async || {
                let view = place.view(secret).await?;
                let appid = view.claims["azp"]
                    .as_str()
                    .or(view.claims["appid"].as_str());
                (appid == Some(&*other))
                    .then_some(())
                    .ok_or_else(|| view.claims.to_string())
            })
            .await;
        }

        // A wrong one is reported by each credential, and they recover without intervention after the correction.
        place
            .edit_client(
                "shared",
                json!({ "spec": { "id": format!("{other}-typo") } }),
            )
            .await;
        place.not_ready("a", "ClientUnknown").await;
        place
            .edit_client("shared", json!({ "spec": { "id": other } }))
            .await;
        place.ready("a").await;
        world.stays_quiet(&place, Duration::from_secs(1)).await;
    });
}

#[test]
fn a_change_of_a_secret_that_only_the_client_names_is_seen() {
    run(async {
        let world = World::shared().await;
        let place = world.place("client-source").await;
        place.put_secret("later", "value", "wrong-at-first").await;
        let secrets = json!([{ "name": "later", "key": "value" }]);
        place
            .put_client("shared", json!({ "secrets": secrets }))
            .await;
        place.create("a", by_client("a")).await;
        place.not_ready("a", "ClientSecretRefused").await;
        place.put_secret("later", "value", &place.secret).await;
        place.ready("a").await;
        // The same after an edit that names another Secret.
        place.put_secret("newest", "value", "wrong-at-first").await;
        let secrets = json!([{ "name": "newest", "key": "value" }]);
        place
            .edit_client("shared", json!({ "spec": { "secrets": secrets } }))
            .await;
        place.request_renewal("a").await;
        place
            .until("a", "the secret is refused", |c| {
                let renewal = crate::support::condition(c, "RenewalFailing")?;
                (renewal.reason == "ClientSecretRefused").then_some(())
            })
            .await;
        place.put_secret("newest", "value", &place.secret).await;
        place
            .until("a", "no trouble", |c| {
                crate::support::is_well(c).then_some(())
            })
            .await;
    });
}

#[test]
fn a_client_reports_what_it_lacks_and_is_written_only_on_a_change() {
    run(async {
        let world = World::shared().await;
        let place = world.place("client-ready").await;
        place
            .put_client(
                "none",
                json!({ "secrets": [{ "name": "gone", "key": "k" }] }),
            )
            .await;
        let message = place
            .until_client_reports("none", "False", "ClientSecretMissing")
            .await;
        assert_eq!(
            message,
            "spec.secrets: Secret gone does not exist; create it, or correct the name"
        );
        let certificate = json!({ "secrets": null, "certificates": [{ "secretName": "gone" }] });
        place.put_client("certificate", certificate).await;
        place
            .until_client_reports("certificate", "False", "SourceMissing")
            .await;
        let nowhere = json!({ "issuerRef": { "name": "nowhere-to-be-found" } });
        place.put_client("nowhere", nowhere).await;
        place
            .until_client_reports("nowhere", "False", "IssuerNotFound")
            .await;
        place.put_client("blank", json!({ "id": "\u{a0}c" })).await;
        let message = place
            .until_client_reports("blank", "False", "InvalidSpec")
            .await;
        assert!(message.starts_with("spec.id: has a space"), "{message}");

        place.put_secret("gone", "k", &unique()).await;
        place
            .until_client_reports("none", "True", "ClientValid")
            .await;
        place
            .until_client_reports("certificate", "False", "SourceKeyMissing")
            .await;
        place
            .secrets()
            .delete("gone", &DeleteParams::default())
            .await
            .expect("it goes");
        place
            .until_client_reports("none", "False", "ClientSecretMissing")
            .await;
        let issuer = json!({ "spec": { "issuerRef": { "name": place.issuer_name } } });
        place.edit_client("nowhere", issuer).await;
        place
            .until_client_reports("nowhere", "True", "ClientValid")
            .await;
        place
            .edit_client("blank", json!({ "spec": { "id": "c" } }))
            .await;
        place
            .until_client_reports("blank", "True", "ClientValid")
            .await;
        world.stays_quiet(&place, Duration::from_secs(1)).await;
    });
}
