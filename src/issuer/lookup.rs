//! Asks an issuer for its discovery document.

use super::discovery;
use crate::{
    credential::{Endpoint, Issuer},
    oauth::{
        Class, Refusal, TokenEndpoint,
        http::{Http, not_found},
    },
};

/// The endpoints of an issuer with discovery.
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
    for address in discovery::addresses(url) {
        let answer = http.get(issuer, address).await?;
        match answer.status {
            200 => return discovery::read(url, &answer.body, issuer.style),
            _ if not_found(&answer) => {}
            status => {
                // Transient whatever the status: an issuer that is being rolled out answers 404 for a while, and
                // the wait between two tries is shared by all who ask.
                let class = Class::Transient;
                return Err(Refusal {
                    http_status: Some(status),
                    ..Refusal::local(
                        class,
                        "DiscoveryFailed",
                        "the discovery document cannot be read; check issuerUrl",
                    )
                });
            }
        }
    }
    Err(Refusal::local(
        Class::Transient,
        "DiscoveryFailed",
        "there is no discovery document below issuerUrl; correct it or use oauth2.tokenUrl",
    ))
}
