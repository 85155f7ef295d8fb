//! Discovery documents (authorization server metadata): OpenID Connect Discovery 1.0 section 4, RFC 8414 sections 3 and 5.
//!
//! [`addresses`] and [`redirected`] return the URLs to read, [`read`] parses a document, and [`conclude`] explains why no document can be
//! used. Never sends a request.

use crate::Reason;
use std::time::Duration;

use serde_json::{Map, Value};
use url::Url;

use crate::{
    api::{Cloud, SecretAlgorithm, SigningAlgorithm},
    credential::{Places, SecretStyle, entra_authority},
    input::{self, NotObject},
    oauth::{self, Class, NextStep, Refusal, Stage, Then, TokenEndpoint},
    printable::bounded,
};

/// Longest address that is taken from a document: what is kept of one must be little, since a namespace may have any
/// number of issuers.
const MAX_URL: usize = 2048;
/// Longest part of an address that is shown.
const MAX_SHOWN: usize = 200;
/// `token_endpoint_auth_methods_supported` of a client with a signed assertion (OpenID Connect Core section 9).
const PRIVATE_KEY_JWT: &str = "private_key_jwt";

/// Where the document of `issuer` may be, in the order of asking: OpenID appends the well-known path to the issuer, RFC 8414
/// puts it between host and path, and section 5 there allows both for both names. Okta has its OAuth document at the
/// appended path, Spring at all of them.
pub fn addresses(issuer: &Url) -> Vec<Url> {
    let path = issuer.path().trim_end_matches('/').to_owned();
    let mut paths = vec![
        format!("{path}/.well-known/openid-configuration"),
        format!("/.well-known/oauth-authorization-server{path}"),
    ];
    if !path.is_empty() {
        paths.push(format!("{path}/.well-known/oauth-authorization-server"));
        paths.push(format!("/.well-known/openid-configuration{path}"));
    }
    paths
        .into_iter()
        .map(|path| {
            let mut url = issuer.clone();
            url.set_path(&path);
            url
        })
        .collect()
}

/// Where an answer leads that is no document itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Redirect {
    /// To another URL of the same origin: requested as well, because no other server learns of it.
    Here(Url),
    /// To this origin, or to something that is not an https URL (`None`). Never requested.
    Away(Option<String>),
}

/// Where a redirect of `from` leads.
pub fn redirected(from: &Url, location: Option<&str>) -> Redirect {
    let to = location.and_then(|l| from.join(l).ok());
    match to {
        Some(mut url) if url.origin() == from.origin() && url.scheme() == "https" => {
            url.set_fragment(None);
            let _ = (url.set_username(""), url.set_password(None));
            Redirect::Here(url)
        }
        Some(url) if url.has_host() => {
            Redirect::Away(Some(shown(&url.origin().ascii_serialization())))
        }
        _ => Redirect::Away(None),
    }
}

/// An address apicred may use: https, without user, password and fragment.
fn is_plain_https(url: &Url) -> bool {
    url.scheme() == "https"
        && url.as_str().len() <= MAX_URL
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none()
}

/// Why a document is not used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Unusable {
    /// It is none.
    NotDocument(NotObject),
    /// It came in this content coding, which the request did not allow.
    Coded(String),
    /// It is for another issuer than the requested one, or for none.
    Issuer(Option<String>),
    /// Its token endpoint is missing or cannot be used.
    TokenEndpoint(Option<String>),
}

/// Reads a document that was found for `issuer`, which is the identifier as the spec has it. `style` is what the spec
/// demands, if it does.
///
/// # Errors
/// When the document is not one, speaks for another issuer, or leads away from TLS.
pub fn read(
    issuer: &str,
    body: &[u8],
    style: Option<SecretStyle>,
) -> Result<TokenEndpoint, Unusable> {
    let document = input::object(body).map_err(Unusable::NotDocument)?;
    let text = |name: &str| document.get(name).and_then(Value::as_str);
    let named = text("issuer");
    let Some(named) = named.filter(|named| is_same(issuer, named)) else {
        return Err(Unusable::Issuer(named.map(str::to_owned)));
    };
    let Some(url) = place(&document, "token_endpoint") else {
        let there = document.get("token_endpoint").filter(|v| !v.is_null());
        let there = there.map(|v| v.as_str().unwrap_or_default().to_owned());
        return Err(Unusable::TokenEndpoint(there));
    };
    let methods = document
        .get("token_endpoint_auth_methods_supported")
        .filter(|v| !v.is_null())
        .map(input::list);
    // RFC 8414 section 2: left out means client_secret_basic.
    let lists = |method: &str| {
        let same = |m: &&str| m.eq_ignore_ascii_case(method);
        methods.as_ref().map(|list| list.iter().any(same))
    };
    let (basic, post) = (lists("client_secret_basic"), lists("client_secret_post"));
    let signs = lists("client_secret_jwt") == Some(true);
    let offered = match (basic, post) {
        (Some(false), Some(true)) => SecretStyle::Post,
        (Some(false), _) if signs => SecretStyle::Jwt(None),
        _ => SecretStyle::BasicForm,
    };
    let style_used = match style.unwrap_or(offered) {
        SecretStyle::Jwt(None) => SecretStyle::Jwt(secret_algorithm(&document)),
        chosen => chosen,
    };
    let empty = Map::new();
    let aliases = document
        .get("mtls_endpoint_aliases")
        .and_then(Value::as_object)
        .unwrap_or(&empty);
    Ok(TokenEndpoint {
        takes_secrets: style.is_some()
            || basic.is_none_or(|yes| yes)
            || post == Some(true)
            || signs,
        takes_assertions: lists(PRIVATE_KEY_JWT).is_none_or(|yes| yes),
        algorithms: algorithms(&document),
        issuer: Some(named.to_owned()),
        mtls_url: place(aliases, "token_endpoint"),
        mtls_revocation: place(aliases, "revocation_endpoint"),
        mtls_device: place(aliases, "device_authorization_endpoint"),
        revocation: place(&document, "revocation_endpoint"),
        authorization: place(&document, "authorization_endpoint"),
        device: place(&document, "device_authorization_endpoint"),
        names_itself: document
            .get("authorization_response_iss_parameter_supported")
            .and_then(input::flag)
            == Some(true),
        scopes: document
            .get("scopes_supported")
            .and_then(Value::as_array)
            .map(|list| known_scopes(list)),
        ..TokenEndpoint::bare(url, style_used)
    })
}

/// RFC 8414 section 3.3: identifiers are compared character by character, as both sides write them. One slash at the end is the
/// difference that users write without intent: Auth0 has it, Okta and Keycloak have not, and both places of the
/// document are the same either way.
fn is_same(written: &str, named: &str) -> bool {
    let bare = |text: &str| text.strip_suffix('/').unwrap_or(text).len();
    written == named || written[..bare(written)] == named[..bare(named)]
}

/// An address in a document, if it can be used.
fn place(of: &Map<String, Value>, name: &str) -> Option<Url> {
    let text = of.get(name)?.as_str()?;
    Url::parse(text).ok().filter(is_plain_https)
}

/// The scopes of a sign-in that the issuer supports; the others do not matter to apicred.
fn known_scopes(list: &[Value]) -> Vec<String> {
    let known = |scope: &&str| list.iter().any(|s| s.as_str() == Some(*scope));
    let ours = oauth::sign_in::SCOPES.iter().copied().filter(known);
    ours.map(str::to_owned).collect()
}

/// The algorithms of `private_key_jwt`, in the order of the document, of which apicred has them.
fn algorithms(document: &Map<String, Value>) -> Option<Vec<SigningAlgorithm>> {
    let listed = document.get("token_endpoint_auth_signing_alg_values_supported")?;
    let known = input::list(listed).into_iter().filter_map(|name| {
        SigningAlgorithm::ALL
            .into_iter()
            .find(|a| a.as_str() == name)
    });
    let mut found: Vec<SigningAlgorithm> = Vec::new();
    for algorithm in known {
        if !found.contains(&algorithm) {
            found.push(algorithm);
        }
    }
    (!listed.is_null()).then_some(found)
}

/// The algorithm of an assertion that a client secret signs: the shortest hash that is listed, since a secret must have as
/// many bytes.
fn secret_algorithm(document: &Map<String, Value>) -> Option<SecretAlgorithm> {
    let listed = document.get("token_endpoint_auth_signing_alg_values_supported")?;
    let listed: Vec<&str> = input::list(listed).into_iter().collect();
    let all = [
        ("HS256", SecretAlgorithm::HS256),
        ("HS384", SecretAlgorithm::HS384),
        ("HS512", SecretAlgorithm::HS512),
    ];
    let known = all.into_iter().find(|(name, _)| listed.contains(name));
    known.map(|(_, algorithm)| algorithm)
}

/// The endpoints of a document, and of the spec where it has some: an administrator knows of endpoints that a document
/// leaves out.
#[must_use]
pub fn completed(found: TokenEndpoint, places: &Places) -> TokenEndpoint {
    let with = |own: &Option<Url>, found: Option<Url>| own.clone().or(found);
    // An alias belongs to the endpoint of the document.
    let alias = |own: &Option<Url>, found: Option<Url>| found.filter(|_| own.is_none());
    TokenEndpoint {
        mtls_revocation: alias(&places.revocation, found.mtls_revocation),
        mtls_device: alias(&places.device, found.mtls_device),
        revocation: with(&places.revocation, found.revocation),
        authorization: with(&places.authorization, found.authorization),
        device: with(&places.device, found.device),
        ..found
    }
}

/// What came from one address that is no document which can be used.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// A document that is not used, or a page.
    Unusable(Unusable),
    /// Another status than 200.
    Status(u16),
    /// 429 or 503 with a time to come back.
    Later(u16, Duration),
    /// A redirect that is not followed, with its status.
    Redirect(u16, Option<String>),
    /// More redirects within the origin than are followed.
    Loop(u16),
    /// An answer that broke off, or is too long.
    Broken(Refusal),
}

impl Seen {
    /// How specific it is, most specific first: a document is the most, a missing page the least.
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

    /// In a word, beside an address.
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
            Self::Broken(refusal) => refusal.reason.to_string(),
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
            Self::Broken(refusal) => refusal.http_status,
        }
    }
}

/// True if there was no answer, so that other URLs of the same host would have none either.
pub const fn is_silence(refusal: &Refusal) -> bool {
    match refusal.stage {
        Stage::Own
        | Stage::Proxy
        | Stage::Tunnel
        | Stage::Name
        | Stage::Connect
        | Stage::Tls
        | Stage::ClientCertificate
        | Stage::Timeout => refusal.http_status.is_none(),
        // A firewall that resets the connection for one path.
        Stage::BrokenOff => refusal.not_sent,
        Stage::Foreign | Stage::Answered => false,
    }
}

/// Does a failed token request show that the endpoint is not where the document said? The document is read again then: an
/// issuer that moves leaves behind a page that is not there, a web page, a redirect, a certificate of somebody else, or a
/// name that does not resolve. Silence of a server that was connected to shows nothing, nor does a proxy that fails for
/// all hosts.
pub fn disproves(refusal: &Refusal) -> bool {
    match refusal.stage {
        Stage::Own | Stage::Proxy => false,
        Stage::Tunnel | Stage::Name | Stage::Connect | Stage::Tls | Stage::ClientCertificate => {
            true
        }
        Stage::Timeout => refusal.not_sent && refusal.http_status.is_none(),
        Stage::BrokenOff => refusal.http_status.is_none(),
        Stage::Foreign | Stage::Answered => match refusal.http_status {
            Some(300..=399 | 404 | 405 | 410 | 421 | 501) => refusal.error.is_none(),
            Some(200..=299) => refusal.stage == Stage::Foreign,
            _ => false,
        },
    }
}

/// Why there is no document for `issuer`, by what each address answered.
pub fn conclude(issuer: &str, seen: &[(Url, Seen)]) -> Refusal {
    let Some((address, first)) = seen.iter().min_by_key(|(_, seen)| seen.rank()) else {
        return Refusal::local(
            Class::Invalid,
            Reason::DiscoveryFailed,
            "this issuer has no discovery document; set oidc.issuerUrl or oauth2.tokenUrl",
        );
    };
    let text = match first {
        Seen::Unusable(why @ (Unusable::Issuer(_) | Unusable::TokenEndpoint(_))) => {
            return why.refusal(issuer);
        }
        Seen::Unusable(Unusable::NotDocument(what)) => format!(
            "the answer at {} {what}; correct issuerUrl or use oauth2.tokenUrl",
            shown(address.as_str())
        ),
        Seen::Redirect(_, Some(origin)) => format!(
            "{} redirects to {origin}, which apicred does not follow; set issuerUrl to the issuer there, or use oauth2.tokenUrl",
            shown(address.as_str())
        ),
        Seen::Redirect(_, None) => format!(
            "{} redirects to no https address; correct issuerUrl or use oauth2.tokenUrl",
            shown(address.as_str())
        ),
        Seen::Loop(_) => format!(
            "{} redirects in a loop; correct that at the issuer, or use oauth2.tokenUrl",
            shown(address.as_str())
        ),
        Seen::Status(401 | 403 | 407) => format!(
            "the discovery document at {} is not public; have the issuer serve it without authentication, or use oauth2.tokenUrl",
            shown(address.as_str())
        ),
        Seen::Unusable(Unusable::Coded(coding)) => format!(
            "the answer at {} {}, or use oauth2.tokenUrl",
            shown(address.as_str()),
            coded(coding)
        ),
        Seen::Later(_, wait) => format!(
            "the discovery document at {} cannot be read now, and the server requests a pause of {} s",
            shown(address.as_str()),
            wait.as_secs()
        ),
        Seen::Status(429 | 500..=599) => format!(
            "the discovery document at {} cannot be read now",
            shown(address.as_str())
        ),
        Seen::Status(_) => {
            "there is no discovery document below issuerUrl; correct it or use oauth2.tokenUrl"
                .to_owned()
        }
        Seen::Broken(refusal) => format!(
            "the discovery document at {} cannot be read: {}",
            shown(address.as_str()),
            refusal.next_step.what()
        ),
    };
    let then = match first {
        Seen::Later(..) | Seen::Status(429 | 500..=599) => Then::TryAgain,
        Seen::Broken(refusal) => refusal.next_step.then(),
        _ => Then::Stated,
    };
    Refusal {
        http_status: first.status(),
        retry_after: seen.iter().filter_map(|(_, seen)| seen.wait()).max(),
        // For each status: an issuer that is being rolled out answers 404 for some time, and all credentials share the wait
        // between two attempts.
        ..Refusal::local(
            Class::Transient,
            Reason::DiscoveryFailed,
            NextStep::new(text + &others(seen, first), then),
        )
        .at(Stage::Foreign)
    }
}

/// What the other addresses answered, if that is something else.
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
    /// What is reported.
    fn refusal(&self, issuer: &str) -> Refusal {
        let text = match self {
            Self::NotDocument(what) => {
                format!("the discovery document {what}; correct issuerUrl or use oauth2.tokenUrl")
            }
            Self::Coded(coding) => format!("the discovery document {}", coded(coding)),
            Self::Issuer(named) => other_issuer(issuer, named.as_deref()),
            Self::TokenEndpoint(there) => no_endpoint(there.as_deref()),
        };
        Refusal::local(Class::Invalid, Reason::DiscoveryFailed, text).at(Stage::Answered)
    }
}

fn coded(coding: &str) -> String {
    format!(
        "is compressed with {coding}, although the request forbids it (accept-encoding: identity); turn compression off for it at the issuer, or in the gateway before it"
    )
}

/// Why there is no answer for a document at `address`. It is read without a client certificate, since it is the same for all
/// clients.
pub fn unanswered(refusal: Refusal, address: &Url) -> Refusal {
    if refusal.stage != Stage::ClientCertificate {
        return refusal;
    }
    let host = bounded(address.host_str().unwrap_or_default(), 253);
    let port = address.port_or_known_default().unwrap_or_default();
    Refusal {
        reason: Reason::DiscoveryFailed,
        next_step: format!(
            "{host}:{port}: the server demands a client certificate for its discovery document, which is read without one; have the issuer serve the document without, or use oauth2.tokenUrl"
        )
        .into(),
        about_client: false,
        ..refusal
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
            "the discovery document names the issuer \"{named}\", which is not https; correct its public address at the issuer (is it behind a proxy that ends TLS?), or use oauth2.tokenUrl"
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
    let Some(there) = there else {
        return "the discovery document names no token_endpoint; use oauth2.tokenUrl".to_owned();
    };
    let fault = match Url::parse(there) {
        Ok(url) if url.scheme() == "http" => {
            let origin = shown(&url.origin().ascii_serialization());
            return format!(
                "the discovery document names no https token_endpoint but one at {origin}; correct the public address of the issuer there (is it behind a proxy that ends TLS?), or use oauth2.tokenUrl"
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
        "the discovery document names no https token_endpoint: the value {fault}; correct it at the issuer, or use oauth2.tokenUrl"
    )
}

/// An address or origin as it is shown: printable and bounded.
fn shown(text: &str) -> String {
    bounded(text, MAX_SHOWN)
}
