//! People who may sign in.

use serde::Deserialize;

use crate::config::{Config, Secret};
use crate::error::Error;
use crate::ids::stable_guid;
use crate::issuer::DevIssuer;

/// A person in the directory, known to every tenant and to the generic issuer.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct User {
    /// The name to sign in with, such as `ada@contoso.example`.
    pub name: String,
    /// The password.
    pub password: Secret,
    /// The object id; made from the name if left out.
    #[serde(default)]
    pub object_id: Option<String>,
}

impl User {
    /// Someone with a name and a password.
    pub fn new(name: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            password: Secret::new(password),
            object_id: None,
        }
    }

    pub(crate) fn object_id(&self) -> String {
        let made = || stable_guid(&format!("user/{}", self.name.to_lowercase()));
        self.object_id.clone().unwrap_or_else(made)
    }

    /// The subject that one client sees: another client sees another one, as in Entra.
    pub(crate) fn pairwise(&self, client: &str) -> String {
        stable_guid(&format!("{}/{client}", self.object_id()))
    }

    pub(crate) fn check(&self, at: &str) -> Result<(), Error> {
        if self.name.trim().is_empty() {
            return Err(Error::config(format!("{at}.name"), "must not be empty"));
        }
        if self.password.value().is_empty() {
            let field = format!("{at}.password.value");
            return Err(Error::config(field, "must not be empty"));
        }
        Ok(())
    }
}

impl Config {
    /// A person by name, in any case.
    pub(crate) fn user(&self, name: &str) -> Option<&User> {
        self.users
            .iter()
            .find(|user| user.name.eq_ignore_ascii_case(name))
    }

    /// The person who goes by this name and knows the password.
    pub(crate) fn user_with(&self, name: &str, password: &str) -> Option<&User> {
        self.user(name)
            .filter(|user| user.password.is(password.as_bytes()))
    }
}

impl DevIssuer {
    /// Adds a person, in place of one with the same name.
    pub fn add_user(&self, user: User) -> Result<(), Error> {
        user.check("user")?;
        let mut config = self.shared.config_mut();
        let others = |known: &User| !known.name.eq_ignore_ascii_case(&user.name);
        config.users.retain(others);
        config.users.push(user);
        Ok(())
    }

    /// Removes a person.
    pub fn remove_user(&self, name: &str) {
        let mut config = self.shared.config_mut();
        config
            .users
            .retain(|user| !user.name.eq_ignore_ascii_case(name));
    }
}
