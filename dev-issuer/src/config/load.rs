//! Reads a config file, and checks every rule that its types cannot express. An error names the field; it never
//! quotes the file, because the file contains secrets.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Config, Resource, Secret};
use crate::Error;
use crate::ids::{is_domain, is_guid};

/// A century: far beyond any use, but small enough that times never overflow.
const LONGEST_LIFETIME: u64 = 100 * 365 * 24 * 3600;

impl Config {
    /// Reads a YAML or JSON file.
    pub fn from_file(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::ReadConfig {
            path: path.to_owned(),
            source,
        })?;
        Self::from_yaml(&text)
    }

    /// Reads YAML or JSON text.
    pub fn from_yaml(text: &str) -> Result<Self, Error> {
        // An empty file contains no settings.
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let mut field = String::new();
        let parsed = serde_saphyr::with_deserializer_from_str(text, |yaml| {
            serde_path_to_error::deserialize(yaml).map_err(|error| {
                field = error.path().to_string();
                error.into_inner()
            })
        });
        let config: Self = parsed.map_err(|error| {
            let message = if ["secrets", "header", "staticKeys", "password"]
                .iter()
                .any(|name| field.contains(name))
            {
                // The message of the parser may quote the value.
                "must be {value: …, expires: an RFC 3339 time or nothing}".to_owned()
            } else {
                error.without_snippet().to_string()
            };
            let field = if field.is_empty() || field == "." {
                "(file)"
            } else {
                &field
            };
            Error::config(field, message)
        })?;
        config.check()?;
        Ok(config)
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.tenants.is_empty() {
            return Err(Error::config("tenants", "name at least one"));
        }
        for (i, tenant) in self.tenants.iter().enumerate() {
            if !is_guid(&tenant.id) {
                return Err(Error::config(format!("tenants[{i}].id"), "must be a GUID"));
            }
            if let Some(j) = tenant.domains.iter().position(|d| !is_domain(d)) {
                let field = format!("tenants[{i}].domains[{j}]");
                return Err(Error::config(field, "must be a domain name with a dot"));
            }
        }
        unique("tenants", "id", self.tenants.iter().map(|t| t.id.as_str()))?;
        check_lifetime("lifetimeSeconds", Some(self.lifetime_seconds))?;
        check_lifetime("refreshInSeconds", self.refresh_in_seconds)?;
        for (i, resource) in self.resources.iter().enumerate() {
            check_resource(&format!("resources[{i}]"), resource)?;
        }
        let names = self.resources.iter().map(|r| r.name.as_str());
        unique("resources", "name", names)?;
        for (i, client) in self.clients.iter().enumerate() {
            self.check_client(&format!("clients[{i}]"), client)?;
        }
        unique("clients", "id", self.clients.iter().map(|c| c.id.as_str()))?;
        self.identity.check()?;
        if let Some(mtls) = &self.mtls {
            mtls.check()?;
        }
        for (i, user) in self.users.iter().enumerate() {
            self.check_user(&format!("users[{i}]"), user)?;
        }
        unique("users", "name", self.users.iter().map(|u| u.name.as_str()))?;
        if let Some(name) = &self.auto_approve
            && self.user(name).is_none()
        {
            return Err(Error::config("autoApprove", "no user has this name"));
        }
        for (i, trusted) in self.trusted.iter().enumerate() {
            trusted.check(&format!("trusted[{i}]"))?;
        }
        let issuers = self.trusted.iter().map(|t| t.issuer.as_str());
        unique("trusted", "issuer", issuers)?;
        check_lifetime("deviceIntervalSeconds", Some(self.device_interval_seconds))?;
        check_lifetime("deviceLifetimeSeconds", Some(self.device_lifetime_seconds))?;
        for (i, identity) in self.managed_identities.iter().enumerate() {
            self.check_managed_identity(&format!("managedIdentities[{i}]"), identity)?;
        }
        let ids = self.managed_identities.iter();
        let ids = ids.map(|identity| identity.client_id.as_str());
        unique("managedIdentities", "clientId", ids)
    }
}

fn check_resource(at: &str, resource: &Resource) -> Result<(), Error> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if resource.name.is_empty() || !resource.name.bytes().all(plain) {
        let message = "must be lower-case letters, digits and dashes: it is part of a URL";
        return Err(Error::config(format!("{at}.name"), message));
    }
    if !is_guid(&resource.app_id) {
        return Err(Error::config(format!("{at}.appId"), "must be a GUID"));
    }
    if !matches!(resource.access_token_accepted_version, 1 | 2) {
        let field = format!("{at}.accessTokenAcceptedVersion");
        return Err(Error::config(field, "must be 1 or 2"));
    }
    let empty = |key: &Secret| key.value().is_empty();
    if let Some(i) = resource.static_keys.iter().position(empty) {
        let field = format!("{at}.staticKeys[{i}].value");
        return Err(Error::config(field, "must not be empty"));
    }
    for (i, route) in resource.routes.iter().enumerate() {
        if !route.path.starts_with('/') {
            let field = format!("{at}.routes[{i}].path");
            return Err(Error::config(field, "must begin with /"));
        }
        let scopes = &resource.scopes;
        let roles: Vec<_> = route
            .roles
            .iter()
            .filter(|r| !scopes.contains(r))
            .cloned()
            .collect();
        check_roles(&format!("{at}.routes[{i}].roles"), &roles, resource)?;
    }
    Ok(())
}

pub(super) fn check_roles(field: &str, roles: &[String], resource: &Resource) -> Result<(), Error> {
    match roles.iter().find(|role| !resource.roles.contains(role)) {
        Some(role) => Err(Error::config(
            field,
            format!(
                "the resource {:?} does not define the role {role:?}",
                resource.name
            ),
        )),
        None => Ok(()),
    }
}

pub(super) fn check_lifetime(field: &str, seconds: Option<u64>) -> Result<(), Error> {
    match seconds {
        Some(0) => Err(Error::config(field, "must be at least 1")),
        Some(n) if n > LONGEST_LIFETIME => Err(Error::config(field, "must be at most a century")),
        _ => Ok(()),
    }
}

fn unique<'a>(list: &str, key: &str, values: impl Iterator<Item = &'a str>) -> Result<(), Error> {
    let mut seen = BTreeSet::new();
    for (i, value) in values.enumerate() {
        if !seen.insert(value) {
            let field = format!("{list}[{i}].{key}");
            return Err(Error::config(field, format!("{value:?} is listed twice")));
        }
    }
    Ok(())
}
