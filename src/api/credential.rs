//! `ApiCredential`: which token, for which client, into which Secret.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Cloud, status::ApiCredentialStatus};

/// Declares one access token: the issuer to ask, the client to ask as, what to ask for, and the Secret
/// that shall always hold the answer.
#[derive(CustomResource, KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[kube(
    group = "apicred.dev",
    version = "v1alpha1",
    kind = "ApiCredential",
    plural = "apicredentials",
    namespaced,
    status = "ApiCredentialStatus",
    shortname = "ac",
    category = "apicred",
    derive = "PartialEq",
    doc = "A declared access token: apicred asks the issuer for it, writes it into a Secret and keeps it fresh.",
    selectable = ".spec.target.secretName",
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
        name = "Renewal",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Renewing\")].reason",
        description = "Scheduled, or why a renewal that is due has not come"
    ),
    printcolumn(
        name = "Expires",
        type_ = "string",
        json_path = ".status.expiresAt",
        description = "End of the token in the Secret (UTC)"
    ),
    printcolumn(
        name = "Renews",
        type_ = "string",
        json_path = ".status.renewAt",
        description = "When the next token is asked for (UTC)"
    ),
    printcolumn(
        name = "Secret",
        type_ = "string",
        json_path = ".spec.target.secretName"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.issuerRef) != has(self.entra)")
        .message("name the issuer once: set issuerRef (a ClusterTokenIssuer or TokenIssuer) or entra, not both and not neither"),
    validation = Rule::new("!self.client.secretRefs.exists(s, s.name == self.target.secretName)")
        .message("target.secretName is also a source in client.secretRefs: the token would overwrite the client secret; choose another target name"),
    validation = Rule::new("!has(self.entra) || !has(self.audience)")
        .message("Entra ID has no audience parameter: put the API into scopes as \"<api>/.default\", or into resource for the v1 endpoint"),
    validation = Rule::new("!has(self.entra) || has(self.scopes) != has(self.resource)")
        .message("Entra ID takes one of two: scopes (v2 endpoint, \"<api>/.default\") or resource (v1 endpoint)")
)]
pub struct ApiCredentialSpec {
    /// The issuer to ask, by reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer_ref: Option<IssuerRef>,
    /// Microsoft Entra ID without an issuer object: its hosts are known, so a tenant is enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entra: Option<InlineEntra>,
    /// The OAuth client (application) to ask as, and how it proves itself.
    pub client: Client,
    /// How the token is granted: one key. `clientCredentials` if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<Grant>,
    /// Scopes to ask for. Entra ID takes exactly one, `<api>/.default`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 32), inner(length(min = 1, max = 512)))]
    #[x_kube(validation = Rule::new("self.all(s, s.matches('^[\\\\x21\\\\x23-\\\\x5B\\\\x5D-\\\\x7E]+$'))")
        .message("a scope is one word without spaces, quotes or backslashes (RFC 6749 section 3.3); list several scopes as several items"))]
    pub scopes: Vec<String>,
    /// Target API as a resource indicator (RFC 8707); on Entra ID it selects the v1 endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub resource: Option<String>,
    /// Target API as the `audience` parameter that Auth0 and some others ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub audience: Option<String>,
    /// Further form parameters of the token request. Parameters with a field of their own are refused here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16), schema_with = "super::crd::bounded_map")]
    #[x_kube(validation = Rule::new("self.all(k, !(k.lowerAscii() in ['grant_type','client_id','client_secret','client_assertion','client_assertion_type','scope','resource','audience','code','refresh_token','assertion','username','password','subject_token','actor_token']))")
        .message("parameters may not carry grant_type, client_id, secrets, assertions, scope, resource or audience: use the fields of the spec for them"))]
    pub parameters: BTreeMap<String, String>,
    /// Where the token goes.
    pub target: Target,
    /// Seconds of life that a reader of the Secret can count on, as a Go duration (`15m`). Left out: 15 minutes
    /// for tokens that live 45 minutes or more, else a third of their life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('10s') && duration(self) <= duration('24h')")
        .message("minLifetime must be a duration between 10s and 24h, such as 15m"))]
    pub min_lifetime: Option<kube::core::Duration>,
    /// Stops all work on this credential; the Secret stays as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
    /// What happens to the Secret when the credential is deleted: `Delete` (if left out) or `Retain`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
}

/// Refers to an issuer object. A `TokenIssuer` is looked up in the credential's own namespace.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IssuerRef {
    /// `ClusterTokenIssuer` or `TokenIssuer`.
    pub kind: IssuerKind,
    /// Name of the object.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// The kinds an `issuerRef` may name.
#[derive(
    Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize,
)]
pub enum IssuerKind {
    /// Cluster-scoped, written by an administrator.
    ClusterTokenIssuer,
    /// In the credential's namespace.
    TokenIssuer,
}

/// Entra ID at its well-known hosts.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InlineEntra {
    /// Tenant: its GUID or one of its verified domains.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("!(self.lowerAscii() in ['common','organizations','consumers'])")
        .message("application tokens need the concrete tenant: give its GUID or a verified domain, not common, organizations or consumers"),
        validation = Rule::new("self.matches('^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$')")
        .message("tenantId is the tenant's GUID or a verified domain such as contoso.onmicrosoft.com, without a URL around it"))]
    pub tenant_id: String,
    /// National cloud; `Public` if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud: Option<Cloud>,
}

/// The OAuth client and its proof.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Client {
    /// Client (application) id.
    #[schemars(length(min = 1, max = 256))]
    pub id: String,
    /// Keys of Secrets in this namespace that hold the client secret, tried in order: list the old and the new
    /// one while a secret is being changed.
    #[schemars(length(min = 1, max = 4))]
    pub secret_refs: Vec<SecretKeyRef>,
}

/// One key of a Secret in the same namespace.
#[derive(
    Clone, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key in its data.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// How the token is granted: exactly one key.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.clientCredentials)")
    .message("grant needs one key; this version knows clientCredentials: {}"))]
pub struct Grant {
    /// RFC 6749 section 4.4: the client asks for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_credentials: Option<ClientCredentials>,
}

/// The client credentials grant has no settings of its own.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct ClientCredentials {}

/// The Secret that holds the token.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// Name of the Secret, in the credential's namespace. Created by apicred; an existing one is refused.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')")
        .message("secretName must be a valid object name: lower case letters, digits, '-' and '.'"))]
    pub secret_name: String,
    /// Type of the Secret; `Opaque` if left out. Cannot be changed while the Secret exists.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<SecretType>,
    /// Labels for the Secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32), schema_with = "super::crd::bounded_map")]
    #[x_kube(validation = Rule::new("self.all(k, !k.matches('(^|[.])(kubernetes[.]io|k8s[.]io|apicred[.]dev|argoproj[.]io|fluxcd[.]io)/'))")
        .message("labels of kubernetes.io, k8s.io, apicred.dev, argoproj.io and fluxcd.io are set by their owners only"),
        validation = Rule::new("self.all(k, self[k].matches('^(([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9])?$') && k.matches('^([a-z0-9][-a-z0-9.]{0,252}/)?([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9]$'))")
        .message("a label's key is a name of up to 63 letters, digits, '-', '_' and '.', with a DNS prefix if you like; its value is such a name or empty"))]
    pub labels: BTreeMap<String, String>,
    /// Annotations for the Secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32), schema_with = "super::crd::bounded_map")]
    #[x_kube(validation = Rule::new("self.all(k, !k.matches('(^|[.])(kubernetes[.]io|k8s[.]io|apicred[.]dev|argoproj[.]io|fluxcd[.]io)/'))")
        .message("annotations of kubernetes.io, k8s.io, apicred.dev, argoproj.io and fluxcd.io are set by their owners only"))]
    pub annotations: BTreeMap<String, String>,
}

/// Types a target Secret may have: none that Kubernetes itself acts upon.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum SecretType {
    /// The general type.
    #[default]
    Opaque,
    /// A type of apicred's own, for policies that select by type.
    #[serde(rename = "apicred.dev/token")]
    Token,
}

impl SecretType {
    /// The value of the Secret's `type` field.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Opaque => "Opaque",
            Self::Token => "apicred.dev/token",
        }
    }
}

/// What becomes of the Secret when its credential is deleted.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum DeletionPolicy {
    /// Deleted with the credential, by an owner reference.
    #[default]
    Delete,
    /// Stays; nobody renews it any more.
    Retain,
}
