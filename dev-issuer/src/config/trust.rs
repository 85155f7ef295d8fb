//! Keys with which clients may sign, and other issuers whose tokens are accepted.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use serde_json::Value;

use super::{Client, TlsSubject};
use crate::Error;
use crate::assertion::{Certificate, usable_keys};
use crate::issuer::DevIssuer;

/// Another issuer whose tokens may authenticate a client, such as a Kubernetes cluster.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrustedIssuer {
    /// Its `iss`, compared exactly.
    pub issuer: String,
    /// Its JWK set, which the real services fetch.
    pub jwks: Value,
}

/// The token that authenticates this client. Compared exactly, as Entra does.
/// <https://learn.microsoft.com/entra/workload-id/workload-identity-federation-create-trust>
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

/// Certificates that Entra accepts because of their subject, if this authority signed them and the assertion
/// contains them ("subject name and issuer").
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SubjectName {
    /// The required content of the certificate.
    pub subject: TlsSubject,
    /// The authority's certificate as PEM.
    pub authority: String,
}

impl Client {
    /// Registers a certificate (PEM) whose key signs assertions for Entra.
    #[must_use]
    pub fn certificate(mut self, pem: impl Into<String>) -> Self {
        self.certificates.push(pem.into());
        self
    }

    /// The same with the certificate as DER.
    #[must_use]
    pub fn certificate_der(self, der: &[u8]) -> Self {
        self.certificate(Certificate::pem_of(der))
    }

    /// Allows it to sign assertions for Entra with any certificate of this subject that the authority (PEM) signed.
    #[must_use]
    pub fn subject_name(
        mut self,
        subject: impl Into<TlsSubject>,
        authority: impl Into<String>,
    ) -> Self {
        self.subject_names.push(SubjectName {
            subject: subject.into(),
            authority: authority.into(),
        });
        self
    }

    /// Registers a JWK set whose keys sign assertions for the generic issuer.
    #[must_use]
    pub fn jwks(mut self, jwks: Value) -> Self {
        self.jwks = Some(jwks);
        self
    }

    /// Allows a token of another issuer to authenticate it.
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
}

impl DevIssuer {
    /// Accepts tokens of another issuer, with its JWK set.
    pub fn trust_issuer(&self, issuer: &str, jwks: &str) -> Result<(), Error> {
        let jwks = serde_json::from_str(jwks)
            .map_err(|_| Error::config("trusted.jwks", "is not a JWK set"))?;
        let issuer = issuer.to_owned();
        let trusted = TrustedIssuer { issuer, jwks };
        trusted.check("trusted")?;
        let mut config = self.shared.config_mut();
        config.trusted.retain(|t| t.issuer != trusted.issuer);
        config.trusted.push(trusted);
        Ok(())
    }

    /// Removes an issuer: Entra then reports that it cannot reach it.
    pub fn distrust_issuer(&self, issuer: &str) {
        let mut config = self.shared.config_mut();
        config.trusted.retain(|t| t.issuer != issuer);
    }
}

impl TrustedIssuer {
    pub(crate) fn check(&self, at: &str) -> Result<(), Error> {
        if self.issuer.is_empty() {
            return Err(Error::config(format!("{at}.issuer"), "must not be empty"));
        }
        check_jwks(&format!("{at}.jwks"), &self.jwks)
    }
}

fn check_jwks(at: &str, jwks: &Value) -> Result<(), Error> {
    if usable_keys(jwks) > 0 {
        return Ok(());
    }
    let message = "must be a JWK set with an RSA or P-256 key that signs";
    Err(Error::config(at, message))
}

/// The bounds of Microsoft's page on federated credentials.
const LONGEST: usize = 600;

pub(super) fn check_client(at: &str, client: &Client) -> Result<(), Error> {
    let bad = |pem: &String| Certificate::read(pem).is_none();
    if let Some(i) = client.certificates.iter().position(bad) {
        let field = format!("{at}.certificates[{i}]");
        return Err(Error::config(field, "must be an RSA certificate as PEM"));
    }
    for (i, name) in client.subject_names.iter().enumerate() {
        let at = format!("{at}.subjectNames[{i}]");
        super::mtls::check_subject(&format!("{at}.subject"), &name.subject)?;
        if CertificateDer::from_pem_slice(name.authority.as_bytes()).is_err() {
            let message = "must be a certificate as PEM";
            return Err(Error::config(format!("{at}.authority"), message));
        }
    }
    for (i, federated) in client.federated.iter().enumerate() {
        let texts = [
            ("issuer", &federated.issuer),
            ("subject", &federated.subject),
            ("audience", &federated.audience),
        ];
        let bad = |(_, text): &(&str, &String)| text.is_empty() || text.chars().count() > LONGEST;
        if let Some((name, _)) = texts.into_iter().find(bad) {
            let field = format!("{at}.federated[{i}].{name}");
            return Err(Error::config(field, "must have 1 to 600 characters"));
        }
    }
    match &client.jwks {
        Some(jwks) => check_jwks(&format!("{at}.jwks"), jwks),
        None => Ok(()),
    }
}
