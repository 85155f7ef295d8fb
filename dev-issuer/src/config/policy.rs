//! Ways in which issuers differ, to choose from.

use serde::Deserialize;

use super::{Client, Config};

/// What `aud` of a client's assertion must be at the generic issuer. Real servers disagree (RFC 7523 section 3 against
/// its successor, draft-ietf-oauth-rfc7523bis).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AssertionAudience {
    /// The issuer alone.
    Issuer,
    /// The token endpoint alone.
    TokenEndpoint,
    /// One of them.
    #[default]
    Either,
}

/// What becomes of a refresh token when it is used at the generic issuer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RefreshPolicy {
    /// It stays, and the answer names no other (RFC 6749 section 6 allows that).
    Keep,
    /// The answer brings a new one and the old one stays good, as in Entra.
    Reissue,
    /// The answer brings a new one, and the old one ends.
    Rotate {
        /// For so many seconds the one just before may come again: its answer may have been lost.
        #[serde(default)]
        grace: u32,
    },
    /// The same without grace, and an old one that comes again is taken for stolen: all that followed from the same
    /// sign-in ends (RFC 9700 section 4.14.2).
    #[default]
    RotateWithReuseDetection,
}

impl Client {
    /// Chooses what becomes of its refresh tokens at the generic issuer.
    #[must_use]
    pub fn refresh_policy(mut self, policy: RefreshPolicy) -> Self {
        self.refresh_policy = Some(policy);
        self
    }

    /// Makes the generic issuer refuse requests of it that name no audience, as Auth0 does.
    #[must_use]
    pub fn wants_audience(mut self) -> Self {
        self.wants_audience = true;
        self
    }

    /// Makes the generic issuer say nothing about the life of its tokens, as Salesforce does.
    #[must_use]
    pub fn without_lifetime(mut self) -> Self {
        self.without_lifetime = true;
        self
    }

    /// Sets the API that its tokens of the generic issuer are for when a request names none.
    #[must_use]
    pub fn default_audience(mut self, audience: impl Into<String>) -> Self {
        self.default_audience = Some(audience.into());
        self
    }

    /// Forbids it a scope that the metadata lists, as Spring Authorization Server does with `openid` for device codes. If
    /// it is `offline_access`, every sign-in brings a refresh token.
    #[must_use]
    pub fn refused_scope(mut self, scope: impl Into<String>) -> Self {
        self.refused_scopes.push(scope.into());
        self
    }

    /// Makes its sign-ins offline sessions, as Keycloak before 26.4.12 has them: the access token of a refresh that names
    /// scopes without `offline_access` is of no use.
    #[must_use]
    pub fn offline_sessions(mut self) -> Self {
        self.offline_sessions = true;
        self
    }

    /// Lets its assertions name a user as `sub` (Google calls it domain-wide delegation).
    #[must_use]
    pub fn delegation(mut self) -> Self {
        self.delegation = true;
        self
    }
}

impl Config {
    pub(crate) fn refresh_policy_of(&self, client: &Client) -> RefreshPolicy {
        client.refresh_policy.unwrap_or(self.refresh_policy)
    }
}
