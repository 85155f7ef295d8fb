//! Access of tests to sign-ins.

use crate::error::Error;
use crate::issuer::DevIssuer;

impl DevIssuer {
    /// Lets this user allow every sign-in at once, without a page; `None` switches the page on again.
    pub fn auto_approve(&self, user: Option<&str>) -> Result<(), Error> {
        let mut config = self.shared.config_mut();
        let mut changed = config.clone();
        changed.auto_approve = user.map(str::to_owned);
        changed.check()?;
        *config = changed;
        Ok(())
    }

    /// Authorization endpoint of the default tenant.
    pub fn authorize_url(&self) -> String {
        format!("{}/{}/oauth2/v2.0/authorize", self.origin(), self.tenant())
    }

    /// Authorization endpoint of the generic issuer.
    pub fn generic_authorize_url(&self) -> String {
        format!("{}/authorize", self.generic_issuer())
    }
}
