//! Clients that sign, at the generic issuer (RFC 7523 section 2.2).

use dev_issuer::{AssertionAudience, AuthMethod, Client, Config};
use serde_json::{Value, json};

use crate::signer::{Signer, claims, now, with, with_assertion};
use crate::support::{Bench, form};

const TOKEN: &str = "/generic/token";
const REQUEST: &[(&str, &str)] = &[
    ("grant_type", "client_credentials"),
    ("client_id", "robot"),
    ("audience", "api://demo"),
];

async fn bench(config: Config, jwks: Value) -> Bench {
    let bench = Bench::with(config).await;
    let robot = Client::new("robot").jwks(jwks).role("demo", "Records.Read");
    bench.issuer.add_client(robot).unwrap();
    bench
}

#[tokio::test]
async fn a_signature_is_as_good_as_a_secret() {
    let (rsa, p256) = (Signer::rsa(), Signer::p256());
    let keys = [rsa.jwks("rsa"), p256.jwks("p256")];
    let keys: Vec<Value> = keys.into_iter().map(|set| set["keys"][0].clone()).collect();
    let bench = bench(Config::default(), json!({ "keys": keys })).await;
    let issuer = bench.issuer.generic_issuer();
    let endpoint = bench.issuer.generic_token_url();
    for (signer, alg, kid, aud) in [
        (&rsa, "RS256", "rsa", json!(issuer)),
        (&rsa, "PS256", "rsa", json!(endpoint)),
        (&p256, "ES256", "p256", json!([issuer])),
    ] {
        let body = with(&claims("robot", ""), &json!({ "aud": aud }));
        let text = signer.sign(&json!({ "alg": alg, "kid": kid }), &body);
        // The client id may be missing: it is in the assertion.
        let fields = form(&with_assertion(REQUEST, &text), &[("client_id", "")]);
        let reply = bench.post(TOKEN, &fields).await;
        assert_eq!(
            bench.call("/api/demo/records", &reply.token()).await.status,
            200,
            "{alg}"
        );
        let record = bench.issuer.token_requests_of("robot").pop().unwrap();
        assert_eq!(record.auth_method, AuthMethod::PrivateKeyJwt);
        let reply = bench.post(TOKEN, &fields).await;
        assert_eq!(reply.json()["error"], "invalid_client", "{alg}: a copy");
        assert!(reply.body.contains("used before"), "{reply:?}");
    }
}

#[tokio::test]
async fn flaws_are_refused() {
    let signer = Signer::rsa();
    let bench = bench(Config::default(), signer.jwks("k1")).await;
    let issuer = bench.issuer.generic_issuer();
    let endpoint = bench.issuer.generic_token_url();
    let header = json!({ "alg": "RS256", "kid": "k1" });
    let none = json!({});
    #[rustfmt::skip]
    let table = [
        ("key", json!({ "kid": "k2" }), none.clone(), "unknown key"),
        ("algorithm", json!({ "alg": "RS512" }), none.clone(), "not allowed"),
        ("algorithm of another kind of key", json!({ "alg": "PS384" }), none.clone(), "not allowed"),
        ("both audiences", none.clone(), json!({ "aud": [issuer, endpoint] }), "another audience"),
        ("audience", none.clone(), json!({ "aud": bench.url("/generic") + "/" }), "another audience"),
        ("no audience", none.clone(), json!({ "aud": null }), "another audience"),
        ("expired", none.clone(), json!({ "exp": now() - 60 }), "not within its time"),
        ("no end", none.clone(), json!({ "exp": null }), "misses a claim"),
        ("30 s ahead", none.clone(), json!({ "iat": now() + 30 }), "not within its time"),
        ("no id", none.clone(), json!({ "jti": null }), "misses a claim"),
        ("empty id", none.clone(), json!({ "jti": "" }), "misses a claim"),
        ("subject", none.clone(), json!({ "sub": "demo" }), "not of this client"),
        ("issuer", none.clone(), json!({ "iss": "demo" }), "not of this client"),
    ];
    for (what, head, body, text) in table {
        let body = with(&claims("robot", &issuer), &body);
        let assertion = signer.sign(&with(&header, &head), &body);
        let reply = bench
            .post(TOKEN, &with_assertion(REQUEST, &assertion))
            .await;
        assert_eq!(
            (reply.status, &reply.json()["error"]),
            (401, &json!("invalid_client")),
            "{what}"
        );
        assert!(reply.body.contains(text), "{what}: {reply:?}");
    }
    let forged = Signer::rsa().sign(&header, &claims("robot", &issuer));
    let reply = bench.post(TOKEN, &with_assertion(REQUEST, &forged)).await;
    assert!(reply.body.contains("signature"), "{reply:?}");
    let good = signer.sign(&header, &claims("robot", &issuer));
    for changes in [[("client_secret", "x")], [("client_assertion_type", "")]] {
        let reply = bench
            .post(TOKEN, &form(&with_assertion(REQUEST, &good), &changes))
            .await;
        assert_eq!(reply.json()["error"], "invalid_request", "{changes:?}");
    }
    let other = form(&with_assertion(REQUEST, &good), &[("client_id", "demo")]);
    assert_eq!(bench.post(TOKEN, &other).await.status, 401);
    assert_eq!(
        bench
            .post(TOKEN, &with_assertion(REQUEST, &good))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn a_key_is_valid_only_for_the_uses_in_its_jwks() {
    let signer = Signer::rsa();
    for (field, value, good) in [
        ("alg", "PS256", false),
        ("alg", "RS256", true),
        ("use", "sig", true),
    ] {
        let mut jwks = signer.jwks("k1");
        jwks["keys"][0][field] = json!(value);
        let bench = bench(Config::default(), jwks).await;
        let text = claims("robot", &bench.issuer.generic_issuer());
        let text = signer.sign(&json!({ "alg": "RS256", "kid": "k1" }), &text);
        let reply = bench.post(TOKEN, &with_assertion(REQUEST, &text)).await;
        assert_eq!(reply.status == 200, good, "{field}: {reply:?}");
    }
    // A set without a key that could sign is refused when it is registered.
    let mut encrypting = signer.jwks("k1");
    encrypting["keys"][0]["use"] = json!("enc");
    let bench = Bench::new().await;
    for jwks in [encrypting, json!({ "keys": [] }), json!("x"), json!({})] {
        let client = Client::new("robot").jwks(jwks.clone());
        let error = bench.issuer.add_client(client).unwrap_err().to_string();
        assert!(error.contains("client.jwks"), "{jwks}: {error}");
        assert!(
            bench
                .issuer
                .trust_issuer("https://x.example", &jwks.to_string())
                .is_err()
        );
    }
}

#[tokio::test]
async fn servers_differ_in_what_they_take_for_themselves() {
    let signer = Signer::rsa();
    for (rule, issuer_passes, endpoint_passes) in [
        (AssertionAudience::Issuer, true, false),
        (AssertionAudience::TokenEndpoint, false, true),
        (AssertionAudience::Either, true, true),
    ] {
        let config = Config {
            assertion_audience: rule,
            ..Config::default()
        };
        let bench = bench(config, signer.jwks("k1")).await;
        for (audience, passes) in [
            (bench.issuer.generic_issuer(), issuer_passes),
            (bench.issuer.generic_token_url(), endpoint_passes),
        ] {
            let text = signer.sign(
                &json!({ "alg": "RS256", "kid": "k1" }),
                &claims("robot", &audience),
            );
            let reply = bench.post(TOKEN, &with_assertion(REQUEST, &text)).await;
            assert_eq!(reply.status == 200, passes, "{rule:?} {audience}");
        }
    }
}
