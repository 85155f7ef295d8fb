//! The client against servers whose TLS fails in each possible way, over real sockets. The message contains what was observed,
//! and each fault has a separate sentence.

mod causes;
mod clients;

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
    http::{Http, SendOptions, broken, target::RequestTarget, trust::Count},
    oauth::{Class, Identity, Method, TlsIdentity, TokenError, TokenRequest},
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

/// Sends a certificate, whatever is wrong with it.
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

/// How a server answers each connection.
enum Does {
    Tls(Box<ServerConfig>),
    /// Reads once, writes this, and closes.
    Scripted(Vec<u8>),
    Closes,
    Resets,
    /// Accepts the connection, and then neither reads nor writes.
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
        (_, Some(Does::Scripted(bytes))) => {
            let _ = stream.read(&mut head).await;
            let _ = stream.write_all(bytes).await;
            let _ = stream.shutdown().await;
            // The rest is read. Otherwise a reset could destroy the answer.
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

async fn send(does: Does, bundle: Option<&str>) -> Result<u16, TokenError> {
    let port = start(does).await;
    let url = Url::parse(&format!("https://localhost:{port}/x?secret=1")).unwrap();
    let answer = Http::default().get(&issuer(bundle), url).await;
    answer
        .map(|document| document.status)
        .map_err(|mut token_error| {
            let text = token_error
                .next_step
                .to_string()
                .replace(&port.to_string(), "PORT");
            token_error.next_step = text.into();
            token_error
        })
}

/// Sends a request and compares the message with these words, in addition to the checks for all messages.
async fn reported(case: &str, does: Does, bundle: Option<&str>, expected: &[&str]) -> TokenError {
    let token_error = send(does, bundle)
        .await
        .err()
        .unwrap_or_else(|| panic!("{case}: answered"));
    let text = token_error.next_step.to_string();
    for expected_part in expected {
        assert!(
            text.contains(expected_part),
            "{case}: no {expected_part:?} in {text}"
        );
    }
    assert!(token_error.not_sent, "{case}: {text}");
    assert!(text.len() < 900, "{case}: {} bytes", text.len());
    assert!(!text.contains("secret=1"), "{case}: {text}");
    assert_eq!(text, crate::printable(&text), "{case}");
    token_error
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

/// A certificate that rcgen cannot create: with version 1, or with an obsolete signature algorithm.
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
fn a_chain_that_does_not_end_in_a_trusted_ca_is_reported_with_its_names() {
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
            ("no intermediate", &alone, Some(&top_pem), &["localhost:PORT", "only its own certificate", "CN=Middle", "CN=Root", "send its intermediate"]),
            ("no intermediate, no bundle", &alone, None, &["only its own certificate", "CN=Middle", "caBundle", "intermediate"]),
            ("another bundle", &whole, Some(&other_pem), &["2 certificates", "CN=Root", "neither sent nor in caBundle", "CN=Other"]),
            ("no bundle", &whole, None, &["2 certificates", "CN=Root", "put that CA into caBundle"]),
            ("root sent", &with_root, None, &["CN=Root", "not trusted", "caBundle"]),
            ("root sent, another bundle", &with_root, Some(&other_pem), &["CN=Root", "not trusted", "caBundle"]),
            ("self-signed", &own, None, &["CN=server", "self-signed", "caBundle"]),
            ("self-signed, another bundle", &own, Some(&other_pem), &["self-signed", "not in caBundle"]),
            ("self-signed as a CA", &own_ca, Some(&own_ca_pem), &["CA:TRUE", "CA:FALSE"]),
        ];
        for (case, shows, bundle, expected) in cases {
            let token_error = reported(case, tls(shows), bundle, expected).await;
            assert_eq!(
                (token_error.reason.as_str(), token_error.class),
                ("TlsFailed", Class::Transient),
                "{case}"
            );
        }
        for (case, shows, bundle) in [
            ("whole", &whole, &top_pem),
            ("the intermediate is trusted", &alone, &middle.pem()),
            ("self-signed and trusted", &own, &own_pem),
        ] {
            assert_eq!(send(tls(shows), Some(bundle)).await.unwrap(), 200, "{case}");
        }
        // The CA was recreated with the same name.
        let again = root("Root");
        let renewed = Shows::leaf(&local(), &again, &[]);
        reported(
            "re-keyed",
            tls(&renewed),
            Some(&top_pem),
            &["CN=Root", "another key", "present certificate"],
        )
        .await;
        let renewed = Shows::leaf(&local(), &again, &[&again]);
        reported(
            "re-keyed, and the new root is sent",
            tls(&renewed),
            Some(&top_pem),
            &["CN=Root", "another key", "present certificate"],
        )
        .await;
        // The server got a certificate of the new intermediate, and still sends the old intermediate.
        let next = below(ca_params("Middle"), &top);
        let stale = Shows::leaf(&local(), &next, &[&middle]);
        reported(
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
        // The key identifiers show which certificate is wrong.
        let mut marked = local();
        marked.use_authority_key_identifier_extension = true;
        let stale = Shows::leaf(&marked, &next, &[&middle]);
        reported(
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
        // Both roots in the bundle, or a new root with the same key: no error.
        let both = format!("{top_pem}{}", again.pem());
        assert_eq!(send(tls(&renewed), Some(&both)).await.unwrap(), 200);
        let key = KeyPair::from_pem(&top.key().serialize_pem()).unwrap();
        let prolonged = Ca::self_signed(ca_params("Root"), key).unwrap();
        let bundle = prolonged.pem();
        assert_ne!(bundle, top_pem);
        assert_eq!(send(tls(&whole), Some(&bundle)).await.unwrap(), 200);
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
            answer
                .map(|a| a.status)
                .map_err(|token_error| token_error.reason)
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
fn invalid_fields_of_a_certificate_are_reported() {
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
        for (case, shows, expected) in cases {
            let token_error = reported(case, tls(&shows), Some(&pem), expected).await;
            assert_eq!(token_error.reason.as_str(), "TlsFailed", "{case}");
        }
    });
}
