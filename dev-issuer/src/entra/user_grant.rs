//! Tokens for a user, for each kind of sign-in.

use jiff::Timestamp;
use serde_json::json;

use super::app_claims::{Application, app_claims};
use super::client_auth::Authenticated;
use super::client_credentials::Granted;
use super::errors::ErrorAnswer;
use super::policy;
use super::user_errors;
use super::user_scope;
use crate::claims::Claims;
use crate::config::{Config, Tenant};
use crate::refresh::Consented;
use crate::signin::Realm;
use crate::state::Shared;
use crate::users::User;

/// The consent of the user.
pub(super) struct Agreed<'a> {
    /// Name of the user.
    pub(super) user: &'a str,
    pub(super) scope: &'a str,
    pub(super) nonce: Option<&'a str>,
    /// The `claims` of the sign-in.
    pub(super) claims: Option<&'a str>,
}

/// The token, and other requested tokens: an ID token with `openid`, a refresh token with `offline_access`.
pub(super) fn issue(
    shared: &Shared,
    config: &Config,
    tenant: &Tenant,
    caller: &Authenticated<'_>,
    agreed: &Agreed<'_>,
) -> Result<Granted, ErrorAnswer> {
    let now = Timestamp::now();
    let scope = user_scope::read(config, agreed.scope).map_err(user_errors::user_scope)?;
    let user = config
        .user(agreed.user)
        .ok_or_else(|| user_errors::user_unknown(agreed.user, &tenant.id))?;
    let client = caller.client;
    if let Some(code) = user.refused {
        return Err(policy::error_answer(code));
    }
    policy::check(user, agreed.claims)?;
    let scp = scope.scp(client, user);
    if scp.is_empty() {
        return Err(user_errors::no_consent(&client.id));
    }
    let lifetime = config.lifetime_of(client);
    let application = Application {
        client_id: &client.id,
        object_id: user.object_id(),
        acr: caller.acr,
        roles: Vec::new(),
    };
    let api = (scope.resource, scope.name.as_str());
    let claims = app_claims(shared, tenant, application, api, (now, lifetime));
    let claims = of_user(claims, user, &client.id, &scp);
    let refresh_token = scope.offline_access.then(|| {
        let consented = Consented {
            realm: Realm::Entra(tenant.id.clone()),
            client_id: client.id.clone(),
            user: user.name.clone(),
            scope: agreed.scope.to_owned(),
            audience: None,
            claims: agreed.claims.map(str::to_owned),
        };
        shared.refresh_tokens.issue(consented, now)
    });
    let id_token = scope
        .openid
        .then(|| id_token(shared, tenant, (&client.id, user), agreed.nonce, now));
    Ok(Granted {
        claims,
        lifetime,
        refresh_in: config.refresh_in_of(client),
        secret_index: caller.secret_index,
        resource: scope.name.clone(),
        scope: Some(scope.granted(&scp, agreed.scope)),
        refresh_token,
        id_token,
    })
}

/// The same without interaction: a scope without earlier consent is refused. `earlier` is a scope to which this user
/// consented for this client.
pub(super) fn issue_silently(
    shared: &Shared,
    config: &Config,
    tenant: &Tenant,
    caller: &Authenticated<'_>,
    (agreed, earlier): (&Agreed<'_>, &str),
) -> Result<Granted, ErrorAnswer> {
    let scope = user_scope::read(config, agreed.scope).map_err(user_errors::user_scope)?;
    let user = config.user(agreed.user);
    if user.is_some_and(|user| !scope.is_agreed(caller.client, user, earlier)) {
        return Err(user_errors::no_consent(&caller.client.id));
    }
    issue(shared, config, tenant, caller, agreed)
}

/// <https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference>
fn of_user(claims: Claims, user: &User, client: &str, scp: &[String]) -> Claims {
    let v2 = claims.ver.as_deref() == Some("2.0");
    let name = |version: bool| version.then(|| user.name.clone());
    Claims {
        sub: user.pairwise(client),
        idtyp: Some("user".to_owned()),
        scp: Some(scp.join(" ")),
        upn: name(!v2),
        preferred_username: name(v2),
        ..claims
    }
}

/// <https://learn.microsoft.com/entra/identity-platform/id-token-claims-reference>
fn id_token(
    shared: &Shared,
    tenant: &Tenant,
    (client, user): (&str, &User),
    nonce: Option<&str>,
    now: Timestamp,
) -> String {
    let now = now.as_second();
    let mut claims = json!({
        "aud": client,
        "iss": shared.issuer_v2(&tenant.id),
        "iat": now,
        "nbf": now,
        "exp": now + 3600,
        "oid": user.object_id(),
        "preferred_username": user.name,
        "sub": user.pairwise(client),
        "tid": tenant.id,
        "ver": "2.0",
    });
    if let Some(nonce) = nonce {
        claims["nonce"] = json!(nonce);
    }
    shared.keys().sign("JWT", &claims)
}
