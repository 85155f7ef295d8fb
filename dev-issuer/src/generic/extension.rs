//! Grants that only an issuer defines (RFC 6749 section 4.5), as real issuers have them.

use jiff::Timestamp;

use super::client_auth::authenticate;
use super::errors::{ErrorAnswer, refuse};
use super::token::{Granted, Whose, for_client};
use crate::form::Form;
use crate::state::Shared;
use crate::token_request::TokenRequest;

/// IBM Cloud: an API key, and no client.
/// <https://cloud.ibm.com/docs/account?topic=account-iamtoken_from_apikey>
pub(super) const API_KEY: &str = "urn:ibm:params:oauth:grant-type:apikey";
/// Zoom, server to server: a client for one account.
/// <https://developers.zoom.us/docs/internal-apps/s2s-oauth/>
pub(super) const ACCOUNT: &str = "account_credentials";

/// SAP SuccessFactors: a SAML assertion for one company, and a client without a credential.
/// <https://help.sap.com/docs/successfactors-platform/sap-successfactors-api-reference-guide-odata-v2/requesting-access-token>
pub(super) const SAML: &str = "urn:ietf:params:oauth:grant-type:saml2-bearer";

pub(super) fn account(
    shared: &Shared,
    token_request: &TokenRequest,
    form: &Form,
) -> Result<Granted, ErrorAnswer> {
    let config = shared.config();
    let caller = authenticate(shared, token_request, &config, Timestamp::now())?;
    let wanted = caller.client.account_id.as_deref();
    if !caller.confidential || wanted.is_none() || form.get("account_id") != wanted {
        return Err(refuse("invalid_request", "the account id is wrong"));
    }
    let whose = Whose {
        subject: &caller.client.id,
        scope: None,
    };
    for_client(shared, &config, &caller, form, &whose)
}

pub(super) fn api_key(
    shared: &Shared,
    token_request: &TokenRequest,
    form: &Form,
) -> Result<Granted, ErrorAnswer> {
    let config = shared.config();
    if token_request.basic.is_some() || form.get("client_id").is_some() {
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
        // The value that IBM returns.
        refresh_token: Some("not_supported".to_owned()),
        ..for_client(shared, &config, &caller, form, &whose)?
    })
}

pub(super) fn saml(
    shared: &Shared,
    token_request: &TokenRequest,
    form: &Form,
) -> Result<Granted, ErrorAnswer> {
    let config = shared.config();
    let caller = authenticate(shared, token_request, &config, Timestamp::now())?;
    let known = caller.client.saml.as_ref();
    if known.map(|saml| saml.company_id.as_str()) != form.get("company_id") {
        return Err(refuse("invalid_request", "the company is not known"));
    }
    if known.map(|saml| saml.assertion.as_str()) != form.get("assertion") {
        return Err(refuse("invalid_grant", "the assertion is not valid"));
    }
    let whose = Whose {
        subject: &caller.client.id,
        scope: None,
    };
    for_client(shared, &config, &caller, form, &whose)
}
