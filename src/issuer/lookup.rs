//! Requests the discovery document of an issuer.

use crate::Reason;
use jiff::Timestamp;
use url::Url;

use crate::{
    credential::{Endpoint, Issuer},
    http::Http,
    oauth::{
        self, Class, RawAnswer, TokenEndpoint, TokenError,
        discovery::{self, Redirect, Seen, Unusable},
    },
};

/// Maximum number of redirects within an origin that are followed for one address: a slash at the end, and a path that moved.
const MAX_REDIRECTS: usize = 2;

/// The endpoints of an issuer with discovery. The addresses are requested in order until one returns a usable document:
/// servers and gateways answer 401, 403, 405, 500 or a web page for addresses that they do not know.
///
/// # Errors
/// When there is no document, or none that may be used.
pub async fn discover(
    http: &Http,
    issuer: &Issuer,
    now: Timestamp,
) -> Result<TokenEndpoint, TokenError> {
    let Endpoint::Discover(url) = &issuer.endpoint else {
        return Err(TokenError::local(
            Class::Invalid,
            Reason::DiscoveryFailed,
            "this issuer has no discovery document; set oidc.issuerUrl or oauth2.tokenUrl",
        ));
    };
    let written = issuer.places.issuer.as_deref().unwrap_or(url.as_str());
    let mut seen = Vec::new();
    for address in discovery::addresses(url) {
        match fetch(http, issuer, written, address.clone(), now).await? {
            Ok(found) => return Ok(discovery::completed(found, &issuer.places)),
            Err(other) => {
                // The server is overloaded, so its other addresses are not requested.
                let later = matches!(other, Seen::Later(..));
                seen.push((address, other));
                if later {
                    break;
                }
            }
        }
    }
    Err(discovery::conclude(written, &seen))
}

/// Requests one address. The outer error means that the host does not answer, so the other addresses are not tried.
async fn fetch(
    http: &Http,
    issuer: &Issuer,
    written: &str,
    mut address: Url,
    now: Timestamp,
) -> Result<Result<TokenEndpoint, Seen>, TokenError> {
    let mut redirects = 0;
    loop {
        let document = match http.get(issuer, address.clone()).await {
            Ok(document) => document,
            Err(token_error) if discovery::is_silence(&token_error) => {
                return Err(discovery::unanswered(token_error, &address));
            }
            Err(token_error) => return Ok(Err(Seen::Broken(token_error))),
        };
        let status = document.status;
        if status == 200 {
            let found = discovery::read(written, &document.body, issuer.style);
            return Ok(found.map_err(|why| Seen::Unusable(named(&document, why))));
        }
        if !matches!(status, 301 | 302 | 303 | 307 | 308) {
            return Ok(Err(refused(&document, now)));
        }
        match discovery::redirected(&address, document.location.as_deref()) {
            Redirect::Here(next) if redirects < MAX_REDIRECTS => address = next,
            Redirect::Here(_) => return Ok(Err(Seen::Loop(status))),
            Redirect::Away(origin) => return Ok(Err(Seen::Redirect(status, origin))),
        }
        redirects += 1;
    }
}

/// The reason for a body that cannot be read, with its content coding.
fn named(answer: &RawAnswer, why: Unusable) -> Unusable {
    match &why {
        Unusable::NotDocument(what) => {
            oauth::coding(answer, Some(what)).map_or(why, Unusable::Coded)
        }
        Unusable::Coded(_) | Unusable::Issuer(_) | Unusable::TokenEndpoint(_) => why,
    }
}

/// A status that is neither a document nor a redirect.
fn refused(answer: &RawAnswer, now: Timestamp) -> Seen {
    match (answer.status, answer.requested_pause(now)) {
        (status @ (429 | 503), Some(wait)) => Seen::Later(status, wait),
        (status, _) => Seen::Status(status),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{fixtures::at, input::NotObject};

    fn answer(status: u16, coding: Option<&str>, wait: Option<&str>, body: &[u8]) -> RawAnswer {
        RawAnswer {
            content_encoding: coding.map(str::to_owned),
            retry_after: wait.map(str::to_owned),
            ..RawAnswer::new(status, body.to_vec())
        }
    }

    #[test]
    fn a_server_that_names_a_time_to_come_back_is_obeyed_within_bounds() {
        let later = |status, seconds| Seen::Later(status, Duration::from_secs(seconds));
        for (status, wait, seen) in [
            (429, Some("7"), later(429, 7)),
            (503, Some(" 120 "), later(503, 120)),
            (503, Some("99999999"), later(503, 3600)),
            (503, Some("soon"), Seen::Status(503)),
            (503, Some("-1"), Seen::Status(503)),
            (429, None, Seen::Status(429)),
            (404, Some("7"), Seen::Status(404)),
            (500, Some("7"), Seen::Status(500)),
        ] {
            let reported = refused(&answer(status, None, wait, b""), at(0));
            assert_eq!(reported, seen, "{status} {wait:?}");
        }
        let date = jiff::fmt::rfc2822::to_string(&at(90).to_zoned(jiff::tz::TimeZone::UTC));
        let reported = refused(&answer(503, None, Some(&date.unwrap()), b""), at(0));
        assert_eq!(reported, later(503, 90));
    }

    #[test]
    fn a_coding_that_was_not_requested_is_named() {
        let gzip = [0x1f, 0x8b, 8, 0, 0];
        for (coding, body, reported) in [
            (Some("br"), &b"\x8b\x02\x80"[..], Some("br")),
            (Some("zstd"), b"\x28\xb5\x2f\xfd", Some("zstd")),
            (Some("deflate"), b"\xab\x56\x4a", Some("deflate")),
            (Some("identity"), b"nothing", None),
            (None, &gzip, Some("gzip")),
            (Some("s3cret~s3cret~"), b"\0\x01", Some("an unknown coding")),
            (None, b"text", None),
        ] {
            let answer = answer(200, coding, None, body);
            let why = discovery::read("https://i.example.com", body, None).err();
            let why = named(&answer, why.expect("no document"));
            let coded = match &why {
                Unusable::Coded(coding) => Some(coding.as_str()),
                _ => None,
            };
            assert_eq!(coded, reported, "{coding:?} {body:?}");
        }
        let page = Unusable::NotDocument(NotObject::WebPage);
        assert_eq!(named(&answer(200, None, None, b""), page.clone()), page);
    }
}
