//! The one file that sends. HTTPS only, no redirects, no ambient proxy, bounded in time and size.

use std::{
    error::Error as _,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ipnet::IpNet;
use reqwest::{
    Certificate, Client, Identity, StatusCode,
    header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE},
    redirect, tls,
};
use secrecy::ExposeSecret;
use url::Url;

use super::{Class, Method, RawAnswer, Refusal, TlsIdentity, TokenRequest, recent::Recent};
use crate::{
    credential::Issuer,
    issuer::guard::{self, AddressNotAllowed, GuardedResolver},
};

/// TCP and TLS set-up (DESIGN, section 4).
const CONNECT: Duration = Duration::from_secs(5);
/// The whole exchange, so that a body of a byte a second ends too.
const TOTAL: Duration = Duration::from_secs(15);
/// Largest answer that is read.
const MAX_BODY: usize = 1024 * 1024;
/// Warm connections an issuer keeps.
const IDLE_PER_HOST: usize = 8;
/// Clients are kept for this many issuer settings; an issuer whose CA changes leaves its old one behind. One that was
/// just used stays, so a namespace with hundreds of issuers takes nobody's warm connections away.
const MAX_CLIENTS: usize = 256;

/// Sends requests to issuers. One warm client for each set of roots and networks: a client a request would
/// leave a connection open a token (a rival's fault, reliability research section 2.9).
#[derive(Default)]
pub struct Http {
    clients: Mutex<Recent<Settings, Client, MAX_CLIENTS>>,
}

#[derive(Clone, Eq, Hash, PartialEq)]
struct Settings {
    /// Origin too: warm connections and TLS sessions are never shared between issuers.
    origin: String,
    ca_bundle: Option<String>,
    cidrs: Vec<IpNet>,
    /// Name of the client certificate: whoever shows another one gets connections of his own.
    identity: Option<String>,
    /// Plain http to the machine's own identity endpoint.
    local: bool,
}

impl Http {
    /// Sends a token request.
    ///
    /// # Errors
    /// A refusal when no complete answer came.
    pub async fn send(&self, issuer: &Issuer, request: TokenRequest) -> Result<RawAnswer, Refusal> {
        let client = self.client(issuer, &request.url, request.tls.as_ref(), request.local)?;
        let mut headers = HeaderMap::new();
        if request.method == Method::Post {
            headers.insert(
                CONTENT_TYPE,
                HeaderValue::from_static("application/x-www-form-urlencoded"),
            );
        }
        for (name, value) in &request.headers {
            let mut value = HeaderValue::from_str(value.expose_secret()).map_err(|_| {
                Refusal::local(
                    Class::Invalid,
                    "InvalidRequest",
                    "client.id or the secret cannot stand in a header; use post",
                )
            })?;
            value.set_sensitive(true);
            headers.insert(*name, value);
        }
        let body = request.body.expose_secret().to_owned();
        match request.method {
            Method::Post => read(client.post(request.url).headers(headers).body(body)).await,
            Method::Get => read(client.get(request.url).headers(headers)).await,
        }
    }

    /// Gets a public document of an issuer.
    ///
    /// # Errors
    /// A refusal when no complete answer came.
    pub async fn get(&self, issuer: &Issuer, url: Url) -> Result<RawAnswer, Refusal> {
        let client = self.client(issuer, &url, None, false)?;
        read(client.get(url).header("accept", "application/json")).await
    }

    fn client(
        &self,
        issuer: &Issuer,
        url: &Url,
        identity: Option<&TlsIdentity>,
        local: bool,
    ) -> Result<Client, Refusal> {
        if local {
            if issuer.lends.is_none() || !guard::is_local(url) {
                return Err(Refusal::local(
                    Class::Invalid,
                    "AddressNotAllowed",
                    "a managed identity endpoint must be a loopback or link-local address that a ClusterTokenIssuer names",
                ));
            }
        } else {
            if url.scheme() != "https" {
                return Err(Refusal::local(
                    Class::Invalid,
                    "TlsRequired",
                    "apicred speaks to issuers over https only",
                ));
            }
            guard::check_literal(url, &issuer.allowed_cidrs)
                .map_err(|text| Refusal::local(Class::Invalid, "AddressNotAllowed", text))?;
        }
        let settings = Settings {
            origin: issuer.origin.clone(),
            ca_bundle: issuer.ca_bundle.clone(),
            cidrs: if local {
                guard::local_networks()
            } else {
                issuer.allowed_cidrs.clone()
            },
            identity: identity.map(|i| i.name.clone()),
            local,
        };
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&settings) {
            return Ok(client.clone());
        }
        let client = build(&settings, identity)?;
        clients.insert(settings, client.clone());
        Ok(client)
    }
}

fn build(settings: &Settings, identity: Option<&TlsIdentity>) -> Result<Client, Refusal> {
    let fault = |text: String| Refusal::local(Class::Invalid, "CaBundleInvalid", text);
    let mut builder = Client::builder()
        .https_only(!settings.local)
        .redirect(redirect::Policy::none())
        .no_proxy()
        .retry(reqwest::retry::never())
        .tls_version_min(tls::Version::TLS_1_2)
        .connect_timeout(CONNECT)
        .timeout(TOTAL)
        .pool_max_idle_per_host(IDLE_PER_HOST)
        .pool_idle_timeout(Duration::from_secs(90))
        .user_agent(concat!("apicred/", env!("CARGO_PKG_VERSION")))
        .dns_resolver(Arc::new(GuardedResolver::new(settings.cidrs.clone())));
    if let Some(pem) = &settings.ca_bundle {
        let roots = Certificate::from_pem_bundle(pem.as_bytes())
            .map_err(|_| fault("caBundle is not a list of PEM certificates".to_owned()))?;
        if roots.is_empty() {
            return Err(fault(
                "caBundle holds no PEM certificate; it is the text itself from -----BEGIN CERTIFICATE----- on, neither a file's name nor base64 of it"
                    .to_owned(),
            ));
        }
        builder = builder.tls_certs_merge(roots);
    }
    if let Some(identity) = identity {
        let identity =
            Identity::from_pem(identity.pem.expose_secret().as_bytes()).map_err(|_| {
                Refusal::local(
                    Class::Invalid,
                    "MaterialInvalid",
                    "the client certificate and its key cannot be used for TLS",
                )
            })?;
        builder = builder.identity(identity);
    }
    builder.build().map_err(|_| {
        fault("caBundle holds a certificate that cannot be trusted as a root".to_owned())
    })
}

async fn read(request: reqwest::RequestBuilder) -> Result<RawAnswer, Refusal> {
    let mut response = request.send().await.map_err(|e| transport(&e))?;
    let header = |name| {
        response
            .headers()
            .get(name)
            .and_then(|v| v.to_str().ok())
            .map(str::to_owned)
    };
    let status = response.status();
    let (content_type, retry_after) = (header(CONTENT_TYPE), header(RETRY_AFTER));
    let challenge = header(WWW_AUTHENTICATE);
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| transport(&e))? {
        if body.len() + chunk.len() > MAX_BODY {
            return Err(Refusal {
                http_status: Some(status.as_u16()),
                ..Refusal::local(
                    Class::Transient,
                    "AnswerTooLarge",
                    "the answer is larger than 1 MiB; is the URL a token endpoint?",
                )
            });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(RawAnswer {
        status: status.as_u16(),
        content_type,
        retry_after,
        challenge,
        body,
    })
}

/// Is this the status of a page that is not there?
pub fn not_found(answer: &RawAnswer) -> bool {
    answer.status == StatusCode::NOT_FOUND.as_u16()
}

/// What went wrong below HTTP, told by kind: error texts of the libraries name hosts and more.
fn transport(error: &reqwest::Error) -> Refusal {
    let mut source = error.source();
    let mut depth = 0;
    while let Some(cause) = source {
        if let Some(refused) = cause.downcast_ref::<AddressNotAllowed>() {
            return Refusal::local(Class::Invalid, "AddressNotAllowed", refused.to_string());
        }
        if let Some(tls) = tls_error(cause) {
            return Refusal {
                // TLS 1.3 tells of a refused client certificate after the request has left; nobody read it then.
                maybe_sent: false,
                ..Refusal::local(Class::Transient, "TlsFailed", tls_step(tls))
            };
        }
        depth += 1;
        source = if depth < 16 { cause.source() } else { None };
    }
    let (reason, step) = if error.is_timeout() {
        (
            "IssuerTimeout",
            "the issuer did not answer in time; apicred tries again",
        )
    } else if error.is_connect() {
        (
            "IssuerUnreachable",
            "no connection to the issuer; check its address, DNS and the network policies",
        )
    } else {
        (
            "IssuerUnreachable",
            "the connection to the issuer broke; apicred tries again",
        )
    };
    Refusal {
        // Only a connection that never stood is proof that nothing was sent.
        maybe_sent: !error.is_connect(),
        ..Refusal::local(Class::Transient, reason, step)
    }
}

/// rustls hands its error up inside an `io::Error`, and the connector puts that into another one.
fn tls_error<'a>(mut cause: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    loop {
        if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
            return Some(tls);
        }
        cause = cause.downcast_ref::<std::io::Error>()?.get_ref()?;
    }
}

fn tls_step(error: &rustls::Error) -> &'static str {
    use rustls::CertificateError as C;
    match error {
        rustls::Error::InvalidCertificate(C::UnknownIssuer) => {
            "the issuer's certificate is signed by a CA that is not trusted; put that CA into caBundle"
        }
        rustls::Error::InvalidCertificate(C::Expired | C::ExpiredContext { .. }) => {
            "the issuer's certificate has expired"
        }
        rustls::Error::InvalidCertificate(C::NotValidYet | C::NotValidYetContext { .. }) => {
            "the issuer's certificate is not valid yet; check the clocks"
        }
        rustls::Error::InvalidCertificate(
            C::NotValidForName | C::NotValidForNameContext { .. },
        ) => "the issuer's certificate is for another name; check the URL",
        rustls::Error::InvalidCertificate(_) => {
            "the issuer's certificate is not acceptable; if it signed itself, it must not be marked as a CA (basicConstraints CA:FALSE)"
        }
        rustls::Error::AlertReceived(_) => {
            "the issuer ended the TLS handshake: does it want a client certificate, know its CA, and get the whole chain?"
        }
        _ => "the TLS handshake with the issuer failed",
    }
}
