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
        "authorization_endpoint": format!("{issuer}/authorize"),
        "device_authorization_endpoint": format!("{issuer}/device_authorization"),
        "grant_types_supported": [
            "client_credentials",
            "authorization_code",
            "refresh_token",
            "urn:ietf:params:oauth:grant-type:device_code",
            "urn:ietf:params:oauth:grant-type:jwt-bearer",
            "urn:ietf:params:oauth:grant-type:token-exchange",
            "password",
        ],
        "revocation_endpoint": format!("{issuer}/revoke"),
        "revocation_endpoint_auth_methods_supported": [
            "client_secret_basic", "client_secret_post", "private_key_jwt", "none",
        ],
        "revocation_endpoint_auth_signing_alg_values_supported": ["RS256", "PS256", "ES256"],
        "token_endpoint_auth_signing_alg_values_supported": ["RS256", "PS256", "ES256"],
        "token_endpoint_auth_methods_supported": [
            "client_secret_basic", "client_secret_post", "private_key_jwt", "none",
        ],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query", "form_post"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
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
            "device_authorization_endpoint": format!("{origin}/generic/device_authorization"),
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
