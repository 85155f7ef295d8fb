//! Settings and observations of tests.

use std::time::Duration;

use jiff::SignedDuration;
use serde::Deserialize;

use super::credentials::{CredentialRecord, View};
use super::object_id;
use crate::issuer::DevIssuer;

/// What an app management policy of the tenant forbids. Only additions are refused; existing credentials stay valid.
/// <https://learn.microsoft.com/graph/api/resources/applicationauthenticationmethodpolicy>
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum AppPolicy {
    /// No new secrets.
    PasswordAddition,
    /// No new secret may be valid for longer.
    PasswordLifetime(SignedDuration),
    /// No new certificate may be valid for longer.
    AsymmetricKeyLifetime(SignedDuration),
    /// No new certificate that is its own issuer. Microsoft's policy names the authorities; here any is trusted.
    TrustedCertificateAuthority,
}

/// How long a change is present only at the first of two replicas. They answer in turn, the first one first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplicaLag {
    /// When the application is read, and for proofs and removals.
    pub reads: Duration,
    /// At the token endpoint.
    pub tokens: Duration,
}

/// The settings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub(super) policies: Vec<AppPolicy>,
    pub(super) write_gap: Duration,
    pub(super) names_new_keys: bool,
}

impl DevIssuer {
    /// Object id of a client's application.
    pub fn object_id(&self, client: &str) -> String {
        object_id(client)
    }

    /// Replaces the app management policies of the tenant.
    pub fn set_app_policies(&self, policies: Vec<AppPolicy>) {
        self.shared
            .change_graph(|settings| settings.policies = policies);
    }

    /// Lets the second replica lag; the next answer comes from the first.
    pub fn set_replica_lag(&self, lag: ReplicaLag) {
        self.shared.replicas.set(lag);
    }

    /// Both replicas get everything that has happened until now.
    pub fn replicas_catch_up(&self) {
        self.shared.replicas.catch_up();
    }

    /// Refuses a write to an application with `Directory_ConcurrencyViolation` if the one before it was less than this ago.
    pub fn set_write_gap(&self, gap: Duration) {
        self.shared
            .change_graph(|settings| settings.write_gap = gap);
    }

    /// Whether the answer to `addKey` has the members of the new credential. The documented example shows none, so this is off at first.
    pub fn name_new_keys(&self, names: bool) {
        self.shared
            .change_graph(|settings| settings.names_new_keys = names);
    }

    /// The credentials of a client, whatever the replicas have.
    pub fn credentials_of(&self, client: &str) -> Vec<CredentialRecord> {
        let config = self.shared.config();
        let known = config.client(client);
        let all = known.map(|client| client.credentials(&View::now()));
        all.into_iter().flatten().map(|c| c.record()).collect()
    }
}
