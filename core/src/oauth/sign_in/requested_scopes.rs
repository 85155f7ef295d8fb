//! The scopes that a sign-in requests.

use crate::{
    credential::{Credential, Endpoint, scopes::Dialect},
    oauth::TokenEndpoint,
};

/// Scopes of the sign-in itself (OpenID Connect Core sections 5.4 and 11). Answers may omit them.
pub const SCOPES: [&str; 4] = ["openid", "profile", "email", "offline_access"];

/// The credential with the scopes of a sign-in. At Entra ID it always uses the v2 endpoint: it is the documented one for
/// device codes, and its refresh tokens are bound only to user and client, so they can be used at v1 as well
/// (learn.microsoft.com/entra/identity-platform/refresh-tokens). The slash at the end of a resource stays, because it is part
/// of the API's name (learn.microsoft.com/entra/identity-platform/scopes-oidc).
#[must_use]
pub fn for_sign_in(credential: &Credential) -> Credential {
    let mut changed = credential.clone();
    if matches!(changed.issuer.endpoint, Endpoint::Entra { .. })
        && let Some(resource) = changed.request.resources.pop()
    {
        changed.request.scopes = vec![format!("{resource}/.default")];
    }
    changed
}

/// The same with the scopes that a sign-in sends: `chosen` if there are any, else the credential's own scopes and those that
/// return a refresh token and the user's name.
///
/// An issuer with discovery gets `openid` and `offline_access` unless its document does not list them. An issuer with only a
/// token URL gets only the scopes of the credential: `offline_access` is defined by OpenID Connect, and servers such as
/// GitLab refuse unknown scopes.
#[must_use]
pub fn with_requested_scopes(
    mut credential: Credential,
    endpoint: &TokenEndpoint,
    chosen: &[String],
) -> Credential {
    let scopes = &mut credential.request.scopes;
    if !chosen.is_empty() {
        *scopes = chosen.to_vec();
        return credential;
    }
    let more: &[&str] = match credential.issuer.endpoint {
        Endpoint::Entra { .. } => &["openid", "profile", "offline_access"],
        Endpoint::Discover(_) => &["openid", "offline_access"],
        Endpoint::Fixed(_) | Endpoint::Nowhere => &[],
    };
    for scope in more {
        let known = endpoint
            .scopes
            .as_ref()
            .is_none_or(|list| list.iter().any(|s| s == scope));
        if known && !scopes.iter().any(|s| s == scope) {
            scopes.push((*scope).to_owned());
        }
    }
    credential
}

/// The credential as a refresh requests it. `noted` are the noted scopes of the sign-in, if there are any.
///
/// Entra ID issues tokens for one API at a time, so there `scope` selects the API: Entra ID refuses a refresh without it (AADSTS90009), and
/// Azure AD B2C answers without an access token. If the spec has none, the scopes of the sign-in select it, unless an
/// administrator limits the scopes. Elsewhere a refresh without `scope`
/// requests all that was granted (RFC 6749 section 6), and this is used: Keycloak treats a refresh whose scopes do not
/// contain `offline_access` as one of an online session, and later refuses the access token that it issued. Scopes are sent
/// only to request less: if the user signed in for more than the credential requests, or an administrator limits the scopes
/// of the issuer. Then the scopes of the sign-in itself are sent as well.
#[must_use]
pub fn for_refresh(credential: &Credential, noted: Option<&str>) -> Credential {
    let mut changed = credential.clone();
    let noted: Vec<String> = noted
        .unwrap_or_default()
        .split_ascii_whitespace()
        .map(str::to_owned)
        .collect();
    // What an administrator limits was checked in the spec. Users can edit the noted scopes, which were not checked.
    let limited = changed.issuer.allowed_scopes.is_some();
    if Dialect::of(&changed.issuer) == Dialect::Entra {
        let request = &mut changed.request;
        if !limited && request.scopes.is_empty() && request.resources.is_empty() {
            request.scopes = noted;
        }
        return changed;
    }
    let scopes = &mut changed.request.scopes;
    let is_narrower = of_api(&noted).iter().any(|scope| !scopes.contains(scope));
    if !scopes.is_empty() && (limited || is_narrower) {
        let of_sign_in = |scope: &String| SCOPES.contains(&scope.as_str());
        let more = noted.into_iter().filter(of_sign_in);
        let more: Vec<String> = more.filter(|scope| !scopes.contains(scope)).collect();
        scopes.extend(more);
    } else {
        scopes.clear();
    }
    changed
}

/// The request of a sign-in after the issuer answered `invalid_scope`: with fewer of the scopes that the sign-in added to
/// `own`, first without those that only name the user, then without all of them. Also returns the removed ones. `None` if there are none.
#[must_use]
pub fn with_fewer_scopes(
    requested: &Credential,
    own: &[String],
) -> Option<(Credential, Vec<String>)> {
    if matches!(requested.issuer.endpoint, Endpoint::Entra { .. }) {
        return None;
    }
    let mut removed = added(requested, own);
    if removed.iter().any(|s| s == "openid") {
        removed.retain(|s| s != "offline_access");
    }
    if removed.is_empty() {
        return None;
    }
    let mut fewer = requested.clone();
    fewer.request.scopes.retain(|s| !removed.contains(s));
    Some((fewer, removed))
}

/// The scopes that a sign-in added to the credential's own.
#[must_use]
pub fn added(requested: &Credential, own: &[String]) -> Vec<String> {
    let of_sign_in = |s: &&String| SCOPES.contains(&s.as_str()) && !own.contains(s);
    requested
        .request
        .scopes
        .iter()
        .filter(of_sign_in)
        .cloned()
        .collect()
}

/// The scopes that are about an API, and not about the sign-in itself.
pub fn of_api(scopes: &[String]) -> Vec<String> {
    let about_api = |s: &&String| !SCOPES.contains(&s.as_str());
    scopes.iter().filter(about_api).cloned().collect()
}
