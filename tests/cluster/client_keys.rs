//! Clients with a private key and no certificate, and clients whose assertion another program writes.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use dev_issuer::{AuthMethod, Point};
use k8s_openapi::api::{authentication::v1::TokenRequest, core::v1::ServiceAccount};
use kube::{Api, api::PostParams};
use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ECDSA_P521_SHA512, PKCS_ED25519,
    PKCS_RSA_SHA256, RsaKeySize, SignatureAlgorithm,
};
use serde_json::{Value, json};
use testenv::{OidcClient, OidcClientAuth, OidcOptions, OidcProvider};

use crate::{
    clients::by_client,
    plugin::Plugin,
    service_accounts::{cluster_issuer, service_account},
    support::{
        LATER, Place, World, condition,
        keys::{self, Kind},
        run, typed,
    },
};

/// IDs of clients, their kind of key, the algorithm in the spec, and the one that the issuer expects.
type Signer = (
    &'static str,
    &'static SignatureAlgorithm,
    Option<&'static str>,
    &'static str,
);
const SIGNERS: [Signer; 7] = [
    ("rs256", &PKCS_RSA_SHA256, None, "RS256"),
    ("rs384", &PKCS_RSA_SHA256, Some("RS384"), "RS384"),
    ("ps512", &PKCS_RSA_SHA256, Some("PS512"), "PS512"),
    ("es256", &PKCS_ECDSA_P256_SHA256, None, "ES256"),
    ("es384", &PKCS_ECDSA_P384_SHA384, None, "ES384"),
    ("es512", &PKCS_ECDSA_P521_SHA512, None, "ES512"),
    ("eddsa", &PKCS_ED25519, None, "EdDSA"),
];

fn made(kind: &'static SignatureAlgorithm) -> String {
    let key = if *kind == PKCS_RSA_SHA256 {
        KeyPair::generate_rsa_for(kind, RsaKeySize::_2048)
    } else {
        KeyPair::generate_for(kind)
    };
    key.expect("a key").serialize_pem()
}

/// The output of `kubectl apicred jwks`.
pub(crate) async fn jwks(world: &World, place: &Place, args: &[&str]) -> Value {
    let args = [&["jwks", "-n", &place.namespace], args].concat();
    let kubeconfig = world.cluster.admin_kubeconfig().into();
    let (good, output) = Plugin::start(&kubeconfig, &args).end().await;
    assert!(good, "{output}");
    serde_json::from_str(&output).expect("JSON")
}

/// Waits until renewals fail for this reason; returns the message.
async fn failing(place: &Place, name: &str, reason: &str) -> String {
    place
        .until(name, &format!("renewals fail by {reason}"), |c| {
            condition(c, "RenewalFailing").filter(|r| r.reason == reason)
        })
        .await
        .message
}

#[test]
fn what_jwks_prints_is_registered_and_each_kind_of_key_signs() {
    run(async {
        let world = World::shared().await;
        let place = world.place("client-key").await;
        let mut options = OidcOptions::default();
        for (id, kind, chosen, algorithm) in SIGNERS {
            place.put_secret(id, "private.pem", &made(kind)).await;
            let key = json!({ "secretName": id, "key": "private.pem", "algorithm": chosen });
            let client = json!({ "id": id, "secrets": null, "key": key });
            let spec = json!({
                "client": client, "scopes": ["read"], "target": { "secretName": format!("token-{id}") },
            });
            place.create(id, spec).await;
            let set = jwks(world, &place, &[id]).await;
            let public = &set["keys"][0];
            assert!(public["d"].is_null() && public["p"].is_null(), "{set}");
            assert_eq!(public["use"], "sig");
            let client = OidcClient::new(id, OidcClientAuth::PrivateKeyJwt);
            options.clients.push(client.jwks(set, algorithm));
        }
        // The same with an ApiClient.
        place
            .put_secret("shared", "k", &made(&PKCS_ECDSA_P256_SHA256))
            .await;
        let key = json!({ "secretName": "shared", "key": "k", "keyId": "registered-1" });
        let change = json!({ "id": "shared", "secrets": null, "key": key });
        place.put_client("shared", change).await;
        let set = jwks(world, &place, &["shared", "--client"]).await;
        assert_eq!(set["keys"][0]["kid"], "registered-1");
        let kubeconfig = world.cluster.admin_kubeconfig().into();
        for (name, expected) in [
            ("shared", "add --client"),
            ("nobody", "does not exist; check"),
        ] {
            let args = ["jwks", "-n", &place.namespace, name];
            let (good, output) = Plugin::start(&kubeconfig, &args).end().await;
            assert!(!good && output.contains(expected), "{output}");
        }
        let client = OidcClient::new("shared", OidcClientAuth::PrivateKeyJwt);
        options.clients.push(client.jwks(set.clone(), "ES256"));
        let mut by_client = by_client("by-client");
        by_client["scopes"] = json!(["read"]);
        place.create("by-client", by_client).await;
        assert_eq!(jwks(world, &place, &["by-client"]).await, set);

        let provider = OidcProvider::start(options).await.expect("an issuer");
        let mut spec = place.issuer_spec(json!({
            "oidc": { "issuerUrl": provider.issuer_url() }, "caBundle": provider.ca_pem(),
        }));
        spec["entra"] = Value::Null;
        place.put_issuer(spec).await;
        place.issuer_ready().await;
        for name in SIGNERS.map(|s| s.0).into_iter().chain(["by-client"]) {
            let view = place.ready(name).await;
            let seen = provider.introspect(&view.token).await.expect("an answer");
            assert_eq!(seen["active"], true, "{name}: {seen}");
        }

        // Another key is not registered, until the old one is stored again.
        let old = place.secrets().get("es256").await.expect("the Secret");
        let old = old
            .data
            .expect("data")
            .remove("private.pem")
            .expect("a key")
            .0;
        let strange = made(&PKCS_ECDSA_P256_SHA256);
        place.put_secret("es256", "private.pem", &strange).await;
        let reported = failing(&place, "es256", "ClientRefused").await;
        assert!(
            reported.contains("kubectl apicred jwks NAME prints it"),
            "{reported}"
        );
        let before = place.view("token-es256").await.expect("a token");
        let both = format!("{strange}{}", String::from_utf8_lossy(&old));
        place.put_secret("es256", "private.pem", &both).await;
        let reported = failing(&place, "es256", "SourceInvalid").await;
        assert!(
            reported.contains("client.key: key private.pem of Secret es256 holds 2 private keys"),
            "{reported}"
        );
        let unchanged = place.view("token-es256").await.expect("the token stays");
        assert_eq!(unchanged.token, before.token);
        place
            .put_secret("es256", "private.pem", &String::from_utf8_lossy(&old))
            .await;
        place
            .until("es256", "good again", |c| {
                condition(c, "RenewalFailing").is_none().then_some(())
            })
            .await;
    });
}

/// A token of a ServiceAccount, as another program would store it in a Secret.
async fn token_of(place: &Place, account: &str, audience: &str) -> String {
    let api: Api<ServiceAccount> = Api::namespaced(place.kube.clone(), &place.namespace);
    let token_request: TokenRequest =
        typed(json!({ "spec": { "audiences": [audience], "expirationSeconds": 600 } }));
    let made: TokenRequest = api
        .create_subresource("token", account, &PostParams::default(), &token_request)
        .await
        .expect("a token");
    made.status.expect("a token").token
}

#[test]
fn an_assertion_in_a_secret_is_sent_as_it_is_and_neither_for_each_change_nor_after_its_end() {
    const AUDIENCE: &str = "api://AzureADTokenExchange";
    run(async {
        let world = World::shared().await;
        let place = world.place("assertion").await;
        let (issuer, keys) = cluster_issuer(world).await;
        place.issuer.trust_issuer(&issuer, &keys).expect("keys");
        service_account(&place, "other-program", Value::Null).await;
        let subject = format!("system:serviceaccount:{}:other-program", place.namespace);
        let known = place.oauth_client().federated(&issuer, &subject, AUDIENCE);
        place.add_client(known);

        // An expired assertion is not sent.
        let part = |claims: &Value| URL_SAFE_NO_PAD.encode(claims.to_string());
        let ended = json!({ "iss": issuer, "sub": subject, "aud": AUDIENCE, "exp": 1_700_000_000 });
        let ended = format!(
            "{}.{}.c2lnbmF0dXJl",
            part(&json!({ "alg": "RS256" })),
            part(&ended)
        );
        place.put_secret("svid", "jwt", &ended).await;
        let client = json!({
            "id": place.client, "secrets": null,
            "assertion": { "secretName": "svid", "key": "jwt" },
        });
        place.create("c", json!({ "client": client })).await;
        let reported = place.not_ready("c", "AssertionExpired").await;
        let expected = "client.assertion: the JWT in key jwt of Secret svid expired at 2023-11-14T";
        assert!(reported.contains(expected), "{reported}");
        assert_eq!(place.posts(), 0);

        let first = token_of(&place, "other-program", AUDIENCE).await;
        place.put_secret("svid", "jwt", &first).await;
        let view = place.ready("c").await;
        assert_eq!(place.call("demo", "records", &view.token).await, 200);
        let requests = place.issuer.token_requests_of(&place.client);
        assert_eq!(requests.len(), 1);
        assert_eq!(requests[0].auth_method, AuthMethod::FederatedJwt);

        let second = token_of(&place, "other-program", AUDIENCE).await;
        assert_ne!(first, second);
        // The other program replaces it every few minutes: the token is renewed when it is due.
        place.put_secret("svid", "jwt", &second).await;
        place.operator_has_seen_it().await;
        world.stays_quiet(&place, Duration::from_secs(1)).await;
        assert_eq!(place.posts(), 1);
        place.request_renewal("c").await;
        let renewed = place.another_token("token", &view).await;
        assert_eq!(place.call("demo", "records", &renewed.token).await, 200);

        // It expires: nothing is sent, and the token stays.
        let before = place.posts();
        place.put_secret("svid", "jwt", &ended).await;
        place
            .until("c", "renewals fail", |c| {
                condition(c, "RenewalFailing").filter(|r| r.reason == "AssertionExpired")
            })
            .await;
        assert_eq!(place.posts(), before);
        let kept = place.view("token").await.expect("the token stays");
        assert_eq!(kept.token, renewed.token);
        // After a failed attempt, a new one is used at once.
        place.request_renewal("c").await;
        place.operator_has_seen_it().await;
        assert_eq!(place.posts(), before);
        let third = token_of(&place, "other-program", AUDIENCE).await;
        place.put_secret("svid", "jwt", &third).await;
        place.another_token("token", &renewed).await;
        let before = place.posts();

        // A token for the API server is not sent, whatever the name of its audience is.
        let own = token_of(&place, "other-program", &issuer).await;
        place.put_secret("own", "jwt", &own).await;
        let client = json!({
            "id": place.client, "secrets": null,
            "assertion": { "secretName": "own", "key": "jwt" },
        });
        let spec = json!({ "client": client, "target": { "secretName": "own-token" } });
        place.create("own", spec).await;
        let reported = place.not_ready("own", "ServiceAccountTokenRefused").await;
        assert!(
            reported.contains("Secret own contains a token"),
            "{reported}"
        );
        assert_eq!(place.posts(), before);
    });
}

#[test]
fn credentials_whose_assertions_have_other_headers_send_a_request_each() {
    run(async {
        let world = World::shared().await;
        let place = world.place("other-headers").await;
        let pair = keys::keys(Kind::Rsa, "pair", None);
        place.add_client(place.oauth_client().certificate(&pair.certificate));
        place.put_tls("pair", &pair).await;
        // The requests of both are in flight at the same time, and the keys of the client are the same.
        let hold = place.issuer.hold(&place.client, Point::Received);
        let settings = [
            ("a", json!({ "secretName": "pair", "keyId": "a" })),
            ("b", json!({ "secretName": "pair", "keyId": "b" })),
        ];
        for (name, certificate) in settings {
            let client = json!({ "secrets": null, "certificates": [certificate] });
            let spec = json!({ "client": client, "target": { "secretName": name } });
            place.create(name, spec).await;
        }
        tokio::time::timeout(LATER, hold.reached_by(2))
            .await
            .expect("two requests");
        hold.release();
        let mut tokens = Vec::new();
        for name in ["a", "b"] {
            let secret = async || {
                let secret = place.secrets().get(name).await.map_err(|e| e.to_string())?;
                let data = secret.data.unwrap_or_default();
                data.get("token")
                    .cloned()
                    .ok_or_else(|| "no token".to_owned())
            };
            let token = testenv::eventually(LATER, "a token", secret).await;
            assert!(
                !tokens.contains(&token),
                "{name} got the token of another request"
            );
            tokens.push(token);
        }
    });
}
