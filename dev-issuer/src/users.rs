//! Users who may sign in.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

use crate::claims::Claims;
use crate::config::{Config, Secret};
use crate::error::Error;
use crate::ids::{stable_guid, uti};
use crate::issuer::DevIssuer;

/// A user in the directory, for every tenant and the generic issuer.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct User {
    /// The name to sign in with, such as `ada@contoso.example`.
    pub name: String,
    /// The password.
    pub password: Secret,
    /// The object ID; derived from the name if not set.
    #[serde(default)]
    pub object_id: Option<String>,
    /// Whether a policy requires a second factor. Then no token is issued without a browser.
    #[serde(default)]
    pub needs_mfa: bool,
    /// AADSTS number with which Entra refuses every token for this user, such as 53003.
    #[serde(default)]
    pub refused: Option<u32>,
    /// The ID of an access policy that requires more than an ordinary sign-in. Entra issues tokens only after a sign-in whose
    /// `claims` name it; other refreshes are challenged with AADSTS50076.
    #[serde(default)]
    pub policy: Option<String>,
    /// Delegated permissions to which the user consented for every application, by name of the resource.
    #[serde(default)]
    pub scopes: BTreeMap<String, Vec<String>>,
}

impl User {
    /// A user with a name and a password.
    pub fn new(name: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            password: Secret::new(password),
            object_id: None,
            needs_mfa: false,
            refused: None,
            policy: None,
            scopes: BTreeMap::new(),
        }
    }

    /// Makes a policy require a second factor of this user.
    #[must_use]
    pub fn needs_mfa(mut self) -> Self {
        self.needs_mfa = true;
        self
    }

    /// Makes Entra refuse every token for this user with this AADSTS number.
    #[must_use]
    pub fn refused(mut self, code: u32) -> Self {
        self.refused = Some(code);
        self
    }

    /// Makes an access policy require more than an ordinary sign-in.
    #[must_use]
    pub fn policy(mut self, id: impl Into<String>) -> Self {
        self.policy = Some(id.into());
        self
    }

    /// Consents to a delegated permission of the named resource for every application that requests it.
    #[must_use]
    pub fn consent(mut self, resource: &str, scope: &str) -> Self {
        let scopes = self.scopes.entry(resource.to_owned()).or_default();
        scopes.push(scope.to_owned());
        self
    }

    pub(crate) fn object_id(&self) -> String {
        let made = || stable_guid(&format!("user/{}", self.name.to_lowercase()));
        self.object_id.clone().unwrap_or_else(made)
    }

    /// The subject for one client: it is different for each client, as in Entra.
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
    /// A user by name, in any case.
    pub(crate) fn user(&self, name: &str) -> Option<&User> {
        self.users
            .iter()
            .find(|user| user.name.eq_ignore_ascii_case(name))
    }

    /// The user with this name and this password.
    pub(crate) fn user_with(&self, name: &str, password: &str) -> Option<&User> {
        self.user(name)
            .filter(|user| user.password.is(password.as_bytes()))
    }
}

impl DevIssuer {
    /// An access token of a user for one of your applications, for the on-behalf-of flow: `aud` is the
    /// application.
    pub fn issue_user_token(&self, audience: &str, user: &str, lifetime: Duration) -> String {
        let now = Timestamp::now().as_second();
        let oid = self.shared.config().user(user).map(User::object_id);
        let claims = Claims {
            aud: audience.to_owned(),
            iss: self.shared.issuer_v2(self.tenant()),
            iat: now,
            nbf: now,
            exp: now.saturating_add_unsigned(lifetime.as_secs()),
            sub: oid.clone().unwrap_or_default(),
            oid,
            azp: Some(stable_guid("front end")),
            idtyp: Some("user".to_owned()),
            preferred_username: Some(user.to_owned()),
            scp: Some("access_as_user".to_owned()),
            tid: Some(self.tenant().to_owned()),
            uti: Some(uti()),
            ver: Some("2.0".to_owned()),
            ..Claims::default()
        };
        self.shared.keys().sign("JWT", &claims)
    }

    /// Adds a user, and replaces one with the same name.
    pub fn add_user(&self, user: User) -> Result<(), Error> {
        let mut config = self.shared.config_mut();
        config.check_user("user", &user)?;
        let others = |known: &User| !known.name.eq_ignore_ascii_case(&user.name);
        config.users.retain(others);
        config.users.push(user);
        Ok(())
    }

    /// Removes a user.
    pub fn remove_user(&self, name: &str) {
        let mut config = self.shared.config_mut();
        config
            .users
            .retain(|user| !user.name.eq_ignore_ascii_case(name));
    }
}
