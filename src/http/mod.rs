//! The only module that sends requests to issuers. HTTPS only, no redirects, no proxy except one that an administrator set, bounded in time and size.

use crate::Reason;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use reqwest::{
    Client,
    header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue},
};
use rustls::pki_types::CertificateDer;
use secrecy::ExposeSecret;
use tokio::{sync::OnceCell, time::Instant};
use url::Url;

mod answer;
mod broken;
mod connect;
mod patience;
mod target;
#[cfg(test)]
mod tests;
mod tls_failure;
mod trust;
mod tunnel;

pub(crate) use tls_failure::tls_error;

use self::{
    answer::{head, read, transport, whole},
    connect::{CONNECT, Settings, Warm, build},
    patience::Patience,
    target::{RequestTarget, WithUser, may_send},
    trust::{Count, Seen},
};
use crate::{
    credential::{CaFault, Issuer, IssuerId, addresses},
    oauth::{
        Class, Method, NextStep, RawAnswer, SentSecrets, Then, TlsIdentity, TokenError,
        TokenRequest,
    },
    proxy::Proxy,
    recent::Recent,
};

/// Time limit for the whole exchange, so that a body of one byte per second ends too.
pub(crate) const TOTAL: Duration = Duration::from_secs(15);
/// The client's own timer fires this long after the deadline of an exchange. Otherwise it would drop what arrived while the process was
/// stopped ([`Patience`]). After a longer stop, the process may not store anything.
const STOPPED: Duration = Duration::from_mins(1);
/// Clients are cached for this many issuer settings. An issuer whose CA changes leaves its old client in the cache. Recently used clients
/// stay, so a namespace with hundreds of issuers does not evict the warm connections of others.
const MAX_CLIENTS: usize = 256;

/// How a request is sent.
#[derive(Clone, Copy, Debug)]
pub struct SendOptions {
    /// Use a new connection. The server may close an idle connection at the moment of the request,
    /// and then it is not known whether the request was read.
    pub fresh: bool,
    /// Time limit for the whole exchange.
    pub deadline: Duration,
}

impl Default for SendOptions {
    fn default() -> Self {
        Self {
            fresh: false,
            deadline: TOTAL,
        }
    }
}

/// A request that got no complete answer.
pub struct Broken {
    /// Why.
    pub token_error: TokenError,
    /// The part of an answer that arrived.
    pub arrived: Option<Box<RawAnswer>>,
}

impl From<TokenError> for Broken {
    fn from(token_error: TokenError) -> Self {
        Self {
            token_error,
            arrived: None,
        }
    }
}

/// A failure before anything was sent.
fn not_sent(token_error: TokenError) -> TokenError {
    TokenError {
        not_sent: true,
        ..token_error
    }
}

/// Sends requests to issuers. There is one warm client for each set of roots and networks: with one client per request,
/// each token would leave a connection open (a defect of another product, reliability research section 2.9).
#[derive(Default)]
pub struct Http {
    clients: Mutex<Recent<Settings, Arc<OnceCell<Warm>>, MAX_CLIENTS>>,
    proxy: Option<Proxy>,
    /// What was logged about the proxy.
    logged: tunnel::Logged,
    cas: Arc<[CertificateDer<'static>]>,
    #[cfg(test)]
    made: std::sync::atomic::AtomicUsize,
}

/// A client for one request, and the details for its error messages.
struct Chosen {
    client: Client,
    seen: Arc<Seen>,
    before: Count,
    proxy: Option<WithUser>,
    shows: bool,
    /// Entra ID without an issuer object.
    built_in: bool,
    /// When the exchange must have ended.
    until: Instant,
    /// The secrets in the request.
    secrets: Option<SentSecrets>,
    host: String,
    port: u16,
}

impl Chosen {
    /// The target of a failed request.
    fn target(&self) -> RequestTarget {
        RequestTarget {
            host: self.host.clone(),
            port: self.port,
            built_in: self.built_in,
            proxy: self.proxy,
            shows: self.shows,
            hide: self.secrets.as_ref().map(|secrets| secrets.net(&self.host)),
            seen: self.seen.count().since(self.before),
        }
    }
}

impl Http {
    /// Sends requests to issuers through this proxy, or directly.
    pub fn with_proxy(proxy: Option<Proxy>) -> Self {
        Self {
            proxy,
            ..Self::default()
        }
    }

    /// Trusts these CAs for all issuers, in addition to those of the system and of `caBundle`.
    #[must_use]
    pub fn trusting(mut self, cas: Vec<CertificateDer<'static>>) -> Self {
        self.cas = cas.into();
        self
    }

    /// Sends a token request.
    ///
    /// # Errors
    /// A token error if no complete answer arrived.
    pub async fn send(
        &self,
        issuer: &Issuer,
        request: TokenRequest,
    ) -> Result<RawAnswer, TokenError> {
        let sent = self.exchange(issuer, request, SendOptions::default()).await;
        sent.map_err(|broken| broken.token_error)
    }

    /// Sends a token request with these options.
    ///
    /// # Errors
    /// A token error if no complete answer arrived, and the part that arrived.
    pub async fn exchange(
        &self,
        issuer: &Issuer,
        request: TokenRequest,
        options: SendOptions,
    ) -> Result<RawAnswer, Broken> {
        // Boxed: otherwise it would enlarge the future of each caller.
        let prepared = Box::pin(self.prepare(issuer, request, options)).await;
        let (request, chosen) = prepared.map_err(not_sent)?;
        let patience = Patience::new(options.deadline);
        match Box::pin(read(request, &chosen, patience)).await {
            Ok(answer) => Ok(answer),
            Err(broken) => Err(Broken {
                token_error: Box::pin(self.explained(issuer, &chosen, broken.token_error)).await,
                ..broken
            }),
        }
    }

    async fn prepare(
        &self,
        issuer: &Issuer,
        request: TokenRequest,
        options: SendOptions,
    ) -> Result<(reqwest::RequestBuilder, Chosen), TokenError> {
        // Shorter than the deadline, so that a failed connection is distinguished from an answer that did not arrive.
        let fresh = options.fresh.then(|| CONNECT.min(options.deadline * 3 / 4));
        let target = (request.tls.as_ref(), request.local, fresh);
        let mut chosen = self.client(issuer, &request.url, target).await?;
        chosen.secrets = Some(SentSecrets::of(&request));
        chosen.until = Instant::now() + options.deadline;
        let client = &chosen.client;
        let mut headers = HeaderMap::new();
        let content = match request.method {
            Method::Post => Some("application/x-www-form-urlencoded"),
            Method::PostJson | Method::PutJson => Some("application/json"),
            Method::Get => None,
        };
        if let Some(content) = content {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content));
        }
        for (name, value) in &request.headers {
            let mut value = HeaderValue::from_str(value.expose_secret()).map_err(|_| {
                TokenError::local(
                    Class::Invalid,
                    Reason::InvalidRequest,
                    "client.id or the secret has characters that a header cannot contain; set clientAuthentication to post",
                )
            })?;
            value.set_sensitive(true);
            headers.insert(*name, value);
        }
        let body = request.body.expose_secret().to_owned();
        let built = match request.method {
            Method::Post | Method::PostJson => client.post(request.url).headers(headers).body(body),
            Method::PutJson => client.put(request.url).headers(headers).body(body),
            Method::Get => client.get(request.url).headers(headers),
        };
        Ok((built.timeout(options.deadline + STOPPED), chosen))
    }

    /// Gets a public document of an issuer.
    ///
    /// # Errors
    /// A token error if no complete answer arrived.
    pub async fn get(&self, issuer: &Issuer, url: Url) -> Result<RawAnswer, TokenError> {
        let chosen = self.client(issuer, &url, (None, false, None)).await;
        let chosen = chosen.map_err(not_sent)?;
        let request = chosen.client.get(url).header(ACCEPT, "application/json");
        let mut patience = Patience::new(TOTAL);
        let request = request.timeout(TOTAL + STOPPED);
        let response = match head(request, &chosen, &mut patience).await {
            Ok(response) => response,
            Err(token_error) => {
                return Err(Box::pin(self.explained(issuer, &chosen, token_error)).await);
            }
        };
        let answer = whole(response, &chosen, patience).await;
        answer.map_err(|broken| broken.token_error)
    }

    /// Checks that a server of the issuer is reached over TLS. It sends a HEAD request for the root of `endpoint`, which no authorization
    /// server counts as a sign-in. Any answer is sufficient, also that a client certificate is missing. No data of a client is
    /// sent.
    ///
    /// # Errors
    /// Why there is no connection, with the cause.
    pub async fn reach(&self, issuer: &Issuer, endpoint: &Url) -> Result<(), TokenError> {
        let mut root = endpoint.clone();
        root.set_path("/");
        root.set_query(None);
        let chosen = self.client(issuer, &root, (None, false, None)).await;
        let chosen = chosen.map_err(not_sent)?;
        match chosen.client.head(root).send().await {
            Ok(_) => Ok(()),
            Err(error) => {
                let target = chosen.target();
                let token_error = transport(&error, &target);
                if broken::is_reached(&token_error, &target) {
                    Ok(())
                } else {
                    Err(Box::pin(self.explained(issuer, &chosen, token_error)).await)
                }
            }
        }
    }

    async fn client(
        &self,
        issuer: &Issuer,
        url: &Url,
        (identity, local, fresh): (Option<&TlsIdentity>, bool, Option<Duration>),
    ) -> Result<Chosen, TokenError> {
        may_send(issuer, url, local)?;
        // No connection is made without the CAs that the issuer names.
        if let (false, Some(fault)) = (local, &issuer.ca_fault) {
            let (reason, text) = match fault {
                CaFault::Unread(text) => (Reason::WaitingForIssuer, text),
                CaFault::Unusable(text) => (Reason::CaBundleInvalid, text),
            };
            return Err(TokenError::local(Class::Transient, reason, text.clone()));
        }
        // Requests to the machine itself do not use a proxy.
        let proxy = self.proxy.as_ref().filter(|p| !local && p.serves(url));
        if proxy.is_some() && matches!(url.host(), Some(url::Host::Ipv6(_))) {
            return Err(TokenError::local(
                Class::Invalid,
                Reason::AddressNotAllowed,
                "an issuer with an IPv6 address cannot be reached through the proxy for issuers; use a host name, or list the address as an exception of the proxy",
            ));
        }
        let settings = Settings {
            origin: issuer.origin.clone(),
            ca_bundle: issuer.ca_bundle.clone(),
            cidrs: if local {
                addresses::local_networks()
            } else {
                issuer.allowed_cidrs.clone()
            },
            identity: identity.map(|i| i.name.clone()),
            local,
            by_proxy: proxy.and(url.host_str()).map(str::to_owned),
            to_proxy_itself: None,
            fresh,
        };
        let warm = Box::pin(self.warm(settings, identity)).await?;
        Ok(Chosen {
            before: warm.seen.count(),
            client: warm.client,
            seen: warm.seen,
            proxy: proxy.map(|p| WithUser(p.credentials().is_some())),
            shows: identity.is_some(),
            built_in: matches!(issuer.id, IssuerId::Inline(_)),
            until: Instant::now() + TOTAL,
            secrets: None,
            host: url.host_str().unwrap_or_default().to_owned(),
            port: url.port_or_known_default().unwrap_or_default(),
        })
    }

    /// How many clients were created.
    #[cfg(test)]
    pub(super) fn made(&self) -> usize {
        self.made.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// The client for these settings. To create one, the system's CAs are read and certificates are parsed, which takes milliseconds
    /// of CPU time: this is done once, outside the async tasks, and requests with other settings do not wait for it.
    async fn warm(
        &self,
        settings: Settings,
        identity: Option<&TlsIdentity>,
    ) -> Result<Warm, TokenError> {
        let cell = {
            let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(cell) = clients.get(&settings) {
                Arc::clone(cell)
            } else {
                let cell = Arc::<OnceCell<Warm>>::default();
                clients.insert(settings.clone(), Arc::clone(&cell));
                cell
            }
        };
        let make = || async {
            let proxy = settings.by_proxy.as_ref().and(self.proxy.clone());
            let (settings, identity) = (settings.clone(), identity.cloned());
            let cas = Arc::clone(&self.cas);
            #[cfg(test)]
            self.made.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let made = tokio::task::spawn_blocking(move || {
                build(&settings, identity.as_ref(), proxy.as_ref(), &cas)
            });
            made.await.unwrap_or_else(|_| {
                Err(TokenError::local(
                    Class::Transient,
                    Reason::InternalError,
                    NextStep::new("the preparation of a request was abandoned", Then::TryAgain),
                ))
            })
        };
        cell.get_or_try_init(make).await.cloned()
    }
}
