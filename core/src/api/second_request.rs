//! `spec.secondRequest` of an issuer: exchanges a token for another one.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// The second request: exactly one key.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = super::crd::one_of(&["azureContainerRegistry", "googleServiceAccount"], "secondRequest has"))]
pub struct SecondRequest {
    /// Exchanges a token of Entra ID for the docker login at an Azure container registry. With `entra`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub azure_container_registry: Option<AzureContainerRegistry>,
    /// A token of Google's STS becomes one of a service account (`generateAccessToken`). With `oauth2` or `oidc`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub google_service_account: Option<GoogleServiceAccount>,
}

/// A registry.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AzureContainerRegistry {
    /// Its login server, such as `contoso.azurecr.io`. A `TokenIssuer` may only name hosts of Azure's registries.
    #[schemars(length(min = 1, max = 260))]
    #[x_kube(validation = super::rules::registry())]
    pub registry: String,
}

/// A service account.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GoogleServiceAccount {
    /// Its e-mail address. `spec.scopes` of the credential are those of its token.
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = Rule::new("self.matches('^[-._A-Za-z0-9]+@[-.A-Za-z0-9]+$')")
        .reason(Reason::FieldValueInvalid)
        .message("email is the address of a service account, such as robot@project.iam.gserviceaccount.com"))]
    pub email: String,
    /// Another origin of the API (`https://host[:port]`), for a private endpoint. `https://iamcredentials.googleapis.com` if
    /// not set. Only in a `ClusterTokenIssuer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 300))]
    #[x_kube(validation = super::rules::https_origin("endpoint", "https://iamcredentials.example.com"),
        validation = super::rules::whole_host("endpoint"))]
    pub endpoint: Option<String>,
}
