//! Discovery documents (authorization server metadata): OpenID Connect Discovery 1.0 section 4, RFC 8414 sections 3 and 5.
//!
//! [`addresses`] and [`redirected`] return the URLs to read, [`read`] parses a document, and [`conclude`] explains why no document can be
//! used. Never sends a request.

use url::Url;

use crate::printable::bounded;

mod document;
mod failure;

pub use document::{Unusable, completed, read};
pub use failure::{Seen, conclude, disproves, is_silence, unanswered};

/// Longest address that is taken from a document: what is kept of one must be little, since a namespace may have any
/// number of issuers.
const MAX_URL: usize = 2048;
/// Longest part of an address that is shown.
const MAX_SHOWN: usize = 200;
/// Where the document of `issuer` may be, in the order of asking: OpenID appends the well-known path to the issuer, RFC 8414
/// puts it between host and path, and section 5 there allows both for both names. Okta has its OAuth document at the
/// appended path, Spring at all of them.
pub fn addresses(issuer: &Url) -> Vec<Url> {
    let path = issuer.path().trim_end_matches('/').to_owned();
    let mut paths = vec![
        format!("{path}/.well-known/openid-configuration"),
        format!("/.well-known/oauth-authorization-server{path}"),
    ];
    if !path.is_empty() {
        paths.push(format!("{path}/.well-known/oauth-authorization-server"));
        paths.push(format!("/.well-known/openid-configuration{path}"));
    }
    paths
        .into_iter()
        .map(|path| {
            let mut url = issuer.clone();
            url.set_path(&path);
            url
        })
        .collect()
}

/// Where an answer leads that is no document itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Redirect {
    /// To another URL of the same origin: requested as well, because no other server learns of it.
    Here(Url),
    /// To this origin, or to something that is not an https URL (`None`). Never requested.
    Away(Option<String>),
}

/// Where a redirect of `from` leads.
pub fn redirected(from: &Url, location: Option<&str>) -> Redirect {
    let to = location.and_then(|l| from.join(l).ok());
    match to {
        Some(mut url) if url.origin() == from.origin() && url.scheme() == "https" => {
            url.set_fragment(None);
            let _ = (url.set_username(""), url.set_password(None));
            Redirect::Here(url)
        }
        Some(url) if url.has_host() => {
            Redirect::Away(Some(shown(&url.origin().ascii_serialization())))
        }
        _ => Redirect::Away(None),
    }
}

/// An address apicred may use: https, without user, password and fragment.
fn is_plain_https(url: &Url) -> bool {
    url.scheme() == "https"
        && url.as_str().len() <= MAX_URL
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none()
}

/// An address or origin as it is shown: printable and bounded.
fn shown(text: &str) -> String {
    bounded(text, MAX_SHOWN)
}
