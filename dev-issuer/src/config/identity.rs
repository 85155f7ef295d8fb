//! Managed identities, and the endpoints at which a machine returns their tokens.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::{Config, Secret, Tenant};
use crate::Error;
use crate::ids::stable_guid;

/// The endpoints. All of them use plain HTTP, as the real ones do, so only loopback and link-local addresses are
/// accepted. Each is off if it has no address.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct IdentityEndpoints {
    /// The address of the instance metadata service of a virtual machine (`169.254.169.254:80` in reality).
    pub imds: Option<SocketAddr>,
    /// The endpoint of App Service, Functions and Container Apps.
    pub app_service: Option<AppService>,
    /// The agent of Azure Arc.
    pub arc: Option<AzureArc>,
}

/// The values that App Service sets for a program in `IDENTITY_ENDPOINT` and `IDENTITY_HEADER`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AppService {
    /// The address on which it listens.
    pub listen: SocketAddr,
    /// The value of `IDENTITY_HEADER`.
    pub header: Secret,
}

/// The agent of a machine outside of Azure. Its challenge proves that the caller may read a folder.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AzureArc {
    /// The address on which it listens (`127.0.0.1:40342` in reality).
    pub listen: SocketAddr,
    /// The folder of the key files (`/var/opt/azcmagent/tokens` in reality); created if it does not exist.
    pub key_folder: PathBuf,
    /// Older agents do not support user-assigned identities: they ignore the caller's choice and echo nothing.
    #[serde(default)]
    pub ignores_choice: bool,
}

/// An identity of the machine.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ManagedIdentity {
    /// Its client id.
    pub client_id: String,
    /// Its object ID; derived from the client ID if not set.
    #[serde(default)]
    pub object_id: Option<String>,
    /// Its resource id in Azure, which is in `xms_mirid`.
    pub resource_id: String,
    /// The machine's own identity: a request without an ID gets it.
    #[serde(default)]
    pub system_assigned: bool,
    /// ID of its tenant; the default tenant if not set.
    #[serde(default)]
    pub tenant: Option<String>,
    /// Application roles granted, by name of the resource.
    #[serde(default)]
    pub roles: BTreeMap<String, Vec<String>>,
    /// Lifetime of its tokens in seconds.
    #[serde(default = "ManagedIdentity::one_day")]
    pub lifetime_seconds: u64,
}

impl ManagedIdentity {
    /// The identity of the machine itself.
    pub fn system_assigned(client_id: impl Into<String>, resource_id: impl Into<String>) -> Self {
        Self {
            system_assigned: true,
            ..Self::user_assigned(client_id, resource_id)
        }
    }

    /// An identity that was assigned to the machine.
    pub fn user_assigned(client_id: impl Into<String>, resource_id: impl Into<String>) -> Self {
        Self {
            client_id: client_id.into(),
            object_id: None,
            resource_id: resource_id.into(),
            system_assigned: false,
            tenant: None,
            roles: BTreeMap::new(),
            lifetime_seconds: Self::one_day(),
        }
    }

    /// Grants an application role of the named resource.
    #[must_use]
    pub fn role(mut self, resource: &str, role: &str) -> Self {
        let roles = self.roles.entry(resource.to_owned()).or_default();
        roles.push(role.to_owned());
        self
    }

    /// Sets the lifetime of its tokens, in whole seconds.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime_seconds = lifetime.as_secs();
        self
    }

    /// The lifetime in the FAQ on managed identities, about the cache behind the endpoint.
    fn one_day() -> u64 {
        24 * 60 * 60
    }

    pub(crate) fn object_id(&self) -> String {
        let made = || stable_guid(&format!("identity/{}", self.client_id));
        self.object_id.clone().unwrap_or_else(made)
    }

    pub(crate) fn tenant<'c>(&self, config: &'c Config) -> Option<&'c Tenant> {
        match &self.tenant {
            Some(id) => config.tenants.iter().find(|tenant| &tenant.id == id),
            None => config.tenants.first(),
        }
    }
}

impl IdentityEndpoints {
    pub(super) fn check(&self) -> Result<(), Error> {
        let app_service = self.app_service.as_ref();
        let arc = self.arc.as_ref();
        for (field, address) in [
            ("imds", self.imds),
            ("appService.listen", app_service.map(|a| a.listen)),
            ("arc.listen", arc.map(|a| a.listen)),
        ] {
            if address.is_some_and(|a| !is_local(a.ip())) {
                let message = "must be loopback or link-local: it gives tokens to every caller that can reach it";
                return Err(Error::config(format!("identity.{field}"), message));
            }
        }
        match app_service {
            Some(app) if app.header.value().is_empty() => Err(Error::config(
                "identity.appService.header.value",
                "must not be empty",
            )),
            _ => Ok(()),
        }
    }
}

fn is_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unicast_link_local(),
    }
}
