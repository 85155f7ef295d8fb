//! Another issuer's token in place of a secret: at Entra, and at the generic issuer.

use dev_issuer::{AuthMethod, Client};
use serde_json::{Value, json};

use crate::signer::{Signer, now, with, with_assertion};
use crate::support::{Bench, form};

const ISSUER: &str = "https://kubernetes.default.svc/Cluster";
const SUBJECT: &str = "system:serviceaccount:shop:buyer";
const AUDIENCE: &str = "api://AzureADTokenExchange";
const REQUEST: &[(&str, &str)] = &[
    ("grant_type", "client_credentials"),
    ("client_id", "keyless"),
    ("scope", "api://demo/.default"),
];

async fn bench(signer: &Signer) -> Bench {
    let bench = Bench::new().await;
    let own = bench.issuer.generic_issuer();
    let client = Client::new("keyless")
        .federated("https://other.example", "someone", AUDIENCE)
        .federated(ISSUER, SUBJECT, AUDIENCE)
        .federated(ISSUER, SUBJECT, own)
        .role("demo", "Records.Read");
    bench.issuer.add_client(client).unwrap();
    let jwks = signer.jwks("k1").to_string();
    bench.issuer.trust_issuer(ISSUER, &jwks).unwrap();
    bench
}

/// As the API server writes it: a list of audiences, and a lifetime of one day.
fn token() -> Value {
    json!({
        "iss": ISSUER, "sub": SUBJECT, "aud": [AUDIENCE],
        "iat": now(), "nbf": now(), "exp": now() + 86_400,
    })
}

#[tokio::test]
async fn a_service_account_stands_for_a_client_as_often_as_it_likes() {
    let signer = Signer::rsa();
    let bench = bench(&signer).await;
    let header = json!({ "alg": "RS256", "kid": "k1" });
    let text = signer.sign(&header, &with(&token(), &json!({ "jti": "same" })));
    for _ in 0..2 {
        let seen = bench.v2(&with_assertion(REQUEST, &text)).await.token();
        let seen = bench.issuer.validate(&seen).unwrap();
        assert_eq!(seen.client(), Some("keyless"));
        assert_eq!(seen.azpacr.as_deref(), Some("2"));
    }
    let record = bench.issuer.requests().pop().unwrap();
    assert_eq!(record.auth_method, AuthMethod::FederatedJwt);
}

#[tokio::test]
async fn what_does_not_match_has_its_number() {
    let signer = Signer::rsa();
    let bench = bench(&signer).await;
    let header = json!({ "alg": "RS256", "kid": "k1" });
    let none = json!({});
    let slash = format!("{ISSUER}/");
    #[rustfmt::skip]
    let table = [
        ("issuer", none.clone(), json!({ "iss": "https://nobody.example" }), 400, "invalid_request", 700_211),
        ("slash after the issuer", none.clone(), json!({ "iss": slash }), 400, "invalid_request", 700_211),
        ("case of the issuer", none.clone(), json!({ "iss": ISSUER.to_lowercase() }), 400, "invalid_request", 7_002_138),
        ("subject", none.clone(), json!({ "sub": "system:serviceaccount:shop:seller" }), 400, "invalid_request", 700_213),
        ("no subject", none.clone(), json!({ "sub": null }), 400, "invalid_request", 700_213),
        ("case of the subject", none.clone(), json!({ "sub": "system:serviceaccount:Shop:buyer" }), 400, "invalid_request", 7_002_138),
        ("subject of another issuer", none.clone(), json!({ "sub": "someone" }), 400, "invalid_request", 700_213),
        ("audience", none.clone(), json!({ "aud": ["https://kubernetes.default.svc"] }), 400, "invalid_request", 700_212),
        ("case of the audience", none.clone(), json!({ "aud": AUDIENCE.to_lowercase() }), 400, "invalid_request", 7_002_138),
        ("two audiences", none.clone(), json!({ "aud": [AUDIENCE, "other"] }), 400, "invalid_request", 700_212),
        ("issuer that nobody can reach", none.clone(), json!({ "iss": "https://other.example", "sub": "someone" }), 400, "invalid_request", 90_061),
        ("expired", none.clone(), json!({ "exp": now() - 60 }), 401, "invalid_client", 700_024),
        ("not yet", none.clone(), json!({ "nbf": now() + 60 }), 401, "invalid_client", 700_024),
        ("no end", none.clone(), json!({ "exp": null }), 401, "invalid_client", 50_027),
        ("another key", json!({ "kid": "k2" }), none.clone(), 401, "invalid_client", 700_027),
        ("PS256", json!({ "alg": "PS256" }), none.clone(), 401, "invalid_client", 700_027),
    ];
    for (what, head, body, status, error, code) in table {
        let text = signer.sign(&with(&header, &head), &with(&token(), &body));
        let reply = bench.v2(&with_assertion(REQUEST, &text)).await;
        let json = reply.json();
        assert_eq!(reply.status, status, "{what}: {json}");
        assert_eq!(
            (&json["error"], &json["error_codes"][0]),
            (&json!(error), &json!(code)),
            "{what}"
        );
    }
    let forged = Signer::rsa().sign(&header, &token());
    let reply = bench.v2(&with_assertion(REQUEST, &forged)).await;
    assert_eq!(reply.json()["error_codes"][0], 700_027);
    // A client without any such credential.
    let text = signer.sign(&header, &token());
    let other = form(&with_assertion(REQUEST, &text), &[("client_id", "demo")]);
    assert_eq!(bench.v2(&other).await.json()["error_codes"][0], 700_021);
    bench.issuer.distrust_issuer(ISSUER);
    let reply = bench.v2(&with_assertion(REQUEST, &text)).await;
    assert_eq!(reply.json()["error_codes"][0], 90_061);
}

#[tokio::test]
async fn the_generic_issuer_takes_it_for_itself() {
    let signer = Signer::rsa();
    let bench = bench(&signer).await;
    let own = bench.issuer.generic_issuer();
    let header = json!({ "alg": "RS256", "kid": "k1" });
    let fields = form(REQUEST, &[("scope", ""), ("audience", "api://demo")]);
    let send = async |claims: &Value, changes: &[(&str, &str)]| {
        let text = signer.sign(&header, claims);
        bench
            .post(
                "/generic/token",
                &form(&with_assertion(&fields, &text), changes),
            )
            .await
    };
    let good = with(&token(), &json!({ "aud": [own] }));
    for _ in 0..2 {
        let reply = send(&good, &[]).await;
        assert_eq!(
            bench.call("/api/demo/records", &reply.token()).await.status,
            200
        );
    }
    // For Entra the same credential is registered with another audience.
    assert_eq!(send(&token(), &[]).await.status, 200);
    for (what, changes) in [
        (
            "audience",
            json!({ "aud": ["https://kubernetes.default.svc"] }),
        ),
        (
            "subject",
            json!({ "sub": "system:serviceaccount:shop:seller" }),
        ),
        ("issuer", json!({ "iss": "https://nobody.example" })),
        ("expired", json!({ "exp": now() - 60 })),
    ] {
        let reply = send(&with(&good, &changes), &[]).await;
        assert_eq!(
            (reply.status, &reply.json()["error"]),
            (401, &json!("invalid_client")),
            "{what}"
        );
    }
    for id in ["", "demo"] {
        let reply = send(&good, &[("client_id", id)]).await;
        assert_eq!(reply.status, 401, "client {id:?}");
    }
}
