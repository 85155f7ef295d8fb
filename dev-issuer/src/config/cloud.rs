//! National clouds of Entra ID. Each is a separate service, with its own tenants and keys.

use std::sync::LazyLock;

use serde::Deserialize;

use super::{Config, Resource};

/// A national cloud of Entra ID.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Cloud {
    /// The global service, also for GCC.
    #[default]
    Public,
    /// For GCC High and DoD.
    USGov,
    /// Operated by 21Vianet.
    China,
}

/// An API that every tenant of a cloud has: its tokens are client assertions of applications that trust a managed
/// identity. Only its App ID URI differs between clouds; the ID is the one of the public cloud, because no others are documented.
/// <https://learn.microsoft.com/entra/workload-id/workload-identity-federation-config-app-trust-managed-identity>
static EXCHANGES: LazyLock<[Resource; 3]> = LazyLock::new(|| {
    ["", "USGov", "China"].map(|cloud| Resource {
        name: "token-exchange".to_owned(),
        app_id: "fb60f99c-7a34-4190-8149-302f77469936".to_owned(),
        uris: vec![format!("api://AzureADTokenExchange{cloud}")],
        access_token_accepted_version: 2,
        roles: Vec::new(),
        scopes: Vec::new(),
        routes: Vec::new(),
        static_keys: Vec::new(),
    })
});

impl Config {
    /// The API of this cloud whose tokens are client assertions.
    pub(crate) fn exchange(&self) -> &'static Resource {
        let [public, us_gov, china] = &*EXCHANGES;
        match self.cloud {
            Cloud::Public => public,
            Cloud::USGov => us_gov,
            Cloud::China => china,
        }
    }
}
