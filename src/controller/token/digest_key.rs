//! The operator's key for digests of secrets. It is created once and stored in a Secret in the operator's namespace. It is read
//! when the first digest is needed and not earlier, so that a restart with no due renewal reads no Secret.

use std::{collections::BTreeMap, sync::Mutex};

use k8s_openapi::{
    ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Api, Client, api::PostParams};
use tokio::sync::OnceCell;

use crate::controller::{
    api::{
        calls::{Trouble, call},
        ids,
    },
    locks::lock,
};
use secrecy::{ExposeSecret, SecretString};

use crate::{api::names, oauth::Token, plan::fingerprint::DigestKey, telemetry::metrics::Metrics};

/// Name of the Secret.
const NAME: &str = "apicred-digest-key";
/// Key in its data.
const KEY: &str = "key";

/// The key. It is set when it is first needed.
pub(in crate::controller) struct KeyKeeper {
    api: Api<Secret>,
    key: OnceCell<DigestKey>,
    /// The version of a damaged Secret that was reported: each attempt of each credential reads the Secret again.
    reported: Mutex<Option<String>>,
}

impl KeyKeeper {
    pub(in crate::controller) fn new(client: Client, namespace: &str) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            key: OnceCell::new(),
            reported: Mutex::default(),
        }
    }

    /// Returns the key, and creates it if it does not exist. The loss of the key costs one new token for each credential, and
    /// the protection by its digests: a used refresh token that a tool writes back is not recognized, because the digests on
    /// the Secrets belong to another key.
    pub(in crate::controller) async fn get(
        &self,
        metrics: &Metrics,
    ) -> Result<&DigestKey, Trouble> {
        self.key.get_or_try_init(|| self.load(metrics)).await
    }

    /// Why there is no key, as text for conditions.
    pub(in crate::controller) fn step(&self, trouble: Trouble) -> String {
        step(self.api.namespace().unwrap_or_default(), trouble)
    }

    /// The key, if it was needed before.
    pub(in crate::controller) fn known(&self) -> Option<&DigestKey> {
        self.key.get()
    }

    async fn load(&self, metrics: &Metrics) -> Result<DigestKey, Trouble> {
        match call(metrics, "get_digest_key", || self.api.get(NAME)).await {
            Ok(secret) => return self.read(&secret),
            Err(Trouble::NotFound) => {}
            Err(other) => return Err(other),
        }
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(NAME.to_owned()),
                labels: Some(BTreeMap::from([(
                    "app.kubernetes.io/part-of".to_owned(),
                    names::MANAGER.to_owned(),
                )])),
                ..ObjectMeta::default()
            },
            data: Some(BTreeMap::from([(
                KEY.to_owned(),
                ByteString(ids::random::<32>().to_vec()),
            )])),
            ..Secret::default()
        };
        let params = PostParams {
            field_manager: Some(names::MANAGER.to_owned()),
            ..PostParams::default()
        };
        match call(metrics, "create_digest_key", || {
            self.api.create(&params, &secret)
        })
        .await
        {
            Ok(made) => self.read(&made),
            // Another replica created it in the meantime.
            Err(Trouble::Conflict) => {
                self.read(&call(metrics, "get_digest_key", || self.api.get(NAME)).await?)
            }
            Err(other) => Err(other),
        }
    }

    fn read(&self, secret: &Secret) -> Result<DigestKey, Trouble> {
        let bytes = secret
            .data
            .as_ref()
            .and_then(|d| d.get(KEY))
            .filter(|b| b.0.len() >= 32);
        if let Some(bytes) = bytes {
            return Ok(DigestKey::new(&bytes.0));
        }
        let version = secret.metadata.resource_version.clone().unwrap_or_default();
        let mut reported = lock(&self.reported);
        if reported.as_ref() != Some(&version) {
            tracing::error!(
                secret = NAME,
                "the digest key is damaged; delete the Secret and apicred makes a new one"
            );
            *reported = Some(version);
        }
        Err(Trouble::Invalid)
    }
}

fn step(namespace: &str, trouble: Trouble) -> String {
    match trouble {
        Trouble::Invalid => "the operator's Secret apicred-digest-key is damaged; an administrator must delete it, and apicred creates a new one".to_owned(),
        // The Secret is created if it does not exist, so a 404 means that the namespace does not exist.
        Trouble::NotFound => format!(
            "namespace {namespace} of the operator does not exist; an administrator must create it, or correct --namespace (POD_NAMESPACE)"
        ),
        Trouble::Terminating => format!(
            "namespace {namespace} of the operator is being deleted, so its Secret {NAME} cannot be created; install the operator in another one"
        ),
        Trouble::Forbidden => format!(
            "the operator may not read or create its Secret {NAME} in namespace {namespace}; an administrator must give it the Role of the chart, or correct --namespace (POD_NAMESPACE)"
        ),
        Trouble::Quota => format!(
            "a quota in namespace {namespace} leaves no room for the operator's Secret {NAME}; an administrator must raise it"
        ),
        Trouble::Conflict | Trouble::Unavailable | Trouble::Unwanted => {
            "the operator's digest key cannot be read; apicred tries again".to_owned()
        }
    }
}

/// The keyed digest of a token, as it is recorded on its Secret.
pub(in crate::controller) fn token_digest(digests: &DigestKey, token: &Token) -> String {
    secret_digest(digests, &token.secret)
}

/// The keyed digest of a token's text.
pub(in crate::controller) fn secret_digest(digests: &DigestKey, secret: &SecretString) -> String {
    digests.token(secret.expose_secret())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_and_who_ends_it_are_named() {
        for (trouble, words) in [
            (
                Trouble::NotFound,
                [
                    "namespace nosuch of the operator does not exist",
                    "--namespace",
                ],
            ),
            (Trouble::Terminating, ["namespace nosuch", "being deleted"]),
            (Trouble::Forbidden, ["namespace nosuch", "Role"]),
            (Trouble::Quota, ["quota in namespace nosuch", "raise it"]),
            (
                Trouble::Invalid,
                ["apicred-digest-key is damaged", "delete it"],
            ),
            (Trouble::Unavailable, ["cannot be read", "tries again"]),
        ] {
            let step = step("nosuch", trouble);
            for word in words {
                assert!(step.contains(word), "{step}");
            }
        }
    }
}
