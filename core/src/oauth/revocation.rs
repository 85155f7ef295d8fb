//! Token revocation, RFC 7009.

use crate::Reason;
use secrecy::{ExposeSecret, SecretString};

use super::{
    Class, Material, Method, Moment, Refusal, TlsIdentity, TokenEndpoint, TokenRequest,
    client_auth, encode,
    grant::{Circumstances, Fields},
};
use crate::credential::Credential;

/// What is revoked; the hint helps the issuer to find it (section 2.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Revoked {
    /// A refresh token; many issuers revoke its whole family with it.
    RefreshToken,
    /// An access token.
    AccessToken,
}

/// Builds the request. `endpoint.url` is the revocation endpoint.
///
/// # Errors
/// If the client authentication cannot be used.
pub fn revocation(
    credential: &Credential,
    endpoint: &TokenEndpoint,
    material: &Material,
    (token, kind): (&SecretString, Revoked),
    moment: Moment<'_>,
) -> Result<TokenRequest, Refusal> {
    let around = Circumstances {
        credential,
        endpoint,
        now: moment.now,
        assertion_id: moment.assertion_id,
    };
    let (proof, authorization) = client_auth::prove(material, &around)
        .map_err(|text| Refusal::local(Class::Invalid, Reason::MaterialInvalid, text))?;
    let hint = match kind {
        Revoked::RefreshToken => "refresh_token",
        Revoked::AccessToken => "access_token",
    };
    let mut fields: Fields = vec![
        ("token", token.clone()),
        ("token_type_hint", SecretString::from(hint)),
    ];
    fields.extend(proof);
    let mut headers = vec![("accept", SecretString::from("application/json"))];
    headers.extend(authorization.map(|a| ("authorization", a)));
    let pairs = fields.iter().map(|(k, v)| (*k, v.expose_secret()));
    let tls = match material {
        Material::Tls(identity) => Some(TlsIdentity {
            name: identity.digest(),
            pem: identity.pem().clone(),
        }),
        _ => None,
    };
    Ok(TokenRequest {
        method: Method::Post,
        url: endpoint.url.clone(),
        headers,
        body: SecretString::from(encode::form(pairs)),
        tls,
        local: false,
    })
}
