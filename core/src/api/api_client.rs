//! `ApiClient`: an OAuth client that several credentials of a namespace share.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Client, ClientKey, InlineEntra, IssuerRef, Rotation};

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
    selectable = ".spec.issuerRef.name",
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
        name = "Expires",
        type_ = "string",
        json_path = ".status.keys[?(@.state==\"Current\")].notAfter",
        description = "When the client secret or certificate expires, with rotation (UTC)"
    ),
    printcolumn(
        name = "Rotates",
        type_ = "string",
        json_path = ".status.nextRotationAt",
        description = "When the next rotation begins (UTC)"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Client",
        type_ = "string",
        priority = 1,
        json_path = ".spec.id",
        description = "Client (application) id"
    ),
    printcolumn(
        name = "Rotation",
        type_ = "string",
        priority = 1,
        json_path = ".status.rotationState",
        description = "State of the rotation"
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
#[x_kube(
    validation = super::crd::one_of(&["issuerRef", "entra"], "a client is registered at"),
    validation = Rule::new("!has(self.mtls) || !has(self.entra)")
        .reason(Reason::FieldValueForbidden).field_path(".mtls")
        .message("Entra ID takes certificates as signed assertions: use certificates"),
    validation = Rule::new("!has(self.key) || !has(self.entra)")
        .reason(Reason::FieldValueForbidden).field_path(".key")
        .message("Entra ID finds the key of an assertion by its certificate: use certificates"),
    validation = Rule::new("!has(self.managedIdentity) || (has(self.issuerRef) && self.issuerRef.kind == 'ClusterTokenIssuer')")
        .reason(Reason::FieldValueForbidden).field_path(".managedIdentity")
        .message("managedIdentity needs an issuerRef to a ClusterTokenIssuer that allows it with spec.managedIdentity: ask an administrator for one"),
    validation = Rule::new("!has(self.rotation) || has(self.rotation.registration) || has(self.certificates) && self.certificates.size() == 1 || has(self.secrets) && self.secrets.size() == 1")
        .reason(Reason::FieldValueInvalid).field_path(".rotation")
        .message("rotation replaces the one entry of certificates or secrets, or with registration the key of key: keep one entry, or remove rotation"),
    validation = Rule::new("!has(self.rotation) || !has(self.rotation.registration) || has(self.key) && !has(self.key.keyId) && !has(self.rotation.managementRef) && !has(self.rotation.key)")
        .reason(Reason::FieldValueInvalid).field_path(".rotation.registration")
        .message("registration replaces the key of key by one like it: remove keyId, managementRef and rotation.key, and use key"),
    validation = Rule::new("!has(self.rotation) || !has(self.rotation.key) || !has(self.secrets)")
        .reason(Reason::FieldValueForbidden).field_path(".rotation.key")
        .message("rotation.key is the key of new certificates, and a client secret has none: remove it, or use certificates"),
    validation = Rule::new("!has(self.rotation) || !has(self.secrets) || has(self.rotation.managementRef)")
        .reason(Reason::FieldValueRequired).field_path(".rotation.managementRef")
        .message("managementRef is missing: only another application that owns this one may give it a new client secret"))]
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
    /// Object ID of the application at Entra ID (not its client ID), for `rotation`. If not set, apicred reads it, which needs the permission
    /// to read the application.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = super::crd::guid("objectId"))]
    pub object_id: Option<String>,
    /// Replaces the client secret, certificate or key regularly. If not set, apicred does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Rotation>,
}

/// The status of a client.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiClientStatus {
    /// Generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`: credentials of this namespace can use the client: its issuer serves them, and a source of its authentication exists and may be
    /// sent there. The others only while true: `Stalled` (the spec or permissions must change), `RotationDue`, `RotationBlocked`,
    /// `RotationFailed`, `RotationLeftover`, `AnnotationsIgnored`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// With `rotation`: the credentials in the Secret.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["state"]))]
    pub keys: Vec<ClientKey>,
    /// State of the rotation: `Steady`, `Adding`, `Proving`, `Overlap` or `Retiring`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation_state: Option<String>,
    /// When the next rotation begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_rotation_at: Option<Time>,
    /// The value of the annotation `apicred.dev/rotate-requested-at` that was answered last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_rotate_request: Option<String>,
    /// The value of that annotation whose rotation failed, while `RotationFailed` is reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failed_rotate_request: Option<String>,
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
