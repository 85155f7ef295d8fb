//! Certificates that the client sends, the CAs of an issuer, and the clients that are cached for an issuer.

use super::*;

/// A client certificate, signed by a CA or self-signed.
fn client(params: &CertificateParams, key: &KeyPair, by: Option<&Ca>) -> TlsIdentity {
    let certificate = match by {
        Some(ca) => params.signed_by(key, ca),
        None => params.self_signed(key),
    };
    let identity = Identity::from_pem(&certificate.unwrap().pem(), &key.serialize_pem());
    let identity = identity.unwrap_or_else(|problem| panic!("{problem}"));
    TlsIdentity {
        name: identity.digest(),
        pem: identity.pem().clone(),
    }
}

async fn shown(
    http: &Http,
    port: u16,
    bundle: &str,
    tls: Option<TlsIdentity>,
) -> Result<u16, TokenError> {
    let request = TokenRequest {
        method: Method::Get,
        url: Url::parse(&format!("https://localhost:{port}/")).unwrap(),
        headers: Vec::new(),
        body: SecretString::from(""),
        tls,
        local: false,
    };
    let issuer = issuer(Some(bundle));
    let sent = http.exchange(&issuer, request, SendOptions::default());
    sent.await.map(|a| a.status).map_err(|b| b.token_error)
}

#[test]
fn a_client_certificate_that_is_missing_or_refused_is_no_fault_of_the_bundle() {
    run(async {
        let (top, clients) = (root("Root"), root("Clients"));
        let local = Shows::leaf(&for_names(&["localhost"]), &top, &[]);
        let (mut old, mut early, mut of_server) =
            (named("client"), named("client"), named("client"));
        days(&mut old, 2020, 2021);
        days(&mut early, 2098, 2099);
        of_server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        for versions in [
            &[&rustls::version::TLS12][..],
            &[&rustls::version::TLS13][..],
        ] {
            let port = start(Does::Tls(server_box(&local, Some(&clients), versions))).await;
            let key = KeyPair::generate().unwrap();
            let http = Http::default();
            #[rustfmt::skip]
            let cases = [
                ("none", None, "client.mtls"),
                ("another CA", Some(client(&named("client"), &key, None)), "refuses the client certificate"),
                ("expired", Some(client(&old, &key, Some(&clients))), "refuses the client certificate"),
                ("not yet valid", Some(client(&early, &key, Some(&clients))), "refuses the client certificate"),
                ("for servers alone", Some(client(&of_server, &key, Some(&clients))), "refuses the client certificate"),
            ];
            for (case, identity, expected_part) in cases {
                let token_error = shown(&http, port, &top.pem(), identity)
                    .await
                    .err()
                    .unwrap();
                let text = token_error.next_step.to_string();
                assert!(
                    text.contains(expected_part) && !text.contains("caBundle"),
                    "{case} {versions:?}: {text}"
                );
                assert_eq!(
                    (token_error.reason.as_str(), token_error.class),
                    ("ClientCertificateRefused", Class::Denied),
                    "{case}: {text}"
                );
                assert!(token_error.not_sent, "{case}: {text}");
            }
            let good = client(&named("client"), &key, Some(&clients));
            assert_eq!(
                shown(&http, port, &top.pem(), Some(good)).await.unwrap(),
                200
            );
        }
    });
}

/// Relays to this server. The second time that the client sends data, the relay answers with these bytes, as servers with TLS
/// 1.2 answer a client without a certificate.
async fn cut_short(port: u16, with: Vec<u8>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let with = with.clone();
            tokio::spawn(async move {
                let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let (mut bytes, mut first) = ([0; 16 * 1024], [0]);
                let n = client.read(&mut bytes).await.unwrap();
                server.write_all(&bytes[..n]).await.unwrap();
                loop {
                    tokio::select! {
                        n = server.read(&mut bytes) => {
                            let n = n.unwrap();
                            client.write_all(&bytes[..n]).await.unwrap();
                        }
                        _ = client.peek(&mut first) => break,
                    }
                }
                let _ = client.read(&mut bytes).await;
                let _ = client.write_all(&with).await;
                let _ = client.shutdown().await;
                while client.read(&mut bytes).await.is_ok_and(|n| n > 0) {}
            });
        }
    });
    own
}

/// A server that has already read a secret could show it to others in its next certificate.
#[test]
fn a_certificate_cannot_copy_a_secret_into_a_message() {
    run(async {
        let (secret, host) = ("hT9~xkCd-42-QqZz", "localhost");
        let encoded = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect::<String>();
        let top = root("Root");
        for (subject, name) in [
            (secret, "other.example"),
            ("server", "ht9-xkcd-42-qqzz.example"),
            (&*encoded, "other.example"),
            ("a hT9~xkCd here", "xkcd-42-qqzz.localhost"),
        ] {
            let mut params = for_names(&[name]);
            params.distinguished_name.push(DnType::CommonName, subject);
            let (itself, _) = Shows::itself(&params);
            for (shows, bundle) in [
                (Shows::leaf(&params, &top, &[]), top.pem()),
                (itself, top.pem()),
            ] {
                let port = start(tls(&shows)).await;
                let request = TokenRequest {
                    method: Method::Post,
                    url: Url::parse(&format!("https://{host}:{port}/")).unwrap(),
                    headers: Vec::new(),
                    body: SecretString::from(format!("client_id=c&client_secret={encoded}")),
                    tls: None,
                    local: false,
                };
                let http = Http::default();
                let issuer = issuer(Some(&bundle));
                let sent = http.exchange(&issuer, request, SendOptions::default());
                let reported = sent.await.err().unwrap().token_error.message();
                for part in ["hT9~xkCd", "42-QqZz", "xkcd-42", "42-qqzz"] {
                    assert!(!reported.contains(part), "{subject} {name}: {reported}");
                }
                assert!(reported.contains("localhost"), "{reported}");
                assert!(reported.contains("certificate"), "{reported}");
            }
        }
    });
}

/// An issuer whose credentials have client certificates counts as reached, whatever its server answers to a client without one.
#[test]
fn a_server_that_demands_a_client_certificate_is_reached_and_another_one_is_not() {
    run(async {
        let (top, clients) = (root("Root"), root("Clients"));
        let local = Shows::leaf(&for_names(&["localhost"]), &top, &[]);
        let tls12 = &[&rustls::version::TLS12][..];
        let demands = |versions| Does::Tls(server_box(&local, Some(&clients), versions));
        let old = start(demands(tls12)).await;
        let new = start(demands(&[&rustls::version::TLS13][..])).await;
        let plain = start(Does::Tls(server_box(&local, None, tls12))).await;
        let (handshake, certificate) = (causes::alert(40), causes::alert(42));
        for (case, port, reached, reason) in [
            ("tls 1.2", old, true, "ClientCertificateRefused"),
            ("tls 1.3", new, true, "ClientCertificateRefused"),
            (
                "alert 40",
                cut_short(old, handshake.clone()).await,
                true,
                "ClientCertificateRefused",
            ),
            (
                "alert 42",
                cut_short(old, certificate).await,
                true,
                "ClientCertificateRefused",
            ),
            (
                "closed",
                cut_short(old, Vec::new()).await,
                true,
                "IssuerUnreachable",
            ),
            ("requests none", plain, true, ""),
            // No certificate was requested, so the same alert means that no cipher is in common.
            (
                "alert 40, not asked",
                cut_short(plain, handshake).await,
                false,
                "TlsFailed",
            ),
            (
                "closed, not asked",
                cut_short(plain, Vec::new()).await,
                false,
                "IssuerUnreachable",
            ),
        ] {
            let http = Http::default();
            let url = Url::parse(&format!("https://localhost:{port}/token")).unwrap();
            let reported = http.reach(&issuer(Some(&top.pem())), &url).await;
            assert_eq!(reported.is_ok(), reached, "{case}: {reported:?}");
            let sent = shown(&http, port, &top.pem(), None).await;
            let token_error = sent.err();
            assert_eq!(
                token_error.as_ref().map_or("", |r| r.reason.as_str()),
                reason,
                "{case}"
            );
            if reached && let Some(token_error) = token_error {
                assert!(
                    token_error.next_step.to_string().contains("client.mtls"),
                    "{case}: {token_error:?}"
                );
            }
        }
        // A server with an untrusted certificate does not count as reached.
        let url = Url::parse(&format!("https://localhost:{old}/token")).unwrap();
        let http = Http::default();
        let reported = http.reach(&issuer(None), &url).await;
        assert_eq!(reported.map_err(|r| r.reason.as_str()), Err("TlsFailed"));
    });
}

#[test]
fn every_key_that_tls_takes_is_shown_to_servers() {
    run(async {
        let (top, clients) = (root("Root"), root("Clients"));
        let local = Shows::leaf(&for_names(&["localhost"]), &top, &[]);
        let port = start(Does::Tls(server_box(&local, Some(&clients), &BOTH))).await;
        for key in [
            KeyPair::generate(),
            KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384),
            KeyPair::generate_for(&PKCS_ECDSA_P521_SHA512),
            KeyPair::generate_for(&PKCS_ED25519),
            KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
            KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_3072),
            KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_4096),
        ] {
            let key = key.unwrap();
            let identity = client(&named("client"), &key, Some(&clients));
            let status = shown(&Http::default(), port, &top.pem(), Some(identity)).await;
            assert_eq!(status.ok(), Some(200), "{:?}", key.algorithm());
        }
    });
}

#[test]
fn a_chain_that_was_incomplete_once_is_shown_in_full_when_it_is() {
    run(async {
        let (top, clients) = (root("Root"), root("Clients"));
        let middle = below(ca_params("Middle"), &clients);
        let local = Shows::leaf(&for_names(&["localhost"]), &top, &[]);
        let port = start(Does::Tls(server_box(&local, Some(&clients), &BOTH))).await;
        let key = KeyPair::generate().unwrap();
        let leaf = named("client").signed_by(&key, &middle).unwrap().pem();
        let shows = |chain: &str| {
            let identity = Identity::from_pem(chain, &key.serialize_pem());
            let identity = identity.unwrap_or_else(|problem| panic!("{problem}"));
            TlsIdentity {
                name: identity.digest(),
                pem: identity.pem().clone(),
            }
        };
        let http = Http::default();
        let alone = shown(&http, port, &top.pem(), Some(shows(&leaf)))
            .await
            .err()
            .unwrap();
        assert_eq!(
            alone.reason.as_str(),
            "ClientCertificateRefused",
            "{}",
            alone.next_step
        );
        assert!(
            alone.next_step.to_string().contains("intermediate"),
            "{}",
            alone.next_step
        );
        // In any order.
        for chain in [
            format!("{leaf}{}", middle.pem()),
            format!("{}{leaf}", middle.pem()),
        ] {
            let status = shown(&http, port, &top.pem(), Some(shows(&chain))).await;
            assert_eq!(status.ok(), Some(200));
        }
    });
}

#[test]
fn requests_of_one_issuer_at_a_time_make_one_client() {
    run(async {
        let top = root("Root");
        let local = Shows::leaf(&for_names(&["localhost"]), &top, &[]);
        let port = start(tls(&local)).await;
        let http = Http::default();
        let pem = top.pem();
        let all = (0..8).map(|_| shown(&http, port, &pem, None));
        for answer in futures::future::join_all(all).await {
            assert_eq!(answer.ok(), Some(200));
        }
        assert_eq!(http.made(), 1);
    });
}

#[test]
fn the_certificate_of_a_bundle_that_is_unusable_is_named() {
    let (one, two) = (root("One"), root("Two"));
    let (a, b) = (one.pem(), two.pem());
    let bare = |pem: &str| {
        pem.lines()
            .filter(|l| !l.starts_with('-'))
            .collect::<String>()
    };
    let cut = &b[..b.len() / 2];
    let damaged = b.replacen("MII", "M*!", 1).replacen("MI", "M*", 1);
    let short = format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        STANDARD.encode([48, 3, 2, 1, 1])
    );
    let key = KeyPair::generate().unwrap().serialize_pem();
    let indented: String = a
        .replace("-----B", "      -----B")
        .replace('\n', "\n      ");
    let good = [
        ("plain", a.clone(), 1),
        ("two", format!("{a}{b}"), 2),
        ("twice", format!("{a}{a}{b}"), 2),
        (
            "CRLF and notes",
            format!("# Größe\r\nSubject: CN=x\r\n{}", a.replace('\n', "\r\n")),
            1,
        ),
        ("byte order mark", format!("\u{feff}{a}"), 1),
        ("indented", indented, 1),
        ("blanks after", a.replace('\n', " \t\n"), 1),
        ("one line", a.replace('\n', " "), 1),
        ("escaped line ends", a.replace('\n', "\\n"), 1),
        ("no-break spaces", a.replace('\n', "\u{a0}\n"), 1),
        ("old label", a.replace("CERTIFICATE", "X509 CERTIFICATE"), 1),
        ("a key beside", format!("{a}{key}"), 1),
    ];
    for (case, text, count) in good {
        let roots = crate::oauth::bundle::roots(&text);
        assert_eq!(roots.as_ref().map(Vec::len), Ok(count), "{case}");
    }
    let pkcs7 = "-----BEGIN PKCS7-----\nMAA=\n-----END PKCS7-----";
    #[rustfmt::skip]
    let bad = [
        ("cut", format!("{a}{cut}"), "certificate 2 of caBundle is cut off"),
        ("no base64", format!("{a}{damaged}"), "certificate 2 of caBundle is not base64"),
        ("no certificate", format!("{a}{b}{short}"), "certificate 3 of caBundle cannot be read"),
        ("PKCS#7", pkcs7.to_owned(), "caBundle is a PKCS#7 file"),
        ("base64 of PEM", STANDARD.encode(&a), "caBundle is base64 of PEM"),
        ("base64 of DER", bare(&a), "caBundle is base64 without the lines of PEM"),
        ("a key", key, "caBundle contains a private key and no certificate"),
        ("a path", "/etc/ssl/ca.pem".to_owned(), "caBundle is the name of a file"),
        ("a request", "-----BEGIN CERTIFICATE REQUEST-----\nMAA=\n-----END CERTIFICATE REQUEST-----".to_owned(), "signing request"),
        ("empty", String::new(), "contains no PEM certificate"),
        ("something else", "hello".to_owned(), "contains no PEM certificate"),
    ];
    for (case, text, reported) in bad {
        let problem = crate::oauth::bundle::roots(&text)
            .err()
            .unwrap_or_else(|| panic!("{case}"));
        assert!(problem.contains(reported), "{case}: {problem}");
        assert!(problem.len() < 300, "{case}: {problem}");
        let of_file = crate::oauth::bundle::roots_of_file(&text).expect_err(case);
        assert!(!of_file.contains("caBundle"), "{case}: {of_file}");
        assert!(!of_file.contains("file's name"), "{case}: {of_file}");
    }
}
