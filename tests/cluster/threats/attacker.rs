//! A user with a separate role.

use std::collections::BTreeMap;

use apicred::api::{ApiCredential, TokenIssuer};
use k8s_openapi::api::{
    authorization::v1::SelfSubjectAccessReview,
    core::v1::Secret,
    events::v1::Event,
    rbac::v1::{Role, RoleBinding},
};
use kube::{
    Api, Client, Config, Resource, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use testenv::eventually;

use crate::support::{Place, SOON, World, condition, typed, unique};

/// Creates and changes credentials and issuers, and sees their status; reads no Secret.
pub(super) const ISSUERS_AND_CREDENTIALS: &[&str] =
    &["apicredentials", "apiclients", "tokenissuers"];
/// Creates and changes only credentials: a repository writer, or a user with a reduced version of the operator's role `edit`.
pub(super) const CREDENTIALS: &[&str] = &["apicredentials"];

/// A user of one namespace.
pub(super) struct Attacker {
    client: Client,
    namespace: String,
}

impl Attacker {
    /// A user who has all rights on these kinds of apicred, may read events, and nothing else.
    pub(super) async fn of(world: &World, place: &Place, kinds: &[&str]) -> Self {
        Self::with(world, place, kinds, json!([])).await
    }

    /// The same with further rules.
    pub(super) async fn with(world: &World, place: &Place, kinds: &[&str], more: Value) -> Self {
        let name = format!("mallory-{}", unique());
        let mut rules = vec![
            json!({ "apiGroups": ["apicred.dev"], "resources": kinds, "verbs": ["*"] }),
            json!({ "apiGroups": ["", "events.k8s.io"], "resources": ["events"], "verbs": ["get", "list", "watch"] }),
        ];
        rules.extend(more.as_array().cloned().unwrap_or_default());
        let role: Role = typed(json!({ "metadata": { "name": name }, "rules": rules }));
        let binding: RoleBinding = typed(json!({
            "metadata": { "name": name },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name },
            "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name }],
        }));
        let params = PostParams::default();
        Api::namespaced(place.kube.clone(), &place.namespace)
            .create(&params, &role)
            .await
            .expect("a role");
        Api::namespaced(place.kube.clone(), &place.namespace)
            .create(&params, &binding)
            .await
            .expect("a binding");
        let mut kubeconfig =
            Kubeconfig::read_from(world.cluster.admin_kubeconfig()).expect("a kubeconfig");
        for user in &mut kubeconfig.auth_infos {
            if let Some(info) = &mut user.auth_info {
                info.impersonate = Some(name.clone());
            }
        }
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .expect("a usable kubeconfig");
        let attacker = Self {
            client: Client::try_from(config).expect("a client"),
            namespace: place.namespace.clone(),
        };
        eventually(SOON, "the role to hold", async || {
            attacker
                .may("create", "apicred.dev", "apicredentials")
                .await
        })
        .await;
        attacker
    }

    /// Whether the API server allows this.
    pub(super) async fn may(&self, verb: &str, group: &str, resource: &str) -> bool {
        let (resource, sub) = resource.split_once('/').unwrap_or((resource, ""));
        let review: SelfSubjectAccessReview = typed(json!({ "spec": { "resourceAttributes": {
            "namespace": self.namespace, "verb": verb, "group": group, "resource": resource, "subresource": sub,
        } } }));
        let answer = Api::all(self.client.clone())
            .create(&PostParams::default(), &review)
            .await
            .expect("a review");
        answer.status.is_some_and(|s| s.allowed)
    }

    /// The attack would prove nothing if this user could read Secrets.
    pub(super) async fn reads_no_secrets(&self) {
        for verb in ["get", "list", "watch", "update", "patch"] {
            assert!(
                !self.may(verb, "", "secrets").await,
                "he may {verb} secrets"
            );
        }
        for (group, resource) in [
            ("", "pods"),
            ("", "serviceaccounts/token"),
            ("apps", "deployments"),
        ] {
            assert!(
                !self.may("create", group, resource).await,
                "he may create {resource}"
            );
        }
    }

    fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub(super) fn credentials(&self) -> Api<ApiCredential> {
        self.api()
    }

    pub(super) fn issuers(&self) -> Api<TokenIssuer> {
        self.api()
    }

    /// Creates an object of any form; returns the API server's message if it refuses.
    async fn make<K: Resource<DynamicType = ()>>(
        &self,
        name: &str,
        spec: Value,
    ) -> Result<(), String> {
        let kind = ApiResource::erase::<K>(&());
        let object: DynamicObject = typed(json!({
            "apiVersion": kind.api_version, "kind": kind.kind, "metadata": { "name": name }, "spec": spec,
        }));
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &self.namespace, &kind);
        let made = api.create(&PostParams::default(), &object).await;
        made.map(|_| ()).map_err(|e| e.to_string())
    }

    pub(super) async fn credential(&self, name: &str, spec: Value) -> Result<(), String> {
        self.make::<ApiCredential>(name, spec).await
    }

    pub(super) async fn issuer(&self, name: &str, spec: Value) -> Result<(), String> {
        self.make::<TokenIssuer>(name, spec).await
    }

    pub(super) async fn edit(&self, name: &str, patch: Value) {
        self.credentials()
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .expect("an edit");
    }

    pub(super) async fn delete(&self, name: &str) {
        let params = DeleteParams::default();
        self.credentials()
            .delete(name, &params)
            .await
            .expect("a deletion");
    }

    /// Waits until a credential in its present generation is not ready for one of these reasons; returns the reason.
    pub(super) async fn refused(&self, name: &str, reasons: &[&str]) -> String {
        let what = format!("{}/{name} refused as one of {reasons:?}", self.namespace);
        eventually(SOON, what, async || {
            let credential = self.credentials().get(name).await;
            let credential = credential.map_err(|e| e.to_string())?;
            let reported = condition(&credential, "Ready").ok_or("nothing reported")?;
            let fits = reported.status == "False"
                && reported.observed_generation == credential.metadata.generation
                && reasons.contains(&reported.reason.as_str());
            if fits {
                Ok(reported.reason)
            } else {
                Err(format!("{reported:?}"))
            }
        })
        .await
    }

    /// Waits for the status of an issuer; returns the message with which it is refused.
    pub(super) async fn issuer_refused(&self, name: &str) -> String {
        eventually(SOON, format!("issuer {name} refused"), async || {
            let issuer = self.issuers().get(name).await.map_err(|e| e.to_string())?;
            let status = issuer.status.unwrap_or_default();
            let reported = status
                .conditions
                .iter()
                .find(|c| c.type_ == "Ready" && c.status == "False");
            reported
                .map(|c| c.message.clone())
                .ok_or(format!("{:?}", status.conditions))
        })
        .await
    }

    /// Everything that this user can read.
    pub(super) async fn reads(&self) -> String {
        let all = ListParams::default();
        let credentials = self.credentials().list(&all).await.expect("a list").items;
        let issuers = self.issuers().list(&all).await;
        let issuers = issuers.map(|l| l.items).unwrap_or_default();
        let events = self.api::<Event>().list(&all).await.expect("a list").items;
        serde_json::to_string(&(credentials, issuers, events)).expect("JSON")
    }

    /// It contains no part of a secret.
    pub(super) async fn learns_nothing(&self, place: &Place) {
        let leak = place.canaries.net().first_leak(&self.reads().await);
        assert_eq!(leak, None, "he can read a secret");
    }
}

/// All Secrets of a namespace that apicred did not make, byte for byte.
pub(super) async fn foreign_secrets(place: &Place) -> BTreeMap<String, Value> {
    let list = place.secrets().list(&ListParams::default()).await;
    let ours = |s: &Secret| {
        s.labels()
            .get("app.kubernetes.io/managed-by")
            .is_some_and(|m| m == "apicred")
    };
    list.expect("a list")
        .items
        .into_iter()
        .filter(|s| !ours(s))
        .map(|s| (s.name_any(), serde_json::to_value(&s).expect("JSON")))
        .collect()
}
