//! The token request parameters of a spec. Preset, scopes, resource and audience become one [`RequestParameters`], by the rules of the issuer.
//!
//! Entra ID refuses wrong combinations with AADSTS1002012, 28002, 70011 or 901002 (facts, section 3.1). Checking them here needs no
//! request, and the message contains the value to write. Mistakes of Microsoft's samples (section 2) have their own messages.

use url::Url;

use super::{Endpoint, FieldError, Issuer, RequestParameters, parameters, preset, scopes};
use crate::{
    api::{
        ApiCredentialSpec, ApiPreset, Cloud, EndpointVersion, Parameter,
        parameter::is_of_authorization,
    },
    oauth::Grant,
};

/// APIs that users request by their URL, although their audience is different.
const BY_ADDRESS: [(&str, &str); 4] = [
    ("mmdls.microsoft.com", "ManagedDesktop"),
    ("portal.cloudappsecurity.com", "DefenderForCloudApps"),
    ("portal.cloudappsecuritygov.com", "DefenderForCloudApps"),
    ("securitycenter.windows.com", "DefenderForEndpoint"),
];

/// First parts of permissions, with the API to which they belong.
///
/// Sources: learn.microsoft.com/defender-endpoint/api/exposed-apis-list and the pages below it,
/// learn.microsoft.com/defender-cloud-apps/api-authentication-application, learn.microsoft.com/defender-xdr/api-incident
/// and learn.microsoft.com/managed-desktop/developer/mmd-api-access-app-context.
const FAMILIES: [(&[&str], ApiPreset); 4] = [
    (
        &[
            "AdvancedQuery",
            "Alert",
            "Event",
            "File",
            "IntegrationConfiguration",
            "Ip",
            "Library",
            "Machine",
            "RemediationTasks",
            "Score",
            "SecurityBaselinesAssessment",
            "SecurityConfiguration",
            "SecurityRecommendation",
            "Software",
            "Ti",
            "Url",
            "Vulnerability",
        ],
        ApiPreset::DefenderForEndpoint,
    ),
    (&["AdvancedHunting", "Incident"], ApiPreset::DefenderXdr),
    (
        &["Discovery", "Investigation", "Settings"],
        ApiPreset::DefenderForCloudApps,
    ),
    (&["MmdSupport", "MWaaSDevice"], ApiPreset::ManagedDesktop),
];

/// The token request parameters of a spec.
///
/// # Errors
/// Every fault, with field paths.
pub(super) fn of_spec(
    spec: &ApiCredentialSpec,
    issuer: &Issuer,
    grant: &Grant,
) -> Result<RequestParameters, Vec<FieldError>> {
    let mut all = parameters::all(spec);
    let signs_in = matches!(grant, Grant::RefreshToken(_));
    let of_sign_in: Vec<Parameter> = all
        .extract_if(.., |p| signs_in && is_of_authorization(&p.name))
        .collect();
    let mut request = RequestParameters {
        scopes: spec.scopes.clone(),
        resources: spec.resources.clone(),
        audience: spec.audience.clone(),
        parameters: all
            .iter()
            .filter_map(|p| Some((p.name.clone(), p.value.clone()?)))
            .collect(),
        sign_in_parameters: of_sign_in
            .into_iter()
            .filter_map(|p| Some((p.name, p.value?)))
            .collect(),
        secret_parameters: all
            .iter()
            .filter_map(|p| Some((p.name.clone(), p.secret_ref.clone()?)))
            .collect(),
        claims: spec
            .grant
            .as_ref()
            .and_then(|g| g.jwt_bearer.as_ref()?.signed.as_ref())
            .map(|s| s.claims.clone())
            .unwrap_or_default(),
        grant: grant.key(),
        subjects: grant.subjects(),
        inputs: grant.inputs(),
        preset: None,
    };
    let errors = match issuer.endpoint {
        Endpoint::Entra { .. } => {
            let mut errors = Vec::new();
            if spec.audience.is_some() {
                errors.push(FieldError::new(
                    "spec.audience",
                    "Entra ID has no audience parameter; set the API in spec.scopes as \"<api>/.default\"",
                ));
            }
            if let Some(api) = spec.api {
                errors.extend(fill(&mut request, spec, issuer, grant, api).err());
            } else {
                errors.extend(entra_faults(spec, grant, issuer.cloud));
            }
            errors
        }
        // A static key has no request; `fit` reports fields about requests.
        Endpoint::Nowhere => return Ok(RequestParameters::default()),
        Endpoint::Fixed(_) | Endpoint::Discover(_) => only_for_entra(spec),
    };
    if errors.is_empty() {
        Ok(request)
    } else {
        Err(errors)
    }
}

/// The fields that only Entra ID uses.
fn only_for_entra(spec: &ApiCredentialSpec) -> Vec<FieldError> {
    let api = spec.api.map(|_| {
        FieldError::new(
            "spec.api",
            "names an API of Microsoft; this issuer is not Entra ID, so use scopes, resources or audience",
        )
    });
    let version = spec.endpoint_version.map(|_| {
        FieldError::new(
            "spec.endpointVersion",
            "is only for Entra ID; remove it for this issuer",
        )
    });
    api.into_iter().chain(version).collect()
}

/// Adds the values of a preset.
fn fill(
    request: &mut RequestParameters,
    spec: &ApiCredentialSpec,
    issuer: &Issuer,
    grant: &Grant,
    api: ApiPreset,
) -> Result<(), FieldError> {
    let Some(preset) = preset(api, issuer.cloud) else {
        return Err(FieldError::new(
            "spec.api",
            format!(
                "{api:?} has no documented address in the cloud {:?}; give its audience in scopes (\"<api>/.default\") or resources",
                issuer.cloud
            ),
        ));
    };
    if !spec.resources.is_empty() || !spec.scopes.is_empty() && !grant.for_user() {
        return Err(FieldError::new(
            "spec.api",
            "already selects the scope; remove scopes and resources",
        ));
    }
    request.preset = Some(preset.audience);
    if spec.endpoint_version == Some(EndpointVersion::V1) {
        if !spec.scopes.is_empty() {
            return Err(FieldError::new(
                "spec.scopes",
                "the v1 endpoint returns all permissions of one API with consent; remove scopes",
            ));
        }
        request.resources = vec![preset.audience.to_owned()];
    } else if spec.scopes.is_empty() {
        request.scopes = vec![format!("{}/.default", preset.audience)];
    } else if let Some(fault) = beside_default(&spec.scopes) {
        return Err(fault);
    } else {
        request.scopes = request.qualified(&spec.scopes);
    }
    Ok(())
}

impl RequestParameters {
    /// These scopes as the spec would request them: with a preset, a permission without an API is one of its API.
    pub fn qualified(&self, scopes: &[String]) -> Vec<String> {
        let of_preset = |scope: &String| match self.preset {
            Some(api) if !scope.contains('/') && !is_of_sign_in(scope) => format!("{api}/{scope}"),
            _ => scope.clone(),
        };
        scopes.iter().map(of_preset).collect()
    }
}

/// Scopes that are not permissions of an API (OpenID Connect Core section 5.4 and 11).
pub(crate) fn is_of_sign_in(scope: &str) -> bool {
    ["openid", "profile", "email", "offline_access"].contains(&scope)
}

/// The first fault of a request to Entra ID.
fn entra_faults(spec: &ApiCredentialSpec, grant: &Grant, cloud: Cloud) -> Option<FieldError> {
    if let [resource, more @ ..] = spec.resources.as_slice() {
        return entra_resource_faults(spec, resource, more);
    }
    let v1 = spec.endpoint_version == Some(EndpointVersion::V1);
    let (Some(first), false) = (spec.scopes.first(), v1) else {
        let fix = spec.scopes.first().map_or_else(
            || "Entra ID needs api (a preset), one scope \"<api>/.default\" (v2 endpoint), or spec.resources (v1 endpoint)".to_owned(),
            |s| {
                format!(
                    "the v1 endpoint has no scope; write resources: [\"{}\"]",
                    s.trim_end_matches("/.default")
                )
            },
        );
        return Some(FieldError::new("spec.scopes", fix));
    };
    if let Some(i) = spec
        .scopes
        .iter()
        .position(|s| s.contains("%2F") || s.contains("%2f"))
    {
        return Some(FieldError::new(
            format!("spec.scopes[{i}]"),
            "is URL-encoded already; write it plainly, apicred encodes it".to_owned(),
        ));
    }
    let apis = scopes::apis_at_entra(&spec.scopes);
    if let (true, [one, other, ..]) = (grant.for_user(), apis.as_slice()) {
        return Some(FieldError::new(
            "spec.scopes",
            format!(
                "Entra ID issues a token for one API at a time, and these are permissions of {one} and {other}; create a credential for each"
            ),
        ));
    }
    let of_scopes = if grant.for_user() {
        beside_default(&spec.scopes)
    } else {
        application_scope_faults(spec, first, cloud)
    };
    of_scopes.or_else(|| address_fault("spec.scopes[0]", first))
}

/// A permission beside `.default`. Entra ID refuses both in one request with AADSTS70011
/// (learn.microsoft.com/entra/identity-platform/scopes-oidc, "The .default scope").
fn beside_default(scopes: &[String]) -> Option<FieldError> {
    let is_default = |scope: &str| scope == ".default" || scope.ends_with("/.default");
    let default = scopes.iter().find(|s| is_default(s))?;
    let other = scopes
        .iter()
        .find(|s| !is_default(s) && !is_of_sign_in(s))?;
    Some(FieldError::new(
        "spec.scopes",
        format!(
            "have \"{default}\" and the permission \"{other}\", which Entra ID does not issue in one token (AADSTS70011); keep \"{default}\", which includes every permission with consent, or the permissions without it"
        ),
    ))
}

fn entra_resource_faults(
    spec: &ApiCredentialSpec,
    resource: &str,
    more: &[String],
) -> Option<FieldError> {
    if !more.is_empty() {
        return Some(FieldError::new(
            "spec.resources",
            "Entra ID issues tokens for one API at a time; set one, and create a credential for each API".to_owned(),
        ));
    }
    if !spec.scopes.is_empty() {
        return Some(FieldError::new(
            "spec.resources",
            "set either scopes (v2 endpoint) or resources (v1 endpoint), not both".to_owned(),
        ));
    }
    if spec.endpoint_version == Some(EndpointVersion::V2) {
        return Some(FieldError::new(
            "spec.resources",
            format!(
                "belong to the v1 endpoint; for v2 write scopes: [\"{}/.default\"]",
                resource.trim_end_matches('/')
            ),
        ));
    }
    if let Some(api) = resource.strip_suffix("/.default") {
        return Some(FieldError::new(
            "spec.resources[0]",
            format!("/.default belongs in scopes; write resources: [\"{api}\"]"),
        ));
    }
    address_fault("spec.resources[0]", resource)
}

/// An application requests all permissions of one API.
fn application_scope_faults(
    spec: &ApiCredentialSpec,
    first: &str,
    cloud: Cloud,
) -> Option<FieldError> {
    if spec.scopes.len() > 1 {
        return Some(FieldError::new(
            "spec.scopes",
            "Entra ID issues application tokens for one API at a time; set one \"<api>/.default\", and create a credential for each API".to_owned(),
        ));
    }
    if !first.ends_with("/.default") {
        if let Some(api) = of_preset(first, cloud) {
            return Some(FieldError::new(
                "spec.scopes[0]",
                format!(
                    "\"{first}\" is a permission of the API {api:?}; remove scopes and set api: {api:?}, which requests every permission with consent"
                ),
            ));
        }
        return Some(FieldError::new(
            "spec.scopes[0]",
            format!(
                "application tokens are requested with \"<api>/.default\", which includes every permission with consent; did you mean \"{}/.default\"?",
                api_of(first)
            ),
        ));
    }
    None
}

/// The preset to which a scope without an API belongs. Microsoft Graph has none of these families.
fn of_preset(scope: &str, cloud: Cloud) -> Option<ApiPreset> {
    let (family, rest) = scope.split_once('.')?;
    let is_permission = !rest.contains(['/', ':']) && !family.contains(['/', ':']);
    let (_, api) = FAMILIES
        .iter()
        .filter(|_| is_permission)
        .find(|(families, _)| {
            families
                .iter()
                .any(|known| known.eq_ignore_ascii_case(family))
        })?;
    preset(*api, cloud).map(|_| *api)
}

/// The API in a scope without `/.default`. Users write one permission after the API, or nothing, or the permission alone, which means Microsoft
/// Graph according to Microsoft (learn.microsoft.com/graph/permissions-overview).
fn api_of(scope: &str) -> &str {
    let scope = scope.trim_end_matches('/');
    let permission = |word: &str| {
        word == "user_impersonation"
            || word.contains('.') && word.starts_with(|c: char| c.is_ascii_uppercase())
    };
    match scope.rsplit_once('/') {
        Some((api, last)) if permission(last) && !api.ends_with('/') => api,
        None if permission(scope) => "https://graph.microsoft.com",
        _ => scope,
    }
}

/// The fault if it is the address of an API whose tokens have another audience.
fn address_fault(field: &str, wanted: &str) -> Option<FieldError> {
    let host = Url::parse(wanted).ok()?.host_str()?.to_owned();
    let (_, api) = BY_ADDRESS.iter().find(|(known, _)| {
        host == *known
            || host
                .strip_suffix(known)
                .is_some_and(|rest| rest.ends_with('.'))
    })?;
    Some(FieldError::new(
        field,
        format!("is the address of the API, not the audience of its tokens; write api: {api}"),
    ))
}
