//! `spec.static`: a key that is published without a token request.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::client::SecretKeyRef;

/// A key that is published as it is.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StaticKey {
    /// Where the key is. Its Secret names this credential in the annotation `apicred.dev/publish-by`.
    pub token_ref: SecretKeyRef,
    /// The scheme in the `Authorization` header. `Token` if not set, as Cloud App Security requires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9!#$%&*+.^_`|~-]+$')")
        .reason(Reason::FieldValueInvalid)
        .message("scheme is one word such as Token or Bearer"))]
    pub scheme: Option<String>,
    /// When the key was created, for its age. If not set: when its Secret was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Time>,
    /// Age after which the condition `ClientCredentialExpiring` (`StaticKeyOld`) reports the key, as a Go duration, at least `24h`. If not set:
    /// `2160h` (90 days).
    #[serde(
        default,
        deserialize_with = "super::duration::optional",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(max = 20))]
    #[x_kube(validation = super::crd::duration("maxAge", "24h", "", "2160h"))]
    pub max_age: Option<kube::core::Duration>,
}
