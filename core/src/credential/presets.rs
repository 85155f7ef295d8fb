//! Presets: audience, base URL, header scheme and known permissions of Microsoft's APIs.
//!
//! They replace values that users copy from samples, because these samples contradict each other (facts, section 2).

use crate::api::{ApiPreset, Cloud};

/// Known values of an API in one cloud.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preset {
    /// Its name in Entra ID's portal, under which its permissions are listed.
    pub portal_name: &'static str,
    /// The API as `resource` of the v1 endpoint, and as the part before `/.default` at the v2 endpoint.
    pub audience: &'static str,
    /// The base of its URLs.
    pub base_url: &'static str,
    /// Application permissions.
    pub roles: &'static [&'static str],
    /// Permissions on behalf of a user.
    pub scopes: &'static [&'static str],
}

/// The preset of an API in a cloud; `None` if Microsoft documents none.
///
/// Sources: learn.microsoft.com/defender-cloud-apps/api-authentication-application,
/// learn.microsoft.com/defender-endpoint/api/exposed-apis-create-app-webapp,
/// learn.microsoft.com/defender-xdr/api-create-app-web,
/// learn.microsoft.com/managed-desktop/developer/mmd-api-access-app-context,
/// learn.microsoft.com/graph/deployments, learn.microsoft.com/azure/china/resources-developer-guide.
#[expect(clippy::too_many_lines, reason = "a table")]
pub const fn preset(api: ApiPreset, cloud: Cloud) -> Option<Preset> {
    let preset = match (api, cloud) {
        (ApiPreset::DefenderForCloudApps | ApiPreset::CloudAppSecurity, Cloud::Public) => Preset {
            portal_name: "Microsoft Cloud App Security",
            audience: "05a65629-4c1b-48c1-a78b-804c4abdd4af",
            // Slower than the tenant's own address in the portal, but right for every tenant.
            base_url: "https://portal.cloudappsecurity.com/cas/api/v1",
            roles: CLOUD_APPS,
            scopes: CLOUD_APPS,
        },
        (ApiPreset::DefenderForEndpoint | ApiPreset::WindowsDefenderAtp, Cloud::Public) => Preset {
            portal_name: "WindowsDefenderATP",
            audience: "https://api.securitycenter.microsoft.com",
            base_url: "https://api.security.microsoft.com/api",
            roles: &["Alert.Read.All", "Alert.ReadWrite.All", "Machine.Read.All"],
            scopes: &["Alert.Read", "Alert.ReadWrite", "Machine.Read"],
        },
        (ApiPreset::DefenderXdr, Cloud::Public) => Preset {
            portal_name: "Microsoft Threat Protection",
            audience: "https://api.security.microsoft.com",
            base_url: "https://api.security.microsoft.com/api",
            roles: &[
                "Incident.Read.All",
                "Incident.ReadWrite.All",
                "AdvancedHunting.Read.All",
            ],
            scopes: &[
                "Incident.Read",
                "Incident.ReadWrite",
                "AdvancedHunting.Read",
            ],
        },
        (ApiPreset::ManagedDesktop, Cloud::Public) => Preset {
            portal_name: "Modern Workplace Customer APIs",
            audience: "https://mwaas-services-customerapi-prod.azurewebsites.net",
            base_url: "https://mmdls.microsoft.com/support/odata/v1",
            roles: &["MmdSupport.ReadWrite"],
            scopes: &["MWaaSDevice.Read"],
        },
        (ApiPreset::MicrosoftGraph, cloud) => Preset {
            portal_name: "Microsoft Graph",
            audience: match cloud {
                Cloud::Public => "https://graph.microsoft.com",
                Cloud::USGov => "https://graph.microsoft.us",
                Cloud::China => "https://microsoftgraph.chinacloudapi.cn",
            },
            base_url: match cloud {
                Cloud::Public => "https://graph.microsoft.com/v1.0",
                Cloud::USGov => "https://graph.microsoft.us/v1.0",
                Cloud::China => "https://microsoftgraph.chinacloudapi.cn/v1.0",
            },
            roles: &[],
            scopes: &[],
        },
        (ApiPreset::AzureResourceManager, cloud) => Preset {
            portal_name: "Azure Service Management",
            audience: match cloud {
                Cloud::Public => "https://management.azure.com",
                Cloud::USGov => "https://management.usgovcloudapi.net",
                Cloud::China => "https://management.chinacloudapi.cn",
            },
            base_url: match cloud {
                Cloud::Public => "https://management.azure.com",
                Cloud::USGov => "https://management.usgovcloudapi.net",
                Cloud::China => "https://management.chinacloudapi.cn",
            },
            // Access is granted by role assignments in Azure, not by permissions in the token.
            roles: &[],
            scopes: &["user_impersonation"],
        },
        _ => return None,
    };
    Some(preset)
}

/// The permissions of Defender for Cloud Apps have the same names for applications and for users.
const CLOUD_APPS: &[&str] = &[
    "Investigation.Read",
    "Investigation.Manage",
    "Discovery.Read",
    "Discovery.Manage",
    "Settings.Read",
    "Settings.Manage",
];
