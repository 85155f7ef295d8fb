//! The tenant in the path.

use super::errors::{self, ErrorAnswer};
use crate::config::{Config, Tenant};
use crate::ids::{is_domain, is_guid};

/// The tenant of a user. If the request leaves it open, it is the default one.
pub(crate) fn of_user<'c>(config: &'c Config, name: &str) -> Result<&'c Tenant, ErrorAnswer> {
    match (name, config.tenants.first()) {
        ("common" | "organizations", Some(default)) => Ok(default),
        _ => resolve(config, name),
    }
}

/// The tenant of a user in the password grant, which must be named
/// (<https://learn.microsoft.com/entra/identity-platform/v2-oauth-ropc>).
pub(super) fn of_password<'c>(config: &'c Config, name: &str) -> Result<&'c Tenant, ErrorAnswer> {
    match name {
        "common" => Err(errors::consumers()),
        _ => of_user(config, name),
    }
}

/// The tenant of an application: by id or by domain, in any case. The names for "any tenant" are for users only
/// (Microsoft's page on client credentials requires a specific one).
pub(super) fn resolve<'c>(config: &'c Config, name: &str) -> Result<&'c Tenant, ErrorAnswer> {
    match name {
        "common" | "organizations" => return Err(errors::tenant_missing()),
        "consumers" => return Err(errors::consumers()),
        _ => {}
    }
    let known = config.tenants.iter().find(|tenant| {
        let mut names = std::iter::once(&tenant.id).chain(&tenant.domains);
        names.any(|n| n.eq_ignore_ascii_case(name))
    });
    known.ok_or_else(|| {
        if is_guid(name) || is_domain(name) {
            errors::tenant_unknown(name)
        } else {
            errors::tenant_malformed(name)
        }
    })
}
