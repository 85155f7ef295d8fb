//! `ApiClient`: an OAuth client that several credentials of a namespace share.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Client, InlineEntra, IssuerRef};

/// An OAuth client (application): where it is registered, its id, and how it authenticates. `ApiCredentials` of the same
/// namespace name it in `spec.clientRef`.
#[derive(CustomResource, KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[kube(
    group = "apicred.dev",
    version = "v1alpha1",
    kind = "ApiClient",
    plural = "apiclients",
    namespaced,
    status = "ApiClientStatus",
    shortname = "acl",
    category = "apicreds",
    derive = "PartialEq",
    doc = "An OAuth client that several credentials of a namespace share.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason"
    ),
    printcolumn(
        name = "Client",
        type_ = "string",
        json_path = ".spec.id",
        description = "Client (application) id"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Issuer",
        type_ = "string",
        priority = 1,
        json_path = ".spec['issuerRef.name','entra.tenantId']",
        description = "Name of the issuer, or the tenant of Entra ID"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = super::crd::one_of(&["issuerRef", "entra"], "a client is registered at"))]
pub struct ApiClientSpec {
    /// The issuer at which the client is registered, by reference. Not set if `entra` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer_ref: Option<IssuerRef>,
    /// Microsoft Entra ID without an issuer object: its hosts are known, so a tenant is enough. Not set if `issuerRef` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entra: Option<InlineEntra>,
    /// The fields of `spec.client` of an `ApiCredential`.
    #[serde(flatten)]
    pub client: Client,
}

/// What apicred found out about a client.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiClientStatus {
    /// Generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`: the spec is valid, the issuer exists and is valid, and a source of the client authentication exists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// Refers to an `ApiClient` of the same namespace.
#[derive(KubeSchema, Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientRef {
    /// Name of the `ApiClient`, in this namespace.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = super::crd::object_name())]
    pub name: String,
}
