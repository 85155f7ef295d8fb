//! Differences between issuers, as settings.

use serde::Deserialize;

use super::{Client, Config};

/// The required `aud` of a client's assertion at the generic issuer. Real servers disagree (RFC 7523 section 3 against
/// its successor, draft-ietf-oauth-rfc7523bis).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AssertionAudience {
    /// Only the issuer.
    Issuer,
    /// Only the token endpoint.
    TokenEndpoint,
    /// One of them.
    #[default]
    Either,
}

/// The effect of the use of a refresh token at the generic issuer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RefreshPolicy {
    /// It stays valid, and the answer contains no other one (RFC 6749 section 6 allows that).
    Keep,
    /// The answer contains a new one and the old one stays valid, as in Entra.
    Reissue,
    /// The answer contains a new one, and the old one is not valid any more.
    Rotate {
        /// For this many seconds the previous one may be sent again: its answer may have been lost.
        #[serde(default)]
        grace: u32,
    },
    /// The same without a grace period. If an old one is sent again, it counts as stolen: all tokens that followed from the same
    /// sign-in are revoked (RFC 9700 section 4.14.2).
    #[default]
    RotateWithReuseDetection,
}

impl Client {
    /// Selects how its refresh tokens rotate at the generic issuer.
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

    /// Makes the generic issuer omit the lifetime of its tokens, as Salesforce does.
    #[must_use]
    pub fn without_lifetime(mut self) -> Self {
        self.without_lifetime = true;
        self
    }

    /// Sets the API of its tokens of the generic issuer, for requests that name none.
    #[must_use]
    pub fn default_audience(mut self, audience: impl Into<String>) -> Self {
        self.default_audience = Some(audience.into());
        self
    }

    /// Refuses it a scope that the metadata lists, as Spring Authorization Server does with `openid` for device codes. If
    /// it is `offline_access`, every sign-in returns a refresh token.
    #[must_use]
    pub fn refused_scope(mut self, scope: impl Into<String>) -> Self {
        self.refused_scopes.push(scope.into());
        self
    }

    /// Makes its sign-ins offline sessions, as in Keycloak before 26.4.12: the access token of a refresh with
    /// scopes without `offline_access` is not usable.
    #[must_use]
    pub fn offline_sessions(mut self) -> Self {
        self.offline_sessions = true;
        self
    }

    /// Allows its assertions to name a user as `sub` (Google calls it domain-wide delegation).
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
