//! The TLS settings of one issuer: trusted CAs, the client certificate, and what was observed in handshakes.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use rustls::{
    ClientConfig, DigitallySignedStruct, Error, NamedGroup, RootCertStore, SignatureScheme,
    client::{
        ClientSessionMemoryCache, ClientSessionStore, ResolvesClientCert, Resumption,
        Tls12ClientSessionValue, Tls13ClientSessionValue, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime},
    sign::CertifiedKey,
};

use crate::{
    environment,
    oauth::{
        bundle,
        chain::{CertificateSummary, Refused, Shown},
        pem,
    },
};

/// Servers of one issuer whose sessions are cached for resumption.
const SESSIONS: usize = 32;

/// Events in the handshakes of one client. Several handshakes may run at the same time, so these are counts.
#[derive(Debug, Default)]
pub(super) struct Seen {
    begun: AtomicUsize,
    certificate_requested: AtomicUsize,
    unfit: AtomicUsize,
}

/// The counts.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Count {
    /// A handshake began, so there was a TCP connection.
    pub(super) begun: usize,
    /// The server requested a client certificate.
    pub(super) certificate_requested: usize,
    /// The server requested one, and accepts no signature that the client's key can make.
    pub(super) unfit: usize,
}

impl Seen {
    pub(super) fn count(&self) -> Count {
        Count {
            begun: self.begun.load(Relaxed),
            certificate_requested: self.certificate_requested.load(Relaxed),
            unfit: self.unfit.load(Relaxed),
        }
    }
}

impl Count {
    pub(super) const fn since(self, before: Self) -> Self {
        Self {
            begun: self.begun.wrapping_sub(before.begun),
            certificate_requested: self
                .certificate_requested
                .wrapping_sub(before.certificate_requested),
            unfit: self.unfit.wrapping_sub(before.unfit),
        }
    }
}

/// A certificate chain and its key for the handshake, from the PEM of a [`TlsIdentity`](super::TlsIdentity).
pub(super) fn certified(text: &str) -> Option<CertifiedKey> {
    let blocks = pem::blocks(text);
    let chain: Vec<CertificateDer<'static>> = blocks
        .iter()
        .filter(|b| b.is_certificate())
        .filter_map(|b| Some(CertificateDer::from(b.der()?.to_vec())))
        .collect();
    let der = blocks.iter().find(|b| b.is_key())?.der()?;
    // `keys` wrote the key, and knows its encoding.
    let key = PrivateKeyDer::try_from(der).ok()?;
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).ok()?;
    (!chain.is_empty()).then(|| CertifiedKey::new(chain, key))
}

/// The trusted CAs: the system's, those that an administrator set for the operator, and those of `caBundle`. The last ones are also
/// returned separately, for messages.
///
/// # Errors
/// A defect of `caBundle`, or that there is no CA at all.
pub(super) fn roots(
    ca_bundle: Option<&str>,
    cas: &[CertificateDer<'static>],
) -> Result<(RootCertStore, Option<Vec<CertificateSummary>>), String> {
    let mut roots = RootCertStore::empty();
    let mut anchors = None;
    if let Some(text) = ca_bundle {
        let own = bundle::roots(text)?;
        anchors = Some(
            own.iter()
                .filter_map(|der| CertificateSummary::of(der))
                .collect(),
        );
        roots.add_parsable_certificates(own);
    }
    roots.add_parsable_certificates(cas.iter().cloned());
    roots.add_parsable_certificates(environment::cas());
    if roots.is_empty() {
        return Err(
            "the operator's machine has no CA certificates and caBundle is not set; set caBundle, or install the system's CAs (ca-certificates, SSL_CERT_FILE)"
                .to_owned(),
        );
    }
    Ok((roots, anchors))
}

/// The settings for these roots. `anchors` are the roots from `caBundle`, for messages.
///
/// # Errors
/// An error of rustls; usually because there are no roots.
pub(super) fn config(
    roots: RootCertStore,
    anchors: Option<Vec<CertificateSummary>>,
    identity: Option<CertifiedKey>,
    seen: &Arc<Seen>,
) -> Result<ClientConfig, Box<dyn std::error::Error + Send + Sync>> {
    let provider = CryptoProvider::get_default().map_or_else(
        || Arc::new(rustls::crypto::aws_lc_rs::default_provider()),
        Arc::clone,
    );
    let real = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier { real, anchors }))
        .with_client_cert_resolver(Arc::new(Shows {
            identity: identity.map(Arc::new),
            seen: Arc::clone(seen),
        }));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.resumption = Resumption::store(Arc::new(Sessions {
        real: ClientSessionMemoryCache::new(SESSIONS),
        seen: Arc::clone(seen),
    }));
    Ok(config)
}

/// Leaves every decision to rustls, and adds the rejected certificates to an error: rustls's error does not name
/// them.
#[derive(Debug)]
struct Verifier {
    real: Arc<WebPkiServerVerifier>,
    anchors: Option<Vec<CertificateSummary>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.real.verify_server_cert(leaf, above, name, ocsp, now);
        verified.map_err(|error| match error {
            Error::InvalidCertificate(cause) => Refused {
                cause,
                shown: Shown::new(leaf, above, self.anchors.as_deref()),
            }
            .into_error(),
            other => other,
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.real.verify_tls12_signature(message, leaf, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.real.verify_tls13_signature(message, leaf, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.real.supported_verify_schemes()
    }
}

/// Sends the client's certificate, if there is one, and counts requests for one.
#[derive(Debug)]
struct Shows {
    identity: Option<Arc<CertifiedKey>>,
    seen: Arc<Seen>,
}

impl ResolvesClientCert for Shows {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.seen.certificate_requested.fetch_add(1, Relaxed);
        let identity = self.identity.as_ref()?;
        if identity.key.choose_scheme(schemes).is_none() {
            self.seen.unfit.fetch_add(1, Relaxed);
        }
        Some(Arc::clone(identity))
    }

    fn has_certs(&self) -> bool {
        self.identity.is_some()
    }
}

/// Stores sessions like rustls, and counts handshakes: rustls requests a hint for one at the start of each handshake, when the TCP
/// connection is open. Nothing else distinguishes a silent network from a silent server.
#[derive(Debug)]
struct Sessions {
    real: ClientSessionMemoryCache,
    seen: Arc<Seen>,
}

impl ClientSessionStore for Sessions {
    fn set_kx_hint(&self, name: ServerName<'static>, group: NamedGroup) {
        self.real.set_kx_hint(name, group);
    }

    fn kx_hint(&self, name: &ServerName<'_>) -> Option<NamedGroup> {
        self.seen.begun.fetch_add(1, Relaxed);
        self.real.kx_hint(name)
    }

    fn set_tls12_session(&self, name: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.real.set_tls12_session(name, value);
    }

    fn tls12_session(&self, name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.real.tls12_session(name)
    }

    fn remove_tls12_session(&self, name: &ServerName<'static>) {
        self.real.remove_tls12_session(name);
    }

    fn insert_tls13_ticket(&self, name: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.real.insert_tls13_ticket(name, value);
    }

    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.real.take_tls13_ticket(name)
    }
}
