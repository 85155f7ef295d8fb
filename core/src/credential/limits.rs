//! What an administrator allows credentials of an issuer to request: namespaces, grants, scopes, parameters and subjects.

use std::collections::BTreeMap;

use super::{
    Endpoint, FieldError, Issuer, IssuerId, Protocol, RequestParameters, Subject,
    binding::Denial,
    github,
    labels::{self, LabelSelector},
    scopes::{Dialect, Wanted, allows},
};
use crate::api::{AllowedNamespaces, Cloud, GrantKey, IssuerKind, NamespaceSelector};

/// Grants of a `ClusterTokenIssuer` without `allowedGrants`: all except `password` and `extension`. With `password` a user chooses whose
/// password is tried, and the issuer would block the operator's address. For an extension grant, only the issuer knows what access it gives.
pub(super) const USUAL_GRANTS: [GrantKey; 5] = [
    GrantKey::ClientCredentials,
    GrantKey::RefreshToken,
    GrantKey::OnBehalfOf,
    GrantKey::JwtBearer,
    GrantKey::TokenExchange,
];

/// The token type of a token exchange if not set. Setting it requests no additional access.
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// The field that lists namespaces.
const NAMESPACES: &str = "spec.allowedNamespaces";

/// Checks the namespaces that an administrator lists.
///
/// # Errors
/// A text that Kubernetes accepts neither as a name nor as a selector. Its meaning is unknown, so no namespace is served.
pub(super) fn check_namespaces(allowed: Option<&AllowedNamespaces>) -> Result<(), FieldError> {
    let Some(AllowedNamespaces { names, selector }) = allowed else {
        return Ok(());
    };
    let names = names.as_deref().unwrap_or_default();
    if let Some(i) = names.iter().position(|name| !labels::is_part(name)) {
        return Err(FieldError::new(
            format!("{NAMESPACES}.names[{i}]"),
            "is not the name of a namespace; patterns have no effect, and an empty selector {} allows every namespace",
        ));
    }
    selector.as_ref().map_or(Ok(()), |selector| {
        labels_of(selector).check(&format!("{NAMESPACES}.selector"), "namespaces")
    })
}

fn labels_of(selector: &NamespaceSelector) -> LabelSelector<'_> {
    LabelSelector {
        labels: &selector.match_labels,
        conditions: &selector.match_expressions,
    }
}

/// Checks that credentials of `namespace` (with these labels) may use `issuer` at all.
///
/// # Errors
/// If the issuer does not serve the namespace.
pub fn may_be_served(
    issuer: &Issuer,
    namespace: &str,
    namespace_labels: Option<&BTreeMap<String, String>>,
) -> Result<(), Denial> {
    if let Some(allowed) = &issuer.allowed_namespaces {
        let by_name = allowed.names.iter().flatten().any(|n| n == namespace);
        let by_label = match (&allowed.selector, namespace_labels) {
            (Some(selector), Some(labels)) => labels_of(selector).selects(labels),
            _ => false,
        };
        if !by_name && !by_label {
            return Err(Denial::Namespace(format!(
                "{} does not serve namespace {namespace}; its administrator must add it to spec.allowedNamespaces",
                issuer.id
            )));
        }
    }
    Ok(())
}

/// Checks that credentials of `namespace` (with these labels) may send `request` to `issuer`.
///
/// # Errors
/// The rule that forbids it.
pub fn may_request(
    issuer: &Issuer,
    namespace: &str,
    namespace_labels: Option<&BTreeMap<String, String>>,
    request: &RequestParameters,
) -> Result<(), Denial> {
    may_be_served(issuer, namespace, namespace_labels)?;
    may_be_granted(issuer, request)?;
    if let Some(allowed) = &issuer.allowed_scopes {
        let dialect = Dialect::of_host(issuer);
        let is_allowed = |wanted: &Wanted<'_>| allowed.iter().any(|a| allows(dialect, a, *wanted));
        let wanted = || {
            let scopes = request.scopes.iter().map(|s| Wanted::Scope(s));
            let resources = request.resources.iter().map(|r| Wanted::Resource(r));
            scopes
                .chain(resources)
                .chain(request.audience.iter().map(|a| Wanted::Audience(a)))
        };
        if issuer.protocol == Protocol::GitHubApp {
            github::must_limit(issuer, request, allowed)?;
        }
        if wanted().next().is_none() {
            return Err(Denial::Scope(format!(
                "{} allows only listed scopes ({}); set one of them in spec.scopes",
                issuer.id,
                allowed.join(", ")
            )));
        }
        let is_limited = |wanted: &Wanted<'_>| {
            issuer.protocol != Protocol::GitHubApp || github::is_limited(wanted, allowed)
        };
        if let Some(refused) = wanted().find(|w| is_limited(w) && !is_allowed(w)) {
            return Err(Denial::Scope(format!(
                "{} does not allow \"{}\"; it allows {}",
                issuer.id,
                refused.text(),
                allowed.join(", ")
            )));
        }
    }
    may_add(issuer, request)?;
    may_use_subjects(issuer, namespace, request)
}

/// Checks whether the grant is allowed.
fn may_be_granted(issuer: &Issuer, request: &RequestParameters) -> Result<(), Denial> {
    match &issuer.allowed_grants {
        Some(allowed) if !allowed.contains(&request.grant) => Err(Denial::Grant(format!(
            "{} does not allow the grant {}; its administrator must add it to spec.allowedGrants",
            issuer.id,
            request.grant.as_str()
        ))),
        _ => Ok(()),
    }
}

/// Checks which parameters may be sent in addition to scopes, resources and audience. Many parameters can request access: RFC 9396, RFC 9101,
/// OpenID Connect Core section 5.5, User-Managed Access, `organization` of Auth0, `requested_subject` of Keycloak, `target_audience` of Google,
/// and unknown others. So an issuer that limits scopes accepts only the parameters that its administrator lists. This includes the fields of a
/// grant that are sent in the request: `requested_token_type`, and `iss` and `aud` of an assertion that apicred signs.
fn may_add(issuer: &Issuer, request: &RequestParameters) -> Result<(), Denial> {
    let limited = issuer.allowed_scopes.is_some().then_some(Vec::new());
    let Some(allowed) = issuer.allowed_parameters.clone().or(limited) else {
        return Ok(());
    };
    let parameters = request
        .parameters
        .iter()
        .chain(&request.sign_in_parameters)
        .map(|(n, v)| ("parameter", n.as_str(), v));
    // The content of a Secret is not compared with `name=value`, because the result would show whether a guess is right.
    if let Some(name) = request
        .secret_parameters
        .keys()
        .find(|n| !allowed.contains(n))
    {
        return Err(Denial::Parameter(format!(
            "{} does not allow the parameter \"{name}\" with a value from a Secret; remove it, or ask the administrator of the issuer to add only its name to spec.allowedParameters",
            issuer.id
        )));
    }
    let claims = request.claims.iter().map(|(n, v)| ("claim", n.as_str(), v));
    let inputs = request
        .inputs
        .iter()
        .filter(|(name, value)| !(*name == "requested_token_type" && value == ACCESS_TOKEN))
        .map(|(n, v)| ("input of the grant", *n, v));
    let mut all = parameters.chain(claims).chain(inputs);
    match all.find(|(_, name, value)| !lists(&allowed, name, value)) {
        None => Ok(()),
        Some((what, name, _)) => Err(Denial::Parameter(format!(
            "{} does not allow the {what} \"{name}\" with this value; remove it, or ask the administrator of the issuer to add it to spec.allowedParameters",
            issuer.id
        ))),
    }
}

/// Whether a list of `allowedParameters` contains this name, alone or with this value.
pub(super) fn lists(allowed: &[String], name: &str, value: &str) -> bool {
    allowed.iter().any(|a| match a.split_once('=') {
        Some((n, v)) => n == name && v == value,
        None => a == name,
    })
}

/// Checks whether a token may be requested for these subjects. An issuer that limits scopes accepts a subject from a spec only if its
/// administrator lists it. A ServiceAccount as the subject is limited only by `allowedSubjects`: its token contains the namespace, and the
/// issuer checks it.
fn may_use_subjects(
    issuer: &Issuer,
    namespace: &str,
    request: &RequestParameters,
) -> Result<(), Denial> {
    let is_allowed = |subject: &Subject| match (&issuer.allowed_subjects, subject) {
        (Some(allowed), Subject::Name(name)) => allowed.contains(name),
        (Some(allowed), Subject::Account(name)) => {
            allowed.contains(&format!("system:serviceaccount:{namespace}:{name}"))
        }
        (None, Subject::Name(_)) => issuer.allowed_scopes.is_none(),
        (None, Subject::Account(_)) => true,
    };
    match request.subjects.iter().find(|s| !is_allowed(s)) {
        None => Ok(()),
        Some(Subject::Name(name)) => Err(Denial::Subject(format!(
            "{} does not allow requests for the subject {name:?}; its administrator must add it to spec.allowedSubjects",
            issuer.id
        ))),
        Some(Subject::Account(name)) => Err(Denial::Subject(format!(
            "{} does not allow requests for ServiceAccount {name}; its administrator must add system:serviceaccount:{namespace}:{name} to spec.allowedSubjects",
            issuer.id
        ))),
    }
}

/// Checks whether namespaces may use this issuer's national cloud of Entra ID. An administrator has already chosen the cloud of a
/// `ClusterTokenIssuer`. An issuer that no administrator vouches for gets only secrets that name it.
///
/// # Errors
/// If the installation does not list the cloud.
pub fn may_use_cloud(allowed: &[Cloud], issuer: &Issuer) -> Result<(), Denial> {
    let administrators = matches!(
        issuer.id,
        IssuerId::Object(IssuerKind::ClusterTokenIssuer, ..)
    );
    let entra = matches!(issuer.endpoint, Endpoint::Entra { .. });
    if !entra || administrators || !issuer.vouched || allowed.contains(&issuer.cloud) {
        return Ok(());
    }
    Err(Denial::Cloud(format!(
        "this installation does not allow the cloud {:?} of Entra ID in credentials and TokenIssuers; an administrator must add it to the chart value entraClouds, or provide a ClusterTokenIssuer",
        issuer.cloud
    )))
}
