//! A parsed issuer: its endpoint, and the rules for requests to it.

use std::hash::{DefaultHasher, Hash, Hasher};

use ipnet::IpNet;
use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use url::Url;

use super::{FieldError, Hop, limits::USUAL_GRANTS, place::Place};
use crate::{
    api::{
        AllowedNamespaces, AssertionAudience, CaBundleKind, CaBundleRef, Cloud, ClusterTokenIssuer,
        ClusterTokenIssuerSpec, EntraIssuer, GrantKey, IdentityEndpoint, IssuerKind, Limits,
        ManagedIdentity, Network, RefreshTokens, Reuse, SecretAlgorithm, TokenIssuer,
    },
    credential::addresses,
    oauth::renewal::ReuseRule,
};

/// Default of `limits.requestsPerSecond`: far above what one team's credentials need (10,000 tokens renewed every
/// half hour are 6 a second), near to the 100 that an enterprise tenant of Auth0 may ask (reliability research, section
/// 2.4): a restart after a long outage is soon made up for, and an issuer that minds says so once, to all.
const REQUESTS_PER_SECOND: u32 = 120;
/// Default of `limits.maxInFlight`.
const MAX_IN_FLIGHT: u32 = 16;

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

impl Issuer {
    /// Entra without an issuer object.
    ///
    /// # Errors
    /// When the tenant is none.
    pub fn inline(tenant: &str, cloud: Cloud) -> Result<Self, Vec<FieldError>> {
        let entra = EntraIssuer {
            tenant_id: tenant.to_owned(),
            cloud: Some(cloud),
            authority_host: None,
            graph_host: None,
        };
        let place = Place::entra(&entra, "spec.entra").map_err(|e| vec![e])?;
        let id = IssuerId::Inline(format!("{}/{tenant}", place.origin));
        Ok(Self::assemble(id, String::new(), place, Common::default()))
    }

    /// The issuer of a static key: there is none.
    pub fn nowhere() -> Self {
        let id = IssuerId::Inline("none".to_owned());
        Self::assemble(id, String::new(), Place::nowhere(), Common::default())
    }

    /// A namespaced issuer. `extra` are the networks that the installation allows to every such issuer.
    ///
    /// # Errors
    /// All faults of its spec.
    pub fn namespaced(object: &TokenIssuer, extra: &[IpNet]) -> Result<Self, Vec<FieldError>> {
        let spec = &object.spec;
        let place = Place::of(
            spec.entra.as_ref(),
            spec.oidc.as_ref(),
            spec.oauth2.as_ref(),
            spec.github_app.as_ref(),
        )
        .map_err(|e| vec![e])?;
        let hop = Hop::parse(spec.second_request.as_ref(), &place, true);
        let hop = hop.map_err(|e| vec![e])?;
        let id = IssuerId::Object(
            IssuerKind::TokenIssuer,
            object.metadata.namespace.clone().unwrap_or_default(),
            object.metadata.name.clone().unwrap_or_default(),
        );
        let common = Common {
            ca_bundle: spec.ca_bundle.clone(),
            ca_source: ca_source(spec.ca_bundle_ref.as_ref(), &object.metadata),
            limits: spec.limits.as_ref(),
            assumed: spec.assumed_lifetime,
            refresh_tokens: spec.refresh_tokens.as_ref(),
            assertion_audience: spec.assertion_audience,
        };
        let mut issuer = Self::assemble(id, version(&object.metadata), place, common);
        issuer.allowed_cidrs = extra.to_vec();
        issuer.hop = hop;
        // Entra's own hosts are known and safe, as long as public CAs say that it is them; any other origin is only
        // this namespace's word.
        issuer.vouched = spec.entra.as_ref().is_some_and(|e| {
            e.authority_host.is_none() && spec.ca_bundle.is_none() && spec.ca_bundle_ref.is_none()
        });
        Ok(issuer)
    }

    /// An administrator's issuer.
    ///
    /// # Errors
    /// All faults of its spec.
    pub fn cluster(object: &ClusterTokenIssuer) -> Result<Self, Vec<FieldError>> {
        let spec = &object.spec;
        let mut errors = Vec::new();
        let cidrs = allowed_cidrs(spec.network.as_ref()).map_err(|faults| errors.extend(faults));
        let place = Place::of(
            spec.entra.as_ref(),
            spec.oidc.as_ref(),
            spec.oauth2.as_ref(),
            spec.github_app.as_ref(),
        )
        .map_err(|e| errors.push(e))
        .ok();
        let second = spec.second_request.as_ref();
        let hop = place
            .as_ref()
            .map(|place| Hop::parse(second, place, false))
            .transpose()
            .map_err(|e| errors.push(e))
            .ok();
        let operator_identity = spec
            .managed_identity
            .as_ref()
            .map(|m| operator_identity(m, spec.entra.is_some()))
            .transpose()
            .map_err(|e| errors.push(e))
            .ok();
        let (Some(place), Some(operator_identity), Ok(cidrs), true) =
            (place, operator_identity, cidrs, errors.is_empty())
        else {
            return Err(errors);
        };
        let id = IssuerId::Object(
            IssuerKind::ClusterTokenIssuer,
            String::new(),
            object.metadata.name.clone().unwrap_or_default(),
        );
        let common = Common {
            ca_bundle: spec.ca_bundle.clone(),
            ca_source: ca_source(spec.ca_bundle_ref.as_ref(), &object.metadata),
            limits: spec.limits.as_ref(),
            assumed: spec.assumed_lifetime,
            refresh_tokens: spec.refresh_tokens.as_ref(),
            assertion_audience: spec.assertion_audience,
        };
        let mut issuer = Self::assemble(id, version(&object.metadata), place, common);
        issuer.allowed_cidrs = cidrs;
        issuer.operator_identity = operator_identity;
        issuer.hop = hop.flatten().flatten();
        issuer.allow(spec);
        Ok(issuer)
    }

    /// What an administrator allows. If not set: no namespace, the usual grants, and anything else.
    fn allow(&mut self, spec: &ClusterTokenIssuerSpec) {
        let nobody = AllowedNamespaces {
            names: Some(Vec::new()),
            selector: None,
        };
        self.allowed_namespaces = Some(spec.allowed_namespaces.clone().unwrap_or(nobody));
        self.allowed_scopes.clone_from(&spec.allowed_scopes);
        self.allowed_parameters.clone_from(&spec.allowed_parameters);
        let grants = spec.allowed_grants.clone();
        self.allowed_grants = Some(grants.unwrap_or_else(|| USUAL_GRANTS.to_vec()));
        self.allowed_subjects.clone_from(&spec.allowed_subjects);
    }

    fn assemble(id: IssuerId, version: String, place: Place, common: Common<'_>) -> Self {
        let limit = |value: Option<i32>, default| {
            value
                .and_then(|v| u32::try_from(v).ok())
                .unwrap_or(default)
                .max(1)
        };
        let limits = common.limits;
        let entra = matches!(place.endpoint, Endpoint::Entra { .. });
        let refresh = common.refresh_tokens;
        Self {
            id,
            version,
            endpoint: place.endpoint,
            protocol: place.protocol,
            style: place.style,
            origin: place.origin,
            vouched: true,
            ca_fault: common
                .ca_source
                .as_ref()
                .map(|source| format!("{source} is not read yet")),
            ca_bundle: common.ca_bundle,
            ca_source: common.ca_source,
            allowed_cidrs: Vec::new(),
            requests_per_second: limit(
                limits.and_then(|l| l.requests_per_second),
                REQUESTS_PER_SECOND,
            ),
            max_in_flight: limit(limits.and_then(|l| l.max_in_flight), MAX_IN_FLIGHT),
            requested_per_minute: limits
                .and_then(|l| l.requested_renewals_per_minute)
                .and_then(|n| u32::try_from(n).ok()),
            assumed_lifetime: common.assumed.and_then(span),
            allowed_namespaces: None,
            allowed_scopes: None,
            allowed_parameters: None,
            allowed_grants: None,
            allowed_subjects: None,
            cloud: place.cloud,
            places: place.places,
            graph: place.graph,
            assertion_audience: common.assertion_audience,
            reuse: ReuseRule {
                // Entra ID does not revoke a refresh token by its use (facts, section 7).
                reuse: refresh
                    .and_then(|r| r.reuse)
                    .or(entra.then_some(Reuse::Always)),
                window: refresh
                    .and_then(|r| r.reuse_window)
                    .and_then(span)
                    .unwrap_or_default(),
            },
            operator_identity: None,
            hop: None,
        }
    }
}

/// What both kinds of issuers say alike.
#[derive(Default)]
struct Common<'a> {
    ca_bundle: Option<String>,
    ca_source: Option<CaSource>,
    limits: Option<&'a Limits>,
    assumed: Option<kube::core::Duration>,
    refresh_tokens: Option<&'a RefreshTokens>,
    assertion_audience: Option<AssertionAudience>,
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

/// The networks that an administrator allows.
fn allowed_cidrs(network: Option<&Network>) -> Result<Vec<IpNet>, Vec<FieldError>> {
    let (mut cidrs, mut errors) = (Vec::new(), Vec::new());
    let wide = network.is_some_and(|n| n.allow_wide_cidrs == Some(true));
    let listed = network.into_iter().flat_map(|n| &n.allowed_cidrs);
    for (i, text) in listed.enumerate() {
        match text.parse::<IpNet>() {
            Ok(net) => match addresses::too_wide(&net).filter(|_| !wide) {
                None => cidrs.push(net),
                Some(fault) => errors.push(FieldError::new(
                    format!("spec.network.allowedCidrs[{i}]"),
                    format!("{fault}, or set spec.network.allowWideCidrs: true"),
                )),
            },
            Err(_) => errors.push(FieldError::new(
                format!("spec.network.allowedCidrs[{i}]"),
                format!("\"{text}\" is not a CIDR; write it as 10.20.0.0/16 or 127.0.0.1/32"),
            )),
        }
    }
    if errors.is_empty() {
        Ok(cidrs)
    } else {
        Err(errors)
    }
}

fn ca_source(reference: Option<&CaBundleRef>, meta: &ObjectMeta) -> Option<CaSource> {
    let reference = reference?;
    Some(CaSource {
        namespace: meta.namespace.clone().unwrap_or_default(),
        kind: reference.kind,
        name: reference.name.clone(),
        key: reference.key.clone().unwrap_or_else(|| "ca.crt".to_owned()),
    })
}

fn span(duration: kube::core::Duration) -> Option<SignedDuration> {
    SignedDuration::try_from(std::time::Duration::from(duration)).ok()
}

/// UID and generation: changes exactly when the spec does.
fn version(meta: &ObjectMeta) -> String {
    format!(
        "{}/{}",
        meta.uid.as_deref().unwrap_or_default(),
        meta.generation.unwrap_or_default()
    )
}

/// Where the operator's identity answers. Only loopback and link-local addresses: what is sent there is not secret,
/// but what comes back is believed.
fn operator_identity(spec: &ManagedIdentity, entra: bool) -> Result<OperatorIdentity, FieldError> {
    let at = |field: &str, endpoint: &IdentityEndpoint, usual: &str| {
        let text = endpoint.endpoint.as_deref().unwrap_or(usual);
        let near = |url: &Url| match url.host() {
            Some(url::Host::Ipv4(ip)) => ip.is_loopback() || ip.is_link_local(),
            _ => false,
        };
        Url::parse(text)
            .ok()
            .filter(|u| u.scheme() == "http" && u.path() == "/" && u.query().is_none() && near(u))
            .ok_or_else(|| {
                FieldError::new(
                    format!("spec.managedIdentity.{field}.endpoint"),
                    "must be http:// and a loopback or link-local IPv4 address, such as http://169.254.169.254",
                )
            })
    };
    if !entra {
        return Err(FieldError::new(
            "spec.managedIdentity",
            "is only for Azure; use it together with entra",
        ));
    }
    let keys = (
        &spec.imds,
        &spec.app_service,
        &spec.azure_arc,
        &spec.workload_identity,
    );
    match keys {
        (Some(e), None, None, None) => {
            Ok(OperatorIdentity::Imds(at("imds", e, crate::oauth::IMDS)?))
        }
        (None, Some(_), None, None) => Ok(OperatorIdentity::AppService),
        (None, None, Some(e), None) => Ok(OperatorIdentity::AzureArc(at(
            "azureArc",
            e,
            crate::oauth::AZURE_ARC,
        )?)),
        (None, None, None, Some(_)) => Ok(OperatorIdentity::WorkloadIdentity),
        _ => Err(FieldError::new(
            "spec.managedIdentity",
            "must have exactly one key: imds, appService, azureArc or workloadIdentity",
        )),
    }
}
