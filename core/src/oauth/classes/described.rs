//! Classes by the text beside a code, for codes that have several meanings.

use super::Kind;

/// Texts for too many requests beside a code that usually means something else. They are not about failed attempts of a user.
const THROTTLING: [&str; 4] = [
    "rate exceeded",
    "rate limit exceeded",
    "too many requests",
    "already being processed",
];

/// By the text, if an `error` has two meanings; the first matching row is used. `true`: the row is only for clients that an
/// assertion authenticated. For others the same text is about a secret.
#[rustfmt::skip]
pub(super) const DESCRIBED: &[(&[&str], bool, &[&str], Kind)] = &[
    // Salesforce, Zoho. The same request works later.
    (&["invalid_grant", "access_denied", "invalid_request", "invalid_client", "unauthorized_client"], false, &THROTTLING, Kind::Throttled),
    (&["invalid_client", "unauthorized_client", "invalid_request", "access_denied"], false, &["dpop"], Kind::Dpop),
    // Keycloak, for an exchange for an audience that does not exist there.
    (&["invalid_client", "invalid_request"], false, &["audience not found", "unknown audience", "audience is not known", "audience client"], Kind::Resource),
    (&["invalid_client"], false, &["secret has expired", "secret is expired", "expired secret", "expired client secret", "secret expired"], Kind::SecretExpired),
    (&["invalid_client", "unauthorized_client", "invalid_request"], true, &["audience", "\"aud\"", "'aud'"], Kind::Audience),
    (&["invalid_client", "unauthorized_client", "invalid_request"], true, &["jti", "replay", "already been used", "already used", "token reuse", "used before", "used once", "jwt id"], Kind::Replayed),
    (&["invalid_client", "unauthorized_client", "invalid_request"], true, &["not active", "expired", "expiration", "expiry", "lifetime", "too far", "future", "not yet valid", "not valid yet", "no longer valid", "\"exp\"", "\"iat\"", "\"nbf\"", "'exp'", "'iat'", "'nbf'", "clock"], Kind::Time),
    // Spring names both causes.
    (&["invalid_client", "unauthorized_client", "invalid_request"], true, &["no matching key"], Kind::Signature),
    (&["invalid_client", "unauthorized_client", "invalid_request"], true, &["algorithm", "\"alg\"", "'alg'"], Kind::Algorithm),
    (&["invalid_client", "unauthorized_client", "invalid_request"], true, &["signature", "public key", "jwks", "\"kid\"", "'kid'", "no key", "unable to load", "applicable key", "signing key", "key set", "kid:"], Kind::Signature),
    // mock-oauth2-server, and others built on Nimbus.
    (&["invalid_request"], true, &["client_assertion", "client assertion"], Kind::Assertion),
    (&["invalid_client", "unauthorized_client", "invalid_request"], false, &["authentication method", "auth method", "auth_method", "authn method"], Kind::AuthMethod),
    // `ServiceNow`, for a wrong id, secret, password or refresh token.
    (&["server_error"], false, &["access_denied"], Kind::ClientRefused),
    // Azure AD B2C answers this with several codes.
    (&["invalid_client", "invalid_grant", "invalid_request", "unauthorized_client"], false, &["client_secret does not match", "aadb2c90081"], Kind::ClientRefused),
    (&["invalid_client", "invalid_grant", "invalid_request", "unauthorized_client"], false, &["aadb2c90068"], Kind::ClientUnknown),
    (&["invalid_grant", "invalid_request", "unauthorized_client"], false, &["aadb2c90205"], Kind::ClientNotAuthorized),
    // Zitadel, Google, WSO2, Okta, Salesforce, Cloud Foundry, Apigee, OpenIddict.
    (&["invalid_client"], false, &["client not found", "client was not found", "client does not exist", "client doesn't exist", "no such client", "could not be found for client_id", "'client_id' parameter", "no client with requested id", "clientid is invalid", "client_id is not valid", "'client_id' is invalid"], Kind::ClientUnknown),
    (&["invalid_client", "unauthorized_client"], false, &["disabled", "deactivated", "suspended", "inactive"], Kind::ClientDisabled),
    // Keycloak answers this for a wrong secret, and for a client that may not use the grant.
    (&["unauthorized_client"], false, &["not enabled", "not allowed", "not permitted", "not supported", "grant type", "grant_type", "flow"], Kind::ClientNotAuthorized),
    // npm `oidc-provider`; Keycloak, for an exchange that is turned off.
    (&["invalid_request"], false, &["exchange is not enabled", "grant type is not allowed", "grant type not allowed", "grant_type is not allowed", "grant_type not allowed"], Kind::ClientNotAuthorized),
    // Keycloak, for a client with a certificate in the handshake that sends Basic; mock-oauth2-server; npm `oidc-provider`.
    (&["invalid_client"], false, &["missing client_id", "missing client authentication", "no client authentication mechanism"], Kind::AuthMethod),
    // Keycloak, for a client that is registered with another method, and for Basic that is not form-encoded.
    (&["unauthorized_client"], false, &["unexpected error when authenticating client"], Kind::AuthMethod),
    (&["unauthorized_client"], false, &["credential", "secret", "authenticat"], Kind::ClientRefused),
    // Auth0: an audience that does not exist there, and one that the client may not use.
    (&["access_denied", "invalid_request"], false, &["service not enabled within domain", "service not found"], Kind::Resource),
    (&["access_denied"], false, &["client-grant", "not authorized to access", "grant type", "not allowed to exchange"], Kind::ClientNotAuthorized),
    (&["access_denied", "unauthorized_client", "invalid_request"], false, &["licence", "license", "subscription"], Kind::Licence),
    (&["invalid_request"], false, &["invalid scope", "unknown scope", "scope is invalid", "scope is unknown"], Kind::Scope),
];

/// True if the text, in lower case, is about the token that a client exchanges, and so not about the assertion of the client.
pub(super) fn names_subject(text: &str) -> bool {
    let names = [
        "subject_token",
        "subject token",
        "actor_token",
        "actor token",
    ];
    names.iter().any(|name| text.contains(name))
}

/// True if the text, in lower case, is about too many requests.
pub(in crate::oauth) fn describes_throttling(text: &str) -> bool {
    THROTTLING.iter().any(|phrase| text.contains(phrase))
}

/// What a client with a secret authenticates with, and words for a wrong one.
const SECRETS: [&str; 4] = [
    "client secret",
    "client_secret",
    "clientsecret",
    "client credential",
];
const WRONG: [&str; 9] = [
    "invalid",
    "incorrect",
    "wrong",
    "mismatch",
    "not match",
    "not valid",
    "not correct",
    "expired",
    "bad ",
];
/// The number of bytes before and after the name in which such a word counts.
const NEAR: (usize, usize) = (12, 24);

/// True if the text, in lower case, reports a wrong client secret. Some servers send it with a code that is usually about the grant.
pub(super) fn refuses_secret(text: &str) -> bool {
    SECRETS.iter().any(|name| {
        text.match_indices(name).any(|(at, name)| {
            let end = at + name.len();
            let before = text.as_bytes()[..at]
                .rchunks(NEAR.0)
                .next()
                .unwrap_or_default();
            let after = text.as_bytes()[end..]
                .chunks(NEAR.1)
                .next()
                .unwrap_or_default();
            let (before, after) = (
                String::from_utf8_lossy(before),
                String::from_utf8_lossy(after),
            );
            // The name of the grant, or of a method (`client_secret_basic`).
            let other = [
                "s grant", "s flow", " grant", " flow", "_basic", "_post", "_jwt",
            ];
            !other.iter().any(|rest| after.starts_with(rest))
                && WRONG
                    .iter()
                    .any(|word| before.contains(word) || after.contains(word))
        })
    })
}

/// True for a code that is usually about the grant, with a text that reports a wrong client secret.
pub(in crate::oauth) fn is_about_secret(error: &str, text: &str) -> bool {
    matches!(error, "invalid_grant" | "invalid_request" | "access_denied") && refuses_secret(text)
}
