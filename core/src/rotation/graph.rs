//! Microsoft Graph: the requests that change the credentials of an application, and what its answers mean.
//! <https://learn.microsoft.com/graph/api/resources/application>
//!
//! `PATCH` of `keyCredentials` or `passwordCredentials` replaces the whole list without an `ETag`, so it is not used.

mod answer;

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use url::Url;

use crate::{
    api::{ApiPreset, Cloud},
    credential::preset,
    oauth::{Identity, Method, is_guid, leaf},
};
pub use answer::{
    NewPassword, application, hint, new_key, new_password, removed, request_id, thumbprints,
    thumbprints_of, unnamed,
};

/// The base URL of Microsoft Graph, and the paths of an application.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Graph {
    base: Url,
}

/// The base URL of Microsoft Graph in a cloud, and the audience of tokens for it.
pub fn endpoint(cloud: Cloud) -> Option<(&'static str, &'static str)> {
    let graph = preset(ApiPreset::MicrosoftGraph, cloud)?;
    Some((graph.base_url, graph.audience))
}

/// An application: by its object ID if that is known, else by its client ID.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Address<'a> {
    /// `/applications/{objectId}`.
    Object(&'a str),
    /// `/applications(appId='{clientId}')`.
    Client(&'a str),
}

/// A request to Microsoft Graph, or to a registration endpoint. The caller adds only the connection. Contains secrets, so it has no `Debug`.
pub struct GraphRequest {
    /// The HTTP method.
    pub method: Method,
    /// The URL.
    pub url: Url,
    /// Names and values of headers.
    pub headers: Vec<(&'static str, SecretString)>,
    /// The body as JSON; none for `GET`.
    pub body: Option<SecretString>,
}

/// What a call needs in addition to its own arguments.
#[derive(Clone, Copy)]
pub struct GraphCall<'a> {
    /// The access token of the caller.
    pub token: &'a SecretString,
    /// A UUID. Errors and logs of Graph contain it.
    pub request_id: &'a str,
}

impl Graph {
    /// `base` ends with the version: `https://graph.microsoft.com/v1.0`.
    pub const fn new(base: Url) -> Self {
        Self { base }
    }

    /// Microsoft Graph of a cloud.
    pub fn of(cloud: Cloud) -> Option<Self> {
        let (base, _) = endpoint(cloud)?;
        Url::parse(base).ok().map(Self::new)
    }

    /// Reads the application with its credentials.
    pub fn read(&self, address: Address<'_>, call: GraphCall<'_>) -> Option<GraphRequest> {
        let mut url = self.url(address, None)?;
        url.set_query(Some("$select=id,appId,passwordCredentials,keyCredentials"));
        Some(request(url, call, None))
    }

    /// Adds a certificate. `proof` is signed with a certificate that the application has.
    pub fn add_key(
        &self,
        address: Address<'_>,
        certificate: &Identity,
        proof: &SecretString,
        call: GraphCall<'_>,
    ) -> Option<GraphRequest> {
        let body = json!({
            "keyCredential": {
                "type": "AsymmetricX509Cert",
                "usage": "Verify",
                "key": STANDARD.encode(leaf(certificate)?),
            },
            "passwordCredential": null,
            "proof": proof.expose_secret(),
        });
        self.post(address, "addKey", call, &body)
    }

    /// Removes a certificate.
    pub fn remove_key(
        &self,
        address: Address<'_>,
        id: &str,
        proof: &SecretString,
        call: GraphCall<'_>,
    ) -> Option<GraphRequest> {
        let body = json!({ "keyId": id, "proof": proof.expose_secret() });
        self.post(address, "removeKey", call, &body)
    }

    /// Requests a new secret.
    pub fn add_password(
        &self,
        address: Address<'_>,
        (name, until): (&str, Timestamp),
        call: GraphCall<'_>,
    ) -> Option<GraphRequest> {
        let until = crate::whole_second(until);
        let body = json!({
            "passwordCredential": { "displayName": name, "endDateTime": until.to_string() },
        });
        self.post(address, "addPassword", call, &body)
    }

    /// Removes a secret.
    pub fn remove_password(
        &self,
        address: Address<'_>,
        id: &str,
        call: GraphCall<'_>,
    ) -> Option<GraphRequest> {
        let body = json!({ "keyId": id });
        self.post(address, "removePassword", call, &body)
    }

    fn post(
        &self,
        address: Address<'_>,
        action: &str,
        call: GraphCall<'_>,
        body: &Value,
    ) -> Option<GraphRequest> {
        Some(request(self.url(address, Some(action))?, call, Some(body)))
    }

    /// None: an id that is not a GUID could name something other than an application.
    fn url(&self, address: Address<'_>, action: Option<&str>) -> Option<Url> {
        let (segment, id) = match address {
            Address::Object(id) => (None, id),
            Address::Client(id) => (Some(format!("applications(appId='{id}')")), id),
        };
        if !is_guid(id) {
            return None;
        }
        let mut url = self.base.clone();
        {
            let mut path = url.path_segments_mut().ok()?;
            path.pop_if_empty();
            match &segment {
                Some(segment) => path.push(segment),
                None => path.extend(["applications", id]),
            };
            path.extend(action);
        }
        Some(url)
    }
}

fn request(url: Url, call: GraphCall<'_>, body: Option<&Value>) -> GraphRequest {
    let headers = vec![
        ("accept", SecretString::from("application/json")),
        ("client-request-id", SecretString::from(call.request_id)),
        (
            "authorization",
            SecretString::from(format!("Bearer {}", call.token.expose_secret())),
        ),
    ];
    GraphRequest {
        method: if body.is_some() {
            Method::PostJson
        } else {
            Method::Get
        },
        url,
        headers,
        body: body.map(|b| SecretString::from(b.to_string())),
    }
}
