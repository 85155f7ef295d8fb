//! `spec.managedIdentity` of a `ClusterTokenIssuer`: the operator's own identity in Azure.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The endpoint of the operator's Azure identity: exactly one key.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = super::crd::one_of(&["imds", "appService", "azureArc", "workloadIdentity"], "managedIdentity has"))]
pub struct ManagedIdentity {
    /// The instance metadata service of an Azure machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imds: Option<IdentityEndpoint>,
    /// App Service, Functions, Container Apps: by the operator's environment (`IDENTITY_ENDPOINT`,
    /// `IDENTITY_HEADER`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_service: Option<FromEnvironment>,
    /// Azure Arc: a machine outside of Azure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub azure_arc: Option<IdentityEndpoint>,
    /// Entra Workload ID by the operator's environment (`AZURE_FEDERATED_TOKEN_FILE`, `AZURE_CLIENT_ID`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload_identity: Option<FromEnvironment>,
}

/// A local identity endpoint.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IdentityEndpoint {
    /// Origin instead of the default one, which is used if not set. Plain http; only loopback and link-local addresses are allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100))]
    #[x_kube(validation = Rule::new("self.matches('^http://[0-9.]+(:[0-9]+)?$')")
        .reason(Reason::FieldValueInvalid)
        .message("endpoint is http:// and an IPv4 address, such as http://169.254.169.254"))]
    pub endpoint: Option<String>,
}

/// No settings: the operator's environment has them.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct FromEnvironment {}
