//! An answer of the issuer before it is sent, with the notes for the log.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, PRAGMA};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use jiff::Timestamp;
use serde::Serialize;

/// An answer that is not sent yet, so that a fault may still change it.
#[derive(Default)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) notes: Notes,
}

/// Data that the log may contain. Never a token, never a secret.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notes {
    pub(crate) error: Option<String>,
    pub(crate) aadsts: Option<u32>,
    pub(crate) correlation_id: Option<String>,
    pub(crate) secret_index: Option<usize>,
    pub(crate) issued: Option<Issued>,
}

/// The token in the answer, or the one that it would have contained.
#[derive(Clone, Debug)]
pub(crate) struct Issued {
    pub(crate) id: String,
    pub(crate) expires: Timestamp,
}

impl Answer {
    /// JSON that must not be cached (RFC 6749 section 5.1).
    pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Self {
        let mut headers = HeaderMap::new();
        let json = HeaderValue::from_static("application/json; charset=utf-8");
        headers.insert(CONTENT_TYPE, json);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
        Self {
            status,
            headers,
            body: serde_json::to_vec(body)
                .expect("plain structs are JSON")
                .into(),
            notes: Notes::default(),
        }
    }

    pub(crate) fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    pub(crate) fn noted(mut self, notes: Notes) -> Self {
        self.notes = notes;
        self
    }

    pub(crate) fn into_response(self) -> Response {
        let body = Body::from(self.body);
        response(self.status, self.headers, body)
    }
}

/// A response from its parts.
pub(crate) fn response(status: StatusCode, headers: HeaderMap, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
