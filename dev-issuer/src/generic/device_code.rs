//! Device codes (RFC 8628).

use http::StatusCode;
use jiff::Timestamp;
use serde_json::json;

use super::client_auth::authenticate;
use super::errors::{Refusal, refuse};
use super::target::check_scope;
use super::token::{Granted, form_of};
use super::user_grant::{Agreed, issue};
use crate::answer::Answer;
use crate::ask::Ask;
use crate::device::{Poll, Wish, generic_page};
use crate::form::Form;
use crate::signin::Realm;
use crate::state::Shared;

/// `POST /generic/device_authorization`. The client authenticates as at the token endpoint (section 3.1).
pub(crate) fn device_authorization(shared: &Shared, ask: &Ask) -> Answer {
    begin(shared, ask).unwrap_or_else(|refusal| refusal.into_answer(ask))
}

fn begin(shared: &Shared, ask: &Ask) -> Result<Answer, Refusal> {
    let form = form_of(ask)?;
    let config = shared.config();
    let now = Timestamp::now();
    let caller = authenticate(shared, ask, &config, now)?;
    let scope = form.get("scope");
    check_scope(&config, caller.client, scope).map_err(|text| refuse("invalid_scope", text))?;
    let audience = form.get("audience").or_else(|| form.get("resource"));
    let wish = Wish {
        realm: Realm::Generic,
        client_id: caller.client.id.clone(),
        scope: scope.unwrap_or_default().to_owned(),
        audience: audience.map(str::to_owned),
        claims: None,
    };
    let handed = shared.devices.start(wish, &config, now);
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

/// Section 3.5. A client that does not slow down after `slow_down` has lost its code.
pub(super) fn grant(shared: &Shared, ask: &Ask, form: &Form) -> Result<Granted, Refusal> {
    let code = form
        .get("device_code")
        .ok_or_else(|| refuse("invalid_request", "device_code is missing"))?;
    let config = shared.config();
    let now = Timestamp::now();
    let caller = authenticate(shared, ask, &config, now)?;
    let who = (&Realm::Generic, caller.client.id.as_str());
    let (error, text) = match shared.devices.poll(code, who, false, now) {
        Poll::Approved(wish, user) => {
            let agreed = Agreed {
                user: &user,
                scope: &wish.scope,
                audience: wish.audience.as_deref(),
                nonce: None,
            };
            return issue(shared, &config, &caller, form, &agreed);
        }
        Poll::Pending => ("authorization_pending", "nobody has decided yet"),
        Poll::TooEarly => ("slow_down", "wait five seconds longer from now on"),
        Poll::Declined => ("access_denied", "the person refused"),
        Poll::Expired => ("expired_token", "the device code has expired"),
        Poll::Unknown => ("invalid_grant", "the device code is unknown"),
        Poll::Refused => ("invalid_grant", "too many polls after slow_down"),
    };
    Err(refuse(error, text))
}
