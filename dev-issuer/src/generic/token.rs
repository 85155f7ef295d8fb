//! The token endpoint of the generic issuer.

use http::StatusCode;
use http::header::WWW_AUTHENTICATE;
use jiff::Timestamp;
use serde::Serialize;

use crate::answer::{Answer, Issued, Notes};
use crate::ask::Ask;
use crate::claims::Claims;
use crate::config::{Client, Config};
use crate::entra::{Found, find};
use crate::form::Form;
use crate::ids::uti;
use crate::state::Shared;

/// An error of RFC 6749 section 5.2, or `invalid_target` of RFC 8707.
struct Refusal {
    error: &'static str,
    description: String,
    secret_index: Option<usize>,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: &'a str,
    error_description: &'a str,
}

/// Field order of the example in RFC 6749 section 5.1.
#[derive(Serialize)]
struct Body<'a> {
    access_token: &'a str,
    token_type: &'a str,
    expires_in: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'a str>,
}

struct Granted {
    claims: Claims,
    lifetime: u64,
    secret_index: usize,
}

fn refuse(error: &'static str, description: impl Into<String>) -> Refusal {
    Refusal {
        error,
        description: description.into(),
        secret_index: None,
    }
}

/// Judges a request and mints the token.
pub(crate) fn answer(shared: &Shared, ask: &Ask) -> Answer {
    match decide(shared, ask) {
        Ok(granted) => {
            // RFC 9068 section 2.1 gives access tokens a type of their own.
            let token = shared.keys().sign("at+jwt", &granted.claims);
            let body = Body {
                access_token: &token,
                token_type: "Bearer",
                expires_in: granted.lifetime,
                scope: granted.claims.scope.as_deref(),
            };
            let expires = Timestamp::from_second(granted.claims.exp).unwrap_or(Timestamp::MAX);
            Answer::json(StatusCode::OK, &body).noted(Notes {
                secret_index: Some(granted.secret_index),
                issued: Some(Issued {
                    id: granted.claims.jti.unwrap_or_default(),
                    expires,
                }),
                ..Notes::default()
            })
        }
        Err(refusal) => refused(ask, &refusal),
    }
}

/// 401 for a client that is not who it says, with a challenge if it came with the header (RFC 6749 section 5.2).
fn refused(ask: &Ask, refusal: &Refusal) -> Answer {
    let denied = refusal.error == "invalid_client";
    let status = if denied {
        StatusCode::UNAUTHORIZED
    } else {
        StatusCode::BAD_REQUEST
    };
    let body = ErrorBody {
        error: refusal.error,
        error_description: &refusal.description,
    };
    let answer = Answer::json(status, &body).noted(Notes {
        error: Some(refusal.error.to_owned()),
        secret_index: refusal.secret_index,
        ..Notes::default()
    });
    if denied && ask.basic.is_some() {
        answer.header(
            WWW_AUTHENTICATE,
            "Basic realm=\"dev-issuer\", charset=\"UTF-8\"",
        )
    } else {
        answer
    }
}

fn decide(shared: &Shared, ask: &Ask) -> Result<Granted, Refusal> {
    let form = ask
        .form
        .as_ref()
        .map_err(|_| refuse("invalid_request", "the body is not form-encoded"))?;
    // RFC 8707 section 2 lets `resource` be there more than once.
    if let Some(name) = form.duplicate(Some("resource")) {
        let text = format!("the parameter {name} is there twice");
        return Err(refuse("invalid_request", text));
    }
    match form.get("grant_type") {
        Some("client_credentials") => client_credentials(shared, ask, form),
        Some(_) => Err(refuse(
            "unsupported_grant_type",
            "only client_credentials is known",
        )),
        None => Err(refuse("invalid_request", "grant_type is missing")),
    }
}

fn client_credentials(shared: &Shared, ask: &Ask, form: &Form) -> Result<Granted, Refusal> {
    let config = shared.config();
    let now = Timestamp::now();
    let (client, secret_index) = authenticate(ask, &config, now)?;
    let scope = read_scope(&config, form)?;
    let (aud, roles) = audience(shared, &config, client, form)?;
    let lifetime = config.lifetime_of(client);
    let now = now.as_second();
    Ok(Granted {
        claims: Claims {
            aud,
            iss: shared.generic_issuer(),
            iat: now,
            nbf: now,
            exp: now.saturating_add_unsigned(lifetime),
            appid: None,
            appidacr: None,
            azp: None,
            azpacr: None,
            client_id: Some(client.id.clone()),
            idp: None,
            oid: None,
            roles,
            scope,
            // RFC 9068 section 2.2: with client credentials the subject is the client.
            sub: client.id.clone(),
            tid: None,
            uti: None,
            jti: Some(uti()),
            ver: None,
        },
        lifetime,
        secret_index,
    })
}

/// By Basic header or in the body, never both (RFC 6749 section 2.3). A wrong id and a wrong secret look the same.
fn authenticate<'c>(
    ask: &Ask,
    config: &'c Config,
    now: Timestamp,
) -> Result<(&'c Client, usize), Refusal> {
    let wrong = || refuse("invalid_client", "client authentication failed");
    let in_body = ask.parameter("client_secret");
    let (id, secret) = match (&ask.basic, in_body) {
        (Some(_), Some(_)) => {
            let text = "credentials in the header and in the body";
            return Err(refuse("invalid_request", text));
        }
        (Some(Err(_)), None) => return Err(wrong()),
        (Some(Ok(basic)), None) => (Some(basic.id.as_str()), Some(basic.secret.as_str())),
        (None, secret) => (ask.client_id(), secret),
    };
    if ask.client_id() != id {
        return Err(refuse("invalid_request", "two different client ids"));
    }
    let (Some(id), Some(secret)) = (id, secret) else {
        return Err(refuse(
            "invalid_client",
            "no client authentication included",
        ));
    };
    let client = config.client(id).ok_or_else(wrong)?;
    match find(&client.secrets, secret, now) {
        Found::Good(index) => Ok((client, index)),
        Found::Expired(index) => Err(Refusal {
            secret_index: Some(index),
            ..wrong()
        }),
        Found::None => Err(wrong()),
    }
}

fn read_scope(config: &Config, form: &Form) -> Result<Option<String>, Refusal> {
    let Some(scope) = form.get("scope") else {
        return Ok(None);
    };
    // RFC 6749 section 3.3: printable ASCII but `"` and `\`, parted by single blanks.
    let good = |b: u8| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    for part in scope.split(' ') {
        let known =
            config.generic_scopes.is_empty() || config.generic_scopes.iter().any(|s| s == part);
        if part.is_empty() || !part.bytes().all(good) || !known {
            return Err(refuse("invalid_scope", "the scope is malformed or unknown"));
        }
    }
    Ok(Some(scope.to_owned()))
}

/// `audience` as many issuers have it, `resource` as RFC 8707 has it; without either the token is for nobody but
/// the issuer itself.
fn audience(
    shared: &Shared,
    config: &Config,
    client: &Client,
    form: &Form,
) -> Result<(String, Vec<String>), Refusal> {
    let wanted: Vec<&str> = form.all("audience").chain(form.all("resource")).collect();
    let Some(first) = wanted.first() else {
        return Ok((shared.generic_issuer(), Vec::new()));
    };
    if wanted.iter().any(|other| other != first) {
        return Err(refuse("invalid_target", "one audience a token"));
    }
    let resource = config
        .resource_called(first)
        .ok_or_else(|| refuse("invalid_target", "the audience is unknown"))?;
    let roles = client
        .roles
        .get(&resource.name)
        .cloned()
        .unwrap_or_default();
    Ok(((*first).to_owned(), roles))
}
