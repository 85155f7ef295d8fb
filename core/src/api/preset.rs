//! The presets of Microsoft's APIs in a spec.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// APIs with known audience, address and permissions.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[schemars(transform = super::crd::undescribed)]
pub enum ApiPreset {
    /// Microsoft Defender for Cloud Apps.
    DefenderForCloudApps,
    /// The former name of [`Self::DefenderForCloudApps`].
    CloudAppSecurity,
    /// Microsoft Defender for Endpoint.
    DefenderForEndpoint,
    /// The former name of [`Self::DefenderForEndpoint`].
    #[serde(rename = "WindowsDefenderATP")]
    WindowsDefenderAtp,
    /// Microsoft Defender XDR.
    DefenderXdr,
    /// Microsoft Managed Desktop.
    ManagedDesktop,
    /// Microsoft Graph.
    MicrosoftGraph,
    /// Azure Resource Manager.
    AzureResourceManager,
}

impl ApiPreset {
    /// Its name in the spec.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DefenderForCloudApps => "DefenderForCloudApps",
            Self::CloudAppSecurity => "CloudAppSecurity",
            Self::DefenderForEndpoint => "DefenderForEndpoint",
            Self::WindowsDefenderAtp => "WindowsDefenderATP",
            Self::DefenderXdr => "DefenderXdr",
            Self::ManagedDesktop => "ManagedDesktop",
            Self::MicrosoftGraph => "MicrosoftGraph",
            Self::AzureResourceManager => "AzureResourceManager",
        }
    }
}

/// Entra ID's token endpoints.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[schemars(transform = super::crd::undescribed)]
pub enum EndpointVersion {
    /// Takes `resource`.
    V1,
    /// Takes `scope`.
    V2,
}
