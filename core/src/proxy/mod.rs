//! The HTTP proxy that an administrator sets for issuer traffic, and the destinations that are contacted directly. Never a
//! proxy of the environment: `HTTPS_PROXY` is set for many programs, usually without this one in mind.

use std::net::IpAddr;

use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};
use url::{Host, Url};

/// A proxy that opens connections to issuers (CONNECT). TLS is end-to-end, between apicred and the issuer.
#[derive(Clone)]
pub struct Proxy {
    url: Url,
    credentials: Option<SecretString>,
    direct: Vec<Direct>,
}

/// A destination that is contacted directly, not via the proxy.
#[derive(Clone, PartialEq)]
enum Direct {
    Everything,
    Name {
        name: String,
        /// True if the name itself matches, and not only the names below it.
        itself: bool,
        port: Option<u16>,
    },
    Address(IpAddr, Option<u16>),
    Network(IpNet),
}

impl Proxy {
    /// Parses the URL and the list of direct destinations: host names (with all names below them), `.suffixes` (only the
    /// names below), addresses and CIDRs, or `*`. Each except a CIDR may have a port. The syntax is that of `NO_PROXY` of other programs.
    ///
    /// # Errors
    /// What is wrong with the URL or an entry, and how to fix it. Contains no part of the URL.
    pub fn parse(url: &SecretString, direct: &[String]) -> Result<Self, Fault> {
        let mut url = Url::parse(url.expose_secret().trim()).map_err(|_| Fault::Url(
            "is not a URL; write it as http://proxy.example:3128 and percent-encode special characters in user and password",
        ))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Fault::Url(
                "must begin with http:// or https://; other kinds of proxies are not supported",
            ));
        }
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(Fault::Url(
                "must end after the port; if a / ? or # belongs to user or password, percent-encode it",
            ));
        }
        let credentials = credentials(&url)?;
        // Both fail only for a URL without a host, and an http URL has one.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        let direct = direct
            .iter()
            .map(|entry| entry.trim())
            .filter(|entry| !entry.is_empty())
            .map(|entry| Direct::parse(entry).ok_or_else(|| Fault::Direct(entry.to_owned())))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            url,
            credentials,
            direct,
        })
    }

    /// Its URL, without user and password.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// `user:password` for Basic authentication.
    pub fn credentials(&self) -> Option<&SecretString> {
        self.credentials.as_ref()
    }

    /// True if `target` is reached via the proxy.
    pub fn serves(&self, target: &Url) -> bool {
        !self.direct.iter().any(|d| d.covers(target))
    }
}

/// What is wrong with the settings of a proxy.
#[derive(Debug, PartialEq)]
pub enum Fault {
    /// In the URL.
    Url(&'static str),
    /// In this entry of the list.
    Direct(String),
}

impl Fault {
    /// The message, with the names of the two settings.
    pub fn message(&self, url: &str, direct: &str) -> String {
        match self {
            Self::Url(text) => format!("{url} {text}"),
            Self::Direct(entry) => format!(
                "{direct}: {entry:?} is neither a host name, a .suffix, an address nor a CIDR; write example.com, .svc, 10.1.2.3:8443 or 10.0.0.0/8, without https:// and separated by commas"
            ),
        }
    }
}

/// The decoded user and password of a URL.
fn credentials(url: &Url) -> Result<Option<SecretString>, Fault> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok(None);
    }
    let decoded = |text: &str| {
        decode(text).ok_or(Fault::Url(
            "has a % in user or password that encodes nothing; write % as %25",
        ))
    };
    let user = decoded(url.username())?;
    if user.contains(':') {
        return Err(Fault::Url(
            "has a colon in the user, which Basic authentication does not allow",
        ));
    }
    let password = decoded(url.password().unwrap_or_default())?;
    Ok(Some(SecretString::from(format!("{user}:{password}"))))
}

/// Percent-decodes a text, strictly.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            u8::try_from(digit()? * 16 + digit()?).ok()?
        } else {
            byte
        });
    }
    String::from_utf8(bytes).ok()
}

impl Direct {
    fn parse(entry: &str) -> Option<Self> {
        if entry == "*" {
            return Some(Self::Everything);
        }
        if entry.contains('/') {
            return entry.parse().ok().map(Self::Network);
        }
        if let Ok(address) = entry.parse::<IpAddr>() {
            return Some(Self::Address(address.to_canonical(), None));
        }
        let (host, port) = match entry.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                (host, Some(port.parse().ok().filter(|p| *p > 0)?))
            }
            _ => (entry, None),
        };
        let below = host.strip_prefix("*.").or_else(|| host.strip_prefix('.'));
        let name = below.unwrap_or(host);
        if name.contains('*') {
            return None;
        }
        // Parsed like the host of a URL: in lower case, in ASCII, and an address in any notation.
        match Host::parse(name).ok()? {
            Host::Domain(name) => {
                let name = name.trim_end_matches('.').to_owned();
                (name.split('.').all(|label| !label.is_empty())).then_some(Self::Name {
                    name,
                    itself: below.is_none(),
                    port,
                })
            }
            _ if below.is_some() => None,
            Host::Ipv4(address) => Some(Self::Address(address.into(), port)),
            Host::Ipv6(address) => Some(Self::Address(IpAddr::from(address).to_canonical(), port)),
        }
    }

    fn covers(&self, target: &Url) -> bool {
        let at = |port: &Option<u16>| port.is_none() || *port == target.port_or_known_default();
        let address = match target.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::from(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::from(address).to_canonical()),
            _ => None,
        };
        match self {
            Self::Everything => true,
            Self::Name { name, itself, port } => {
                let host = target.host_str().unwrap_or_default().trim_end_matches('.');
                let above = host.strip_suffix(name.as_str());
                let within = above
                    .is_some_and(|above| (above.is_empty() && *itself) || above.ends_with('.'));
                address.is_none() && within && at(port)
            }
            Self::Address(one, port) => address.as_ref() == Some(one) && at(port),
            Self::Network(net) => address.is_some_and(|a| net.contains(&a)),
        }
    }
}
