//! Access of tests to client certificates.

use crate::error::Error;
use crate::issuer::DevIssuer;

impl DevIssuer {
    /// `https://host:port` of the listener that requests client certificates, if there is one.
    pub fn mtls_origin(&self) -> Option<&str> {
        self.shared.mtls_origin.as_deref()
    }

    /// Trusts one more authority, given as PEM, to sign certificates of clients with a subject.
    pub fn add_client_ca(&self, pem: impl Into<String>) -> Result<(), Error> {
        let mut config = self.shared.config_mut();
        let known = config.mtls.clone();
        let mut mtls = known.ok_or_else(|| Error::config("mtls", "the listener is off"))?;
        mtls.client_cas.push(pem.into());
        mtls.check()?;
        config.mtls = Some(mtls);
        Ok(())
    }
}
