//! The on-behalf-of flow: exchanges a user's token for one application for a user's token for another API.
//! <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-on-behalf-of-flow>

use jiff::Timestamp;

use super::Version;
use super::client_auth::{PUBLIC, authenticate};
use super::client_credentials::Granted;
use super::errors::{self, BAD, ErrorAnswer};
use super::policy;
use super::user_grant::{Agreed, issue_silently};
use super::user_scope::from_form;
use crate::claims::{Claims, InvalidToken};
use crate::config::{Config, Tenant};
use crate::form::Form;
use crate::state::Shared;
use crate::token_request::TokenRequest;

/// RFC 7523 section 2.1; Entra uses it with a different meaning.
pub(super) const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

pub(super) fn grant(
    shared: &Shared,
    config: &Config,
    tenant: &Tenant,
    (token_request, form, version): (&TokenRequest, &Form, Version),
) -> Result<Granted, ErrorAnswer> {
    let required = |name: &'static str| form.get(name).ok_or_else(|| errors::missing(name));
    if required("requested_token_use")? != "on_behalf_of" {
        return Err(errors::malformed());
    }
    let assertion = required("assertion")?;
    let scope = from_form(form, version)?;
    let caller = authenticate(shared, token_request, config, tenant, Timestamp::now())?;
    if caller.acr == PUBLIC {
        return Err(errors::no_credential());
    }
    let claims = check(shared, config, assertion, &caller.client.id)?;
    if claims.idtyp.as_deref() == Some("app") {
        let text = "Application is not allowed to make application on-behalf-of calls.";
        return Err(ErrorAnswer::new(BAD, "invalid_grant", 7_000_114, text));
    }
    let here = claims.scp.is_some() && claims.tid.as_deref() == Some(tenant.id.as_str());
    let mut users = config.users.iter().filter(|_| here);
    let user = users
        .find(|user| Some(user.object_id()) == claims.oid)
        .ok_or_else(|| not_accepted("The assertion is not an access token of a user."))?;
    if user.needs_mfa {
        return Err(policy::error_answer(50_076));
    }
    let agreed = Agreed {
        user: &user.name,
        scope: &scope,
        nonce: None,
        claims: None,
    };
    issue_silently(shared, config, tenant, &caller, (&agreed, ""))
}

fn not_accepted(text: &str) -> ErrorAnswer {
    ErrorAnswer::new(BAD, "invalid_grant", 50_013, text)
}

/// The token must be for the application that presents it, by its ID or by its URIs as an API.
fn check(
    shared: &Shared,
    config: &Config,
    assertion: &str,
    client: &str,
) -> Result<Claims, ErrorAnswer> {
    let mut ours = vec![client.to_owned(), format!("api://{client}")];
    let mut resources = config.resources.iter();
    let own = resources.find(|resource| resource.app_id.eq_ignore_ascii_case(client));
    ours.extend(own.into_iter().flat_map(crate::config::Resource::audiences));
    shared
        .validate_with(config, assertion, Some(&ours))
        .map_err(|bad| match bad {
            InvalidToken::Expired | InvalidToken::NotYetValid => {
                let text = "Assertion is not within its valid time range.";
                ErrorAnswer::new(BAD, "invalid_grant", 500_133, text)
            }
            // As reported from the real service.
            InvalidToken::Audience => ErrorAnswer::new(
                BAD,
                "invalid_grant",
                500_131,
                "Assertion audience does not match the Client app presenting the assertion.",
            ),
            _ => not_accepted("Assertion failed signature validation."),
        })
}
