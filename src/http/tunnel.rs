//! A proxy for issuers that opens no connection: its answer, and the next step.
//!
//! hyper-util does not return the answer to CONNECT: its error contains only that it was not a success. So the proxy gets a second request for the
//! same
//! connection, whose answer can be read. Nothing is sent through a connection that the proxy opens for it.
//!
//! Messages name what must be allowed, and not the proxy: users of namespaces need not know its address. The log names it.

use std::{
    error::Error,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use reqwest::{
    Method, Response, StatusCode,
    header::{HeaderMap, PROXY_AUTHENTICATE, RETRY_AFTER},
};

use tokio::time::Instant;

use super::{
    Chosen, Http,
    broken::{causes, system_error},
    connect::Settings,
    target::WithUser,
};
use crate::{
    Reason, clock,
    credential::{Endpoint, Issuer, addresses::NameNotFound},
    oauth::{self, Class, NextStep, Stage, Then, TokenError},
};

/// Time limit for the proxy's answer to the second request.
const ANSWER: Duration = Duration::from_secs(5);
/// Pause before the same line about the proxy is logged again.
const PAUSE: Duration = Duration::from_mins(5);

/// Authentication schemes of proxies (IANA, HTTP Authentication Scheme Registry; NTLM is Microsoft's).
const SCHEMES: [&str; 5] = ["Basic", "Digest", "Negotiate", "NTLM", "Bearer"];

/// What was logged last, and when.
#[derive(Default)]
pub(super) struct Logged(Mutex<Option<(String, Instant)>>);

impl Logged {
    fn is_new(&self, text: &str) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = last
            .as_ref()
            .is_some_and(|(known, at)| known == text && at.elapsed() < PAUSE);
        if !known {
            *last = Some((text.to_owned(), Instant::now()));
        }
        !known
    }
}

/// How a proxy failed to open a connection.
pub(super) enum Tunnel {
    /// It was not reached.
    Unreachable,
    /// The connection to it broke.
    Broken,
    /// It requires a user and password, or other ones.
    Credentials,
    /// It refused, with any status.
    Refused,
}

impl Tunnel {
    /// hyper-util does not export the type of these errors, so their texts identify them. If a later version changes a text, the
    /// error counts as a failed connection, and `http::tests::proxied` fails.
    pub(super) fn of(error: &(dyn Error + 'static)) -> Option<Self> {
        let text = error.to_string();
        Some(match text.strip_prefix("tunnel error: ")? {
            "failed to create underlying connection" => Self::Unreachable,
            "proxy authorization required" => Self::Credentials,
            "unsuccessful" | "proxy response headers too long" => Self::Refused,
            _ => Self::Broken,
        })
    }

    /// The token error, before the second request to the proxy.
    pub(super) fn token_error(
        self,
        error: &(dyn Error + 'static),
        proxy: Option<WithUser>,
    ) -> TokenError {
        let (stage, reason, step) = match self {
            Self::Unreachable => (
                Stage::Proxy,
                Reason::ProxyUnreachable,
                unreachable(error).into(),
            ),
            Self::Broken => (
                Stage::Proxy,
                Reason::ProxyUnreachable,
                NextStep::new(
                    "the proxy for issuers closed the connection without a response",
                    Then::TryAgain,
                ),
            ),
            Self::Credentials => (
                Stage::Proxy,
                Reason::ProxyCredentialsRefused,
                credentials(proxy, &[]),
            ),
            Self::Refused => (
                Stage::Tunnel,
                Reason::ProxyRefused,
                "the proxy for issuers opens no connection to this issuer; have the issuer's host and port allowed there, or see there why it cannot be reached".into(),
            ),
        };
        TokenError::local(Class::Transient, reason, step).at(stage)
    }
}

/// Why there is no connection to the proxy.
fn unreachable(error: &(dyn Error + 'static)) -> String {
    use std::io::ErrorKind as K;
    let missing = causes(error).find_map(|this| this.downcast_ref::<NameNotFound>());
    let why = match (missing, system_error(error)) {
        (Some(NameNotFound::Unknown), _) => {
            "DNS has no address for its host; check the host in its URL, and the cluster's DNS"
        }
        (Some(NameNotFound::Silent), _) => {
            "DNS did not answer for its host; check the cluster's DNS, and the network policies for port 53"
        }
        (None, Some(K::ConnectionRefused)) => {
            "connection refused; check the port in its URL, and that the proxy runs"
        }
        (None, Some(K::ConnectionReset | K::ConnectionAborted | K::BrokenPipe)) => {
            "connection reset; check the network policies and firewalls between"
        }
        (None, Some(K::NetworkUnreachable | K::HostUnreachable)) => {
            "there is no route to its address; check the network"
        }
        (None, Some(K::TimedOut)) => {
            "nothing answers in time; check its address, the network policies and firewalls between"
        }
        _ => "check its address, DNS and the network policies",
    };
    format!("no connection to the proxy for issuers: {why}")
}

/// The next step after 407, with the schemes that the proxy offers.
fn credentials(proxy: Option<WithUser>, schemes: &[&str]) -> NextStep {
    let offered = schemes.join(", ");
    if !schemes.is_empty() && !schemes.contains(&"Basic") {
        return format!(
            "the proxy for issuers requires {offered} (HTTP 407), and apicred can only send Basic; have Basic turned on there for apicred, or have its addresses allowed without authentication"
        )
        .into();
    }
    let scheme = if schemes.is_empty() {
        ""
    } else {
        " (HTTP 407, Basic)"
    };
    if proxy == Some(WithUser(true)) {
        NextStep::new(
            format!("the proxy for issuers refuses the user and password that it is given{scheme}"),
            Then::CorrectProxy,
        )
    } else {
        NextStep::new(
            format!(
                "the proxy for issuers requires a user and password, and none is configured{scheme}"
            ),
            Then::SetProxyPassword,
        )
    }
}

/// The proxy's answer to the second request.
enum ProxyResponse {
    Status(StatusCode, HeaderMap),
    NoHttp,
    TooLarge,
}

impl ProxyResponse {
    fn of(answer: &Result<Response, reqwest::Error>) -> Option<Self> {
        match answer {
            Ok(response) => Some(Self::Status(response.status(), response.headers().clone())),
            Err(error) => {
                let hyper = causes(error).find_map(|this| this.downcast_ref::<hyper::Error>())?;
                if hyper.is_parse_too_large() {
                    Some(Self::TooLarge)
                } else {
                    hyper.is_parse().then_some(Self::NoHttp)
                }
            }
        }
    }

    fn is_about_credentials(&self) -> bool {
        matches!(
            self,
            Self::Status(StatusCode::PROXY_AUTHENTICATION_REQUIRED, _)
        )
    }

    /// The next step. `None`: the answer contains nothing new.
    fn step(&self, place: &str, user: WithUser) -> Option<NextStep> {
        let (status, headers) = match self {
            Self::Status(status, headers) => (*status, headers),
            Self::NoHttp => {
                return Some(
                    "the server at the address of the proxy for issuers does not answer in HTTP; check the port in its URL, and whether it needs https:// in place of http://".into(),
                );
            }
            Self::TooLarge => {
                return Some(format!("the proxy for issuers answers CONNECT {place} with a header that is too large; see there why").into());
            }
        };
        let step = match status.as_u16() {
            200..=299 => return None,
            407 => return Some(credentials(Some(user), &schemes(headers))),
            300..=399 => {
                "it redirects, as to a page where users sign in; have this host and port allowed there without it"
            }
            405 | 501 => {
                "it does not take this method; check that its port is that of an HTTP proxy, and that CONNECT to this port is allowed there"
            }
            429 => "it limits requests; have more of them allowed there, or wait",
            502 | 504 => {
                "it cannot connect to this host and port; see there why it cannot be reached (its DNS, its firewall)"
            }
            503 => {
                "it is overloaded, or cannot connect to this host and port; see there why it cannot be reached"
            }
            _ => "have this host and port allowed there",
        };
        let code = status.as_u16();
        Some(
            format!("the proxy for issuers answered HTTP {code} to CONNECT {place}: {step}").into(),
        )
    }

    /// The pause that the proxy requests.
    fn pause(&self) -> Option<Duration> {
        let Self::Status(StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE, headers) =
            self
        else {
            return None;
        };
        oauth::retry_after(headers.get(RETRY_AFTER)?.to_str().ok()?, clock::steady())
    }
}

/// The known schemes that `Proxy-Authenticate` offers. Nothing else of the header is shown.
fn schemes(headers: &HeaderMap) -> Vec<&'static str> {
    let offers = headers.get_all(PROXY_AUTHENTICATE).iter();
    let offers: Vec<&str> = offers.filter_map(|offer| offer.to_str().ok()).collect();
    let is_offered = |scheme: &&str| {
        let mut words = offers.iter().flat_map(|offer| offer.split([' ', ',']));
        words.any(|word| word.eq_ignore_ascii_case(scheme))
    };
    SCHEMES.into_iter().filter(is_offered).collect()
}

/// A refused address that only the discovery document of the issuer contains: the next step shows this.
pub(super) fn of_document(
    issuer: &Issuer,
    host: Option<&str>,
    token_error: TokenError,
) -> TokenError {
    let Endpoint::Discover(url) = &issuer.endpoint else {
        return token_error;
    };
    let places = &issuer.places;
    let mut written = [&places.revocation, &places.authorization, &places.device]
        .into_iter()
        .flatten()
        .chain([url]);
    if token_error.reason != Reason::AddressNotAllowed || written.any(|url| url.host_str() == host)
    {
        return token_error;
    }
    TokenError {
        next_step: token_error
            .next_step
            .of_part("the endpoint that the issuer's discovery document names"),
        ..token_error
    }
}

impl Http {
    /// A token error with details that need a second request or the settings of the issuer.
    pub(super) async fn explained(
        &self,
        issuer: &Issuer,
        chosen: &Chosen,
        token_error: TokenError,
    ) -> TokenError {
        let user = match (chosen.proxy, token_error.reason) {
            (Some(user), Reason::ProxyRefused) => user,
            // Without the password that was refused: a proxy may count failed logins.
            (Some(_), Reason::ProxyCredentialsRefused) => WithUser(false),
            _ => {
                let token_error = of_document(issuer, Some(&chosen.host), token_error);
                self.log(chosen, &token_error, None);
                return token_error;
            }
        };
        // Nothing is sent after the end of the exchange, because another operator may lead by then.
        let until = chosen.until.min(Instant::now() + ANSWER);
        let second_connect =
            tokio::time::timeout_at(until, self.repeat_connect(issuer, chosen, user));
        let response = Box::pin(second_connect).await.ok().flatten();
        let known = chosen.proxy.unwrap_or(user);
        let place = chosen.target().place();
        // The request without the password is a different one, so only an answer 407 is relevant.
        let response = response.filter(|response| user == known || response.is_about_credentials());
        let token_error = match response
            .as_ref()
            .and_then(|response| response.step(&place, known))
        {
            Some(next_step) => TokenError {
                next_step,
                retry_after: response.as_ref().and_then(ProxyResponse::pause),
                ..token_error
            },
            None => token_error,
        };
        self.log(chosen, &token_error, response.as_ref());
        token_error
    }

    async fn repeat_connect(
        &self,
        issuer: &Issuer,
        chosen: &Chosen,
        user: WithUser,
    ) -> Option<ProxyResponse> {
        let settings = Settings {
            origin: issuer.origin.clone(),
            ca_bundle: issuer.ca_bundle.clone(),
            cidrs: issuer.allowed_cidrs.clone(),
            identity: None,
            local: false,
            by_proxy: Some(chosen.host.clone()),
            to_proxy_itself: Some(user),
            fresh: None,
        };
        let warm = self.warm(settings, None).await.ok()?;
        // The URL omits the default port of http, and CONNECT needs a port.
        let url =
            (chosen.port != 80).then(|| format!("http://{}:{}/", chosen.host, chosen.port))?;
        ProxyResponse::of(&warm.client.request(Method::CONNECT, url).send().await)
    }

    /// Logs one line for the administrator of the proxy if something new was observed.
    fn log(&self, chosen: &Chosen, token_error: &TokenError, response: Option<&ProxyResponse>) {
        let Some(proxy) = self.proxy.as_ref().filter(|_| chosen.proxy.is_some()) else {
            return;
        };
        if !matches!(token_error.stage, Stage::Proxy | Stage::Tunnel)
            && token_error.reason != Reason::ProxyTimeout
        {
            return;
        }
        let message = token_error.message();
        if !self.logged.is_new(&message) {
            return;
        }
        let status = match response {
            Some(ProxyResponse::Status(status, _)) => Some(status.as_u16()),
            _ => None,
        };
        tracing::warn!(
            proxy = proxy.url().origin().ascii_serialization(),
            place = chosen.target().place(),
            status,
            reason = token_error.reason.as_str(),
            "the proxy for issuers opens no connection: {message}"
        );
    }
}
