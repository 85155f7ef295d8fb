//! Discovery documents and key sets. They contain only what this issuer supports, because a client would try everything in them.

use http::StatusCode;
use serde_json::{Value, json};

use super::errors::ErrorAnswer;
use super::{Version, tenant};
use crate::answer::Answer;
use crate::ids::guid;
use crate::state::Shared;

/// `/{tenant}/.well-known/openid-configuration`
pub(crate) fn metadata_v1(shared: &Shared, tenant: &str) -> Answer {
    with_id(shared, tenant, |id| metadata(shared, id, Version::V1))
}

/// `/{tenant}/v2.0/.well-known/openid-configuration`
pub(crate) fn metadata_v2(shared: &Shared, tenant: &str) -> Answer {
    with_id(shared, tenant, |id| metadata(shared, id, Version::V2))
}

/// `/{tenant}/discovery/keys`
pub(crate) fn keys_v1(shared: &Shared, tenant: &str) -> Answer {
    with_id(shared, tenant, |id| {
        shared.keys().entra_jwks(&shared.issuer_v1(id))
    })
}

/// `/{tenant}/discovery/v2.0/keys`
pub(crate) fn keys_v2(shared: &Shared, tenant: &str) -> Answer {
    with_id(shared, tenant, |id| {
        shared.keys().entra_jwks(&shared.issuer_v2(id))
    })
}

fn metadata(shared: &Shared, id: &str, version: Version) -> Value {
    let base = format!("{}/{id}", shared.origin);
    let (issuer, token, keys, methods) = match version {
        Version::V1 => (
            shared.issuer_v1(id),
            format!("{base}/oauth2/token"),
            format!("{base}/discovery/keys"),
            json!(["client_secret_post", "private_key_jwt"]),
        ),
        Version::V2 => (
            shared.issuer_v2(id),
            format!("{base}/oauth2/v2.0/token"),
            format!("{base}/discovery/v2.0/keys"),
            json!([
                "client_secret_post",
                "private_key_jwt",
                "client_secret_basic"
            ]),
        ),
    };
    let mut body = json!({
        "token_endpoint": token,
        "token_endpoint_auth_methods_supported": methods,
        "jwks_uri": keys,
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "response_types_supported": [],
        "issuer": issuer,
    });
    if version == Version::V2 {
        body["authorization_endpoint"] = json!(format!("{base}/oauth2/v2.0/authorize"));
        body["device_authorization_endpoint"] = json!(format!("{base}/oauth2/v2.0/devicecode"));
        body["response_types_supported"] = json!(["code"]);
        body["response_modes_supported"] = json!(["query", "form_post"]);
    }
    body
}

/// Whatever the name of the tenant in the path is, the documents contain its ID.
fn with_id(shared: &Shared, name: &str, body: impl FnOnce(&str) -> Value) -> Answer {
    let found: Result<String, ErrorAnswer> = {
        let config = shared.config();
        tenant::resolve(&config, name).map(|tenant| tenant.id.clone())
    };
    match found {
        Ok(id) => Answer::json(StatusCode::OK, &body(&id)),
        Err(error_answer) => error_answer.into_answer(&shared.origin, &guid()),
    }
}
