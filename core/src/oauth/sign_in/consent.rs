//! Which origins receive data in a sign-in, and whether the user allowed it.
//!
//! The author of a `TokenIssuer` selects its URLs. A genuine sign-in page does not prove anything: its code is sent to the token endpoint of
//! the `TokenIssuer`, with the PKCE verifier, and can be redeemed from there (a mix-up attack, RFC 9700 section 4.4). So a sign-in sends
//! nothing to an origin that the user did not allow.

use url::Url;

use crate::{
    api::DeletionPolicy,
    credential::{Credential, Endpoint, Issuer},
    oauth::TokenEndpoint,
};

/// How the user signs in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Flow {
    /// The browser is redirected back with an authorization code.
    Browser,
    /// The user enters a device code on another page (RFC 8628).
    Device,
}

/// What a URL is used for.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Part {
    /// The discovery document.
    Discovery,
    /// The authorization endpoint.
    SignInPage,
    /// The device authorization endpoint.
    DeviceCode,
    /// The page where the user enters a device code.
    Verification,
    /// The token endpoint.
    Token,
    /// The revocation endpoint, if tokens are revoked.
    Revocation,
}

impl Part {
    /// A description of its use, for the user.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Discovery => "metadata of the issuer",
            Self::SignInPage => "the page where you sign in",
            Self::DeviceCode => "request for a device code, client authentication",
            Self::Verification => "the page where you enter the code",
            Self::Token => "code, PKCE verifier, client authentication, refresh token",
            Self::Revocation => "refresh token when the credential is deleted",
        }
    }
}

/// A URL that is used in a sign-in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Destination {
    /// What it is used for.
    pub part: Part,
    /// `https://host[:port]` in ASCII.
    pub origin: String,
}

impl Destination {
    /// The origin of a URL.
    pub fn new(part: Part, url: &Url) -> Self {
        Self {
            part,
            origin: url.origin().ascii_serialization(),
        }
    }
}

/// The URL that is contacted before the endpoints are known.
pub fn discovery(issuer: &Issuer) -> Option<Destination> {
    match &issuer.endpoint {
        Endpoint::Discover(url) => Some(Destination::new(Part::Discovery, url)),
        _ => None,
    }
}

/// Every URL that is used in a sign-in, for a check before anything is sent.
pub fn destinations(
    credential: &Credential,
    endpoint: &TokenEndpoint,
    flow: Flow,
) -> Vec<Destination> {
    let certificate = credential.authentication.shows_certificate();
    let page = match flow {
        Flow::Browser => (Part::SignInPage, endpoint.authorization.as_ref()),
        Flow::Device => (Part::DeviceCode, endpoint.device_at(certificate)),
    };
    let revocation = endpoint
        .revoked_at(certificate)
        .filter(|_| credential.target.deletion == DeletionPolicy::Revoke);
    let known = [
        page,
        (Part::Token, Some(endpoint.posted(certificate))),
        (Part::Revocation, revocation),
    ];
    let known = known
        .into_iter()
        .filter_map(|(part, url)| Some(Destination::new(part, url?)));
    discovery(&credential.issuer)
        .into_iter()
        .chain(known)
        .collect()
}

/// The origins of these `parts`, and the issuer's own, which Secrets name.
pub fn origins(issuer: &Issuer, destinations: &[Destination], parts: &[Part]) -> Vec<String> {
    let mut all = vec![issuer.origin.clone()];
    for destination in destinations.iter().filter(|d| parts.contains(&d.part)) {
        if !all.contains(&destination.origin) {
            all.push(destination.origin.clone());
        }
    }
    all
}

/// Parses an origin that a user names: `https://host[:port]`, in any spelling of this origin.
///
/// # Errors
/// How to write it.
pub fn named_origin(text: &str) -> Result<String, String> {
    let url = Url::parse(text.trim()).map_err(|_| "write it as https://host[:port]".to_owned())?;
    let bare = url.scheme() == "https"
        && url.username().is_empty()
        && url.password().is_none()
        // `https://host@` has a user with an empty name.
        && !text.contains('@')
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none();
    if bare {
        Ok(url.origin().ascii_serialization())
    } else {
        Err(
            "write only the origin: https://host[:port], without a user, path, query or fragment"
                .to_owned(),
        )
    }
}

/// The origins that the user allowed.
#[derive(Clone, Debug)]
pub struct Consent {
    vouched: bool,
    named: Vec<String>,
    allowed: Vec<String>,
}

impl Consent {
    /// Nothing is allowed yet. `named` are the origins that the user named beforehand ([`named_origin`]).
    pub fn new(issuer: &Issuer, named: Vec<String>) -> Self {
        Self {
            vouched: issuer.vouched,
            named,
            allowed: Vec::new(),
        }
    }

    /// Checks the origins. Returns whether the user must agree first: only the namespace vouches for a
    /// `TokenIssuer`.
    ///
    /// # Errors
    /// When the user named other origins, or when the sign-in page and the token endpoint are on two origins that the user
    /// did not name.
    pub fn check(&self, destinations: &[Destination]) -> Result<bool, String> {
        // An issuer that an administrator vouches for may choose the page where its codes are entered. apicred sends nothing there.
        let must_be_named = |d: &&Destination| !(self.vouched && d.part == Part::Verification);
        if !self.named.is_empty() {
            let other = destinations
                .iter()
                .filter(must_be_named)
                .find(|d| !self.named.contains(&d.origin));
            return match other {
                None => Ok(false),
                Some(other) => Err(format!(
                    "--issuer names {} and not {} ({}); nothing was sent. If this origin belongs to the issuer, add --issuer {}",
                    self.named.join(", "),
                    other.origin,
                    other.part.describe(),
                    other.origin
                )),
            };
        }
        if self.vouched {
            return Ok(false);
        }
        let token = destinations.iter().find(|d| d.part == Part::Token);
        let pages = [Part::SignInPage, Part::DeviceCode, Part::Verification];
        let split = token.and_then(|token| {
            destinations
                .iter()
                .find(|d| pages.contains(&d.part) && d.origin != token.origin)
                .map(|page| (page, token))
        });
        if let Some((page, token)) = split {
            return Err(format!(
                "{} is {}, but the code and the refresh token go to {}; nothing was sent. No administrator vouches for this TokenIssuer, and a sign-in at one origin must not be redeemed at another. If both belong to the issuer, add --issuer {} --issuer {}",
                page.part.describe(),
                page.origin,
                token.origin,
                page.origin,
                token.origin
            ));
        }
        Ok(destinations
            .iter()
            .any(|d| !self.allowed.contains(&d.origin)))
    }

    /// The destinations whose origin the user has not allowed yet.
    pub fn unseen<'a>(&self, destinations: &'a [Destination]) -> Vec<&'a Destination> {
        let new = |d: &&Destination| !self.allowed.contains(&d.origin);
        destinations.iter().filter(new).collect()
    }

    /// Allows these destinations.
    pub fn allow(&mut self, destinations: &[Destination]) {
        for Destination { origin, .. } in destinations {
            if !self.allowed.contains(origin) {
                self.allowed.push(origin.clone());
            }
        }
    }

    /// True if something may be sent to this URL.
    pub fn covers(&self, url: &Url) -> bool {
        self.allowed.contains(&url.origin().ascii_serialization())
    }

    /// True if the issuer may use this identifier in the answer of its sign-in page (RFC 9207). A `TokenIssuer` can claim the
    /// identifier of any issuer, but only one on an allowed origin is its own.
    pub fn accepts_name(&self, issuer: &str) -> bool {
        self.vouched || Url::parse(issuer).is_ok_and(|url| self.covers(&url))
    }
}
