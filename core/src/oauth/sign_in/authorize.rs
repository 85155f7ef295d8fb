//! The authorization URL that the browser opens, and the PKCE verifier (RFC 7636).

use crate::Reason;
use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::SecretString;
use url::Url;

use crate::{
    credential::{Credential, Endpoint, binding::plain_name},
    oauth::{Class, TokenEndpoint, TokenError},
};

/// Parameters that the request sets itself. Neither `spec.parameters` nor the query of the authorization endpoint may set
/// them, nor the request objects of RFC 9101, which replace the whole query: the code would be sent to another client or URL.
const OWN: [&str; 11] = [
    "response_type",
    "response_mode",
    "client_id",
    "redirect_uri",
    "state",
    "scope",
    "code_challenge",
    "code_challenge_method",
    "request",
    "request_uri",
    "registration",
];

/// A PKCE verifier (RFC 7636).
pub struct Pkce {
    /// `code_verifier`.
    pub verifier: SecretString,
    /// `code_challenge` of the method S256.
    pub challenge: String,
}

impl Pkce {
    /// Creates a verifier of 43 characters from random bytes, as section 4.1 recommends.
    pub fn new(random: &[u8; 32]) -> Self {
        let verifier = random_text(random);
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()));
        Self {
            verifier: SecretString::from(verifier),
            challenge,
        }
    }
}

/// Random bytes as a text that is allowed in every parameter.
pub fn random_text(random: &[u8; 32]) -> String {
    URL_SAFE_NO_PAD.encode(random)
}

/// The authorization request (RFC 6749 section 4.1.1, RFC 7636 section 4.3). `credential` must come from [`super::with_requested_scopes`].
///
/// # Errors
/// When the issuer has no authorization endpoint or no token endpoint for this client, or the query of the endpoint sets a parameter of the request.
pub fn authorize_url(
    credential: &Credential,
    endpoint: &TokenEndpoint,
    (redirect_uri, state, challenge): (&str, &str, &str),
) -> Result<Url, TokenError> {
    let certificate = credential.authentication.shows_certificate();
    // A code that cannot be redeemed is not requested.
    endpoint.posted_by(certificate)?;
    let mut url = endpoint.authorization.clone().ok_or_else(|| {
        let why = endpoint.unused("authorization_endpoint", false).unwrap_or(
            "the issuer names no authorization endpoint; set oauth2.authorizationUrl (or oidc.authorizationUrl) on it",
        );
        TokenError::local(
            Class::Invalid,
            Reason::SignInNotPossible,
            format!("{why}, or try --device"),
        )
    })?;
    let preset = url
        .query_pairs()
        .map(|(name, _)| plain_name(&name))
        .find(|name| OWN.contains(&name.as_str()));
    if let Some(name) = preset {
        return Err(TokenError::local(
            Class::Invalid,
            Reason::SignInNotPossible,
            format!(
                "the authorization endpoint of the issuer sets the parameter {name} in its address, which the sign-in sets itself; remove it there"
            ),
        ));
    }
    let request = &credential.request;
    let scope = request.scopes.join(" ");
    let mut query = url.query_pairs_mut();
    query
        .append_pair("response_type", "code")
        .append_pair("client_id", &credential.client_id)
        .append_pair("redirect_uri", redirect_uri);
    if !scope.is_empty() {
        query.append_pair("scope", &scope);
    }
    query
        .append_pair("state", state)
        .append_pair("code_challenge", challenge)
        .append_pair("code_challenge_method", "S256");
    for resource in &request.resources {
        query.append_pair("resource", resource);
    }
    if let Some(audience) = &request.audience {
        query.append_pair("audience", audience);
    }
    if let Some(prompt) = prompt(credential)
        && !request.sign_in_parameters.contains_key("prompt")
    {
        query.append_pair("prompt", prompt);
    }
    for (name, value) in request.parameters.iter().chain(&request.sign_in_parameters) {
        if !OWN.contains(&plain_name(name).as_str()) {
            query.append_pair(name, value);
        }
    }
    drop(query);
    Ok(url)
}

/// At Entra ID the user selects an account, because the browser is seldom signed in with the account that the workload needs.
/// Elsewhere `offline_access` counts only together with consent (OpenID Connect Core section 11).
fn prompt(credential: &Credential) -> Option<&'static str> {
    let offline = credential
        .request
        .scopes
        .iter()
        .any(|s| s == "offline_access");
    match credential.issuer.endpoint {
        Endpoint::Entra { .. } => Some("select_account"),
        _ if offline => Some("consent"),
        _ => None,
    }
}
