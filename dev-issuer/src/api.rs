//! The protected API: the checks of a resource server for a bearer token (RFC 6750, RFC 9068 section 4, RFC 8705
//! section 3), and for a static key where an API still accepts those.

use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde_json::json;

use crate::answer::Answer;
use crate::claims::Claims;
use crate::config::{Resource, Route};
use crate::connection::Connection;
use crate::log::ApiCallRecord;
use crate::state::Shared;
use crate::{mtls, static_key};

const BEARER: &str = "Bearer";

/// `GET /api/{name}/{path}`
pub(crate) fn call(shared: &Shared, name: &str, path: &str, head: &Parts) -> Answer {
    let (mut claims, mut static_key, mut error) = (None, None, None);
    let answer = match decide(shared, name, path, head) {
        Ok(Caller::Token(token)) => {
            let answer = welcome(&token);
            claims = Some(token);
            answer
        }
        Ok(Caller::StaticKey(index)) => {
            static_key = Some(index);
            Answer::json(StatusCode::OK, &json!({ "staticKey": index }))
        }
        Err(error_answer) => {
            error = error_answer.error;
            error_answer.into_answer(shared)
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
        static_key,
    });
    answer
}

fn welcome(claims: &Claims) -> Answer {
    let mut body = json!({
        "appid": claims.client(),
        "aud": claims.aud,
        "roles": claims.roles,
        "exp": claims.exp,
        "uti": claims.token_id(),
    });
    if let Some(scp) = &claims.scp {
        body["scp"] = json!(scp);
        body["user"] = json!(claims.preferred_username.as_ref().or(claims.upn.as_ref()));
    }
    Answer::json(StatusCode::OK, &body)
}

/// The accepted caller.
enum Caller {
    Token(Box<Claims>),
    /// The position of a key in the list.
    StaticKey(usize),
}

/// The credential of a request.
enum Credential<'r> {
    Bearer(&'r str),
    StaticKey(&'r str),
}

struct ErrorAnswer {
    /// The scheme that the client should use.
    scheme: &'static str,
    status: StatusCode,
    /// RFC 6750 section 3.1: no error code for a request without any credentials.
    error: Option<&'static str>,
    description: String,
    /// The roles that would have been sufficient, as `scope` of the challenge.
    scope: Option<String>,
}

impl ErrorAnswer {
    fn new(
        status: StatusCode,
        error: Option<&'static str>,
        description: impl Into<String>,
    ) -> Self {
        Self {
            scheme: BEARER,
            status,
            error,
            description: description.into(),
            scope: None,
        }
    }

    fn invalid_token(description: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, Some("invalid_token"), description)
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
        let challenge = format!("{} {}", self.scheme, challenge.join(", "));
        answer.header(WWW_AUTHENTICATE, &challenge)
    }
}

fn decide(shared: &Shared, name: &str, path: &str, head: &Parts) -> Result<Caller, ErrorAnswer> {
    let (resource, route) = find(shared, name, path).ok_or_else(|| {
        ErrorAnswer::new(
            StatusCode::NOT_FOUND,
            Some("not_found"),
            "there is no such API",
        )
    })?;
    let token = match credential(&head.headers, !resource.static_keys.is_empty())? {
        Credential::Bearer(token) => token,
        // A key has all rights of the user who created it.
        Credential::StaticKey(key) => {
            return static_key::recognise(&resource.static_keys, key)
                .map(Caller::StaticKey)
                .ok_or_else(|| ErrorAnswer {
                    scheme: static_key::SCHEME,
                    ..ErrorAnswer::invalid_token("the key is unknown or revoked")
                });
        }
    };
    let claims = shared
        .validate(token, Some(&resource.audiences()))
        .map_err(|invalid| ErrorAnswer::invalid_token(invalid.to_string()))?;
    if let Some(bound) = &claims.cnf {
        let connection = Connection::of(&head.extensions);
        let shown = connection.peer().first().map(mtls::confirmation);
        if shown.as_ref() != Some(bound) {
            let text = "the token is bound to a client certificate that was not shown";
            return Err(ErrorAnswer::invalid_token(text));
        }
    }
    let enough = route.roles.is_empty() || route.roles.iter().any(|role| claims.permits(role));
    if enough {
        return Ok(Caller::Token(Box::new(claims)));
    }
    let mut error_answer = ErrorAnswer::new(
        StatusCode::FORBIDDEN,
        Some("insufficient_scope"),
        format!(
            "the token needs one of these roles: {}",
            route.roles.join(", ")
        ),
    );
    error_answer.scope = Some(route.roles.join(" "));
    Err(error_answer)
}

fn find(shared: &Shared, name: &str, path: &str) -> Option<(Resource, Route)> {
    let config = shared.config();
    let resource = config.resources.iter().find(|r| r.name == name)?;
    Some((resource.clone(), resource.route_for(path)?.clone()))
}

/// The content of the one `Authorization` header. A scheme may be in any case (RFC 9110 section 11.1).
fn credential(headers: &HeaderMap, static_keys: bool) -> Result<Credential<'_>, ErrorAnswer> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let first = values.next();
    if values.next().is_some() {
        let text = "the request brings several Authorization headers";
        return Err(ErrorAnswer::new(
            StatusCode::BAD_REQUEST,
            Some("invalid_request"),
            text,
        ));
    }
    let pair = first
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '));
    match pair {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(BEARER) => {
            Ok(Credential::Bearer(token.trim()))
        }
        Some((scheme, key)) if static_keys && scheme.eq_ignore_ascii_case(static_key::SCHEME) => {
            Ok(Credential::StaticKey(key.trim()))
        }
        _ => Err(ErrorAnswer::new(
            StatusCode::UNAUTHORIZED,
            None,
            "a bearer token is needed",
        )),
    }
}
