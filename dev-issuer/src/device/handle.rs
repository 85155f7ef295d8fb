//! Access of tests and the admin listener to device codes.

use jiff::Timestamp;
use serde::Serialize;

use crate::error::Error;
use crate::issuer::DevIssuer;

/// A device code that waits for a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct PendingDevice {
    /// The code that the user must type.
    pub user_code: String,
    /// The client that requested it.
    pub client_id: String,
}

impl DevIssuer {
    /// Device codes that wait for a user, oldest first.
    pub fn pending_devices(&self) -> Vec<PendingDevice> {
        let pending = self.shared.devices.pending(Timestamp::now());
        pending
            .into_iter()
            .map(|(user_code, client_id)| PendingDevice {
                user_code,
                client_id,
            })
            .collect()
    }

    /// Allows it as this user, as if the user had typed the code.
    pub fn approve_device(&self, user_code: &str, user: &str) -> Result<(), Error> {
        let known = self.shared.config().user(user).map(|u| u.name.clone());
        let user = known.ok_or_else(|| Error::UnknownUser(user.to_owned()))?;
        self.decide(user_code, Some(user))
    }

    /// Declines it.
    pub fn decline_device(&self, user_code: &str) -> Result<(), Error> {
        self.decide(user_code, None)
    }

    fn decide(&self, user_code: &str, user: Option<String>) -> Result<(), Error> {
        if self
            .shared
            .devices
            .decide(user_code, user, Timestamp::now())
        {
            Ok(())
        } else {
            Err(Error::UnknownUserCode)
        }
    }
}
