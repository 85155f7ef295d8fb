//! Token revocation, RFC 7009.

use secrecy::SecretString;
use url::Url;

use super::{
    Material, RequestContext, TokenEndpoint, TokenError, TokenRequest,
    client_request::ClientRequest, encode, grant::Fields,
};
use crate::credential::Credential;

/// The kind of the token; this hint helps the issuer to find it (section 2.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Revoked {
    /// A refresh token. Many issuers revoke its whole family with it.
    RefreshToken,
    /// An access token.
    AccessToken,
}

/// Builds the request to the revocation endpoint `to`. The client authenticates as at the token endpoint (RFC 7009 section 2.1): many servers
/// accept no other audience of an assertion there.
///
/// # Errors
/// If the client authentication cannot be used.
pub fn revocation(
    credential: &Credential,
    (endpoint, to): (&TokenEndpoint, &Url),
    material: &Material,
    (token, kind): (&SecretString, Revoked),
    moment: RequestContext<'_>,
) -> Result<TokenRequest, TokenError> {
    let mut client = ClientRequest::new(credential, endpoint, material, moment)?;
    let hint = match kind {
        Revoked::RefreshToken => "refresh_token",
        Revoked::AccessToken => "access_token",
    };
    let mut fields: Fields = vec![
        ("token", token.clone()),
        ("token_type_hint", SecretString::from(hint)),
    ];
    fields.append(&mut client.fields);
    Ok(client.post(to, encode::body(&fields, &[])))
}
