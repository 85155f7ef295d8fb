//! The token endpoint of the generic issuer.

use http::StatusCode;
use jiff::Timestamp;
use serde::Serialize;

use super::client_auth::{Authenticated, authenticate};
use super::errors::{ErrorAnswer, refuse};
use super::target::{audience, read_scope};
use super::{
    authorization_code, device_code, extension, jwt_bearer, password, refresh_token, token_exchange,
};
use crate::answer::{Answer, Issued, Notes};
use crate::claims::Claims;
use crate::config::Config;
use crate::form::Form;
use crate::ids::uti;
use crate::state::Shared;
use crate::token_request::TokenRequest;

/// Field order of the example in RFC 6749 section 5.1.
#[derive(Serialize)]
struct Body<'a> {
    access_token: &'a str,
    token_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_token_type: Option<&'a str>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    whereabouts: Option<Whereabouts<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'a str>,
}

/// The fields that Salesforce returns instead of a lifetime: where to call, the identity, and the time of issue, in milliseconds.
/// <https://help.salesforce.com/s/articleView?id=sf.remoteaccess_oauth_client_credentials_flow.htm>
#[derive(Serialize)]
struct Whereabouts<'a> {
    instance_url: &'a str,
    id: String,
    issued_at: String,
}

/// A token that is granted, not yet signed.
pub(super) struct Granted {
    pub(super) claims: Claims,
    /// None: the answer does not contain it.
    pub(super) lifetime: Option<u64>,
    /// RFC 8693 section 2.2.1.
    pub(super) issued_token_type: Option<&'static str>,
    pub(super) secret_index: Option<usize>,
    pub(super) refresh_token: Option<String>,
    pub(super) id_token: Option<String>,
}

/// Checks a request and issues the token.
pub(crate) fn answer(shared: &Shared, token_request: &TokenRequest) -> Answer {
    match decide(shared, token_request) {
        Ok(granted) => {
            // RFC 9068 section 2.1 defines a separate type for access tokens.
            let token = shared.keys().sign("at+jwt", &granted.claims);
            let body = Body {
                access_token: &token,
                token_type: "Bearer",
                expires_in: granted.lifetime,
                issued_token_type: granted.issued_token_type,
                whereabouts: granted.lifetime.is_none().then(|| Whereabouts {
                    instance_url: &shared.origin,
                    id: format!("{}/id/{}", shared.origin, granted.claims.sub),
                    issued_at: granted.claims.iat.saturating_mul(1000).to_string(),
                }),
                refresh_token: granted.refresh_token.as_deref(),
                id_token: granted.id_token.as_deref(),
                scope: granted.claims.scope.as_deref(),
            };
            let expires = Timestamp::from_second(granted.claims.exp).unwrap_or(Timestamp::MAX);
            Answer::json(StatusCode::OK, &body).noted(Notes {
                secret_index: granted.secret_index,
                issued: Some(Issued {
                    id: granted.claims.jti.unwrap_or_default(),
                    expires,
                }),
                ..Notes::default()
            })
        }
        Err(error_answer) => error_answer.into_answer(token_request),
    }
}

/// The parameters, if they are well formed.
pub(super) fn form_of(token_request: &TokenRequest) -> Result<&Form, ErrorAnswer> {
    let form = token_request
        .form
        .as_ref()
        .map_err(|_| refuse("invalid_request", "the body is not form-encoded"))?;
    // RFC 8707 section 2 allows `resource` more than once.
    if let Some(name) = form.duplicate(Some("resource")) {
        let text = format!("the parameter {name} is repeated");
        return Err(refuse("invalid_request", text));
    }
    Ok(form)
}

fn decide(shared: &Shared, token_request: &TokenRequest) -> Result<Granted, ErrorAnswer> {
    let form = form_of(token_request)?;
    match form.get("grant_type") {
        Some("client_credentials") => client_credentials(shared, token_request, form),
        Some("authorization_code") => authorization_code::grant(shared, token_request, form),
        Some("refresh_token") => refresh_token::grant(shared, token_request, form),
        Some("urn:ietf:params:oauth:grant-type:device_code") => {
            device_code::grant(shared, token_request, form)
        }
        Some("urn:ietf:params:oauth:grant-type:jwt-bearer") => {
            jwt_bearer::grant(shared, token_request, form)
        }
        Some("urn:ietf:params:oauth:grant-type:token-exchange") => {
            token_exchange::grant(shared, token_request, form)
        }
        Some("password") => password::grant(shared, token_request, form),
        Some(extension::ACCOUNT) => extension::account(shared, token_request, form),
        Some(extension::API_KEY) => extension::api_key(shared, token_request, form),
        Some(extension::SAML) => extension::saml(shared, token_request, form),
        Some(_) => Err(refuse(
            "unsupported_grant_type",
            "the grant type is not known",
        )),
        None => Err(refuse("invalid_request", "grant_type is missing")),
    }
}

fn client_credentials(
    shared: &Shared,
    token_request: &TokenRequest,
    form: &Form,
) -> Result<Granted, ErrorAnswer> {
    let config = shared.config();
    let now = Timestamp::now();
    let caller = authenticate(shared, token_request, &config, now)?;
    let client = caller.client;
    if !caller.confidential {
        // RFC 6749 section 4.4: for confidential clients only.
        let text = "a public client cannot request a token for itself";
        return Err(refuse("unauthorized_client", text));
    }
    let whose = Whose {
        subject: &client.id,
        scope: None,
    };
    for_client(shared, &config, &caller, form, &whose)
}

/// The subject of a token.
pub(super) struct Whose<'a> {
    pub(super) subject: &'a str,
    /// The scope that was requested elsewhere than in the form.
    pub(super) scope: Option<&'a str>,
}

/// A token that a client gets for itself or for a subject that it represents.
pub(super) fn for_client(
    shared: &Shared,
    config: &Config,
    caller: &Authenticated<'_>,
    form: &Form,
    whose: &Whose<'_>,
) -> Result<Granted, ErrorAnswer> {
    let client = caller.client;
    let scope = match whose.scope {
        Some(scope) => Some(scope.to_owned()),
        None => read_scope(config, form)?,
    };
    let (aud, roles) = audience(shared, config, client, form)?;
    let lifetime = config.lifetime_of(client);
    let now = Timestamp::now().as_second();
    Ok(Granted {
        claims: Claims {
            aud,
            iss: shared.generic_issuer(),
            iat: now,
            nbf: now,
            exp: now.saturating_add_unsigned(lifetime),
            client_id: Some(client.id.clone()),
            roles,
            scope,
            // RFC 9068 section 2.2: with client credentials the subject is the client.
            sub: whose.subject.to_owned(),
            jti: Some(uti()),
            cnf: caller.confirmation.clone(),
            ..Claims::default()
        },
        lifetime: (!client.without_lifetime).then_some(lifetime),
        issued_token_type: None,
        secret_index: caller.secret_index,
        refresh_token: None,
        id_token: None,
    })
}
