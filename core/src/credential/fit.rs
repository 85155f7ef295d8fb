//! Checks that client authentication, grant and issuer fit together, so that an impossible request is reported before it is sent.

use super::{
    AccountToken, AuthenticationMethod, Endpoint, FieldError, Issuer, OperatorIdentity, Protocol,
    SecretStyle, Selector, StaticKey, account_tokens::is_api_server, github,
};
use crate::{
    Reason,
    api::{ApiCredentialSpec, DeletionPolicy, TargetFormat},
    oauth::{Grant, RequiredInput},
};

/// For a name that no Secret can have.
pub(super) const NOT_A_SECRET: &str = "is not a valid Secret name; write only the name (no namespace): lower case letters, digits, '-' and '.'";

/// The parts that must fit together: the spec, and what was parsed from it.
struct Parts<'a> {
    spec: &'a ApiCredentialSpec,
    issuer: &'a Issuer,
    authentication: &'a AuthenticationMethod,
    grant: &'a Grant,
}

/// Everything that does not fit.
pub(super) fn faults(
    spec: &ApiCredentialSpec,
    issuer: &Issuer,
    authentication: &AuthenticationMethod,
    grant: &Grant,
    static_key: Option<&StaticKey>,
) -> Vec<FieldError> {
    let parts = Parts {
        spec,
        issuer,
        authentication,
        grant,
    };
    let mut errors = match issuer.protocol {
        Protocol::OAuth => Vec::new(),
        Protocol::GitHubApp => github::faults(spec, grant),
    };
    errors.extend(parts.grant_and_issuer());
    if static_key.is_some() {
        errors.extend(parts.with_static_key());
    } else {
        errors.extend(parts.authentication_and_grant());
    }
    // The CRD has the same rule. This check also applies to an object that was stored under older rules.
    for (field, name) in inputs(static_key, grant) {
        if !is_object_name(&name) {
            errors.push(FieldError::new(field, NOT_A_SECRET));
        }
    }
    errors.extend(parts.revocation());
    errors.extend(parts.accounts_of_grant());
    errors.extend(of_client(issuer, authentication));
    let id = spec.client.as_ref().and_then(|client| client.id.as_deref());
    errors.extend(of_client_id(issuer, authentication, id.unwrap_or_default()));
    errors
}

/// HTTP Basic separates the id from the secret by the first colon (RFC 7617 section 2), so a colon in the id needs its encoding.
pub(super) fn of_client_id(
    issuer: &Issuer,
    authentication: &AuthenticationMethod,
    id: &str,
) -> Option<FieldError> {
    let raw = issuer.style == Some(SecretStyle::BasicRaw);
    let sent = matches!(authentication, AuthenticationMethod::Secrets(_));
    (raw && sent && id.contains(':')).then(|| {
        FieldError::new(
            "spec.client.id",
            "has a colon, and basic with encoding Raw, which this issuer sets, cannot send it: the server would take what is before the colon as the id; set clientAuthentication of the issuer to basic with encoding Form, or to post",
        )
    })
}

impl Parts<'_> {
    fn entra(&self) -> bool {
        matches!(self.issuer.endpoint, Endpoint::Entra { .. })
    }

    fn grant_and_issuer(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut say = |field: &str, problem: &str| errors.push(FieldError::new(field, problem));
        if self.issuer.hop.is_some() && matches!(self.grant, Grant::RefreshToken(_)) {
            say(
                "spec.grant.refreshToken",
                "cannot be combined with secondRequest of this issuer; use another issuer, or another grant",
            );
        }
        match (self.grant, self.entra()) {
            (Grant::OnBehalfOf(_), false) => say(
                "spec.grant.onBehalfOf",
                "is Entra ID's own flow; use grant.tokenExchange at this issuer",
            ),
            (Grant::TokenExchange(_), true) => say(
                "spec.grant.tokenExchange",
                "Entra ID does not know it; use grant.onBehalfOf for a user's token, or client.serviceAccount for a federated one",
            ),
            (Grant::JwtBearer(_), true) => say(
                "spec.grant.jwtBearer",
                "at Entra ID use grant.onBehalfOf for a user's token, or client.certificates to authenticate the client",
            ),
            (Grant::Extension(_), true) => say(
                "spec.grant.extension",
                "Entra ID has no extension grants; use grant.onBehalfOf for a user's token, or remove grant",
            ),
            _ => {}
        }
        errors
    }

    fn authentication_and_grant(&self) -> Option<FieldError> {
        let (field, problem) = match (self.authentication, self.grant) {
            (
                AuthenticationMethod::Absent,
                Grant::JwtBearer(_) | Grant::TokenExchange(_) | Grant::Extension(_),
            )
            | (AuthenticationMethod::ManagedIdentity(_), Grant::ClientCredentials) => return None,
            (AuthenticationMethod::Absent, _) => (
                "spec.client",
                "is missing; set client.id and secrets (only the grants jwtBearer, tokenExchange and extension need no client)",
            ),
            (AuthenticationMethod::Public, Grant::ClientCredentials | Grant::OnBehalfOf(_)) => (
                "spec.client.public",
                "a public client cannot use this grant; set client.secrets, client.certificates or client.serviceAccount",
            ),
            (AuthenticationMethod::ManagedIdentity(_), _) => (
                "spec.client.managedIdentity",
                "supports only the client credentials grant; remove grant",
            ),
            _ => return None,
        };
        Some(FieldError::new(field, problem))
    }

    /// A static key is copied and never requested: it has no client, and no fields about requests.
    fn with_static_key(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut say = |field: &str, problem: &str| errors.push(FieldError::new(field, problem));
        if !matches!(self.authentication, AuthenticationMethod::Absent) {
            say("spec.client", "a static key has no client; remove client");
        }
        let mut keys = self.spec.target.keys.iter();
        if keys.any(|k| k.format == TargetFormat::AnswerField) {
            say(
                "spec.target.keys",
                "a static key has no answer with fields; remove the format AnswerField",
            );
        }
        for (field, set) in of_requests(self.spec) {
            if set {
                say(
                    field,
                    "a static key is not requested, renewed or revoked; remove it",
                );
            }
        }
        errors
    }

    fn revocation(&self) -> Option<FieldError> {
        if self.spec.deletion_policy != Some(DeletionPolicy::Revoke) {
            return None;
        }
        let problem = if self.entra() {
            "Entra ID has no revocation endpoint, its tokens expire by themselves; set it to Delete or Retain"
        } else if self.issuer.hop.is_some() {
            "the server of the second request has issued the token, and nothing revokes it there; set deletionPolicy to Delete or Retain"
        } else {
            return None;
        };
        Some(FieldError::new("spec.deletionPolicy", problem))
    }

    /// The tokens of ServiceAccounts that the grant sends.
    fn accounts_of_grant(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        for need in self.grant.needs() {
            if let RequiredInput::Account(account) = need {
                let fault = |(field, problem)| {
                    FieldError::new("spec.grant", format!("serviceAccount.{field} {problem}"))
                };
                errors.extend(of_account(self.issuer, &account).into_iter().map(fault));
            }
        }
        errors
    }
}

/// Faults of the client authentication at this issuer, for any request.
pub(super) fn of_client(issuer: &Issuer, authentication: &AuthenticationMethod) -> Vec<FieldError> {
    let entra = matches!(issuer.endpoint, Endpoint::Entra { .. });
    let workload = issuer.operator_identity == Some(OperatorIdentity::WorkloadIdentity);
    let mut errors = Vec::new();
    if issuer.protocol == Protocol::GitHubApp {
        errors.extend(github::of_client(authentication));
    }
    let mut say = |field: &str, problem: &str| errors.push(FieldError::new(field, problem));
    match authentication {
        AuthenticationMethod::Mtls(_) if entra => say(
            "spec.client.mtls",
            "Entra ID takes certificates as signed assertions; use certificates",
        ),
        AuthenticationMethod::Key(_) if entra => say(
            "spec.client.key",
            "Entra ID finds the key of an assertion by its certificate; use certificates",
        ),
        AuthenticationMethod::ServiceAccount(account) => {
            for (field, problem) in of_account(issuer, account) {
                say(&format!("spec.client.serviceAccount.{field}"), problem);
            }
        }
        AuthenticationMethod::ManagedIdentity(Selector::Object(_) | Selector::Resource(_))
            if workload =>
        {
            say(
                "spec.client.managedIdentity",
                "this issuer uses the operator's workload identity; select it by client.id only",
            );
        }
        AuthenticationMethod::IdentityAssertion(_) if workload => say(
            "spec.client.managedIdentity.asAssertion",
            "this issuer uses the operator's workload identity, whose token is a client assertion already; remove asAssertion, or use serviceAccount",
        ),
        _ => {}
    }
    for reference in authentication.alternatives() {
        if !is_object_name(&reference.name) {
            say("spec.client", NOT_A_SECRET);
        }
    }
    let identity = matches!(
        authentication,
        AuthenticationMethod::ManagedIdentity(_) | AuthenticationMethod::IdentityAssertion(_)
    );
    if identity && issuer.operator_identity.is_none() {
        errors.push(
            FieldError::new(
                "spec.client.managedIdentity",
                "needs a ClusterTokenIssuer that allows it with spec.managedIdentity; refer to one, or ask an administrator for it",
            )
            .because(Reason::IdentityNotAllowed),
        );
    }
    errors
}

/// Faults of a token of a ServiceAccount: the field below `serviceAccount`, and the problem.
fn of_account(issuer: &Issuer, account: &AccountToken) -> Vec<(&'static str, &'static str)> {
    let mut faults = Vec::new();
    // The name is part of the path of a request to the API server: a slash must not redirect that request.
    if !is_object_name(&account.name) {
        faults.push((
            "name",
            "must be the name of a ServiceAccount of this namespace: lower case letters, digits, '-' and '.'",
        ));
    }
    // If not set, the issuer's own audience is used.
    let audience = account.audience.as_deref();
    let audience = audience.or(issuer.places.issuer.as_deref());
    if audience.is_some_and(is_api_server) {
        faults.push((
            "audience",
            "is the Kubernetes API's own: the holder of such a token can sign in to the cluster; name the issuer's audience",
        ));
    }
    faults
}

/// A field of the spec, and the name of a Secret in it.
pub(super) type Input = (&'static str, String);

/// The Secrets that the static key or the grant needs.
pub(super) fn inputs(static_key: Option<&StaticKey>, grant: &Grant) -> Vec<Input> {
    if let Some(key) = static_key {
        return vec![(StaticKey::FIELD, key.token.name.clone())];
    }
    let needs = grant.needs();
    let references = needs.iter().filter_map(RequiredInput::reference);
    references
        .map(|key| ("spec.grant", key.name.clone()))
        .collect()
}

/// Fields about token requests, and whether they are set. A static key must not have them.
fn of_requests(spec: &ApiCredentialSpec) -> [(&'static str, bool); 9] {
    [
        ("spec.api", spec.api.is_some()),
        ("spec.endpointVersion", spec.endpoint_version.is_some()),
        ("spec.scopes", !spec.scopes.is_empty()),
        ("spec.resources", !spec.resources.is_empty()),
        ("spec.audience", spec.audience.is_some()),
        ("spec.parameters", !spec.parameters.is_empty()),
        ("spec.expect", spec.expect.is_some()),
        ("spec.minLifetime", spec.min_lifetime.is_some()),
        (
            "spec.deletionPolicy",
            spec.deletion_policy == Some(DeletionPolicy::Revoke),
        ),
    ]
}

/// Whether an object can have this name (RFC 1123 subdomain).
pub fn is_object_name(name: &str) -> bool {
    name.len() <= 253
        && name.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        })
}
