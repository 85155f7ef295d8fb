//! Tokens for a user, for each kind of sign-in.

use jiff::Timestamp;
use serde_json::json;

use super::client_auth::Authenticated;
use super::errors::{ErrorAnswer, refuse};
use super::target::audience_or_default;
use super::token::Granted;
use crate::claims::Claims;
use crate::config::Config;
use crate::form::Form;
use crate::ids::uti;
use crate::refresh::Consented;
use crate::signin::Realm;
use crate::state::Shared;
use crate::users::User;

/// The consent of the user.
pub(super) struct Agreed<'a> {
    /// Name of the user.
    pub(super) user: &'a str,
    pub(super) scope: &'a str,
    /// The API that the sign-in named.
    pub(super) audience: Option<&'a str>,
    pub(super) nonce: Option<&'a str>,
}

/// The token, and other requested tokens: an ID token with `openid`, a refresh token with `offline_access`.
pub(super) fn issue(
    shared: &Shared,
    config: &Config,
    caller: &Authenticated<'_>,
    form: &Form,
    agreed: &Agreed<'_>,
) -> Result<Granted, ErrorAnswer> {
    let now = Timestamp::now();
    let user = config
        .user(agreed.user)
        .ok_or_else(|| refuse("invalid_grant", "the user is gone"))?;
    let client = caller.client;
    let audience = audience(agreed, form)?;
    let (aud, roles) = audience_or_default(shared, config, client, audience)?;
    let has = |scope: &str| agreed.scope.split(' ').any(|part| part == scope);
    let lifetime = config.lifetime_of(client);
    let claims = Claims {
        aud,
        iss: shared.generic_issuer(),
        iat: now.as_second(),
        nbf: now.as_second(),
        exp: now.as_second().saturating_add_unsigned(lifetime),
        client_id: Some(client.id.clone()),
        roles,
        scope: Some(agreed.scope.to_owned()).filter(|scope| !scope.is_empty()),
        sub: user.object_id(),
        preferred_username: Some(user.name.clone()),
        jti: Some(uti()),
        cnf: caller.confirmation.clone(),
        ..Claims::default()
    };
    let offline = |scope: &String| scope == "offline_access";
    let always = client.refused_scopes.iter().any(offline);
    let refresh_token = (always || has("offline_access")).then(|| {
        let consented = Consented {
            realm: Realm::Generic,
            client_id: client.id.clone(),
            user: user.name.clone(),
            scope: agreed.scope.to_owned(),
            audience: audience.map(str::to_owned),
            claims: None,
        };
        shared.refresh_tokens.issue(consented, now)
    });
    Ok(Granted {
        claims,
        lifetime: (!client.without_lifetime).then_some(lifetime),
        issued_token_type: None,
        secret_index: caller.secret_index,
        refresh_token,
        id_token: has("openid").then(|| id_token(shared, (&client.id, user), agreed.nonce, now)),
    })
}

/// The API may be named in the sign-in or in the token request; never two different ones.
fn audience<'a>(agreed: &Agreed<'a>, form: &'a Form) -> Result<Option<&'a str>, ErrorAnswer> {
    let mut all = agreed.audience.into_iter();
    let mut all = all
        .by_ref()
        .chain(form.all("audience"))
        .chain(form.all("resource"));
    let first = all.next();
    if all.any(|other| Some(other) != first) {
        return Err(refuse("invalid_target", "one audience a token"));
    }
    Ok(first)
}

/// `OpenID` Connect Core 1.0 section 2.
fn id_token(
    shared: &Shared,
    (client, user): (&str, &User),
    nonce: Option<&str>,
    now: Timestamp,
) -> String {
    let now = now.as_second();
    let mut claims = json!({
        "iss": shared.generic_issuer(),
        "sub": user.object_id(),
        "aud": client,
        "iat": now,
        "exp": now + 3600,
        "preferred_username": user.name,
    });
    if let Some(nonce) = nonce {
        claims["nonce"] = json!(nonce);
    }
    shared.keys().sign("JWT", &claims)
}
