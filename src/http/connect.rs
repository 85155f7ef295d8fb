//! Clients: how a connection to an issuer is opened, directly or through the proxy, and with which TLS settings.

use std::{sync::Arc, time::Duration};

use ipnet::IpNet;
use reqwest::{
    Client, ClientBuilder,
    header::{ACCEPT_ENCODING, HeaderMap, HeaderValue},
    redirect,
};
use rustls::pki_types::CertificateDer;
use secrecy::ExposeSecret;
use tower::filter::AsyncFilterLayer;

use super::{
    TOTAL,
    target::WithUser,
    trust::{self, Seen},
};
use crate::{
    Reason,
    issuer::guard::{GuardedResolver, ProxyGuard, ProxyResolver},
    oauth::{Class, NextStep, Then, TlsIdentity, TokenError, basic},
    proxy::Proxy,
};

/// TCP and TLS set-up (DESIGN, section 4).
pub(super) const CONNECT: Duration = Duration::from_secs(5);
/// The same through a proxy, after the issuer's name was resolved.
const CONNECT_BY_PROXY: Duration = Duration::from_secs(7);
/// Idle connections that are kept open for each issuer.
const IDLE_PER_HOST: usize = 8;

/// A client, and what was observed in its handshakes.
#[derive(Clone)]
pub(super) struct Warm {
    pub(super) client: Client,
    pub(super) seen: Arc<Seen>,
}

#[derive(Clone, Eq, Hash, PartialEq)]
pub(super) struct Settings {
    /// The origin also separates clients: warm connections and TLS sessions are never shared between issuers.
    pub(super) origin: String,
    pub(super) ca_bundle: Option<String>,
    pub(super) cidrs: Vec<IpNet>,
    /// Digest of the client certificate, its chain and its key. Each client certificate has separate connections.
    pub(super) identity: Option<String>,
    /// Plain http to the machine's identity endpoint.
    pub(super) local: bool,
    /// Name or address of the server to which the proxy must connect; `None`: no proxy is used. Such a client checks one
    /// name, and the host of the token endpoint may differ from that of the issuer.
    pub(super) by_proxy: Option<String>,
    /// The request is for the proxy itself, with or without its user and password, and not for a server behind it.
    pub(super) to_proxy_itself: Option<WithUser>,
    /// Each request uses a new connection, which must be set up within this time.
    pub(super) fresh: Option<Duration>,
}

/// A client with these settings. To read the system's CAs and to parse certificates takes milliseconds of CPU time.
pub(super) fn build(
    settings: &Settings,
    identity: Option<&TlsIdentity>,
    proxy: Option<&Proxy>,
    cas: &[CertificateDer<'static>],
) -> Result<Warm, TokenError> {
    let seen = Arc::<Seen>::default();
    let mut builder = Client::builder()
        .https_only(!settings.local && settings.to_proxy_itself.is_none())
        .redirect(redirect::Policy::none())
        .no_proxy()
        .retry(reqwest::retry::never())
        .tls_backend_preconfigured(tls(settings, identity, cas, &seen)?)
        .timeout(TOTAL)
        .pool_max_idle_per_host(
            if settings.fresh.is_some() || settings.to_proxy_itself.is_some() {
                0
            } else {
                IDLE_PER_HOST
            },
        )
        .pool_idle_timeout(Duration::from_secs(90))
        // RFC 9110 section 12.5.3: without it, any coding is acceptable, and none is decoded here.
        .default_headers(HeaderMap::from_iter([(
            ACCEPT_ENCODING,
            HeaderValue::from_static("identity"),
        )]))
        .user_agent(concat!("apicred/", env!("CARGO_PKG_VERSION")));
    builder = match proxy {
        None => builder
            .connect_timeout(settings.fresh.unwrap_or(CONNECT))
            .dns_resolver(Arc::new(GuardedResolver::new(settings.cidrs.clone()))),
        Some(proxy) => through(builder, settings, proxy)?,
    };
    let client = builder.build().map_err(|_| {
        TokenError::local(
            Class::Invalid,
            Reason::InternalError,
            "no client could be made for this issuer; this is a defect of apicred",
        )
    })?;
    Ok(Warm { client, seen })
}

/// The TLS settings: TLS 1.2 at least, the CAs of [`trust::roots`], the client's certificate.
fn tls(
    settings: &Settings,
    identity: Option<&TlsIdentity>,
    cas: &[CertificateDer<'static>],
    seen: &Arc<Seen>,
) -> Result<rustls::ClientConfig, TokenError> {
    let (roots, anchors) = trust::roots(settings.ca_bundle.as_deref(), cas)
        .map_err(|text| TokenError::local(Class::Invalid, Reason::CaBundleInvalid, text))?;
    let shown = identity
        .map(|identity| {
            trust::certified(identity.pem.expose_secret()).ok_or_else(|| {
                TokenError::local(
                    Class::Invalid,
                    Reason::MaterialInvalid,
                    "the client certificate and its key cannot be used for TLS; store a certificate with the key that belongs to it",
                )
            })
        })
        .transpose()?;
    trust::config(roots, anchors, shown, seen).map_err(|_| {
        TokenError::local(
            Class::Invalid,
            Reason::InternalError,
            "TLS could not be set up; this is a defect of apicred",
        )
    })
}

/// Makes a client use a proxy for its connections. The name to which the proxy will connect is checked first.
fn through(
    mut builder: ClientBuilder,
    settings: &Settings,
    proxy: &Proxy,
) -> Result<ClientBuilder, TokenError> {
    let fault = || {
        TokenError::local(
            Class::Invalid,
            Reason::ProxyInvalid,
            NextStep::new(
                "the settings of the proxy for issuers cannot be used",
                Then::CorrectProxy,
            ),
        )
    };
    let url = proxy.url().as_str();
    let target = match settings.to_proxy_itself {
        None => reqwest::Proxy::https(url),
        // A request for an http URL is sent to the proxy itself, and the proxy answers it.
        Some(_) => reqwest::Proxy::http(url),
    };
    let mut target = target.map_err(|_| fault())?;
    if let Some((user, password)) = proxy
        .credentials()
        .filter(|_| settings.to_proxy_itself != Some(WithUser(false)))
        .and_then(|both| both.expose_secret().split_once(':'))
    {
        let header = HeaderValue::from_str(&basic(user, password));
        let mut header = header.map_err(|_| fault())?;
        header.set_sensitive(true);
        target = target.custom_http_auth(header);
    }
    let host = proxy.url().host_str().unwrap_or_default().to_owned();
    builder = builder
        .proxy(target)
        .connect_timeout(settings.fresh.unwrap_or(CONNECT_BY_PROXY))
        .dns_resolver(Arc::new(ProxyResolver::new(host)));
    // The address was already checked.
    let name = settings.by_proxy.clone();
    if let Some(name) = name.filter(|name| name.parse::<std::net::IpAddr>().is_err()) {
        let guard = ProxyGuard::new(name, settings.cidrs.clone());
        builder = builder.connector_layer(AsyncFilterLayer::new(guard));
    }
    Ok(builder)
}
