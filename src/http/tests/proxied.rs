//! The sender and a proxy, over real sockets.

use std::{
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use secrecy::SecretString;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use url::Url;

use crate::{
    api::Cloud,
    credential::{Issuer, OperatorIdentity},
    http::Http,
    oauth::{Class, Method, TokenError, TokenRequest},
    proxy::Proxy,
};

pub(super) fn run<T>(test: impl Future<Output = T>) -> T {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(test)
}

/// A server that sends the same answer to every client and records the requests.
pub(super) struct Scripted {
    pub(super) port: u16,
    heads: Arc<Mutex<Vec<String>>>,
    visits: Arc<AtomicUsize>,
}

impl Scripted {
    pub(super) async fn this(answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (heads, visits) = (Arc::<Mutex<Vec<String>>>::default(), Arc::default());
        let (notes, count) = (Arc::clone(&heads), Arc::clone(&visits));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                AtomicUsize::fetch_add(&count, 1, Ordering::SeqCst);
                let mut head = vec![0; 4096];
                let read = stream.read(&mut head).await.unwrap_or(0);
                let text = String::from_utf8_lossy(&head[..read]).into_owned();
                notes
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(text);
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Self {
            port,
            heads,
            visits,
        }
    }

    pub(super) fn heads(&self) -> Vec<String> {
        self.heads
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn visits(&self) -> usize {
        self.visits.load(Ordering::SeqCst)
    }
}

pub(super) fn through(url: &str, direct: &[String]) -> Http {
    Http::with_proxy(Proxy::parse(&SecretString::from(url.to_owned()), direct).ok())
}

pub(super) fn issuer() -> Issuer {
    let mut issuer = Issuer::inline("contoso.example", Cloud::Public).unwrap();
    issuer.allowed_cidrs = vec!["127.0.0.0/8".parse().unwrap()];
    issuer
}

pub(super) async fn send(http: &Http, url: &str) -> TokenError {
    http.get(&issuer(), Url::parse(url).unwrap())
        .await
        .err()
        .unwrap()
}

#[test]
fn what_a_proxy_answers_is_reported_as_the_proxys_and_nothing_was_sent() {
    run(async {
        for (answer, reason, expected_part) in [
            (
                "HTTP/1.1 403 Forbidden\r\n\r\n",
                "ProxyRefused",
                "allowed there",
            ),
            (
                "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 4\r\n\r\nDNS!",
                "ProxyRefused",
                "cannot be reached",
            ),
            (
                "HTTP/1.1 302 Found\r\nlocation: https://portal.example/\r\n\r\n",
                "ProxyRefused",
                "allowed",
            ),
            (
                "SSH-2.0-OpenSSH\r\n",
                "ProxyRefused",
                "does not answer in HTTP",
            ),
            (
                "HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic\r\n\r\n",
                "ProxyCredentialsRefused",
                "none is configured",
            ),
            ("", "ProxyUnreachable", "without a response"),
            // It opens the connection, and then sends something that is not TLS.
            (
                "HTTP/1.1 200 OK\r\n\r\n",
                "IssuerUnreachable",
                "before the TLS handshake was complete",
            ),
        ] {
            let proxy = Scripted::this(answer).await;
            let http = through(&format!("http://127.0.0.1:{}", proxy.port), &[]);
            let reported = send(&http, "https://127.0.0.9:9/x?secret=1").await;
            assert_eq!(
                (reported.reason.as_str(), reported.class),
                (reason, Class::Transient),
                "{answer}"
            );
            assert!(
                reported.next_step.to_string().contains(expected_part),
                "{answer}: {}",
                reported.next_step
            );
            assert!(reported.not_sent, "{answer}");
            for head in proxy.heads() {
                assert!(
                    head.starts_with("CONNECT 127.0.0.9:9 HTTP/1.1\r\n"),
                    "{head}"
                );
                assert!(!head.contains("secret"), "{head}");
            }
            // A second request shows what the proxy answered.
            let connects = if reason == "ProxyRefused" || reason == "ProxyCredentialsRefused" {
                2
            } else {
                1
            };
            assert_eq!(proxy.visits(), connects, "{answer}");
        }
    });
}

#[test]
fn a_proxy_that_is_not_there_is_reported() {
    run(async {
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = gone.local_addr().unwrap().port();
        drop(gone);
        for (url, expected_part) in [
            (format!("http://127.0.0.1:{port}"), "connection refused"),
            ("http://nobody.invalid:3128".to_owned(), "DNS"),
        ] {
            let reported = send(&through(&url, &[]), "https://127.0.0.9:9/").await;
            assert_eq!(
                (reported.reason.as_str(), reported.not_sent),
                ("ProxyUnreachable", true),
                "{url}"
            );
            assert!(
                reported.next_step.to_string().contains(expected_part),
                "{}",
                reported.next_step
            );
        }
        // Plain HTTP where TLS is expected.
        let plain = Scripted::this("HTTP/1.1 400 Bad Request\r\n\r\n").await;
        let http = through(&format!("https://127.0.0.1:{}", plain.port), &[]);
        let reported = send(&http, "https://127.0.0.9:9/").await;
        assert_eq!(reported.reason.as_str(), "ProxyUnreachable");
        assert!(
            reported
                .next_step
                .to_string()
                .contains("TLS handshake with the proxy"),
            "{}",
            reported.next_step
        );
    });
}

/// A server behind TLS that sends this answer to every client, and its CA.
pub(super) async fn over_tls(answer: Vec<u8>) -> (testenv::tls::Authority, u16) {
    let authority = testenv::tls::Authority::new("edge").unwrap();
    let certificate = authority.loopback_certificate().unwrap();
    let chain = CertificateDer::from_pem_slice(certificate.certificate_pem.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(certificate.key_pem.as_bytes()).unwrap();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                let mut head = [0; 4096];
                let _ = stream.read(&mut head).await;
                let _ = stream.write_all(&answer).await;
                let _ = stream.shutdown().await;
            }
        }
    });
    (authority, port)
}

#[test]
fn a_proxy_behind_tls_is_spoken_to_if_its_certificate_is_trusted() {
    run(async {
        let (authority, port) = over_tls(b"HTTP/1.1 403 No\r\n\r\n".to_vec()).await;
        let http = through(&format!("https://localhost:{port}"), &[]);
        let url = Url::parse("https://127.0.0.9:9/").unwrap();
        let reported = http.get(&issuer(), url.clone()).await.err().unwrap();
        assert_eq!(reported.reason.as_str(), "ProxyUnreachable");
        assert!(
            reported
                .next_step
                .to_string()
                .contains("TLS handshake with the proxy"),
            "{}",
            reported.next_step
        );
        let mut trusting = issuer();
        trusting.ca_bundle = Some(authority.ca_pem().to_owned());
        let reported = http.get(&trusting, url).await.err().unwrap();
        assert_eq!(
            reported.reason.as_str(),
            "ProxyRefused",
            "{}",
            reported.next_step
        );
    });
}

#[test]
fn user_and_password_go_to_the_proxy_and_are_reported_if_they_are_wrong() {
    run(async {
        let refuses = "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n";
        let proxy = Scripted::this(refuses).await;
        let http = through(
            &format!("http://ada:p%40%C3%BC@127.0.0.1:{}", proxy.port),
            &[],
        );
        let reported = send(&http, "https://127.0.0.9:9/").await;
        assert_eq!(reported.reason.as_str(), "ProxyCredentialsRefused");
        assert!(
            reported.next_step.to_string().contains("corrects them"),
            "{}",
            reported.next_step
        );
        let head = proxy.heads().concat().to_ascii_lowercase();
        // ada:p@ü
        assert!(
            head.contains("proxy-authorization: basic ywrhonbaw7w="),
            "{head}"
        );
    });
}

#[test]
fn direct_connections_and_the_machines_own_identity_do_not_use_the_proxy() {
    run(async {
        let proxy = Scripted::this("HTTP/1.1 403 Forbidden\r\n\r\n").await;
        let url = format!("http://127.0.0.1:{}", proxy.port);
        let http = through(&url, &["127.0.0.9".to_owned()]);
        assert_eq!(
            send(&http, "https://127.0.0.9:9/").await.reason.as_str(),
            "IssuerUnreachable"
        );
        assert_eq!(proxy.visits(), 0);

        let identity = Scripted::this("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await;
        let mut allowing = issuer();
        allowing.operator_identity = Some(OperatorIdentity::AppService);
        let request = TokenRequest {
            method: Method::Get,
            url: Url::parse(&format!("http://localhost:{}/token", identity.port)).unwrap(),
            headers: Vec::new(),
            body: SecretString::from(""),
            tls: None,
            local: true,
        };
        let answer = through(&url, &[])
            .send(&allowing, request)
            .await
            .ok()
            .unwrap();
        assert_eq!(
            (answer.status, identity.visits(), proxy.visits()),
            (200, 1, 0)
        );
    });
}

#[test]
fn no_address_is_sent_to_a_proxy_that_a_direct_connection_would_refuse() {
    run(async {
        let proxy = Scripted::this("HTTP/1.1 403 Forbidden\r\n\r\n").await;
        let http = through(&format!("http://127.0.0.1:{}", proxy.port), &[]);
        // An allowed address. The connection that it leaves open is not used for other addresses.
        assert_eq!(
            send(&http, "https://127.0.0.9:9/").await.reason.as_str(),
            "ProxyRefused"
        );
        for url in [
            "https://10.0.0.1/",
            "https://169.254.169.254/",
            "https://[::ffff:10.0.0.1]/",
            "https://kubernetes.default.svc/",
            "https://metadata.google.internal/",
            "https://idp/",
        ] {
            let reported = send(&http, url).await;
            assert_eq!(
                (reported.reason.as_str(), reported.class),
                ("AddressNotAllowed", Class::Invalid),
                "{url}"
            );
            assert!(reported.not_sent, "{url}");
        }
        // A name of this machine would be a name of the proxy's machine there, unless it is allowed.
        let mut closed = issuer();
        closed.allowed_cidrs = Vec::new();
        let local = Url::parse("https://localhost:9/").unwrap();
        let reported = http.get(&closed, local).await.err().unwrap();
        assert_eq!(reported.reason.as_str(), "AddressNotAllowed");
        assert_eq!(proxy.visits(), 2, "the one that is fit, and why not");
        // For an allowed IPv6 address, the message states that a name is needed.
        let reported = send(&http, "https://[2606:4700::1111]/").await;
        assert!(
            reported.next_step.to_string().contains("IPv6"),
            "{}",
            reported.next_step
        );
    });
}
