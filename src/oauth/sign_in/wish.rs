//! What a sign-in asks for.

use crate::{
    credential::{Credential, Endpoint},
    oauth::TokenEndpoint,
};

/// Scopes of the sign-in itself (OpenID Connect Core sections 5.4 and 11). Answers may leave them out.
pub const SCOPES: [&str; 4] = ["openid", "profile", "email", "offline_access"];

/// The credential as its person signs in. At Entra ID that is always the v2 endpoint: it is the documented one for
/// device codes, and its refresh tokens are bound to user and client only, so they serve v1 as well
/// (learn.microsoft.com/entra/identity-platform/refresh-tokens). The slash at the end of a resource stays, since it
/// is part of the API's name (learn.microsoft.com/entra/identity-platform/scopes-oidc).
#[must_use]
pub fn for_sign_in(credential: &Credential) -> Credential {
    let mut changed = credential.clone();
    if matches!(changed.issuer.endpoint, Endpoint::Entra { .. })
        && let Some(resource) = changed.ask.resource.take()
    {
        changed.ask.scopes = vec![format!("{resource}/.default")];
    }
    changed
}

/// The same with the scopes that a sign-in sends: `chosen` if there are any, else the credential's own and what
/// brings a refresh token and the person's name.
///
/// An issuer with discovery gets `openid` and `offline_access` unless it says that it does not know them. An issuer
/// that is only a token URL gets what the credential says: `offline_access` is a word of OpenID Connect, and GitLab's
/// like refuse words they do not know.
#[must_use]
pub fn with_wish(
    mut credential: Credential,
    endpoint: &TokenEndpoint,
    chosen: &[String],
) -> Credential {
    let scopes = &mut credential.ask.scopes;
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

/// Those of the scopes that are about an API, and not about the sign-in itself.
pub fn of_api(scopes: &[String]) -> Vec<String> {
    let about_api = |s: &&String| !SCOPES.contains(&s.as_str());
    scopes.iter().filter(about_api).cloned().collect()
}
