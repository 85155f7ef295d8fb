//! Builds the bytes of a token request from a credential and its client authentication. Never sends it.

use crate::Reason;
use jiff::Timestamp;
use secrecy::SecretString;
use url::Url;

use super::{
    Class, Material, TokenError,
    client_request::ClientRequest,
    encode, github_app,
    grant::{Fields, GrantContext},
    hop, managed_identity,
};
use crate::{
    api::SigningAlgorithm,
    credential::{
        AuthenticationMethod, Credential, Endpoint, Protocol, RequestParameters, SecretStyle,
    },
};

/// The name of the token endpoint in a discovery document.
pub(super) const TOKEN_ENDPOINT: &str = "token_endpoint";

/// An endpoint of a discovery document that is not used, because its URL is not https.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unused {
    /// Its name in the document.
    pub field: &'static str,
    /// True for the endpoint of clients that show a certificate.
    pub is_alias: bool,
    /// The reason and what to do.
    pub message: String,
}

/// The endpoints of an issuer, and the names that assertions may use for it (RFC 8414 section 2).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TokenEndpoint {
    /// The token endpoint.
    pub url: Url,
    /// How a client secret is sent.
    pub style: SecretStyle,
    /// False if the spec selects no method and the document lists only methods without a client secret.
    pub takes_secrets: bool,
    /// True unless the document lists methods without assertions that a client signs (`private_key_jwt`).
    pub takes_assertions: bool,
    /// The message about a method that the spec selects and the document does not list.
    pub unlisted: Option<String>,
    /// The algorithms that may sign such an assertion, if the document lists them.
    pub algorithms: Option<Vec<SigningAlgorithm>>,
    /// Optional endpoints that the document names and that are not used.
    pub unused: Vec<Unused>,
    /// The issuer's identifier, character by character.
    pub issuer: Option<String>,
    /// The token endpoint for clients that show a certificate (RFC 8705 section 5).
    pub mtls_url: Option<Url>,
    /// The revocation endpoint for clients that show a certificate.
    pub mtls_revocation: Option<Url>,
    /// The device authorization endpoint for clients that show a certificate.
    pub mtls_device: Option<Url>,
    /// Revocation (RFC 7009).
    pub revocation: Option<Url>,
    /// Authorization, for a user's sign-in.
    pub authorization: Option<Url>,
    /// Device authorization (RFC 8628).
    pub device: Option<Url>,
    /// The scopes that it supports, if it lists them (`scopes_supported`).
    pub scopes: Option<Vec<String>>,
    /// True if it announces that it identifies itself when it redirects a browser back (RFC 9207).
    pub names_itself: bool,
}

impl TokenEndpoint {
    /// A token endpoint about which nothing else is known.
    pub const fn bare(url: Url, style: SecretStyle) -> Self {
        Self {
            url,
            style,
            takes_secrets: true,
            takes_assertions: true,
            unlisted: None,
            algorithms: None,
            unused: Vec::new(),
            issuer: None,
            mtls_url: None,
            mtls_revocation: None,
            mtls_device: None,
            revocation: None,
            authorization: None,
            device: None,
            scopes: None,
            names_itself: false,
        }
    }

    /// The URL of requests: clients with a TLS certificate may have their own endpoint. For checks; a request uses [`Self::posted_by`].
    pub fn posted(&self, shows_certificate: bool) -> &Url {
        self.mtls_url
            .as_ref()
            .filter(|_| shows_certificate)
            .unwrap_or(&self.url)
    }

    /// The URL of requests, if it can be used.
    ///
    /// # Errors
    /// If the document names an endpoint for clients with a certificate that is not https. They must use that one (RFC 8705 section 5), so
    /// the other endpoint does not replace it.
    pub fn posted_by(&self, shows_certificate: bool) -> Result<&Url, TokenError> {
        match self.unused_alias(TOKEN_ENDPOINT, shows_certificate) {
            Some(unused) => Err(TokenError::local(
                Class::Invalid,
                Reason::DiscoveryFailed,
                unused.message.as_str(),
            )),
            None => Ok(self.posted(shows_certificate)),
        }
    }

    /// The URL of the revocation endpoint, with the same choice. `None` if there is none, or it cannot be used: see [`Self::unused`].
    pub fn revoked_at(&self, shows_certificate: bool) -> Option<&Url> {
        let places = (&self.mtls_revocation, &self.revocation);
        self.either("revocation_endpoint", places, shows_certificate)
    }

    /// The URL of the device authorization endpoint, with the same choice.
    pub fn device_at(&self, shows_certificate: bool) -> Option<&Url> {
        let places = (&self.mtls_device, &self.device);
        self.either("device_authorization_endpoint", places, shows_certificate)
    }

    fn either<'a>(
        &'a self,
        field: &str,
        (alias, usual): (&'a Option<Url>, &'a Option<Url>),
        shows_certificate: bool,
    ) -> Option<&'a Url> {
        if self.unused_alias(field, shows_certificate).is_some() {
            return None;
        }
        let alias = alias.as_ref().filter(|_| shows_certificate);
        alias.or(usual.as_ref())
    }

    /// Why an endpoint that the document names is not used, with the same choice.
    pub fn unused(&self, field: &str, shows_certificate: bool) -> Option<&str> {
        let usual = || self.unused.iter().find(|u| u.field == field && !u.is_alias);
        let found = self.unused_alias(field, shows_certificate).or_else(usual);
        found.map(|u| u.message.as_str())
    }

    fn unused_alias(&self, field: &str, shows_certificate: bool) -> Option<&Unused> {
        let mut all = self.unused.iter().filter(|_| shows_certificate);
        all.find(|u| u.is_alias && u.field == field)
    }
}

/// HTTP methods in use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Method {
    /// A form is posted.
    Post,
    /// JSON is posted.
    PostJson,
    /// JSON replaces the existing object.
    PutJson,
    /// All parameters are in the query.
    Get,
}

impl Method {
    /// The HTTP method.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Post | Self::PostJson => "POST",
            Self::PutJson => "PUT",
            Self::Get => "GET",
        }
    }
}

/// A client certificate for one request.
#[derive(Clone)]
pub struct TlsIdentity {
    /// Identifies it without its content.
    pub name: String,
    /// Certificate chain and private key.
    pub pem: SecretString,
}

/// A request that is ready to send. Contains the secret in its body or header, so it has no `Debug`.
pub struct TokenRequest {
    /// The HTTP method and the encoding of the body.
    pub method: Method,
    /// The URL.
    pub url: Url,
    /// Header names and values in addition to the content type; values may be secret.
    pub headers: Vec<(&'static str, SecretString)>,
    /// The form body.
    pub body: SecretString,
    /// The certificate to show.
    pub tls: Option<TlsIdentity>,
    /// True for an identity endpoint of the machine itself: plain http, loopback or link-local.
    pub local: bool,
}

/// The values that differ for each request.
#[derive(Clone, Copy, Debug)]
pub struct RequestContext<'a> {
    /// Now.
    pub now: Timestamp,
    /// A UUID. It is sent to Entra ID as `client-request-id`, so that its sign-in logs and ours can be joined.
    pub request_id: &'a str,
    /// Another one, for `jti`.
    pub assertion_id: &'a str,
}

/// The endpoint of a credential whose issuer needs no discovery.
///
/// Entra has two endpoints: v2 accepts `scope`, v1 accepts `resource` (facts, section 1.1), so the requested scopes or
/// resources select the endpoint.
pub fn known_endpoint(credential: &Credential) -> Option<TokenEndpoint> {
    let issuer = &credential.issuer;
    let style = issuer.style.unwrap_or(SecretStyle::BasicForm);
    match &issuer.endpoint {
        Endpoint::Entra { authority } => {
            let version = if credential.request.resources.is_empty() {
                "v2.0/"
            } else {
                ""
            };
            let at = |path: &str| Url::parse(&format!("{authority}/oauth2/{version}{path}")).ok();
            Some(TokenEndpoint {
                issuer: Some(format!("{authority}/v2.0")),
                authorization: at("authorize"),
                device: at("devicecode"),
                ..TokenEndpoint::bare(at("token")?, style)
            })
        }
        Endpoint::Fixed(url) => Some(TokenEndpoint {
            issuer: issuer.places.issuer.clone(),
            revocation: issuer.places.revocation.clone(),
            authorization: issuer.places.authorization.clone(),
            device: issuer.places.device.clone(),
            ..TokenEndpoint::bare(url.clone(), style)
        }),
        Endpoint::Discover(_) | Endpoint::Nowhere => None,
    }
}

/// The parameters of the spec whose values are not secret.
pub(super) fn plain_parameters(request: &RequestParameters) -> Vec<(&str, SecretString)> {
    let parameters = request.parameters.iter();
    parameters
        .map(|(name, value)| (name.as_str(), SecretString::from(value.as_str())))
        .collect()
}

/// Builds the token request of a credential. `grant_inputs` are the values of its inputs ([`Credential::inputs`]), in that order.
///
/// # Errors
/// When an input cannot be used: it is not a key, or the algorithm does not fit.
pub fn request(
    credential: &Credential,
    endpoint: &TokenEndpoint,
    material: &Material,
    grant_inputs: &[SecretString],
    moment: RequestContext<'_>,
) -> Result<TokenRequest, TokenError> {
    if let (AuthenticationMethod::ManagedIdentity(selector), Material::Local(local)) =
        (&credential.authentication, material)
    {
        return Ok(managed_identity::request(
            local,
            selector,
            &credential.request,
        ));
    }
    let fault = |text: String| TokenError::local(Class::Invalid, Reason::MaterialInvalid, text);
    if credential.issuer.protocol == Protocol::GitHubApp {
        return github_app::request(credential, endpoint, material, moment).map_err(fault);
    }
    let around = GrantContext {
        credential,
        endpoint,
        now: moment.now,
        assertion_id: moment.assertion_id,
    };
    let flow = credential.grant.flow();
    let mut client = ClientRequest::new(credential, endpoint, material, moment)?;

    let request = &credential.request;
    let mut fields: Fields = vec![("grant_type", SecretString::from(flow.grant_type()))];
    fields.append(&mut client.fields);
    let (grant_inputs, values) = grant_inputs
        .split_at_checked(credential.grant.needs().len())
        .unwrap_or((grant_inputs, &[]));
    fields.extend(flow.fields(grant_inputs, &around).map_err(fault)?);
    let first = hop::first_scope(credential).map(str::to_owned);
    let scope = first.unwrap_or_else(|| flow.scope(credential));
    if !scope.is_empty() && flow.scopes_in_form(grant_inputs) {
        fields.push(("scope", SecretString::from(scope)));
    }
    let text = |value: &Option<String>| value.as_deref().map(SecretString::from);
    let resources = request.resources.iter();
    fields.extend(resources.map(|r| ("resource", SecretString::from(r.as_str()))));
    fields.extend(text(&request.audience).map(|a| ("audience", a)));
    let mut further = plain_parameters(request);
    let hidden = request.secret_parameters.keys().map(String::as_str);
    further.extend(hidden.zip(values.iter().cloned()));
    let url = endpoint.posted_by(client.shows_certificate())?;
    Ok(client.post(url, encode::body(&fields, &further)))
}
