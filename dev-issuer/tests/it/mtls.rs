//! Clients that prove themselves with a certificate in the handshake, against the generic issuer.

use std::net::SocketAddr;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dev_issuer::{AuthMethod, Client, Config, Mtls, TlsSubject};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, SanType,
};
use serde_json::json;

use crate::support::{Bench, Reply, form, trusting};

const REQUEST: &[(&str, &str)] = &[
    ("grant_type", "client_credentials"),
    ("client_id", "machine"),
    ("audience", "api://demo"),
];

type Authority = CertifiedIssuer<'static, KeyPair>;

/// A certificate with its key.
struct Shown {
    pem: String,
    key: String,
    der: Vec<u8>,
}

impl Shown {
    fn thumbprint(&self) -> String {
        URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, &self.der))
    }

    /// A client that shows it, with what `chain` adds.
    fn client(&self, bench: &Bench, chain: &str) -> reqwest::Client {
        let pem = format!("{}{chain}{}", self.pem, self.key);
        let identity = reqwest::Identity::from_pem(pem.as_bytes()).unwrap();
        let client = trusting(bench.issuer.ca_pem()).identity(identity);
        client.build().unwrap()
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

fn root(name: &str) -> Authority {
    CertifiedIssuer::self_signed(authority(name), KeyPair::generate().unwrap()).unwrap()
}

fn leaf() -> CertificateParams {
    let mut params = CertificateParams::default();
    let name = &mut params.distinguished_name;
    *name = rcgen::DistinguishedName::new();
    name.push(DnType::CountryName, "NL");
    name.push(DnType::OrganizationName, "Contoso, Ltd.");
    name.push(DnType::CommonName, "machine");
    params.subject_alt_names = vec![
        SanType::DnsName("machine.contoso.example".try_into().unwrap()),
        SanType::URI("spiffe://contoso.example/machine".try_into().unwrap()),
        SanType::IpAddress("192.0.2.7".parse().unwrap()),
        SanType::Rfc822Name("machine@contoso.example".try_into().unwrap()),
    ];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

fn signed(params: &CertificateParams, by: Option<&Authority>) -> Shown {
    let key = KeyPair::generate().unwrap();
    let certificate = match by {
        Some(by) => params.signed_by(&key, by).unwrap(),
        None => params.self_signed(&key).unwrap(),
    };
    Shown {
        pem: certificate.pem(),
        key: key.serialize_pem(),
        der: certificate.der().to_vec(),
    }
}

async fn bench(cas: &[&Authority]) -> Bench {
    Bench::with(Config {
        mtls: Some(Mtls {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            client_cas: cas.iter().map(|ca| ca.pem()).collect(),
        }),
        ..Config::default()
    })
    .await
}

async fn send(bench: &Bench, client: &reqwest::Client, body: &[(&str, &str)]) -> Reply {
    let url = format!("{}/generic/token", bench.issuer.mtls_origin().unwrap());
    Reply::of(client.post(url).form(body).send().await.unwrap()).await
}

fn assert_refused(reply: &Reply, about: &str) {
    assert_eq!(reply.status, 401, "{about}: {reply:?}");
    assert_eq!(reply.json()["error"], "invalid_client", "{about}");
}

fn machine(subject: TlsSubject) -> Client {
    Client::new("machine")
        .tls_subject(subject)
        .role("demo", "Records.Read")
}

#[tokio::test]
async fn a_subject_under_a_known_authority_gets_a_bound_token() {
    let ca = root("clients");
    let bench = bench(&[&ca]).await;
    let shown = signed(&leaf(), Some(&ca));
    let http = shown.client(&bench, "");
    for subject in [
        TlsSubject::from(r"CN=machine,O=Contoso\, Ltd.,C=NL"),
        TlsSubject::Dns("machine.contoso.example".to_owned()),
        TlsSubject::Uri("spiffe://contoso.example/machine".to_owned()),
        TlsSubject::Ip("192.0.2.7".parse().unwrap()),
        TlsSubject::Email("machine@contoso.example".to_owned()),
    ] {
        bench.issuer.add_client(machine(subject.clone())).unwrap();
        let reply = send(&bench, &http, REQUEST).await;
        assert_eq!(reply.status, 200, "{subject:?}: {reply:?}");
        let claims = bench.issuer.validate(&reply.token()).unwrap();
        assert_eq!(claims.cnf.unwrap().x5t_s256, shown.thumbprint());
        assert_eq!(claims.iss, bench.issuer.generic_issuer());
        assert_eq!(claims.roles, ["Records.Read"]);
    }
    let request = bench.issuer.requests().pop().unwrap();
    assert_eq!(request.auth_method, AuthMethod::TlsClientAuth);
    assert_eq!(request.secret_index, None);

    for subject in [
        TlsSubject::from(r"C=NL,O=Contoso\, Ltd.,CN=machine"),
        TlsSubject::from("CN=machine"),
        TlsSubject::Dns("contoso.example".to_owned()),
        TlsSubject::Uri("spiffe://contoso.example/Machine".to_owned()),
        TlsSubject::Ip("192.0.2.8".parse().unwrap()),
        TlsSubject::Email("machine.contoso.example".to_owned()),
    ] {
        bench.issuer.add_client(machine(subject.clone())).unwrap();
        assert_refused(&send(&bench, &http, REQUEST).await, &format!("{subject:?}"));
    }
}

#[tokio::test]
async fn the_authority_must_be_known_and_the_certificate_good() {
    let (ca, stranger) = (root("clients"), root("clients"));
    let bench = bench(&[&ca]).await;
    let subject = TlsSubject::Dns("machine.contoso.example".to_owned());
    bench.issuer.add_client(machine(subject)).unwrap();

    let mut old = leaf();
    old.not_before = rcgen::date_time_ymd(2001, 1, 1);
    old.not_after = rcgen::date_time_ymd(2002, 1, 1);
    let mut server = leaf();
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    for (about, shown) in [
        ("another authority", signed(&leaf(), Some(&stranger))),
        ("signed by itself", signed(&leaf(), None)),
        ("expired", signed(&old, Some(&ca))),
        ("for servers", signed(&server, Some(&ca))),
    ] {
        let http = shown.client(&bench, "");
        assert_refused(&send(&bench, &http, REQUEST).await, about);
    }
    let late = signed(&leaf(), Some(&stranger)).client(&bench, "");
    bench.issuer.add_client_ca(stranger.pem()).unwrap();
    assert_eq!(send(&bench, &late, REQUEST).await.status, 200);
    assert!(bench.issuer.add_client_ca("not PEM").is_err());

    // An intermediate counts if the client sends it.
    let key = KeyPair::generate().unwrap();
    let middle = CertifiedIssuer::signed_by(authority("middle"), key, &ca).unwrap();
    let shown = signed(&leaf(), Some(&middle));
    let without = shown.client(&bench, "");
    assert_refused(&send(&bench, &without, REQUEST).await, "no intermediate");
    let with = shown.client(&bench, &middle.pem());
    let reply = send(&bench, &with, REQUEST).await;
    let claims = bench.issuer.validate(&reply.token()).unwrap();
    assert_eq!(claims.cnf.unwrap().x5t_s256, shown.thumbprint());
}

#[tokio::test]
async fn a_self_signed_certificate_must_be_the_registered_one() {
    let bench = bench(&[]).await;
    let (old, new) = (signed(&leaf(), None), signed(&leaf(), None));
    let client = Client::new("machine").tls_certificate(&old.pem);
    bench.issuer.add_client(client.clone()).unwrap();
    let (by_old, by_new) = (old.client(&bench, ""), new.client(&bench, ""));
    let reply = send(&bench, &by_old, REQUEST).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(
        bench.issuer.requests()[0].auth_method,
        AuthMethod::SelfSignedTlsClientAuth
    );
    assert_refused(&send(&bench, &by_new, REQUEST).await, "not registered yet");
    let client = client.tls_certificate(&new.pem);
    bench.issuer.add_client(client).unwrap();
    assert_eq!(send(&bench, &by_old, REQUEST).await.status, 200);
    assert_eq!(send(&bench, &by_new, REQUEST).await.status, 200);
}

#[tokio::test]
async fn without_a_certificate_there_is_no_token() {
    let bench = bench(&[]).await;
    let shown = signed(&leaf(), None);
    let client = Client::new("machine").tls_certificate(&shown.pem);
    bench.issuer.add_client(client).unwrap();
    assert_refused(&send(&bench, &bench.http, REQUEST).await, "none shown");
    let http = shown.client(&bench, "");
    let usual = http.post(bench.issuer.generic_token_url()).form(REQUEST);
    let reply = Reply::of(usual.send().await.unwrap()).await;
    assert_refused(&reply, "the usual listener does not ask for one");
    let stray = form(REQUEST, &[("client_secret", "demo~secret.1")]);
    assert_refused(&send(&bench, &http, &stray).await, "a secret beside it");
    let nobody = form(REQUEST, &[("client_id", "nobody")]);
    assert_refused(&send(&bench, &http, &nobody).await, "unknown client");
    let nameless = form(REQUEST, &[("client_id", "")]);
    assert_refused(&send(&bench, &http, &nameless).await, "no client id");
    assert_eq!(bench.issuer.stats().tokens_issued, 0);

    // Clients with a secret are served there as elsewhere, and their tokens are not bound.
    let secret = [("client_id", "demo"), ("client_secret", "demo~secret.1")];
    let reply = send(&bench, &http, &form(REQUEST, &secret)).await;
    let claims = bench.issuer.validate(&reply.token()).unwrap();
    assert_eq!(claims.cnf, None);
}

#[tokio::test]
async fn a_bound_token_opens_the_api_only_with_its_certificate() {
    let bench = bench(&[]).await;
    let (shown, other) = (signed(&leaf(), None), signed(&leaf(), None));
    let client = Client::new("machine").tls_certificate(&shown.pem);
    bench.issuer.add_client(client).unwrap();
    let http = shown.client(&bench, "");
    let token = send(&bench, &http, REQUEST).await.token();
    let url = format!("{}/api/demo/whoami", bench.issuer.mtls_origin().unwrap());
    let call = async |client: &reqwest::Client| {
        Reply::of(client.get(&url).bearer_auth(&token).send().await.unwrap()).await
    };
    assert_eq!(call(&http).await.status, 200);
    for reply in [
        call(&bench.http).await,
        call(&other.client(&bench, "")).await,
        bench.call("/api/demo/whoami", &token).await,
    ] {
        assert_eq!(reply.status, 401);
        let challenge = reply.header("www-authenticate");
        assert!(
            challenge.contains("bound to a client certificate"),
            "{challenge}"
        );
    }
}

#[tokio::test]
async fn discovery_names_the_endpoints_that_request_certificates() {
    let bench = bench(&[]).await;
    let path = "/generic/.well-known/openid-configuration";
    let metadata = bench.get(path).await.json();
    let origin = bench.issuer.mtls_origin().unwrap();
    assert_ne!(origin, bench.issuer.origin());
    assert_eq!(
        metadata["mtls_endpoint_aliases"]["token_endpoint"],
        format!("{origin}/generic/token")
    );
    assert_eq!(metadata["token_endpoint"], bench.issuer.generic_token_url());
    assert_eq!(
        metadata["tls_client_certificate_bound_access_tokens"],
        json!(true)
    );
    let methods = metadata["token_endpoint_auth_methods_supported"].to_string();
    assert!(methods.contains("self_signed_tls_client_auth"), "{methods}");

    bench.issuer.stop().await;
    let down = bench.http.get(format!("{origin}{path}")).send().await;
    assert!(down.unwrap_err().is_connect());
    bench.issuer.start_again().await.unwrap();
    let up = bench.http.get(format!("{origin}{path}")).send().await;
    assert_eq!(up.unwrap().status(), 200);

    let without = Bench::new().await;
    let metadata = without.get(path).await.json();
    assert_eq!(metadata.get("mtls_endpoint_aliases"), None);
    assert!(!metadata.to_string().contains("tls_client"), "{metadata}");
    assert_eq!(without.issuer.mtls_origin(), None);
    assert!(without.issuer.add_client_ca(root("x").pem()).is_err());
}

#[test]
fn a_file_may_set_it_and_wrong_values_are_refused() {
    let pem = signed(&leaf(), None).pem.replace('\n', "\\n");
    let yaml = format!(
        "mtls: {{listen: '127.0.0.1:0', clientCas: [\"{pem}\"]}}\nclients:\n- {{id: a, tlsSubject: {{dns: a.example}}, \
         tlsCertificates: [\"{pem}\"]}}\n- {{id: b, tlsSubject: {{dn: 'CN=b,O=x'}}}}\n"
    );
    let config = Config::from_yaml(&yaml).unwrap();
    let subjects: Vec<_> = config
        .clients
        .iter()
        .map(|c| c.tls_subject.clone())
        .collect();
    assert_eq!(subjects[0], Some(TlsSubject::Dns("a.example".to_owned())));
    assert_eq!(subjects[1], Some(TlsSubject::from("CN=b,O=x")));
    for (yaml, field) in [
        (
            "mtls: {listen: '127.0.0.1:0', clientCas: [x]}",
            "mtls.clientCas[0]",
        ),
        (
            "clients: [{id: a, tlsCertificates: [x]}]",
            "clients[0].tlsCertificates[0]",
        ),
        (
            "clients: [{id: a, tlsSubject: {dn: machine}}]",
            "clients[0].tlsSubject.dn",
        ),
    ] {
        let error = Config::from_yaml(yaml).unwrap_err().to_string();
        assert!(error.contains(&format!("{field}: ")), "{error}");
    }
}
