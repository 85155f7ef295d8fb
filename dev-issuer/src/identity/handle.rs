//! What tests and the program may do with managed identities.

use crate::config::ManagedIdentity;
use crate::error::Error;
use crate::issuer::DevIssuer;

impl DevIssuer {
    /// URL of the instance metadata service's token endpoint, if it is on.
    pub fn imds_url(&self) -> Option<String> {
        self.identity.imds_url()
    }

    /// What `IDENTITY_ENDPOINT` holds in App Service, if that endpoint is on.
    pub fn app_service_url(&self) -> Option<String> {
        self.identity.app_service_url()
    }

    /// What `IDENTITY_ENDPOINT` holds on a machine of Azure Arc, if that endpoint is on.
    pub fn arc_url(&self) -> Option<String> {
        self.identity.arc_url()
    }

    /// Adds a managed identity, in place of one with the same client id. Tokens that are kept stay as they are.
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

    /// Forgets the tokens that the identity endpoints keep, which in reality only time does.
    pub fn forget_identity_tokens(&self) {
        self.shared.identity_cache.clear();
    }
}
