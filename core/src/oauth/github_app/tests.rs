use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize, SignatureAlgorithm};
use secrecy::ExposeSecret;

use super::*;
use crate::{
    credential::{Issuer, IssuerLookup, parse},
    fixtures::{NOW, at, cluster_issuer, json_answer, merge, object as credential_object},
    oauth::{ClientKey, known_endpoint},
};

fn credential(change: &Value) -> Credential {
    let spec = json!({ "githubApp": { "installationId": 4711 } });
    let issuer = Issuer::cluster(&cluster_issuer(&spec)).unwrap();
    let key = json!({ "secretName": "app", "key": "private-key.pem" });
    let mut spec =
        json!({ "scopes": null, "client": { "id": "Iv23li", "secrets": null, "key": key } });
    merge(&mut spec, change);
    parse(&credential_object(&spec), |_| IssuerLookup::Found(issuer)).unwrap()
}

fn made(change: &Value, kind: &'static SignatureAlgorithm) -> Result<TokenRequest, TokenError> {
    let credential = credential(change);
    let pem = if *kind == PKCS_RSA_SHA256 {
        KeyPair::generate_rsa_for(kind, RsaKeySize::_2048)
    } else {
        KeyPair::generate_for(kind)
    };
    let key = ClientKey::read(&pem.unwrap().serialize_pem()).unwrap();
    let moment = RequestContext {
        now: at(0),
        request_id: "r",
        assertion_id: "a",
    };
    let endpoint = known_endpoint(&credential).unwrap();
    let material = Material::Key(Box::new(key));
    crate::oauth::request(&credential, &endpoint, &material, &[], moment)
}

#[test]
fn the_request_is_json_and_the_jwt_is_its_only_authentication() {
    let limited = json!({ "scopes": ["contents:read", "issues:write"], "resources": ["app"] });
    let limits = json!({
        "permissions": { "contents": "read", "issues": "write" }, "repositories": ["app"],
    });
    for (change, body) in [(limited, limits), (json!({}), json!({}))] {
        let request = made(&change, &PKCS_RSA_SHA256).ok().unwrap();
        assert_eq!(request.method, Method::PostJson);
        assert_eq!(
            request.url.as_str(),
            "https://api.github.com/app/installations/4711/access_tokens"
        );
        let sent: Value = serde_json::from_str(request.body.expose_secret()).unwrap();
        assert_eq!(sent, body);
        let header = |name: &str| {
            let found = request.headers.iter().find(|(n, _)| *n == name);
            found.unwrap().1.expose_secret().to_owned()
        };
        assert_eq!(header("accept"), "application/vnd.github+json");
        assert_eq!(header("x-github-api-version"), "2022-11-28");
        let jwt = header("authorization");
        let parts: Vec<&str> = jwt.strip_prefix("Bearer ").unwrap().split('.').collect();
        let part = |at: usize| -> Value {
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[at]).unwrap()).unwrap()
        };
        assert_eq!(part(0), json!({ "alg": "RS256", "typ": "JWT" }));
        let claims = json!({ "iss": "Iv23li", "iat": NOW - 60, "exp": NOW + 300 });
        assert_eq!(part(1), claims);
    }
    let token_error = made(&json!({}), &PKCS_ECDSA_P256_SHA256).err().unwrap();
    assert!(
        token_error.message().contains("RS256") && token_error.message().contains("Secret app"),
        "{token_error:?}"
    );
}

fn read(status: u16, body: &Value) -> Result<Token, TokenError> {
    let raw = json_answer(status, body);
    crate::oauth::answer_to(&credential(&json!({})), &raw, at(0), at(1))
}

#[test]
fn the_answer_has_its_end_and_its_permissions() {
    let body = json!({
        "token": "ghs_16C7e42F292c6912E7710c838347Ae178B4a", "expires_at": at(3600).to_string(),
        "permissions": { "contents": "read", "metadata": "read" }, "repositories": [{ "name": "app" }],
    });
    let token = read(201, &body).ok().unwrap();
    assert_eq!(
        token.secret.expose_secret(),
        "ghs_16C7e42F292c6912E7710c838347Ae178B4a"
    );
    assert_eq!(token.expires_at, at(3600));
    assert_eq!(token.scope.as_deref(), Some("contents:read metadata:read"));
    assert!(token.refresh_token.is_none());
    // OAuth names have no meaning in an answer of GitHub.
    for (body, seen) in [
        (
            json!({ "expires_at": at(3600).to_string() }),
            "without token",
        ),
        (
            json!({ "access_token": "ghs_1" }),
            "has access_token and no token",
        ),
        (json!({ "token": [1] }), "field token that is not a text"),
    ] {
        let token_error = read(201, &body).err().unwrap();
        let message = token_error.message();
        assert_eq!(token_error.reason, Reason::MalformedAnswer, "{message}");
        assert!(message.contains(seen), "{message}");
        assert!(
            message.contains("check githubApp.apiUrl of the issuer"),
            "{message}"
        );
    }
}

#[test]
fn each_status_of_github_has_its_next_step() {
    for (status, message, reason, expected) in [
        (
            401,
            "A JSON web token could not be decoded",
            Reason::ClientRefused,
            "client.id (Iv23li)",
        ),
        (
            403,
            "This installation has been suspended",
            Reason::AccessDenied,
            "suspended",
        ),
        (403, "API rate limit exceeded", Reason::Throttled, "limits"),
        (404, "Not Found", Reason::AccessDenied, "installationId"),
        (404, "Not Found", Reason::AccessDenied, "githubApp.apiUrl"),
        (
            404,
            "Integration not found",
            Reason::AccessDenied,
            "client.id",
        ),
        (
            422,
            "The permissions requested are not granted to this installation.",
            Reason::InvalidScope,
            "PERMISSION:LEVEL",
        ),
    ] {
        let token_error = read(status, &json!({ "message": message })).err().unwrap();
        assert_eq!(token_error.reason, reason, "{status} {message}");
        assert!(token_error.message().contains(expected), "{token_error:?}");
        assert_eq!(token_error.about_client, status == 401);
    }
    let token_error = read(502, &json!({ "message": "Server Error" }))
        .err()
        .unwrap();
    assert_eq!(token_error.class, Class::Transient);
}

#[test]
fn a_forbidden_request_has_the_reason_of_github_and_blames_no_key() {
    let listed = "Although you appear to have the correct authorization credentials, the `contoso` organization has an IP allow list enabled, and your IP address is not permitted to access this resource.";
    for (message, expected) in [
        (listed, "egress address"),
        (
            "`contoso` has an IP allow list enabled, and 192.0.2.1 is not permitted to access this resource.",
            "egress address",
        ),
        ("Resource not accessible by integration", "GitHub forbids"),
        ("Repository access blocked", "GitHub forbids"),
        ("Invalid credentials for this app", "GitHub forbids"),
    ] {
        for page in [None, Some("https://docs.github.com/rest")] {
            let body = json!({ "message": message, "documentation_url": page, "status": "403" });
            let token_error = read(403, &body).err().unwrap();
            let text = token_error.message();
            assert_eq!(token_error.reason, Reason::AccessDenied, "{text}");
            assert_eq!(token_error.class, Class::Denied, "{text}");
            assert!(!token_error.about_client, "{text}");
            assert!(text.contains(expected), "{text}");
            for not in ["public key", "may answer", "limits"] {
                assert!(!text.contains(not), "{text}");
            }
        }
    }
}

#[test]
fn a_time_of_the_assertion_that_github_refuses_is_a_matter_of_clocks() {
    for (message, reason) in [
        (
            "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires",
            Reason::AssertionTimeRefused,
        ),
        (
            "'Expiration time' claim ('exp') is too far in the future",
            Reason::AssertionTimeRefused,
        ),
        (
            "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued",
            Reason::AssertionTimeRefused,
        ),
        (
            "'Issuer' claim ('iss') must be an Integer",
            Reason::ClientRefused,
        ),
        ("Bad credentials", Reason::ClientRefused),
    ] {
        let body =
            json!({ "message": message, "documentation_url": "https://docs.github.com/rest" });
        let token_error = read(401, &body).err().unwrap();
        let text = token_error.message();
        assert_eq!(token_error.reason, reason, "{text}");
        let time = reason == Reason::AssertionTimeRefused;
        assert_eq!(token_error.class == Class::Transient, time, "{text}");
        assert_eq!(token_error.about_client, !time, "{text}");
        assert_eq!(text.contains("check the clocks"), time, "{text}");
    }
}

#[test]
fn an_answer_that_is_not_of_github_is_not_its_error() {
    let html = "<!DOCTYPE html><html>Sign in</html>";
    let gateway = r#"{"message":"Unauthorized"}"#;
    #[rustfmt::skip]
    let cases = [
        (401, "text/html", html, Reason::WebPageReceived),
        (403, "text/html", html, Reason::WebPageReceived),
        (404, "text/html", html, Reason::EndpointNotFound),
        (404, "text/plain", "no such page", Reason::EndpointNotFound),
        (404, "application/json", r#"{"detail":"x"}"#, Reason::EndpointNotFound),
        (404, "application/json", r#"{"message":["Not Found"]}"#, Reason::EndpointNotFound),
        (401, "application/json", gateway, Reason::GatewayRefused),
    ];
    for (status, kind, body, reason) in cases {
        let raw = RawAnswer {
            content_type: Some(kind.to_owned()),
            ..RawAnswer::new(status, body.as_bytes().to_vec())
        };
        let token_error = crate::oauth::answer_to(&credential(&json!({})), &raw, at(0), at(1));
        let token_error = token_error.err().unwrap();
        let message = token_error.message();
        assert_eq!(
            token_error.reason, reason,
            "{status} {kind} {body}: {message}"
        );
        assert!(!token_error.about_client, "{message}");
        assert!(!message.contains("GitHub does not accept"), "{message}");
        assert!(!message.contains("tokenUrl"), "{message}");
        let names_url = message.contains("githubApp.apiUrl");
        assert_eq!(names_url, status == 404, "{message}");
    }
}

#[test]
fn a_limit_is_waited_for_until_the_end_that_github_names() {
    let (primary, secondary) = (
        "API rate limit exceeded",
        "You have exceeded a secondary rate limit",
    );
    let (from, far) = (NOW + 1800, NOW + 7200);
    let date = "Mon, 30 Nov 2026 00:00:00 GMT";
    let at_date = jiff::fmt::rfc2822::parse(date)
        .unwrap()
        .timestamp()
        .as_second();
    // Status, text, Retry-After, the reset time of the limit, Date; the wait in seconds.
    #[rustfmt::skip]
    let cases = [
        (403, primary, None, Some(from.to_string()), None, Some(1799)),
        (429, primary, None, Some(from.to_string()), None, Some(1799)),
        // By the clock of GitHub, if the answer contains the time.
        (403, primary, None, Some((at_date + 90).to_string()), Some(date), Some(90)),
        (403, primary, None, Some(far.to_string()), None, Some(3600)),
        (403, primary, Some("60"), Some(from.to_string()), None, Some(60)),
        (403, secondary, Some("60"), None, None, Some(60)),
        (403, secondary, None, None, None, None),
        // A reset time in the past, a number of seconds, and a text that is not a number.
        (403, primary, None, Some((NOW - 5).to_string()), None, None),
        (403, primary, None, Some("60".to_owned()), None, None),
        (403, primary, None, Some("soon".to_owned()), None, None),
        // No text: the header is enough.
        (403, "Access blocked", None, Some(from.to_string()), None, Some(1799)),
    ];
    for (status, expected, retry_after, end, date, wait) in cases {
        let raw = RawAnswer {
            retry_after: retry_after.map(str::to_owned),
            limit_reset: end.clone(),
            date: date.map(str::to_owned),
            ..json_answer(status, &json!({ "message": expected }))
        };
        let token_error = crate::oauth::answer_to(&credential(&json!({})), &raw, at(0), at(1));
        let token_error = token_error.err().unwrap();
        let message = token_error.message();
        assert_eq!(token_error.class, Class::Throttled, "{message}");
        assert_eq!(
            token_error.retry_after.map(|w| w.as_secs()),
            wait,
            "{expected} {retry_after:?} {end:?}"
        );
        // The message reports that the time is missing only if it is.
        assert_eq!(
            message.contains("does not name"),
            wait.is_none(),
            "{message}"
        );
    }
    // The reset time of a limit is not about another error.
    for (status, expected, reason) in [
        (
            403,
            "This installation has been suspended",
            Reason::AccessDenied,
        ),
        (404, "Not Found", Reason::AccessDenied),
        (
            401,
            "A JSON web token could not be decoded",
            Reason::ClientRefused,
        ),
    ] {
        let raw = RawAnswer {
            limit_reset: Some(from.to_string()),
            ..json_answer(status, &json!({ "message": expected }))
        };
        let token_error = crate::oauth::answer_to(&credential(&json!({})), &raw, at(0), at(1));
        let token_error = token_error.err().unwrap();
        assert_eq!(
            (token_error.reason, token_error.retry_after),
            (reason, None),
            "{expected}"
        );
    }
}

#[test]
fn other_fields_of_the_answer_can_be_published() {
    let body = json!({
        "token": "ghs_16C7e42F292c6912E7710c838347Ae178B4a", "expires_at": at(3600).to_string(),
        "permissions": { "contents": "read" }, "repository_selection": "selected",
        "single_file": "config.yml", "refresh_token": "no~refresh.token", "expires_in": 5,
    });
    let mut body = body.to_string();
    body.insert_str(1, r#""share":1.10,"odd":1e400,"#);
    let raw = RawAnswer::new(201, body.into_bytes());
    let token = crate::oauth::answer_to(&credential(&json!({})), &raw, at(0), at(1));
    let token = token.ok().unwrap();
    let field = |name: &str| {
        let value = token.answer.iter().find(|(n, _)| n.as_str() == name);
        value.map(|(_, value)| value.expose_secret().to_owned())
    };
    assert_eq!(field("repository_selection").as_deref(), Some("selected"));
    assert_eq!(field("single_file").as_deref(), Some("config.yml"));
    assert_eq!(field("share").as_deref(), Some("1.10"));
    assert_eq!(field("odd").as_deref(), Some("1e400"));
    assert_eq!(field("none"), None);
    // OAuth names have no meaning in an answer of GitHub.
    assert!(token.refresh_token.is_none());
    assert_eq!(token.expires_at, at(3600));
}

#[test]
fn an_answer_with_a_hundred_repositories_is_read() {
    // About 90 fields, most of them URLs.
    let fields = (0..90).map(|n| {
        let url = format!("https://api.github.com/repos/contoso/a-repository/field{{/{n},x}}");
        (format!("field_{n}_url"), json!(url))
    });
    let repository: Map<String, Value> = fields.collect();
    let body = json!({
        "token": "ghs_t", "expires_at": at(3600).to_string(), "permissions": { "contents": "read" },
        "repository_selection": "selected", "repositories": vec![repository; 100],
    });
    assert!(body.to_string().len() < 1024 * 1024);
    let token = read(201, &body).ok().unwrap();
    assert_eq!(token.secret.expose_secret(), "ghs_t");
    assert_eq!(token.expires_at, at(3600));
    assert_eq!(token.scope.as_deref(), Some("contents:read"));
    assert_eq!(
        token.omitted.get("repositories"),
        Some(&crate::oauth::Omitted::List)
    );
    assert!(token.answer.contains_key("repository_selection"));
}
