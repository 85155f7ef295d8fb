//! Discovery (`OpenID` Connect Discovery 1.0, RFC 8414) and the key set of the generic issuer.

use http::StatusCode;
use serde_json::json;

use crate::answer::Answer;
use crate::state::Shared;

pub(crate) fn metadata(shared: &Shared) -> Answer {
    let issuer = shared.generic_issuer();
    let mut body = json!({
        "issuer": issuer,
        "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/keys"),
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "response_types_supported": [],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    });
    let config = shared.config();
    if !config.generic_scopes.is_empty() {
        body["scopes_supported"] = json!(config.generic_scopes);
    }
    if let Some(origin) = &shared.mtls_origin {
        // RFC 8705 section 5: under the usual names, for clients with certificates.
        body["mtls_endpoint_aliases"] = json!({
            "token_endpoint": format!("{origin}/generic/token"),
        });
        body["tls_client_certificate_bound_access_tokens"] = json!(true);
        if let Some(methods) = body["token_endpoint_auth_methods_supported"].as_array_mut() {
            methods.extend([
                json!("tls_client_auth"),
                json!("self_signed_tls_client_auth"),
            ]);
        }
    }
    Answer::json(StatusCode::OK, &body)
}

pub(crate) fn keys(shared: &Shared) -> Answer {
    Answer::json(StatusCode::OK, &shared.keys().jwks())
}
