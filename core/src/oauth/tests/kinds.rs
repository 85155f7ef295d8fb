//! Token errors by kind: grant, status, type and body of an answer, and the expected error. A row is a line.

mod blame;
mod messages;

use proptest::prelude::*;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::{answer::raw, hostile};
use crate::{
    credential::{Credential, Issuer, IssuerLookup, SecretStyle, parse},
    fixtures::{at, cluster_issuer, object, token_issuer},
    oauth::{
        Class::{self, Denied, Invalid, NeedsUser, Throttled, Transient},
        Material, Moment, RawAnswer, SentSecrets, TokenEndpoint, TokenError, TokenRequest,
        answer_to, explained, request,
    },
};

pub(super) const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";
pub(super) const TEXT: &str = "text/plain";

/// The names that [`named`] accepts.
const GRANTS: [&str; 20] = [
    "public",
    "cc",
    "secret jwt",
    "discovered",
    "entra cc",
    "certificate",
    "entra certificate",
    "account",
    "entra account",
    "mtls",
    "entra machine",
    "refresh",
    "entra refresh",
    "obo",
    "assertion",
    "signed",
    "exchange",
    "password",
    "entra password",
    "extension",
];

fn key() -> Value {
    json!({ "name": "source", "key": "k" })
}

/// A credential by the name of its grant, at Entra ID (`entra …`) or at another issuer.
fn named(name: &str) -> Credential {
    let none = json!(null);
    let (entra, grant) = match name.split_once(' ') {
        Some(("entra", grant)) => (true, grant),
        _ => (name.starts_with("obo"), name),
    };
    let change = match grant {
        "cc" | "secret jwt" | "discovered" => json!({}),
        "certificate" => {
            json!({ "client": { "secrets": none, "certificates": [{ "secretName": "t" }] } })
        }
        "account" => {
            json!({ "client": { "secrets": none, "serviceAccount": { "name": "robot" } } })
        }
        "machine" => {
            json!({ "client": { "id": "c1", "secrets": none, "managedIdentity": {} } })
        }
        "mtls" => json!({ "client": { "secrets": none, "mtls": { "secretName": "t" } } }),
        "public" => {
            json!({ "client": { "secrets": none, "public": {} }, "grant": { "refreshToken": { "secretRef": key() } } })
        }
        "refresh" => json!({ "grant": { "refreshToken": { "secretRef": key() } } }),
        "obo" => json!({ "grant": { "onBehalfOf": { "assertionRef": key() } } }),
        "assertion" => json!({ "grant": { "jwtBearer": { "assertionRef": key() } } }),
        "signed" => {
            json!({ "grant": { "jwtBearer": { "signed": { "keyRef": key(), "issuer": "i" } } } })
        }
        "exchange" => {
            json!({ "grant": { "tokenExchange": { "subject": { "secretRef": key() } } } })
        }
        "password" => {
            json!({ "grant": { "password": { "username": "ada", "passwordRef": key() } } })
        }
        "extension" => {
            json!({ "client": none, "grant": { "extension": { "grantType": "urn:x:y", "parameters": [{ "name": "apikey", "secretRef": key() }] } } })
        }
        other => panic!("{other}"),
    };
    let at = "https://as.example.com/token";
    let issuer = match name {
        _ if entra => {
            json!({ "entra": { "tenantId": "contoso.example" }, "managedIdentity": { "imds": {} } })
        }
        "secret jwt" => {
            json!({ "oauth2": { "tokenUrl": at, "clientAuthentication": { "secretJwt": {} } } })
        }
        "discovered" => json!({ "oidc": { "issuerUrl": "https://as.example.com" } }),
        _ => json!({ "oauth2": { "tokenUrl": at } }),
    };
    let issuer = Issuer::cluster(&cluster_issuer(&issuer)).unwrap();
    parse(&object(&change), |_| IssuerLookup::Found(issuer)).unwrap()
}

fn sent(credential: &Credential, secret: &str) -> TokenRequest {
    let url = "https://as.example.com/token".parse().unwrap();
    let endpoint = TokenEndpoint::bare(url, SecretStyle::Post);
    let moment = Moment {
        now: at(0),
        request_id: "r",
        assertion_id: "a",
    };
    let material = Material::Secret(SecretString::from(secret));
    match request(credential, &endpoint, &material, &[], moment) {
        Ok(request) => request,
        Err(token_error) => panic!("{}", token_error.message()),
    }
}

pub(super) fn refused(name: &str, answer: &RawAnswer) -> TokenError {
    let credential = named(name);
    let reported = answer_to(&credential, answer, at(0), at(1));
    let token_error = reported.err().expect("a token error");
    let echo = SentSecrets::of(&sent(&named("cc"), "hT9~xkCd-42-QqZzWw77"));
    explained(token_error, &credential, answer, &echo, at(1))
}

/// The same for a client that uses Basic.
pub(super) fn refused_by_basic(answer: &RawAnswer) -> TokenError {
    let credential = named("cc");
    let mut request = sent(&credential, "");
    let header = crate::oauth::encode::basic("c", "hT9~xkCd-42-QqZzWw77");
    request.body = SecretString::from("grant_type=client_credentials");
    request
        .headers
        .push(("authorization", SecretString::from(header)));
    let token_error = answer_to(&credential, answer, at(0), at(1))
        .err()
        .expect("a token error");
    explained(
        token_error,
        &credential,
        answer,
        &SentSecrets::of(&request),
        at(1),
    )
}

pub(super) type Row<'a> = (
    &'a str,
    u16,
    &'a str,
    &'a str,
    Class,
    &'a str,
    bool,
    &'a [&'a str],
);

#[test]
fn each_kind_of_answer_has_its_class_its_reason_and_its_message() {
    let google =
        r#"{"error":"invalid_grant","error_description":"Invalid grant: account not found"}"#;
    let keycloak = r#"{"error":"unauthorized_client","error_description":"Client not enabled to retrieve service account"}"#;
    let hydra_secret = r#"{"error":"invalid_client","error_description":"Client authentication failed (e.g., unknown client, no client authentication included, or unsupported authentication method)."}"#;
    let hydra_method = r#"{"error":"invalid_client","error_description":"Client authentication failed (e.g., unknown client, no client authentication included, or unsupported authentication method). The OAuth 2.0 Client supports client authentication method 'client_secret_post', but method 'client_secret_basic' was requested."}"#;
    let page = "<!DOCTYPE html><html><head><title>Sign in to the network</title></head></html>";
    #[expect(clippy::large_stack_arrays, reason = "a row is a line")]
    #[rustfmt::skip]
    let rows: &[Row<'_>] = &[
        // Grants without a user never require one.
        ("cc", 400, JSON, r#"{"error":"invalid_grant"}"#, Denied, "GrantRefused", false, &["client credentials grant", "Salesforce"]),
        ("cc", 400, JSON, r#"{"error":"invalid_grant","error_description":"no client credentials user enabled"}"#, Denied, "GrantRefused", false, &["run as"]),
        ("cc", 400, JSON, r#"{"error":"interaction_required"}"#, Denied, "GrantRefused", false, &[]),
        ("cc", 400, JSON, r#"{"error":"login_required"}"#, Denied, "GrantRefused", false, &[]),
        ("cc", 403, JSON, r#"{"error":"mfa_required"}"#, Denied, "BlockedByPolicy", false, &["has no user"]),
        ("cc", 400, JSON, r#"{"error":"bad_refresh_token"}"#, Denied, "GrantRefused", false, &[]),
        ("exchange", 400, JSON, r#"{"error":"interaction_required"}"#, Denied, "GrantRefused", false, &[]),
        ("assertion", 400, JSON, r#"{"error":"login_required"}"#, Denied, "GrantRefused", false, &[]),
        ("assertion", 400, JSON, r#"{"error":"consent_required"}"#, Denied, "ConsentRequired", false, &["administrator"]),
        ("entra cc", 400, JSON, r#"{"error":"invalid_grant","error_codes":[50076]}"#, Denied, "BlockedByPolicy", false, &["has no user"]),
        ("entra cc", 400, JSON, r#"{"error":"invalid_grant","error_codes":[65001]}"#, Denied, "ConsentRequired", false, &["adminconsent?client_id=client-1", "AADSTS500113", "az ad app permission admin-consent --id client-1"]),
        ("entra cc", 400, JSON, r#"{"error":"invalid_grant","error_codes":[53003]}"#, Denied, "BlockedByPolicy", false, &["Conditional Access"]),
        ("entra cc", 400, JSON, r#"{"error":"invalid_grant","error_codes":[501051]}"#, Denied, "RoleNotAssigned", false, &["app roles", "error?code=501051", "requested: scopes"]),
        ("entra cc", 400, JSON, r#"{"error":"invalid_grant","error_codes":[50105]}"#, Denied, "RoleNotAssigned", false, &["app roles"]),
        ("entra cc", 400, JSON, r#"{"error":"invalid_grant","error_codes":[5000225]}"#, Denied, "TenantBlocked", false, &["blocked"]),
        ("entra cc", 400, JSON, r#"{"error":"interaction_required","error_codes":[5000225]}"#, Denied, "TenantBlocked", false, &[]),
        ("entra cc", 400, JSON, r#"{"error":"invalid_grant","error_codes":[50020]}"#, Denied, "TenantUnknown", false, &["tenantId"]),
        ("entra cc", 400, JSON, r#"{"error":"invalid_grant","error_codes":[7000012]}"#, Denied, "TenantUnknown", false, &[]),
        ("entra cc", 400, JSON, r#"{"error":"invalid_grant","error_codes":[123]}"#, Denied, "GrantRefused", false, &["error?code=123"]),
        ("entra cc", 403, JSON, r#"{"error":"access_denied","error_codes":[500021]}"#, Denied, "TenantRestricted", false, &["Restrict-Access-To-Tenants"]),
        ("entra cc", 400, JSON, r#"{"error":"invalid_request","error_codes":[500022]}"#, Denied, "TenantRestricted", false, &["proxy"]),
        ("entra cc", 400, JSON, r#"{"error":"invalid_resource","error_codes":[500014]}"#, Denied, "ResourceDisabled", false, &["licence", "enterprise application"]),
        ("entra cc", 401, JSON, r#"{"error":"invalid_client","error_codes":[7000229]}"#, Denied, "ClientUnknown", false, &["service principal"]),
        ("entra cc", 401, JSON, r#"{"error":"invalid_client","error_codes":[7000216]}"#, Invalid, "ClientAuthenticationMissing", false, &[]),
        ("entra cc", 401, JSON, r#"{"error":"invalid_client","error_codes":[7999999]}"#, Denied, "ClientRefused", false, &["error?code=7999999"]),
        ("entra cc", 401, JSON, r#"{"error":"invalid_client","error_codes":[7000215]}"#, Denied, "ClientSecretRefused", true, &["not its id"]),
        ("entra certificate", 401, JSON, r#"{"error":"invalid_client","error_codes":[700023]}"#, Invalid, "AssertionRefused", false, &["audience", "tenantId"]),
        ("entra cc", 400, JSON, r#"{"error":"invalid_scope","error_codes":[700023]}"#, Invalid, "InvalidScope", false, &[".default", "requested: scopes"]),
        // A user who signs in, a user whose token is forwarded, a user with only a password.
        ("refresh", 400, JSON, r#"{"error":"invalid_grant"}"#, NeedsUser, "SignInRequired", false, &["kubectl apicred login"]),
        ("refresh", 200, JSON, r#"{"error":"bad_refresh_token"}"#, NeedsUser, "SignInRequired", false, &["kubectl apicred login"]),
        ("refresh", 200, JSON, r#"{"ok":false,"error":"token_revoked"}"#, NeedsUser, "SignInRequired", false, &["kubectl apicred login"]),
        ("entra refresh", 400, JSON, r#"{"error":"invalid_grant","error_codes":[50076]}"#, NeedsUser, "MfaRequired", false, &["kubectl apicred login"]),
        ("entra refresh", 400, JSON, r#"{"error":"invalid_grant","error_codes":[7000012]}"#, NeedsUser, "SignInRequired", false, &["another tenant"]),
        ("obo", 400, JSON, r#"{"error":"interaction_required","error_codes":[50076]}"#, NeedsUser, "MfaRequired", false, &["MFA", "new access token"]),
        ("entra password", 400, JSON, r#"{"error":"invalid_grant","error_codes":[50076]}"#, Denied, "MfaRequired", false, &["grant.refreshToken"]),
        ("entra password", 400, JSON, r#"{"error":"invalid_grant","error_codes":[50055]}"#, Denied, "PasswordExpired", false, &["expired"]),
        ("entra password", 400, JSON, r#"{"error":"invalid_grant","error_codes":[80007]}"#, Transient, "IssuerUnavailable", false, &["agents"]),
        ("password", 403, JSON, r#"{"error":"mfa_required","error_description":"Multifactor authentication required"}"#, Denied, "MfaRequired", false, &["grant.refreshToken"]),
        ("password", 400, JSON, r#"{"error":"invalid_request","error_description":"Invalid \"username\" or \"password\" in request."}"#, Denied, "PasswordRefused", false, &["wrong or locked"]),
        ("password", 400, JSON, r#"{"error":"invalid_request","error_description":"unknown scope"}"#, Invalid, "InvalidScope", false, &[]),
        ("password", 403, JSON, r#"{"error":"invalid_user_password"}"#, Denied, "PasswordRefused", false, &[]),
        // An extension grant: the sent values are wrong, and no user signs in.
        ("extension", 400, JSON, r#"{"error":"invalid_grant"}"#, Denied, "GrantRefused", false, &["grant.extension.parameters"]),
        ("extension", 403, JSON, r#"{"error":"access_denied","error_description":"no"}"#, Denied, "GrantRefused", false, &["grant.extension.parameters"]),
        ("extension", 400, JSON, r#"{"error":"interaction_required"}"#, Denied, "GrantRefused", false, &["grant.extension.parameters"]),
        ("extension", 400, JSON, r#"{"errorCode":"BXNIM0415E","errorMessage":"Provided API key could not be found."}"#, Denied, "ClientRefused", false, &["grant.extension.parameters", "could not be found"]),
        ("extension", 400, JSON, r#"{"error":"unsupported_grant_type"}"#, Invalid, "GrantNotSupported", false, &[]),
        // The client is known, and has no permission for a grant, an audience, a role.
        ("cc", 401, JSON, keycloak, Denied, "ClientNotAuthorized", false, &["Client not enabled"]),
        ("cc", 401, JSON, hydra_secret, Denied, "ClientRefused", true, &["client secret"]),
        ("cc", 401, JSON, hydra_method, Invalid, "ClientAuthenticationUnsupported", false, &["clientAuthentication", "client_secret_post"]),
        ("certificate", 401, JSON, hydra_secret, Denied, "ClientRefused", true, &["certificate", "says: \"Client authentication failed.\""]),
        ("cc", 400, JSON, r#"{"error":"unauthorized_client","error_description":"Unexpected error when authenticating client"}"#, Invalid, "ClientAuthenticationUnsupported", false, &["clientAuthentication"]),
        ("cc", 401, JSON, r#"{"error":"unauthorized_client","error_description":"Public client not allowed to retrieve service account"}"#, Denied, "ClientNotAuthorized", false, &[]),
        ("password", 400, JSON, r#"{"error":"unauthorized_client","error_description":"Client not allowed for direct access grants"}"#, Denied, "ClientNotAuthorized", false, &[]),
        ("cc", 404, JSON, r#"{"error":"Realm does not exist"}"#, Invalid, "EndpointNotFound", false, &[]),
        ("cc", 405, JSON, r#"{"error":"HTTP 405 Method Not Allowed"}"#, Invalid, "EndpointNotFound", false, &[]),
        ("cc", 404, JSON, r#"{"error":"invalid_request","error_description":"unrecognized route or not allowed method (POST on /tokens)"}"#, Invalid, "EndpointNotFound", false, &["unrecognized route"]),
        ("password", 405, JSON, r#"{"error":"invalid_request"}"#, Invalid, "EndpointNotFound", false, &[]),
        ("exchange", 404, JSON, r#"{"error":"invalid_request","error_description":"no such path"}"#, Invalid, "EndpointNotFound", false, &[]),
        ("refresh", 404, JSON, r#"{"error":"invalid_request"}"#, Invalid, "EndpointNotFound", false, &[]),
        ("cc", 400, JSON, r#"{"error":"invalid_request","error_description":"requested grant type is not allowed for this client"}"#, Denied, "ClientNotAuthorized", false, &["grant"]),
        ("certificate", 400, JSON, r#"{"error":"invalid_request","error_description":"requested grant type is not allowed for this client"}"#, Denied, "ClientNotAuthorized", false, &["grant"]),
        ("refresh", 400, JSON, r#"{"error":"invalid_request","error_description":"requested grant type is not allowed for this client"}"#, Denied, "ClientNotAuthorized", false, &["grant"]),
        ("exchange", 400, JSON, r#"{"error":"invalid_request","error_description":"requested grant type is not allowed for this client"}"#, Denied, "ClientNotAuthorized", false, &["grant"]),
        ("password", 400, JSON, r#"{"error":"invalid_request","error_description":"requested grant type is not allowed for this client"}"#, Denied, "ClientNotAuthorized", false, &["grant"]),
        // Keycloak 26.4, tested.
        ("exchange", 400, JSON, r#"{"error":"invalid_request","error_description":"Standard token exchange is not enabled for the requested client"}"#, Denied, "ClientNotAuthorized", false, &["not enabled"]),
        ("exchange", 403, JSON, r#"{"error":"access_denied","error_description":"Client is not within the token audience"}"#, Denied, "SubjectTokenRefused", false, &["token audience"]),
        ("exchange", 403, JSON, r#"{"error":"access_denied"}"#, Denied, "AccessDenied", false, &["permissions"]),
        ("cc", 400, JSON, r#"{"error":"invalid_client","error_description":"Missing client_id parameter"}"#, Invalid, "ClientAuthenticationUnsupported", false, &["clientAuthentication"]),
        ("cc", 400, JSON, r#"{"error":"invalid_grant","error_description":"Client not allowed OIDC CIBA Grant"}"#, Denied, "GrantRefused", false, &["CIBA"]),
        ("mtls", 401, JSON, r#"{"error":"invalid_client","error_description":"Invalid client or Invalid client credentials"}"#, Denied, "ClientRefused", true, &["certificate"]),
        ("certificate", 400, JSON, r#"{"error":"invalid_client","error_description":"Token is not active"}"#, Transient, "AssertionTimeRefused", false, &[]),
        ("certificate", 400, JSON, r#"{"error":"invalid_client","error_description":"Token was issued in the future"}"#, Transient, "AssertionTimeRefused", false, &[]),
        ("certificate", 400, JSON, r#"{"error":"invalid_client","error_description":"Multiple audiences not allowed"}"#, Denied, "AssertionRefused", false, &["assertionAudience"]),
        ("certificate", 400, JSON, r#"{"error":"invalid_client","error_description":"Unable to load public key"}"#, Denied, "AssertionRefused", false, &["register the key"]),
        ("certificate", 400, JSON, r#"{"error":"invalid_client","error_description":"Client authentication with signed JWT failed: Signature on JWT token failed validation"}"#, Denied, "AssertionRefused", false, &["register the key"]),
        ("certificate", 400, JSON, r#"{"error":"unauthorized_client","error_description":"Unexpected error when authenticating client"}"#, Invalid, "ClientAuthenticationUnsupported", false, &["clientAuthentication"]),
        ("password", 401, JSON, r#"{"error":"invalid_grant","error_description":"Invalid user credentials"}"#, Denied, "PasswordRefused", false, &["wrong or locked"]),
        ("exchange", 400, JSON, r#"{"error":"invalid_request","error_description":"Parameter 'subject_token' supports access tokens only"}"#, Denied, "SubjectTokenRefused", false, &["access tokens only"]),
        ("refresh", 400, JSON, r#"{"error":"invalid_grant","error_description":"Maximum allowed refresh token reuse exceeded"}"#, NeedsUser, "SignInRequired", false, &["kubectl apicred login"]),
        ("refresh", 400, JSON, r#"{"error":"invalid_grant","error_description":"Invalid refresh token. Token client and authorized client don't match"}"#, NeedsUser, "SignInRequired", false, &["kubectl apicred login"]),
        ("cc", 401, JSON, r#"{"error":"unauthorized_client"}"#, Denied, "ClientNotAuthorized", false, &[]),
        ("cc", 401, JSON, r#"{"error":"unauthorized_client","error_description":"Invalid client or Invalid client credentials"}"#, Denied, "ClientRefused", true, &["client secret", "clientAuthentication", "client_secret_post"]),
        ("exchange", 401, JSON, r#"{"error":"access_denied","error_description":"Client not allowed to exchange"}"#, Denied, "ClientNotAuthorized", false, &["not allowed to exchange"]),
        ("cc", 403, JSON, r#"{"error":"access_denied","error_description":"Client is not authorized to access \"https://api\". You need to create a \"client-grant\"."}"#, Denied, "ClientNotAuthorized", false, &["client-grant"]),
        ("cc", 403, JSON, r#"{"error":"access_denied","error_description":"Service not enabled within domain: https://nope"}"#, Invalid, "ResourceUnknown", false, &["https://nope"]),
        ("cc", 401, JSON, r#"{"error":"access_denied","error_description":"Unauthorized"}"#, Denied, "ClientRefused", true, &[]),
        ("exchange", 400, JSON, r#"{"error":"invalid_client","error_description":"Audience not found"}"#, Invalid, "ResourceUnknown", false, &["audience"]),
        ("exchange", 400, JSON, r#"{"error":"invalid_target"}"#, Invalid, "ResourceUnknown", false, &[]),
        ("cc", 401, JSON, r#"{"error":"invalid_client","error_description":"The OAuth 2.0 Client supports client authentication method 'client_secret_basic', but method 'client_secret_post' was requested."}"#, Invalid, "ClientAuthenticationUnsupported", false, &["clientAuthentication", "sent: client_secret_post"]),
        ("cc", 401, JSON, r#"{"error":"invalid_client","error_description":"Client secret has expired"}"#, Denied, "ClientSecretExpired", true, &[]),
        // Assertions and tokens that are exchanged.
        ("exchange", 400, JSON, r#"{"error":"invalid_request","error_description":"Invalid token"}"#, Denied, "SubjectTokenRefused", false, &["subject"]),
        ("exchange", 400, JSON, r#"{"error":"invalid_request"}"#, Denied, "SubjectTokenRefused", false, &["parameters"]),
        ("exchange", 400, JSON, r#"{"error":"invalid_grant"}"#, Denied, "SubjectTokenRefused", false, &[]),
        ("exchange", 401, JSON, r#"{"error":"invalid_token"}"#, Denied, "SubjectTokenRefused", false, &[]),
        ("exchange", 400, JSON, r#"{"error":"invalid_request","error_description":"Missing parameter: audience"}"#, Invalid, "InvalidRequest", false, &["Missing parameter"]),
        ("signed", 400, JSON, google, Denied, "AssertionRefused", false, &["deleted"]),
        ("signed", 400, JSON, r#"{"error":"invalid_grant","error_description":"Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe."}"#, Transient, "AssertionTimeRefused", false, &["clocks"]),
        ("signed", 400, JSON, r#"{"error":"invalid_grant","error_description":"Invalid JWT Signature."}"#, Denied, "AssertionRefused", false, &["registered"]),
        // The RFC 6749 text for the code contains "expired" among other causes.
        ("signed", 400, JSON, r#"{"error":"invalid_grant","error_description":"The provided authorization grant (e.g., authorization code, resource owner credentials) or refresh token is invalid, expired, revoked, does not match the redirection URI used in the authorization request, or was issued to another client. No public JWK was registered for the issuer."}"#, Denied, "AssertionRefused", false, &["No public JWK"]),
        ("certificate", 400, JSON, r#"{"error":"jti_known"}"#, Transient, "AssertionReplayed", false, &["new one"]),
        ("assertion", 400, JSON, r#"{"error":"jti_known"}"#, Denied, "AssertionRefused", false, &["put a fresh one"]),
        ("certificate", 401, JSON, r#"{"error":"invalid_client","error_description":"Token reuse detected"}"#, Transient, "AssertionReplayed", false, &[]),
        ("certificate", 401, JSON, r#"{"error":"unauthorized_client","error_description":"Client authentication with signed JWT failed: Invalid token audience"}"#, Denied, "AssertionRefused", false, &["assertionAudience"]),
        ("certificate", 401, JSON, r#"{"error":"invalid_client","error_description":"Token expiration is too far in the future"}"#, Transient, "AssertionTimeRefused", false, &[]),
        ("certificate", 401, JSON, r#"{"error":"invalid_client","error_description":"Invalid signature algorithm"}"#, Denied, "AssertionRefused", false, &["algorithm"]),
        ("account", 401, JSON, r#"{"error":"invalid_client"}"#, Denied, "ClientRefused", true, &["assertionAudience"]),
        // A secret that signs: errors about the assertion, and errors about a wrong secret.
        ("secret jwt", 401, JSON, r#"{"error":"invalid_client"}"#, Denied, "ClientRefused", true, &["client secret", "assertionAudience", "secretJwt"]),
        ("secret jwt", 401, JSON, r#"{"error":"invalid_client","error_description":"assertion audience is not acceptable"}"#, Denied, "AssertionRefused", false, &["assertionAudience"]),
        ("secret jwt", 401, JSON, r#"{"error":"invalid_client","error_description":"client assertion tokens must only be used once: jti"}"#, Transient, "AssertionReplayed", false, &[]),
        ("secret jwt", 401, JSON, r#"{"error":"invalid_client","error_description":"Token is not active"}"#, Transient, "AssertionTimeRefused", false, &[]),
        ("secret jwt", 401, JSON, r#"{"error":"invalid_client","error_description":"client secret is expired"}"#, Denied, "ClientSecretExpired", true, &[]),
        ("discovered", 401, JSON, r#"{"error":"invalid_client","error_description":"unexpected audience of the client assertion"}"#, Denied, "AssertionRefused", false, &["assertionAudience"]),
        ("discovered", 401, JSON, r#"{"error":"invalid_client","error_description":"the assertion is expired"}"#, Transient, "AssertionTimeRefused", false, &[]),
        ("discovered", 401, JSON, r#"{"error":"invalid_client","error_description":"client secret is expired"}"#, Denied, "ClientSecretExpired", true, &[]),
        // Products with their own codes.
        ("cc", 200, JSON, r#"{"error":"incorrect_client_credentials"}"#, Denied, "ClientRefused", true, &[]),
        ("cc", 200, JSON, r#"{"ok":false,"error":"invalid_auth"}"#, Denied, "ClientRefused", true, &[]),
        ("cc", 401, JSON, r#"{"errorCode":"E0000004","errorSummary":"Authentication failed"}"#, Denied, "ClientRefused", true, &["Authentication failed"]),
        ("cc", 405, JSON, r#"{"errorCode":"E0000022","errorSummary":"The endpoint does not support the provided HTTP method"}"#, Invalid, "EndpointNotFound", false, &[]),
        ("cc", 429, JSON, r#"{"errorCode":"E0000047"}"#, Throttled, "Throttled", false, &[]),
        ("cc", 401, JSON, r#"{"error":"unauthorized","error_description":"Bad credentials"}"#, Denied, "ClientRefused", true, &[]),
        ("cc", 403, JSON, r#"{"error":{"code":403,"message":"Permission denied on project","status":"PERMISSION_DENIED"}}"#, Denied, "AccessDenied", false, &["Permission denied on project"]),
        ("cc", 400, JSON, r#"{"status":"BAD_CLIENT_ID","message":"missing or unknown client id"}"#, Denied, "ClientUnknown", false, &[]),
        ("cc", 400, JSON, r#"{"reason":"Invalid client_id or client_secret","error":"invalid_client"}"#, Denied, "ClientRefused", true, &["Invalid client_id"]),
        ("cc", 400, JSON, r#"{"error":{"type":"invalid_request_error","message":"No such scope"}}"#, Invalid, "InvalidScope", false, &["No such scope"]),
        // DPoP.
        ("cc", 400, JSON, r#"{"error":"use_dpop_nonce"}"#, Invalid, "DpopRequired", false, &["turn DPoP off"]),
        ("cc", 400, JSON, r#"{"error":"invalid_dpop_proof"}"#, Invalid, "DpopRequired", false, &["turn DPoP off"]),
        ("cc", 401, JSON, r#"{"error":"invalid_client","error_description":"The DPoP proof is missing"}"#, Invalid, "DpopRequired", false, &["turn DPoP off"]),
        ("refresh", 400, JSON, r#"{"error":"invalid_dpop_proof"}"#, Invalid, "DpopRequired", false, &["turn DPoP off"]),
        // Answers of a server in between.
        ("cc", 200, HTML, page, Transient, "WebPageReceived", false, &["web page", "HTTP 200 (text/html)", "captive portal"]),
        ("cc", 403, HTML, page, Transient, "WebPageReceived", false, &["HTTP 403 (text/html)"]),
        ("cc", 401, HTML, page, Transient, "WebPageReceived", false, &[]),
        ("cc", 403, "", page, Transient, "WebPageReceived", false, &[]),
        ("cc", 404, HTML, page, Invalid, "EndpointNotFound", false, &["text/html"]),
        ("cc", 503, HTML, page, Transient, "IssuerUnavailable", false, &["text/html"]),
        ("password", 403, HTML, page, Transient, "WebPageReceived", false, &[]),
        ("mtls", 400, HTML, "<html>400 No required SSL certificate was sent <hr>nginx</html>", Denied, "CertificateRefused", true, &["client certificate"]),
        ("cc", 403, JSON, r#"{"message":"Forbidden"}"#, Denied, "GatewayRefused", false, &["AWS API Gateway"]),
        ("cc", 403, JSON, r#"{"message":"Missing Authentication Token"}"#, Denied, "GatewayRefused", false, &["AWS API Gateway"]),
        ("cc", 401, JSON, r#"{"statusCode":401,"message":"Access denied due to missing subscription key."}"#, Denied, "GatewayRefused", false, &["Azure API Management"]),
        ("cc", 401, JSON, r#"{"message":"No API key found in request"}"#, Denied, "GatewayRefused", false, &["Kong"]),
        ("cc", 404, JSON, r#"{"message":"no Route matched with those values"}"#, Invalid, "EndpointNotFound", false, &[]),
        ("cc", 403, TEXT, "RBAC: access denied", Denied, "GatewayRefused", false, &["Envoy or Istio", "text/plain"]),
        ("cc", 401, TEXT, "Jwt is missing", Denied, "GatewayRefused", false, &["Envoy or Istio"]),
        ("cc", 503, TEXT, "upstream connect error or disconnect/reset before headers", Transient, "IssuerUnavailable", false, &[]),
        ("cc", 403, TEXT, "error code: 1020", Denied, "GatewayRefused", false, &["Cloudflare"]),
        ("cc", 403, "", "", Denied, "AccessDenied", false, &["no OAuth error", "firewall"]),
        ("cc", 403, TEXT, "Forbidden", Denied, "AccessDenied", false, &["no OAuth error", "text/plain"]),
        ("cc", 403, JSON, r#"{"error":"strange"}"#, Denied, "AccessDenied", false, &["permissions"]),
        ("entra cc", 401, JSON, r#"{"error":"invalid_client","error_codes":[1,7000222]}"#, Denied, "ClientSecretExpired", true, &["AADSTS7000222"]),
        ("cc", 421, "", "", Transient, "IssuerUnavailable", false, &["between"]),
        ("cc", 425, "", "", Transient, "IssuerUnavailable", false, &["between"]),
        ("cc", 407, "", "", Transient, "ProxyCredentialsRefused", false, &["proxy"]),
        ("cc", 431, "", "", Invalid, "RequestTooLarge", false, &["size"]),
        ("cc", 413, HTML, "<html>413</html>", Invalid, "RequestTooLarge", false, &["size"]),
        ("cc", 451, "", "", Denied, "AccessDenied", false, &["legal"]),
        ("cc", 411, HTML, "<html>411</html>", Invalid, "EndpointNotFound", false, &[]),
        ("cc", 415, JSON, r#"{"message":"Unsupported Media Type"}"#, Invalid, "EndpointNotFound", false, &[]),
        ("cc", 405, "", "", Invalid, "EndpointNotFound", false, &[]),
        // The identity endpoint of a machine.
        ("entra machine", 400, JSON, r#"{"error":"invalid_request","error_description":"Identity not found"}"#, Invalid, "IdentityNotFound", false, &["objectId", "Identity not found"]),
        ("entra machine", 400, JSON, r#"{"error":"invalid_resource","error_description":"no such resource"}"#, Invalid, "ResourceUnknown", false, &["requested: scopes"]),
        ("entra machine", 400, JSON, r#"{"error":"invalid_resource","error_description":"AADSTS500011: The resource principal was not found","error_codes":[500011]}"#, Invalid, "ResourceUnknown", false, &["error?code=500011"]),
        ("entra machine", 400, JSON, r#"{"error":"invalid_grant","error_codes":[65001]}"#, Denied, "ConsentRequired", false, &["appRoleAssignments"]),
        ("entra machine", 410, JSON, "", Transient, "IdentityEndpointUnavailable", false, &[]),
        ("entra machine", 429, JSON, r#"{"error":"too_many_requests"}"#, Throttled, "Throttled", false, &[]),
        // Two other answers of each product.
        ("cc", 400, JSON, r#"{"errorCode":"invalid_client","errorSummary":"Invalid value for 'client_id' parameter.","errorLink":"invalid_client","errorId":"oae1","errorCauses":[]}"#, Denied, "ClientUnknown", false, &["client.id"]),
        ("cc", 400, JSON, r#"{"error":"invalid_scope","error_description":"One or more scopes are not configured for the authorization server resource."}"#, Invalid, "InvalidScope", false, &[]),
        ("cc", 400, JSON, r#"{"error":"access_denied","error_description":"Policy evaluation failed for this request, please check the policy configurations."}"#, Denied, "AccessDenied", false, &["Policy evaluation"]),
        ("cc", 400, JSON, r#"{"error":"unauthorized_client","error_description":"The client is not authorized to use the provided grant type. Configured grant types: [authorization_code]."}"#, Denied, "ClientNotAuthorized", false, &[]),
        ("certificate", 401, JSON, r#"{"error":"invalid_client","error_description":"The audience claim for client_assertion must be the endpoint invoked for the request."}"#, Denied, "AssertionRefused", false, &["assertionAudience"]),
        ("cc", 403, JSON, r#"{"error":"unauthorized_client","error_description":"Grant type 'client_credentials' not allowed for the client."}"#, Denied, "ClientNotAuthorized", false, &[]),
        ("refresh", 403, JSON, r#"{"error":"invalid_grant","error_description":"Unknown or invalid refresh token."}"#, NeedsUser, "SignInRequired", false, &[]),
        ("cc", 401, JSON, r#"{"error":"invalid_client","error_description":"Invalid client or client credentials."}"#, Denied, "ClientRefused", true, &[]),
        ("cc", 401, JSON, r#"{"error":"invalid_client","error_description":"Request denied: Unsupported authentication method (Correlation ID: 6f1c8f0e-8a3d-4b7e-9c55-0d2f1e6a7b8c)"}"#, Invalid, "ClientAuthenticationUnsupported", false, &["clientAuthentication"]),
        ("cc", 401, JSON, r#"{"error":"invalid_client","error_description":"Client authentication failed"}"#, Denied, "ClientRefused", true, &[]),
        ("cc", 400, JSON, r#"{"error":"invalid_scope","error_description":"Unknown/invalid scope(s): [x]"}"#, Invalid, "InvalidScope", false, &[]),
        ("cc", 401, JSON, r#"{"error":"invalid_client","error_description":"The OAuth client was not found."}"#, Denied, "ClientUnknown", false, &[]),
        ("refresh", 400, JSON, r#"{"error":"invalid_grant","error_description":"Token has been expired or revoked."}"#, NeedsUser, "SignInRequired", false, &[]),
        ("exchange", 400, JSON, r#"{"error":"invalid_target","error_description":"The target service indicated by the \"audience\" parameters is invalid. This might either be because the pool or provider is disabled or deleted or because it doesn't exist."}"#, Invalid, "ResourceUnknown", false, &[]),
        ("cc", 400, JSON, r#"{"error":"invalid_client_id","error_description":"client identifier invalid"}"#, Denied, "ClientUnknown", false, &[]),
        ("cc", 400, JSON, r#"{"error":"unknown_error","error_description":"retry your request"}"#, Transient, "IssuerUnavailable", false, &["tries again"]),
        ("password", 400, JSON, r#"{"error":"invalid_grant","error_description":"authentication failure"}"#, Denied, "PasswordRefused", false, &[]),
        ("cc", 400, JSON, r#"{"error":"invalid_grant","error_description":"request not supported on this domain"}"#, Denied, "GrantRefused", false, &["this domain"]),
        ("cc", 400, JSON, r#"{"reason":"unsupported grant type","error":"unsupported_grant_type"}"#, Invalid, "GrantNotSupported", false, &[]),
        ("cc", 400, JSON, r#"{"reason":"Bad Request","error":"invalid_request"}"#, Invalid, "InvalidRequest", false, &[]),
        ("cc", 400, JSON, r#"{"error":"invalid_client","error_description":"invalid_client_secret"}"#, Denied, "ClientRefused", true, &[]),
        ("cc", 400, JSON, r#"{"__type":"NotAuthorizedException","message":"Unable to verify secret hash for client"}"#, Denied, "ClientRefused", true, &[]),
        ("cc", 400, JSON, r#"{"__type":"ResourceNotFoundException","message":"User pool client does not exist."}"#, Denied, "ClientUnknown", false, &[]),
        ("cc", 404, JSON, r#"{"error":"Not Found"}"#, Invalid, "EndpointNotFound", false, &[]),
        ("cc", 200, JSON, r#"{"error":"unsupported_grant_type","error_description":"The grant type must be either authorization_code or refresh_token"}"#, Invalid, "GrantNotSupported", false, &[]),
        ("cc", 401, JSON, r#"{"error":"invalid_client","error_description":"Client authentication failed due to unknown client, no client authentication included, or unsupported authentication method."}"#, Denied, "ClientRefused", true, &["client secret"]),
        ("refresh", 400, JSON, r#"{"error":"invalid_grant","error_description":"The provided authorization grant is invalid, expired, revoked, does not match the redirection URI used in the authorization request, or was issued to another client."}"#, NeedsUser, "SignInRequired", false, &[]),
        ("cc", 400, JSON, r#"{"error":"invalid_grant","error_description":"AADB2C90085: The service has encountered an internal error. Please reauthenticate and try again."}"#, Denied, "GrantRefused", false, &["AADB2C90085"]),
        ("cc", 400, JSON, r#"{"error":"invalid_grant","error_description":"AADB2C90081: The specified client_secret does not match the expected value for this client. Please correct the client_secret and try again."}"#, Denied, "ClientRefused", true, &[]),
        ("cc", 400, JSON, r#"{"error":"invalid_request","error_description":"AADB2C90068: The provided application with ID 'x' is not valid against this service. Please use an application created via the B2C portal and try again."}"#, Denied, "ClientUnknown", false, &[]),
        ("refresh", 400, JSON, r#"{"error":"invalid_grant","error_description":"AADB2C90080: The provided grant has expired. Please re-authenticate and try again."}"#, NeedsUser, "SignInRequired", false, &[]),
        ("cc", 400, JSON, r#"{"error":"invalid_client","error_description":"MSIS9622: Client authentication failed. Please verify the credential provided for client authentication is valid."}"#, Denied, "ClientRefused", true, &[]),
        ("cc", 400, JSON, r#"{"error":"unauthorized_client","error_description":"MSIS9321: Received invalid OAuth request. The client 'c' is forbidden to access the resource 'r'."}"#, Denied, "ClientNotAuthorized", false, &["forbidden to access"]),
        ("refresh", 400, JSON, r#"{"error":"invalid_grant","error_description":"MSIS9615: The refresh token received in 'refresh_token' parameter has expired."}"#, NeedsUser, "SignInRequired", false, &[]),
        ("cc", 401, JSON, r#"{"error":"invalid_client","error_description":"Invalid client credentials."}"#, Denied, "ClientRefused", true, &[]),
        ("cc", 400, JSON, r#"{"error":"invalid_client","error_description":"client not found"}"#, Denied, "ClientUnknown", false, &[]),
        ("account", 500, JSON, r#"{"error":"server_error","error_description":"Errors.Internal"}"#, Transient, "IssuerUnavailable", false, &[]),
        ("cc", 401, JSON, r#"{"ErrorCode" : "invalid_client", "Error" :"ClientId is Invalid"}"#, Denied, "ClientUnknown", false, &["ClientId is Invalid"]),
        ("cc", 401, JSON, r#"{"ErrorCode" : "invalid_client", "Error" :"Client credentials are invalid"}"#, Denied, "ClientRefused", true, &[]),
        ("cc", 401, JSON, r#"{"fault":{"faultstring":"Invalid client identifier {0}","detail":{"errorcode":"oauth.v2.InvalidClientIdentifier"}}}"#, Denied, "ClientUnknown", false, &["Invalid client identifier"]),
        ("cc", 401, JSON, r#"{"fault":{"faultstring":"Invalid ApiKey","detail":{"errorcode":"policies.ratelimit.x"}}}"#, Denied, "GatewayRefused", false, &["Apigee"]),
        ("cc", 401, JSON, r#"{"error_description":"A valid OAuth client could not be found for client_id: x","error":"invalid_client"}"#, Denied, "ClientUnknown", false, &[]),
        ("cc", 400, JSON, r#"{"error": "invalid_client: Invalid client_id or client_secret"}"#, Denied, "ClientRefused", true, &["invalid_client"]),
        ("cc", 401, JSON, r#"{"error":"INVALID_CLIENT","errorDescription":"no"}"#, Denied, "ClientRefused", true, &["invalid_client"]),
        ("refresh", 400, JSON, r#"{"error":"Invalid_Grant"}"#, NeedsUser, "SignInRequired", false, &[]),
        ("cc", 401, JSON, r#"{"timestamp":"2026-01-01T00:00:00Z","status":401,"error":"Unauthorized","path":"/oauth/token"}"#, Denied, "ClientRefused", true, &[]),
        ("cc", 400, JSON, r#"{"name":"AUTHENTICATION_FAILURE","message":"Authentication failed due to invalid authentication credentials."}"#, Denied, "ClientRefused", true, &[]),
        ("signed", 400, JSON, r#"{"error":"no_valid_keys_or_signatures"}"#, Denied, "AssertionRefused", false, &[]),
        ("signed", 400, JSON, r#"{"error":"consent_required"}"#, Denied, "ConsentRequired", false, &[]),
        ("cc", 401, JSON, r#"{"error":"invalid_client","error_description":"Client authentication failed","message":"Client authentication failed"}"#, Denied, "ClientRefused", true, &[]),
        ("cc", 404, JSON, r#"{ "statusCode": 404, "message": "Resource not found" }"#, Invalid, "EndpointNotFound", false, &[]),
        ("cc", 403, JSON, r#"{"statusCode":403,"message":"Out of call volume quota. Quota will be replenished in 01:02:03."}"#, Denied, "GatewayRefused", false, &["Azure API Management"]),
        ("cc", 429, TEXT, "error code: 1015", Throttled, "Throttled", false, &[]),
        ("cc", 522, TEXT, "error code: 522", Transient, "IssuerUnavailable", false, &[]),
        ("cc", 403, HTML, "<!DOCTYPE html><html lang=\"en-US\"><head><title>Just a moment...</title>", Transient, "WebPageReceived", false, &["firewall"]),
        ("cc", 200, HTML, "<html><head><title>Zscaler makes the internet safe for businesses</title></head></html>", Transient, "WebPageReceived", false, &["captive portal"]),
        ("cc", 307, HTML, "", Invalid, "RedirectRefused", false, &["redirects"]),
        // A text without a code: in place of the code, next to it, nested, in a list, in a problem document (RFC 9457), alone.
        ("cc", 400, JSON, r#"{"error":"Invalid parameter: redirect_uri"}"#, Invalid, "RedirectUriMismatch", false, &["says: \"Invalid parameter: redirect_uri\""]),
        ("cc", 400, JSON, r#"{"error":"The client secret supplied is wrong"}"#, Denied, "ClientRefused", true, &["says: \"The client secret supplied"]),
        ("cc", 400, JSON, r#"{"error":"Client secret has expired"}"#, Denied, "ClientSecretExpired", true, &[]),
        ("cc", 400, JSON, r#"{"error":"Unknown client 4711"}"#, Denied, "ClientUnknown", false, &["Unknown client"]),
        ("cc", 403, JSON, r#"{"error":"Client is disabled"}"#, Denied, "ClientDisabled", false, &["Client is disabled"]),
        ("cc", 400, JSON, r#"{"error":"Client not allowed for this grant type"}"#, Denied, "ClientNotAuthorized", false, &[]),
        ("cc", 400, JSON, r#"{"error":"Grant type foo is unknown"}"#, Invalid, "GrantNotSupported", false, &[]),
        ("cc", 400, JSON, r#"{"error":"Missing parameter: grant_type"}"#, Invalid, "InvalidRequest", false, &["Missing parameter"]),
        ("cc", 400, JSON, r#"{"error":"Something odd"}"#, Invalid, "RequestRefused", false, &["says: \"Something odd\""]),
        ("cc", 400, JSON, r#"{"error":"BadThing"}"#, Invalid, "RequestRefused", false, &["says: \"BadThing\""]),
        ("cc", 401, JSON, r#"{"error":"BadThing"}"#, Denied, "ClientRefused", true, &["BadThing"]),
        ("cc", 400, JSON, r#"{"error":400,"message":"Scope read is not known"}"#, Invalid, "InvalidScope", false, &["Scope read is not known"]),
        ("cc", 404, JSON, r#"{"error":"404","message":"Nothing here"}"#, Invalid, "EndpointNotFound", false, &["Nothing here"]),
        ("cc", 400, JSON, r#"{"error":true,"message":"Unknown audience"}"#, Invalid, "ResourceUnknown", false, &["Unknown audience"]),
        ("cc", 400, JSON, r#"{"error":"error","msg":"no such application"}"#, Denied, "ClientUnknown", false, &["no such application"]),
        ("cc", 400, JSON, r#"{"error":{"message":"Invalid client_secret"}}"#, Denied, "ClientRefused", true, &["Invalid client_secret"]),
        ("cc", 400, JSON, r#"{"error":{"code":1042,"reason":"the scope is not known"}}"#, Invalid, "InvalidScope", false, &["the scope is not known"]),
        ("cc", 400, JSON, r#"{"error":["Unknown scope"]}"#, Invalid, "InvalidScope", false, &["Unknown scope"]),
        ("cc", 400, JSON, r#"{"errors":["Unknown scope"]}"#, Invalid, "InvalidScope", false, &["Unknown scope"]),
        ("cc", 400, JSON, r#"{"errors":[{"title":"Invalid Attribute","detail":"scope must be one of a, b"}]}"#, Invalid, "InvalidScope", false, &["scope must be one of"]),
        ("cc", 422, JSON, r#"{"errors":{"scope":["The selected value is not one of ours."]}}"#, Invalid, "InvalidRequest", false, &["not one of ours"]),
        ("cc", 422, JSON, r#"{"detail":[{"loc":["body","grant_type"],"msg":"Field required","type":"missing"}]}"#, Invalid, "InvalidRequest", false, &["Field required"]),
        ("cc", 400, JSON, r#"[{"message":"This application is blocked","errorCode":"APP_BLOCKED"}]"#, Denied, "ClientDisabled", false, &["This application is blocked"]),
        ("cc", 401, "application/problem+json", r#"{"type":"about:blank","title":"Unauthorized","status":401}"#, Denied, "ClientRefused", true, &["problem+json", "says: \"Unauthorized\""]),
        ("cc", 403, "application/problem+json", r#"{"type":"https://example.com/probs/x","title":"Forbidden","status":403,"detail":"The client may not use this resource server"}"#, Denied, "ClientNotAuthorized", false, &["may not use"]),
        ("cc", 400, "application/problem+json", r#"{"type":"urn:ietf:params:oauth:error:invalid-scope","title":"No"}"#, Invalid, "InvalidScope", false, &["says: \"No\""]),
        ("cc", 400, JSON, r#"{"statusCode":400,"message":["scope must be a string"],"error":"Bad Request"}"#, Invalid, "InvalidScope", false, &["scope must be a string"]),
        ("cc", 400, JSON, r#"{"fault":{"faultstring":"Rate limit exceeded","detail":{"errorcode":"oauth.v2.Strange"}}}"#, Throttled, "Throttled", false, &["Rate limit"]),
        ("cc", 400, JSON, r#"{"fault":"Unknown client"}"#, Denied, "ClientUnknown", false, &["Unknown client"]),
        ("cc", 400, JSON, r#"{"strange":"1"}"#, Invalid, "RequestRefused", false, &[]),
        ("cc", 400, TEXT, "Unknown scope: read", Invalid, "InvalidScope", false, &["says: \"Unknown scope: read\""]),
        ("cc", 400, JSON, r#""the client does not exist""#, Denied, "ClientUnknown", false, &["the client does not exist"]),
        ("cc", 200, JSON, r#"{"error":"Client not registered here"}"#, Denied, "ClientUnknown", false, &["Client not registered here"]),
        ("refresh", 400, JSON, r#"{"error":"Refresh token expired"}"#, NeedsUser, "SignInRequired", false, &["kubectl apicred login", "Refresh token expired"]),
        ("refresh", 400, JSON, r#"{"message":"The refresh token is revoked"}"#, NeedsUser, "SignInRequired", false, &["revoked"]),
        ("refresh", 400, JSON, r#"{"error":"Something odd"}"#, Invalid, "RequestRefused", false, &["Something odd"]),
        ("password", 400, JSON, r#"{"error":"Wrong username or password"}"#, Denied, "PasswordRefused", false, &["Wrong username"]),
        ("exchange", 400, JSON, r#"{"message":"subject_token is not valid"}"#, Denied, "SubjectTokenRefused", false, &["subject_token is not valid"]),
        ("certificate", 400, JSON, r#"{"message":"client_assertion has the wrong audience"}"#, Denied, "AssertionRefused", false, &["assertionAudience"]),
        // Unknown errors are reported as unknown, with their code.
        ("cc", 400, JSON, r#"{"error":"strange_word","error_description":"because"}"#, Invalid, "RequestRefused", false, &["strange_word", "because"]),
    ];
    let mut wrong = Vec::new();
    for (name, status, kind, body, class, reason, about_client, phrases) in rows {
        let token_error = refused(name, &raw(*status, kind, body.as_bytes()));
        let message = token_error.message();
        let case = format!("{name} {status} {body}: {message}");
        let seen = (
            token_error.class,
            token_error.reason.as_str(),
            token_error.about_client,
        );
        let missing: Vec<_> = phrases.iter().filter(|p| !message.contains(**p)).collect();
        if seen != (*class, *reason, *about_client) || !missing.is_empty() {
            wrong.push(format!("{seen:?} without {missing:?}: {case}"));
        }
        assert!(message.contains(&format!("HTTP {status}")), "{case}");
        let user = name.ends_with("refresh") || *name == "obo";
        if !user {
            assert_ne!(token_error.class, NeedsUser, "{case}");
            assert!(!message.contains("apicred login"), "{case}");
        }
        let password = name.ends_with("password");
        let waits = matches!(token_error.class, Denied | Invalid);
        assert_eq!(token_error.until_change, password && waits, "{case}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_answer_to_any_grant_has_a_message_without_bounds_or_with_a_secret(
        wire in hostile::any_answer(), name in prop::sample::select(GRANTS.to_vec()),
        secret in "[A-Za-z0-9~_.+/=-]{12,80}", quoted in "[ -~\\PC]{0,300}", status in prop::sample::select(vec![200_u16, 400, 401, 403, 500]),
    ) {
        let credential = named(name);
        let echo = SentSecrets::of(&sent(&named("cc"), &secret));
        let repeated = json!({ "error": "invalid_client", "error_description": format!("{quoted}{secret}{quoted}"), "message": secret });
        let said = raw(status, JSON, repeated.to_string().as_bytes());
        for answer in [hostile::raw(&wire), said] {
            let Err(token_error) = answer_to(&credential, &answer, at(0), at(1)) else { continue };
            let message = explained(token_error, &credential, &answer, &echo, at(1)).message();
            prop_assert!(message.len() < 4096 && !message.chars().any(char::is_control), "{message}");
            prop_assert!(!message.contains(&secret[..8]), "{message}");
        }
    }
}
