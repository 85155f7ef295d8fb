//! A proxy that opens no connection: the message contains its answer and what must change. And servers behind TLS that do not answer in HTTP.

use std::time::Duration;

use url::Url;

use super::proxied::{Scripted, issuer, over_tls, run, send, through};
use crate::{
    credential::Endpoint,
    http::Http,
    oauth::{Class, Stage, TokenError},
};

#[test]
fn the_status_of_a_proxy_and_what_must_be_allowed_are_reported() {
    run(async {
        for (answer, expected) in [
            (
                "HTTP/1.1 403 Forbidden\r\n\r\n",
                [
                    "HTTP 403 to CONNECT 127.0.0.9:9",
                    "this host and port allowed",
                ],
            ),
            (
                "HTTP/1.1 401 Unauthorized\r\n\r\n",
                ["HTTP 401 to CONNECT 127.0.0.9:9", "allowed there"],
            ),
            (
                "HTTP/1.1 405 Method Not Allowed\r\n\r\n",
                ["HTTP 405", "that of an HTTP proxy"],
            ),
            (
                "HTTP/1.1 501 Not Implemented\r\n\r\n",
                ["HTTP 501", "that of an HTTP proxy"],
            ),
            (
                "HTTP/1.1 302 Found\r\nlocation: https://portal.example/\r\n\r\n",
                ["HTTP 302", "redirects"],
            ),
            (
                "HTTP/1.1 429 Too Many\r\nretry-after: 30\r\n\r\n",
                ["HTTP 429", "limits requests"],
            ),
            (
                "HTTP/1.1 502 Bad Gateway\r\n\r\n",
                ["HTTP 502", "cannot connect to this host"],
            ),
            (
                "HTTP/1.1 503 Unavailable\r\nretry-after: 30\r\n\r\n",
                ["HTTP 503", "overloaded"],
            ),
            (
                "HTTP/1.1 504 Gateway Timeout\r\n\r\n",
                ["HTTP 504", "cannot connect to this host"],
            ),
            (
                "hello this is ssh\r\n\r\n",
                ["does not answer in HTTP", "https://"],
            ),
            // A TLS alert: plain text arrived at a TLS port.
            (
                "\u{15}\u{3}\u{3}\0\u{2}\u{2}\u{a}",
                ["does not answer in HTTP", "https://"],
            ),
        ] {
            let proxy = Scripted::this(answer).await;
            let http = through(&format!("http://127.0.0.1:{}", proxy.port), &[]);
            let reported = send(&http, "https://127.0.0.9:9/x?secret=1").await;
            let message = reported.message();
            assert_eq!(reported.reason.as_str(), "ProxyRefused", "{answer}");
            for expected_part in expected {
                assert!(message.contains(expected_part), "{answer}: {message}");
            }
            // Users of namespaces need not know the address of the proxy, nor other parts of its answer.
            for hidden in [&*proxy.port.to_string(), "portal", "secret"] {
                assert!(!message.contains(hidden), "{message}");
            }
            let pause = answer
                .contains("retry-after")
                .then_some(Duration::from_secs(30));
            assert_eq!(reported.retry_after, pause, "{answer}");
            for head in proxy.heads() {
                assert!(
                    head.starts_with("CONNECT 127.0.0.9:9 HTTP/1.1\r\n"),
                    "{head}"
                );
                assert!(!head.contains("secret"), "{head}");
            }
        }
    });
}

#[test]
fn the_schemes_of_a_proxy_are_named_and_a_refused_password_is_not_tried_again() {
    let wants = |schemes: &str| -> &'static str {
        let lines: Vec<String> = schemes
            .split(';')
            .map(|s| format!("proxy-authenticate: {s}\r\n"))
            .collect();
        Box::leak(format!("HTTP/1.1 407 No\r\n{}\r\n", lines.concat()).into_boxed_str())
    };
    run(async {
        for (schemes, user, expected) in [
            (
                "Negotiate;NTLM",
                "",
                ["Negotiate, NTLM", "can only send Basic"],
            ),
            (
                "NTLM",
                "ada:hunter2@",
                ["requires NTLM", "can only send Basic"],
            ),
            (
                "Digest realm=\"hunter2\"",
                "ada:hunter2@",
                ["requires Digest", "can only send Basic"],
            ),
            (
                "Basic realm=\"x\"",
                "ada:hunter2@",
                ["refuses the user and password", "Basic"],
            ),
            (
                "Negotiate;basic realm=\"x\"",
                "",
                ["none is configured", "Basic"],
            ),
            (
                "Hunter2Scheme",
                "",
                ["none is configured", "an administrator adds them"],
            ),
        ] {
            let proxy = Scripted::this(wants(schemes)).await;
            let http = through(&format!("http://{user}127.0.0.1:{}", proxy.port), &[]);
            let reported = send(&http, "https://127.0.0.9:9/").await;
            let message = reported.message();
            assert_eq!(
                reported.reason.as_str(),
                "ProxyCredentialsRefused",
                "{schemes}"
            );
            for expected_part in expected {
                assert!(message.contains(expected_part), "{schemes}: {message}");
            }
            assert!(
                !message.to_ascii_lowercase().contains("hunter2"),
                "{message}"
            );
            let heads = proxy.heads();
            let sent = heads
                .iter()
                .filter(|h| h.to_ascii_lowercase().contains("proxy-authorization"));
            assert_eq!(
                (heads.len(), sent.count()),
                (2, usize::from(!user.is_empty())),
                "{heads:?}"
            );
        }
    });
}

#[test]
fn a_proxy_that_wants_its_password_gets_it_with_the_second_question() {
    run(async {
        let proxy = Scripted::this("HTTP/1.1 403 Forbidden\r\n\r\n").await;
        let http = through(&format!("http://ada:hunter2@127.0.0.1:{}", proxy.port), &[]);
        let reported = send(&http, "https://127.0.0.9:9/").await;
        assert!(
            reported.message().contains("HTTP 403"),
            "{}",
            reported.message()
        );
        let heads = proxy.heads();
        assert_eq!(heads.len(), 2);
        for head in heads {
            assert!(
                head.to_ascii_lowercase()
                    .contains("proxy-authorization: basic "),
                "{head}"
            );
        }
    });
}

/// The token error for a server that sends this over TLS.
async fn reported_of(answer: Vec<u8>) -> TokenError {
    let (authority, port) = over_tls(answer).await;
    let mut trusting = issuer();
    trusting.ca_bundle = Some(authority.ca_pem().to_owned());
    let url = Url::parse(&format!("https://localhost:{port}/token")).unwrap();
    Http::default().get(&trusting, url).await.err().unwrap()
}

#[test]
fn what_is_no_http_is_not_called_a_broken_connection() {
    run(async {
        let lengths = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}";
        let long = format!(
            "HTTP/1.1 200 OK\r\nset-cookie: {}\r\n\r\n",
            "a".repeat(600_000)
        );
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(500));
        for (answer, reason, expected_part) in [
            (
                "hello this is ssh\r\n",
                "MalformedAnswer",
                "is not valid HTTP",
            ),
            (lengths, "MalformedAnswer", "is not valid HTTP"),
            (
                "HTTP/1.1 2x0 OK\r\n\r\n",
                "MalformedAnswer",
                "is not valid HTTP",
            ),
            (
                "HTTP/1.1 200 OK\r\n bad header\r\n\r\n",
                "MalformedAnswer",
                "is not valid HTTP",
            ),
            (&long, "AnswerTooLarge", "header of the answer"),
            (&many, "AnswerTooLarge", "100 fields"),
        ] {
            let reported = reported_of(answer.as_bytes().to_vec()).await;
            let start: String = answer.chars().take(40).collect();
            assert_eq!(
                (reported.reason.as_str(), reported.class, reported.stage),
                (reason, Class::Transient, Stage::BrokenOff),
                "{start}: {}",
                reported.message()
            );
            // A server that answers has usually read the request.
            assert!(!reported.not_sent, "{start}");
            assert!(
                reported.message().contains(expected_part),
                "{start}: {}",
                reported.message()
            );
            assert!(
                !reported.message().contains("ssh"),
                "{}",
                reported.message()
            );
        }
        // A connection that ends within the head is reported as a failed connection.
        let reported = reported_of(b"HTTP/1.1 200 OK\r\n".to_vec()).await;
        assert_eq!(reported.reason.as_str(), "IssuerUnreachable");
    });
}

#[test]
fn an_address_that_only_the_discovery_document_names_is_reported_as_such() {
    run(async {
        let mut discovered = issuer();
        discovered.endpoint = Endpoint::Discover(Url::parse("https://idp.example/").unwrap());
        let inner = Url::parse("https://10.0.0.5/token").unwrap();
        let reported = Http::default()
            .get(&discovered, inner.clone())
            .await
            .err()
            .unwrap();
        assert_eq!(reported.reason.as_str(), "AddressNotAllowed");
        let message = reported.message();
        assert!(
            message.contains("discovery document names: 10.0.0.5"),
            "{message}"
        );
        // An administrator wrote the issuer's own URL.
        discovered.endpoint = Endpoint::Discover(Url::parse("https://10.0.0.5/").unwrap());
        let reported = Http::default().get(&discovered, inner).await.err().unwrap();
        assert!(
            !reported.message().contains("discovery"),
            "{}",
            reported.message()
        );
    });
}

#[test]
fn the_advice_to_correct_a_url_is_given_only_if_a_user_wrote_one() {
    run(async {
        let url = Url::parse("https://login.nobody.invalid/").unwrap();
        let reported = Http::default()
            .get(&issuer(), url.clone())
            .await
            .err()
            .unwrap();
        let message = reported.message();
        assert!(
            message.contains("DNS") && !message.contains("issuer's URLs"),
            "{message}"
        );
        let mut own = issuer();
        own.id = crate::credential::IssuerId::Object(
            crate::api::IssuerKind::TokenIssuer,
            "a".to_owned(),
            "b".to_owned(),
        );
        let reported = Http::default().get(&own, url).await.err().unwrap();
        assert!(
            reported.message().contains("issuer's URLs"),
            "{}",
            reported.message()
        );
    });
}
