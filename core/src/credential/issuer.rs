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
    /// Entra at its well-known host, by authority and tenant.
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
    /// The API of GitHub for installations of apps.
    GitHubApp,
}

/// Addresses of the issuer in the spec, other than the first one that is requested. With discovery, endpoints in the spec take precedence over
/// those of the document.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OptionalEndpoints {
    /// Identifier of the issuer, to be compared exactly: `issuerUrl` with discovery.
    pub issuer: Option<String>,
    /// Revocation endpoint.
    pub revocation: Option<Url>,
    /// Authorization endpoint.
    pub authorization: Option<Url>,
    /// Device authorization endpoint.
    pub device: Option<Url>,
}

/// The operator's identity, if an administrator allows its use.
#[derive(Clone, Debug, PartialEq)]
pub enum OperatorIdentity {
    /// IMDS, at this origin.
    Imds(Url),
    /// From the environment of App Service.
    AppService,
    /// The Arc agent, at this origin.
    AzureArc(Url),
    /// From the environment of Entra Workload ID.
    WorkloadIdentity,
}

/// How a client secret is sent.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum SecretStyle {
    /// `Authorization: Basic`, both parts form-encoded.
    BasicForm,
    /// `Authorization: Basic`, both parts as they are.
    BasicRaw,
    /// In the body.
    Post,
    /// It is not sent: it signs an assertion. Without an algorithm: the one that the document lists, otherwise HS256.
    Jwt(Option<SecretAlgorithm>),
}

/// A valid issuer.
#[derive(Clone, Debug, PartialEq)]
pub struct Issuer {
    /// The issuer object.
    pub id: IssuerId,
    /// UID and generation of the object. Empty if inline.
    pub version: String,
    /// The endpoint.
    pub endpoint: Endpoint,
    /// How tokens are requested.
    pub protocol: Protocol,
    /// How secrets are sent; `None`: according to the discovery document.
    pub style: Option<SecretStyle>,
    /// The origin to which a client secret is bound: `https://host[:port]`.
    pub origin: String,
    /// Whether any Secret of the credential's namespace may be sent there, because an administrator or Microsoft vouches for the origin.
    /// Otherwise the Secret must name the origin itself.
    pub vouched: bool,
    /// Additional root certificates, PEM.
    pub ca_bundle: Option<String>,
    /// Where the root certificates are stored, if not in the spec.
    pub ca_source: Option<CaSource>,
    /// Why the root certificates are not known. No connection is made without them.
    pub ca_fault: Option<CaFault>,
    /// Networks that are allowed although they are not public.
    pub allowed_cidrs: Vec<IpNet>,
    /// Maximum number of requests per second.
    pub requests_per_second: u32,
    /// Maximum number of concurrent requests.
    pub max_in_flight: u32,
    /// Maximum number of renewals per minute that one namespace may request, if an administrator has set it.
    pub requested_per_minute: Option<u32>,
    /// The lifetime of a token if the answer does not contain one.
    pub assumed_lifetime: Option<SignedDuration>,
    /// The allowed namespaces; `None`: only its own namespace.
    pub allowed_namespaces: Option<AllowedNamespaces>,
    /// The allowed scopes; `None`: all.
    pub allowed_scopes: Option<Vec<String>>,
    /// Additional parameters that may be sent; `None`: any, but none if `allowed_scopes` is set.
    pub allowed_parameters: Option<Vec<String>>,
    /// Grants that may be used; `None`: any.
    pub allowed_grants: Option<Vec<GrantKey>>,
    /// The allowed subjects; `None`: all, but none if `allowed_scopes` is set.
    pub allowed_subjects: Option<Vec<String>>,
    /// National cloud, at Entra ID.
    pub cloud: Cloud,
    /// The identifier and the other endpoints in the spec.
    pub places: OptionalEndpoints,
    /// Microsoft Graph, with its version, if the issuer is Entra ID.
    pub graph: Option<Url>,
    /// The audience of client assertions, if the issuer sets it.
    pub assertion_audience: Option<AssertionAudience>,
    /// How it treats a refresh token that is used twice.
    pub reuse: ReuseRule,
    /// The operator's identity, if this issuer allows it.
    pub operator_identity: Option<OperatorIdentity>,
    /// The second request that completes a token.
    pub hop: Option<Hop>,
}

/// Why the root certificates of an issuer are not known.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CaFault {
    /// Their object is being read. This is a wait and no fault.
    Unread(String),
    /// An object, a right of the operator or the issuer must change first. The text contains the next step.
    Unusable(String),
}

/// Where the CAs of an issuer are stored, if not in its spec.
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
    /// Sets the CAs that were found at [`Issuer::ca_source`], or the reason why there are none.
    #[must_use]
    pub fn with_ca(mut self, found: Result<&str, CaFault>) -> Self {
        match found {
            Ok(text) => {
                // What is cached for this version of the issuer was obtained with these CAs.
                let mut hasher = DefaultHasher::new();
                text.hash(&mut hasher);
                self.version = format!("{}/ca-{:x}", self.version, hasher.finish());
                self.ca_bundle = Some(text.to_owned());
                self.ca_fault = None;
            }
            Err(fault) => self.ca_fault = Some(fault),
        }
        self
    }
}
