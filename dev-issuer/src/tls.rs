//! The certificate authority and the server certificate, created at each start.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::Error;
use crate::mtls::AnyCertificate;

/// The CA that clients must trust, and the certificate of the server.
pub(crate) struct Tls {
    pub(crate) ca_pem: String,
    pub(crate) server: Arc<ServerConfig>,
    /// The same with a request for the client's certificate.
    pub(crate) requests_certificate: Arc<ServerConfig>,
}

impl Tls {
    /// A CA and, signed by it, a certificate for the given names or addresses.
    pub(crate) fn generate(names: Vec<String>) -> Result<Self, Error> {
        let failed = |error: rcgen::Error| Error::crypto("a certificate", &error);

        let mut ca = CertificateParams::default();
        ca.distinguished_name = rcgen::DistinguishedName::new();
        ca.distinguished_name
            .push(DnType::CommonName, "dev-issuer CA (for trying out only)");
        ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().map_err(failed)?)
            .map_err(failed)?;

        let mut leaf = CertificateParams::new(names).map_err(failed)?;
        leaf.distinguished_name = rcgen::DistinguishedName::new();
        leaf.distinguished_name
            .push(DnType::CommonName, "dev-issuer");
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        // RFC 5280 section 4.2.1.1 requires it; strict clients (Python 3.13) refuse a certificate without it.
        leaf.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = leaf.signed_by(&key, &ca).map_err(failed)?;

        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let chain = vec![certificate.der().clone()];
        let server = |requests_certificate: bool| {
            let provider = Arc::new(aws_lc_rs::default_provider());
            let server = ServerConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()?;
            let server = if requests_certificate {
                server.with_client_cert_verifier(Arc::new(AnyCertificate::new()))
            } else {
                server.with_no_client_auth()
            };
            let mut server = server.with_single_cert(chain.clone(), key.clone_key())?;
            server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
            Ok(Arc::new(server))
        };
        let failed = |error: rustls::Error| Error::crypto("the TLS settings", &error);
        Ok(Self {
            ca_pem: ca.pem(),
            server: server(false).map_err(failed)?,
            requests_certificate: server(true).map_err(failed)?,
        })
    }
}
