//! `client.assertion`: a client assertion that something else keeps up to date in a Secret (RFC 7523 section 2.2).

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};

use super::{Class, Material, TokenError, lifetime, secret_text};
use crate::{
    api::SecretKeyRef,
    credential::{AuthenticationMethod, Credential},
    reason::Reason,
};

/// Reads the assertion out of a Secret.
///
/// # Errors
/// The rest of a sentence that begins with the key's name.
pub fn stored_assertion(bytes: &[u8]) -> Result<SecretString, String> {
    let text = secret_text(bytes.trim_ascii())?;
    if text.expose_secret().starts_with("Bearer ") {
        return Err("begins with \"Bearer \"; store the JWT alone".to_owned());
    }
    if lifetime::is_jwt(text.expose_secret()) {
        // RFC 7523 section 3: the assertion must be signed.
        if lifetime::is_unsigned(text.expose_secret()) {
            return Err("is an unsigned JWT (alg none, or nothing after the second dot), which proves nothing; store a signed one".to_owned());
        }
        return Ok(text);
    }
    let parts = text.expose_secret().split('.').count();
    Err(if parts == 5 {
        "is an encrypted JWT, whose expiry cannot be read; store a signed one".to_owned()
    } else {
        "is no signed JWT (three parts with a dot between them, of which the second is JSON); store the client assertion itself"
            .to_owned()
    })
}

/// Why an assertion is not sent now: it has expired. About one without `exp`, the issuer decides.
pub fn expired_assertion(
    credential: &Credential,
    material: &Material,
    now: Timestamp,
) -> Option<TokenError> {
    let (AuthenticationMethod::Assertion(SecretKeyRef { name, key }), Material::Stored(text)) =
        (&credential.authentication, material)
    else {
        return None;
    };
    let end = lifetime::expiry(text.expose_secret()).filter(|end| *end <= now)?;
    Some(TokenError {
        not_sent: true,
        ..TokenError::local(
            Class::Invalid,
            Reason::AssertionExpired,
            format!(
                "client.assertion: the JWT in key {key} of Secret {name} expired at {end}, and was not sent; check what renews it. apicred reads the Secret again as soon as it changes"
            ),
        )
    })
}
