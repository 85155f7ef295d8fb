//! `ApiCredential`: which token, for which client, into which Secret.
//!
//! It contains only shapes, limits and CEL rules. [`crate::credential`] decides the meaning of the fields.

use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    ClientRef, Cloud,
    client::{Client, SecretKeyRef},
    grant::Grant,
    parameter::Parameter,
    preset::{ApiPreset, EndpointVersion},
    static_key::StaticKey,
    status::ApiCredentialStatus,
    target::{DeletionPolicy, Target},
};

/// Declares one access token: the issuer, the client, the token request parameters, and the Secret that always contains the token.
#[derive(CustomResource, KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[kube(
    group = "apicred.dev",
    version = "v1alpha1",
    kind = "ApiCredential",
    plural = "apicredentials",
    namespaced,
    status = "ApiCredentialStatus",
    shortname = "ac",
    shortname = "apicred",
    category = "apicreds",
    derive = "PartialEq",
    doc = "A declared access token: apicred asks the issuer for it, writes it into a Secret and keeps it fresh.",
    selectable = ".spec.target.secretName",
    selectable = ".spec.issuerRef.name",
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
        json_path = ".status.expiresAt",
        description = "End of the token in the Secret (UTC)"
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
    ),
    printcolumn(
        name = "Renews",
        type_ = "string",
        priority = 1,
        json_path = ".status.renewAt",
        description = "When the next token is requested (UTC)"
    ),
    printcolumn(
        name = "Renewal",
        type_ = "string",
        priority = 1,
        json_path = ".status.conditions[?(@.type==\"RenewalFailing\")].reason",
        description = "Why the renewal that is due fails, or the next one will; empty if nothing is wrong"
    ),
    printcolumn(
        name = "Issuer",
        type_ = "string",
        priority = 1,
        json_path = ".spec['issuerRef.name','entra.tenantId']",
        description = "Name of the issuer, or the tenant of Entra ID"
    ),
    printcolumn(
        name = "Client",
        type_ = "string",
        priority = 1,
        json_path = ".spec['client.id','clientRef.name']",
        description = "Client (application) id, or the name of the ApiClient"
    ),
    printcolumn(
        name = "Failures",
        type_ = "integer",
        priority = 1,
        json_path = ".status.consecutiveFailures",
        description = "Attempts in a row that failed; empty if the last one did not"
    ),
    printcolumn(
        name = "Next try",
        type_ = "string",
        priority = 1,
        json_path = ".status.nextAttempt",
        description = "When a failed attempt is repeated (UTC)"
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        priority = 1,
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        description = "Message of the condition Ready"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.static) || (has(self.clientRef) ? !(has(self.issuerRef) && has(self.entra)) : has(self.issuerRef) != has(self.entra))")
        .reason(Reason::FieldValueInvalid).field_path(".issuerRef")
        .message("name the issuer once: set issuerRef (a ClusterTokenIssuer or TokenIssuer) or entra, not both and, without clientRef, not neither"),
    validation = Rule::new("has(self.static) || has(self.client) || has(self.clientRef) || (has(self.grant) && (has(self.grant.jwtBearer) || has(self.grant.tokenExchange) || has(self.grant.extension)))")
        .reason(Reason::FieldValueRequired).field_path(".client")
        .message("client is missing: set client or clientRef; only the grants jwtBearer, tokenExchange and extension can do without"),
    validation = Rule::new("!has(self.client) || !has(self.clientRef)")
        .reason(Reason::FieldValueForbidden).field_path(".clientRef")
        .message("name the client once: set client, or clientRef (an ApiClient)"),
    validation = Rule::new("!has(self.static) || !(has(self.issuerRef) || has(self.entra) || has(self.client) || has(self.clientRef) || has(self.grant))")
        .reason(Reason::FieldValueForbidden).field_path(".static")
        .message("a static key has no issuer, client or grant: remove issuerRef, entra, client, clientRef and grant, or remove static"),
    validation = Rule::new("!has(self.static) || !(has(self.api) || has(self.endpointVersion) || has(self.scopes) || has(self.resources) || has(self.audience) || has(self.parameters) || has(self.expect) || has(self.minLifetime))")
        .reason(Reason::FieldValueForbidden).field_path(".static")
        .message("a static key is not requested or renewed: with static, set only target, suspend and deletionPolicy"),
    validation = Rule::new("!has(self.static) || !has(self.deletionPolicy) || self.deletionPolicy != 'Revoke'")
        .reason(Reason::FieldValueForbidden).field_path(".deletionPolicy")
        .message("a static key is revoked where it was created: set deletionPolicy to Delete or Retain"),
    validation = Rule::new("!has(self.static) || self.static.tokenRef.name != self.target.secretName")
        .reason(Reason::FieldValueForbidden).field_path(".static")
        .message("target.secretName is also the source in static.tokenRef: choose another target name"),
    validation = Rule::new("!has(self.client) || !has(self.client.secrets) || !self.client.secrets.exists(s, s.name == self.target.secretName)")
        .reason(Reason::FieldValueForbidden).field_path(".client.secrets")
        .message("target.secretName is also a source in client.secrets: the token would overwrite the client secret; choose another target name"),
    validation = Rule::new("!has(self.client) || !has(self.client.certificates) || !self.client.certificates.exists(c, c.secretName == self.target.secretName)")
        .reason(Reason::FieldValueForbidden).field_path(".client.certificates")
        .message("target.secretName is also a source in client.certificates: the token would overwrite the certificate; choose another target name"),
    validation = Rule::new("!has(self.grant) || !((has(self.grant.refreshToken) && self.grant.refreshToken.secretRef.name == self.target.secretName) || (has(self.grant.onBehalfOf) && self.grant.onBehalfOf.assertionRef.name == self.target.secretName) || (has(self.grant.jwtBearer) && ((has(self.grant.jwtBearer.assertionRef) && self.grant.jwtBearer.assertionRef.name == self.target.secretName) || (has(self.grant.jwtBearer.signed) && self.grant.jwtBearer.signed.keyRef.name == self.target.secretName))) || (has(self.grant.tokenExchange) && ((has(self.grant.tokenExchange.subject.secretRef) && self.grant.tokenExchange.subject.secretRef.name == self.target.secretName) || (has(self.grant.tokenExchange.actor) && has(self.grant.tokenExchange.actor.secretRef) && self.grant.tokenExchange.actor.secretRef.name == self.target.secretName))) || (has(self.grant.password) && self.grant.password.passwordRef.name == self.target.secretName) || (has(self.grant.extension) && has(self.grant.extension.parameters) && self.grant.extension.parameters.exists(p, has(p.secretRef) && p.secretRef.name == self.target.secretName)))")
        .reason(Reason::FieldValueForbidden).field_path(".grant")
        .message("target.secretName is also a source in grant: the token would overwrite it; choose another target name"),
    validation = Rule::new("!has(self.client) || !has(self.client.key) || self.client.key.secretName != self.target.secretName")
        .reason(Reason::FieldValueForbidden).field_path(".client.key")
        .message("target.secretName is also a source in client.key; choose another target name"),
    validation = Rule::new("!has(self.client) || !has(self.client.assertion) || self.client.assertion.secretName != self.target.secretName")
        .reason(Reason::FieldValueForbidden).field_path(".client.assertion")
        .message("target.secretName is also a source in client.assertion; choose another target name"),
    validation = Rule::new("!has(self.client) || !has(self.client.mtls) || self.client.mtls.secretName != self.target.secretName")
        .reason(Reason::FieldValueForbidden).field_path(".client.mtls")
        .message("target.secretName is also a source in client.mtls: the token would overwrite the certificate; choose another target name"),
    validation = Rule::new("!has(self.parameters) || !self.parameters.exists(p, has(p.secretRef) && p.secretRef.name == self.target.secretName)")
        .reason(Reason::FieldValueForbidden).field_path(".parameters")
        .message("target.secretName is also a source in parameters: the token would overwrite it; choose another target name"),
    validation = Rule::new("!has(self.entra) || !has(self.client) || !has(self.client.mtls)")
        .reason(Reason::FieldValueForbidden).field_path(".client.mtls")
        .message("Entra ID takes certificates as signed assertions: use client.certificates"),
    validation = Rule::new("!has(self.entra) || !has(self.client) || !has(self.client.key)")
        .reason(Reason::FieldValueForbidden).field_path(".client.key")
        .message("Entra ID finds the key of an assertion by its certificate: use client.certificates"),
    validation = Rule::new("!has(self.client) || !has(self.client.managedIdentity) || (has(self.issuerRef) && self.issuerRef.kind == 'ClusterTokenIssuer')")
        .reason(Reason::FieldValueForbidden).field_path(".client.managedIdentity")
        .message("managedIdentity needs an issuerRef to a ClusterTokenIssuer that allows it with spec.managedIdentity: ask an administrator for one"),
    validation = Rule::new("!has(self.client) || !has(self.client.managedIdentity) || !has(self.grant) || has(self.grant.clientCredentials)")
        .reason(Reason::FieldValueForbidden).field_path(".grant")
        .message("managedIdentity supports only the client credentials grant: remove grant"),
    validation = Rule::new("!has(self.client) || !has(self.client.public) || has(self.client.secrets) || has(self.client.certificates) || has(self.client.serviceAccount) || has(self.client.managedIdentity) || has(self.client.mtls) || (has(self.grant) && !has(self.grant.clientCredentials) && !has(self.grant.onBehalfOf))")
        .reason(Reason::FieldValueForbidden).field_path(".client.public")
        .message("client.public works only with the grants refreshToken, jwtBearer, tokenExchange, password and extension: set one of them, or client.secrets, certificates or serviceAccount"),
    validation = Rule::new("!has(self.entra) || !has(self.audience)")
        .reason(Reason::FieldValueForbidden).field_path(".audience")
        .message("Entra ID has no audience parameter: put the API into scopes as \"<api>/.default\", or into resources for the v1 endpoint"),
    validation = Rule::new("!has(self.api) || (!has(self.scopes) || (has(self.grant) && !has(self.grant.clientCredentials))) && !has(self.resources) && !has(self.audience)")
        .reason(Reason::FieldValueForbidden).field_path(".api")
        .message("api already selects the scope: remove scopes, resources and audience (a grant for a user may list its permissions in scopes)"),
    validation = Rule::new("!has(self.resources) || !has(self.endpointVersion) || self.endpointVersion == 'V1'")
        .reason(Reason::FieldValueForbidden).field_path(".resources")
        .message("resources belong to the v1 endpoint: drop endpointVersion or set it to V1, or use scopes"),
    validation = Rule::new("!has(self.scopes) || !has(self.endpointVersion) || self.endpointVersion == 'V2'")
        .reason(Reason::FieldValueForbidden).field_path(".scopes")
        .message("scopes belong to the v2 endpoint: drop endpointVersion or set it to V2, or use resources"),
    validation = Rule::new("!has(self.entra) || has(self.api) || has(self.scopes) != has(self.resources)")
        .reason(Reason::FieldValueInvalid).field_path(".scopes")
        .message("Entra ID takes one of three: api (a preset), scopes (v2 endpoint, \"<api>/.default\") or resources (v1 endpoint)"),
    validation = Rule::new("!has(self.entra) || !has(self.resources) || self.resources.size() == 1")
        .reason(Reason::FieldValueInvalid).field_path(".resources")
        .message("Entra ID gives tokens for one API at a time: write one resource, and a credential for each API"),
    validation = Rule::new("!has(self.entra) || !has(self.scopes) || (has(self.grant) && (has(self.grant.refreshToken) || has(self.grant.onBehalfOf) || has(self.grant.password))) || (self.scopes.size() == 1 && self.scopes[0].endsWith('/.default'))")
        .reason(Reason::FieldValueInvalid).field_path(".scopes")
        .message("an application requests one scope \"<api>/.default\" from Entra ID, which gives every permission that was consented to: write it, and a credential for each API"),
    validation = Rule::new("!has(self.entra) || !has(self.scopes) || !self.scopes.exists(s, s.contains('%2F') || s.contains('%2f'))")
        .reason(Reason::FieldValueInvalid).field_path(".scopes")
        .message("a scope is URL-encoded already: write it plainly, apicred encodes it"),
    validation = Rule::new("!has(self.entra) || !has(self.resources) || !self.resources.exists(r, r.endsWith('/.default'))")
        .reason(Reason::FieldValueInvalid).field_path(".resources")
        .message("/.default belongs into scopes: write the API alone into resources"),
    validation = Rule::new("!has(self.entra) || !has(self.scopes) || !self.scopes.exists(s, s.matches('^[A-Za-z]+://([^/]*[.])?(mmdls[.]microsoft[.]com|portal[.]cloudappsecurity[.]com|portal[.]cloudappsecuritygov[.]com|securitycenter[.]windows[.]com)([:/]|$)'))")
        .reason(Reason::FieldValueInvalid).field_path(".scopes")
        .message("this is where the API is called, not what its tokens are requested by: set api to ManagedDesktop, DefenderForCloudApps or DefenderForEndpoint"),
    validation = Rule::new("!has(self.entra) || !has(self.resources) || !self.resources.exists(r, r.matches('^[A-Za-z]+://([^/]*[.])?(mmdls[.]microsoft[.]com|portal[.]cloudappsecurity[.]com|portal[.]cloudappsecuritygov[.]com|securitycenter[.]windows[.]com)([:/]|$)'))")
        .reason(Reason::FieldValueInvalid).field_path(".resources")
        .message("this is where the API is called, not what its tokens are requested by: set api to ManagedDesktop, DefenderForCloudApps or DefenderForEndpoint"),
    validation = Rule::new("!has(self.entra) || !has(self.grant) || !(has(self.grant.tokenExchange) || has(self.grant.jwtBearer) || has(self.grant.extension))")
        .reason(Reason::FieldValueForbidden).field_path(".grant")
        .message("Entra ID does not know the grants tokenExchange, jwtBearer and extension: use onBehalfOf for a user's token, or client.serviceAccount for a federated one"),
    validation = Rule::new("!has(self.deletionPolicy) || self.deletionPolicy != 'Revoke' || !(has(self.entra) || has(self.endpointVersion) || (has(self.client) && has(self.client.managedIdentity)) || (has(self.grant) && has(self.grant.onBehalfOf)))")
        .reason(Reason::FieldValueForbidden).field_path(".deletionPolicy")
        .message("Entra ID has no revocation endpoint, its tokens expire by themselves: set deletionPolicy to Delete or Retain")
)]
pub struct ApiCredentialSpec {
    /// The issuer, by reference. If not set: `entra`, or the issuer of `clientRef`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer_ref: Option<IssuerRef>,
    /// Microsoft Entra ID without an issuer object: its hosts are known, so a tenant is enough. If not
    /// set: `issuerRef`, or the issuer of `clientRef`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entra: Option<InlineEntra>,
    /// The OAuth client (application) and its client authentication. The grants `jwtBearer`, `tokenExchange` and `extension` do not need it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<Client>,
    /// The client as an `ApiClient` in this namespace, which several credentials share. Its issuer is the issuer of this credential: if
    /// `issuerRef` or `entra` is set as well, it must be the same. If not set, `client` is the client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ref: Option<ClientRef>,
    /// How the token is granted: one key. `clientCredentials` if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<Box<Grant>>,
    /// A key that no request can renew, such as a legacy API token of Cloud App Security. It is published as it is, and has neither issuer nor
    /// client. If not set, a token is requested.
    #[serde(default, rename = "static", skip_serializing_if = "Option::is_none")]
    pub static_key: Option<Box<StaticKey>>,
    /// The API to call, by name: its audience, permissions and header are known. If not set, `scopes`, `resources` or `audience` define the
    /// API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<ApiPreset>,
    /// Which of Entra ID's two token endpoints is used. If not set: `V1` with `resources`, else `V2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint_version: Option<EndpointVersion>,
    /// Scopes to request. For itself an application requests exactly one from Entra ID, `<api>/.default`. None if not set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 32), inner(length(min = 1, max = 512)), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = Rule::new("self.all(s, s.matches('^[\\\\x21\\\\x23-\\\\x5B\\\\x5D-\\\\x7E]+$'))")
        .reason(Reason::FieldValueInvalid)
        .message("a scope is one word without spaces, quotes or backslashes (RFC 6749 section 3.3); list several scopes as several items"))]
    pub scopes: Vec<String>,
    /// Target APIs as resource indicators (RFC 8707), each sent as a parameter `resource`. At Entra ID one, which
    /// selects the v1 endpoint. None if not set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 100), inner(length(min = 1, max = 512)), extend("x-kubernetes-list-type" = "set"))]
    pub resources: Vec<String>,
    /// Target API as the `audience` parameter that Auth0 and some others need. None if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub audience: Option<String>,
    /// Further parameters of the token request, each with a `value` or a `secretRef`. Parameters with their own field are refused here. None if
    /// not set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub parameters: Vec<Parameter>,
    /// The expected content of the token. Read, never trusted: a token that cannot be read is not evaluated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<Box<Expectation>>,
    /// The target Secret of the token.
    pub target: Target,
    /// The lifetime that a reader of the Secret can rely on, as a duration (`15m`). If not set: 15 min for lifetimes of 45 minutes or more,
    /// else a third of the lifetime.
    #[serde(
        default,
        deserialize_with = "super::duration::optional",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(max = 20))]
    #[x_kube(validation = super::crd::duration("minLifetime", "10s", "24h", "15m"))]
    pub min_lifetime: Option<kube::core::Duration>,
    /// When this credential expires, as RFC 3339 (`2027-06-30T18:00:00Z`). From then on no token is requested, and the token is removed from
    /// the Secret, also if the credential is suspended. Unless `deletionPolicy` is `Revoke`, the issuer accepts it until it expires. If not
    /// set: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    #[x_kube(validation = super::rules::time("notAfter"))]
    pub not_after: Option<String>,
    /// Stops all work on this credential; the Secret stays as it is. `false` if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
    /// What happens when the credential is deleted. `Delete`: its Secret is deleted. `Retain`: its Secret stays. `Revoke`: the token is revoked
    /// (RFC 7009), also at `notAfter`, then the Secret is deleted; the deletion waits at most a minute for that. If not set: `Delete`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
}

impl ApiCredentialSpec {
    /// When the credential expires, if that is set and can be read.
    pub fn end(&self) -> Option<Timestamp> {
        self.not_after.as_deref()?.parse().ok()
    }

    /// Keys of Secrets that contain values of parameters: those of the request, and those of an extension grant.
    pub fn parameter_secrets(&self) -> impl Iterator<Item = &SecretKeyRef> {
        let extension = self.grant.as_ref().and_then(|g| g.extension.as_ref());
        let extension = extension.into_iter().flat_map(|e| &e.parameters);
        let own = self.parameters.iter().filter_map(|p| p.secret_ref.as_ref());
        own.chain(extension.filter_map(|p| p.secret_ref.as_ref()))
    }
}

/// The expected content of a token.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.roles) || has(self.scopes) || has(self.audience) || has(self.tenant)")
    .reason(Reason::FieldValueRequired).field_path(".roles")
    .message("expect needs at least one of roles, scopes, audience and tenant"),
    validation = Rule::new("!has(self.exact) || !self.exact || has(self.roles) || has(self.scopes)")
    .reason(Reason::FieldValueForbidden).field_path(".exact")
    .message("exact compares roles and scopes: set one of them"))]
pub struct Expectation {
    /// Application permissions (`roles`). Not compared if not set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 32), inner(length(min = 1, max = 256)), extend("x-kubernetes-list-type" = "set"))]
    pub roles: Vec<String>,
    /// Delegated permissions (`scp` or `scope`). Not compared if not set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 32), inner(length(min = 1, max = 256)), extend("x-kubernetes-list-type" = "set"))]
    pub scopes: Vec<String>,
    /// `aud`. Not compared if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub audience: Option<String>,
    /// Tenant (`tid`), its GUID. Not compared if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$')")
        .reason(Reason::FieldValueInvalid)
        .message("tenant is the GUID of the tenant: tokens do not carry its domain"))]
    pub tenant: Option<String>,
    /// Whether a role or scope beyond `roles` and `scopes` is reported too, with the condition `PermissionsExceeded`. Only lists that are set
    /// are compared. `false` if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<bool>,
}

/// Refers to an issuer object. A `TokenIssuer` must be in the namespace of the credential.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IssuerRef {
    /// `ClusterTokenIssuer` or `TokenIssuer`.
    pub kind: IssuerKind,
    /// Name of the object.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = super::crd::object_name())]
    pub name: String,
}

/// The kinds an `issuerRef` may name.
#[derive(
    Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize,
)]
#[schemars(transform = super::crd::undescribed)]
pub enum IssuerKind {
    /// Cluster-scoped, written by an administrator.
    ClusterTokenIssuer,
    /// In the credential's namespace.
    TokenIssuer,
}

impl IssuerKind {
    /// The name of the kind.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClusterTokenIssuer => "ClusterTokenIssuer",
            Self::TokenIssuer => "TokenIssuer",
        }
    }
}

/// Entra ID at its well-known hosts.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InlineEntra {
    /// Tenant: its GUID or one of its verified domains.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = super::crd::one_tenant(), validation = super::crd::tenant_alone(), validation = super::crd::tenant_by_id())]
    pub tenant_id: String,
    /// National cloud; `Public` if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud: Option<Cloud>,
}
