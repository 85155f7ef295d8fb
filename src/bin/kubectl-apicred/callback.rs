//! The redirect listener: a port of this machine to which the browser returns (RFC 8252 section 7.3).

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use apicred::{
    oauth::{
        TokenError,
        sign_in::{Callback, Sender, callback},
    },
    telemetry::server,
};
use axum::{
    Router,
    extract::State,
    http::{Method, StatusCode, Uri},
};
use secrecy::SecretString;
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot, watch},
};
use url::{Host, Url};

use crate::page::Page;

/// Time limit for the last page to reach the browser.
const FAREWELL: Duration = Duration::from_secs(3);
/// Maximum time that a browser waits for its page: until the code is redeemed and the refresh token is stored.
const ANSWER: Duration = Duration::from_mins(5);
/// Free ports that are tried if two addresses are needed.
const ATTEMPTS: usize = 8;

/// An open redirect listener.
pub(crate) struct RedirectListener {
    /// Exactly the value that was sent to the issuer.
    pub(crate) redirect_uri: String,
    requests: mpsc::Receiver<BrowserRequest>,
    stop: watch::Sender<bool>,
    servers: Vec<tokio::task::JoinHandle<()>>,
}

struct BrowserRequest {
    query: String,
    answer: oneshot::Sender<Page>,
}

/// The connected browser, which waits for a page.
pub(crate) struct WaitingBrowser {
    listener: RedirectListener,
    answer: oneshot::Sender<Page>,
}

/// The request with which the browser returned.
pub(crate) enum CallbackResult {
    /// The code.
    Code(SecretString, WaitingBrowser),
    /// The issuer or the user refused.
    Refused(TokenError, WaitingBrowser),
}

impl WaitingBrowser {
    /// Shows the last page and closes the listener.
    pub(crate) async fn show(self, page: Page) {
        // A browser that has disconnected needs no page.
        let _ = self.answer.send(page);
        self.listener.close().await;
    }
}

/// A redirect address from the command line.
pub(crate) fn redirect_uri(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|e| format!("not a URL ({e})"))?;
    let here = matches!(url.host(), Some(Host::Domain("localhost")))
        || matches!(url.host(), Some(Host::Ipv4(ip)) if ip == Ipv4Addr::LOCALHOST)
        || matches!(url.host(), Some(Host::Ipv6(ip)) if ip == Ipv6Addr::LOCALHOST);
    let plain = url.scheme() == "http" && url.query().is_none() && url.fragment().is_none();
    if here && plain && url.username().is_empty() && url.password().is_none() {
        Ok(url)
    } else {
        Err("must be http:// with localhost, 127.0.0.1 or [::1], such as http://localhost:8400/callback, because the browser returns to this machine".to_owned())
    }
}

/// The address of one sign-in: host and path as registered, and the port. If no path was registered, the address has none, as with
/// Microsoft's own tools.
pub(crate) fn address(entra: bool, given: Option<&Url>, port: u16) -> String {
    match given {
        // For the registered http://localhost, Entra ID allows any port of `localhost`, and of 127.0.0.1 only via
        // the manifest (learn.microsoft.com/entra/identity-platform/reply-url). Others follow RFC 8252 section 7.3,
        // which recommends the address.
        None if entra => format!("http://localhost:{port}"),
        None => format!("http://127.0.0.1:{port}/callback"),
        Some(url) => {
            let path = if url.path() == "/" { "" } else { url.path() };
            format!(
                "http://{}:{port}{path}",
                url.host_str().unwrap_or("localhost")
            )
        }
    }
}

impl RedirectListener {
    /// Starts to listen.
    pub(crate) async fn open(
        entra: bool,
        given: Option<&Url>,
        port: Option<u16>,
    ) -> Result<Self, String> {
        let fixed = match (given.and_then(Url::port), port) {
            (Some(a), Some(b)) if a != b => {
                return Err(
                    "--redirect-uri and --port name two ports; set only one of them".to_owned(),
                );
            }
            (a, b) => a.or(b),
        };
        let both = given.map_or(entra, |u| u.host_str() == Some("localhost"));
        let six = matches!(given.and_then(Url::host), Some(Host::Ipv6(_)));
        let listeners = listen(fixed, both, six).await.map_err(|_| match fixed {
            Some(port) => format!("port {port} of this machine cannot be opened; choose another one with --port, or use --device"),
            None => "no port of this machine can be opened; use --device".to_owned(),
        })?;
        let local = listeners
            .first()
            .and_then(|l| l.local_addr().ok())
            .ok_or("no port of this machine can be opened; use --device")?;
        let redirect_uri = address(entra, given, local.port());
        let path =
            Url::parse(&redirect_uri).map_or_else(|_| "/".to_owned(), |u| u.path().to_owned());
        let (sender, requests) = mpsc::channel(4);
        let (stop, stopped) = watch::channel(false);
        let router = Router::new().fallback(request).with_state((path, sender));
        let servers = listeners
            .into_iter()
            .map(|listener| {
                let (router, mut stopped) = (router.clone(), stopped.clone());
                tokio::spawn(async move {
                    let stop = async move {
                        // A dropped sender is a stop as well.
                        let _ = stopped.wait_for(|s| *s).await;
                    };
                    server::serve(listener, router, ANSWER, stop).await;
                })
            })
            .collect();
        Ok(Self {
            redirect_uri,
            requests,
            stop,
            servers,
        })
    }

    /// Waits for the answer to this sign-in. All other requests are refused.
    pub(crate) async fn wait(
        mut self,
        state: &str,
        sender: Sender<'_>,
        patience: Duration,
    ) -> Result<CallbackResult, String> {
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            let request = tokio::time::timeout_at(deadline, self.requests.recv()).await;
            let Ok(Some(BrowserRequest { query, answer })) = request else {
                return Err("no sign-in before the timeout; run the command again. After an error, an issuer may not return the browser: read its page".to_owned());
            };
            match callback(&query, state, sender) {
                Callback::Code(code) => {
                    return Ok(CallbackResult::Code(
                        code,
                        WaitingBrowser {
                            listener: self,
                            answer,
                        },
                    ));
                }
                Callback::Refused(token_error) => {
                    return Ok(CallbackResult::Refused(
                        token_error,
                        WaitingBrowser {
                            listener: self,
                            answer,
                        },
                    ));
                }
                Callback::Stray => {
                    let _ = answer.send(Page::stray());
                }
            }
        }
    }

    async fn close(mut self) {
        // Connections that were not handled get their answer when they are dropped.
        self.requests.close();
        while self.requests.try_recv().is_ok() {}
        self.stop.send_replace(true);
        let all = futures::future::join_all(self.servers);
        let _ = tokio::time::timeout(FAREWELL, all).await;
    }
}

/// `localhost` has two addresses, and a browser may use either: no other program may listen on the second one.
async fn listen(fixed: Option<u16>, both: bool, six: bool) -> io::Result<Vec<TcpListener>> {
    let first = if six {
        IpAddr::V6(Ipv6Addr::LOCALHOST)
    } else {
        IpAddr::V4(Ipv4Addr::LOCALHOST)
    };
    let mut attempt = 1;
    loop {
        let one = TcpListener::bind(SocketAddr::new(first, fixed.unwrap_or(0))).await?;
        if !both {
            return Ok(vec![one]);
        }
        let second = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), one.local_addr()?.port());
        match TcpListener::bind(second).await {
            Ok(two) => return Ok(vec![one, two]),
            Err(e) if e.kind() == io::ErrorKind::AddrInUse => {
                if fixed.is_some() || attempt == ATTEMPTS {
                    return Err(e);
                }
                attempt += 1;
            }
            // A machine without IPv6.
            Err(_) => return Ok(vec![one]),
        }
    }
}

async fn request(
    State((path, requests)): State<(String, mpsc::Sender<BrowserRequest>)>,
    method: Method,
    uri: Uri,
) -> Page {
    if uri.path() != path || method != Method::GET {
        return Page {
            status: StatusCode::NOT_FOUND,
            ..Page::stray()
        };
    }
    let (answer, page) = oneshot::channel();
    let query = uri.query().unwrap_or_default().to_owned();
    if requests
        .send(BrowserRequest { query, answer })
        .await
        .is_err()
    {
        return Page::stray();
    }
    page.await.unwrap_or_else(|_| Page::stray())
}
