//! Token revocation, RFC 7009.

use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::Map;
use url::Url;

use super::{
    Class, Material, RawAnswer, RequestContext, Stage, TokenEndpoint, TokenError, TokenRequest,
    client_request::ClientRequest, encode, grant::Fields, refused, response::fields,
};
use crate::{
    Reason,
    credential::Credential,
    input::{NotObject, flag, get, object, stated},
};

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

/// Reads the answer of the revocation endpoint `to` (section 2.2). A success is usually empty, and its body is not defined. A page is
/// from a firewall or gateway, 202 is a request to try again or an unfinished one, and some servers report errors with 200.
///
/// # Errors
/// A token error with [`Reason::RevocationFailed`]: temporary, or of the class `Invalid`.
pub fn revocation_answer(to: &Url, raw: &RawAnswer, now: Timestamp) -> Result<(), TokenError> {
    let fields = fields(raw);
    let empty = Map::new();
    let body = fields.as_ref().unwrap_or(&empty);
    let denied = ["ok", "success"]
        .iter()
        .any(|name| get(body, name).and_then(flag) == Some(false));
    let failed = denied || stated(body, "error").is_some();
    let page = matches!(object(&raw.body), Err(NotObject::WebPage | NotObject::Xml));
    let seen = refused::token_error(raw, fields.as_ref(), now, None);
    let (class, next_step) = match (raw.status, seen.class) {
        (200..=299, _) if page => (
            Class::Transient,
            "a page answered, as of a firewall or gateway, and not a revocation endpoint; allow the requests of apicred there, or correct revocationUrl of the issuer",
        ),
        (202, _) if !failed => (
            Class::Transient,
            "this status does not confirm the revocation; a firewall that tests for browsers answers like this",
        ),
        (200..=299, _) if !failed => return Ok(()),
        (429, _) => (Class::Throttled, "the revocation endpoint is rate limiting"),
        (408 | 500..=599, _) => (Class::Transient, "the revocation endpoint is not available"),
        (200..=299, Class::Transient | Class::Throttled) if seen.error.is_some() => (
            seen.class,
            "the revocation endpoint reports an error that may be temporary",
        ),
        _ => (
            Class::Invalid,
            "the revocation endpoint refused the request",
        ),
    };
    let mut token_error = TokenError {
        http_status: seen.http_status,
        retry_after: raw.requested_pause(now),
        error: seen.error,
        aadsts: seen.aadsts,
        correlation_id: seen.correlation_id,
        detail: seen.detail,
        ..TokenError::local(class, Reason::RevocationFailed, next_step).at(Stage::Answered)
    };
    token_error.detail.get_or_insert_default().issuer = Some(to.origin().ascii_serialization());
    Err(token_error)
}
