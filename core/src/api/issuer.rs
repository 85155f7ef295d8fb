//! `TokenIssuer` and `ClusterTokenIssuer`: where tokens come from, and who may request them. Only issuers contain URLs.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    endpoints::{EntraIssuer, GitHubApp, OAuth2Issuer, OidcIssuer},
    grant::GrantKey,
    managed_identity::ManagedIdentity,
    second_request::SecondRequest,
    selector::AllowedNamespaces,
};

/// An issuer for the credentials of its own namespace. A client secret is sent to it only if the Secret's annotation
/// `apicred.dev/allowed-issuers` lists the issuer's origin.
#[derive(CustomResource, KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[kube(
    group = "apicred.dev",
    version = "v1alpha1",
    kind = "TokenIssuer",
    plural = "tokenissuers",
    namespaced,
    status = "IssuerStatus",
    shortname = "ti",
    category = "apicreds",
    derive = "PartialEq",
    doc = "A token issuer for the credentials of one namespace.",
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
        name = "Endpoint",
        type_ = "string",
        json_path = ".status.tokenEndpoint"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = super::crd::one_of(&["entra", "oidc", "oauth2", "githubApp"], "an issuer has"),
    validation = super::crd::one_bundle(),
    validation = super::crd::github_alone(),
    validation = super::rules::registry_with_entra(),
    validation = super::rules::google_without_entra(),
    validation = super::rules::known_registry(),
    validation = super::rules::known_google())]
pub struct TokenIssuerSpec {
    /// Microsoft Entra ID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entra: Option<EntraIssuer>,
    /// An OpenID Connect issuer whose endpoints are discovered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oidc: Option<OidcIssuer>,
    /// An OAuth 2.0 token endpoint by its URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oauth2: Option<OAuth2Issuer>,
    /// An installation of a GitHub App. Clients authenticate with `key`, the private key of the app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub github_app: Option<GitHubApp>,
    /// A second request that completes each token of this issuer. If not set, the token of the grant is published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_request: Option<SecondRequest>,
    /// PEM certificates trusted here in addition to the system's. None if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 65536))]
    pub ca_bundle: Option<String>,
    /// The same from a `ConfigMap` or Secret, which is watched: a change is used at once. It is in the namespace of the issuer. Not set if
    /// `caBundle` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle_ref: Option<CaBundleRef>,
    /// Limits of the requests to this issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// How this issuer treats refresh tokens, for the grant `refreshToken`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_tokens: Option<RefreshTokens>,
    /// `aud` of client assertions. If not set: the issuer's identifier if known from discovery or from `oauth2.issuer`, else the token
    /// endpoint, as at Entra ID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assertion_audience: Option<AssertionAudience>,
    /// Lifetime of a token if its answer has none, 0 or less, or a number that is not plausible in seconds, and the token is not a readable
    /// JWT. If not set: for no lifetime 15 minutes are assumed, with the condition `LifetimeAtRisk`; a token with 0 or less is refused
    /// (`LifetimeUnknown`). A duration between `30s` and `24h`; `0s` is refused.
    #[serde(
        default,
        deserialize_with = "super::duration::optional",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(max = 20))]
    #[x_kube(validation = super::crd::duration("assumedLifetime", "30s", "24h", "1h"))]
    pub assumed_lifetime: Option<kube::core::Duration>,
}

/// An issuer that an administrator offers to namespaces.
#[derive(CustomResource, KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[kube(
    group = "apicred.dev",
    version = "v1alpha1",
    kind = "ClusterTokenIssuer",
    plural = "clustertokenissuers",
    status = "IssuerStatus",
    shortname = "cti",
    category = "apicreds",
    derive = "PartialEq",
    doc = "A token issuer that an administrator offers to the namespaces it allows.",
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
        name = "Endpoint",
        type_ = "string",
        json_path = ".status.tokenEndpoint"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = super::crd::one_of(&["entra", "oidc", "oauth2", "githubApp"], "an issuer has"),
    validation = super::crd::one_bundle(),
    validation = super::crd::github_alone(),
    validation = super::rules::registry_with_entra(),
    validation = super::rules::google_without_entra(),
    validation = Rule::new("!has(self.managedIdentity) || has(self.entra)")
    .reason(Reason::FieldValueForbidden).field_path(".managedIdentity")
    .message("managedIdentity is Azure's: it requires entra"))]
pub struct ClusterTokenIssuerSpec {
    /// Microsoft Entra ID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entra: Option<EntraIssuer>,
    /// An OpenID Connect issuer whose endpoints are discovered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oidc: Option<OidcIssuer>,
    /// An OAuth 2.0 token endpoint by its URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oauth2: Option<OAuth2Issuer>,
    /// An installation of a GitHub App. Clients authenticate with `key`, the private key of the app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub github_app: Option<GitHubApp>,
    /// A second request that completes each token of this issuer. If not set, the token of the grant is published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_request: Option<SecondRequest>,
    /// PEM certificates trusted here in addition to the system's. None if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 65536))]
    pub ca_bundle: Option<String>,
    /// The same from a `ConfigMap` or Secret, which is watched: a change is used at once. It is in the operator's namespace. Not set if
    /// `caBundle` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle_ref: Option<CaBundleRef>,
    /// Limits of the requests to this issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// How this issuer treats refresh tokens, for the grant `refreshToken`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_tokens: Option<RefreshTokens>,
    /// `aud` of client assertions. If not set: the issuer's identifier if known from discovery or from `oauth2.issuer`, else the token
    /// endpoint, as at Entra ID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assertion_audience: Option<AssertionAudience>,
    /// Lifetime of a token if its answer has none, 0 or less, or a number that is not plausible in seconds, and the token is not a readable
    /// JWT. If not set: for no lifetime 15 minutes are assumed, with the condition `LifetimeAtRisk`; a token with 0 or less is refused
    /// (`LifetimeUnknown`). A duration between `30s` and `24h`; `0s` is refused.
    #[serde(
        default,
        deserialize_with = "super::duration::optional",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(max = 20))]
    #[x_kube(validation = super::crd::duration("assumedLifetime", "30s", "24h", "1h"))]
    pub assumed_lifetime: Option<kube::core::Duration>,
    /// Namespaces whose credentials may use this issuer. If not set: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_namespaces: Option<AllowedNamespaces>,
    /// Scopes, resources and audiences that may be requested. If not set, all may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), inner(length(min = 1, max = 512)), extend("x-kubernetes-list-type" = "set"))]
    pub allowed_scopes: Option<Vec<String>>,
    /// What credentials may send in `parameters`, in the `claims` of an assertion, and as `requested_token_type`, `iss`,
    /// `aud` and `grant_type` of a grant: each a name, or `name=value`. `aud` also lists audiences of ServiceAccount tokens. If not
    /// set: anything without `allowedScopes`, and nothing with it, since issuers widen a grant by many names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 512)), extend("x-kubernetes-list-type" = "set"))]
    pub allowed_parameters: Option<Vec<String>>,
    /// Grants that credentials may use, by the names of their keys in `spec.grant`. If not set: all except `Password` and
    /// `Extension`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "set"))]
    pub allowed_grants: Option<Vec<GrantKey>>,
    /// Subjects that credentials may name: user names (`grant.password.username`), `sub` of signed assertions, and ServiceAccounts whose tokens
    /// are exchanged (`system:serviceaccount:NAMESPACE:NAME`). If not set: any without `allowedScopes`, and with it only ServiceAccounts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 256)), extend("x-kubernetes-list-type" = "set"))]
    pub allowed_subjects: Option<Vec<String>>,
    /// Networks that are not public and may contain this issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// Allows the allowed namespaces to use the identity that the operator itself has in Azure. Only with `entra`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed_identity: Option<ManagedIdentity>,
}

/// One key of a `ConfigMap` or Secret with PEM certificates.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CaBundleRef {
    /// `ConfigMap` or `Secret`.
    pub kind: CaBundleKind,
    /// Name of the object.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = super::crd::object_name())]
    pub name: String,
    /// Key in its data; `ca.crt` if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub key: Option<String>,
}

/// The kinds with a CA bundle.
#[derive(
    Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize,
)]
#[schemars(transform = super::crd::undescribed)]
pub enum CaBundleKind {
    /// A `ConfigMap`, such as those of trust-manager.
    ConfigMap,
    /// A Secret, such as those of cert-manager.
    Secret,
}

/// How an issuer treats refresh tokens.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RefreshTokens {
    /// Whether a refresh token may be sent again if the answer was lost. `Always` at Entra ID; elsewhere `Never` if not set, unless the issuer
    /// was seen not to rotate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reuse: Option<Reuse>,
    /// How long after its first use a refresh token may be sent again, at issuers with a grace period (Okta 30s, Auth0's leeway). `0s` if not
    /// set.
    #[serde(
        default,
        deserialize_with = "super::duration::optional",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(max = 20))]
    #[x_kube(validation = super::crd::duration("reuseWindow", "0s", "10m", "30s"))]
    pub reuse_window: Option<kube::core::Duration>,
}

/// Reuse of refresh tokens.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[schemars(transform = super::crd::undescribed)]
pub enum Reuse {
    /// It stays valid.
    Always,
    /// A second use counts as theft.
    Never,
}

/// The audience of client assertions.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[schemars(transform = super::crd::undescribed)]
pub enum AssertionAudience {
    /// The token endpoint's URL.
    TokenEndpoint,
    /// The issuer's identifier.
    Issuer,
}

/// Limits of the requests of all credentials together to one issuer.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Token requests a second; 120 if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000))]
    pub requests_per_second: Option<i32>,
    /// Concurrent token requests; 16 if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_in_flight: Option<i32>,
    /// Renewals a minute that credentials of one namespace request by annotation before they are due, and as many at once. If not set, 60 a
    /// minute and 200 at once. Others are delayed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000))]
    pub requested_renewals_per_minute: Option<i32>,
}

/// Addresses for issuers in addition to public ones.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// CIDRs (`10.20.0.0/16`, `127.0.0.1/32`) that are allowed although loopback, link-local or private.
    #[schemars(length(min = 1, max = 32), inner(length(min = 3, max = 50)), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = Rule::new("self.all(c, isCIDR(c))")
        .reason(Reason::FieldValueInvalid)
        .message("this is not a CIDR: write it as 10.20.0.0/16 or 127.0.0.1/32"))]
    pub allowed_cidrs: Vec<String>,
    /// Accepts CIDRs that also allow this machine, metadata services, or very many others: shorter than `/8` (IPv6: `/16`), or with
    /// `169.254.169.254` or similar ones. `false` if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_wide_cidrs: Option<bool>,
}

/// The status of an issuer.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IssuerStatus {
    /// Generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`: the spec is valid, and CA bundle, proxy, discovery and token endpoint work. The others only while true: `Stalled`
    /// (the spec must be changed), `AnnotationsIgnored`, `ClientAuthenticationUnlisted`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The token endpoint in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_endpoint: Option<String>,
}
