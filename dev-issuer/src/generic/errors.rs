//! Errors of the generic issuer.

use http::StatusCode;
use http::header::WWW_AUTHENTICATE;
use serde::Serialize;

use crate::answer::{Answer, Notes};
use crate::token_request::TokenRequest;

/// An error of RFC 6749 section 5.2, or of one of its extensions.
#[derive(Debug)]
pub(super) struct ErrorAnswer {
    pub(super) error: &'static str,
    pub(super) description: String,
    /// The secret of the client that caused the failure, if there is one.
    pub(super) secret_index: Option<usize>,
    /// 403 instead of 400, as Auth0 returns.
    pub(super) forbidden: bool,
}

#[derive(Serialize)]
struct Body<'a> {
    error: &'a str,
    error_description: &'a str,
}

pub(super) fn refuse(error: &'static str, description: impl Into<String>) -> ErrorAnswer {
    ErrorAnswer {
        error,
        description: description.into(),
        secret_index: None,
        forbidden: false,
    }
}

impl ErrorAnswer {
    /// The same with status 403.
    pub(super) fn forbidden(mut self) -> Self {
        self.forbidden = true;
        self
    }

    /// 401 if client authentication failed, with a challenge if the request had the header (RFC 6749 section 5.2).
    pub(super) fn into_answer(self, token_request: &TokenRequest) -> Answer {
        let denied = self.error == "invalid_client";
        let status = if denied {
            StatusCode::UNAUTHORIZED
        } else if self.forbidden {
            StatusCode::FORBIDDEN
        } else {
            StatusCode::BAD_REQUEST
        };
        let body = Body {
            error: self.error,
            error_description: &self.description,
        };
        let answer = Answer::json(status, &body).noted(Notes {
            error: Some(self.error.to_owned()),
            secret_index: self.secret_index,
            ..Notes::default()
        });
        if denied && token_request.basic.is_some() {
            answer.header(
                WWW_AUTHENTICATE,
                "Basic realm=\"dev-issuer\", charset=\"UTF-8\"",
            )
        } else {
            answer
        }
    }
}
