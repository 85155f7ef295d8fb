//! Answers of servers that were tested with each client authentication method, each of their grants, and the usual mistakes:
//! Spring Authorization Server 1.5, Authlib 1.9, django-oauth-toolkit 3.4 (oauthlib 4.0) and mock-oauth2-server 2.1; and the
//! messages about assertions of libraries that servers use. A row is a line.

use super::{
    answer::raw,
    kinds::{JSON, Row, TEXT, refused},
};
use crate::oauth::{
    Class::{Denied, Invalid, NeedsUser, Transient},
    RawAnswer,
};

#[rustfmt::skip]
const ROWS: &[Row<'_>] = &[
    // Spring: only codes, no text.
    ("cc", 401, JSON, r#"{"error":"invalid_client"}"#, Denied, "ClientRefused", true, &["client secret", "clientAuthentication"]),
    ("mtls", 401, JSON, r#"{"error":"invalid_client"}"#, Denied, "ClientRefused", true, &["certificate", "subject", "tls.crt"]),
    ("certificate", 401, JSON, r#"{"error":"invalid_client"}"#, Denied, "ClientRefused", true, &["assertionAudience", "algorithm", "registered key"]),
    ("cc", 400, JSON, r#"{"error":"unauthorized_client"}"#, Denied, "ClientNotAuthorized", false, &["allow it there"]),
    ("exchange", 400, JSON, r#"{"error":"unauthorized_client"}"#, Denied, "ClientNotAuthorized", false, &["grant"]),
    ("cc", 400, JSON, r#"{"error_description":"OAuth 2.0 Parameter: grant_type","error":"unsupported_grant_type","error_uri":"https://datatracker.ietf.org/doc/html/rfc6749#section-5.2"}"#, Invalid, "GrantNotSupported", false, &[]),
    ("refresh", 400, JSON, r#"{"error":"invalid_grant"}"#, NeedsUser, "SignInRequired", false, &["kubectl apicred login"]),
    ("exchange", 400, JSON, r#"{"error":"invalid_grant"}"#, Denied, "SubjectTokenRefused", false, &["audience"]),
    ("exchange", 400, JSON, r#"{"error_description":"OAuth 2.0 Token Exchange parameter: subject_token_type","error":"unsupported_token_type","error_uri":"https://datatracker.ietf.org/doc/html/rfc8693#section-3"}"#, Invalid, "SubjectTokenRefused", false, &["tokenType", "requestedTokenType"]),
    // The answer for a client of a grant that the server enables for no client has no body.
    ("refresh", 401, "", "", Denied, "ClientRefused", true, &["client.id"]),
    ("public", 401, "", "", Denied, "ClientRefused", false, &["client.id", "public client", "client.secrets"]),
    ("public", 401, JSON, r#"{"error":"invalid_client"}"#, Denied, "ClientRefused", false, &["public client"]),
    ("public", 400, JSON, r#"{"error":"unauthorized_client"}"#, Denied, "ClientNotAuthorized", false, &["grant"]),
    ("public", 400, JSON, r#"{"error":"invalid_grant"}"#, NeedsUser, "SignInRequired", false, &["kubectl apicred login"]),
    // Authlib: texts that repeat every method it knows.
    ("cc", 401, JSON, r#"{"error":"invalid_client","error_description":"The client cannot authenticate with methods: ['client_secret_basic', 'client_secret_post', 'client_assertion_jwt']"}"#, Denied, "ClientRefused", true, &["client secret", "clientAuthentication"]),
    ("discovered", 401, JSON, r#"{"error":"invalid_client","error_description":"The client cannot authenticate with methods: ['client_secret_basic', 'client_assertion_jwt']"}"#, Denied, "ClientRefused", true, &["client secret"]),
    ("cc", 401, JSON, r#"{"error":"invalid_client","error_description":"The client does not exist on this server."}"#, Denied, "ClientUnknown", false, &["client.id"]),
    ("certificate", 400, JSON, r#"{"error":"invalid_client","error_description":"The client does not exist on this server."}"#, Denied, "ClientUnknown", false, &["client.id"]),
    ("assertion", 400, JSON, r#"{"error":"invalid_grant","error_description":"The client does not exist on this server."}"#, Denied, "AssertionRefused", false, &["does not exist"]),
    ("cc", 400, JSON, r#"{"error":"unauthorized_client","error_description":"The client is not authorized to use 'grant_type=client_credentials'"}"#, Denied, "ClientNotAuthorized", false, &["grant_type=client_credentials"]),
    ("refresh", 400, JSON, r#"{"error":"unauthorized_client","error_description":"The client is not authorized to use 'grant_type=refresh_token'"}"#, Denied, "ClientNotAuthorized", false, &["grant"]),
    ("password", 400, JSON, r#"{"error":"unauthorized_client","error_description":"The client is not authorized to use 'grant_type=password'"}"#, Denied, "ClientNotAuthorized", false, &["grant"]),
    ("password", 400, JSON, r#"{"error":"invalid_request","error_description":"Invalid 'username' or 'password' in request."}"#, Denied, "PasswordRefused", false, &["wrong or locked"]),
    ("cc", 400, JSON, r#"{"error":"invalid_scope","error_description":"The requested scope is invalid, unknown, or malformed."}"#, Invalid, "InvalidScope", false, &["requested: scopes"]),
    ("certificate", 400, JSON, r#"{"error":"invalid_client","error_description":"Invalid claim: 'aud'"}"#, Denied, "AssertionRefused", false, &["assertionAudience"]),
    ("certificate", 400, JSON, r#"{"error":"invalid_client","error_description":"JWT ID is used before."}"#, Transient, "AssertionReplayed", false, &[]),
    ("certificate", 400, JSON, r#"{"error":"invalid_client","error_description":"No key for kid: 'zz'"}"#, Denied, "AssertionRefused", true, &["register the key", "keyId"]),
    ("certificate", 400, JSON, r#"{"error":"invalid_client","error_description":"The token is expired"}"#, Transient, "AssertionTimeRefused", false, &["clocks"]),
    ("secret jwt", 400, JSON, r#"{"error":"invalid_client","error_description":"The token is not yet valid"}"#, Transient, "AssertionTimeRefused", false, &["clocks"]),
    ("secret jwt", 400, JSON, r#"{"error":"invalid_client","error_description":"Invalid claim: 'aud'"}"#, Denied, "AssertionRefused", false, &["assertionAudience"]),
    ("secret jwt", 400, JSON, r#"{"error":"invalid_client"}"#, Denied, "ClientRefused", true, &["client secret"]),
    ("signed", 400, JSON, r#"{"error":"invalid_grant","error_description":"Invalid claim: 'aud'"}"#, Denied, "AssertionRefused", false, &["audience"]),
    ("signed", 400, JSON, r#"{"error":"invalid_grant","error_description":"Invalid 'sub' value in assertion"}"#, Denied, "AssertionRefused", false, &["subject"]),
    ("signed", 400, JSON, r#"{"error":"invalid_grant","error_description":"The token is expired"}"#, Transient, "AssertionTimeRefused", false, &["clocks"]),
    ("assertion", 400, JSON, r#"{"error":"invalid_grant","error_description":"Invalid JWT assertion."}"#, Denied, "AssertionRefused", false, &["Secret"]),
    // django-oauth-toolkit: only codes, and a challenge for Bearer.
    ("password", 400, JSON, r#"{"error":"invalid_grant","error_description":"Invalid credentials given."}"#, Denied, "PasswordRefused", false, &["wrong or locked"]),
    ("password", 400, JSON, r#"{"error":"unauthorized_client"}"#, Denied, "ClientNotAuthorized", false, &["grant"]),
    ("cc", 400, JSON, r#"{"error":"invalid_scope"}"#, Invalid, "InvalidScope", false, &["spec.scopes"]),
    // mock-oauth2-server: Nimbus in lower case.
    ("cc", 401, JSON, r#"{"error_description":"client authentication failed: missing client authentication","error":"invalid_client"}"#, Invalid, "ClientAuthenticationUnsupported", false, &["clientAuthentication"]),
    ("certificate", 400, JSON, r#"{"error_description":"invalid request: invalid client_assertion jwt: invalid serialized unsecured/jws/jwe object: missing part delimiters","error":"invalid_request"}"#, Denied, "AssertionRefused", false, &["assertion"]),
    ("assertion", 400, JSON, r#"{"error_description":"invalid request: the assertion is not a jwt","error":"invalid_request"}"#, Denied, "AssertionRefused", false, &["Secret"]),
    ("exchange", 400, JSON, r#"{"error_description":"invalid request","error":"invalid_request"}"#, Denied, "SubjectTokenRefused", false, &["parameters"]),
    ("cc", 400, JSON, r#"{"error_description":"invalid grant","error":"invalid_grant"}"#, Denied, "GrantRefused", false, &["grant"]),
    ("cc", 404, "text/html; charset=utf-8", "<!doctype html><html lang=en><title>404 Not Found</title><h1>Not Found</h1></html>", Invalid, "EndpointNotFound", false, &["slash at the end of tokenUrl"]),
    ("discovered", 404, JSON, "", Invalid, "EndpointNotFound", false, &["correct the issuer"]),
    ("cc", 405, "", "method not allowed", Invalid, "EndpointNotFound", false, &[]),
    ("cc", 405, TEXT, "method not allowed", Invalid, "EndpointNotFound", false, &[]),
    // Messages of libraries about the assertion of a client: Nimbus, jose4j, jose, jsonwebtoken, PyJWT, go-jose, Ruby's jwt.
    ("certificate", 401, JSON, r#"{"error":"invalid_client","error_description":"Signed JWT rejected: Another algorithm expected, or no matching key(s) found"}"#, Denied, "AssertionRefused", true, &["register the key"]),
    ("certificate", 401, JSON, r#"{"error":"invalid_client","error_description":"Signed JWT rejected: Invalid signature"}"#, Denied, "AssertionRefused", true, &["register the key"]),
    ("certificate", 401, JSON, r#"{"error":"invalid_client","error_description":"no applicable key found in the JSON Web Key Set"}"#, Denied, "AssertionRefused", true, &["register the key"]),
    ("certificate", 401, JSON, r#"{"error":"invalid_client","error_description":"signature verification failed"}"#, Denied, "AssertionRefused", true, &["register the key"]),
    ("certificate", 401, JSON, r#"{"error":"invalid_client","error_description":"Unable to find a signing key that matches: \"k1\""}"#, Denied, "AssertionRefused", true, &["register the key"]),
    ("certificate", 401, JSON, r#"{"error":"invalid_client","error_description":"Signature has expired"}"#, Transient, "AssertionTimeRefused", false, &[]),
    ("certificate", 401, JSON, r#"{"error":"invalid_client","error_description":"The JWT is no longer valid - the evaluation time is on or after the Expiration Time"}"#, Transient, "AssertionTimeRefused", false, &[]),
    ("certificate", 401, JSON, r#"{"error":"invalid_client","error_description":"validation failed, token not valid yet (nbf)"}"#, Transient, "AssertionTimeRefused", false, &[]),
    ("certificate", 401, JSON, r#"{"error":"invalid_client","error_description":"unexpected \"aud\" claim value"}"#, Denied, "AssertionRefused", false, &["assertionAudience"]),
    ("certificate", 401, JSON, r#"{"error":"invalid_client","error_description":"\"exp\" claim timestamp check failed"}"#, Transient, "AssertionTimeRefused", false, &[]),
    ("certificate", 401, JSON, r#"{"error":"invalid_client","error_description":"jwt audience invalid. expected: https://as.example.com"}"#, Denied, "AssertionRefused", false, &["assertionAudience"]),
    ("certificate", 401, JSON, r#"{"error":"invalid_client","error_description":"The jti was used once"}"#, Transient, "AssertionReplayed", false, &[]),
    ("certificate", 401, JSON, r#"{"error":"invalid_client","error_description":"Client assertion has been used before"}"#, Transient, "AssertionReplayed", false, &[]),
    // Product codes in addition to those of OAuth.
    ("cc", 401, JSON, r#"{"errorCode":"E0000004","errorSummary":"Authentication failed"}"#, Denied, "ClientRefused", true, &["E0000004:"]),
    ("cc", 400, JSON, r#"{"errorCode":"BXNIM0415E","errorMessage":"Provided API key could not be found.","context":{"requestId":"cWl0-3b"}}"#, Denied, "ClientRefused", true, &["HTTP 400, BXNIM0415E:", "could not be found"]),
    ("refresh", 400, JSON, r#"{"error":"invalid_grant","error_description":"reauth related error (invalid_rapt)","error_subtype":"invalid_rapt"}"#, NeedsUser, "SignInRequired", false, &["invalid_grant, invalid_rapt:"]),
    ("cc", 400, JSON, r#"{"error":"invalid_client","error_description":"MSIS9622: Client authentication failed. Please verify the credential provided for client authentication is valid."}"#, Denied, "ClientRefused", true, &["invalid_client, MSIS9622:"]),
    ("cc", 401, JSON, r#"{"error":"invalid_client","error_description":"CSIAQ0155E The client was not found or is not valid"}"#, Denied, "ClientUnknown", false, &["CSIAQ0155E"]),
    // The same text about a secret that is sent is not about an assertion.
    ("cc", 401, JSON, r#"{"error":"invalid_client","error_description":"This client secret was used before it is valid"}"#, Denied, "ClientRefused", true, &[]),
];

#[test]
fn each_answer_that_was_seen_has_its_class_its_reason_and_its_message() {
    let mut wrong = Vec::new();
    for (name, status, kind, body, class, reason, client, phrases) in ROWS {
        let token_error = refused(name, &raw(*status, kind, body.as_bytes()));
        let seen = (
            token_error.class,
            token_error.reason.as_str(),
            token_error.about_client,
        );
        let message = token_error.message();
        let lacks = phrases.iter().any(|p| !message.contains(p));
        if seen != (*class, *reason, *client) || lacks {
            wrong.push(format!("{name} {status} {body}\n  {seen:?} {message}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_redirect_to_a_login_page_is_no_matter_of_a_url_that_has_moved() {
    // Spring and Django answer this for a path that does not exist there; proxies for every path before a sign-in.
    for (location, login) in [
        ("https://as.example.com/login", true),
        ("https://as.example.com/login;jsessionid=48E294B432EF", true),
        ("/accounts/login/?next=/o/tokens/", true),
        ("/oauth2/sign_in?rd=%2F", true),
        (
            "https://team.cloudflareaccess.com/cdn-cgi/access/login/x",
            true,
        ),
        ("https://login.example.com/signin/oauth", true),
        ("https://sso.example.com/saml2/idp", true),
        ("https://as.example.com/token/", false),
        ("https://login.example.com/oauth2/token", false),
        ("https://as.example.com/blog/logins-of-today", false),
        ("", false),
    ] {
        let answer = RawAnswer {
            location: Some(location.to_owned()),
            ..raw(302, "", b"")
        };
        for name in ["cc", "refresh", "certificate"] {
            let token_error = refused(name, &answer);
            assert_eq!(
                (token_error.class, token_error.reason.as_str()),
                (Invalid, "RedirectRefused")
            );
            let message = token_error.message();
            assert_eq!(
                message.contains("login page"),
                login,
                "{location}: {message}"
            );
            assert!(!message.contains("48E294B432EF"), "{message}");
        }
    }
}

#[test]
fn a_redirect_that_only_adds_or_removes_a_slash_is_reported_as_such() {
    for (location, expected) in [
        ("/token/", "the same URL with a slash at its end"),
        (
            "https://as.example.com/token/",
            "the same URL with a slash at its end",
        ),
        ("/tokens/", "another path of the same server"),
        ("/v2/token/", "another path of the same server"),
        (
            "https://other.example.com/token/",
            "it leads to https://other.example.com",
        ),
    ] {
        let answer = RawAnswer {
            location: Some(location.to_owned()),
            ..raw(301, "", b"")
        };
        let message = refused("cc", &answer).message();
        assert!(message.contains(expected), "{location}: {message}");
    }
}
