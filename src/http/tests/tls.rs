//! The sender against servers that do TLS in each way that goes wrong, over real sockets. What is told names what was seen,
//! and each fault has a sentence of its own.

use std::{future::Future, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyPair, NameConstraints,
    PKCS_ECDSA_P384_SHA384, PKCS_ECDSA_P521_SHA512, PKCS_ED25519, PKCS_RSA_SHA256, PublicKeyData,
    RsaKeySize, SigningKey,
};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier},
    sign::CertifiedKey,
};
use secrecy::SecretString;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use url::Url;

use crate::{
    api::Cloud,
    credential::Issuer,
    http::{
        Http, Manner,
        broken::{self, Way},
        trust::Count,
    },
    oauth::{Class, Identity, Method, Refusal, TlsIdentity, TokenRequest},
};

fn run<T>(test: impl Future<Output = T>) -> T {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(test)
}

/// A CA.
type Ca = CertifiedIssuer<'static, KeyPair>;

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn ca_params(name: &str) -> CertificateParams {
    let mut params = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

fn root(name: &str) -> Ca {
    Ca::self_signed(ca_params(name), KeyPair::generate().unwrap()).unwrap()
}

fn below(params: CertificateParams, by: &Ca) -> Ca {
    Ca::signed_by(params, KeyPair::generate().unwrap(), by).unwrap()
}

fn for_names(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
    let mut params = named("server");
    params.subject_alt_names = CertificateParams::new(names).unwrap().subject_alt_names;
    params
}

/// Certificates and the key of the first.
#[derive(Clone)]
struct Shows(Vec<CertificateDer<'static>>, Arc<KeyPair>);

impl Shows {
    fn leaf(params: &CertificateParams, by: &Ca, with: &[&Ca]) -> Self {
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, by).unwrap();
        let mut chain = vec![leaf.der().clone()];
        chain.extend(with.iter().map(|ca| ca.der().clone()));
        Self(chain, Arc::new(key))
    }

    fn itself(params: &CertificateParams) -> (Self, String) {
        let key = KeyPair::generate().unwrap();
        let leaf = params.self_signed(&key).unwrap();
        let pem = leaf.pem();
        (Self(vec![leaf.der().clone()], Arc::new(key)), pem)
    }

    fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.1.serialize_der()).unwrap()
    }
}

/// Shows a certificate whatever is wrong with it.
#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl ResolvesServerCert for Always {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

fn server(
    shows: &Shows,
    clients: Option<&Ca>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> ServerConfig {
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&shows.key()).unwrap();
    let builder = ServerConfig::builder_with_protocol_versions(versions);
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let mut roots = RootCertStore::empty();
            roots.add(ca.der().clone()).unwrap();
            builder.with_client_cert_verifier(
                WebPkiClientVerifier::builder(Arc::new(roots))
                    .build()
                    .unwrap(),
            )
        }
    };
    builder.with_cert_resolver(Arc::new(Always(Arc::new(CertifiedKey::new(
        shows.0.clone(),
        key,
    )))))
}

fn server_box(
    shows: &Shows,
    clients: Option<&Ca>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Box<ServerConfig> {
    Box::new(server(shows, clients, versions))
}

const BOTH: [&rustls::SupportedProtocolVersion; 2] =
    [&rustls::version::TLS12, &rustls::version::TLS13];

/// What a server does with each connection.
enum Does {
    Tls(Box<ServerConfig>),
    /// Reads once, writes this, and closes.
    Says(Vec<u8>),
    Closes,
    Resets,
    /// Accepts and does nothing at all.
    Stalls,
}

async fn start(does: Does) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let does = Arc::new(match does {
        Does::Tls(config) => (
            Some(tokio_rustls::TlsAcceptor::from(Arc::from(config))),
            None,
        ),
        other => (None, Some(other)),
    });
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            if let (_, Some(Does::Stalls)) = &*does {
                held.push(stream);
                continue;
            }
            tokio::spawn(serve(stream, Arc::clone(&does)));
        }
    });
    port
}

async fn serve(
    mut stream: TcpStream,
    does: Arc<(Option<tokio_rustls::TlsAcceptor>, Option<Does>)>,
) {
    let mut head = [0; 4096];
    match &*does {
        (Some(acceptor), _) => {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                let _ = stream.read(&mut head).await;
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
                let _ = stream.write_all(answer).await;
                let _ = stream.shutdown().await;
            }
        }
        (_, Some(Does::Says(bytes))) => {
            let _ = stream.read(&mut head).await;
            let _ = stream.write_all(bytes).await;
            let _ = stream.shutdown().await;
            // The rest is read, so that the answer is not lost in a reset.
            while stream.read(&mut head).await.is_ok_and(|n| n > 0) {}
        }
        (_, Some(Does::Resets)) => {
            let _ = stream.read(&mut head).await;
            let _ = stream.set_zero_linger();
        }
        _ => {
            let _ = stream.read(&mut head).await;
        }
    }
}

fn issuer(bundle: Option<&str>) -> Issuer {
    let mut issuer = Issuer::inline("contoso.example", Cloud::Public).unwrap();
    issuer.allowed_cidrs = vec!["127.0.0.0/8".parse().unwrap()];
    issuer.ca_bundle = bundle.map(str::to_owned);
    issuer
}

async fn asked(does: Does, bundle: Option<&str>) -> Result<u16, Refusal> {
    let port = start(does).await;
    let url = Url::parse(&format!("https://localhost:{port}/x?secret=1")).unwrap();
    let answer = Http::default().get(&issuer(bundle), url).await;
    answer
        .map(|document| document.status)
        .map_err(|mut refusal| {
            let text = refusal
                .next_step
                .to_string()
                .replace(&port.to_string(), "PORT");
            refusal.next_step = text.into();
            refusal
        })
}

/// Asks, and holds what is told to these words, besides what holds for all that is told.
async fn told(case: &str, does: Does, bundle: Option<&str>, words: &[&str]) -> Refusal {
    let refusal = asked(does, bundle)
        .await
        .err()
        .unwrap_or_else(|| panic!("{case}: answered"));
    let text = refusal.next_step.to_string();
    for word in words {
        assert!(text.contains(word), "{case}: no {word:?} in {text}");
    }
    assert!(refusal.not_sent, "{case}: {text}");
    assert!(text.len() < 900, "{case}: {} bytes", text.len());
    assert!(!text.contains("secret=1"), "{case}: {text}");
    assert_eq!(text, crate::printable(&text), "{case}");
    refusal
}

fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let mut out = vec![tag];
    match body.len() {
        n if n < 128 => out.push(u8::try_from(n).unwrap()),
        n if n < 256 => out.extend([0x81, u8::try_from(n).unwrap()]),
        n => out.extend([&[0x82][..], &u16::try_from(n).unwrap().to_be_bytes()].concat()),
    }
    out.extend(body);
    out
}

fn name(text: &str) -> Vec<u8> {
    let attribute = tlv(0x30, &[&[6, 3, 0x55, 4, 3], &tlv(0x0c, &[text.as_bytes()])]);
    tlv(0x30, &[&tlv(0x31, &[&attribute])])
}

/// A certificate as rcgen makes none: of version 1, or by a signature algorithm that nobody uses any more.
fn by_hand(version_3: bool, algorithm: &[u8], issuer: &str, by: &KeyPair) -> Shows {
    let key = KeyPair::generate().unwrap();
    let algorithm = tlv(0x30, &[&tlv(6, &[algorithm])]);
    let validity = tlv(
        0x30,
        &[
            &tlv(0x17, &[b"200101000000Z"]),
            &tlv(0x17, &[b"490101000000Z"]),
        ],
    );
    let san = tlv(0x30, &[&tlv(0x82, &[b"localhost"])]);
    let san = tlv(0x30, &[&[6, 3, 0x55, 0x1d, 0x11], &tlv(4, &[&san])]);
    let extensions = tlv(0xa3, &[&tlv(0x30, &[&san])]);
    let spki = key.subject_public_key_info();
    let (first, last) = if version_3 {
        (tlv(0xa0, &[&[2, 1, 2]]), extensions)
    } else {
        (Vec::new(), Vec::new())
    };
    let parts: [&[u8]; 8] = [
        &first,
        &[2, 1, 9],
        &algorithm,
        &name(issuer),
        &validity,
        &name("by hand"),
        &spki,
        &last,
    ];
    let body = tlv(0x30, &parts);
    let signature = by.sign(&body).unwrap();
    let der = tlv(0x30, &[&body, &algorithm, &tlv(3, &[&[0], &signature])]);
    Shows(vec![CertificateDer::from(der)], Arc::new(key))
}

const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
const ECDSA_SHA1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1];

fn tls(shows: &Shows) -> Does {
    Does::Tls(server_box(shows, None, &BOTH))
}

fn days(params: &mut CertificateParams, from: i32, until: i32) {
    params.not_before = rcgen::date_time_ymd(from, 1, 1);
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
}

#[test]
fn a_chain_that_does_not_end_in_a_trusted_ca_is_told_with_its_names() {
    run(async {
        let (top, other) = (root("Root"), root("Other"));
        let middle = below(ca_params("Middle"), &top);
        let local = || for_names(&["localhost"]);
        let alone = Shows::leaf(&local(), &middle, &[]);
        let whole = Shows::leaf(&local(), &middle, &[&middle]);
        let with_root = Shows::leaf(&local(), &middle, &[&middle, &top]);
        let (own, own_pem) = Shows::itself(&local());
        let mut ca = local();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let (own_ca, own_ca_pem) = Shows::itself(&ca);
        let (top_pem, other_pem) = (top.pem(), other.pem());
        #[rustfmt::skip]
        let cases: [(&str, &Shows, Option<&str>, &[&str]); 9] = [
            ("no intermediate", &alone, Some(&top_pem), &["localhost:PORT", "its own certificate alone", "CN=Middle", "CN=Root", "send its intermediate"]),
            ("no intermediate, no bundle", &alone, None, &["its own certificate alone", "CN=Middle", "caBundle", "intermediate"]),
            ("another bundle", &whole, Some(&other_pem), &["2 certificates", "CN=Root", "neither sent nor in caBundle", "CN=Other"]),
            ("no bundle", &whole, None, &["2 certificates", "CN=Root", "put that CA into caBundle"]),
            ("root sent", &with_root, None, &["CN=Root", "not trusted", "caBundle"]),
            ("root sent, another bundle", &with_root, Some(&other_pem), &["CN=Root", "not trusted", "caBundle"]),
            ("self-signed", &own, None, &["CN=server", "self-signed", "caBundle"]),
            ("self-signed, another bundle", &own, Some(&other_pem), &["self-signed", "not in caBundle"]),
            ("self-signed as a CA", &own_ca, Some(&own_ca_pem), &["CA:TRUE", "CA:FALSE"]),
        ];
        for (case, shows, bundle, words) in cases {
            let refusal = told(case, tls(shows), bundle, words).await;
            assert_eq!(
                (refusal.reason.as_str(), refusal.class),
                ("TlsFailed", Class::Transient),
                "{case}"
            );
        }
        for (case, shows, bundle) in [
            ("whole", &whole, &top_pem),
            ("the intermediate is trusted", &alone, &middle.pem()),
            ("self-signed and trusted", &own, &own_pem),
        ] {
            assert_eq!(
                asked(tls(shows), Some(bundle)).await.unwrap(),
                200,
                "{case}"
            );
        }
        // The CA was made again under the name that it had.
        let again = root("Root");
        let renewed = Shows::leaf(&local(), &again, &[]);
        told(
            "re-keyed",
            tls(&renewed),
            Some(&top_pem),
            &["CN=Root", "another key", "present certificate"],
        )
        .await;
        let renewed = Shows::leaf(&local(), &again, &[&again]);
        told(
            "re-keyed, and the new root is sent",
            tls(&renewed),
            Some(&top_pem),
            &["CN=Root", "another key", "present certificate"],
        )
        .await;
        // The server was given a certificate of the new intermediate, and sends the one before.
        let next = below(ca_params("Middle"), &top);
        let stale = Shows::leaf(&local(), &next, &[&middle]);
        told(
            "an intermediate was re-keyed",
            tls(&stale),
            Some(&top_pem),
            &[
                "CN=Middle",
                "another key",
                "have the server send",
                "CN=Root",
            ],
        )
        .await;
        // By the identifiers of keys it is known which.
        let mut marked = local();
        marked.use_authority_key_identifier_extension = true;
        let stale = Shows::leaf(&marked, &next, &[&middle]);
        told(
            "an intermediate was re-keyed, and keys are marked",
            tls(&stale),
            Some(&top_pem),
            &[
                "CN=Middle",
                "that the server sends has another key",
                "send the present one",
            ],
        )
        .await;
        // While both are in the bundle, and where the key stays, nobody notices.
        let both = format!("{top_pem}{}", again.pem());
        assert_eq!(asked(tls(&renewed), Some(&both)).await.unwrap(), 200);
        let key = KeyPair::from_pem(&top.key().serialize_pem()).unwrap();
        let prolonged = Ca::self_signed(ca_params("Root"), key).unwrap();
        let bundle = prolonged.pem();
        assert_ne!(bundle, top_pem);
        assert_eq!(asked(tls(&whole), Some(&bundle)).await.unwrap(), 200);
    });
}

#[test]
fn the_cas_of_the_operator_are_trusted_beside_those_of_the_issuer() {
    run(async {
        let (company, own, other) = (root("Company"), root("Own"), root("Other"));
        let shows = |ca: &Ca| Shows::leaf(&for_names(&["localhost"]), ca, &[]);
        let status = async |shows: &Shows, bundle: Option<&str>| {
            let http = Http::default().trusting(vec![company.der().clone()]);
            let port = start(tls(shows)).await;
            let url = Url::parse(&format!("https://localhost:{port}/x")).unwrap();
            let answer = http.get(&issuer(bundle), url).await;
            answer.map(|a| a.status).map_err(|refusal| refusal.reason)
        };
        let bundle = own.pem();
        assert_eq!(status(&shows(&company), None).await, Ok(200));
        assert_eq!(status(&shows(&company), Some(&bundle)).await, Ok(200));
        assert_eq!(status(&shows(&own), Some(&bundle)).await, Ok(200));
        let refused = Err(crate::Reason::TlsFailed);
        assert_eq!(status(&shows(&own), None).await, refused);
        assert_eq!(status(&shows(&other), Some(&bundle)).await, refused);
    });
}

#[test]
fn what_a_certificate_says_wrongly_is_told() {
    run(async {
        let top = root("Root");
        let pem = top.pem();
        let local = || for_names(&["localhost"]);
        let (mut old, mut early, mut middle) = (local(), local(), ca_params("Middle"));
        days(&mut old, 2020, 2021);
        days(&mut early, 2098, 2099);
        days(&mut middle, 2020, 2021);
        let middle = below(middle, &top);
        let mut client = local();
        client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let mut narrow = ca_params("Narrow");
        narrow.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName("corp.example".to_owned())],
            excluded_subtrees: Vec::new(),
        });
        let narrow = below(narrow, &top);
        let mut no_ca = named("No CA");
        no_ca.is_ca = IsCa::ExplicitNoCa;
        let no_ca = below(no_ca, &top);
        let many = [
            "a1.example",
            "a2.example",
            "a3.example",
            "a4.example",
            "10.0.0.1",
            "a6.example",
            "a7.example",
        ];
        let mut hostile = named(&format!("\u{202e}evil\n{}", "x".repeat(400)));
        days(&mut hostile, 2020, 2021);
        hostile.subject_alt_names = local().subject_alt_names;
        #[rustfmt::skip]
        let cases: [(&str, Shows, &[&str]); 12] = [
            ("no subjectAltName", Shows::leaf(&named("localhost"), &top, &[]), &["no subjectAltName", "CN=localhost", "with localhost as"]),
            ("another name", Shows::leaf(&for_names(&["idp.example"]), &top, &[]), &["for idp.example and not for localhost"]),
            ("other names", Shows::leaf(&for_names(&many), &top, &[]), &["a1.example", "10.0.0.1", "and 2 more", "not for localhost"]),
            ("expired", Shows::leaf(&old, &top, &[]), &["the server's certificate expired at 2021-01-01T00:00:00Z", "clock says 20"]),
            ("not yet valid", Shows::leaf(&early, &top, &[]), &["not valid before 2098-01-01T00:00:00Z", "clock says 20"]),
            ("an expired intermediate", Shows::leaf(&local(), &middle, &[&middle]), &["the CA certificate CN=Middle that the server sends expired at 2021"]),
            ("for clients", Shows::leaf(&client, &top, &[]), &["extendedKeyUsage", "serverAuth"]),
            ("name constraints", Shows::leaf(&local(), &narrow, &[&narrow]), &["nameConstraints"]),
            ("no CA", Shows::leaf(&local(), &no_ca, &[&no_ca]), &["not marked as a CA"]),
            ("version 1", by_hand(false, ECDSA_SHA256, "Root", top.key()), &["X.509 version 1", "CN=by hand", "version 3"]),
            ("SHA-1", by_hand(true, ECDSA_SHA1, "Root", top.key()), &["SHA-1"]),
            ("a hostile subject", Shows::leaf(&hostile, &top, &[]), &["expired"]),
        ];
        for (case, shows, words) in cases {
            let refusal = told(case, tls(&shows), Some(&pem), words).await;
            assert_eq!(refusal.reason.as_str(), "TlsFailed", "{case}");
        }
    });
}

/// The server's part of a handshake that nobody can finish.
fn alert(description: u8) -> Vec<u8> {
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
fn servers_that_speak_another_language_are_told() {
    run(async {
        let top = root("Root");
        let pem = top.pem();
        let local = Shows::leaf(&for_names(&["localhost"]), &top, &[]);
        let mut foo = server(&local, None, &BOTH);
        foo.alpn_protocols = vec![b"foo".to_vec()];
        #[rustfmt::skip]
        let cases: [(&str, Does, &str, &[&str]); 14] = [
            ("handshake_failure", Does::Says(alert(40)), "TlsFailed", NOTHING_COMMON),
            ("insufficient_security", Does::Says(alert(71)), "TlsFailed", NOTHING_COMMON),
            ("protocol_version", Does::Says(alert(70)), "TlsFailed", NOTHING_COMMON),
            ("TLS 1.0", Does::Says(hello_of_tls_1_0()), "TlsFailed", NOTHING_COMMON),
            ("unrecognized_name", Does::Says(alert(112)), "TlsFailed", &["no certificate for this host"]),
            ("internal_error", Does::Says(alert(80)), "TlsFailed", &["failed in the TLS handshake"]),
            ("an alert that nobody knows", Does::Says(alert(200)), "TlsFailed", &["alert 200"]),
            ("ALPN", Does::Tls(Box::new(foo)), "TlsFailed", &["HTTP/2", "HTTP/1.1", "ALPN"]),
            ("plain HTTP", Does::Says(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()), "TlsFailed", &["does not speak TLS at this port"]),
            ("SSH", Does::Says(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()), "TlsFailed", &["does not speak TLS at this port"]),
            ("nothing", Does::Says(Vec::new()), "IssuerUnreachable", &["localhost:PORT closed the connection in the TLS handshake"]),
            ("closes", Does::Closes, "IssuerUnreachable", &["closed the connection in the TLS handshake"]),
            ("resets", Does::Resets, "IssuerUnreachable", &["reset the connection in the TLS handshake"]),
            ("stalls", Does::Stalls, "IssuerTimeout", &["localhost:PORT accepts connections", "TLS handshake in time"]),
        ];
        for (case, does, reason, words) in cases {
            let refusal = told(case, does, Some(&pem), words).await;
            assert_eq!(
                (refusal.reason.as_str(), refusal.class),
                (reason, Class::Transient),
                "{case}: {}",
                refusal.next_step
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
        let words = format!("no connection to localhost:{port}: connection refused");
        assert!(
            refused.next_step.to_string().contains(&words),
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
        // An address that the network guard refuses is told by its own rules.
        let guarded = at("https://10.0.0.1/".to_owned()).await;
        assert_eq!(guarded.reason.as_str(), "AddressNotAllowed");
    });
}

#[test]
fn each_cause_of_no_connection_has_its_own_words() {
    use std::io::{Error, ErrorKind as K};
    let way = |begun| Way {
        host: "idp.example".to_owned(),
        port: 8443,
        proxy: None,
        shows: false,
        hide: None,
        seen: Count {
            begun,
            ..Count::default()
        },
    };
    let mut seen = std::collections::BTreeSet::new();
    for (kind, kinds, begun, reason, word) in [
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
        let refusal = broken::plain(&Error::from(kind), kinds, &way(begun));
        assert_eq!(refusal.reason.as_str(), reason, "{word}");
        let text = refusal.next_step.to_string();
        assert!(
            text.contains(word) && text.contains("idp.example:8443"),
            "{word}: {text}"
        );
        assert!(seen.insert(text), "{word} twice");
    }
}

/// A client certificate by a CA, or by itself.
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
) -> Result<u16, Refusal> {
    let request = TokenRequest {
        method: Method::Get,
        url: Url::parse(&format!("https://localhost:{port}/")).unwrap(),
        headers: Vec::new(),
        body: SecretString::from(""),
        tls,
        local: false,
    };
    let issuer = issuer(Some(bundle));
    let sent = http.exchange(&issuer, request, Manner::default());
    sent.await.map(|a| a.status).map_err(|b| b.refusal)
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
            for (case, identity, word) in cases {
                let refusal = shown(&http, port, &top.pem(), identity)
                    .await
                    .err()
                    .unwrap();
                let text = refusal.next_step.to_string();
                assert!(
                    text.contains(word) && !text.contains("caBundle"),
                    "{case} {versions:?}: {text}"
                );
                assert_eq!(
                    (refusal.reason.as_str(), refusal.class),
                    ("ClientCertificateRefused", Class::Denied),
                    "{case}: {text}"
                );
                assert!(refusal.not_sent, "{case}: {text}");
            }
            let good = client(&named("client"), &key, Some(&clients));
            assert_eq!(
                shown(&http, port, &top.pem(), Some(good)).await.unwrap(),
                200
            );
        }
    });
}

/// Relays to this server. The second time that the client sends something, it is answered with these bytes: servers of TLS
/// 1.2 answer a client without a certificate so.
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

/// A server that has read a secret before may show it to others in its next certificate.
#[test]
fn a_certificate_does_not_repeat_a_secret_to_those_who_read_messages() {
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
                let sent = http.exchange(&issuer, request, Manner::default());
                let told = sent.await.err().unwrap().refusal.message();
                for part in ["hT9~xkCd", "42-QqZz", "xkcd-42", "42-qqzz"] {
                    assert!(!told.contains(part), "{subject} {name}: {told}");
                }
                assert!(told.contains("localhost"), "{told}");
                assert!(told.contains("certificate"), "{told}");
            }
        }
    });
}

/// An issuer whose credentials show certificates is reached, whatever its server says to a client without one.
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
        let (handshake, certificate) = (alert(40), alert(42));
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
            ("asks for none", plain, true, ""),
            // Nobody asked for a certificate: the same alert means no common cipher.
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
            let told = http.reach(&issuer(Some(&top.pem())), &url).await;
            assert_eq!(told.is_ok(), reached, "{case}: {told:?}");
            let sent = shown(&http, port, &top.pem(), None).await;
            let refusal = sent.err();
            assert_eq!(
                refusal.as_ref().map_or("", |r| r.reason.as_str()),
                reason,
                "{case}"
            );
            if reached && let Some(refusal) = refusal {
                assert!(
                    refusal.next_step.to_string().contains("client.mtls"),
                    "{case}: {refusal:?}"
                );
            }
        }
        // A certificate that nobody trusts is no reason to be content.
        let url = Url::parse(&format!("https://localhost:{old}/token")).unwrap();
        let http = Http::default();
        let told = http.reach(&issuer(None), &url).await;
        assert_eq!(told.map_err(|r| r.reason.as_str()), Err("TlsFailed"));
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
        // In whatever order.
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
        ("a key", key, "caBundle holds a private key and no certificate"),
        ("a path", "/etc/ssl/ca.pem".to_owned(), "caBundle is the name of a file"),
        ("a request", "-----BEGIN CERTIFICATE REQUEST-----\nMAA=\n-----END CERTIFICATE REQUEST-----".to_owned(), "signing request"),
        ("empty", String::new(), "holds no PEM certificate"),
        ("something else", "hello".to_owned(), "holds no PEM certificate"),
    ];
    for (case, text, told) in bad {
        let problem = crate::oauth::bundle::roots(&text)
            .err()
            .unwrap_or_else(|| panic!("{case}"));
        assert!(problem.contains(told), "{case}: {problem}");
        assert!(problem.len() < 300, "{case}: {problem}");
    }
}
