//! A namespace of its own for one test, with all that a credential needs.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use apicred::api::{ApiCredential, ClusterTokenIssuer};
use dev_issuer::{Client as OauthClient, DevIssuer};
use k8s_openapi::{
    api::core::v1::{Namespace, Secret},
    apimachinery::pkg::apis::meta::v1::Condition,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use testenv::eventually;

use super::{LATER, Listener, SOON, World, canaries::Canaries, unique};

/// Name of the Secret with the client secret.
pub(crate) const SOURCE: &str = "source";
/// Its key.
pub(crate) const KEY: &str = "client-secret";

/// The part of a world that belongs to one test.
pub(crate) struct Place {
    pub(crate) namespace: String,
    /// Client ID at the issuer; unique in the world.
    pub(crate) client: String,
    /// The client's secret.
    pub(crate) secret: String,
    /// Name of the ClusterTokenIssuer that serves this namespace alone.
    pub(crate) issuer_name: String,
    pub(crate) issuer: Arc<DevIssuer>,
    pub(crate) kube: Client,
    pub(crate) canaries: Arc<Canaries>,
    pub(crate) http: reqwest::Client,
    visitors: Arc<AtomicUsize>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.visitors.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Place {
    pub(super) async fn new(world: &World, label: &str, issuer: Arc<DevIssuer>) -> Self {
        world.visitors.fetch_add(1, Ordering::SeqCst);
        let id = unique();
        let ca = reqwest::Certificate::from_pem(issuer.ca_pem().as_bytes()).expect("a certificate");
        let http = reqwest::Client::builder()
            .tls_certs_only([ca])
            .no_proxy()
            .build()
            .expect("a client");
        let place = Self {
            namespace: format!("{label}-{}", &id[..6]),
            client: format!("{label}-{}", &id[..6]),
            // Every character that an encoding in between could damage.
            secret: format!("{id}~+/%&= ;:\"{}", unique()),
            issuer_name: format!("{label}-{}", &id[..6]),
            issuer,
            kube: world.admin.clone(),
            canaries: Arc::clone(&world.canaries),
            http,
            visitors: Arc::clone(&world.visitors),
        };
        let namespace = json!({ "metadata": { "name": place.namespace } });
        let namespaces: Api<Namespace> = Api::all(place.kube.clone());
        namespaces
            .create(&PostParams::default(), &typed(namespace))
            .await
            .expect("a namespace");
        place.add_client(place.oauth_client());
        place.put_source(&place.secret).await;
        place.put_issuer(place.entra_issuer()).await;
        if world.has_operator() {
            place.issuer_ready().await;
        }
        place
    }

    /// This place's client as it is registered at the issuer: tokens of about an hour, roles in two APIs.
    pub(crate) fn oauth_client(&self) -> OauthClient {
        OauthClient::new(&self.client)
            .secret(&self.secret)
            .role("demo", "Records.Read")
            .role("cloudapps", "Investigation.Read")
    }

    /// Registers a client at the issuer, and replaces one with its ID.
    pub(crate) fn add_client(&self, client: OauthClient) {
        self.issuer.add_client(client).expect("a valid client");
    }

    /// The spec of a ClusterTokenIssuer, from its specific part.
    pub(crate) fn issuer_spec(&self, kind: Value) -> Value {
        merge(
            json!({
                "caBundle": self.issuer.ca_pem(),
                "allowedNamespaces": { "names": [self.namespace] },
                "network": { "allowedCidrs": ["127.0.0.0/8"] },
            }),
            kind,
        )
    }

    /// The issuer that behaves like Entra ID.
    pub(crate) fn entra_issuer(&self) -> Value {
        let entra =
            json!({ "tenantId": self.issuer.tenant(), "authorityHost": self.issuer.origin() });
        self.issuer_spec(json!({ "entra": entra }))
    }

    /// Makes this place's ClusterTokenIssuer, or replaces its spec.
    pub(crate) async fn put_issuer(&self, spec: Value) {
        let api = self.issuers();
        let whole = |version: Option<String>| -> ClusterTokenIssuer {
            typed(json!({
                "apiVersion": "apicred.dev/v1alpha1",
                "kind": "ClusterTokenIssuer",
                "metadata": { "name": self.issuer_name, "resourceVersion": version },
                "spec": spec,
            }))
        };
        loop {
            let old = api.get_opt(&self.issuer_name).await.expect("an answer");
            let Some(old) = old else {
                api.create(&PostParams::default(), &whole(None))
                    .await
                    .expect("an issuer object");
                return;
            };
            let new = whole(old.metadata.resource_version);
            match api
                .replace(&self.issuer_name, &PostParams::default(), &new)
                .await
            {
                Ok(_) => return,
                // The operator wrote its status in between.
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => unreachable!("a new issuer spec: {error}"),
            }
        }
    }

    /// Makes a listener with a discovery document this place's issuer, at its one address.
    pub(crate) async fn put_listener(&self, listener: &Listener) {
        self.put_issuer(json!({
            "oidc": { "issuerUrl": listener.origin() },
            "caBundle": listener.ca_pem,
            "network": { "allowedCidrs": ["127.0.0.1/32"] },
            "allowedNamespaces": { "names": [self.namespace] },
        }))
        .await;
    }

    /// Makes a listener this place's issuer, with its token URL and without discovery.
    pub(crate) async fn put_token_url(&self, listener: &Listener) {
        self.put_issuer(json!({
            "oauth2": { "tokenUrl": listener.token_url },
            "caBundle": listener.ca_pem,
            "network": { "allowedCidrs": ["127.0.0.0/8"] },
            "allowedNamespaces": { "names": [self.namespace] },
        }))
        .await;
    }

    pub(crate) fn issuers(&self) -> Api<ClusterTokenIssuer> {
        Api::all(self.kube.clone())
    }

    /// Waits until the operator has reconciled this place's issuer, in its present generation, as ready.
    pub(crate) async fn issuer_ready(&self) -> ClusterTokenIssuer {
        eventually(
            SOON,
            format!("issuer {} ready", self.issuer_name),
            async || {
                let issuer = self
                    .issuers()
                    .get(&self.issuer_name)
                    .await
                    .map_err(|e| e.to_string())?;
                let status = issuer.status.clone().unwrap_or_default();
                let ready = status
                    .conditions
                    .iter()
                    .any(|c| c.type_ == "Ready" && c.status == "True");
                if ready && status.observed_generation == issuer.metadata.generation {
                    Ok(issuer)
                } else {
                    Err(format!("{status:?}"))
                }
            },
        )
        .await
    }

    /// Waits until the condition of this place's issuer has this reason, and its message contains all these texts.
    pub(crate) async fn until_issuer_reports(&self, reason: &str, expected: &[&str]) {
        let reported = async || {
            let issuer = self.issuers().get(&self.issuer_name).await;
            let issuer = issuer.map_err(|e| e.to_string())?;
            let status = issuer.status.unwrap_or_default();
            let fits = status.conditions.iter().any(|c| {
                c.reason == reason
                    && expected
                        .iter()
                        .all(|expected_part| c.message.contains(expected_part))
            });
            let present = status.observed_generation == issuer.metadata.generation;
            if fits && present {
                Ok(())
            } else {
                Err(format!("{status:?}"))
            }
        };
        eventually(
            LATER,
            format!("issuer {}: {reason}", self.issuer_name),
            reported,
        )
        .await;
    }

    /// Puts this value into the source Secret.
    pub(crate) async fn put_source(&self, value: &str) {
        self.put_secret(SOURCE, KEY, value).await;
    }

    /// Creates or changes a Secret with one key, and searches for its value in all output of the operator.
    pub(crate) async fn put_secret(&self, name: &str, key: &str, value: &str) {
        self.canaries.add(value);
        let secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": { "name": name },
            "stringData": { key: value },
        });
        let params = PatchParams::apply("a-user").force();
        self.secrets()
            .patch(name, &params, &Patch::Apply(&secret))
            .await
            .expect("a Secret");
    }

    /// Sets keys of a Secret, which is created if it does not exist.
    pub(crate) async fn put_secrets(&self, name: &str, values: &Value) {
        for value in values.as_object().into_iter().flat_map(|all| all.values()) {
            let value = value.as_str().unwrap_or_default();
            if !value.starts_with("https://") {
                self.canaries.add(value);
            }
        }
        let secret = json!({ "metadata": { "name": name }, "stringData": values });
        let (api, patch) = (self.secrets(), Patch::Merge(&secret));
        let made = match api.get_opt(name).await.expect("an answer") {
            Some(_) => api.patch(name, &PatchParams::default(), &patch).await,
            None => {
                api.create(&PostParams::default(), &typed(secret.clone()))
                    .await
            }
        };
        made.expect("a Secret");
    }

    pub(crate) fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.kube.clone(), &self.namespace)
    }

    pub(crate) fn credentials(&self) -> Api<ApiCredential> {
        Api::namespaced(self.kube.clone(), &self.namespace)
    }
}

/// A condition of a credential.
pub(crate) fn condition(credential: &ApiCredential, kind: &str) -> Option<Condition> {
    let status = credential.status.as_ref()?;
    status.conditions.iter().find(|c| c.type_ == kind).cloned()
}

/// Whether the token is valid, and no renewal is known to fail, according to a status of the present spec.
pub(crate) fn is_well(credential: &ApiCredential) -> bool {
    let seen = credential
        .status
        .as_ref()
        .and_then(|s| s.observed_generation);
    let ready = condition(credential, "Ready").is_some_and(|c| c.status == "True");
    let failing = condition(credential, "RenewalFailing").is_some();
    ready && !failing && seen == credential.metadata.generation
}

/// JSON Merge Patch (RFC 7386).
pub(crate) fn merge(mut target: Value, patch: Value) -> Value {
    let Value::Object(fields) = patch else {
        return patch;
    };
    if !target.is_object() {
        target = json!({});
    }
    for (name, value) in fields {
        let old = target.get_mut(&name).map(Value::take).unwrap_or_default();
        target[&name] = merge(old, value);
    }
    if let Some(map) = target.as_object_mut() {
        map.retain(|_, value| !value.is_null());
    }
    target
}

/// A typed object from JSON.
pub(crate) fn typed<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("a well-formed object")
}
