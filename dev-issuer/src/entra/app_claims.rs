//! The claims about the application in its token.

use jiff::Timestamp;

use crate::claims::Claims;
use crate::config::{Resource, Tenant};
use crate::ids::uti;
use crate::state::Shared;

/// An application as it is registered in its tenant.
pub(crate) struct Application<'a> {
    pub(crate) client_id: &'a str,
    /// Object id of its service principal.
    pub(crate) object_id: String,
    /// `appidacr` / `azpacr`: 0 a public client, 1 a secret, 2 a certificate.
    pub(crate) acr: &'static str,
    /// Roles granted in the resource. A missing role is not a reason to refuse: the token is issued without it.
    pub(crate) roles: Vec<String>,
}

/// Entra writes `iat` and `nbf` five minutes into the past, as tokens of the real service show: a client that uses
/// `exp - iat` as the lifetime of a token is wrong by five minutes.
const BACKDATED: i64 = 300;

/// <https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference>. `name` is the API as the client wrote
/// it.
pub(crate) fn app_claims(
    shared: &Shared,
    tenant: &Tenant,
    application: Application<'_>,
    (resource, name): (&Resource, &str),
    (now, lifetime): (Timestamp, u64),
) -> Claims {
    let now = now.as_second();
    let v2 = resource.access_token_accepted_version == 2;
    let iss = if v2 {
        shared.issuer_v2(&tenant.id)
    } else {
        shared.issuer_v1(&tenant.id)
    };
    let for_v1 = |value: &str| (!v2).then(|| value.to_owned());
    let for_v2 = |value: &str| v2.then(|| value.to_owned());
    Claims {
        // v1: as requested, v2: always the application ID.
        aud: if v2 {
            resource.app_id.clone()
        } else {
            name.to_owned()
        },
        idp: Some(iss.clone()),
        idtyp: Some("app".to_owned()),
        iss,
        iat: now - BACKDATED,
        nbf: now - BACKDATED,
        exp: now.saturating_add_unsigned(lifetime),
        appid: for_v1(application.client_id),
        appidacr: for_v1(application.acr),
        azp: for_v2(application.client_id),
        azpacr: for_v2(application.acr),
        oid: Some(application.object_id.clone()),
        roles: application.roles,
        sub: application.object_id,
        tid: Some(tenant.id.clone()),
        uti: Some(uti()),
        ver: Some(if v2 { "2.0" } else { "1.0" }.to_owned()),
        ..Claims::default()
    }
}
