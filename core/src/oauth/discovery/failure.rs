//! Why no document can be used, and which failures show that a document is not correct any more.

use std::time::Duration;

use url::Url;

use super::{MAX_SHOWN, Unusable, shown};
use crate::{
    Reason,
    api::Cloud,
    credential::entra_authority,
    oauth::{
        Class, NextStep, Stage, Then, TokenError, request::TOKEN_ENDPOINT,
        response::MAX_RETRY_AFTER, unread::compressed,
    },
    printable::bounded,
};

/// What helps if the token endpoint of a document cannot be used.
pub(super) const USE_TOKEN_URL: &str = "use oauth2.tokenUrl";

/// What one URL answered instead of a usable document.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// A document that is not used, or a page.
    Unusable(Unusable),
    /// Another status than 200.
    Status(u16),
    /// 429 or 503 with a time for the next attempt.
    Later(u16, Duration),
    /// A redirect that is not followed, with its status.
    Redirect(u16, Option<String>),
    /// More redirects within the origin than are followed.
    Loop(u16),
    /// An answer that broke off or is too long.
    Broken(TokenError),
}

impl Seen {
    /// What to do about it, in addition to the text.
    fn then(&self) -> Then {
        match self {
            Self::Later(..) | Self::Status(429 | 500..=599) => Then::TryAgain,
            Self::Broken(token_error) => token_error.next_step.then(),
            _ => Then::Stated,
        }
    }

    /// How specific it is, most specific first: a document is the most specific, a missing page the least.
    const fn rank(&self) -> u8 {
        match self {
            Self::Unusable(Unusable::Issuer(_) | Unusable::TokenEndpoint(_)) => 0,
            Self::Redirect(..) | Self::Loop(_) => 1,
            Self::Status(429 | 500..=599) | Self::Later(..) | Self::Broken(_) => 2,
            Self::Status(401 | 403 | 407) | Self::Unusable(Unusable::Coded(_)) => 3,
            Self::Unusable(Unusable::NotDocument(_)) => 4,
            Self::Status(_) => 5,
        }
    }

    /// A short text, shown next to the URL.
    fn briefly(&self) -> String {
        match self {
            Self::Unusable(Unusable::NotDocument(what)) => format!("HTTP 200, {what}"),
            Self::Unusable(Unusable::Coded(coding)) => {
                format!("HTTP 200, compressed with {coding}")
            }
            Self::Unusable(_) => "a document that cannot be used".to_owned(),
            Self::Status(status)
            | Self::Later(status, _)
            | Self::Redirect(status, _)
            | Self::Loop(status) => {
                format!("HTTP {status}")
            }
            Self::Broken(token_error) => token_error.reason.to_string(),
        }
    }

    /// The wait that the server requests.
    const fn wait(&self) -> Option<Duration> {
        match self {
            Self::Later(_, wait) => Some(*wait),
            _ => None,
        }
    }

    const fn status(&self) -> Option<u16> {
        match self {
            Self::Unusable(_) => None,
            Self::Status(status)
            | Self::Later(status, _)
            | Self::Redirect(status, _)
            | Self::Loop(status) => Some(*status),
            Self::Broken(token_error) => token_error.http_status,
        }
    }
}

/// True if there was no answer, so that other URLs of the same host would have none either.
pub const fn is_silence(token_error: &TokenError) -> bool {
    match token_error.stage {
        Stage::Own
        | Stage::Proxy
        | Stage::Tunnel
        | Stage::Name
        | Stage::Connect
        | Stage::Tls
        | Stage::ClientCertificate
        | Stage::Timeout => token_error.http_status.is_none(),
        // A firewall that resets the connection for one path.
        Stage::BrokenOff => token_error.not_sent,
        Stage::Foreign | Stage::Answered => false,
    }
}

/// True if a failed token request shows that the endpoint has changed since the document was read. The document is then read
/// again. After an issuer moved, the old URL often has no page, a web page, a redirect, another owner's certificate, or a
/// name that does not resolve. A timeout after the connection was made shows nothing, and neither does a proxy that fails for
/// all hosts.
pub fn disproves(token_error: &TokenError) -> bool {
    match token_error.stage {
        Stage::Own | Stage::Proxy => false,
        Stage::Tunnel | Stage::Name | Stage::Connect | Stage::Tls | Stage::ClientCertificate => {
            true
        }
        Stage::Timeout => token_error.not_sent && token_error.http_status.is_none(),
        Stage::BrokenOff => token_error.http_status.is_none(),
        Stage::Foreign | Stage::Answered => match token_error.http_status {
            Some(300..=399 | 404 | 405 | 410 | 421 | 501) => token_error.error.is_none(),
            Some(200..=299) => token_error.stage == Stage::Foreign,
            _ => false,
        },
    }
}

/// Why there is no document for `issuer`, from the answer of each URL.
pub fn conclude(issuer: &str, seen: &[(Url, Seen)]) -> TokenError {
    let Some((address, first)) = seen.iter().min_by_key(|(_, seen)| seen.rank()) else {
        return TokenError::local(
            Class::Invalid,
            Reason::DiscoveryFailed,
            "this issuer has no discovery document; set oidc.issuerUrl or oauth2.tokenUrl",
        );
    };
    let at = shown(address.as_str());
    let text = match first {
        Seen::Unusable(why @ (Unusable::Issuer(_) | Unusable::TokenEndpoint(_))) => {
            return why.token_error(issuer);
        }
        Seen::Unusable(Unusable::NotDocument(what)) => {
            format!("the answer at {at} {what}; correct issuerUrl or use oauth2.tokenUrl")
        }
        Seen::Redirect(_, Some(origin)) => format!(
            "{at} redirects to {origin}, which apicred does not follow; set issuerUrl to the issuer there, or use oauth2.tokenUrl"
        ),
        Seen::Redirect(_, None) => {
            format!("{at} redirects to no https address; correct issuerUrl or use oauth2.tokenUrl")
        }
        Seen::Loop(_) => {
            format!("{at} redirects in a loop; correct that at the issuer, or use oauth2.tokenUrl")
        }
        Seen::Status(401 | 403 | 407) => format!(
            "the discovery document at {at} is not public; have the issuer serve it without authentication, or use oauth2.tokenUrl"
        ),
        Seen::Unusable(Unusable::Coded(coding)) => format!(
            "the answer at {at} {}, or use oauth2.tokenUrl",
            coded(coding)
        ),
        Seen::Later(_, wait) => {
            let more = if *wait < MAX_RETRY_AFTER {
                ""
            } else {
                " or more"
            };
            format!(
                "the discovery document at {at} cannot be read now, and the server requests a pause of {} s{more}",
                wait.as_secs()
            )
        }
        Seen::Status(429 | 500..=599) => {
            format!("the discovery document at {at} cannot be read now")
        }
        Seen::Status(_) => {
            "there is no discovery document below issuerUrl; correct it or use oauth2.tokenUrl"
                .to_owned()
        }
        Seen::Broken(token_error) => format!(
            "the discovery document at {at} cannot be read: {}",
            token_error.next_step.what()
        ),
    };
    TokenError {
        http_status: first.status(),
        retry_after: seen.iter().filter_map(|(_, seen)| seen.wait()).max(),
        // For each status: during a rollout an issuer answers 404 for some time, and all credentials share the wait between two attempts.
        ..TokenError::local(
            Class::Transient,
            Reason::DiscoveryFailed,
            NextStep::new(text + &others(seen, first), first.then()),
        )
        .at(Stage::Foreign)
    }
}

/// The answers of the other URLs, if they differ.
fn others(seen: &[(Url, Seen)], first: &Seen) -> String {
    let others = seen.iter().filter(|(_, s)| s.briefly() != first.briefly());
    let others: Vec<String> = others
        .map(|(url, s)| format!("{}: {}", bounded(url.path(), 80), s.briefly()))
        .collect();
    if others.is_empty() {
        String::new()
    } else {
        format!(" (also tried: {})", others.join("; "))
    }
}

impl Unusable {
    /// The reported error.
    fn token_error(&self, issuer: &str) -> TokenError {
        let text = match self {
            Self::NotDocument(what) => {
                format!("the discovery document {what}; correct issuerUrl or use oauth2.tokenUrl")
            }
            Self::Coded(coding) => format!("the discovery document {}", coded(coding)),
            Self::Issuer(named) => other_issuer(issuer, named.as_deref()),
            Self::TokenEndpoint(there) => no_endpoint(there.as_deref()),
        };
        TokenError::local(Class::Invalid, Reason::DiscoveryFailed, text).at(Stage::Answered)
    }
}

fn coded(coding: &str) -> String {
    format!(
        "is {}; turn compression off for it at the issuer, or in the gateway before it",
        compressed(coding)
    )
}

/// Why a document at `address` got no answer. It is read without a client certificate, because it is the same for all
/// clients.
pub fn unanswered(token_error: TokenError, address: &Url) -> TokenError {
    if token_error.stage != Stage::ClientCertificate {
        return token_error;
    }
    let host = bounded(address.host_str().unwrap_or_default(), 253);
    let port = address.port_or_known_default().unwrap_or_default();
    TokenError {
        reason: Reason::DiscoveryFailed,
        next_step: format!(
            "{host}:{port}: the server demands a client certificate for its discovery document, which is read without one; have the issuer serve the document without, or use oauth2.tokenUrl"
        )
        .into(),
        about_client: false,
        ..token_error
    }
}

fn other_issuer(issuer: &str, named: Option<&str>) -> String {
    let address = named.filter(|n| n.bytes().all(|b| b.is_ascii_graphic()));
    let address = address.filter(|n| n.len() <= MAX_SHOWN && !n.contains(['"', '\\', '<', '>']));
    let (Some(named), Some(url)) = (address, address.and_then(|n| Url::parse(n).ok())) else {
        return match named {
            None | Some("") => "the discovery document names no issuer; use oauth2.tokenUrl",
            Some(_) => {
                "the discovery document names an issuer that is not a URL, or one that is too long; use oauth2.tokenUrl"
            }
        }
        .to_owned();
    };
    let plain = |url: &Url| url.as_str().trim_end_matches('/').to_ascii_lowercase();
    let spelled = Url::parse(issuer).is_ok_and(|i| plain(&i) == plain(&url));
    let entra = |host: &str| {
        host == "sts.windows.net"
            || [Cloud::Public, Cloud::USGov, Cloud::China]
                .iter()
                .any(|c| entra_authority(*c).strip_prefix("https://") == Some(host))
    };
    if url.host_str().is_some_and(entra) {
        format!(
            "the discovery document is for the issuer \"{named}\"; for Microsoft Entra ID use entra.tenantId in place of oidc"
        )
    } else if url.scheme() != "https" {
        format!(
            "the discovery document names the issuer \"{named}\", which is not https; correct its public address at the issuer (is it behind a proxy that terminates TLS?), or use oauth2.tokenUrl"
        )
    } else if spelled {
        format!(
            "the discovery document names the issuer \"{named}\", and identifiers are compared letter by letter; set issuerUrl: {named}"
        )
    } else {
        format!(
            "the discovery document is for another issuer, \"{named}\"; set issuerUrl to that one if it is meant and has a document of its own, else use oauth2.tokenUrl"
        )
    }
}

fn no_endpoint(there: Option<&str>) -> String {
    there.map_or_else(
        || "the discovery document names no token_endpoint; use oauth2.tokenUrl".to_owned(),
        |there| {
            not_https(
                ("the discovery document", TOKEN_ENDPOINT),
                there,
                USE_TOKEN_URL,
            )
        },
    )
}

/// Why an address of an answer is not used. `instead`: what helps if the issuer cannot be corrected.
pub(in crate::oauth) fn not_https(
    (answer, field): (&str, &str),
    there: &str,
    instead: &str,
) -> String {
    let fault = match Url::parse(there) {
        Ok(url) if url.scheme() == "http" => {
            let origin = shown(&url.origin().ascii_serialization());
            return format!(
                "{answer} names no https {field} but one at {origin}; correct the public address of the issuer there (is it behind a proxy that terminates TLS?), or {instead}"
            );
        }
        Ok(url) if url.scheme() == "https" => {
            "has a user, a fragment or more than 2048 characters in it"
        }
        Err(url::ParseError::RelativeUrlWithoutBase) if !there.trim().is_empty() => {
            "is relative to an address that is not known"
        }
        _ => "is not a URL",
    };
    format!(
        "{answer} names no https {field}: the value {fault}; correct it at the issuer, or {instead}"
    )
}
