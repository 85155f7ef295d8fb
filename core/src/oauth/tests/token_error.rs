use crate::Reason;
use std::time::Duration;

use serde_json::{Value, json};

use super::answer::raw;
use crate::{
    fixtures::at,
    oauth::{AnswerContext, Class, RawAnswer, TokenError, answer, error_code, retry_after},
};

const CONTEXT: fn() -> AnswerContext = || AnswerContext {
    sent: at(0),
    now: at(0),
    assumed_lifetime: None,
};

fn token_error(answer_: &RawAnswer) -> TokenError {
    answer(answer_, CONTEXT()).err().expect("a token error")
}

fn of(status: u16, body: &Value) -> TokenError {
    token_error(&raw(
        status,
        "application/json",
        body.to_string().as_bytes(),
    ))
}

fn entra(code: u32) -> TokenError {
    of(
        400,
        &json!({ "error": "invalid_client", "error_codes": [code], "error_description": "AADSTS1: x" }),
    )
}

#[test]
fn each_known_aadsts_number_has_its_class_and_reason() {
    #[rustfmt::skip]
    let table: &[(&[u32], Class, &str, bool)] = &[
        (&[7_000_215, 70_002], Class::Denied, "ClientSecretRefused", true),
        (&[7_000_222], Class::Denied, "ClientSecretExpired", true),
        (&[7_000_218, 7_000_216], Class::Invalid, "ClientAuthenticationMissing", false),
        (&[7_000_229], Class::Denied, "ClientUnknown", false),
        (&[7_000_232], Class::Invalid, "ClientUnknown", false),
        (&[501_051], Class::Denied, "RoleNotAssigned", false),
        (&[500_014], Class::Denied, "ResourceDisabled", false),
        (&[5_000_225], Class::Denied, "TenantBlocked", false),
        (&[500_021, 500_022, 50_002, 500_212], Class::Denied, "TenantRestricted", false),
        (&[700_021], Class::Invalid, "AssertionRefused", false),
        (&[700_023], Class::Invalid, "AssertionRefused", false),
        (&[1_000_502], Class::Denied, "CertificateExpired", true),
        (&[7_000_274, 7_000_214, 7_000_277], Class::Denied, "CertificateRefused", true),
        (&[50_166, 501_661, 90_061], Class::Transient, "FederationUnreachable", false),
        (&[50_020, 90_072, 51_004, 50_034], Class::Denied, "UserUnknown", false),
        (&[7_000_012], Class::NeedsUser, "SignInRequired", false),
        (&[9_002_325, 9_002_326, 9_002_327, 500_113], Class::Invalid, "RedirectUriMismatch", false),
        (&[65_002], Class::Denied, "ClientNotAuthorized", false),
        (&[50_097, 50_129, 50_005], Class::NeedsUser, "BlockedByPolicy", false),
        (&[80_001, 80_007, 80_010], Class::Transient, "IssuerUnavailable", false),
        (&[70_025], Class::Denied, "FederationMismatch", false),
        (&[700_016], Class::Denied, "ClientUnknown", false),
        (&[70_001, 700_011, 7_000_112], Class::Denied, "ClientDisabled", false),
        (&[90_002, 900_023], Class::Invalid, "TenantUnknown", false),
        (&[90_038, 900_382, 900_432, 900_439], Class::Invalid, "WrongCloud", false),
        (&[500_011, 50_001], Class::Invalid, "ResourceUnknown", false),
        (&[1_002_012, 70_011, 28_002, 700_022], Class::Invalid, "InvalidScope", false),
        (&[901_002], Class::Invalid, "InvalidRequest", false),
        (&[65_001, 650_057, 90_094], Class::NeedsUser, "ConsentRequired", false),
        (&[53_003, 530_032], Class::NeedsUser, "BlockedByPolicy", false),
        (&[50_076, 50_079], Class::NeedsUser, "MfaRequired", false),
        (&[700_082, 50_173, 70_000], Class::NeedsUser, "SignInRequired", false),
        (&[50_126], Class::Denied, "PasswordRefused", false),
        (&[700_027], Class::Denied, "CertificateUnknown", true),
        (&[700_213, 7_002_138], Class::Denied, "FederationMismatch", false),
        (&[700_024], Class::Transient, "AssertionTimeRefused", false),
        (&[50_196], Class::Throttled, "LoopDetected", false),
        (&[90_055], Class::Throttled, "Throttled", false),
        (&[90_033, 90_006, 90_012, 90_024, 90_090, 90_091, 50_033, 50_087, 80_002], Class::Transient, "IssuerUnavailable", false),
        // Unknown numbers change no class, and blame no secret.
        (&[1, 0, 123_456, u32::MAX], Class::Denied, "ClientRefused", false),
    ];
    for (codes, class, reason, about_client) in table {
        for code in *codes {
            let token_error = entra(*code);
            assert_eq!(
                (
                    token_error.class,
                    token_error.reason.as_str(),
                    token_error.about_client
                ),
                (*class, *reason, *about_client),
                "{code}"
            );
            assert_eq!(token_error.aadsts, Some(*code));
            assert!(
                token_error.message().contains(&format!("AADSTS{code}: ")),
                "{}",
                token_error.message()
            );
            let link = format!("https://login.microsoftonline.com/error?code={code}");
            assert!(
                token_error.message().contains(&link),
                "{}",
                token_error.message()
            );
        }
    }
}

#[test]
fn the_number_is_found_in_the_list_or_at_the_start_of_the_description() {
    let number = |body: Value| of(400, &body).aadsts;
    assert_eq!(
        number(json!({ "error_codes": [7_000_215, 1] })),
        Some(7_000_215)
    );
    assert_eq!(
        number(json!({ "error_description": "AADSTS7000215: Invalid client secret" })),
        Some(7_000_215)
    );
    assert_eq!(
        number(json!({ "error_codes": ["7000215"] })),
        Some(7_000_215)
    );
    for none in [
        json!({ "error_codes": [] }),
        json!({ "error_codes": [-7] }),
        json!({ "error_codes": [4_294_967_296_u64] }),
        json!({ "error_description": "see AADSTS7000215" }),
        json!({ "error_description": "AADSTS" }),
        json!({ "error_description": 7 }),
    ] {
        assert_eq!(number(none.clone()), None, "{none}");
    }
    assert_eq!(
        number(json!({ "error_description": format!("AADSTS{}", "9".repeat(50)) })),
        Some(999_999_999)
    );
}

#[test]
fn status_and_error_give_the_class_as_real_servers_use_them() {
    use Class::{Denied, Invalid, NeedsUser, Throttled, Transient};
    #[rustfmt::skip]
    let table = [
        // A wrong secret, in the answers of seven servers.
        (401, "invalid_client", Denied, "ClientRefused", true),
        (401, "unauthorized", Denied, "ClientRefused", true),
        (400, "invalid_client", Denied, "ClientRefused", true),
        (200, "invalid_client", Denied, "ClientRefused", true),
        (401, "", Denied, "ClientRefused", true),
        (401, "strange", Denied, "ClientRefused", true),
        // A known client that is not allowed.
        (400, "unauthorized_client", Denied, "ClientNotAuthorized", false),
        (401, "unauthorized_client", Denied, "ClientNotAuthorized", false),
        (401, "access_denied", Denied, "AccessDenied", false),
        (403, "unauthorized", Denied, "AccessDenied", false),
        (403, "", Denied, "AccessDenied", false),
        (403, "strange", Denied, "AccessDenied", false),
        (400, "access_denied", Denied, "AccessDenied", false),
        // The service.
        (429, "", Throttled, "Throttled", false),
        (429, "invalid_client", Throttled, "Throttled", false),
        (400, "slow_down", Throttled, "Throttled", false),
        (500, "", Transient, "IssuerUnavailable", false),
        (500, "invalid_client", Transient, "IssuerUnavailable", false),
        (502, "", Transient, "IssuerUnavailable", false),
        (503, "", Transient, "IssuerUnavailable", false),
        (599, "", Transient, "IssuerUnavailable", false),
        (408, "", Transient, "IssuerUnavailable", false),
        (400, "temporarily_unavailable", Transient, "IssuerUnavailable", false),
        (400, "server_error", Transient, "IssuerUnavailable", false),
        // The request.
        (400, "invalid_scope", Invalid, "InvalidScope", false),
        (400, "invalid_target", Invalid, "ResourceUnknown", false),
        (400, "invalid_resource", Invalid, "ResourceUnknown", false),
        (400, "unsupported_grant_type", Invalid, "GrantNotSupported", false),
        (400, "invalid_request", Invalid, "InvalidRequest", false),
        (400, "use_dpop_nonce", Invalid, "DpopRequired", false),
        (400, "invalid_dpop_proof", Invalid, "DpopRequired", false),
        (401, "use_dpop_nonce", Invalid, "DpopRequired", false),
        (400, "strange", Invalid, "RequestRefused", false),
        (400, "", Invalid, "RequestRefused", false),
        // Codes of GitHub, Slack, Salesforce, Auth0, Google.
        (200, "incorrect_client_credentials", Denied, "ClientRefused", true),
        (200, "bad_refresh_token", NeedsUser, "SignInRequired", false),
        (200, "invalid_auth", Denied, "ClientRefused", true),
        (200, "ratelimited", Throttled, "Throttled", false),
        (400, "invalid_client_id", Denied, "ClientUnknown", false),
        (400, "inactive_org", Denied, "ClientDisabled", false),
        (403, "mfa_required", NeedsUser, "MfaRequired", false),
        (400, "admin_policy_enforced", Denied, "ClientNotAuthorized", false),
        (401, "disabled_client", Denied, "ClientDisabled", false),
        (404, "", Invalid, "EndpointNotFound", false),
        (405, "", Invalid, "EndpointNotFound", false),
        (411, "", Invalid, "EndpointNotFound", false),
        (415, "", Invalid, "EndpointNotFound", false),
        // Servers in between.
        (421, "", Transient, "IssuerUnavailable", false),
        (425, "", Transient, "IssuerUnavailable", false),
        (407, "", Transient, "ProxyCredentialsRefused", false),
        (413, "", Invalid, "RequestTooLarge", false),
        (431, "", Invalid, "RequestTooLarge", false),
        (451, "", Denied, "AccessDenied", false),
        (402, "", Denied, "ResourceDisabled", false),
        (496, "", Denied, "CertificateRefused", true),
        (404, "invalid_scope", Invalid, "InvalidScope", false),
        // A user.
        (400, "invalid_grant", NeedsUser, "NeedsUser", false),
        (400, "interaction_required", NeedsUser, "NeedsUser", false),
        (400, "consent_required", NeedsUser, "ConsentRequired", false),
        // Redirects are reported, never followed.
        (301, "", Invalid, "RedirectRefused", false),
        (302, "invalid_client", Invalid, "RedirectRefused", false),
        (303, "", Invalid, "RedirectRefused", false),
        (307, "", Invalid, "RedirectRefused", false),
        (308, "", Invalid, "RedirectRefused", false),
        // Answers that are not from a token endpoint.
        (200, "", Transient, "MalformedAnswer", false),
        (204, "", Transient, "MalformedAnswer", false),
        (100, "", Invalid, "RequestRefused", false),
    ];
    for (status, error, class, reason, about_client) in table {
        let token_error = if error.is_empty() {
            token_error(&raw(status, "", b""))
        } else {
            of(status, &json!({ "error": error }))
        };
        let case = format!("{status} {error:?}");
        assert_eq!(
            (
                token_error.class,
                token_error.reason.as_str(),
                token_error.about_client
            ),
            (class, reason, about_client),
            "{case}"
        );
        assert_eq!(token_error.http_status, Some(status), "{case}");
        assert_eq!(
            token_error.error.as_deref(),
            (!error.is_empty()).then_some(error),
            "{case}"
        );
    }
}

#[test]
fn a_token_beside_an_error_is_not_taken() {
    let both = json!({ "access_token": "t", "expires_in": 60, "error": "invalid_scope" });
    assert_eq!(of(200, &both).reason.as_str(), "InvalidScope");
    assert_eq!(
        of(400, &json!({ "access_token": "t", "expires_in": 60 })).class,
        Class::Invalid
    );
    let null = json!({ "access_token": "t", "expires_in": 60, "error": null }).to_string();
    assert!(answer(&raw(200, "application/json", null.as_bytes()), CONTEXT()).is_ok());
}

#[test]
fn pages_that_are_no_answers_are_tried_again_or_reported_by_their_status() {
    let deep = format!(
        r#"{{"access_token":{}1{}}}"#,
        "[".repeat(5000),
        "]".repeat(5000)
    );
    #[rustfmt::skip]
    let cases: [(u16, &[u8], Class); 9] = [
        (200, b"<html>Sign in to the hotel's network</html>", Class::Transient), (200, b"", Class::Transient),
        (200, b"[]", Class::Transient), (200, b"\"token\"", Class::Transient), (502, b"<html>Bad gateway</html>", Class::Transient),
        // A token was issued: the next request would have the same result.
        (200, b"{\"access_token\":\"t\"", Class::Invalid), (200, b"{\"access_token\":\"t\0\"}", Class::Invalid),
        (200, deep.as_bytes(), Class::Invalid), (200, b"{\"access_token\":\"t\"} trailing", Class::Invalid),
    ];
    for (status, body, class) in cases {
        let shown = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
        assert_eq!(
            token_error(&raw(status, "text/html", body)).class,
            class,
            "{shown}"
        );
    }
    let form = raw(
        400,
        "application/x-www-form-urlencoded",
        b"error=invalid_scope&error_description=x",
    );
    assert_eq!(token_error(&form).reason.as_str(), "InvalidScope");
}

#[test]
fn retry_after_is_read_in_both_forms_and_cut_to_an_hour() {
    let now: jiff::Timestamp = "2026-10-21T07:28:00Z".parse().unwrap();
    #[rustfmt::skip]
    let cases = [
        ("0", Some(0)), ("120", Some(120)), (" 60 ", Some(60)), ("3600", Some(3600)), ("99999", Some(3600)),
        ("Wed, 21 Oct 2026 07:30:00 GMT", Some(120)), ("Wed, 21 Oct 2026 07:28:00 GMT", Some(0)),
        ("Wed, 21 Oct 2015 07:28:00 GMT", Some(0)), ("Thu, 31 Dec 2099 23:59:59 GMT", Some(3600)), ("Fri, 31 Dec 9999 23:59:59 GMT", Some(3600)),
        // A fraction is rounded up: a request before the end of the pause would be refused again.
        ("65.5", Some(66)), ("65.0", Some(65)), (" 0.2 ", Some(1)), ("3599.2", Some(3600)), ("99999.9", Some(3600)), ("99999999999999999999999", Some(3600)),
        ("", None), ("soon", None), ("-5", None), ("-1.5", None), ("1e9", None), ("60, 120", None), ("1.2.3", None), (".", None), ("1,5", None), ("inf", None),
    ];
    for (value, expected) in cases {
        assert_eq!(
            retry_after(value, now),
            expected.map(Duration::from_secs),
            "{value:?}"
        );
    }
    for (status, class) in [
        (429, Class::Throttled),
        (503, Class::Transient),
        (401, Class::Denied),
    ] {
        let answer = RawAnswer {
            retry_after: Some("77".to_owned()),
            ..raw(status, "", b"")
        };
        let token_error = token_error(&answer);
        assert_eq!(
            (token_error.class, token_error.retry_after),
            (class, Some(Duration::from_secs(77)))
        );
    }
}

#[test]
fn a_message_has_the_codes_the_next_step_and_the_correlation_id() {
    let token_error = of(
        401,
        &json!({
            "error": "invalid_client", "error_codes": [7_000_222], "correlation_id": "3f6c0a4e-1d2b-4c5f-9a7e-0b1c2d3e4f50", "trace_id": "4f6c0a4e-1d2b-4c5f-9a7e-0b1c2d3e4f51",
        }),
    );
    assert_eq!(
        token_error.message(),
        "the issuer answered HTTP 401, invalid_client, AADSTS7000222: the client secret has expired; make a new one in Entra ID and store \
         it in the Secret (https://login.microsoftonline.com/error?code=7000222, correlation id 3f6c0a4e-1d2b-4c5f-9a7e-0b1c2d3e4f50)"
    );
    assert_eq!(
        token_error.trace_id.as_deref(),
        Some("4f6c0a4e-1d2b-4c5f-9a7e-0b1c2d3e4f51")
    );
    assert_eq!(
        TokenError::local(Class::Transient, Reason::RequestRefused, "try later").message(),
        "try later"
    );
}

#[test]
fn only_code_like_errors_and_ids_are_shown() {
    for good in ["invalid_client", "a", "use_dpop_nonce", "e2"] {
        assert_eq!(error_code(good).as_deref(), Some(good));
    }
    for bad in [
        "",
        "Invalid Client",
        "invalid-client",
        "4f1dd2a09be34c71",
        "a\nb",
        "https://evil",
        "ä",
        &"x".repeat(65),
    ] {
        assert_eq!(error_code(bad), None, "{bad}");
    }
    let token_error = of(
        400,
        &json!({ "error": "<script>", "correlation_id": "a-secret-of-36-characters-that-is-no-guid"[..36], "trace_id": "x".repeat(129) }),
    );
    assert_eq!(
        (
            token_error.error,
            token_error.correlation_id,
            token_error.trace_id
        ),
        (None, None, None)
    );
}
