//! Access of tests and the program to managed identities.

use crate::config::ManagedIdentity;
use crate::error::Error;
use crate::issuer::DevIssuer;

impl DevIssuer {
    /// URL of the instance metadata service's token endpoint, if it is on.
    pub fn imds_url(&self) -> Option<String> {
        self.identity.imds_url()
    }

    /// The value of `IDENTITY_ENDPOINT` in App Service, if that endpoint is on.
    pub fn app_service_url(&self) -> Option<String> {
        self.identity.app_service_url()
    }

    /// The value of `IDENTITY_ENDPOINT` on a machine of Azure Arc, if that endpoint is on.
    pub fn arc_url(&self) -> Option<String> {
        self.identity.arc_url()
    }

    /// Adds a managed identity, and replaces one with the same client ID. Cached tokens do not change.
    pub fn add_managed_identity(&self, identity: ManagedIdentity) -> Result<(), Error> {
        let mut config = self.shared.config_mut();
        config.check_managed_identity("managedIdentity", &identity)?;
        let all = &mut config.managed_identities;
        all.retain(|known| known.client_id != identity.client_id);
        all.push(identity);
        Ok(())
    }

    /// Removes a managed identity.
    pub fn remove_managed_identity(&self, client_id: &str) {
        let mut config = self.shared.config_mut();
        let all = &mut config.managed_identities;
        all.retain(|known| known.client_id != client_id);
    }

    /// Removes the cached tokens of the identity endpoints. In reality they only expire.
    pub fn forget_identity_tokens(&self) {
        self.shared.identity_cache.clear();
    }
}
