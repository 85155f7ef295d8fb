//! Changes of a test to the credentials of its place, and its waits.

use apicred::api::ApiCredential;
use dev_issuer::{Client, Hold, Point};
use k8s_openapi::api::{core::v1::Secret, events::v1::Event};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use testenv::eventually;

use super::{
    LATER, Place, SOON, SecretView,
    place::{KEY, SOURCE, condition, merge, typed},
    unique,
};

impl Place {
    /// The usual spec with changes on top (RFC 7386).
    pub(crate) fn spec(&self, changes: Value) -> Value {
        merge(
            json!({
                "issuerRef": { "kind": "ClusterTokenIssuer", "name": self.issuer_name },
                "client": { "id": self.client, "secrets": [{ "name": SOURCE, "key": KEY }] },
                "scopes": ["api://demo/.default"],
                "target": { "secretName": "token" },
            }),
            changes,
        )
    }

    /// Makes a credential with the usual spec and changes on top.
    pub(crate) async fn create(&self, name: &str, changes: Value) -> ApiCredential {
        let object = typed(json!({
            "apiVersion": "apicred.dev/v1alpha1",
            "kind": "ApiCredential",
            "metadata": { "name": name },
            "spec": self.spec(changes),
        }));
        self.credentials()
            .create(&PostParams::default(), &object)
            .await
            .expect("a credential")
    }

    /// Changes a credential by a merge patch.
    pub(crate) async fn edit(&self, name: &str, patch: Value) -> ApiCredential {
        let params = PatchParams::default();
        self.credentials()
            .patch(name, &params, &Patch::Merge(patch))
            .await
            .expect("an edit")
    }

    /// Changes a Secret by a merge patch, as `kubectl patch` does.
    pub(crate) async fn edit_secret(&self, name: &str, patch: Value) -> Secret {
        let params = PatchParams {
            field_manager: Some("a-user".to_owned()),
            ..PatchParams::default()
        };
        self.secrets()
            .patch(name, &params, &Patch::Merge(patch))
            .await
            .expect("an edit")
    }

    /// Creates a credential `other`, of another client, that occupies a permit of the issuer until its request is released.
    pub(crate) async fn other_asks(&self) -> Hold {
        let other = format!("{}-other", self.client);
        self.add_client(Client::new(&other).secret(&self.secret));
        let hold = self.issuer.hold(&other, Point::Received);
        let spec = json!({ "client": { "id": other }, "target": { "secretName": "other" } });
        self.create("other", spec).await;
        hold.reached().await;
        hold
    }

    /// Deletes a credential without waiting.
    pub(crate) async fn delete(&self, name: &str) {
        self.credentials()
            .delete(name, &DeleteParams::default())
            .await
            .expect("a deletion");
    }

    /// Waits until the operator has seen all changes of credentials so far. Its watch reports changes in their
    /// order, so when it has reconciled an object that is created now, it has seen all earlier changes.
    pub(crate) async fn operator_has_seen_it(&self) {
        let name = format!("fence-{}", unique());
        let nobody = json!({ "kind": "ClusterTokenIssuer", "name": "nobody" });
        self.create(
            &name,
            json!({ "issuerRef": nobody, "target": { "secretName": name } }),
        )
        .await;
        self.not_ready(&name, "IssuerNotFound").await;
        self.delete(&name).await;
    }

    /// Requests a renewal with the annotation; returns the value that status must echo.
    pub(crate) async fn request_renewal(&self, name: &str) -> String {
        let renewal_id = unique();
        self.edit(
            name,
            json!({ "metadata": { "annotations": { "apicred.dev/renew-requested-at": renewal_id } } }),
        )
        .await;
        renewal_id
    }

    /// Waits until a check of a credential holds.
    pub(crate) async fn until<T>(
        &self,
        name: &str,
        what: &str,
        check: impl Fn(&ApiCredential) -> Option<T>,
    ) -> T {
        eventually(
            LATER,
            format!("{}/{name}: {what}", self.namespace),
            async || {
                let credential = self
                    .credentials()
                    .get(name)
                    .await
                    .map_err(|e| e.to_string())?;
                check(&credential).ok_or_else(|| format!("{:?}", credential.status))
            },
        )
        .await
    }

    /// Waits until a credential is ready in its present generation, and reads its Secret. `Ready` without
    /// a valid token is an error that fails at once (O6).
    pub(crate) async fn ready(&self, name: &str) -> SecretView {
        let target = eventually(
            SOON,
            format!("{}/{name} ready", self.namespace),
            async || {
                let credential = self
                    .credentials()
                    .get(name)
                    .await
                    .map_err(|e| e.to_string())?;
                let status = credential.status.clone().unwrap_or_default();
                let ready = condition(&credential, "Ready").is_some_and(|c| c.status == "True");
                if ready && status.observed_generation == credential.metadata.generation {
                    Ok(credential.spec.target.secret_name)
                } else {
                    Err(format!("{status:?}"))
                }
            },
        )
        .await;
        let view = self
            .view(&target)
            .await
            .expect("Ready is backed by a whole Secret");
        assert!(
            view.expires_at > jiff::Timestamp::now(),
            "Ready with a token that has ended"
        );
        view
    }

    /// Waits until a credential is not ready for this reason; returns the message.
    pub(crate) async fn not_ready(&self, name: &str, reason: &str) -> String {
        self.until(
            name,
            &format!("not ready because of {reason}"),
            |credential| {
                let ready = condition(credential, "Ready")?;
                (ready.status == "False" && ready.reason == reason).then_some(ready.message)
            },
        )
        .await
    }

    /// The Secret of that name, whole.
    pub(crate) async fn view(&self, secret: &str) -> Result<SecretView, String> {
        let secret = self
            .secrets()
            .get(secret)
            .await
            .map_err(|e| e.to_string())?;
        SecretView::of(&secret)
    }

    /// Waits until the Secret contains a token other than this one.
    pub(crate) async fn another_token(&self, secret: &str, than: &SecretView) -> SecretView {
        eventually(
            LATER,
            format!("{}/{secret}: another token", self.namespace),
            async || {
                let view = self.view(secret).await?;
                if view.token == than.token {
                    Err("still the old one".to_owned())
                } else {
                    Ok(view)
                }
            },
        )
        .await
    }

    /// Waits until the Secret contains a token.
    pub(crate) async fn any_token(&self, secret: &str) -> SecretView {
        eventually(
            LATER,
            format!("{}/{secret}: a token", self.namespace),
            async || self.view(secret).await,
        )
        .await
    }

    /// Calls the protected API with a token; returns the status.
    pub(crate) async fn call(&self, api: &str, path: &str, token: &str) -> u16 {
        let request = self
            .http
            .get(self.issuer.api_url(api, path))
            .bearer_auth(token);
        request
            .send()
            .await
            .expect("the API answers")
            .status()
            .as_u16()
    }

    /// Token requests of this place's client so far.
    pub(crate) fn posts(&self) -> usize {
        self.issuer.token_requests_of(&self.client).len()
    }

    /// Events about a credential, as type, reason and note.
    pub(crate) async fn events(&self, name: &str) -> Vec<(String, String, String)> {
        self.events_in(&self.namespace, name).await
    }

    /// Events in a namespace about an object.
    pub(crate) async fn events_in(
        &self,
        namespace: &str,
        name: &str,
    ) -> Vec<(String, String, String)> {
        let api: Api<Event> = Api::namespaced(self.kube.clone(), namespace);
        let all = api.list(&ListParams::default()).await.expect("events");
        all.items
            .into_iter()
            .filter(|e| e.regarding.as_ref().and_then(|r| r.name.as_deref()) == Some(name))
            .map(|e| {
                (
                    e.type_.unwrap_or_default(),
                    e.reason.unwrap_or_default(),
                    e.note.unwrap_or_default(),
                )
            })
            .collect()
    }
}
