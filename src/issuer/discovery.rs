//! Discovery documents: OpenID Connect Discovery 1.0 section 4 and RFC 8414 section 3.

use serde_json::Value;
use url::Url;

use crate::{
    credential::SecretStyle,
    oauth::{self, Class, Refusal, TokenEndpoint},
};

/// Longest address that is taken from a document: what is kept of one must be little, since a namespace may have any
/// number of issuers.
const MAX_URL: usize = 2048;

/// Where the document of `issuer` may be, in the order of asking: OpenID appends the well-known path to the
/// issuer, RFC 8414 puts it between host and path.
pub fn addresses(issuer: &Url) -> Vec<Url> {
    let path = issuer.path().trim_end_matches('/').to_owned();
    [
        format!("{path}/.well-known/openid-configuration"),
        format!("/.well-known/oauth-authorization-server{path}"),
    ]
    .into_iter()
    .map(|path| {
        let mut url = issuer.clone();
        url.set_path(&path);
        url
    })
    .collect()
}

/// An address apicred may use: https, without user, password and fragment.
fn is_plain_https(url: &Url) -> bool {
    url.scheme() == "https"
        && url.as_str().len() <= MAX_URL
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none()
}

/// Reads a document that was found for `issuer`. `style` is what the spec demands, if it does.
///
/// # Errors
/// When the document is not one, speaks for another issuer, or leads away from TLS.
pub fn read(
    issuer: &Url,
    body: &[u8],
    style: Option<SecretStyle>,
) -> Result<TokenEndpoint, Refusal> {
    let fault = |text: &str| Refusal::local(Class::Invalid, "DiscoveryFailed", text);
    let Ok(document) = crate::input::object(body) else {
        return Err(fault(
            "the discovery document is not a JSON object; check issuerUrl",
        ));
    };
    // RFC 8414 section 3.3: an issuer that names another must not be used. A slash at the end is the one
    // difference that people write without meaning it.
    let named = document
        .get("issuer")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    let slash = named.len() <= issuer.as_str().len() + 1;
    if !slash || named.trim_end_matches('/') != issuer.as_str().trim_end_matches('/') {
        return Err(fault(
            "the discovery document is for another issuer; write issuerUrl exactly as the issuer names itself",
        ));
    }
    let endpoint = document
        .get("token_endpoint")
        .and_then(Value::as_str)
        .and_then(|u| Url::parse(u).ok());
    let Some(url) = endpoint.filter(is_plain_https) else {
        return Err(fault(
            "the discovery document names no https token_endpoint",
        ));
    };
    let methods: Option<Vec<&str>> = document
        .get("token_endpoint_auth_methods_supported")
        .and_then(Value::as_array)
        .map(|list| list.iter().filter_map(Value::as_str).collect());
    let taken = ["client_secret_basic", "client_secret_post"];
    let takes_secrets = style.is_some()
        || methods
            .as_ref()
            .is_none_or(|list| list.iter().any(|m| taken.contains(m)));
    // RFC 8414 section 2: left out means client_secret_basic.
    let lists = |method| methods.as_ref().is_some_and(|list| list.contains(&method));
    let offered = if lists("client_secret_post") && !lists("client_secret_basic") {
        SecretStyle::Post
    } else {
        SecretStyle::BasicForm
    };
    let place = |of: &Value, name: &str| {
        of.get(name)
            .and_then(Value::as_str)
            .and_then(|u| Url::parse(u).ok())
            .filter(is_plain_https)
    };
    let document = Value::Object(document);
    let aliases = document
        .get("mtls_endpoint_aliases")
        .unwrap_or(&Value::Null);
    Ok(TokenEndpoint {
        takes_secrets,
        issuer: Some(named),
        mtls_url: place(aliases, "token_endpoint"),
        revocation: place(&document, "revocation_endpoint"),
        authorization: place(&document, "authorization_endpoint"),
        device: place(&document, "device_authorization_endpoint"),
        names_itself: document.get("authorization_response_iss_parameter_supported")
            == Some(&Value::Bool(true)),
        scopes: document
            .get("scopes_supported")
            .and_then(Value::as_array)
            .map(|list| {
                // Which of them it knows that a sign-in asks for; the others are nothing to apicred.
                let known = |scope: &&str| list.iter().any(|s| s.as_str() == Some(*scope));
                oauth::sign_in::SCOPES
                    .iter()
                    .copied()
                    .filter(known)
                    .map(str::to_owned)
                    .collect()
            }),
        ..TokenEndpoint::bare(url, style.unwrap_or(offered))
    })
}
