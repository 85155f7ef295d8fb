//! Clients that sign with the key of a certificate, at Entra.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dev_issuer::{AuthMethod, Client};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
};
use serde_json::{Value, json};

use crate::signer::{Signer, claims, now, with, with_assertion};
use crate::support::{Bench, Reply, form};

const V2: &str = "/{tenant}/oauth2/v2.0/token";
const V1: &str = "/{tenant}/oauth2/token";
const REQUEST: &[(&str, &str)] = &[
    ("grant_type", "client_credentials"),
    ("client_id", "robot"),
    ("scope", "api://demo/.default"),
];

async fn bench(signer: &Signer) -> Bench {
    let bench = Bench::new().await;
    let robot = Client::new("robot")
        .certificate(&signer.pem)
        .role("demo", "Records.Read");
    bench.issuer.add_client(robot).unwrap();
    bench
}

fn header(signer: &Signer) -> Value {
    json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": signer.x5t_s256() })
}

#[track_caller]
fn assert_refused(what: &str, reply: &Reply, status: u16, code: u32) {
    let body = reply.json();
    assert_eq!(
        (reply.status, &body["error_codes"][0]),
        (status, &json!(code)),
        "{what}: {body}"
    );
}

#[tokio::test]
async fn a_certificate_in_all_its_spellings_is_as_good_as_a_secret() {
    let signer = Signer::rsa();
    let bench = bench(&signer).await;
    let padded = STANDARD.encode(hex(&signer.x5t_s256()));
    let table = [
        (V2, header(&signer)),
        (V1, header(&signer)),
        (
            V2,
            json!({ "alg": "RS256", "typ": "JWT", "x5t": signer.x5t() }),
        ),
        (
            V2,
            json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": padded }),
        ),
        (
            V2,
            json!({ "alg": "RS256", "typ": "JWT", "x5t": STANDARD.encode(hex(&signer.x5t())) }),
        ),
    ];
    for (path, header) in table {
        let text = signer.sign(&header, &claims("robot", &bench.url(path)));
        let fields = form(&with_assertion(REQUEST, &text), &[]);
        let fields = if path == V1 {
            form(&fields, &[("scope", ""), ("resource", "api://demo")])
        } else {
            fields
        };
        let token = bench.post(path, &fields).await.token();
        let seen = bench.issuer.validate(&token).unwrap();
        assert_eq!(seen.azpacr.as_deref(), Some("2"), "{header}");
        assert_eq!(seen.idtyp.as_deref(), Some("app"));
        assert_eq!(bench.call("/api/demo/records", &token).await.status, 200);
        let record = bench.issuer.requests().pop().unwrap();
        assert_eq!(record.auth_method, AuthMethod::PrivateKeyJwt);
    }
    // The tenant by its domain, and the endpoint under the name that was called.
    let path = "/contoso.example/oauth2/v2.0/token";
    let text = signer.sign(&header(&signer), &claims("robot", &bench.url(path)));
    assert_eq!(
        bench
            .post(path, &with_assertion(REQUEST, &text))
            .await
            .status,
        200
    );
    // And instead of a PEM file its bytes.
    let other = Signer::rsa();
    let client = Client::new("robot").certificate_der(&other.der);
    bench.issuer.add_client(client).unwrap();
    let text = other.sign(&header(&other), &claims("robot", &bench.url(V2)));
    assert_eq!(bench.v2(&with_assertion(REQUEST, &text)).await.status, 200);
}

/// The bytes of a thumbprint.
fn hex(base64url: &str) -> Vec<u8> {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    URL_SAFE_NO_PAD.decode(base64url).unwrap()
}

#[tokio::test]
async fn each_flaw_of_an_assertion_has_its_number() {
    let signer = Signer::rsa();
    let other = Signer::rsa();
    let bench = bench(&signer).await;
    let v1 = bench.url(V1);
    let v2 = bench.url(V2);
    let issuer = format!("{}/{}/v2.0", bench.issuer.origin(), bench.issuer.tenant());
    let none = json!({});
    #[rustfmt::skip]
    let table = [
        ("unknown certificate", json!({ "x5t#S256": other.x5t_s256() }), none.clone(), 700_027),
        ("no thumbprint", json!({ "x5t#S256": null }), none.clone(), 700_027),
        ("SHA-1 with PS256", json!({ "x5t#S256": null, "x5t": signer.x5t() }), none.clone(), 700_027),
        ("x5c without leave", json!({ "x5t#S256": null, "x5c": [STANDARD.encode(&signer.der)] }), none.clone(), 700_027),
        ("another algorithm", json!({ "alg": "RS384" }), none.clone(), 700_027),
        ("no typ", json!({ "typ": null }), none.clone(), 50_027),
        ("crit", json!({ "crit": ["b64"] }), none.clone(), 50_027),
        ("the v1 endpoint at v2", none.clone(), json!({ "aud": v1 }), 700_023),
        ("the issuer", none.clone(), json!({ "aud": issuer }), 700_023),
        ("a list of two", none.clone(), json!({ "aud": [v2, issuer] }), 700_023),
        ("no aud", none.clone(), json!({ "aud": null }), 700_023),
        ("expired", none.clone(), json!({ "exp": now() - 60 }), 700_024),
        ("not yet", none.clone(), json!({ "nbf": now() + 60 }), 700_024),
        ("from the future", none.clone(), json!({ "iat": now() + 60 }), 700_024),
        ("no exp", none.clone(), json!({ "exp": null }), 50_027),
        ("no jti", none.clone(), json!({ "jti": null }), 50_027),
        ("another sub", none.clone(), json!({ "sub": "demo" }), 700_021),
        ("another iss", none.clone(), json!({ "iss": "demo" }), 700_021),
        ("no iss", none.clone(), json!({ "iss": null }), 700_021),
    ];
    for (what, head, body, code) in table {
        let header = with(&header(&signer), &head);
        let claims = with(&claims("robot", &v2), &body);
        let reply = bench
            .v2(&with_assertion(REQUEST, &signer.sign(&header, &claims)))
            .await;
        assert_refused(what, &reply, 401, code);
    }
    let good = signer.sign(&header(&signer), &claims("robot", &v2));
    let text = other.sign(&header(&signer), &claims("robot", &v2));
    assert_refused(
        "another key",
        &bench.v2(&with_assertion(REQUEST, &text)).await,
        401,
        700_027,
    );
    let unsigned = format!("{}.", good.rsplit_once('.').unwrap().0);
    for text in [unsigned.as_str(), "x", "a.b.c", &format!("{good}.x")] {
        let reply = bench.v2(&with_assertion(REQUEST, text)).await;
        let code = reply.json()["error_codes"][0].as_u64().unwrap();
        assert!(
            reply.status == 401 && [50_027, 700_027].contains(&code),
            "{text}: {reply:?}"
        );
    }
    // None of these used the good one up; it is good once.
    assert_eq!(bench.v2(&with_assertion(REQUEST, &good)).await.status, 200);
    assert_refused(
        "a copy",
        &bench.v2(&with_assertion(REQUEST, &good)).await,
        401,
        50_027,
    );

    let fresh = signer.sign(&header(&signer), &claims("robot", &v2));
    let with_assertion = with_assertion(REQUEST, &fresh);
    for (what, changes, status, code) in [
        (
            "two client authentications",
            [("client_secret", "x")],
            400,
            9_002_313,
        ),
        ("no type", [("client_assertion_type", "")], 400, 90_023),
        (
            "another type",
            [("client_assertion_type", "saml")],
            400,
            90_023,
        ),
        ("another client", [("client_id", "demo")], 401, 700_021),
        ("a public client", [("client_id", "demo-cli")], 401, 700_025),
    ] {
        let reply = bench.v2(&form(&with_assertion, &changes)).await;
        assert_refused(what, &reply, status, code);
    }
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let signer = Signer::rsa().expired();
    let bench = bench(&signer).await;
    let text = signer.sign(&header(&signer), &claims("robot", &bench.url(V2)));
    let reply = bench.v2(&with_assertion(REQUEST, &text)).await;
    assert_refused("expired certificate", &reply, 401, 700_027);
    assert!(reply.body.contains("The key used is expired"), "{reply:?}");
}

#[tokio::test]
async fn a_subject_name_takes_any_certificate_of_its_authority() {
    let bench = Bench::new().await;
    let authority = || {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    };
    let (ours, theirs) = (authority(), authority());
    let client = Client::new("robot").subject_name("CN=robot,O=Contoso", ours.pem());
    bench.issuer.add_client(client).unwrap();
    let signer = Signer::rsa();
    let issued = |name: &str, by: &CertifiedIssuer<'_, KeyPair>| {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::OrganizationName, "Contoso");
        params.distinguished_name.push(DnType::CommonName, name);
        STANDARD.encode(params.signed_by(&signer.pair, by).unwrap().der())
    };
    let good = issued("robot", &ours);
    let own = STANDARD.encode(&signer.der);
    for (what, x5c, code) in [
        ("its own", json!([good]), None),
        ("again, with a new id", json!([good]), None),
        (
            "another name",
            json!([issued("human", &ours)]),
            Some(700_030),
        ),
        (
            "another authority",
            json!([issued("robot", &theirs)]),
            Some(700_030),
        ),
        ("signed by itself", json!([own]), Some(700_030)),
        ("none", json!([]), Some(700_027)),
        ("no base64", json!(["%"]), Some(700_027)),
    ] {
        let header = json!({ "alg": "PS256", "typ": "JWT", "x5c": x5c });
        let text = signer.sign(&header, &claims("robot", &bench.url(V2)));
        let reply = bench.v2(&with_assertion(REQUEST, &text)).await;
        match code {
            None => assert_eq!(reply.status, 200, "{what}: {reply:?}"),
            Some(code) => assert_refused(what, &reply, 401, code),
        }
    }
    // A thumbprint beside it that is not its own.
    let header =
        json!({ "alg": "PS256", "typ": "JWT", "x5c": [good], "x5t#S256": signer.x5t_s256() });
    let text = signer.sign(&header, &claims("robot", &bench.url(V2)));
    assert_refused(
        "thumbprint",
        &bench.v2(&with_assertion(REQUEST, &text)).await,
        401,
        700_027,
    );
    // The right certificate in the hands of someone without its key.
    let header = json!({ "alg": "PS256", "typ": "JWT", "x5c": [good] });
    let text = Signer::rsa().sign(&header, &claims("robot", &bench.url(V2)));
    assert_refused(
        "key",
        &bench.v2(&with_assertion(REQUEST, &text)).await,
        401,
        700_027,
    );
}
