//! Answers whose text, and not their code or form, shows what is wrong: throttling, a wrong client secret, a dead refresh token, a
//! signature, and passwords that a web server refuses.

use super::*;

/// Grant, status, media type, body.
type Case<'a> = (&'a str, u16, &'a str, &'a str);

fn of(case: &Case<'_>) -> TokenError {
    let (name, status, kind, body) = case;
    refused(name, &raw(*status, kind, body.as_bytes()))
}

/// The reason, the class, whether the next entry of the client is tried, and whether a timer tries again.
fn short(case: &Case<'_>) -> String {
    let seen = of(case);
    let (reason, class) = (seen.reason.as_str(), seen.class);
    let next = if seen.about_client { " next" } else { "" };
    let stops = if seen.until_change { " stops" } else { "" };
    format!("{reason} {class:?}{next}{stops}")
}

fn check(rows: &[(Case<'_>, &str)]) {
    let all = rows
        .iter()
        .map(|(case, expected)| (short(case), *expected, case));
    let wrong: Vec<String> = all
        .filter(|(seen, expected, _)| seen != expected)
        .map(|(seen, expected, case)| format!("{seen}, not {expected}: {case:?}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

const IIS: &str = "<!DOCTYPE html><html><head><title>401 - Unauthorized: Access is denied due to invalid credentials.</title></head></html>";

#[test]
fn a_password_is_not_sent_again_unless_the_answer_shows_that_it_was_not_examined() {
    let xml = "<error><code>invalid_grant</code></error>";
    let blocked = r#"{"error":"too_many_attempts","error_description":"Your account has been blocked after multiple consecutive login attempts."}"#;
    #[rustfmt::skip]
    let rows: &[(Case<'_>, &str)] = &[
        (("password", 401, HTML, IIS), "WebPageReceived Denied stops"),
        (("password", 400, HTML, IIS), "WebPageReceived Denied stops"),
        (("password", 403, HTML, IIS), "WebPageReceived Denied stops"),
        (("password", 200, HTML, IIS), "WebPageReceived Denied stops"),
        (("password", 400, "application/xml", xml), "WebPageReceived Denied stops"),
        (("password", 403, JSON, r#"{"message":"Forbidden"}"#), "GatewayRefused Denied stops"),
        (("password", 200, TEXT, "no"), "MalformedAnswer Denied stops"),
        (("password", 302, HTML, ""), "RedirectRefused Invalid stops"),
        (("password", 500, JSON, r#"{"error":"server_error","error_description":"Bad credentials"}"#), "IssuerUnavailable Denied stops"),
        (("password", 500, HTML, IIS), "IssuerUnavailable Denied stops"),
        (("password", 503, JSON, r#"{"error":"invalid_user_password"}"#), "IssuerUnavailable Denied stops"),
        (("password", 429, JSON, blocked), "AccountLocked Denied stops"),
        (("password", 429, JSON, r#"{"error":"too_many_requests","error_description":"too many failed attempts"}"#), "AccountLocked Denied stops"),
        (("password", 429, JSON, r#"{"error":"invalid_grant"}"#), "PasswordRefused Denied stops"),
        (("password", 429, JSON, r#"{"error":"rate_limit","error_description":"Your IP address was blocked"}"#), "AccountLocked Denied stops"),
        (("password", 429, JSON, r#"{"error":"too_many_requests","error_description":"The user is temporarily locked"}"#), "AccountLocked Denied stops"),
        (("password", 400, JSON, r#"{"error":"invalid_grant","error_description":"Too many requests after failed logins"}"#), "AccountLocked Denied stops"),
        (("password", 429, JSON, r#"{"error":"too_many_requests","error_description":"Your account has been temporarily disabled"}"#), "AccountLocked Denied stops"),
        (("password", 429, JSON, r#"{"error":"too_many_requests","error_description":"Maximum attempt count exceeded"}"#), "AccountLocked Denied stops"),
        // It was not examined.
        (("password", 429, JSON, "{}"), "Throttled Throttled"),
        (("password", 429, JSON, r#"{"error":"too_many_requests","error_description":"Attempt again in 60 seconds"}"#), "Throttled Throttled"),
        (("password", 429, JSON, r#"{"error":"rate_limit","error_description":"Request blocked: quota exceeded"}"#), "Throttled Throttled"),
        (("password", 400, JSON, r#"{"error":"slow_down"}"#), "Throttled Throttled"),
        (("password", 400, JSON, r#"{"error":"invalid_grant","error_description":"login rate exceeded"}"#), "Throttled Throttled"),
        (("password", 502, HTML, IIS), "IssuerUnavailable Transient"),
        (("password", 503, JSON, r#"{"error":"temporarily_unavailable"}"#), "IssuerUnavailable Transient"),
        (("password", 504, TEXT, ""), "IssuerUnavailable Transient"),
        (("password", 421, TEXT, ""), "IssuerUnavailable Transient"),
        (("entra password", 400, JSON, r#"{"error":"invalid_grant","error_codes":[90033]}"#), "IssuerUnavailable Transient"),
        // Clocks and features do not change by themselves.
        (("entra password", 400, JSON, r#"{"error":"invalid_grant","error_codes":[80013]}"#), "FederatedSignInFailed Denied stops"),
        (("entra cc", 400, JSON, r#"{"error":"invalid_request","error_codes":[51000]}"#), "AccessDenied Denied"),
        // Other grants are tried again.
        (("cc", 401, HTML, IIS), "WebPageReceived Transient"),
        (("cc", 500, JSON, r#"{"error":"server_error"}"#), "IssuerUnavailable Transient"),
        (("cc", 429, JSON, blocked), "Throttled Throttled"),
    ];
    check(rows);
    for (case, expected) in rows.iter().filter(|(case, _)| case.0.contains("password")) {
        let message = of(case).message();
        let again = message.contains("tries again") || message.contains("apicred pauses");
        assert_eq!(
            again,
            expected.contains("Transient") || expected.contains("Throttled"),
            "{message}"
        );
    }
    let message = of(&rows[0].0).message();
    assert!(message.contains("does not send it again"), "{message}");
}

#[test]
fn texts_about_too_many_requests_are_throttling_whatever_the_code_is() {
    let busy = r#"{"error":"invalid_grant","error_description":"token request is already being processed"}"#;
    let rate = r#"{"error":"invalid_grant","error_description":"login rate exceeded"}"#;
    let zoho = r#"{"error_description":"You have made too many requests continuously. Please try again after some time.","error":"Access Denied","status":"failure"}"#;
    for name in ["cc", "refresh", "extension", "exchange", "signed"] {
        for body in [busy, rate, zoho] {
            check(&[((name, 400, JSON, body), "Throttled Throttled")]);
        }
    }
    let dead = r#"{"error":"invalid_grant","error_description":"expired access/refresh token"}"#;
    check(&[(("refresh", 400, JSON, dead), "SignInRequired NeedsUser")]);
}

#[test]
fn a_refresh_token_that_a_text_names_as_dead_requires_a_sign_in() {
    #[rustfmt::skip]
    let rows: &[(Case<'_>, &str)] = &[
        (("refresh", 403, JSON, r#"{"error":"unauthorized_client","error_description":"refresh_token is invalid"}"#), "SignInRequired NeedsUser"),
        (("refresh", 403, JSON, r#"{"error":"access_denied","error_description":"Refresh token revoked"}"#), "SignInRequired NeedsUser"),
        (("refresh", 400, JSON, r#"{"error":"unauthorized_client","error_description":"token was already used"}"#), "SignInRequired NeedsUser"),
        (("refresh", 400, JSON, r#"{"error":"access_denied","error_description":"The refresh token has expired"}"#), "SignInRequired NeedsUser"),
        // About the client.
        (("refresh", 400, JSON, r#"{"error":"unauthorized_client","error_description":"Client is not allowed to use the grant type refresh_token: invalid"}"#), "ClientNotAuthorized Denied"),
        (("refresh", 400, JSON, r#"{"error":"unauthorized_client","error_description":"Refresh tokens are invalid for this client: not enabled"}"#), "ClientNotAuthorized Denied"),
        (("refresh", 403, JSON, r#"{"error":"access_denied"}"#), "AccessDenied Denied"),
        // About an address, or a failure of the server.
        (("refresh", 403, JSON, r#"{"error":"access_denied","error_description":"refresh token request from an invalid IP address"}"#), "AccessDenied Denied"),
        (("refresh", 403, JSON, r#"{"error":"access_denied","error_description":"unknown error while reading the refresh token"}"#), "AccessDenied Denied"),
        (("cc", 403, JSON, r#"{"error":"unauthorized_client","error_description":"refresh_token is invalid"}"#), "ClientNotAuthorized Denied"),
    ];
    check(rows);
}

#[test]
fn a_wrong_client_secret_is_recognized_by_its_text_under_another_code() {
    #[rustfmt::skip]
    let rows: &[(Case<'_>, &str)] = &[
        (("cc", 400, JSON, r#"{"error":"invalid_request","error_description":"Invalid client secret provided"}"#), "ClientRefused Denied next"),
        (("cc", 403, JSON, r#"{"error":"access_denied","error_description":"Invalid client secret"}"#), "ClientRefused Denied next"),
        (("cc", 400, JSON, r#"{"error":"invalid_grant","error_description":"invalid client secret"}"#), "ClientRefused Denied next"),
        (("cc", 400, JSON, r#"{"error":"invalid_request","error_description":"client_secret mismatch"}"#), "ClientRefused Denied next"),
        (("cc", 400, JSON, r#"{"error":"invalid_grant","error_description":"The client credentials are incorrect"}"#), "ClientRefused Denied next"),
        (("refresh", 403, JSON, r#"{"error":"access_denied","error_description":"wrong client_secret"}"#), "ClientRefused Denied next"),
        (("refresh", 400, JSON, r#"{"error":"invalid_grant","error_description":"Invalid client secret"}"#), "ClientRefused Denied next"),
        (("extension", 403, JSON, r#"{"error":"access_denied","error_description":"Invalid client secret"}"#), "ClientRefused Denied"),
        (("password", 400, JSON, r#"{"error":"invalid_grant","error_description":"Invalid client secret"}"#), "ClientRefused Denied next stops"),
        (("password", 400, JSON, r#"{"error":"invalid_grant","error_description":"Invalid client secret or password"}"#), "ClientRefused Denied stops"),
        // The grant, a missing parameter, something else beside it.
        (("cc", 400, JSON, r#"{"error":"invalid_request","error_description":"invalid client credentials grant"}"#), "InvalidRequest Invalid"),
        (("cc", 400, JSON, r#"{"error":"invalid_request","error_description":"invalid value of the parameter x for client credentials"}"#), "InvalidRequest Invalid"),
        (("cc", 400, JSON, r#"{"error":"invalid_request","error_description":"client_secret is missing"}"#), "ClientAuthenticationUnsupported Invalid"),
        (("refresh", 400, JSON, r#"{"error":"invalid_grant","error_description":"Invalid refresh token"}"#), "SignInRequired NeedsUser"),
    ];
    check(rows);
}

#[test]
fn a_refused_signature_of_the_client_leaves_the_next_certificate_to_try() {
    #[rustfmt::skip]
    let texts = [
        (401, "invalid_client", "The client_assertion signature is invalid."),
        (400, "unauthorized_client", "Unexpected error when authenticating client: Unable to load public key"),
        (400, "invalid_client", "Client authentication with signed JWT failed: Signature on JWT token failed validation"),
        (401, "invalid_client", "JWT signature validation failed: no matching key"),
        (401, "invalid_client", "Unable to verify the integrity of the 'client_assertion' value. The token signature is invalid"),
        (401, "invalid_client", "The client_assertion could not be verified: No key found"),
    ];
    for (status, error, text) in texts {
        let body = json!({ "error": error, "error_description": text }).to_string();
        for name in ["certificate", "secret jwt", "stored"] {
            check(&[((name, status, JSON, &body), "AssertionRefused Denied next")]);
        }
        let message = of(&("certificate", status, JSON, &body)).message();
        assert!(message.contains("register the key"), "{message}");
    }
    // The assertion of the grant, and what another key does not change.
    let grant = r#"{"error":"invalid_grant","error_description":"Invalid JWT Signature."}"#;
    let algorithm =
        r#"{"error":"invalid_client","error_description":"Invalid signature algorithm"}"#;
    check(&[
        (("signed", 400, JSON, grant), "AssertionRefused Denied"),
        (
            ("certificate", 401, JSON, algorithm),
            "AssertionRefused Denied",
        ),
    ]);
}
