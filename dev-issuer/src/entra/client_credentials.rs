//! The client credentials grant: an application requests a token for itself.
//! <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow>

use jiff::Timestamp;

use super::app_claims::{Application, app_claims};
use super::client_auth::{PUBLIC, authenticate};
use super::errors::{self, ErrorAnswer};
use super::{Version, target};
use crate::claims::Claims;
use crate::config::{Config, Tenant};
use crate::form::Form;
use crate::ids::stable_guid;
use crate::state::Shared;
use crate::token_request::TokenRequest;

/// A token that is granted, not yet signed.
pub(super) struct Granted {
    pub(super) claims: Claims,
    pub(super) lifetime: u64,
    pub(super) refresh_in: Option<u64>,
    pub(super) secret_index: Option<usize>,
    /// The API as the client wrote it; v1 answers echo it.
    pub(super) resource: String,
    /// The granted scope, if a user granted it.
    pub(super) scope: Option<String>,
    pub(super) refresh_token: Option<String>,
    pub(super) id_token: Option<String>,
}

pub(super) fn grant(
    shared: &Shared,
    config: &Config,
    tenant: &Tenant,
    (token_request, form, version): (&TokenRequest, &Form, Version),
) -> Result<Granted, ErrorAnswer> {
    if token_request.client_id().is_none() && token_request.basic.is_none() {
        return Err(errors::missing("client_id"));
    }
    let name = target::read(form, version)?;
    let now = Timestamp::now();
    let caller = authenticate(shared, token_request, config, tenant, now)?;
    if caller.acr == PUBLIC {
        return Err(errors::no_credential());
    }
    let resource = config
        .resource_called(name)
        .ok_or_else(|| errors::resource_unknown(name, &tenant.id))?;
    let client = caller.client;
    let lifetime = config.lifetime_of(client);
    let granted = client.roles.get(&resource.name);
    let application = Application {
        client_id: &client.id,
        object_id: stable_guid(&format!("{}/{}", tenant.id, client.id)),
        acr: caller.acr,
        roles: granted.cloned().unwrap_or_default(),
    };
    Ok(Granted {
        claims: app_claims(
            shared,
            tenant,
            application,
            (resource, name),
            (now, lifetime),
        ),
        lifetime,
        refresh_in: config.refresh_in_of(caller.client),
        secret_index: caller.secret_index,
        resource: name.to_owned(),
        scope: None,
        refresh_token: None,
        id_token: None,
    })
}
