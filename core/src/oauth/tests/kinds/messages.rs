//! What the message of a token error names, and what it must not contain.

use super::*;

#[test]
fn no_aadsts_code_requires_a_user_for_a_grant_without_a_user() {
    let numbers = (16_000..16_010)
        .chain(28_000..28_010)
        .chain(50_000..50_300)
        .chain(53_000..53_020)
        .chain(65_000..65_010)
        .chain(70_000..70_050)
        .chain(90_000..90_130)
        .chain([
            500_011, 500_014, 500_021, 500_133, 500_212, 500_341, 501_051, 501_661,
        ])
        .chain(530_030..530_040)
        .chain(700_000..700_090)
        .chain(700_200..700_240)
        .chain(7_000_000..7_000_020)
        .chain(7_000_210..7_000_240)
        .chain(5_000_220..5_000_230);
    for name in ["entra cc", "entra certificate", "entra password"] {
        let credential = named(name);
        for number in numbers.clone() {
            for error in ["invalid_grant", "interaction_required", "invalid_client"] {
                let body = json!({ "error": error, "error_codes": [number] }).to_string();
                let answer = raw(400, JSON, body.as_bytes());
                let reported = answer_to(&credential, &answer, at(0), at(1));
                let token_error = reported.err().expect("a token error");
                let case = format!("{name} {number} {error}: {}", token_error.message());
                assert_ne!(token_error.class, NeedsUser, "{case}");
                assert!(!token_error.message().contains("apicred login"), "{case}");
                for expected in ["user signs in", "must sign in", "sign in again", "person"] {
                    assert!(
                        !token_error.next_step.to_string().contains(expected),
                        "{case}"
                    );
                }
            }
        }
    }
}

#[test]
fn the_issuers_message_is_shown_only_for_vouched_issuers() {
    let secret = "hT9~xkCd-42-QqZzWw77";
    let body = json!({ "error": "invalid_client", "error_description": format!("no client for {secret} here") });
    let answer = raw(401, JSON, body.to_string().as_bytes());
    let spec = json!({ "oauth2": { "tokenUrl": "https://as.example.com/token" } });
    let vouched = Issuer::cluster(&cluster_issuer(&spec)).unwrap();
    let own = Issuer::namespaced(&token_issuer(&spec), &[]).unwrap();
    for (issuer, message) in [(vouched, Some("no client for […] here")), (own, None)] {
        let credential = parse(&object(&json!({})), |_| IssuerLookup::Found(issuer)).unwrap();
        let echo = SentSecrets::of(&sent(&credential, secret));
        let reported = answer_to(&credential, &answer, at(0), at(1));
        let token_error = reported.err().expect("a token error");
        let token_error = explained(token_error, &credential, &answer, &echo, at(1));
        let shown = token_error
            .detail
            .as_ref()
            .and_then(|a| a.issuer_message.as_deref());
        assert_eq!(shown, message);
        assert!(
            !token_error.message().contains("xkCd"),
            "{}",
            token_error.message()
        );
    }
}

#[test]
fn a_redirect_of_the_token_endpoint_names_where_it_leads() {
    const SECRET: &str = "ht9xkcd42qqzzww77";
    let spec = json!({ "oauth2": { "tokenUrl": "https://as.example.com/token" } });
    let elsewhere = "it leads to https://login.example.com)";
    let here = "it leads to another path of the same server)";
    let spoken = format!("https://{SECRET}.example.com/{SECRET}");
    let long = format!("https://{}.example.com/", "a".repeat(4096));
    let rows = [
        (
            "https://login.example.com/x?code=1#y",
            Some(elsewhere),
            None,
        ),
        ("https://user:pass@login.example.com", Some(elsewhere), None),
        ("//login.example.com/token", Some(elsewhere), None),
        (
            "http://as.example.com/token",
            Some("it leads to http://as.example.com)"),
            None,
        ),
        (
            "https://as.example.com:8443/token",
            Some("it leads to https://as.example.com:8443)"),
            None,
        ),
        (
            "https://bücher.example",
            Some("it leads to https://xn--bcher-kva.example)"),
            None,
        ),
        (
            "/token/",
            Some("it leads to the same URL with a slash at its end)"),
            Some("it leads to the same URL with a slash at its end)"),
        ),
        (
            "https://AS.example.com/oauth2/token",
            Some(here),
            Some(here),
        ),
        (&spoken, Some("it leads to https://[…].example.com)"), None),
        ("mailto:x@example.com", None, None),
        ("https://", None, None),
        (&long, Some("it leads to https://aaaa"), None),
    ];
    for (location, vouched, own) in rows {
        let answer = RawAnswer {
            location: Some(location.to_owned()),
            ..raw(302, HTML, b"")
        };
        let cluster = Issuer::cluster(&cluster_issuer(&spec)).unwrap();
        let namespaced = Issuer::namespaced(&token_issuer(&spec), &[]).unwrap();
        for (issuer, expected) in [(cluster, vouched), (namespaced, own)] {
            let credential = parse(&object(&json!({})), |_| IssuerLookup::Found(issuer)).unwrap();
            let echo = SentSecrets::of(&sent(&credential, SECRET));
            let token_error = answer_to(&credential, &answer, at(0), at(1))
                .err()
                .expect("a token error");
            let message = explained(token_error, &credential, &answer, &echo, at(1)).message();
            assert_eq!(
                message.contains("it leads to"),
                expected.is_some(),
                "{message}"
            );
            assert!(
                message.contains(expected.unwrap_or_default()),
                "{location}: {message}"
            );
            assert!(
                !message.contains(SECRET) && message.len() < 1024,
                "{message}"
            );
        }
    }
}

#[test]
fn a_federation_that_does_not_match_names_what_was_sent() {
    let credential = named("entra account");
    let token = super::super::answer::jwt(&json!({
        "iss": "https://oidc.example.com/", "sub": "system:serviceaccount:shop:robot", "aud": ["api://AzureADTokenExchange"],
    }));
    let mut request = sent(&named("cc"), "unused-secret");
    request.body = SecretString::from(format!("client_assertion={token}"));
    let body = r#"{"error":"invalid_client","error_codes":[700213],"error_description":"AADSTS700213: No matching federated identity record found."}"#;
    let answer = raw(401, JSON, body.as_bytes());
    let token_error = answer_to(&credential, &answer, at(0), at(1))
        .err()
        .expect("a token error");
    let reported = explained(
        token_error,
        &credential,
        &answer,
        &SentSecrets::of(&request),
        at(1),
    )
    .message();
    for part in [
        "https://login.microsoftonline.com answered HTTP 401",
        r#"sent: issuer "https://oidc.example.com/", subject "system:serviceaccount:shop:robot", audience "api://AzureADTokenExchange""#,
        r#"the issuer says: "No matching federated identity record found.""#,
    ] {
        assert!(reported.contains(part), "no {part} in {reported}");
    }
}

#[test]
fn a_clock_that_is_off_is_named_beside_a_failed_assertion_and_nowhere_else() {
    let date = |seconds: i64| {
        let at = at(1 + seconds).to_zoned(jiff::tz::TimeZone::UTC);
        Some(at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string())
    };
    for (name, status, off, message) in [
        ("certificate", 401, -45, Some("clock is 45 s ahead of")),
        ("certificate", 500, -120, Some("clock is 120 s ahead of")),
        ("account", 401, 120, Some("clock is 120 s behind")),
        ("signed", 400, -45, Some("clock is 45 s ahead of")),
        ("certificate", 401, 10, None),
        ("cc", 401, -120, None),
    ] {
        let answer = RawAnswer {
            date: date(off),
            ..raw(status, JSON, br#"{"error":"invalid_client"}"#)
        };
        let reported = refused(name, &answer).message();
        assert_eq!(
            reported.contains("clock is"),
            message.is_some(),
            "{name}: {reported}"
        );
        assert!(
            message.is_none_or(|message| reported.contains(message)),
            "{name}: {reported}"
        );
    }
}
