//! The authorization endpoints: they return a page, or a redirect to the client.

use std::sync::Arc;

use axum::body::to_bytes;
use axum::extract::Request;
use axum::response::Response;
use http::header::LOCATION;
use http::{Method, StatusCode};
use jiff::Timestamp;

use super::authorize::{AuthorizationRequest, Mode, Problem, Refused, WayBack, decide};
use super::page::{self, Field, Page};
use super::{Consent, Realm, redirect};
use crate::answer::{Answer, Notes};
use crate::config::Config;
use crate::entra;
use crate::exchange::{LONGEST_BODY, attend, presentable};
use crate::faults::Surface;
use crate::form::{Form, Malformed};
use crate::ids::guid;
use crate::log::TokenRequestRecord;
use crate::state::Shared;

/// The fields that a user sends with the form; all others are the request itself.
const ANSWERS: [&str; 3] = ["user", "password", "decision"];

/// `GET` or `POST /…/authorize`. Without a tenant it is the one of the generic issuer.
pub(crate) async fn authorize(
    shared: Arc<Shared>,
    tenant: Option<String>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let posted = head.method == Method::POST;
    let form = if posted {
        let body = to_bytes(body, LONGEST_BODY).await.unwrap_or_default();
        Form::parse(&body)
    } else {
        Form::parse(head.uri.query().unwrap_or_default().as_bytes())
    };
    let record = {
        let config = shared.config();
        let get = |name: &str| Some(presentable(&config, form.as_ref().ok()?.get(name)?));
        let path = presentable(&config, head.uri.path());
        TokenRequestRecord {
            tenant: tenant.as_deref().map(|t| presentable(&config, t)),
            client_id: get("client_id"),
            scope: get("scope"),
            ..TokenRequestRecord::new(path, head.version)
        }
    };
    attend(&shared, Surface::SignIn, record, &head.extensions, || {
        answer(&shared, tenant.as_deref(), &form, posted)
    })
    .await
}

fn answer(
    shared: &Shared,
    tenant: Option<&str>,
    form: &Result<Form, Malformed>,
    posted: bool,
) -> Answer {
    let here = |error, text: &str| {
        let page = page::notice(StatusCode::BAD_REQUEST, "This cannot go on", text);
        noted(page, error)
    };
    let config = shared.config();
    let realm = match tenant.map(|name| entra::user_tenant(&config, name)) {
        None => Realm::Generic,
        Some(Ok(tenant)) => Realm::Entra(tenant.id.clone()),
        Some(Err(error_answer)) => return here(error_answer.error(), &error_answer.text()),
    };
    let Ok(form) = form else {
        return here("invalid_request", "The request is malformed.");
    };
    let wanted = match decide(&config, &realm, form) {
        Ok(wanted) => wanted,
        Err(Refused::Here { error, text }) => return here(error, &text),
        Err(Refused::There(way_back, problem)) => {
            return refused(shared, &realm, &way_back, &problem);
        }
    };
    // Only a form can decide: a link from another user must not.
    match form.get("decision").filter(|_| posted) {
        Some("allow") => {
            let (name, password) = (form.get("user"), form.get("password"));
            let (name, password) = (name.unwrap_or_default(), password.unwrap_or_default());
            match config.user_with(name, password) {
                Some(user) => granted(shared, &realm, &wanted, &user.name),
                None => sign_in(form, &wanted, Some("User name or password are wrong.")),
            }
        }
        Some(_) => {
            let text = "AADSTS65004: The resource owner denied the request.";
            let problem = Problem::new("access_denied", text);
            refused(shared, &realm, &wanted.way_back, &problem)
        }
        None => undecided(shared, &config, &realm, (form, &wanted)),
    }
}

/// The user has not decided yet.
fn undecided(
    shared: &Shared,
    config: &Config,
    realm: &Realm,
    (form, wanted): (&Form, &AuthorizationRequest),
) -> Answer {
    if let Some(user) = &config.auto_approve {
        return granted(shared, realm, wanted, user);
    }
    if wanted.silent {
        let text = "AADSTS50058: A silent sign-in request was sent but no user is signed in.";
        let problem = Problem::new("login_required", text);
        return refused(shared, realm, &wanted.way_back, &problem);
    }
    sign_in(form, wanted, None)
}

/// The page. The request is part of the form.
fn sign_in(form: &Form, wanted: &AuthorizationRequest, alert: Option<&str>) -> Answer {
    let mut fields: Vec<_> = form
        .pairs()
        .filter(|(name, _)| !ANSWERS.contains(name))
        .map(|(name, value)| Field::Hidden(name, value))
        .collect();
    let hint = wanted.login_hint.as_deref().unwrap_or_default();
    fields.push(Field::Text {
        name: "user",
        label: "User",
        value: form.get("user").unwrap_or(hint),
    });
    fields.push(Field::Password {
        name: "password",
        label: "Password",
    });
    let text = format!("{} requests: {}", wanted.client_id, wanted.scope);
    let page = Page {
        title: "Sign in",
        text: &text,
        alert,
        fields,
    };
    match alert {
        Some(_) => noted(page.into_answer(StatusCode::UNAUTHORIZED), "access_denied"),
        None => page.into_answer(StatusCode::OK),
    }
}

fn granted(shared: &Shared, realm: &Realm, wanted: &AuthorizationRequest, user: &str) -> Answer {
    let consent = Consent {
        realm: realm.clone(),
        client_id: wanted.client_id.clone(),
        redirect_uri: wanted.way_back.redirect_uri.clone(),
        challenge: wanted.challenge.clone(),
        scope: wanted.scope.clone(),
        audience: wanted.audience.clone(),
        nonce: wanted.nonce.clone(),
        claims: wanted.claims.clone(),
        user: user.to_owned(),
    };
    let code = shared.codes.issue(consent, Timestamp::now());
    back(shared, realm, &wanted.way_back, &[("code", &code)])
}

fn refused(shared: &Shared, realm: &Realm, way_back: &WayBack, problem: &Problem) -> Answer {
    let parameters = [
        ("error", problem.error),
        ("error_description", problem.text.as_str()),
    ];
    noted(back(shared, realm, way_back, &parameters), problem.error)
}

/// The redirect to the client. The generic issuer includes its identifier (RFC 9207); Entra adds an ID of the browser's session.
fn back(shared: &Shared, realm: &Realm, to: &WayBack, parameters: &[(&str, &str)]) -> Answer {
    let (name, value) = match realm {
        Realm::Generic => ("iss", shared.generic_issuer()),
        Realm::Entra(_) => ("session_state", guid()),
    };
    let mut parameters = parameters.to_vec();
    parameters.extend(to.state.as_deref().map(|state| ("state", state)));
    parameters.push((name, &value));
    match to.mode {
        Mode::FormPost => page::form_post(&to.redirect_uri, &parameters),
        Mode::Query => {
            let location = redirect::with_query(&to.redirect_uri, &parameters);
            let answer = Answer {
                status: StatusCode::FOUND,
                ..Answer::default()
            };
            answer.header(LOCATION, &location)
        }
    }
}

fn noted(answer: Answer, error: &str) -> Answer {
    answer.noted(Notes {
        error: Some(error.to_owned()),
        ..Notes::default()
    })
}
