//! An authorization request (RFC 6749 section 4.1.1), and its check.

use super::{Realm, pkce, redirect};
use crate::config::{Client, Config};
use crate::entra;
use crate::form::Form;
use crate::generic;

/// A valid request.
pub(super) struct AuthorizationRequest {
    pub(super) way_back: WayBack,
    pub(super) client_id: String,
    pub(super) scope: String,
    pub(super) audience: Option<String>,
    pub(super) challenge: Option<String>,
    pub(super) nonce: Option<String>,
    pub(super) claims: Option<String>,
    pub(super) login_hint: Option<String>,
    /// `prompt=none`: no page may be shown.
    pub(super) silent: bool,
}

/// The target of the answer.
#[derive(Clone)]
pub(super) struct WayBack {
    pub(super) redirect_uri: String,
    pub(super) mode: Mode,
    pub(super) state: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Query,
    /// <https://openid.net/specs/oauth-v2-form-post-response-mode-1_0.html>
    FormPost,
}

/// A refused request.
pub(super) enum Refused {
    /// The answer must not be sent to anyone: the error is shown to the user (RFC 6749 section 4.1.2.1).
    Here {
        error: &'static str,
        text: String,
    },
    There(WayBack, Problem),
}

/// An error of RFC 6749 section 4.1.2.1.
pub(super) struct Problem {
    pub(super) error: &'static str,
    pub(super) text: String,
}

impl Problem {
    pub(super) fn new(error: &'static str, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { error, text }
    }
}

pub(super) fn decide(
    config: &Config,
    realm: &Realm,
    form: &Form,
) -> Result<AuthorizationRequest, Refused> {
    let here = |error, text: String| Refused::Here { error, text };
    if let Some(name) = form.duplicate(None) {
        let text = format!("The parameter '{name}' is repeated.");
        return Err(here("invalid_request", text));
    }
    let missing = |name: &str| {
        let text = format!("AADSTS900144: The request must contain the parameter '{name}'.");
        here("invalid_request", text)
    };
    let id = form.get("client_id").ok_or_else(|| missing("client_id"))?;
    let client = known(config, realm, id).ok_or_else(|| {
        let text = format!("AADSTS700016: Application with identifier '{id}' was not found.");
        here("unauthorized_client", text)
    })?;
    let redirect_uri = form
        .get("redirect_uri")
        .ok_or_else(|| missing("redirect_uri"))?;
    let mut registered = client.redirect_uris.iter();
    if !registered.any(|registered| redirect::allows(registered, redirect_uri)) {
        let text = format!(
            "AADSTS50011: The redirect URI '{redirect_uri}' specified in the request does not match the redirect URIs \
             configured for the application '{id}'."
        );
        return Err(here("invalid_request", text));
    }

    let way_back = WayBack {
        redirect_uri: redirect_uri.to_owned(),
        mode: match form.get("response_mode") {
            Some("form_post") => Mode::FormPost,
            _ => Mode::Query,
        },
        state: form.get("state").map(str::to_owned),
    };
    match rest(config, realm, client, form) {
        Ok((scope, silent)) => Ok(AuthorizationRequest {
            way_back,
            client_id: id.to_owned(),
            scope,
            audience: form
                .get("audience")
                .or_else(|| form.get("resource"))
                .map(str::to_owned),
            challenge: form.get("code_challenge").map(str::to_owned),
            nonce: form.get("nonce").map(str::to_owned),
            claims: form.get("claims").map(str::to_owned),
            login_hint: form.get("login_hint").map(str::to_owned),
            silent,
        }),
        Err(problem) => Err(Refused::There(way_back, problem)),
    }
}

fn known<'c>(config: &'c Config, realm: &Realm, id: &str) -> Option<&'c Client> {
    let client = config.client(id)?;
    let tenant = |id: &String| config.tenants.iter().find(|tenant| &tenant.id == id);
    match realm {
        Realm::Generic => Some(client),
        Realm::Entra(id) => tenant(id).filter(|t| client.is_in(t)).map(|_| client),
    }
}

/// The rest of the request, whose errors the client may get: scope, and whether no page may be shown.
fn rest(
    config: &Config,
    realm: &Realm,
    client: &Client,
    form: &Form,
) -> Result<(String, bool), Problem> {
    let invalid = |text: &str| Problem::new("invalid_request", text);
    match form.get("response_type") {
        Some("code") => {}
        Some(_) => {
            let text = "only the response type 'code' is known";
            return Err(Problem::new("unsupported_response_type", text));
        }
        None => return Err(invalid("response_type is missing")),
    }
    if !matches!(
        form.get("response_mode"),
        None | Some("query" | "form_post")
    ) {
        return Err(invalid("response_mode must be query or form_post"));
    }
    proof_key(client, form)?;
    let silent = match form.get("prompt") {
        Some("none") => true,
        None | Some("login" | "consent" | "select_account") => false,
        Some(_) => return Err(invalid("the value of prompt is not known")),
    };
    let scope = form.get("scope");
    match realm {
        Realm::Generic => generic::check_scope(config, client, scope),
        Realm::Entra(_) => entra::check_user_scope(config, scope),
    }
    .map_err(|text| Problem::new("invalid_scope", text))?;
    Ok((scope.unwrap_or_default().to_owned(), silent))
}

/// RFC 9700 section 2.1.1: public clients must use PKCE, others may.
fn proof_key(client: &Client, form: &Form) -> Result<(), Problem> {
    let invalid = |text: &str| Err(Problem::new("invalid_request", text));
    let challenge = form.get("code_challenge");
    match (challenge, form.get("code_challenge_method")) {
        (None, None) if client.public => invalid("a public client must send a code_challenge"),
        (None, None) => Ok(()),
        (None, Some(_)) => invalid("a code_challenge_method without a code_challenge"),
        (Some(challenge), Some(pkce::METHOD)) if pkce::is_challenge(challenge) => Ok(()),
        (Some(_), Some(pkce::METHOD)) => invalid("the code_challenge is malformed"),
        // The default method is `plain`.
        (Some(_), _) => invalid("the code_challenge_method must be S256"),
    }
}
