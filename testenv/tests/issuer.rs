//! The issuer that we did not write gives out tokens as the standards say.

use reqwest::{Certificate, Client, StatusCode};
use serde_json::Value;
use testenv::{OidcOptions, OidcProvider, SeenRequest};

const API: &str = "https://api.example";

async fn start() -> (OidcProvider, Client) {
    let issuer = OidcProvider::start(OidcOptions::default())
        .await
        .expect("an issuer starts");
    let ca = Certificate::from_pem(issuer.ca_pem().as_bytes()).expect("a certificate");
    let client = Client::builder()
        .tls_certs_only([ca])
        .no_proxy()
        .build()
        .expect("a client");
    (issuer, client)
}

/// Asks as the client `basic`, with more parameters.
async fn send(
    issuer: &OidcProvider,
    client: &Client,
    more: &[(&str, &str)],
) -> (StatusCode, Value) {
    let mut form = vec![("grant_type", "client_credentials")];
    form.extend_from_slice(more);
    let request = client
        .post(issuer.token_url())
        .basic_auth("basic", Some("basic-secret"));
    let answer = request.form(&form).send().await.expect("an answer");
    (answer.status(), answer.json().await.expect("JSON"))
}

#[tokio::test]
async fn a_resource_gets_a_jwt_for_its_audience() {
    let (issuer, client) = start().await;
    let (status, answer) = send(&issuer, &client, &[("resource", API), ("scope", "read")]).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["expires_in"], 600);
    let claims = issuer
        .introspect(answer["access_token"].as_str().unwrap())
        .await
        .unwrap();
    assert_eq!(claims["active"], true);
    assert_eq!(claims["aud"], API);
    assert_eq!(claims["iss"], issuer.issuer_url());
    assert_eq!(claims["scope"], "read");
}

#[tokio::test]
async fn without_a_resource_the_token_is_opaque_and_live() {
    let (issuer, client) = start().await;
    let (status, answer) = send(&issuer, &client, &[("scope", "read write")]).await;
    assert_eq!(status, 200, "{answer}");
    let token = answer["access_token"].as_str().unwrap();
    assert!(!token.contains('.'), "not a JWT");
    assert_eq!(issuer.introspect(token).await.unwrap()["active"], true);
    assert_eq!(
        issuer.introspect("invented").await.unwrap()["active"],
        false
    );
    assert_eq!(issuer.introspect("a.b.c").await.unwrap()["active"], false);
}

#[tokio::test]
async fn it_shows_how_a_client_authenticated() {
    let (issuer, client) = start().await;
    let post = [
        ("grant_type", "client_credentials"),
        ("client_id", "post"),
        ("client_secret", "post-secret"),
    ];
    let answer = client
        .post(issuer.token_url())
        .form(&post)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    send(&issuer, &client, &[]).await;
    let seen = issuer.requests().await.unwrap();
    let ways: Vec<_> = seen
        .iter()
        .map(|s| (s.client_id.as_str(), s.auth_method.as_str()))
        .collect();
    assert_eq!(
        ways,
        [
            ("post", "client_secret_post"),
            ("basic", "client_secret_basic")
        ]
    );
}

#[tokio::test]
async fn what_it_answered_can_be_counted() {
    let (issuer, client) = start().await;
    for _ in 0..2 {
        send(&issuer, &client, &[]).await;
    }
    send(&issuer, &client, &[("resource", "https://unknown.example")]).await;
    let wrong = client
        .post(issuer.token_url())
        .basic_auth("basic", Some("wrong"));
    wrong
        .form(&[("grant_type", "client_credentials")])
        .send()
        .await
        .unwrap();
    let line = |status, error: &str, count| SeenRequest {
        client_id: "basic".to_owned(),
        auth_method: "client_secret_basic".to_owned(),
        status,
        error: error.to_owned(),
        count,
    };
    assert_eq!(
        issuer.requests().await.unwrap(),
        [
            line(200, "", 2),
            line(400, "invalid_target", 1),
            line(401, "invalid_client", 1)
        ]
    );
}

#[tokio::test]
async fn it_comes_back_on_the_same_port_with_the_same_keys() {
    let (mut issuer, client) = start().await;
    let (_, answer) = send(&issuer, &client, &[("resource", API)]).await;
    let url = issuer.issuer_url().to_owned();
    issuer.stop();
    assert!(
        client.get(issuer.token_url()).send().await.is_err(),
        "it still answers"
    );
    issuer.start_again().await.unwrap();
    assert_eq!(issuer.issuer_url(), url);
    let claims = issuer
        .introspect(answer["access_token"].as_str().unwrap())
        .await
        .unwrap();
    assert_eq!(claims["active"], true);
}
