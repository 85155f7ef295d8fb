//! The content of the issuer: tenants, clients, resources. A config file has exactly these types.

mod check;
mod client;
mod cloud;
mod defaults;
mod identity;
mod load;
mod mtls;
mod policy;
mod resource;
mod trust;

use std::fmt;
use std::net::SocketAddr;

use jiff::Timestamp;
use serde::Deserialize;

pub use client::{Client, Installation, SamlAssertion};
pub use cloud::Cloud;
pub use identity::{AppService, AzureArc, IdentityEndpoints, ManagedIdentity};
pub use mtls::{Mtls, TlsSubject};
pub use policy::{AssertionAudience, RefreshPolicy};
pub use resource::{Resource, Route};
pub use trust::{Federated, SubjectName, TrustedIssuer};

use crate::graph::CredentialValue;
use crate::users::User;

/// All settings of an issuer. A setting that is not in the file is as in [`Config::default`].
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Config {
    /// The national cloud to which the issuer belongs; `Public` if not set.
    pub cloud: Cloud,
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Host name in the URLs that are published; the listening address if not set.
    pub host: Option<String>,
    /// The directories. The first is the default one.
    pub tenants: Vec<Tenant>,
    /// Lifetime of a token in seconds, if the client does not set it.
    pub lifetime_seconds: u64,
    /// `refresh_in` of answers, if the client does not set it; not sent if not set.
    pub refresh_in_seconds: Option<u64>,
    /// The clock difference that the protected API accepts.
    pub leeway_seconds: u64,
    /// The APIs that tokens are for.
    pub resources: Vec<Resource>,
    /// The applications that may request tokens.
    pub clients: Vec<Client>,
    /// Scopes of the generic issuer; every scope is granted if this is empty.
    pub generic_scopes: Vec<String>,
    /// Endpoints that return tokens of managed identities; none by default.
    pub identity: IdentityEndpoints,
    /// The managed identities of the machine behind those endpoints; none by default.
    pub managed_identities: Vec<ManagedIdentity>,
    /// The listener for clients with certificates; off by default.
    pub mtls: Option<Mtls>,
    /// The users who may sign in.
    pub users: Vec<User>,
    /// Other issuers whose tokens may authenticate clients.
    pub trusted: Vec<TrustedIssuer>,
    /// Name of the user who allows every sign-in at once, without a page.
    pub auto_approve: Option<String>,
    /// Pause between two polls for a device code.
    pub device_interval_seconds: u64,
    /// Lifetime of a device code.
    pub device_lifetime_seconds: u64,
    /// The required `aud` of a client's assertion at the generic issuer.
    pub assertion_audience: AssertionAudience,
    /// How refresh tokens rotate at the generic issuer, if the client does not set it.
    pub refresh_policy: RefreshPolicy,
}

/// A directory: its ID, and the domain names with the same meaning.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tenant {
    /// The tenant id, a GUID.
    pub id: String,
    /// Verified domains.
    #[serde(default)]
    pub domains: Vec<String>,
}

/// A client secret. Its value is never shown.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Secret {
    value: String,
    #[serde(default)]
    expires: Option<Timestamp>,
}

impl Secret {
    /// A secret that does not expire.
    pub fn new(value: impl Into<String>) -> Self {
        Self {
            value: value.into(),
            expires: None,
        }
    }

    /// The same secret with an expiry.
    #[must_use]
    pub fn expiring(mut self, at: Timestamp) -> Self {
        self.expires = Some(at);
        self
    }

    pub(crate) fn value(&self) -> &str {
        &self.value
    }

    pub(crate) fn end(&self) -> Option<Timestamp> {
        self.expires
    }

    /// Whether this is the value. The comparison takes the same time for every wrong value.
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

impl Config {
    pub(crate) fn client(&self, id: &str) -> Option<&Client> {
        self.clients.iter().find(|client| client.id == id)
    }

    pub(crate) fn resource_called(&self, name: &str) -> Option<&Resource> {
        let mut own = self.resources.iter();
        let exchange = || Some(self.exchange()).filter(|r| r.is_called(name));
        own.find(|r| r.is_called(name)).or_else(exchange)
    }

    /// All secrets of all kinds, so that none of them is ever recorded.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &Secret> {
        let clients = self.clients.iter().flat_map(|client| &client.secrets);
        let header = self.identity.app_service.iter().map(|app| &app.header);
        let keys = self.resources.iter().flat_map(|r| &r.static_keys);
        let passwords = self.users.iter().map(|user| &user.password);
        let added = self.clients.iter().flat_map(|client| &client.added);
        let added = added.filter_map(|c| match &c.value {
            CredentialValue::Secret(secret) => Some(secret),
            CredentialValue::Certificate(_) => None,
        });
        clients
            .chain(header)
            .chain(keys)
            .chain(passwords)
            .chain(added)
    }

    pub(crate) fn lifetime_of(&self, client: &Client) -> u64 {
        client.lifetime_seconds.unwrap_or(self.lifetime_seconds)
    }

    pub(crate) fn refresh_in_of(&self, client: &Client) -> Option<u64> {
        client.refresh_in_seconds.or(self.refresh_in_seconds)
    }
}
