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
        calls::{ApiErrorKind, Failed, call_with_message},
        ids,
    },
    locks::lock,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use secrecy::{ExposeSecret, SecretString};

use crate::{api::names, oauth::Token, plan::fingerprint::DigestKey, telemetry::metrics::Metrics};

/// Name of the Secret.
const NAME: &str = "apicred-digest-key";
/// Key in its data.
const KEY: &str = "key";

/// Why there is no key.
#[derive(Debug)]
pub(in crate::controller) enum NoKey {
    /// The Secret exists, and contains no usable key.
    Damaged,
    /// It cannot be read or created.
    Failed(Failed),
}

impl From<Failed> for NoKey {
    fn from(failed: Failed) -> Self {
        Self::Failed(failed)
    }
}

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
    pub(in crate::controller) async fn get(&self, metrics: &Metrics) -> Result<&DigestKey, NoKey> {
        self.key.get_or_try_init(|| self.load(metrics)).await
    }

    /// Why there is no key, as text for conditions.
    pub(in crate::controller) fn step(&self, why: &NoKey) -> String {
        step(self.api.namespace().unwrap_or_default(), why)
    }

    /// The key, if it was needed before.
    pub(in crate::controller) fn known(&self) -> Option<&DigestKey> {
        self.key.get()
    }

    async fn load(&self, metrics: &Metrics) -> Result<DigestKey, NoKey> {
        match self.stored(metrics).await {
            Ok(secret) => return self.read(&secret),
            Err(failed) if failed.error_kind == ApiErrorKind::NotFound => {}
            Err(failed) => return Err(failed.into()),
        }
        let key = ids::random::<32>();
        let sent = SecretString::from(BASE64_STANDARD.encode(key));
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(NAME.to_owned()),
                labels: Some(BTreeMap::from([(
                    "app.kubernetes.io/part-of".to_owned(),
                    names::MANAGER.to_owned(),
                )])),
                ..ObjectMeta::default()
            },
            data: Some(BTreeMap::from([(KEY.to_owned(), ByteString(key.to_vec()))])),
            ..Secret::default()
        };
        let params = PostParams {
            field_manager: Some(names::MANAGER.to_owned()),
            ..PostParams::default()
        };
        let create = || self.api.create(&params, &secret);
        let made =
            call_with_message(metrics, "create_digest_key", || true, create, Some(&sent)).await;
        match made {
            Ok(made) => self.read(&made),
            // Another replica created it in the meantime.
            Err(failed) if failed.error_kind == ApiErrorKind::Conflict => {
                self.read(&self.stored(metrics).await?)
            }
            Err(failed) => Err(failed.into()),
        }
    }

    async fn stored(&self, metrics: &Metrics) -> Result<Secret, Failed> {
        let get = || self.api.get(NAME);
        call_with_message(metrics, "get_digest_key", || true, get, None).await
    }

    fn read(&self, secret: &Secret) -> Result<DigestKey, NoKey> {
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
        Err(NoKey::Damaged)
    }
}

fn step(namespace: &str, why: &NoKey) -> String {
    let NoKey::Failed(failed) = why else {
        return "the operator's Secret apicred-digest-key is damaged; an administrator must delete it, and apicred creates a new one".to_owned();
    };
    let said = &failed.server_message;
    let rule = said.fault().filter(|_| !said.is_rights());
    if let (ApiErrorKind::Forbidden | ApiErrorKind::Invalid, Some(rule)) =
        (failed.error_kind, &rule)
    {
        return format!(
            "the operator's Secret {NAME} in namespace {namespace} cannot be read or created: {rule}; an administrator must change what it names, or allow this Secret"
        );
    }
    match failed.error_kind {
        // The Secret is created if it does not exist, so a 404 means that the namespace does not exist.
        ApiErrorKind::NotFound => format!(
            "namespace {namespace} of the operator does not exist; an administrator must create it, or correct --namespace (POD_NAMESPACE)"
        ),
        ApiErrorKind::Terminating => format!(
            "namespace {namespace} of the operator is being deleted, so its Secret {NAME} cannot be created; install the operator in another one"
        ),
        ApiErrorKind::Forbidden => format!(
            "the operator may not read or create its Secret {NAME} in namespace {namespace}; an administrator must give it the Role of the chart, or correct --namespace (POD_NAMESPACE)"
        ),
        ApiErrorKind::Quota => format!(
            "a quota in namespace {namespace} leaves no room for the operator's Secret {NAME}; an administrator must raise it"
        ),
        ApiErrorKind::Invalid
        | ApiErrorKind::Conflict
        | ApiErrorKind::Unavailable
        | ApiErrorKind::Unwanted => {
            let rule = rule.map_or_else(String::new, |rule| format!(" ({rule})"));
            format!("the operator's digest key cannot be read{rule}; apicred tries again")
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
    use crate::publish::rejection::{Answer, ServerMessage};

    fn answered(code: u16, message: &str) -> ServerMessage {
        let causes = &[];
        ServerMessage::read(
            Answer {
                code,
                message,
                causes,
            },
            None,
        )
    }

    #[test]
    fn the_cause_and_who_ends_it_are_named() {
        let none = ServerMessage::default;
        let denied = "secrets \"apicred-digest-key\" is forbidden: ValidatingAdmissionPolicy 'plain' with binding 'all' denied request: no owner label";
        let hook = "admission webhook \"guard.example\" denied the request: no owner label";
        let down =
            "Internal error occurred: failed calling webhook \"guard.example\": connection refused";
        let rights = "User \"apicred\" cannot create resource \"secrets\"";
        #[rustfmt::skip]
        let cases = [
            (ApiErrorKind::NotFound, none(), ["namespace nosuch of the operator does not exist", "--namespace"]),
            (ApiErrorKind::Terminating, none(), ["namespace nosuch", "being deleted"]),
            (ApiErrorKind::Forbidden, none(), ["namespace nosuch", "Role"]),
            (ApiErrorKind::Forbidden, answered(403, rights), ["namespace nosuch", "Role"]),
            (ApiErrorKind::Forbidden, answered(403, hook), ["the admission webhook guard.example denies it: \"no owner label\"", "an administrator must"]),
            (ApiErrorKind::Invalid, answered(422, denied), ["the admission policy plain denies it: \"no owner label\"", "an administrator must"]),
            (ApiErrorKind::Quota, none(), ["quota in namespace nosuch", "raise it"]),
            (ApiErrorKind::Unavailable, none(), ["cannot be read", "tries again"]),
            (ApiErrorKind::Unavailable, answered(500, down), ["guard.example does not answer", "tries again"]),
        ];
        for (error_kind, server_message, words) in cases {
            let failed = Failed {
                error_kind,
                server_message,
            };
            let step = step("nosuch", &NoKey::Failed(failed));
            assert!(!step.contains("damaged"), "{step}");
            for word in words {
                assert!(step.contains(word), "{step}");
            }
        }
        let damaged = step("nosuch", &NoKey::Damaged);
        assert!(
            damaged.contains("is damaged") && damaged.contains("delete it"),
            "{damaged}"
        );
    }
}
