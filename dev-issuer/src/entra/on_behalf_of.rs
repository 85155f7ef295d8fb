//! The on-behalf-of flow: a user's token for one application into a user's token for another API.
//! <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-on-behalf-of-flow>

use jiff::Timestamp;

use super::client_auth::{PUBLIC, authenticate};
use super::client_credentials::Granted;
use super::errors::{self, BAD, Refusal};
use super::user_errors;
use super::user_grant::{Agreed, issue};
use crate::ask::Ask;
use crate::claims::InvalidToken;
use crate::config::{Config, Tenant};
use crate::form::Form;
use crate::state::Shared;

pub(super) fn grant(
    shared: &Shared,
    config: &Config,
    tenant: &Tenant,
    (ask, form): (&Ask, &Form),
) -> Result<Granted, Refusal> {
    let required = |name: &'static str| form.get(name).ok_or_else(|| errors::missing(name));
    if required("requested_token_use")? != "on_behalf_of" {
        return Err(errors::malformed());
    }
    let (assertion, scope) = (required("assertion")?, required("scope")?);
    let caller = authenticate(shared, ask, config, tenant, Timestamp::now())?;
    if caller.acr == PUBLIC {
        return Err(errors::no_credential());
    }
    let id = &caller.client.id;
    let ours = [id.clone(), format!("api://{id}")];
    let refused = |code, text: &str| Refusal::new(BAD, "invalid_grant", code, text);
    let claims = shared
        .validate_with(config, assertion, Some(&ours))
        .map_err(|bad| match bad {
            InvalidToken::Expired => refused(500_133, "Assertion is not within its valid time range."),
            InvalidToken::Audience => refused(
                500_131,
                "Assertion audience does not match the Client app presenting the assertion.",
            ),
            _ => refused(50_013, "Assertion failed signature validation."),
        })?;
    // Only a user's token counts; an application asks for itself.
    let person = claims
        .scp
        .is_some()
        .then(|| config.users.iter().find(|u| Some(u.object_id()) == claims.oid));
    let user = person.flatten().ok_or_else(|| {
        refused(50_013, "The assertion is not an access token of a user.")
    })?;
    if user.needs_mfa {
        return Err(user_errors::needs_mfa(&caller.client.id));
    }
    let agreed = Agreed {
        user: &user.name,
        scope,
        nonce: None,
    };
    issue(shared, config, tenant, &caller, &agreed)
}
