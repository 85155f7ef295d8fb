//! Keys that are created manually in a portal and do not expire: `Authorization: Token <key>`.
//! <https://learn.microsoft.com/defender-cloud-apps/api-authentication>, legacy tokens

use jiff::Timestamp;

use crate::config::Secret;
use crate::entra::{Found, find};
use crate::error::Error;
use crate::issuer::DevIssuer;

/// The scheme of the header.
pub(crate) const SCHEME: &str = "Token";

/// The position of the key in the list. A revoked key counts as unknown.
pub(crate) fn recognise(keys: &[Secret], given: &str) -> Option<usize> {
    match find(keys, given, Timestamp::now()) {
        Found::Good(index) => Some(index),
        Found::Expired(_) | Found::None => None,
    }
}

impl DevIssuer {
    /// Replaces the static keys that an API accepts.
    pub fn set_static_keys(&self, resource: &str, keys: Vec<Secret>) -> Result<(), Error> {
        let mut config = self.shared.config_mut();
        let mut changed = config.clone();
        let known = changed.resources.iter_mut().find(|r| r.name == resource);
        let known = known.ok_or_else(|| {
            let message = format!("no resource has the name {resource:?}");
            Error::config("resources", message)
        })?;
        known.static_keys = keys;
        changed.check()?;
        *config = changed;
        Ok(())
    }
}
