//! Requests to the local endpoints of Azure's managed identities: plain http to a loopback or link-local address.
//!
//! Never through a proxy, and never for a namespaced issuer.
//! Source: learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token and
//! learn.microsoft.com/azure/azure-arc/servers/managed-identity-authentication.

use crate::Reason;
use secrecy::SecretString;
use url::Url;

use super::{Class, Method, NextStep, RawAnswer, Then, TokenError, TokenRequest};
use crate::credential::{RequestParameters, Selector};

/// The identity endpoint of Azure's machines.
pub const IMDS: &str = "http://169.254.169.254";
/// The identity endpoint of the Arc agent.
pub const AZURE_ARC: &str = "http://127.0.0.1:40342";
/// Longest key file of the Arc agent.
pub const MAX_ARC_KEY: usize = 4096;

/// A local identity endpoint, and the values that it requires.
#[derive(Clone)]
pub enum Local {
    /// IMDS, at this origin.
    Imds(Url),
    /// App Service: the endpoint and the header of the operator's environment.
    AppService(Url, SecretString),
    /// Azure Arc: the origin, and the content of the key file after the agent has named it.
    AzureArc(Url, Option<SecretString>),
}

/// The request for a token that identifies the identity to another service: `resource` is its audience.
pub fn identity_request(local: &Local, selector: &Selector, resource: &str) -> TokenRequest {
    let parameters = RequestParameters {
        resources: vec![resource.to_owned()],
        ..RequestParameters::default()
    };
    request(local, selector, &parameters)
}

/// Builds the request. The resource is the API without `/.default`: these endpoints have no scopes.
pub(super) fn request(
    local: &Local,
    selector: &Selector,
    parameters: &RequestParameters,
) -> TokenRequest {
    let resource = resource(parameters);
    let (mut url, version, headers) = match local {
        Local::Imds(origin) => (
            below(origin),
            "2018-02-01",
            vec![("metadata", SecretString::from("true"))],
        ),
        Local::AppService(endpoint, header) => (
            endpoint.clone(),
            "2019-08-01",
            vec![("x-identity-header", header.clone())],
        ),
        Local::AzureArc(origin, key) => {
            let mut headers = vec![("metadata", SecretString::from("true"))];
            headers.extend(key.clone().map(|k| ("authorization", k)));
            (below(origin), "2020-06-01", headers)
        }
    };
    let by_resource_id = if matches!(local, Local::AppService(..)) {
        "mi_res_id"
    } else {
        "msi_res_id"
    };
    url.query_pairs_mut()
        .append_pair("api-version", version)
        .append_pair("resource", &resource);
    match selector {
        Selector::System => {}
        Selector::Client(id) => {
            url.query_pairs_mut().append_pair("client_id", id);
        }
        Selector::Object(id) => {
            url.query_pairs_mut().append_pair("object_id", id);
        }
        Selector::Resource(id) => {
            url.query_pairs_mut().append_pair(by_resource_id, id);
        }
    }
    TokenRequest {
        method: Method::Get,
        url,
        headers,
        body: SecretString::from(""),
        tls: None,
        local: true,
    }
}

fn below(origin: &Url) -> Url {
    let mut url = origin.clone();
    url.set_path("/metadata/identity/oauth2/token");
    url
}

fn resource(parameters: &RequestParameters) -> String {
    let scope = parameters
        .scopes
        .first()
        .map(|s| s.strip_suffix("/.default").unwrap_or(s.as_str()).to_owned());
    parameters
        .resources
        .first()
        .cloned()
        .or(scope)
        .unwrap_or_default()
}

/// The file that the Arc agent's challenge names (`Basic realm=<path>`), if it may be read: a `.key` file directly in the agent's folder.
///
/// # Errors
/// The next step for the user.
pub fn arc_key_file(answer: &RawAnswer, folder: &str) -> Result<String, TokenError> {
    let fault =
        |text: &str| TokenError::local(Class::Transient, Reason::IdentityEndpointRefused, text);
    let challenge = answer
        .challenge
        .as_deref()
        .filter(|_| answer.status == 401)
        .ok_or_else(|| fault("the Azure Arc agent did not request its key file"))?;
    let path = challenge
        .split_once("realm=")
        .map(|(_, p)| p.trim().trim_matches('"'))
        .unwrap_or_default();
    let name = path
        .strip_prefix(folder)
        .map(|rest| rest.trim_start_matches('/'))
        .unwrap_or_default();
    let plain = name
        .strip_suffix(".key")
        .is_some_and(|stem| !stem.is_empty())
        && !name.contains('/')
        && !name.contains("..");
    if plain {
        Ok(path.to_owned())
    } else {
        Err(fault(
            "the Azure Arc agent named a key file outside of its own folder; nothing was read",
        ))
    }
}

/// The meaning of the statuses of the local endpoints.
pub(super) fn refused(status: u16, token_error: TokenError) -> TokenError {
    let say = |class, reason, next_step: NextStep| TokenError {
        class,
        reason,
        next_step,
        about_client: false,
        ..token_error.clone()
    };
    let error = token_error.error.as_deref();
    match status {
        400 if error == Some("invalid_resource") => say(
            Class::Invalid,
            Reason::ResourceUnknown,
            "the managed identity endpoint does not know the API; correct scopes or resources".into(),
        ),
        404 | 408 | 410 => say(
            Class::Transient,
            Reason::IdentityEndpointUnavailable,
            NextStep::new("the managed identity endpoint is being updated", Then::TryAgain),
        ),
        400 => say(
            Class::Invalid,
            Reason::IdentityNotFound,
            "assign the identity to the operator's machine, or correct client.id, objectId or resourceId; with several identities one must be named".into(),
        ),
        401 | 403 => say(
            Class::Denied,
            Reason::IdentityEndpointRefused,
            "the managed identity endpoint denies access to the operator; check its environment and network".into(),
        ),
        _ => token_error,
    }
}
