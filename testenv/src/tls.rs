//! Throw-away certificates for servers on loopback.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_RSA_SHA256, RsaKeySize,
};

use crate::Error;

/// A certificate authority that exists as long as this value; its key is never written to a file.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// The certificate of a TLS server and its key, in PEM.
pub struct ServerCertificate {
    /// The certificate, without its authority.
    pub certificate_pem: String,
    /// Its private key (PKCS #8).
    pub key_pem: String,
}

impl Authority {
    /// Creates a new authority; tools show its name.
    pub fn new(name: &str) -> Result<Self, Error> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pem = params.self_signed(&key)?.pem();
        Ok(Self {
            issuer: Issuer::new(params, key),
            pem,
        })
    }

    /// The authority's certificate, for clients that must trust it.
    pub fn ca_pem(&self) -> &str {
        &self.pem
    }

    /// A certificate for `127.0.0.1` and `localhost`.
    pub fn loopback_certificate(&self) -> Result<ServerCertificate, Error> {
        self.certificate_for(&["127.0.0.1", "localhost"])
    }

    /// A server certificate for these DNS names and IP addresses.
    pub fn certificate_for(&self, names: &[&str]) -> Result<ServerCertificate, Error> {
        let key = KeyPair::generate()?;
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names)?;
        params
            .distinguished_name
            .push(DnType::CommonName, "testenv server");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(ServerCertificate {
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        })
    }
}

/// A key pair with which an API server signs and verifies the tokens of service accounts.
pub(crate) struct SigningKey {
    pub(crate) private_pem: String,
    pub(crate) public_pem: String,
}

impl SigningKey {
    pub(crate) fn new() -> Result<Self, Error> {
        // RSA, like the installers of real clusters: issuers that accept a cluster's tokens often support no other type of key.
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?;
        Ok(Self {
            private_pem: key.serialize_pem(),
            public_pem: key.public_key_pem(),
        })
    }
}
