//! Who exists here: tenants, clients, resources. What a config file may say is exactly these types.

mod defaults;
mod identity;
mod load;
mod mtls;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

pub use identity::{AppService, AzureArc, IdentityEndpoints, ManagedIdentity};
pub use mtls::{Mtls, TlsSubject};

/// The whole setting of an issuer. What a file leaves out is as in [`Config::default`].
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Config {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Host name in the URLs that are published; the listening address if left out.
    pub host: Option<String>,
    /// The directories. The first is the default one.
    pub tenants: Vec<Tenant>,
    /// Life of a token in seconds, where the client says nothing else.
    pub lifetime_seconds: u64,
    /// `refresh_in` of answers, where the client says nothing else; not sent if left out.
    pub refresh_in_seconds: Option<u64>,
    /// How far the protected API lets clocks differ.
    pub leeway_seconds: u64,
    /// The APIs that tokens are for.
    pub resources: Vec<Resource>,
    /// The applications that may ask for tokens.
    pub clients: Vec<Client>,
    /// Scopes that the generic issuer knows; every scope is granted if this is empty.
    pub generic_scopes: Vec<String>,
    /// Where tokens of managed identities are handed out; nowhere by default.
    pub identity: IdentityEndpoints,
    /// The managed identities of the machine behind those endpoints; none by default.
    pub managed_identities: Vec<ManagedIdentity>,
    /// The listener for clients with certificates; off by default.
    pub mtls: Option<Mtls>,
}

/// A directory: its id and the domain names that mean the same.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tenant {
    /// The tenant id, a GUID.
    pub id: String,
    /// Verified domains.
    #[serde(default)]
    pub domains: Vec<String>,
}

/// An application that may ask for tokens.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Client {
    /// The client id. Entra's are GUIDs; here any text does.
    pub id: String,
    /// Ids of the tenants that know it; all of them if empty.
    #[serde(default)]
    pub tenants: Vec<String>,
    /// Its secrets. Several may be valid at once, as in Entra.
    #[serde(default)]
    pub secrets: Vec<Secret>,
    /// Application roles granted, by name of the resource.
    #[serde(default)]
    pub roles: BTreeMap<String, Vec<String>>,
    /// Life of its tokens in seconds.
    #[serde(default)]
    pub lifetime_seconds: Option<u64>,
    /// `refresh_in` of its answers.
    #[serde(default)]
    pub refresh_in_seconds: Option<u64>,
    /// What must stand in its certificate (`tls_client_auth`); for the generic issuer.
    #[serde(default)]
    pub tls_subject: Option<TlsSubject>,
    /// Its certificates as PEM (`self_signed_tls_client_auth`); for the generic issuer.
    #[serde(default)]
    pub tls_certificates: Vec<String>,
    /// Whether it is a program on people's machines, which cannot keep a secret.
    #[serde(default)]
    pub public: bool,
    /// Where a sign-in may send the browser.
    #[serde(default)]
    pub redirect_uris: Vec<String>,
}

/// A client secret. Its value is never shown.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Secret {
    value: String,
    #[serde(default)]
    expires: Option<Timestamp>,
}

/// An API that tokens are for.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Resource {
    /// Its name in `/api/{name}/…` and in the roles of clients.
    pub name: String,
    /// Its application id, a GUID: the audience of v2 tokens.
    pub app_id: String,
    /// Its App ID URIs.
    #[serde(default)]
    pub uris: Vec<String>,
    /// `accessTokenAcceptedVersion`: it decides the form of the token, the endpoint does not.
    #[serde(default = "Resource::version_if_unset")]
    pub access_token_accepted_version: u8,
    /// The application roles it defines.
    #[serde(default)]
    pub roles: Vec<String>,
    /// What it serves.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// Keys that it takes as `Authorization: Token <key>`, beside tokens.
    #[serde(default)]
    pub static_keys: Vec<Secret>,
}

/// One part of a protected API.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Route {
    /// Path below `/api/{name}`; everything below it belongs to it.
    pub path: String,
    /// The token must carry one of these; any valid token will do if empty.
    #[serde(default)]
    pub roles: Vec<String>,
}

impl Secret {
    /// A secret that does not expire.
    pub fn new(value: impl Into<String>) -> Self {
        Self {
            value: value.into(),
            expires: None,
        }
    }

    /// The same secret with an end.
    #[must_use]
    pub fn expiring(mut self, at: Timestamp) -> Self {
        self.expires = Some(at);
        self
    }

    pub(crate) fn value(&self) -> &str {
        &self.value
    }

    /// Whether this is the value, in the same time whatever is wrong with it.
    pub(crate) fn is(&self, value: &[u8]) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(self.value.as_bytes(), value).is_ok()
    }

    pub(crate) fn is_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|end| end <= now)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret")
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A client without secrets or roles, known to every tenant.
    pub fn new(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            tenants: Vec::new(),
            secrets: Vec::new(),
            roles: BTreeMap::new(),
            lifetime_seconds: None,
            refresh_in_seconds: None,
            tls_subject: None,
            tls_certificates: Vec::new(),
            public: false,
            redirect_uris: Vec::new(),
        }
    }

    /// Adds a secret that does not expire.
    #[must_use]
    pub fn secret(mut self, value: impl Into<String>) -> Self {
        self.secrets.push(Secret::new(value));
        self
    }

    /// Grants an application role of the named resource.
    #[must_use]
    pub fn role(mut self, resource: &str, role: &str) -> Self {
        self.roles
            .entry(resource.to_owned())
            .or_default()
            .push(role.to_owned());
        self
    }

    /// Sets the life of its tokens, in whole seconds.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime_seconds = Some(lifetime.as_secs());
        self
    }

    /// Sets the `refresh_in` of its answers, in whole seconds.
    #[must_use]
    pub fn refresh_in(mut self, after: Duration) -> Self {
        self.refresh_in_seconds = Some(after.as_secs());
        self
    }

    pub(crate) fn is_in(&self, tenant: &Tenant) -> bool {
        self.tenants.is_empty()
            || self
                .tenants
                .iter()
                .any(|id| id.eq_ignore_ascii_case(&tenant.id))
    }
}

impl Resource {
    /// Entra reads an unset `accessTokenAcceptedVersion` as 1.
    fn version_if_unset() -> u8 {
        1
    }

    /// Whether a scope or `resource` value names this API: by its application id or an App ID URI. URIs may
    /// be written with a trailing slash, which a v1 token then carries in `aud` too.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        self.app_id.eq_ignore_ascii_case(name)
            || self
                .uris
                .iter()
                .any(|uri| uri == name || name.strip_suffix('/') == Some(uri))
    }

    /// All `aud` values that this API takes for itself.
    pub(crate) fn audiences(&self) -> Vec<String> {
        let uris = self.uris.iter().flat_map(|u| [u.clone(), format!("{u}/")]);
        std::iter::once(self.app_id.clone()).chain(uris).collect()
    }

    /// The route that serves a path: the longest that holds it.
    pub(crate) fn route_for(&self, path: &str) -> Option<&Route> {
        let path = path.trim_matches('/');
        self.routes
            .iter()
            .filter(|route| {
                let prefix = route.path.trim_matches('/');
                let rest = path.strip_prefix(prefix);
                rest.is_some_and(|r| prefix.is_empty() || r.is_empty() || r.starts_with('/'))
            })
            .max_by_key(|route| route.path.len())
    }
}

impl Config {
    pub(crate) fn client(&self, id: &str) -> Option<&Client> {
        self.clients.iter().find(|client| client.id == id)
    }

    pub(crate) fn resource_called(&self, name: &str) -> Option<&Resource> {
        self.resources.iter().find(|r| r.is_called(name))
    }

    /// All secrets of all kinds, so that none of them is ever recorded.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &Secret> {
        let clients = self.clients.iter().flat_map(|client| &client.secrets);
        let header = self.identity.app_service.iter().map(|app| &app.header);
        let keys = self.resources.iter().flat_map(|r| &r.static_keys);
        clients.chain(header).chain(keys)
    }

    pub(crate) fn lifetime_of(&self, client: &Client) -> u64 {
        client.lifetime_seconds.unwrap_or(self.lifetime_seconds)
    }

    pub(crate) fn refresh_in_of(&self, client: &Client) -> Option<u64> {
        client.refresh_in_seconds.or(self.refresh_in_seconds)
    }
}
