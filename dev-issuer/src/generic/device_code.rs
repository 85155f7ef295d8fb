//! Device codes (RFC 8628).

use http::StatusCode;
use jiff::Timestamp;
use serde_json::json;

use super::client_auth::authenticate;
use super::errors::{ErrorAnswer, refuse};
use super::target::check_scope;
use super::token::{Granted, form_of};
use super::user_grant::{Agreed, issue};
use crate::answer::Answer;
use crate::device::{DeviceRequest, Poll, generic_page};
use crate::form::Form;
use crate::signin::Realm;
use crate::state::Shared;
use crate::token_request::TokenRequest;

/// `POST /generic/device_authorization`. The client authenticates as at the token endpoint (section 3.1).
pub(crate) fn device_authorization(shared: &Shared, token_request: &TokenRequest) -> Answer {
    begin(shared, token_request)
        .unwrap_or_else(|error_answer| error_answer.into_answer(token_request))
}

fn begin(shared: &Shared, token_request: &TokenRequest) -> Result<Answer, ErrorAnswer> {
    let form = form_of(token_request)?;
    let config = shared.config();
    let now = Timestamp::now();
    let caller = authenticate(shared, token_request, &config, now)?;
    let scope = form.get("scope");
    check_scope(&config, caller.client, scope).map_err(|text| refuse("invalid_scope", text))?;
    let audience = form.get("audience").or_else(|| form.get("resource"));
    let request = DeviceRequest {
        realm: Realm::Generic,
        client_id: caller.client.id.clone(),
        scope: scope.unwrap_or_default().to_owned(),
        audience: audience.map(str::to_owned),
        claims: None,
    };
    let handed = shared.devices.start(request, &config, now);
    let page = generic_page(shared);
    let body = json!({
        "device_code": handed.device_code,
        "user_code": handed.user_code,
        "verification_uri": page,
        "verification_uri_complete": format!("{page}?user_code={}", handed.user_code),
        "expires_in": config.device_lifetime_seconds,
        "interval": config.device_interval_seconds,
    });
    Ok(Answer::json(StatusCode::OK, &body))
}

/// Section 3.5. If a client does not slow down after `slow_down`, its code becomes invalid.
pub(super) fn grant(
    shared: &Shared,
    token_request: &TokenRequest,
    form: &Form,
) -> Result<Granted, ErrorAnswer> {
    let code = form
        .get("device_code")
        .ok_or_else(|| refuse("invalid_request", "device_code is missing"))?;
    let config = shared.config();
    let now = Timestamp::now();
    let caller = authenticate(shared, token_request, &config, now)?;
    let client = (&Realm::Generic, caller.client.id.as_str());
    let (error, text) = match shared.devices.poll(code, client, false, now) {
        Poll::Approved(request, user) => {
            let agreed = Agreed {
                user: &user,
                scope: &request.scope,
                audience: request.audience.as_deref(),
                nonce: None,
            };
            return issue(shared, &config, &caller, form, &agreed);
        }
        Poll::Pending => ("authorization_pending", "the user has not decided yet"),
        Poll::TooEarly => ("slow_down", "wait five seconds longer from now on"),
        Poll::Declined => ("access_denied", "the user refused"),
        Poll::Expired => ("expired_token", "the device code has expired"),
        Poll::Unknown => ("invalid_grant", "the device code is unknown"),
        Poll::Refused => ("invalid_grant", "too many polls after slow_down"),
    };
    Err(refuse(error, text))
}
