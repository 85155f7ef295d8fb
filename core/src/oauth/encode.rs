//! The two encodings of OAuth: form bodies (`application/x-www-form-urlencoded`) and Basic authentication.

use base64::{Engine, engine::general_purpose::STANDARD};
use secrecy::{ExposeSecret, SecretString};
use url::form_urlencoded;

/// An `application/x-www-form-urlencoded` body.
pub(super) fn form<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish()
}

/// The body of a request: its own fields, and those further ones that do not repeat a name. RFC 6749 section 3.2: a parameter
/// must not be included more than once.
pub(super) fn body<'a>(
    own: &'a [(&'static str, SecretString)],
    further: &'a [(&'a str, SecretString)],
) -> SecretString {
    let pairs = own
        .iter()
        .map(|(name, value)| (*name, value.expose_secret()));
    let free = |(name, _): &&(&str, SecretString)| !own.iter().any(|(taken, _)| taken == name);
    let further = further.iter().filter(free);
    let further = further.map(|(name, value)| (*name, value.expose_secret()));
    SecretString::from(form(pairs.chain(further)))
}

/// One half of a Basic header, encoded as RFC 6749 section 2.3.1 requires. A space becomes `%20`: some servers decode percent
/// signs but not `+` (facts, section 5.4). The reverse was never seen.
pub(super) fn component(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes())
        .collect::<String>()
        .replace('+', "%20")
}

/// The value of an `Authorization: Basic` header.
pub fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}
