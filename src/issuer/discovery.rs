//! Discovery documents: OpenID Connect Discovery 1.0 section 4 and RFC 8414 section 3.

use serde_json::Value;
use url::Url;

use crate::{
    credential::SecretStyle,
    oauth::{Class, Refusal, TokenEndpoint},
};

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
    let Ok(Value::Object(document)) = serde_json::from_slice::<Value>(body) else {
        return Err(fault(
            "the discovery document is not a JSON object; check issuerUrl",
        ));
    };
    // RFC 8414 section 3.3: an issuer that names another must not be used. A slash at the end is the one
    // difference that people write without meaning it.
    let named = document
        .get("issuer")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if named.trim_end_matches('/') != issuer.as_str().trim_end_matches('/') {
        return Err(fault(
            "the discovery document is for another issuer; write issuerUrl exactly as the issuer names itself",
        ));
    }
    let endpoint = document
        .get("token_endpoint")
        .and_then(Value::as_str)
        .and_then(|u| Url::parse(u).ok());
    let Some(url) = endpoint
        .filter(|u| u.scheme() == "https" && u.fragment().is_none())
        .filter(|u| u.username().is_empty() && u.password().is_none())
    else {
        return Err(fault(
            "the discovery document names no https token_endpoint",
        ));
    };
    let methods: Option<Vec<&str>> = document
        .get("token_endpoint_auth_methods_supported")
        .and_then(Value::as_array)
        .map(|list| list.iter().filter_map(Value::as_str).collect());
    let offered = match methods {
        // RFC 8414 section 2: left out means client_secret_basic.
        None => SecretStyle::BasicForm,
        Some(list) if list.contains(&"client_secret_basic") => SecretStyle::BasicForm,
        Some(list) if list.contains(&"client_secret_post") => SecretStyle::Post,
        Some(_) if style.is_some() => SecretStyle::BasicForm,
        Some(_) => {
            return Err(fault(
                "the issuer takes no client secret by its discovery document; set clientAuthentication if it does",
            ));
        }
    };
    Ok(TokenEndpoint {
        url,
        style: style.unwrap_or(offered),
    })
}
