//! Discovery documents (authorization server metadata): OpenID Connect Discovery 1.0 section 4, RFC 8414 sections 3 and 5.
//!
//! [`addresses`] and [`redirected`] return the URLs to read, [`read`] parses a document, and [`conclude`] explains why no document can be
//! used. Never sends a request.

use url::Url;

use crate::printable::bounded;

mod document;
mod failure;

pub use document::{Unusable, completed, read};
pub(super) use failure::not_https;
pub use failure::{Seen, conclude, disproves, is_silence, unanswered};

/// Longest URL that is accepted from a document: the stored data of a document must be small, since a namespace may have any
/// number of issuers.
const MAX_URL: usize = 2048;
/// Longest part of an address that is shown.
const MAX_SHOWN: usize = 200;
/// The possible URLs of the document of `issuer`, in the order of the requests. OpenID appends the well-known path to the
/// issuer. RFC 8414 inserts it between host and path, and its section 5 allows both positions for both names. Okta has its
/// OAuth document at the appended path, Spring at all of them.
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

/// The target of a redirect.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Redirect {
    /// To another URL of the same origin. It is requested as well, because no other server receives anything.
    Here(Url),
    /// To this origin, or to something that is not an https URL (`None`). Never requested.
    Away(Option<String>),
}

/// The target of a redirect from `from`.
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

/// True for a URL that apicred may use: https, without user, password and fragment.
fn is_plain_https(url: &Url) -> bool {
    url.scheme() == "https"
        && url.as_str().len() <= MAX_URL
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none()
}

/// A URL or origin for display: printable and bounded.
fn shown(text: &str) -> String {
    bounded(text, MAX_SHOWN)
}
