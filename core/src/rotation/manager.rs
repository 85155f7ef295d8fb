//! Whether the token of the `ApiCredential` in `managementRef` may change this client. It must be a token for Microsoft Graph of the client's
//! own tenant. A tenant has names and an ID. Whether a name belongs to an ID is known only from a token that was issued for the name: it
//! contains the ID. If it is not known, the token is refused.

use crate::{
    credential::{Credential, Endpoint, Issuer},
    oauth::is_guid,
};

/// The authority host and the tenant of an issuer.
fn tenant(issuer: &Issuer) -> Option<(&str, &str)> {
    match &issuer.endpoint {
        Endpoint::Entra { authority } => authority.rsplit_once('/'),
        _ => None,
    }
}

/// Checks that the token of `manager` may change the client of `own`, whose request is for Microsoft Graph. `tid`: the tenant in the token, if
/// it is known.
///
/// # Errors
/// Why it may not: the rest of a sentence that begins with the name of the `ApiCredential`.
pub fn may_change(own: &Credential, manager: &Credential, tid: Option<&str>) -> Result<(), String> {
    same_tenant(&own.issuer, (&manager.issuer, tid))?;
    let (wanted, theirs) = (&own.request.scopes, &manager.request);
    let is_requested = theirs.scopes.iter().all(|scope| wanted.contains(scope));
    if is_requested && !theirs.scopes.is_empty() {
        return Ok(());
    }
    // The v1 endpoint names only the API.
    let api = |resource: &String| wanted.contains(&format!("{resource}/.default"));
    if theirs.scopes.is_empty() && theirs.resources.iter().any(api) {
        return Err(
            "requests its token from the v1 endpoint; remove endpointVersion from it".to_owned(),
        );
    }
    Err("is not for Microsoft Graph; set api: MicrosoftGraph on it".to_owned())
}

/// A token is sent only to the tenant that issued it.
fn same_tenant(ours: &Issuer, (theirs, tid): (&Issuer, Option<&str>)) -> Result<(), String> {
    let trusted = ours.graph == theirs.graph && (ours.vouched || ours.id == theirs.id);
    let both = tenant(ours).zip(tenant(theirs)).filter(|_| trusted);
    let both = both.filter(|((ours, _), (theirs, _))| ours.eq_ignore_ascii_case(theirs));
    let Some(((_, tenant), (_, their_tenant))) = both else {
        return Err("has another issuer than this client; name one of the same issuer".to_owned());
    };
    if tenant.eq_ignore_ascii_case(their_tenant) {
        return Ok(());
    }
    // The token of a tenant that is named by its ID contains the same ID.
    let their_id = if is_guid(their_tenant) {
        Some(their_tenant)
    } else {
        tid.filter(|tid| is_guid(tid))
    };
    match (is_guid(tenant), their_id) {
        (true, Some(id)) if id.eq_ignore_ascii_case(tenant) => Ok(()),
        (true, Some(id)) => Err(format!(
            "is of tenant {id}, and this client of {tenant}; name one of the same tenant"
        )),
        (is_id, id) => {
            let own_id = is_id.then_some(tenant);
            let id = id.or(own_id);
            let id = id.unwrap_or("az account show --query tenantId");
            Err(format!(
                "names tenant {their_tenant}, and this client {tenant}; if both are names of one tenant, write its ID in both ({id}), else name one of the same tenant"
            ))
        }
    }
}
