//! Device codes: a program without a browser, and a user with one.
//! <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-device-code>

use http::StatusCode;
use jiff::Timestamp;
use serde_json::json;

use super::client_auth::authenticate;
use super::client_credentials::Granted;
use super::errors::{self, ErrorAnswer};
use super::tenant;
use super::user_errors;
use super::user_grant::{Agreed, issue};
use super::user_scope::check_user_scope;
use crate::answer::Answer;
use crate::config::{Config, Tenant};
use crate::device::{DeviceRequest, Poll, entra_page};
use crate::form::Form;
use crate::ids::guid;
use crate::signin::Realm;
use crate::state::Shared;
use crate::token_request::TokenRequest;

/// `POST /{tenant}/oauth2/v2.0/devicecode`. The client only sends its ID.
pub(crate) fn device_code(shared: &Shared, token_request: &TokenRequest, tenant: &str) -> Answer {
    let correlation_id = token_request.correlation_id.clone().unwrap_or_else(guid);
    begin(shared, token_request, tenant)
        .unwrap_or_else(|error_answer| error_answer.into_answer(&shared.origin, &correlation_id))
}

fn begin(
    shared: &Shared,
    token_request: &TokenRequest,
    tenant: &str,
) -> Result<Answer, ErrorAnswer> {
    let config = shared.config();
    let tenant = tenant::of_user(&config, tenant)?;
    let form = token_request
        .form
        .as_ref()
        .map_err(|_| errors::malformed())?;
    if let Some(name) = form.duplicate(None) {
        return Err(errors::duplicated(name));
    }
    let id = form
        .get("client_id")
        .ok_or_else(|| errors::missing("client_id"))?;
    let client = config
        .client(id)
        .filter(|client| client.is_in(tenant))
        .ok_or_else(|| errors::client_unknown(id, &tenant.id))?;
    let scope = form.get("scope").ok_or_else(|| errors::missing("scope"))?;
    check_user_scope(&config, Some(scope)).map_err(user_errors::user_scope)?;
    let request = DeviceRequest {
        realm: Realm::Entra(tenant.id.clone()),
        client_id: client.id.clone(),
        scope: scope.to_owned(),
        audience: None,
        claims: form.get("claims").map(str::to_owned),
    };
    let handed = shared.devices.start(request, &config, Timestamp::now());
    let page = entra_page(shared);
    let body = json!({
        "user_code": handed.user_code,
        "device_code": handed.device_code,
        "verification_uri": page,
        "expires_in": config.device_lifetime_seconds,
        "interval": config.device_interval_seconds,
        "message": format!(
            "To sign in, use a web browser to open the page {page} and enter the code {} to authenticate.",
            handed.user_code
        ),
    });
    Ok(Answer::json(StatusCode::OK, &body))
}

/// Entra allows any polling rate.
pub(super) fn grant(
    shared: &Shared,
    config: &Config,
    tenant: &Tenant,
    (token_request, form): (&TokenRequest, &Form),
) -> Result<Granted, ErrorAnswer> {
    let code = form
        .get("device_code")
        .ok_or_else(|| errors::missing("device_code"))?;
    let now = Timestamp::now();
    let caller = authenticate(shared, token_request, config, tenant, now)?;
    let realm = Realm::Entra(tenant.id.clone());
    let client = (&realm, caller.client.id.as_str());
    match shared.devices.poll(code, client, true, now) {
        Poll::Approved(request, user) => {
            let agreed = Agreed {
                user: &user,
                scope: &request.scope,
                nonce: None,
                claims: request.claims.as_deref(),
            };
            issue(shared, config, tenant, &caller, &agreed)
        }
        Poll::Pending | Poll::TooEarly => Err(user_errors::device_pending()),
        Poll::Declined => Err(user_errors::device_declined()),
        Poll::Expired => Err(user_errors::device_expired()),
        Poll::Unknown | Poll::Refused => Err(user_errors::device_unknown()),
    }
}
