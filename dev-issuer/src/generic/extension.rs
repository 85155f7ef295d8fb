//! Grants of the issuer's own (RFC 6749 section 4.5), as two issuers that people use have them.

use jiff::Timestamp;

use super::client_auth::authenticate;
use super::errors::{Refusal, refuse};
use super::token::{Granted, Whose, for_client};
use crate::ask::Ask;
use crate::form::Form;
use crate::state::Shared;

/// IBM Cloud: an API key, and no client.
/// <https://cloud.ibm.com/docs/account?topic=account-iamtoken_from_apikey>
pub(super) const API_KEY: &str = "urn:ibm:params:oauth:grant-type:apikey";
/// Zoom, server to server: a client for one account.
/// <https://developers.zoom.us/docs/internal-apps/s2s-oauth/>
pub(super) const ACCOUNT: &str = "account_credentials";

pub(super) fn account(shared: &Shared, ask: &Ask, form: &Form) -> Result<Granted, Refusal> {
    let config = shared.config();
    let caller = authenticate(shared, ask, &config, Timestamp::now())?;
    let wanted = caller.client.account_id.as_deref();
    if !caller.proved || wanted.is_none() || form.get("account_id") != wanted {
        return Err(refuse("invalid_request", "the account id is wrong"));
    }
    let whose = Whose {
        subject: &caller.client.id,
        scope: None,
    };
    for_client(shared, &config, &caller, form, &whose)
}

pub(super) fn api_key(shared: &Shared, ask: &Ask, form: &Form) -> Result<Granted, Refusal> {
    let config = shared.config();
    if ask.basic.is_some() || form.get("client_id").is_some() {
        return Err(refuse("invalid_client", "this grant has no client"));
    }
    let key = form.get("apikey").unwrap_or_default();
    let caller = config
        .clients
        .iter()
        .find(|client| client.api_key.as_deref() == Some(key))
        .map(super::client_auth::Authenticated::by_itself)
        .ok_or_else(|| refuse("invalid_grant", "the API key could not be found"))?;
    let whose = Whose {
        subject: &caller.client.id,
        scope: None,
    };
    Ok(Granted {
        // In IBM's words.
        refresh_token: Some("not_supported".to_owned()),
        ..for_client(shared, &config, &caller, form, &whose)?
    })
}
