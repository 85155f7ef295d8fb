//! The rules for the parties that request tokens: clients and managed identities.

use std::collections::BTreeMap;

use super::load::{check_lifetime, check_roles};
use super::{Client, Config, ManagedIdentity};
use crate::Error;
use crate::ids::is_guid;
use crate::signin::may_be_registered;
use crate::users::User;

impl Config {
    pub(crate) fn check_managed_identity(
        &self,
        at: &str,
        identity: &ManagedIdentity,
    ) -> Result<(), Error> {
        if !is_guid(&identity.client_id) {
            return Err(Error::config(format!("{at}.clientId"), "must be a GUID"));
        }
        if identity.tenant(self).is_none() {
            let message = "no tenant has this id";
            return Err(Error::config(format!("{at}.tenant"), message));
        }
        let lifetime = Some(identity.lifetime_seconds);
        check_lifetime(&format!("{at}.lifetimeSeconds"), lifetime)?;
        self.check_granted(at, &identity.roles)
    }

    pub(crate) fn check_client(&self, at: &str, client: &Client) -> Result<(), Error> {
        if client.id.is_empty() {
            return Err(Error::config(format!("{at}.id"), "must not be empty"));
        }
        if let Some(i) = client.secrets.iter().position(|s| s.value().is_empty()) {
            let field = format!("{at}.secrets[{i}].value");
            return Err(Error::config(field, "must not be empty"));
        }
        for (i, id) in client.tenants.iter().enumerate() {
            if !self.tenants.iter().any(|t| t.id.eq_ignore_ascii_case(id)) {
                let field = format!("{at}.tenants[{i}]");
                return Err(Error::config(field, format!("no tenant has the id {id:?}")));
            }
        }
        check_lifetime(&format!("{at}.lifetimeSeconds"), client.lifetime_seconds)?;
        check_lifetime(&format!("{at}.refreshInSeconds"), client.refresh_in_seconds)?;
        super::mtls::check_client(at, client)?;
        super::trust::check_client(at, client)?;
        let bad = |uri: &String| !may_be_registered(uri);
        if let Some(i) = client.redirect_uris.iter().position(bad) {
            let field = format!("{at}.redirectUris[{i}]");
            let message =
                "must be an absolute URI without a fragment, with http only for this machine";
            return Err(Error::config(field, message));
        }
        if client.public && !client.secrets.is_empty() {
            let message = "a public client has no secrets";
            return Err(Error::config(format!("{at}.secrets"), message));
        }
        self.check_consented(at, &client.scopes)?;
        self.check_granted(at, &client.roles)
    }

    pub(crate) fn check_user(&self, at: &str, user: &User) -> Result<(), Error> {
        user.check(at)?;
        self.check_consented(at, &user.scopes)
    }

    fn check_consented(
        &self,
        at: &str,
        consented: &BTreeMap<String, Vec<String>>,
    ) -> Result<(), Error> {
        for (name, scopes) in consented {
            let field = format!("{at}.scopes.{name}");
            let Some(resource) = self.resources.iter().find(|r| &r.name == name) else {
                return Err(Error::config(field, "no resource has this name"));
            };
            if let Some(scope) = scopes.iter().find(|s| !resource.scopes.contains(s)) {
                let message = format!("the resource {name:?} does not define the scope {scope:?}");
                return Err(Error::config(field, message));
            }
        }
        Ok(())
    }

    fn check_granted(
        &self,
        at: &str,
        granted: &BTreeMap<String, Vec<String>>,
    ) -> Result<(), Error> {
        for (name, roles) in granted {
            let field = format!("{at}.roles.{name}");
            let Some(resource) = self.resources.iter().find(|r| &r.name == name) else {
                return Err(Error::config(field, "no resource has this name"));
            };
            check_roles(&field, roles, resource)?;
        }
        Ok(())
    }
}
