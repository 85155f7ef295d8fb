//! Reads answers, with a bounded size, and a bounded time by [`Patience`].

use std::error::Error as _;

use reqwest::header::{
    AGE, CONTENT_ENCODING, CONTENT_TYPE, DATE, HeaderName, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE,
};

use super::{Broken, Chosen, broken, patience::Patience, target::RequestTarget};
use crate::oauth::{RawAnswer, TokenError, too_large};

/// How many requests a rate limit still allows, and when the limit is reset
/// (docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api).
const LIMIT_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const LIMIT_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
/// Largest answer that is read.
const MAX_BODY: usize = 1024 * 1024;

/// Sends the request and reads the whole answer.
pub(super) async fn read(
    request: reqwest::RequestBuilder,
    chosen: &Chosen,
    mut patience: Patience,
) -> Result<RawAnswer, Broken> {
    let response = head(request, chosen, &mut patience).await?;
    whole(response, chosen, patience).await
}

/// Sends the request and waits for the head of the answer.
pub(super) async fn head(
    request: reqwest::RequestBuilder,
    chosen: &Chosen,
    patience: &mut Patience,
) -> Result<reqwest::Response, TokenError> {
    let sent = patience.wait(request.send()).await;
    let sent = sent.ok_or_else(|| broken::late(&chosen.target()))?;
    sent.map_err(|error| TokenError {
        not_sent: broken::not_processed(&error, error.is_connect()),
        ..transport(&error, &chosen.target())
    })
}

/// Reads the whole answer.
pub(super) async fn whole(
    mut response: reqwest::Response,
    chosen: &Chosen,
    mut patience: Patience,
) -> Result<RawAnswer, Broken> {
    let header = |name| {
        response
            .headers()
            .get(name)
            .and_then(|v| v.to_str().ok())
            .map(str::to_owned)
    };
    let status = response.status();
    let (content_type, retry_after) = (header(CONTENT_TYPE), header(RETRY_AFTER));
    let (challenge, date) = (header(WWW_AUTHENTICATE), header(DATE));
    let is_used_up = header(LIMIT_REMAINING).is_some_and(|left| left.trim() == "0");
    let limit_reset = header(LIMIT_RESET).filter(|_| is_used_up);
    let mut answer = RawAnswer {
        status: status.as_u16(),
        content_type,
        content_encoding: header(CONTENT_ENCODING),
        retry_after,
        limit_reset,
        challenge,
        date,
        age: header(AGE),
        location: header(LOCATION),
        body: Vec::new(),
    };
    loop {
        let token_error = match patience.wait(response.chunk()).await {
            Some(Ok(None)) => return Ok(answer),
            Some(Ok(Some(chunk))) => {
                let room = MAX_BODY - answer.body.len();
                answer.body.extend(chunk.iter().take(room));
                if chunk.len() <= room {
                    continue;
                }
                too_large(&answer, &chosen.host)
            }
            Some(Err(error)) => transport(&error, &chosen.target()),
            None => broken::late(&chosen.target()),
        };
        return Err(Broken {
            token_error,
            arrived: Some(Box::new(answer)),
        });
    }
}

/// What went wrong below HTTP. The texts of the libraries are not shown.
pub(super) fn transport(error: &reqwest::Error, target: &RequestTarget) -> TokenError {
    let known = error
        .source()
        .and_then(|cause| broken::token_error(cause, target));
    known.unwrap_or_else(|| {
        let kind = (error.is_connect(), error.is_timeout());
        broken::plain(error, kind, target)
    })
}
