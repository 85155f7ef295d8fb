//! What clients may sign with, and which other issuers' tokens count.

use serde::Deserialize;
use serde_json::Value;

use super::Client;
use crate::Error;
use crate::issuer::DevIssuer;

/// Another issuer whose tokens may prove a client, such as a Kubernetes cluster.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrustedIssuer {
    /// Its `iss`, letter by letter.
    pub issuer: String,
    /// Its JWK set, which the real services fetch.
    pub jwks: Value,
}

/// Whose token counts as this client's proof. Compared letter by letter, as Entra does.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Federated {
    /// `iss`.
    pub issuer: String,
    /// `sub`.
    pub subject: String,
    /// `aud`.
    pub audience: String,
}

impl Client {
    /// Registers a certificate (PEM) whose key signs assertions for Entra.
    #[must_use]
    pub fn certificate(mut self, pem: impl Into<String>) -> Self {
        self.certificates.push(pem.into());
        self
    }

    /// Registers a JWK set whose keys sign assertions for the generic issuer.
    #[must_use]
    pub fn jwks(mut self, jwks: Value) -> Self {
        self.jwks = Some(jwks);
        self
    }

    /// Lets a token of another issuer prove it.
    #[must_use]
    pub fn federated(
        mut self,
        issuer: impl Into<String>,
        subject: impl Into<String>,
        audience: impl Into<String>,
    ) -> Self {
        self.federated.push(Federated {
            issuer: issuer.into(),
            subject: subject.into(),
            audience: audience.into(),
        });
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
    pub fn silent_about_life(mut self) -> Self {
        self.silent_about_life = true;
        self
    }
}

impl DevIssuer {
    /// Takes tokens of another issuer into account, by its JWK set.
    pub fn trust_issuer(&self, issuer: &str, jwks: &str) -> Result<(), Error> {
        let jwks = serde_json::from_str(jwks)
            .map_err(|_| Error::config("trusted.jwks", "is not a JWK set"))?;
        let mut config = self.shared.config_mut();
        config.trusted.retain(|t| t.issuer != issuer);
        config.trusted.push(TrustedIssuer {
            issuer: issuer.to_owned(),
            jwks,
        });
        Ok(())
    }
}
