//! A parsed issuer: its endpoint, and the rules for requests to it.

use std::hash::{DefaultHasher, Hash, Hasher};

use ipnet::IpNet;
use jiff::SignedDuration;
use url::Url;

use super::Hop;
use crate::{
    api::{
        AllowedNamespaces, AssertionAudience, CaBundleKind, Cloud, GrantKey, IssuerKind,
        SecretAlgorithm,
    },
    oauth::renewal::ReuseRule,
};

/// Which issuer object this is. Inline Entra has none.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum IssuerId {
    /// An object, by kind, namespace (empty for cluster scope) and name.
    Object(IssuerKind, String, String),
    /// Entra at its known host, by authority and tenant.
    Inline(String),
}

impl std::fmt::Display for IssuerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Object(IssuerKind::ClusterTokenIssuer, _, name) => {
                write!(f, "ClusterTokenIssuer {name}")
            }
            Self::Object(IssuerKind::TokenIssuer, _, name) => write!(f, "TokenIssuer {name}"),
            Self::Inline(tenant) => write!(f, "Entra tenant {tenant}"),
        }
    }
}

/// Where the token endpoint is.
#[derive(Clone, Debug, PartialEq)]
pub enum Endpoint {
    /// Entra: the two endpoints of a tenant below its authority.
    Entra {
        /// `https://host/tenant`, without a slash at the end.
        authority: String,
    },
    /// Known from the spec.
    Fixed(Url),
    /// In the discovery document of this issuer.
    Discover(Url),
    /// No endpoint: a static key.
    Nowhere,
}

/// How tokens are requested from an issuer.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Protocol {
    /// RFC 6749.
    #[default]
    OAuth,
    /// GitHub's own, for installations of apps.
    GitHubApp,
}

/// What a spec says about the issuer beside the address that is asked first. With discovery, endpoints that the spec has go
/// before those of the document.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Places {
    /// Identifier of the issuer, letter by letter: `issuerUrl` with discovery.
    pub issuer: Option<String>,
    /// Revocation endpoint.
    pub revocation: Option<Url>,
    /// Authorization endpoint.
    pub authorization: Option<Url>,
    /// Device authorization endpoint.
    pub device: Option<Url>,
}

/// The operator's identity, whose use an administrator allowed.
#[derive(Clone, Debug, PartialEq)]
pub enum OperatorIdentity {
    /// IMDS, at this origin.
    Imds(Url),
    /// By the environment of App Service.
    AppService,
    /// The Arc agent, at this origin.
    AzureArc(Url),
    /// By the environment of Entra Workload ID.
    WorkloadIdentity,
}

/// How a client secret travels.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum SecretStyle {
    /// `Authorization: Basic`, halves form-encoded.
    BasicForm,
    /// `Authorization: Basic`, halves as they are.
    BasicRaw,
    /// In the body.
    Post,
    /// Not at all: it signs an assertion. Without an algorithm: what the document lists, else HS256.
    Jwt(Option<SecretAlgorithm>),
}

/// A valid issuer.
#[derive(Clone, Debug, PartialEq)]
pub struct Issuer {
    /// Which object.
    pub id: IssuerId,
    /// UID and generation of the object, or nothing for inline.
    pub version: String,
    /// The endpoint.
    pub endpoint: Endpoint,
    /// How it is spoken to.
    pub protocol: Protocol,
    /// How secrets travel; `None`: as the discovery document says.
    pub style: Option<SecretStyle>,
    /// The origin a client secret is bound to: `https://host[:port]`.
    pub origin: String,
    /// May any Secret of the credential's namespace be sent there, because an administrator or Microsoft vouches
    /// for the origin? Otherwise the Secret must name the origin itself.
    pub vouched: bool,
    /// Extra roots, PEM.
    pub ca_bundle: Option<String>,
    /// Where they are, if not in the spec.
    pub ca_source: Option<CaSource>,
    /// Why they are not known. No connection is made without them.
    pub ca_fault: Option<String>,
    /// Networks that are allowed although not public.
    pub allowed_cidrs: Vec<IpNet>,
    /// Requests a second.
    pub requests_per_second: u32,
    /// Requests in flight.
    pub max_in_flight: u32,
    /// Renewals a minute that one namespace may request, if an administrator has set it.
    pub requested_per_minute: Option<u32>,
    /// The lifetime of a token if the answer has none.
    pub assumed_lifetime: Option<SignedDuration>,
    /// The allowed namespaces; `None`: only its own namespace.
    pub allowed_namespaces: Option<AllowedNamespaces>,
    /// The allowed scopes; `None`: all.
    pub allowed_scopes: Option<Vec<String>>,
    /// What may be sent along; `None`: anything, but nothing beside `allowed_scopes`.
    pub allowed_parameters: Option<Vec<String>>,
    /// Grants that may be used; `None`: any.
    pub allowed_grants: Option<Vec<GrantKey>>,
    /// The allowed subjects; `None`: all, but none if `allowed_scopes` is set.
    pub allowed_subjects: Option<Vec<String>>,
    /// National cloud, at Entra ID.
    pub cloud: Cloud,
    /// What the spec says of its identifier and its other endpoints.
    pub places: Places,
    /// Microsoft Graph, with its version, if the issuer is Entra ID.
    pub graph: Option<Url>,
    /// What client assertions name as their audience, if the issuer says so.
    pub assertion_audience: Option<AssertionAudience>,
    /// What it does with a refresh token that comes twice.
    pub reuse: ReuseRule,
    /// The operator's identity, if this issuer allows it.
    pub operator_identity: Option<OperatorIdentity>,
    /// The second request that completes a token.
    pub hop: Option<Hop>,
}

/// Where an issuer's CAs are, if not in its spec.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct CaSource {
    /// Namespace of the issuer; empty for an administrator's issuer, whose CAs are in the operator's namespace.
    pub namespace: String,
    /// Kind of the object.
    pub kind: CaBundleKind,
    /// Its name.
    pub name: String,
    /// The key in its data.
    pub key: String,
}

impl std::fmt::Display for CaSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let place = match self.namespace.as_str() {
            "" => "the operator's namespace".to_owned(),
            namespace => format!("namespace {namespace}"),
        };
        write!(
            f,
            "key {} of {:?} {} in {place}",
            self.key, self.kind, self.name
        )
    }
}

impl Issuer {
    /// With the CAs that were found at [`Issuer::ca_source`], or the reason why there are none.
    #[must_use]
    pub fn with_ca(mut self, found: Result<&str, &str>) -> Self {
        match found {
            Ok(text) => {
                // Whoever remembers something about this version of the issuer has seen these CAs.
                let mut hasher = DefaultHasher::new();
                text.hash(&mut hasher);
                self.version = format!("{}/ca-{:x}", self.version, hasher.finish());
                self.ca_bundle = Some(text.to_owned());
                self.ca_fault = None;
            }
            Err(fault) => self.ca_fault = Some(fault.to_owned()),
        }
        self
    }
}
