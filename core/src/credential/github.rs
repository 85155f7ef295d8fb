//! What an installation of a GitHub App requires in a credential: a key, permissions as `scopes`, repositories as `resources`.

use super::{
    AuthenticationMethod, FieldError, Issuer, RequestParameters, binding::Denial, scopes::Wanted,
};
use crate::{
    api::{ApiCredentialSpec, DeletionPolicy, Expectation, SigningAlgorithm},
    oauth::{Grant, permission},
};

/// Faults of the client authentication, for a credential and for an `ApiClient`.
pub(super) fn of_client(authentication: &AuthenticationMethod) -> Option<FieldError> {
    match authentication {
        AuthenticationMethod::Key(key) => {
            let other = key.algorithm.is_some_and(|a| a != SigningAlgorithm::RS256);
            other.then(|| {
                let problem = "GitHub accepts only RS256; remove algorithm";
                FieldError::new("spec.client.key.algorithm", problem)
            })
        }
        _ => Some(FieldError::new(
            "spec.client.key",
            "is missing; a GitHub App authenticates with its private key and nothing else: set client.id to the app's client ID or App ID, and client.key",
        )),
    }
}

/// The other faults of a credential.
pub(super) fn faults(spec: &ApiCredentialSpec, grant: &Grant) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut say = |field: String, problem: &str| errors.push(FieldError::new(field, problem));
    let expects = |of: fn(&Expectation) -> bool| spec.expect.as_deref().is_some_and(of);
    for (field, set, problem) in [
        (
            "spec.expect.roles",
            expects(|e| !e.roles.is_empty()),
            "is not for a GitHub App, whose answer names only permissions; set expect.scopes to them (contents:read)",
        ),
        (
            "spec.expect.audience",
            expects(|e| e.audience.is_some()),
            "is not for a GitHub App, whose tokens carry no claims; remove it",
        ),
        (
            "spec.expect.tenant",
            expects(|e| e.tenant.is_some()),
            "is not for a GitHub App, whose tokens carry no claims; remove it",
        ),
        (
            "spec.grant",
            *grant != Grant::ClientCredentials,
            "is not for a GitHub App, whose tokens come from its installation; remove grant",
        ),
        (
            "spec.audience",
            spec.audience.is_some(),
            "is unknown to GitHub; set permissions in scopes and repositories in resources",
        ),
        (
            "spec.parameters",
            !spec.parameters.is_empty(),
            "is unknown to GitHub; set permissions in scopes and repositories in resources",
        ),
        (
            "spec.deletionPolicy",
            spec.deletion_policy == Some(DeletionPolicy::Revoke),
            "is not for a GitHub App: apicred does not revoke its tokens, which expire after an hour; set it to Delete or Retain",
        ),
    ] {
        if set {
            say(field.to_owned(), problem);
        }
    }
    errors.extend(names(spec));
    errors
}

/// Faults of the permissions and the repositories.
fn names(spec: &ApiCredentialSpec) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut say = |field: String, problem: &str| errors.push(FieldError::new(field, problem));
    let mut named = Vec::new();
    for (at, scope) in spec.scopes.iter().enumerate() {
        match permission(scope) {
            None => say(
                format!("spec.scopes[{at}]"),
                "is not PERMISSION:LEVEL, such as contents:read; the level is read, write or admin",
            ),
            Some((name, _)) if named.contains(&name) => say(
                format!("spec.scopes[{at}]"),
                "names a permission that an earlier entry has with another level; keep one of them",
            ),
            Some((name, _)) => named.push(name),
        }
    }
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    for (at, name) in spec.resources.iter().enumerate() {
        if !name.chars().all(is_of_name) {
            say(
                format!("spec.resources[{at}]"),
                "is not the name of a repository; write it without its owner, who is the account of the installation",
            );
        }
    }
    errors
}

/// Kinds of entries in `allowedScopes`.
struct Listed {
    permissions: bool,
    repositories: bool,
}

impl Listed {
    fn of(allowed: &[String]) -> Self {
        Self {
            permissions: allowed.iter().any(|entry| entry.contains(':')),
            repositories: allowed.iter().any(|entry| !entry.contains(':')),
        }
    }
}

/// Whether `allowedScopes` limits this. A kind that it does not list is not limited: a request that names some entries requests less than a
/// request that names none.
pub(super) fn is_limited(wanted: &Wanted<'_>, allowed: &[String]) -> bool {
    let listed = Listed::of(allowed);
    match wanted {
        // An empty list allows nothing.
        _ if allowed.is_empty() => true,
        Wanted::Scope(_) => listed.permissions,
        Wanted::Resource(_) => listed.repositories,
        Wanted::Audience(_) => true,
    }
}

/// Checks that a credential names at least one entry of each kind that `allowedScopes` lists. GitHub does not limit what is not set in a
/// request: without permissions the token has all permissions of the installation, and without repositories it is valid for all of them.
///
/// # Errors
/// If one of the kinds is not set.
pub(super) fn must_limit(
    issuer: &Issuer,
    request: &RequestParameters,
    allowed: &[String],
) -> Result<(), Denial> {
    let listed = Listed::of(allowed);
    for (field, is_listed, is_set) in [
        (
            "spec.scopes (permissions)",
            listed.permissions,
            !request.scopes.is_empty(),
        ),
        (
            "spec.resources (repositories)",
            listed.repositories,
            !request.resources.is_empty(),
        ),
    ] {
        if is_listed && !is_set {
            return Err(Denial::Scope(format!(
                "{} allows only some ({}); set {field}, because GitHub does not limit what is not named",
                issuer.id,
                allowed.join(", ")
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        credential::{IssuerLookup, Protocol, binding::may_request, parse},
        fixtures::{cluster_issuer, object, token_issuer},
    };

    fn issuer(more: &Value) -> Issuer {
        let mut spec = json!({
            "githubApp": { "installationId": 4711 }, "allowedNamespaces": { "names": ["secops"] },
        });
        crate::fixtures::merge(&mut spec, more);
        Issuer::cluster(&cluster_issuer(&spec)).unwrap()
    }

    fn spec(change: &Value) -> Value {
        let key = json!({ "secretName": "app", "key": "private-key.pem" });
        let mut spec = json!({
            "client": { "id": "Iv23li", "secrets": null, "key": key }, "scopes": ["contents:read"],
        });
        crate::fixtures::merge(&mut spec, change);
        spec
    }

    #[test]
    fn the_endpoint_is_the_installations() {
        for (github, url) in [
            (
                json!({}),
                "https://api.github.com/app/installations/4711/access_tokens",
            ),
            (
                json!({ "apiUrl": "https://git.example.com/api/v3/" }),
                "https://git.example.com/api/v3/app/installations/4711/access_tokens",
            ),
        ] {
            let issuer = issuer(&json!({ "githubApp": github }));
            let fixed = crate::credential::Endpoint::Fixed(url.parse().unwrap());
            assert_eq!(
                (issuer.endpoint, issuer.protocol),
                (fixed, Protocol::GitHubApp)
            );
        }
        let own = json!({ "githubApp": { "installationId": 1 } });
        let issuer = Issuer::namespaced(&token_issuer(&own), &[]).unwrap();
        assert!(!issuer.vouched && issuer.origin == "https://api.github.com");
        for (change, words) in [
            (
                json!({ "githubApp": { "installationId": 0 } }),
                "is the number",
            ),
            (
                json!({ "githubApp": { "installationId": 1, "apiUrl": "http://a.example" } }),
                "must start with https://",
            ),
            (
                json!({ "githubApp": { "installationId": 1, "apiUrl": "https://a.example?x" } }),
                "has a query",
            ),
            (
                json!({
                    "githubApp": { "installationId": 1 },
                    "secondRequest": { "googleServiceAccount": { "email": "r@p.example" } },
                }),
                "cannot be combined with githubApp",
            ),
            (
                json!({
                    "githubApp": { "installationId": 1 },
                    "oauth2": { "tokenUrl": "https://a.example" },
                }),
                "exactly one of",
            ),
        ] {
            let reported = Issuer::cluster(&cluster_issuer(&change)).unwrap_err();
            assert!(
                reported[0].to_string().contains(words),
                "{change}: {reported:?}"
            );
        }
    }

    #[test]
    fn what_github_does_not_know_is_refused_with_its_field() {
        let lookup = |_: &_| IssuerLookup::Found(issuer(&json!({})));
        for good in [
            json!({}),
            json!({ "expect": { "scopes": ["contents:read"] } }),
        ] {
            assert!(parse(&object(&spec(&good)), lookup).is_ok());
        }
        let reference = json!({ "name": "s", "key": "k" });
        for (change, field) in [
            (
                json!({ "client": { "key": null, "secrets": [reference] } }),
                "spec.client.key",
            ),
            (
                json!({ "client": { "key": { "algorithm": "PS256" } } }),
                "spec.client.key.algorithm",
            ),
            (
                json!({ "grant": { "password": { "username": "u", "passwordRef": reference } } }),
                "spec.grant",
            ),
            (json!({ "audience": "a" }), "spec.audience"),
            (
                json!({ "expect": { "roles": ["contents:read"] } }),
                "spec.expect.roles",
            ),
            (
                json!({ "expect": { "scopes": ["contents:read"], "audience": "a" } }),
                "spec.expect.audience",
            ),
            (
                json!({ "expect": { "tenant": "1c1b7a0e-3c2d-4f5a-9b8e-7d6c5b4a3f2e" } }),
                "spec.expect.tenant",
            ),
            (
                json!({ "parameters": [{ "name": "a", "value": "b" }] }),
                "spec.parameters",
            ),
            (json!({ "deletionPolicy": "Revoke" }), "spec.deletionPolicy"),
            (json!({ "scopes": ["contents"] }), "spec.scopes[0]"),
            (json!({ "scopes": ["contents:all"] }), "spec.scopes[0]"),
            (json!({ "scopes": ["Contents:read"] }), "spec.scopes[0]"),
            (
                json!({ "scopes": ["contents:read", "contents:write"] }),
                "spec.scopes[1]",
            ),
            (json!({ "resources": ["contoso/app"] }), "spec.resources[0]"),
        ] {
            let faults = parse(&object(&spec(&change)), lookup).unwrap_err();
            assert!(
                faults.iter().any(|f| f.field == field),
                "{change}: {faults:?}"
            );
        }
    }

    #[test]
    fn revocation_is_refused_with_what_apicred_does_not_do() {
        let lookup = |_: &_| IssuerLookup::Found(issuer(&json!({})));
        let revoke = spec(&json!({ "deletionPolicy": "Revoke" }));
        let faults = parse(&object(&revoke), lookup).unwrap_err();
        let reported = faults[0].to_string();
        assert!(
            reported.contains("apicred does not revoke") && reported.contains("Delete or Retain"),
            "{reported}"
        );
    }

    #[test]
    fn a_kind_that_an_administrator_limits_cannot_be_left_out() {
        for (allowed, change, good) in [
            (json!(["contents:read"]), json!({}), true),
            (
                json!(["contents:read"]),
                json!({ "scopes": ["contents:write"] }),
                false,
            ),
            (json!(["contents:read", "app"]), json!({}), false),
            (
                json!(["contents:read", "app"]),
                json!({ "resources": ["app"] }),
                true,
            ),
            (
                json!(["contents:read", "app"]),
                json!({ "resources": ["other"] }),
                false,
            ),
            (
                json!(["contents:read", "app"]),
                json!({ "scopes": [], "resources": ["app"] }),
                false,
            ),
            (
                json!(["app"]),
                json!({ "scopes": [], "resources": ["app"] }),
                true,
            ),
            // Less than what is allowed: a kind that is not listed is not limited.
            (
                json!(["contents:read"]),
                json!({ "resources": ["app"] }),
                true,
            ),
            (json!(["app"]), json!({ "resources": ["app"] }), true),
            (
                json!(["contents:read"]),
                json!({ "scopes": ["contents:write"], "resources": ["app"] }),
                false,
            ),
            (json!(["app"]), json!({ "resources": ["other"] }), false),
            (json!([]), json!({}), false),
            // A level includes the lower ones, but only of the same permission.
            (json!(["contents:write"]), json!({}), true),
            (
                json!(["contents:admin"]),
                json!({ "scopes": ["contents:write"] }),
                true,
            ),
            (
                json!(["contents:write"]),
                json!({ "scopes": ["contents:admin"] }),
                false,
            ),
            (json!(["issues:write"]), json!({}), false),
            (
                json!(["contents:write", "app"]),
                json!({ "resources": ["app"] }),
                true,
            ),
            (
                json!(["contents:write"]),
                json!({ "scopes": ["contents:read", "issues:read"] }),
                false,
            ),
        ] {
            let issuer = issuer(&json!({ "allowedScopes": allowed }));
            let lookup = |_: &_| IssuerLookup::Found(issuer.clone());
            let credential = parse(&object(&spec(&change)), lookup).unwrap();
            let may = may_request(&issuer, "secops", None, &credential.request);
            assert_eq!(may.is_ok(), good, "{allowed} {change}: {may:?}");
        }
    }
}
