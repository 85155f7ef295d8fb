//! The client credentials grant: an application asks for itself.
//! <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow>

use jiff::Timestamp;

use super::client_auth::{Authenticated, authenticate};
use super::errors::{self, Refusal};
use super::{Version, target};
use crate::ask::Ask;
use crate::claims::Claims;
use crate::config::{Config, Resource, Tenant};
use crate::form::Form;
use crate::ids::{stable_guid, uti};
use crate::state::Shared;

/// A token that is granted, not yet signed.
pub(super) struct Granted {
    pub(super) claims: Claims,
    pub(super) lifetime: u64,
    pub(super) refresh_in: Option<u64>,
    pub(super) secret_index: usize,
    /// The API as the client wrote it; v1 answers echo it.
    pub(super) resource: String,
}

/// Entra writes `iat` and `nbf` five minutes into the past, as tokens of the real service show: whoever takes
/// `exp - iat` for the life of a token is five minutes off.
const BACKDATED: i64 = 300;

pub(super) fn grant(
    shared: &Shared,
    config: &Config,
    tenant: &Tenant,
    (ask, form, version): (&Ask, &Form, Version),
) -> Result<Granted, Refusal> {
    if ask.client_id().is_none() && ask.basic.is_none() {
        return Err(errors::missing("client_id"));
    }
    let name = target::read(form, version)?;
    let now = Timestamp::now();
    let caller = authenticate(ask, config, tenant, now)?;
    let resource = config
        .resource_called(name)
        .ok_or_else(|| errors::resource_unknown(name, &tenant.id))?;
    let lifetime = config.lifetime_of(caller.client);
    Ok(Granted {
        claims: claims(shared, tenant, &caller, (resource, name), (now, lifetime)),
        lifetime,
        refresh_in: config.refresh_in_of(caller.client),
        secret_index: caller.secret_index,
        resource: name.to_owned(),
    })
}

/// <https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference>. Roles that nobody granted are no
/// reason to refuse: the token comes without them.
fn claims(
    shared: &Shared,
    tenant: &Tenant,
    caller: &Authenticated<'_>,
    (resource, name): (&Resource, &str),
    (now, lifetime): (Timestamp, u64),
) -> Claims {
    let client = caller.client;
    let now = now.as_second();
    let v2 = resource.access_token_accepted_version == 2;
    let iss = if v2 {
        shared.issuer_v2(&tenant.id)
    } else {
        shared.issuer_v1(&tenant.id)
    };
    let object = stable_guid(&format!("{}/{}", tenant.id, client.id));
    let for_v1 = |value: &str| (!v2).then(|| value.to_owned());
    let for_v2 = |value: &str| v2.then(|| value.to_owned());
    Claims {
        // v1: as asked for, v2: always the application id.
        aud: if v2 {
            resource.app_id.clone()
        } else {
            name.to_owned()
        },
        idp: Some(iss.clone()),
        iss,
        iat: now - BACKDATED,
        nbf: now - BACKDATED,
        exp: now.saturating_add_unsigned(lifetime),
        appid: for_v1(&client.id),
        appidacr: for_v1(caller.acr),
        azp: for_v2(&client.id),
        azpacr: for_v2(caller.acr),
        client_id: None,
        oid: Some(object.clone()),
        roles: client
            .roles
            .get(&resource.name)
            .cloned()
            .unwrap_or_default(),
        scope: None,
        sub: object,
        tid: Some(tenant.id.clone()),
        uti: Some(uti()),
        jti: None,
        ver: Some(if v2 { "2.0" } else { "1.0" }.to_owned()),
    }
}
