//! Who may ask whom for what, and which Secret may go where. The one choke point of tenancy: every send passes
//! [`may_ask`] and [`may_send`] and nothing else decides.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::{Ask, Credential, Endpoint, Issuer, IssuerId};
use crate::{
    api::IssuerKind,
    oauth::{self, Grant},
};

/// Why a request may not be made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Denial {
    /// The issuer does not serve this namespace.
    Namespace(String),
    /// The issuer does not give this scope.
    Scope(String),
    /// The issuer does not take this parameter or claim.
    Parameter(String),
    /// The Secret does not name this origin.
    Secret(String),
    /// The token of a ServiceAccount is valid at the cluster's own API.
    ServiceAccountToken(String),
}

impl Denial {
    /// Stable reason for conditions.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Namespace(_) => "NotAuthorizedByIssuer",
            Self::Scope(_) => "ScopeNotAllowed",
            Self::Parameter(_) => "ParameterNotAllowed",
            Self::Secret(_) => "NotAuthorizedBySecret",
            Self::ServiceAccountToken(_) => "ServiceAccountTokenRefused",
        }
    }

    /// What to do, in a sentence.
    pub fn message(&self) -> &str {
        match self {
            Self::Namespace(text)
            | Self::Scope(text)
            | Self::Parameter(text)
            | Self::Secret(text)
            | Self::ServiceAccountToken(text) => text,
        }
    }
}

/// May credentials of `namespace` (with these labels) ask `issuer` for `ask`?
///
/// # Errors
/// The rule that forbids it.
pub fn may_ask(
    issuer: &Issuer,
    namespace: &str,
    namespace_labels: Option<&BTreeMap<String, String>>,
    ask: &Ask,
) -> Result<(), Denial> {
    if let Some(allowed) = &issuer.allowed_namespaces {
        let by_name = allowed.names.iter().flatten().any(|n| n == namespace);
        let by_label = match (&allowed.selector, namespace_labels) {
            (Some(selector), Some(labels)) => selects(selector, labels),
            _ => false,
        };
        if !by_name && !by_label {
            return Err(Denial::Namespace(format!(
                "{} does not serve namespace {namespace}; its administrator adds it to spec.allowedNamespaces",
                issuer.id
            )));
        }
    }
    if let Some(allowed) = &issuer.allowed_scopes {
        let is_allowed = |wanted: &str| {
            let as_scope = format!("{}/.default", wanted.trim_end_matches('/'));
            allowed.iter().any(|a| a == wanted || *a == as_scope)
        };
        let wanted = || ask.scopes.iter().chain(&ask.resource).chain(&ask.audience);
        if wanted().next().is_none() {
            return Err(Denial::Scope(format!(
                "{} gives named scopes only ({}); name one in spec.scopes",
                issuer.id,
                allowed.join(", ")
            )));
        }
        if let Some(refused) = wanted().find(|w| !is_allowed(w)) {
            return Err(Denial::Scope(format!(
                "{} does not give \"{refused}\"; it gives {}",
                issuer.id,
                allowed.join(", ")
            )));
        }
    }
    may_add(issuer, ask)
}

/// May this be sent beside what is asked for? Rights are asked for in many words: RFC 9396, RFC 9101, OpenID Connect
/// Core section 5.5, User-Managed Access, `organization` of Auth0, `requested_subject` of Keycloak, `target_audience` of
/// Google, and others that nobody here knows. So an issuer that limits scopes takes only what its administrator named.
fn may_add(issuer: &Issuer, ask: &Ask) -> Result<(), Denial> {
    let limited = issuer.allowed_scopes.is_some().then_some(Vec::new());
    let Some(allowed) = issuer.allowed_parameters.clone().or(limited) else {
        return Ok(());
    };
    let named = |name: &str, value: &str| {
        allowed.iter().any(|a| match a.split_once('=') {
            Some((n, v)) => n == name && v == value,
            None => a == name,
        })
    };
    let parameters = ask.parameters.iter().map(|p| ("parameter", p));
    let claims = ask.claims.iter().map(|c| ("claim", c));
    match parameters.chain(claims).find(|(_, (n, v))| !named(n, v)) {
        None => Ok(()),
        Some((what, (name, _))) => Err(Denial::Parameter(format!(
            "{} does not take the {what} \"{name}\" with this value; leave it out, or have the administrator of the issuer add it to spec.allowedParameters",
            issuer.id
        ))),
    }
}

/// May the content of a Secret with these annotations be sent to `issuer`?
///
/// # Errors
/// When neither an administrator nor the Secret vouches for the origin.
pub fn may_send(
    issuer: &Issuer,
    secret: &str,
    annotations: Option<&BTreeMap<String, String>>,
) -> Result<(), Denial> {
    may_post(issuer, &issuer.origin, secret, annotations)
}

/// The same for the origin that is posted to, which a discovery document may set to another host than the
/// issuer's: whoever can publish a document on a host that a Secret names could otherwise lead the secret away.
///
/// # Errors
/// When neither an administrator nor the Secret vouches for the origin.
pub fn may_post(
    issuer: &Issuer,
    origin: &str,
    secret: &str,
    annotations: Option<&BTreeMap<String, String>>,
) -> Result<(), Denial> {
    if issuer.vouched {
        return Ok(());
    }
    if names(annotations, origin) {
        return Ok(());
    }
    Err(Denial::Secret(format!(
        "Secret {secret} does not allow itself to be sent to {}; its owner sets the annotation {}: {} on it",
        origin,
        crate::api::names::ALLOWED_ISSUERS,
        origin
    )))
}

/// May this Secret serve the grant of this credential? A static key is copied and a state Secret is written to, so
/// their owners must have said so: else whoever may create credentials could read one and spoil the other. A
/// password is handed on by Entra ID: in a tenant with pass-through authentication, which the ROPC page says goes
/// with this grant, an agent of the tenant's owner gets it in the clear. So its Secret names the tenant, where nobody
/// but the namespace's users chose it.
///
/// # Errors
/// When the Secret does not name the credential.
pub fn may_serve(
    credential: &Credential,
    secret: &str,
    annotations: Option<&BTreeMap<String, String>>,
) -> Result<(), Denial> {
    let names = crate::api::names::PUBLISH_BY;
    let (annotation, what) = match &credential.grant {
        Grant::Static(_) => (names, "published"),
        Grant::RefreshToken(_) => (crate::api::names::STATE_OF, "used as a refresh token"),
        Grant::Password(_) => return may_sign_in(&credential.issuer, secret, annotations),
        _ => return Ok(()),
    };
    let named = annotations.and_then(|a| a.get(annotation));
    let me = credential.name.as_str();
    // A key may be published by many; a refresh token has one refresher, ever.
    let serves = |list: &String| match credential.grant {
        Grant::RefreshToken(_) => list.trim() == me,
        _ => list.split(',').any(|n| n.trim() == me),
    };
    if named.is_some_and(serves) {
        return Ok(());
    }
    Err(Denial::Secret(format!(
        "Secret {secret} does not allow itself to be {what} by this credential; its owner sets the annotation {annotation}: {me} on it"
    )))
}

/// May this Secret be sent as a password to the tenant of an issuer?
fn may_sign_in(
    issuer: &Issuer,
    secret: &str,
    annotations: Option<&BTreeMap<String, String>>,
) -> Result<(), Denial> {
    let administrators = matches!(
        issuer.id,
        IssuerId::Object(IssuerKind::ClusterTokenIssuer, ..)
    );
    // Where nobody vouches for the host, the Secret names that already.
    let (Endpoint::Entra { authority }, true, false) =
        (&issuer.endpoint, issuer.vouched, administrators)
    else {
        return Ok(());
    };
    if names(annotations, authority) {
        return Ok(());
    }
    Err(Denial::Secret(format!(
        "Secret {secret} does not allow itself to be sent to {authority} as a password, which the tenant's owner may get to see; its owner sets the annotation {}: {authority} on it",
        crate::api::names::ALLOWED_ISSUERS
    )))
}

/// Does `allowed-issuers` list this place, letter by letter but for case and a slash at the end?
fn names(annotations: Option<&BTreeMap<String, String>>, place: &str) -> bool {
    annotations
        .and_then(|a| a.get(crate::api::names::ALLOWED_ISSUERS))
        .is_some_and(|list| {
            list.split(',')
                .any(|o| o.trim().trim_end_matches('/').eq_ignore_ascii_case(place))
        })
}

/// May a token of a ServiceAccount be requested for this audience? `api_audiences` are the audiences that the cluster's
/// own API server accepts, as far as they are known; common ones are always refused. The check comes before the request
/// to the API server. [`may_leave`] comes after it.
///
/// # Errors
/// When the API server itself accepts such a token: its holder can sign in to the cluster.
pub fn may_request_audience(
    account: &str,
    audience: &str,
    api_audiences: &[String],
) -> Result<(), Denial> {
    if !is_api_server(audience) && !api_audiences.iter().any(|a| a == audience) {
        return Ok(());
    }
    Err(Denial::ServiceAccountToken(format!(
        "the audience {audience:?} is this cluster's own API: the holder of such a token can sign in to the cluster as ServiceAccount {account}; set serviceAccount.audience to the issuer's audience"
    )))
}

/// May this token of a ServiceAccount be sent to an issuer? The API server decides what it puts into the token, so the
/// `aud` claim of the token is checked, not the audience that was requested. Every sender (operator and plugin) calls
/// this for every token.
///
/// # Errors
/// When the API server itself accepts the token, or when the token names no audience that can be read.
pub fn may_leave(account: &str, token: &str, api_audiences: &[String]) -> Result<(), Denial> {
    let audiences = oauth::audiences(token);
    if audiences.is_empty() {
        return Err(Denial::ServiceAccountToken(format!(
            "the token of ServiceAccount {account} has no readable audience and is not sent"
        )));
    }
    audiences
        .iter()
        .try_for_each(|audience| may_request_audience(account, audience, api_audiences))
}

/// Is this an audience that API servers usually accept as their own? [`may_request_audience`] also compares the
/// audiences of this cluster's own server, which the operator reads in its own token.
pub(super) fn is_api_server(audience: &str) -> bool {
    let name = audience
        .trim_start_matches("https://")
        .trim_end_matches('/')
        .split(':')
        .next()
        .unwrap_or_default();
    name == "kubernetes"
        || name == "kubernetes.default"
        || name.starts_with("kubernetes.default.svc")
        || ["k3s", "rke2"].contains(&name)
        // Tokens of GKE and AKS name their server by its address.
        || name.starts_with("container.googleapis.com/v1/projects/")
        || name.ends_with(".azmk8s.io")
}

/// The name of a form parameter as a lenient issuer reads it. PHP takes dots and blanks for underscores, drops
/// blanks before a name, and reads a bracket as the beginning of a list: what looks like another name here would be
/// `scope` there.
pub(crate) fn plain_name(name: &str) -> String {
    let name = name.split(['[', '\0']).next().unwrap_or_default();
    name.trim().to_ascii_lowercase().replace(['.', ' '], "_")
}

/// Does a label selector match? An empty one matches everything; an unknown operator matches nothing.
/// Source: the LabelSelector reference of the Kubernetes API.
fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let equal = selector
        .match_labels
        .iter()
        .flatten()
        .all(|(k, v)| labels.get(k) == Some(v));
    let fits = selector.match_expressions.iter().flatten().all(|e| {
        let value = labels.get(&e.key);
        let listed = || value.is_some_and(|v| e.values.iter().flatten().any(|x| x == v));
        match e.operator.as_str() {
            "In" => listed(),
            "NotIn" => !listed(),
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => false,
        }
    });
    equal && fits
}
