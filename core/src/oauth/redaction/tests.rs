use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::oauth::{Method, encode};

fn request(fields: &[(&str, &str)], headers: Vec<(&'static str, SecretString)>) -> TokenRequest {
    TokenRequest {
        method: Method::Post,
        url: "https://as.example.com/token".parse().unwrap(),
        headers,
        body: SecretString::from(encode::form(fields.iter().copied())),
        tls: None,
        local: false,
    }
}

fn echo(fields: &[(&str, &str)]) -> SentSecrets {
    SentSecrets::of(&request(fields, Vec::new()))
}

#[test]
fn the_issuers_message_is_shown_in_one_line_of_bounded_length() {
    let echo = echo(&[
        ("client_id", "payroll-client"),
        ("client_secret", "hT9~xkCd-42-QqZzWw77"),
        ("scope", "read"),
    ]);
    let long = "word ".repeat(100);
    let cut = format!("{}…", &long[..MOST].trim());
    for (text, shown) in [
        (
            "Invalid client or Invalid client credentials",
            Some("Invalid client or Invalid client credentials"),
        ),
        (
            "AADSTS700016: Application with identifier '1c1b9c5e-4d3f-4b8e-9f60-0d8ed4d3a111' was not found.\r\nTrace ID: 255d1aef-8c98-452f-ac51-23d051240864\r\nTimestamp: 2026-01-09 02:02:12Z",
            Some(
                "AADSTS700016: Application with identifier '1c1b9c5e-4d3f-4b8e-9f60-0d8ed4d3a111' was not found.",
            ),
        ),
        (
            "the client payroll-client may not read",
            Some("the client payroll-client may not read"),
        ),
        ("it was hT9~xkCd-42-QqZzWw77!", Some("it was […]!")),
        ("it began with hT9~xkC", Some("it began with […]")),
        (
            "a \"quoted\" word\u{1b}[2J and \u{202e}more",
            Some("a 'quoted' word [2J and \\u{202e}more"),
        ),
        (
            "Token eyJhbGciOiJSUzI1NiJ9x.abc is bad",
            Some("Token […].abc is bad"),
        ),
        (
            "key 4f1dd2a09be34c714f1dd2a09be34c71 is unknown",
            Some("key […] is unknown"),
        ),
        (&long, Some(cut.as_str())),
        ("hT9~xkCd-42-QqZzWw77", None),
        (" \r\n ", None),
    ] {
        assert_eq!(echo.quote(text, &[]).as_deref(), shown, "{text}");
    }
}

#[test]
fn a_short_password_is_cut_out_as_a_whole() {
    let echo = echo(&[("username", "ada"), ("password", "Ab1!")]);
    assert_eq!(
        echo.quote("password ab1! of ada is wrong", &[]).as_deref(),
        Some("password […] of ada is wrong")
    );
}

#[test]
fn a_basic_header_is_cut_out_encoded_and_decoded() {
    let header = encode::basic("client-1", &encode::component("a+b/secret value"));
    let sent = vec![("authorization", SecretString::from(header.clone()))];
    let echo = SentSecrets::of(&request(&[], sent));
    assert_eq!(echo.method(), Some("client_secret_basic"));
    for (leak, left) in [
        // The header begins with the client ID, which is not a secret, so its first characters stay.
        (header.as_str(), "refused: Basic Y2x[…]"),
        ("a+b/secret value", "refused: […]"),
        ("a%2Bb%2Fsecret%20value", "refused: […]"),
    ] {
        let text = format!("refused: {leak}");
        assert_eq!(echo.quote(&text, &[]).as_deref(), Some(left), "{leak}");
    }
}

#[test]
fn the_identity_of_an_assertion_is_named() {
    let payload = json!({ "iss": "https://oidc.example.com/", "sub": "system:serviceaccount:a:b", "aud": ["api://AzureADTokenExchange"] });
    let token = format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(payload.to_string()));
    let echo = echo(&[("client_assertion", &token)]);
    assert_eq!(
        echo.identity().as_deref(),
        Some(
            r#"issuer "https://oidc.example.com/", subject "system:serviceaccount:a:b", audience "api://AzureADTokenExchange""#
        )
    );
    assert_eq!(echo.method(), Some("private_key_jwt"));
    assert!(
        self::echo(&[("client_assertion", "opaque")])
            .identity()
            .is_none()
    );
}

fn encoded(secret: &str, how: usize, from: usize) -> String {
    let part: String = secret.chars().skip(from).collect();
    let percent: String = form_urlencoded::byte_serialize(part.as_bytes()).collect();
    match how {
        0 => part,
        1 => percent,
        2 => STANDARD.encode(format!("client:{secret}")),
        3 => URL_SAFE_NO_PAD.encode(part),
        4 => part.to_uppercase(),
        5 => serde_json::to_string(&part).unwrap_or_default(),
        _ => percent.replace('+', "%20"),
    }
}

#[test]
fn a_scope_in_the_issuers_message_does_not_reveal_whether_a_secret_was_guessed() {
    let text = "The scope api://abc8q~Xk2 is not known";
    let quoted = |secret: &str| {
        let scope = ("scope", "api://abc8q~Xk2");
        echo(&[("client_id", "c"), ("client_secret", secret), scope]).quote(text, &[])
    };
    // The scope of the request contains a guess of the secret. The quoted text must be the same for a correct and a wrong guess.
    assert_eq!(quoted("abc8Q~xk2Zzqqqqqqqq"), quoted("qrs8Q~0000000000000"));
    assert_eq!(quoted("8q~xk"), Some(text.to_owned()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(800))]

    #[test]
    fn nothing_that_was_sent_comes_back(
        secret in "[ -~]{6,60}|[\\PC]{6,30}|[A-Za-z0-9_~.-]{20,300}",
        field in prop::sample::select(vec!["client_secret", "refresh_token", "assertion", "subject_token", "password", "code", "client_assertion", "api_key"]),
        before in "[a-z ]{0,20}", after in "[a-z ]{0,20}", how in 0..7_usize, from in 0..4_usize,
    ) {
        let echo = echo(&[("client_id", "c"), (field, &secret)]);
        let text = format!("{before}{}{after}", encoded(&secret, how, from));
        if let Some(shown) = echo.quote(&text, &[]) {
            let net = Net::of(&[SecretString::from(secret.as_str())], &[]);
            prop_assert!(!net.catches(&shown), "{shown}");
            let lower = shown.to_ascii_lowercase();
            let plain = secret.to_ascii_lowercase();
            let plain: Vec<char> = plain.chars().collect();
            for part in plain.windows(WINDOW) {
                let part: String = part.iter().collect();
                prop_assert!(!lower.contains(&part), "{shown} has {part}");
            }
            prop_assert!(shown.chars().count() <= MOST + 1);
            prop_assert!(!shown.chars().any(char::is_control));
        }
    }
}
