//! The protected API: what a resource server must do with a bearer token (RFC 6750, RFC 9068 section 4).

use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde_json::json;

use crate::answer::Answer;
use crate::claims::Claims;
use crate::config::Route;
use crate::log::ApiCallRecord;
use crate::state::Shared;

/// `GET /api/{name}/{path}`
pub(crate) fn call(shared: &Shared, name: &str, path: &str, headers: &HeaderMap) -> Answer {
    let outcome = decide(shared, name, path, headers);
    let (answer, claims, error) = match outcome {
        Ok(claims) => (welcome(&claims), Some(claims), None),
        Err(refusal) => {
            let error = refusal.error;
            (refusal.into_answer(shared), None, error)
        }
    };
    shared.log.call(ApiCallRecord {
        seq: 0,
        time: Timestamp::now(),
        path: format!("/api/{name}/{path}"),
        status: answer.status.as_u16(),
        error: error.map(str::to_owned),
        client_id: claims.as_ref().and_then(|c| c.client()).map(str::to_owned),
        uti: claims
            .as_ref()
            .and_then(|c| c.token_id())
            .map(str::to_owned),
    });
    answer
}

fn welcome(claims: &Claims) -> Answer {
    let body = json!({
        "appid": claims.client(),
        "aud": claims.aud,
        "roles": claims.roles,
        "exp": claims.exp,
        "uti": claims.token_id(),
    });
    Answer::json(StatusCode::OK, &body)
}

struct Refusal {
    status: StatusCode,
    /// RFC 6750 section 3.1: no error code for a request that brought no credentials at all.
    error: Option<&'static str>,
    description: String,
    /// The roles that would have helped, as `scope` of the challenge.
    scope: Option<String>,
}

impl Refusal {
    fn new(
        status: StatusCode,
        error: Option<&'static str>,
        description: impl Into<String>,
    ) -> Self {
        Self {
            status,
            error,
            description: description.into(),
            scope: None,
        }
    }

    fn into_answer(self, shared: &Shared) -> Answer {
        let body = json!({
            "error": self.error.unwrap_or("unauthorized"),
            "error_description": self.description,
        });
        let answer = Answer::json(self.status, &body);
        if self.status == StatusCode::NOT_FOUND {
            return answer;
        }
        let parts = [
            ("realm", Some(shared.origin.as_str())),
            ("error", self.error),
            (
                "error_description",
                self.error.map(|_| self.description.as_str()),
            ),
            ("scope", self.scope.as_deref()),
        ];
        let challenge: Vec<String> = parts
            .into_iter()
            .filter_map(|(name, value)| Some(format!("{name}=\"{}\"", value?)))
            .collect();
        let challenge = format!("Bearer {}", challenge.join(", "));
        answer.header(WWW_AUTHENTICATE, &challenge)
    }
}

fn decide(shared: &Shared, name: &str, path: &str, headers: &HeaderMap) -> Result<Claims, Refusal> {
    let (audiences, route) = find(shared, name, path).ok_or_else(|| {
        Refusal::new(
            StatusCode::NOT_FOUND,
            Some("not_found"),
            "there is no such API",
        )
    })?;
    let token = bearer(headers)?;
    let claims = shared
        .validate(token, Some(&audiences))
        .map_err(|invalid| {
            Refusal::new(
                StatusCode::UNAUTHORIZED,
                Some("invalid_token"),
                invalid.to_string(),
            )
        })?;
    let enough =
        route.roles.is_empty() || route.roles.iter().any(|role| claims.roles.contains(role));
    if enough {
        return Ok(claims);
    }
    let mut refusal = Refusal::new(
        StatusCode::FORBIDDEN,
        Some("insufficient_scope"),
        format!(
            "the token needs one of these roles: {}",
            route.roles.join(", ")
        ),
    );
    refusal.scope = Some(route.roles.join(" "));
    Err(refusal)
}

fn find(shared: &Shared, name: &str, path: &str) -> Option<(Vec<String>, Route)> {
    let config = shared.config();
    let resource = config.resources.iter().find(|r| r.name == name)?;
    Some((resource.audiences(), resource.route_for(path)?.clone()))
}

/// The token of the one `Authorization` header. A scheme is written in any case (RFC 9110 section 11.1).
fn bearer(headers: &HeaderMap) -> Result<&str, Refusal> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let first = values.next();
    if values.next().is_some() {
        let text = "the request brings several Authorization headers";
        return Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            Some("invalid_request"),
            text,
        ));
    }
    first
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .ok_or_else(|| Refusal::new(StatusCode::UNAUTHORIZED, None, "a bearer token is needed"))
}
