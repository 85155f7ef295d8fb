//! Parses the spec of an issuer.

use super::{
    FieldError, Hop,
    issuer::{CaFault, CaSource, Endpoint, Issuer, IssuerId, OperatorIdentity},
    limits::{USUAL_GRANTS, check_namespaces},
    place::IssuerEndpoints,
};
use crate::{
    api::{
        AllowedNamespaces, AssertionAudience, Cloud, ClusterTokenIssuer, ClusterTokenIssuerSpec,
        EntraIssuer, IdentityEndpoint, IssuerKind, Limits, ManagedIdentity, Network, RefreshTokens,
        Reuse, TokenIssuer,
    },
    credential::addresses,
    oauth::renewal::ReuseRule,
};
use ipnet::IpNet;
use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use url::Url;

/// Default of `limits.requestsPerSecond`. It is far above the need of one team (10,000 tokens renewed every half hour are 6 a second), and near
/// the 100 that an enterprise tenant of Auth0 may send (reliability research, section 2.4). A restart after a long outage thus recovers
/// quickly. An issuer that throttles does so once, for all credentials.
const REQUESTS_PER_SECOND: u32 = 120;
/// Default of `limits.maxInFlight`.
const MAX_IN_FLIGHT: u32 = 16;

impl Issuer {
    /// Entra without an issuer object.
    ///
    /// # Errors
    /// If the tenant is not valid.
    pub fn inline(tenant: &str, cloud: Cloud) -> Result<Self, Vec<FieldError>> {
        let entra = EntraIssuer {
            tenant_id: tenant.to_owned(),
            cloud: Some(cloud),
            authority_host: None,
            graph_host: None,
        };
        let place = IssuerEndpoints::entra(&entra, "spec.entra").map_err(|e| vec![e])?;
        let id = IssuerId::Inline(format!("{}/{tenant}", place.origin));
        Ok(Self::assemble(id, String::new(), place, Common::default()))
    }

    /// The issuer of a static key: there is none.
    pub fn nowhere() -> Self {
        let id = IssuerId::Inline("none".to_owned());
        Self::assemble(
            id,
            String::new(),
            IssuerEndpoints::nowhere(),
            Common::default(),
        )
    }

    /// A namespaced issuer. `extra` are the networks that the installation allows for every such issuer.
    ///
    /// # Errors
    /// All faults of its spec.
    pub fn namespaced(object: &TokenIssuer, extra: &[IpNet]) -> Result<Self, Vec<FieldError>> {
        let spec = &object.spec;
        let place = IssuerEndpoints::of(
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
            ca_source: spec
                .ca_bundle_ref
                .as_ref()
                .map(|r| CaSource::named(r, &object.metadata)),
            limits: spec.limits.as_ref(),
            assumed: spec.assumed_lifetime,
            refresh_tokens: spec.refresh_tokens.as_ref(),
            assertion_audience: spec.assertion_audience,
        };
        let mut issuer = Self::assemble(id, version(&object.metadata), place, common);
        issuer.allowed_cidrs = extra.to_vec();
        issuer.hop = hop;
        // Entra's own hosts are known and safe, as long as public CAs confirm them. For any other origin, only this namespace vouches.
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
        let place = IssuerEndpoints::of(
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
        errors.extend(check_namespaces(spec.allowed_namespaces.as_ref()).err());
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
            ca_source: spec
                .ca_bundle_ref
                .as_ref()
                .map(|r| CaSource::named(r, &object.metadata)),
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

    /// Sets what an administrator allows. If not set: no namespace, the usual grants, and anything else.
    fn allow(&mut self, spec: &ClusterTokenIssuerSpec) {
        let none = AllowedNamespaces {
            names: Some(Vec::new()),
            selector: None,
        };
        self.allowed_namespaces = Some(spec.allowed_namespaces.clone().unwrap_or(none));
        self.allowed_scopes.clone_from(&spec.allowed_scopes);
        self.allowed_parameters.clone_from(&spec.allowed_parameters);
        let grants = spec.allowed_grants.clone();
        self.allowed_grants = Some(grants.unwrap_or_else(|| USUAL_GRANTS.to_vec()));
        self.allowed_subjects.clone_from(&spec.allowed_subjects);
    }

    fn assemble(id: IssuerId, version: String, place: IssuerEndpoints, common: Common<'_>) -> Self {
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
                .map(|source| CaFault::Unread(format!("{source} is being read"))),
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
                // Entra ID does not revoke a refresh token after its use (facts, section 7).
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

/// The fields that both kinds of issuers have.
#[derive(Default)]
struct Common<'a> {
    ca_bundle: Option<String>,
    ca_source: Option<CaSource>,
    limits: Option<&'a Limits>,
    assumed: Option<kube::core::Duration>,
    refresh_tokens: Option<&'a RefreshTokens>,
    assertion_audience: Option<AssertionAudience>,
}

/// The networks that an administrator allows.
pub(super) fn allowed_cidrs(network: Option<&Network>) -> Result<Vec<IpNet>, Vec<FieldError>> {
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

fn span(duration: kube::core::Duration) -> Option<SignedDuration> {
    SignedDuration::try_from(std::time::Duration::from(duration)).ok()
}

/// UID and generation: changes exactly when the spec changes.
pub(super) fn version(meta: &ObjectMeta) -> String {
    format!(
        "{}/{}",
        meta.uid.as_deref().unwrap_or_default(),
        meta.generation.unwrap_or_default()
    )
}

/// The endpoint of the operator's identity. Only loopback and link-local addresses are accepted: the request is not secret, but the answer is
/// trusted.
pub(super) fn operator_identity(
    spec: &ManagedIdentity,
    entra: bool,
) -> Result<OperatorIdentity, FieldError> {
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
