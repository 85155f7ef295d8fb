//! `client.assertion`: a client assertion that another program keeps up to date in a Secret (RFC 7523 section 2.2).

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};

use super::{Class, Material, TokenError, jwt, secret_form, secret_text};
use crate::{
    api::SecretKeyRef,
    credential::{AuthenticationMethod, Credential},
    reason::Reason,
};

/// Reads the assertion from a Secret. It is sent unchanged, so only blanks and line ends may be around it.
///
/// # Errors
/// The rest of a sentence that begins with the key's name.
pub fn stored_assertion(bytes: &[u8]) -> Result<SecretString, String> {
    let text = secret_text(bytes.trim_ascii())?;
    let plain = text.expose_secret();
    let fault = match form(plain) {
        Form::Signed => return Ok(text),
        Form::Unsigned => {
            "is an unsigned JWT (alg none, or nothing after the second dot), which proves nothing; store a signed one"
        }
        Form::Encrypted => "is an encrypted JWT, whose expiry cannot be read; store a signed one",
        Form::Other => {
            return Err(secret_form::of_token(plain).unwrap_or_else(|| NO_JWT.to_owned()));
        }
    };
    Err(fault.to_owned())
}

/// The assertion of a grant as it is stored. Grants that send one require a JWT without surrounding text.
///
/// # Errors
/// A sentence that names the key and what to store.
pub(super) fn alone(
    stored: &SecretString,
    reference: &SecretKeyRef,
) -> Result<SecretString, String> {
    match secret_form::around_jwt(stored.expose_secret()) {
        Some(form) => Err(format!(
            "key {} of Secret {} {form}",
            reference.key, reference.name
        )),
        None => Ok(stored.clone()),
    }
}

const NO_JWT: &str = "is no signed JWT (three parts in base64url with a dot between them, of which the first two are JSON, and the first one names alg); store the client assertion itself";

enum Form {
    Signed,
    Unsigned,
    Encrypted,
    Other,
}

/// The form of a JWT (RFC 7515 section 3.1, RFC 7516 section 3.1), character by character.
fn form(text: &str) -> Form {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if !text.bytes().all(fits) {
        return Form::Other;
    }
    let parts: Vec<&str> = text.split('.').collect();
    let [header, claims, signature] = parts[..] else {
        let encrypted = parts.len() == 5;
        return if encrypted {
            Form::Encrypted
        } else {
            Form::Other
        };
    };
    let header = jwt::part(header);
    let algorithm = header
        .as_ref()
        .and_then(|fields| fields.get("alg")?.as_str());
    let (Some(algorithm), Some(_)) = (algorithm, jwt::part(claims)) else {
        return Form::Other;
    };
    // RFC 7523 section 3: the assertion must be signed.
    if signature.is_empty() || algorithm.trim().eq_ignore_ascii_case("none") {
        return Form::Unsigned;
    }
    Form::Signed
}

/// The error for an assertion that is not sent because it has expired. For one without `exp`, the issuer decides.
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
    let end = jwt::expiry(text.expose_secret()).filter(|end| *end <= now)?;
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
