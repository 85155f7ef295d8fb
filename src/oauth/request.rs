//! A credential and its proof into the bytes of a token request. Nothing is sent here.

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::encode;
use crate::credential::{Credential, Endpoint, SecretStyle};

/// What proves the client, read just before the request.
pub enum Material {
    /// A client secret.
    Secret(SecretString),
}

impl Material {
    /// A client secret from the bytes of a Secret's key. One line end at its end is taken off, since editors and
    /// `echo` leave it there and no issuer hands out a secret that ends in one.
    ///
    /// # Errors
    /// A sentence for the user when the bytes cannot be a client secret.
    pub fn from_secret_bytes(bytes: &[u8]) -> Result<Self, &'static str> {
        let text = std::str::from_utf8(bytes)
            .map_err(|_| "is not text (UTF-8); store the secret's value itself")?;
        let text = text
            .strip_suffix('\n')
            .map_or(text, |t| t.strip_suffix('\r').unwrap_or(t));
        if text.is_empty() {
            return Err("is empty; store the client secret under it");
        }
        if text.len() > 16 * 1024 {
            return Err("is longer than 16 KiB; a client secret is short");
        }
        if text.chars().any(char::is_control) {
            return Err(
                "has a line break or control character inside; store the secret's value alone",
            );
        }
        Ok(Self::Secret(SecretString::from(text)))
    }
}

/// Where a request goes and how the secret travels, after discovery.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TokenEndpoint {
    /// The token endpoint.
    pub url: Url,
    /// How the secret travels.
    pub style: SecretStyle,
}

/// A request ready to send. Holds the secret in its body or header, so it has no `Debug`.
pub struct TokenRequest {
    /// Where to.
    pub url: Url,
    /// Header names and values beside the content type; values may be secret.
    pub headers: Vec<(&'static str, SecretString)>,
    /// The form body.
    pub body: SecretString,
}

/// The endpoint of a credential whose issuer needs no discovery.
///
/// Entra has two endpoints: v2 takes `scope`, v1 takes `resource` (facts, section 1.1), so the field that the
/// user filled chooses.
pub fn known_endpoint(credential: &Credential) -> Option<TokenEndpoint> {
    let style = credential.issuer.style.unwrap_or(SecretStyle::BasicForm);
    let url = match &credential.issuer.endpoint {
        Endpoint::Entra { authority } => {
            let version = if credential.ask.resource.is_some() {
                ""
            } else {
                "v2.0/"
            };
            Url::parse(&format!("{authority}/oauth2/{version}token")).ok()?
        }
        Endpoint::Fixed(url) => url.clone(),
        Endpoint::Discover(_) => return None,
    };
    Some(TokenEndpoint { url, style })
}

/// Builds the token request of a credential: RFC 6749 section 4.4.2 with the client proved as section 2.3.1 says.
/// `request_id` (a UUID) goes to Entra as `client-request-id`, so that its sign-in logs and ours can be joined.
pub fn request(
    credential: &Credential,
    endpoint: &TokenEndpoint,
    material: &Material,
    request_id: &str,
) -> TokenRequest {
    let Material::Secret(secret) = material;
    let ask = &credential.ask;
    let scope = ask.scopes.join(" ");
    let mut headers: Vec<(&'static str, SecretString)> =
        vec![("accept", SecretString::from("application/json"))];
    let mut pairs: Vec<(&str, &str)> = vec![("grant_type", "client_credentials")];
    match endpoint.style {
        SecretStyle::Post => {
            pairs.push(("client_id", &credential.client_id));
            pairs.push(("client_secret", secret.expose_secret()));
        }
        SecretStyle::BasicForm => {
            let value = encode::basic(
                &encode::component(&credential.client_id),
                &encode::component(secret.expose_secret()),
            );
            headers.push(("authorization", SecretString::from(value)));
        }
        SecretStyle::BasicRaw => {
            let value = encode::basic(&credential.client_id, secret.expose_secret());
            headers.push(("authorization", SecretString::from(value)));
        }
    }
    if !scope.is_empty() {
        pairs.push(("scope", &scope));
    }
    pairs.extend(ask.resource.as_deref().map(|r| ("resource", r)));
    pairs.extend(ask.audience.as_deref().map(|a| ("audience", a)));
    pairs.extend(ask.parameters.iter().map(|(k, v)| (k.as_str(), v.as_str())));
    if matches!(credential.issuer.endpoint, Endpoint::Entra { .. }) {
        headers.push(("client-request-id", SecretString::from(request_id)));
    }
    TokenRequest {
        url: endpoint.url.clone(),
        headers,
        body: SecretString::from(encode::form(pairs)),
    }
}
