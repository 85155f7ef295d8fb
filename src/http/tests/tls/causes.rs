//! Why there is no connection: servers that use another protocol, and hosts that cannot be reached.

use super::*;

/// The server's part of a handshake that cannot succeed.
pub(super) fn alert(description: u8) -> Vec<u8> {
    vec![21, 3, 3, 0, 2, 2, description]
}

/// A `ServerHello` of TLS 1.0 that chooses `TLS_RSA_WITH_AES_128_CBC_SHA`.
fn hello_of_tls_1_0() -> Vec<u8> {
    let mut hello = vec![22, 3, 1, 0, 42, 2, 0, 0, 38, 3, 1];
    hello.extend([7; 32]);
    hello.extend([0, 0, 0x2f, 0]);
    hello
}

const NOTHING_COMMON: &[&str] = &[
    "no TLS version or cipher in common",
    "TLS 1.2 and 1.3",
    "ECDHE",
];

#[test]
fn servers_that_speak_another_language_are_reported() {
    run(async {
        let top = root("Root");
        let pem = top.pem();
        let local = Shows::leaf(&for_names(&["localhost"]), &top, &[]);
        let mut foo = server(&local, None, &BOTH);
        foo.alpn_protocols = vec![b"foo".to_vec()];
        #[rustfmt::skip]
        let cases: [(&str, Does, &str, &[&str]); 14] = [
            ("handshake_failure", Does::Scripted(alert(40)), "TlsFailed", NOTHING_COMMON),
            ("insufficient_security", Does::Scripted(alert(71)), "TlsFailed", NOTHING_COMMON),
            ("protocol_version", Does::Scripted(alert(70)), "TlsFailed", NOTHING_COMMON),
            ("TLS 1.0", Does::Scripted(hello_of_tls_1_0()), "TlsFailed", NOTHING_COMMON),
            ("unrecognized_name", Does::Scripted(alert(112)), "TlsFailed", &["no certificate for this host"]),
            ("internal_error", Does::Scripted(alert(80)), "TlsFailed", &["failed in the TLS handshake"]),
            ("an alert that nobody knows", Does::Scripted(alert(200)), "TlsFailed", &["alert 200"]),
            ("ALPN", Does::Tls(Box::new(foo)), "TlsFailed", &["HTTP/2", "HTTP/1.1", "ALPN"]),
            ("plain HTTP", Does::Scripted(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()), "TlsFailed", &["does not speak TLS at this port"]),
            ("SSH", Does::Scripted(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()), "TlsFailed", &["does not speak TLS at this port"]),
            ("nothing", Does::Scripted(Vec::new()), "IssuerUnreachable", &["localhost:PORT closed the connection in the TLS handshake"]),
            ("closes", Does::Closes, "IssuerUnreachable", &["closed the connection in the TLS handshake"]),
            ("resets", Does::Resets, "IssuerUnreachable", &["reset the connection in the TLS handshake"]),
            ("stalls", Does::Stalls, "IssuerTimeout", &["localhost:PORT accepts connections", "TLS handshake in time"]),
        ];
        for (case, does, reason, expected) in cases {
            let token_error = reported(case, does, Some(&pem), expected).await;
            assert_eq!(
                (token_error.reason.as_str(), token_error.class),
                (reason, Class::Transient),
                "{case}: {}",
                token_error.next_step
            );
        }
    });
}

#[test]
fn hosts_that_are_not_reached_are_named_with_the_cause() {
    run(async {
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = gone.local_addr().unwrap().port();
        drop(gone);
        let at = |url: String| async move {
            let url = Url::parse(&url).unwrap();
            Http::default().get(&issuer(None), url).await.err().unwrap()
        };
        let refused = at(format!("https://localhost:{port}/")).await;
        assert_eq!(refused.reason.as_str(), "IssuerUnreachable");
        let expected = format!("no connection to localhost:{port}: connection refused");
        assert!(
            refused.next_step.to_string().contains(&expected),
            "{}",
            refused.next_step
        );
        let unknown = at("https://nobody.invalid/".to_owned()).await;
        assert_eq!(unknown.reason.as_str(), "IssuerUnreachable");
        assert!(
            unknown.next_step.to_string().contains("nobody.invalid"),
            "{}",
            unknown.next_step
        );
        assert!(
            unknown.next_step.to_string().contains("DNS"),
            "{}",
            unknown.next_step
        );
        // For an address that the network guard refuses, the guard's rules determine the message.
        let guarded = at("https://10.0.0.1/".to_owned()).await;
        assert_eq!(guarded.reason.as_str(), "AddressNotAllowed");
    });
}

#[test]
fn each_cause_of_no_connection_has_its_own_message() {
    use std::io::{Error, ErrorKind as K};
    let target = |begun| RequestTarget {
        host: "idp.example".to_owned(),
        port: 8443,
        built_in: false,
        proxy: None,
        shows: false,
        hide: None,
        seen: Count {
            begun,
            ..Count::default()
        },
    };
    let mut seen = std::collections::BTreeSet::new();
    for (kind, kinds, begun, reason, expected_part) in [
        (
            K::ConnectionRefused,
            (true, false),
            0,
            "IssuerUnreachable",
            "connection refused",
        ),
        (
            K::NetworkUnreachable,
            (true, false),
            0,
            "IssuerUnreachable",
            "no route",
        ),
        (
            K::ConnectionReset,
            (true, false),
            0,
            "IssuerUnreachable",
            "connection reset",
        ),
        (
            K::PermissionDenied,
            (true, false),
            0,
            "IssuerUnreachable",
            "not permitted",
        ),
        (
            K::TimedOut,
            (true, true),
            0,
            "IssuerTimeout",
            "nothing answers",
        ),
        (
            K::TimedOut,
            (true, true),
            1,
            "IssuerTimeout",
            "does not finish the TLS handshake",
        ),
        (
            K::UnexpectedEof,
            (true, false),
            1,
            "IssuerUnreachable",
            "closed the connection in the TLS",
        ),
        (
            K::ConnectionReset,
            (true, false),
            1,
            "IssuerUnreachable",
            "reset the connection in the TLS",
        ),
        (
            K::ConnectionReset,
            (false, false),
            1,
            "IssuerUnreachable",
            "was reset before",
        ),
        (
            K::UnexpectedEof,
            (false, false),
            1,
            "IssuerUnreachable",
            "ended before",
        ),
        (
            K::TimedOut,
            (false, true),
            1,
            "IssuerTimeout",
            "did not answer in time",
        ),
    ] {
        let token_error = broken::plain(&Error::from(kind), kinds, &target(begun));
        assert_eq!(token_error.reason.as_str(), reason, "{expected_part}");
        let text = token_error.next_step.to_string();
        assert!(
            text.contains(expected_part) && text.contains("idp.example:8443"),
            "{expected_part}: {text}"
        );
        assert!(seen.insert(text), "{expected_part} twice");
    }
}
