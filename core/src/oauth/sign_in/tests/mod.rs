//! The requests and answers of a sign-in, byte by byte.

mod answers;
mod consent;
mod requests;

use serde_json::{Value, json};
use url::Url;

use crate::{
    credential::{Credential, Issuer, IssuerLookup, SecretStyle, parse},
    fixtures::{at, cluster_issuer, object},
    oauth::{RawAnswer, RequestContext, TokenEndpoint},
};

fn moment() -> RequestContext<'static> {
    RequestContext {
        now: at(0),
        request_id: "0-id",
        assertion_id: "1-id",
    }
}

/// A credential of a user at an issuer; `change` is merged into its spec.
fn user_at(issuer: &Value, change: &Value) -> Credential {
    let issuer = Issuer::cluster(&cluster_issuer(issuer)).unwrap();
    let mut spec = json!({
        "client": { "id": "s6BhdRkqt3", "secrets": null, "public": {} },
        "grant": { "refreshToken": { "secretRef": { "name": "state", "key": "refresh_token" } } },
        "scopes": ["read"],
    });
    crate::fixtures::merge(&mut spec, change);
    for (name, value) in change.as_object().into_iter().flatten() {
        if value.is_null() {
            spec[name.as_str()] = Value::Null;
        }
    }
    parse(&object(&spec), |_| IssuerLookup::Found(issuer)).unwrap()
}

fn entra() -> Value {
    json!({ "entra": { "tenantId": "contoso.onmicrosoft.com" } })
}

fn oidc() -> Value {
    json!({ "oidc": { "issuerUrl": "https://server.example.com" } })
}

fn oauth2() -> Value {
    json!({ "oauth2": {
        "tokenUrl": "https://server.example.com/token",
        "authorizationUrl": "https://server.example.com/authorize",
        "deviceAuthorizationUrl": "https://server.example.com/device_authorization",
    } })
}

/// The discovery document of [`oidc`].
fn found(scopes: Option<&[&str]>) -> TokenEndpoint {
    let at = |path: &str| Url::parse(&format!("https://server.example.com/{path}")).unwrap();
    TokenEndpoint {
        issuer: Some("https://server.example.com".to_owned()),
        authorization: Some(at("authorize?tenant=blue")),
        device: Some(at("device_authorization")),
        scopes: scopes.map(|list| list.iter().map(|s| (*s).to_owned()).collect()),
        ..TokenEndpoint::bare(at("token"), SecretStyle::BasicForm)
    }
}

fn raw(status: u16, body: &Value) -> RawAnswer {
    RawAnswer::new(status, body.to_string().into_bytes())
}
