//! Asks an issuer for its discovery document.

use url::Url;

use crate::{
    credential::{Endpoint, Issuer},
    http::Http,
    oauth::{
        Class, Refusal, TokenEndpoint,
        discovery::{self, Redirect, Seen},
    },
};

/// Redirects within an origin that are followed for one address: a slash at the end, and a path that moved.
const MAX_REDIRECTS: usize = 2;

/// The endpoints of an issuer with discovery. One address after the other is asked until one has a document that can be
/// used: servers and gateways answer 401, 403, 405, 500 or a web page for the addresses that they do not know.
///
/// # Errors
/// When there is no document, or none that may be used.
pub async fn discover(http: &Http, issuer: &Issuer) -> Result<TokenEndpoint, Refusal> {
    let Endpoint::Discover(url) = &issuer.endpoint else {
        return Err(Refusal::local(
            Class::Invalid,
            "DiscoveryFailed",
            "this issuer has no discovery document; set oidc.issuerUrl or oauth2.tokenUrl",
        ));
    };
    let written = issuer.places.issuer.as_deref().unwrap_or(url.as_str());
    let mut seen = Vec::new();
    for address in discovery::addresses(url) {
        match ask(http, issuer, written, address.clone()).await? {
            Ok(found) => return Ok(discovery::completed(found, &issuer.places)),
            Err(other) => seen.push((address, other)),
        }
    }
    Err(discovery::conclude(written, &seen))
}

/// Asks one address. The outer error: nobody answers there, so the other addresses need not be asked.
async fn ask(
    http: &Http,
    issuer: &Issuer,
    written: &str,
    mut address: Url,
) -> Result<Result<TokenEndpoint, Seen>, Refusal> {
    let mut redirects = 0;
    loop {
        let document = match http.get(issuer, address.clone()).await {
            Ok(document) => document,
            Err(refusal) if discovery::is_silence(&refusal) => return Err(refusal),
            Err(refusal) => return Ok(Err(Seen::Broken(refusal))),
        };
        let status = document.answer.status;
        if status == 200 {
            let found = discovery::read(written, &document.answer.body, issuer.style);
            return Ok(found.map_err(Seen::Unusable));
        }
        if !matches!(status, 301 | 302 | 303 | 307 | 308) {
            return Ok(Err(Seen::Status(status)));
        }
        match discovery::redirected(&address, document.location.as_deref()) {
            Redirect::Here(next) if redirects < MAX_REDIRECTS => address = next,
            Redirect::Here(_) => return Ok(Err(Seen::Loop(status))),
            Redirect::Away(origin) => return Ok(Err(Seen::Redirect(status, origin))),
        }
        redirects += 1;
    }
}
