//! The endpoints of an issuer. Its spec selects one kind of them.

use super::client_authentication::ClientAuthentication;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An installation of a GitHub App in an organization or a user account.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GitHubApp {
    /// Number of the installation: the end of the URL of its settings (`/settings/installations/NUMBER`).
    #[schemars(range(min = 1))]
    pub installation_id: i64,
    /// Base URL of the API of another GitHub: `https://HOST/api/v3` of an Enterprise Server, `https://api.NAME.ghe.com`.
    /// `https://api.github.com` if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 300))]
    #[x_kube(validation = super::rules::https_base("apiUrl", "https://github.example.com/api/v3"),
        validation = super::rules::no_blank("apiUrl"), validation = super::rules::whole_host("apiUrl"),
        validation = super::rules::github_api("apiUrl"))]
    pub api_url: Option<String>,
}

/// Microsoft Entra ID.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.graphHost) || has(self.authorityHost)")
    .reason(Reason::FieldValueForbidden).field_path(".graphHost")
    .message("tokens of Entra ID are sent only to its own Microsoft Graph: remove graphHost, or set authorityHost"))]
pub struct EntraIssuer {
    /// Tenant: its GUID or one of its verified domains.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = super::crd::one_tenant(), validation = super::crd::tenant_alone(), validation = super::crd::tenant_by_id())]
    pub tenant_id: String,
    /// National cloud; `Public` if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud: Option<Cloud>,
    /// Another authority that speaks Entra's protocol, as an origin (`https://host[:port]`), in place of
    /// that of `cloud`, which is used if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 300))]
    #[x_kube(validation = super::rules::https_origin("authorityHost", "https://login.example.com"),
        validation = super::rules::whole_host("authorityHost"))]
    pub authority_host: Option<String>,
    /// Microsoft Graph of `authorityHost`, as an origin, where the credentials of clients are rotated. If not set: that of
    /// `cloud`, and none with `authorityHost`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 300))]
    #[x_kube(validation = super::rules::https_origin("graphHost", "https://graph.example.com"),
        validation = super::rules::whole_host("graphHost"))]
    pub graph_host: Option<String>,
}

/// National clouds of Entra ID.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[schemars(transform = super::crd::undescribed)]
pub enum Cloud {
    /// `login.microsoftonline.com`, also for GCC.
    #[default]
    Public,
    /// `login.microsoftonline.us`, for GCC High and DoD.
    USGov,
    /// `login.partner.microsoftonline.cn`, operated by 21Vianet.
    China,
}

/// An issuer with a discovery document.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OidcIssuer {
    /// Issuer identifier, exactly as its document names it; `/.well-known/openid-configuration` below it is read.
    #[schemars(length(max = 1024))]
    #[x_kube(validation = super::rules::https_base("issuerUrl", "https://login.example.com/realms/one"),
        validation = super::rules::no_blank("issuerUrl"), validation = super::rules::whole_host("issuerUrl"),
        validation = Rule::new("!self.contains('/.well-known/')")
        .reason(Reason::FieldValueInvalid)
        .message("issuerUrl is the issuer itself, as its document names it: leave out /.well-known/ and what follows"))]
    pub issuer_url: String,
    /// How the client secret is used. If not set: the first of `basic`, `post` and `secretJwt` that the discovery document names, else
    /// `basic`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_authentication: Option<ClientAuthentication>,
    /// URL of the revocation endpoint (RFC 7009), on the host of the token endpoint. If not set: from the document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = super::rules::https_url("revocationUrl"), validation = super::rules::no_blank("revocationUrl"), validation = super::rules::whole_host("revocationUrl"))]
    pub revocation_url: Option<String>,
    /// URL of the authorization endpoint, for `kubectl apicred login`. If not set: from the document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = super::rules::https_url("authorizationUrl"), validation = super::rules::no_blank("authorizationUrl"), validation = super::rules::whole_host("authorizationUrl"))]
    pub authorization_url: Option<String>,
    /// URL of the device authorization endpoint (RFC 8628), for `kubectl apicred login --device`. If not set: from the document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = super::rules::https_url("deviceAuthorizationUrl"), validation = super::rules::no_blank("deviceAuthorizationUrl"), validation = super::rules::whole_host("deviceAuthorizationUrl"))]
    pub device_authorization_url: Option<String>,
}

/// A token endpoint by URL.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = super::rules::revocation_at_home())]
pub struct OAuth2Issuer {
    /// URL of the token endpoint.
    #[schemars(length(max = 1024))]
    #[x_kube(validation = super::rules::https_url("tokenUrl"), validation = super::rules::no_blank("tokenUrl"), validation = super::rules::whole_host("tokenUrl"))]
    pub token_url: String,
    /// How the client secret is used; `basic` if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_authentication: Option<ClientAuthentication>,
    /// Identifier of the issuer. If set, it is the `aud` of assertions and ServiceAccount tokens, unless `assertionAudience` or the credential
    /// sets another. If not set, that is the token endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub issuer: Option<String>,
    /// URL of the revocation endpoint (RFC 7009), on the host of `tokenUrl`. If not set, no token is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = super::rules::https_url("revocationUrl"), validation = super::rules::no_blank("revocationUrl"), validation = super::rules::whole_host("revocationUrl"))]
    pub revocation_url: Option<String>,
    /// URL of the authorization endpoint, for `kubectl apicred login`. If not set, only `--device` works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = super::rules::https_url("authorizationUrl"), validation = super::rules::no_blank("authorizationUrl"), validation = super::rules::whole_host("authorizationUrl"))]
    pub authorization_url: Option<String>,
    /// URL of the device authorization endpoint (RFC 8628), for `kubectl apicred login --device`. If not set, a
    /// browser is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = super::rules::https_url("deviceAuthorizationUrl"), validation = super::rules::no_blank("deviceAuthorizationUrl"), validation = super::rules::whole_host("deviceAuthorizationUrl"))]
    pub device_authorization_url: Option<String>,
}
