//! An issuer parsed: one address to ask, and the rules for asking it.

use ipnet::IpNet;
use jiff::SignedDuration;
use url::Url;

use super::FieldError;
use crate::api::{
    AllowedNamespaces, BasicEncoding, ClientAuthentication, Cloud, ClusterTokenIssuer, EntraIssuer,
    IssuerKind, Limits, OAuth2Issuer, OidcIssuer, TokenIssuer,
};

/// Default of `limits.requestsPerSecond`: far above what one team's credentials need (10,000 tokens renewed every
/// half hour are 6 a second), far below what makes an issuer answer 429 to a healthy client.
const REQUESTS_PER_SECOND: u32 = 50;
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
}

/// A valid issuer.
#[derive(Clone, Debug, PartialEq)]
pub struct Issuer {
    /// Which object.
    pub id: IssuerId,
    /// UID and generation of the object, or nothing for inline.
    pub version: String,
    /// Where to ask.
    pub endpoint: Endpoint,
    /// How secrets travel; `None`: as the discovery document says.
    pub style: Option<SecretStyle>,
    /// The origin a client secret is bound to: `https://host[:port]`.
    pub origin: String,
    /// May any Secret of the credential's namespace be sent there, because an administrator or Microsoft vouches
    /// for the origin? Otherwise the Secret must name the origin itself.
    pub vouched: bool,
    /// Extra roots, PEM.
    pub ca_bundle: Option<String>,
    /// Networks that are allowed although not public.
    pub allowed_cidrs: Vec<IpNet>,
    /// Requests a second.
    pub requests_per_second: u32,
    /// Requests in flight.
    pub max_in_flight: u32,
    /// Life of a token that does not tell.
    pub assumed_lifetime: Option<SignedDuration>,
    /// Who may ask; `None`: the question does not arise (own namespace).
    pub allowed_namespaces: Option<AllowedNamespaces>,
    /// What may be asked; `None`: anything.
    pub allowed_scopes: Option<Vec<String>>,
}

/// The authority host of a national cloud.
/// Source: learn.microsoft.com/entra/identity-platform/authentication-national-cloud.
pub const fn entra_authority(cloud: Cloud) -> &'static str {
    match cloud {
        Cloud::Public => "https://login.microsoftonline.com",
        Cloud::USGov => "https://login.microsoftonline.us",
        Cloud::China => "https://login.partner.microsoftonline.cn",
    }
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
        };
        let place = entra_place(&entra, "spec.entra").map_err(|e| vec![e])?;
        let id = IssuerId::Inline(format!("{}/{tenant}", place.origin));
        Ok(Self::assemble(
            id,
            String::new(),
            place,
            None,
            Vec::new(),
            None,
            None,
        ))
    }

    /// A namespaced issuer. `extra` are the networks that the installation allows to every such issuer.
    ///
    /// # Errors
    /// All faults of its spec.
    pub fn namespaced(object: &TokenIssuer, extra: &[IpNet]) -> Result<Self, Vec<FieldError>> {
        let spec = &object.spec;
        let place = place(
            spec.entra.as_ref(),
            spec.oidc.as_ref(),
            spec.oauth2.as_ref(),
        )
        .map_err(|e| vec![e])?;
        let id = IssuerId::Object(
            IssuerKind::TokenIssuer,
            object.metadata.namespace.clone().unwrap_or_default(),
            object.metadata.name.clone().unwrap_or_default(),
        );
        let mut issuer = Self::assemble(
            id,
            version(&object.metadata),
            place,
            spec.ca_bundle.clone(),
            extra.to_vec(),
            spec.limits.as_ref(),
            spec.assumed_lifetime,
        );
        // Entra's own hosts are known and safe, as long as public CAs say that it is them; any other origin is only
        // this namespace's word.
        issuer.vouched = spec
            .entra
            .as_ref()
            .is_some_and(|e| e.authority_host.is_none() && spec.ca_bundle.is_none());
        Ok(issuer)
    }

    /// An administrator's issuer.
    ///
    /// # Errors
    /// All faults of its spec.
    pub fn cluster(object: &ClusterTokenIssuer) -> Result<Self, Vec<FieldError>> {
        let spec = &object.spec;
        let mut errors = Vec::new();
        let mut cidrs = Vec::new();
        for (i, text) in spec
            .network
            .iter()
            .flat_map(|n| &n.allowed_cidrs)
            .enumerate()
        {
            match text.parse::<IpNet>() {
                Ok(net) => cidrs.push(net),
                Err(_) => errors.push(FieldError::new(
                    format!("spec.network.allowedCidrs[{i}]"),
                    format!("\"{text}\" is not a CIDR; write it as 10.20.0.0/16 or 127.0.0.1/32"),
                )),
            }
        }
        let place = place(
            spec.entra.as_ref(),
            spec.oidc.as_ref(),
            spec.oauth2.as_ref(),
        );
        let place = match place {
            Ok(place) if errors.is_empty() => place,
            Ok(_) => return Err(errors),
            Err(error) => {
                errors.push(error);
                return Err(errors);
            }
        };
        let id = IssuerId::Object(
            IssuerKind::ClusterTokenIssuer,
            String::new(),
            object.metadata.name.clone().unwrap_or_default(),
        );
        let mut issuer = Self::assemble(
            id,
            version(&object.metadata),
            place,
            spec.ca_bundle.clone(),
            cidrs,
            spec.limits.as_ref(),
            spec.assumed_lifetime,
        );
        let nobody = AllowedNamespaces {
            names: Some(Vec::new()),
            selector: None,
        };
        issuer.allowed_namespaces = Some(spec.allowed_namespaces.clone().unwrap_or(nobody));
        issuer.allowed_scopes.clone_from(&spec.allowed_scopes);
        Ok(issuer)
    }

    fn assemble(
        id: IssuerId,
        version: String,
        place: Place,
        ca_bundle: Option<String>,
        allowed_cidrs: Vec<IpNet>,
        limits: Option<&Limits>,
        assumed: Option<kube::core::Duration>,
    ) -> Self {
        let limit = |value: Option<i32>, default| {
            value
                .and_then(|v| u32::try_from(v).ok())
                .unwrap_or(default)
                .max(1)
        };
        Self {
            id,
            version,
            endpoint: place.endpoint,
            style: place.style,
            origin: place.origin,
            vouched: true,
            ca_bundle,
            allowed_cidrs,
            requests_per_second: limit(
                limits.and_then(|l| l.requests_per_second),
                REQUESTS_PER_SECOND,
            ),
            max_in_flight: limit(limits.and_then(|l| l.max_in_flight), MAX_IN_FLIGHT),
            assumed_lifetime: assumed
                .and_then(|d| SignedDuration::try_from(std::time::Duration::from(d)).ok()),
            allowed_namespaces: None,
            allowed_scopes: None,
        }
    }
}

/// UID and generation: changes exactly when the spec does.
fn version(meta: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta) -> String {
    format!(
        "{}/{}",
        meta.uid.as_deref().unwrap_or_default(),
        meta.generation.unwrap_or_default()
    )
}

struct Place {
    endpoint: Endpoint,
    style: Option<SecretStyle>,
    origin: String,
}

fn place(
    entra: Option<&EntraIssuer>,
    oidc: Option<&OidcIssuer>,
    oauth2: Option<&OAuth2Issuer>,
) -> Result<Place, FieldError> {
    match (entra, oidc, oauth2) {
        (Some(entra), None, None) => entra_place(entra, "spec.entra"),
        (None, Some(oidc), None) => {
            let url = https_url("spec.oidc.issuerUrl", &oidc.issuer_url)?;
            let style = oidc.client_authentication.as_ref().map(style);
            Ok(Place {
                origin: origin(&url),
                endpoint: Endpoint::Discover(url),
                style,
            })
        }
        (None, None, Some(oauth2)) => {
            let url = https_url("spec.oauth2.tokenUrl", &oauth2.token_url)?;
            // RFC 6749 section 2.3.1: every server that issues secrets must take Basic.
            let style = oauth2
                .client_authentication
                .as_ref()
                .map_or(SecretStyle::BasicForm, style);
            Ok(Place {
                origin: origin(&url),
                endpoint: Endpoint::Fixed(url),
                style: Some(style),
            })
        }
        _ => Err(FieldError::new(
            "spec",
            "an issuer has exactly one of entra, oidc or oauth2",
        )),
    }
}

fn entra_place(entra: &EntraIssuer, at: &str) -> Result<Place, FieldError> {
    let tenant = &entra.tenant_id;
    let well_formed = !tenant.is_empty()
        && tenant
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-.".contains(c))
        && !tenant.starts_with(['-', '.'])
        && !tenant.ends_with(['-', '.']);
    let shared = ["common", "organizations", "consumers"]
        .iter()
        .any(|s| tenant.eq_ignore_ascii_case(s));
    if !well_formed || shared {
        return Err(FieldError::new(
            format!("{at}.tenantId"),
            "give the tenant's GUID or one of its verified domains; application tokens need the concrete tenant",
        ));
    }
    let host = match &entra.authority_host {
        Some(host) => {
            let url = https_url(&format!("{at}.authorityHost"), host)?;
            if url.path() != "/" || url.query().is_some() {
                return Err(FieldError::new(
                    format!("{at}.authorityHost"),
                    "give an origin without a path, such as https://login.example.com",
                ));
            }
            origin(&url)
        }
        None => entra_authority(entra.cloud.unwrap_or_default()).to_owned(),
    };
    Ok(Place {
        endpoint: Endpoint::Entra {
            authority: format!("{host}/{tenant}"),
        },
        style: Some(SecretStyle::Post),
        origin: host,
    })
}

fn style(auth: &ClientAuthentication) -> SecretStyle {
    match &auth.basic {
        None => SecretStyle::Post,
        Some(basic) => match basic.encoding.unwrap_or_default() {
            BasicEncoding::Form => SecretStyle::BasicForm,
            BasicEncoding::Raw => SecretStyle::BasicRaw,
        },
    }
}

/// Parses an https URL without user, password or fragment.
fn https_url(field: &str, text: &str) -> Result<Url, FieldError> {
    let url = Url::parse(text).map_err(|e| {
        FieldError::new(
            field,
            format!("not a URL ({e}); write it as https://host/path"),
        )
    })?;
    if url.scheme() != "https" {
        return Err(FieldError::new(
            field,
            "must start with https://; apicred never sends a secret without TLS",
        ));
    }
    if !url.username().is_empty()
        || url.password().is_some()
        || url.fragment().is_some()
        || url.host().is_none()
    {
        return Err(FieldError::new(
            field,
            "must have a host, and neither a user nor a fragment",
        ));
    }
    Ok(url)
}

/// `https://host[:port]` in the form that annotations use: lower case, default port left out.
fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}
