//! Applications that may request tokens.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::graph::Credential;

use super::{Federated, RefreshPolicy, Secret, SubjectName, Tenant, TlsSubject};

/// An application that may request tokens.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a line of its own in a config file"
)]
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Client {
    /// The client ID. Entra's are GUIDs; here any text is possible.
    pub id: String,
    /// IDs of the tenants in which it is registered; all of them if empty.
    #[serde(default)]
    pub tenants: Vec<String>,
    /// Its secrets. Several may be valid at once, as in Entra.
    #[serde(default)]
    pub secrets: Vec<Secret>,
    /// Application roles granted, by name of the resource.
    #[serde(default)]
    pub roles: BTreeMap<String, Vec<String>>,
    /// Lifetime of its tokens in seconds.
    #[serde(default)]
    pub lifetime_seconds: Option<u64>,
    /// `refresh_in` of its answers.
    #[serde(default)]
    pub refresh_in_seconds: Option<u64>,
    /// Required content of its certificate (`tls_client_auth`); for the generic issuer.
    #[serde(default)]
    pub tls_subject: Option<TlsSubject>,
    /// Its certificates as PEM (`self_signed_tls_client_auth`); for the generic issuer.
    #[serde(default)]
    pub tls_certificates: Vec<String>,
    /// Whether it is a public client, which cannot keep a secret.
    #[serde(default)]
    pub public: bool,
    /// The addresses to which a sign-in may send the browser.
    #[serde(default)]
    pub redirect_uris: Vec<String>,
    /// Delegated permissions that `/.default` includes, by name of the resource.
    #[serde(default)]
    pub scopes: BTreeMap<String, Vec<String>>,
    /// Certificates (PEM) whose keys sign its assertions; for Entra.
    #[serde(default)]
    pub certificates: Vec<String>,
    /// Keys that sign its assertions; for the generic issuer.
    #[serde(default)]
    pub jwks: Option<serde_json::Value>,
    /// Tokens of other issuers that authenticate it.
    #[serde(default)]
    pub federated: Vec<Federated>,
    /// Whether it must name an audience. For the generic issuer.
    #[serde(default)]
    pub wants_audience: bool,
    /// Whether answers omit the lifetime of its tokens. For the generic issuer.
    #[serde(default)]
    pub without_lifetime: bool,
    /// Certificates that Entra accepts because of their subject.
    #[serde(default)]
    pub subject_names: Vec<SubjectName>,
    /// Whether the assertions that it signs as grants may name a user. For the generic issuer.
    #[serde(default)]
    pub delegation: bool,
    /// How its refresh tokens rotate; for the generic issuer.
    #[serde(default)]
    pub refresh_policy: Option<RefreshPolicy>,
    /// The API that its tokens are for when a request names none; for the generic issuer.
    #[serde(default)]
    pub default_audience: Option<String>,
    /// Scopes that it may not request, although the metadata lists them; for the generic issuer.
    #[serde(default)]
    pub refused_scopes: Vec<String>,
    /// Whether a refresh whose `scope` lacks `offline_access` counts as one of an online session, which ended long ago. Its
    /// access tokens are then refused. For the generic issuer.
    #[serde(default)]
    pub offline_sessions: bool,
    /// The account to which it belongs: it may use the grant `account_credentials`, as at Zoom. For the generic issuer.
    #[serde(default)]
    pub account_id: Option<String>,
    /// Its API key: a request with the key gets its tokens, as at IBM Cloud. For the generic issuer.
    #[serde(default)]
    pub api_key: Option<String>,
    /// The company and the SAML assertion, in Base64, for which it gets a token, as at SAP SuccessFactors. For the generic issuer.
    #[serde(default)]
    pub saml: Option<SamlAssertion>,
    /// Audience of a workload identity pool: a token exchange for it needs no client, as at Google's STS. For the generic
    /// issuer.
    #[serde(default)]
    pub workload_pool: Option<String>,
    /// Subjects that get tokens of this service account from Google's IAM Credentials API.
    #[serde(default)]
    pub impersonators: Vec<String>,
    /// Its installations, if it is a GitHub App.
    #[serde(default)]
    pub installations: Vec<Installation>,
    /// Ids of the applications that it owns: with `Application.ReadWrite.OwnedBy` it may change them through Graph.
    #[serde(default)]
    pub owns: Vec<String>,
    /// Credentials that were added through Graph.
    #[serde(skip)]
    pub(crate) added: Vec<Credential>,
    /// Credentials that were removed through Graph: IDs and times.
    #[serde(skip)]
    pub(crate) removed: Vec<(String, Instant)>,
}

/// The values that a client of SAP SuccessFactors sends instead of a credential.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SamlAssertion {
    /// The parameter `company_id`.
    pub company_id: String,
    /// In Base64.
    pub assertion: String,
}

/// An installation of a GitHub App.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Installation {
    /// Its number.
    pub id: u64,
    /// Granted permissions, with their levels: `read`, `write`, `admin`.
    #[serde(default)]
    pub permissions: BTreeMap<String, String>,
    /// Names of the repositories that it has access to.
    #[serde(default)]
    pub repositories: Vec<String>,
    /// Whether it is suspended.
    #[serde(default)]
    pub suspended: bool,
}

impl Client {
    /// A client without secrets or roles, registered in every tenant.
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
            scopes: BTreeMap::new(),
            certificates: Vec::new(),
            jwks: None,
            federated: Vec::new(),
            wants_audience: false,
            without_lifetime: false,
            subject_names: Vec::new(),
            delegation: false,
            refresh_policy: None,
            default_audience: None,
            refused_scopes: Vec::new(),
            offline_sessions: false,
            account_id: None,
            saml: None,
            workload_pool: None,
            impersonators: Vec::new(),
            api_key: None,
            installations: Vec::new(),
            owns: Vec::new(),
            added: Vec::new(),
            removed: Vec::new(),
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

    /// Makes it a public client, which cannot keep a secret.
    #[must_use]
    pub fn public(mut self) -> Self {
        self.public = true;
        self
    }

    /// Allows a sign-in to send the browser there. For `http://localhost` and `http://127.0.0.1` any port is allowed.
    #[must_use]
    pub fn redirect_uri(mut self, uri: impl Into<String>) -> Self {
        self.redirect_uris.push(uri.into());
        self
    }

    /// Adds a delegated permission of the named resource to those of `/.default`.
    #[must_use]
    pub fn scope(mut self, resource: &str, scope: &str) -> Self {
        let scopes = self.scopes.entry(resource.to_owned()).or_default();
        scopes.push(scope.to_owned());
        self
    }

    /// Sets the lifetime of its tokens, in whole seconds.
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

    /// Makes it an owner of an application.
    #[must_use]
    pub fn owns(mut self, client: impl Into<String>) -> Self {
        self.owns.push(client.into());
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
