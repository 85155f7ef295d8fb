//! The page where a user types the code (RFC 8628 section 3.3).

use std::sync::Arc;

use axum::body::to_bytes;
use axum::extract::Request;
use axum::response::Response;
use http::{Method, StatusCode};
use jiff::Timestamp;

use crate::answer::{Answer, Notes};
use crate::exchange::{LONGEST_BODY, attend, presentable};
use crate::faults::Surface;
use crate::form::{Form, Malformed};
use crate::log::TokenRequestRecord;
use crate::signin::{Field, Page, notice};
use crate::state::Shared;

/// Title of the page.
const DEVICE_PAGE: &str = "Connect a device";

/// Address of the page, as Entra gives it.
pub(crate) fn entra_page(shared: &Shared) -> String {
    format!("{}/devicelogin", shared.origin)
}

/// Address of the page, as the generic issuer gives it.
pub(crate) fn generic_page(shared: &Shared) -> String {
    format!("{}/device", shared.generic_issuer())
}

/// `GET` or `POST` of the page.
pub(crate) async fn verify(shared: Arc<Shared>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let posted = head.method == Method::POST;
    let form = if posted {
        let body = to_bytes(body, LONGEST_BODY).await.unwrap_or_default();
        Form::parse(&body)
    } else {
        Form::parse(head.uri.query().unwrap_or_default().as_bytes())
    };
    let path = presentable(&shared.config(), head.uri.path());
    let record = TokenRequestRecord::new(path, head.version);
    attend(&shared, Surface::SignIn, record, &head.extensions, || {
        answer(&shared, form, posted)
    })
    .await
}

fn answer(shared: &Shared, form: Result<Form, Malformed>, posted: bool) -> Answer {
    let form = form.unwrap_or_default();
    let code = form.get("user_code").unwrap_or_default();
    if !posted {
        return token_request(StatusCode::OK, &form, None);
    }
    let now = Timestamp::now();
    let Some(request) = shared.devices.waiting(code, now) else {
        let alert = "The code is unknown or has expired.";
        return token_request(StatusCode::BAD_REQUEST, &form, Some(alert));
    };
    let (text, user) = if form.get("decision") == Some("allow") {
        let (name, password) = (form.get("user"), form.get("password"));
        let (name, password) = (name.unwrap_or_default(), password.unwrap_or_default());
        let config = shared.config();
        let Some(user) = config.user_with(name, password) else {
            let alert = "User name or password are wrong.";
            return token_request(StatusCode::UNAUTHORIZED, &form, Some(alert));
        };
        let text = format!("{} may now act for {}.", request.client_id, user.name);
        (text, Some(user.name.clone()))
    } else {
        (format!("{} was refused.", request.client_id), None)
    };
    shared.devices.decide(code, user, now);
    notice(StatusCode::OK, DEVICE_PAGE, &text)
}

fn token_request(status: StatusCode, form: &Form, alert: Option<&str>) -> Answer {
    let field = |name| form.get(name).unwrap_or_default();
    let page = Page {
        title: DEVICE_PAGE,
        text: "Type the code that the device shows, and sign in.",
        alert,
        fields: vec![
            Field::Text {
                name: "user_code",
                label: "Code",
                value: field("user_code"),
            },
            Field::Text {
                name: "user",
                label: "User",
                value: field("user"),
            },
            Field::Password {
                name: "password",
                label: "Password",
            },
        ],
    };
    page.into_answer(status).noted(Notes {
        error: alert.map(|_| "access_denied".to_owned()),
        ..Notes::default()
    })
}
