//! The API of a token for a user, and its permissions there.
//! <https://learn.microsoft.com/entra/identity-platform/scopes-oidc>

use super::Version;
use super::errors::{self, ErrorAnswer};
use crate::config::{Client, Config, Resource};
use crate::form::Form;
use crate::users::User;

/// A parsed scope.
pub(super) struct UserScope<'c> {
    pub(super) resource: &'c Resource,
    /// The API as the client wrote it.
    pub(super) name: String,
    /// Delegated permissions by name; `.default` includes all earlier grants of the client.
    permissions: Vec<String>,
    pub(super) openid: bool,
    pub(super) offline_access: bool,
}

/// Scopes that are for the sign-in itself and for no API.
const OPENID: [&str; 4] = ["openid", "profile", "email", "offline_access"];
const DEFAULT: &str = ".default";
/// A scope without an API is one of Microsoft Graph.
const GRAPH: &str = "https://graph.microsoft.com";

/// Reads it. If it names several APIs, the token is for the first.
pub(super) fn read<'c>(config: &'c Config, scope: &str) -> Result<UserScope<'c>, String> {
    let parts: Vec<&str> = scope.split(' ').filter(|part| !part.is_empty()).collect();
    let mut found: Option<UserScope<'c>> = None;
    for part in parts.iter().filter(|part| !OPENID.contains(part)) {
        let (name, permission) = part.rsplit_once('/').unwrap_or((GRAPH, part));
        let resource = config.resource_called(name).ok_or_else(|| {
            format!("AADSTS500011: The resource principal named {name} was not found.")
        })?;
        if permission != DEFAULT && !resource.scopes.iter().any(|s| s == permission) {
            return Err(format!(
                "AADSTS650053: The application asked for scope '{permission}' that doesn't exist on the resource \
                 '{name}'."
            ));
        }
        let first = found.get_or_insert_with(|| UserScope {
            resource,
            name: name.to_owned(),
            permissions: Vec::new(),
            openid: parts.contains(&"openid"),
            offline_access: parts.contains(&"offline_access"),
        });
        if first.resource.name == resource.name {
            first.permissions.push(permission.to_owned());
        }
    }
    found.ok_or_else(|| {
        format!("AADSTS70011: The provided value for the input parameter 'scope' is not valid. '{scope}' names no API.")
    })
}

/// The requested scope without a page: `scope` at v2. At v1 it is `resource`, for all permissions of the client there, and
/// a refresh token is always included.
pub(super) fn from_form(form: &Form, version: Version) -> Result<String, ErrorAnswer> {
    let required = |name: &'static str| form.get(name).ok_or_else(|| errors::missing(name));
    match version {
        Version::V1 => Ok(format!("{}/.default offline_access", required("resource")?)),
        Version::V2 if form.get("resource").is_some() => Err(errors::resource_on_v2()),
        Version::V2 => required("scope").map(str::to_owned),
    }
}

/// The error that prevents a sign-in.
pub(crate) fn check_user_scope(config: &Config, scope: Option<&str>) -> Result<(), String> {
    let scope = scope.ok_or("AADSTS900144: The request must contain the parameter 'scope'.")?;
    read(config, scope).map(|_| ())
}

impl UserScope<'_> {
    /// The permissions that an administrator or this user granted to the client there.
    fn given<'s>(&'s self, client: &'s Client, user: &'s User) -> impl Iterator<Item = &'s String> {
        let of_client = client.scopes.get(&self.resource.name);
        let of_user = user.scopes.get(&self.resource.name);
        of_client.into_iter().chain(of_user).flatten()
    }

    /// Whether all of it was consented to before: in general, or by an earlier scope of the same user.
    pub(super) fn is_agreed(&self, client: &Client, user: &User, earlier: &str) -> bool {
        let mut permissions = self.permissions.iter();
        permissions.all(|permission| {
            permission == DEFAULT
                || self.given(client, user).any(|given| given == permission)
                || self.is_in(permission, earlier)
        })
    }

    fn is_in(&self, permission: &str, scope: &str) -> bool {
        let mut parts = scope.split(' ');
        parts.any(|part| {
            let (name, named) = part.rsplit_once('/').unwrap_or((GRAPH, part));
            named == permission && self.resource.is_called(name)
        })
    }

    /// The permissions of the token, sorted, each once.
    pub(super) fn scp(&self, client: &Client, user: &User) -> Vec<String> {
        let mut all = Vec::new();
        for permission in &self.permissions {
            if permission == DEFAULT {
                all.extend(self.given(client, user).cloned());
            } else {
                all.push(permission.clone());
            }
        }
        all.sort();
        all.dedup();
        all
    }

    /// `scope` of the answer: the permissions with the API before them, then the scopes of the sign-in.
    pub(super) fn granted(&self, scp: &[String], requested: &str) -> String {
        let permissions = scp.iter().map(|p| format!("{}/{p}", self.name));
        let others = requested.split(' ').filter(|part| OPENID.contains(part));
        let all: Vec<String> = permissions.chain(others.map(str::to_owned)).collect();
        all.join(" ")
    }
}
