//! The issuer that is not Entra.

use dev_issuer::{Client, Config};
use reqwest::header::AUTHORIZATION;
use serde_json::Value;

use crate::support::{Bench, DEMO, Reply, form};

type Changes = &'static [(&'static str, &'static str)];

const TOKEN: &str = "/generic/token";

async fn basic(bench: &Bench, request: &[(&str, &str)], id: &str, secret: &str) -> Reply {
    let request = bench.http.post(bench.url(TOKEN)).form(request);
    Reply::of(request.basic_auth(id, Some(secret)).send().await.unwrap()).await
}

#[tokio::test]
async fn discovery_leads_to_a_token_that_verifies() {
    let bench = Bench::new().await;
    let document = bench.get("/generic/.well-known/openid-configuration").await;
    assert_eq!(
        document.body,
        bench
            .get("/.well-known/oauth-authorization-server/generic")
            .await
            .body
    );
    let document = document.json();
    assert_eq!(document["issuer"], bench.issuer.generic_issuer());
    assert_eq!(document["token_endpoint"], bench.issuer.generic_token_url());
    let keys = bench.http.get(document["jwks_uri"].as_str().unwrap());
    let keys: Value = keys.send().await.unwrap().json().await.unwrap();
    assert_eq!(keys["keys"][0]["alg"], "RS256");

    let request = form(DEMO, &[("scope", "read write"), ("audience", "api://demo")]);
    let body = bench.post(TOKEN, &request).await;
    assert_eq!(body.json()["scope"], "read write");
    let claims = bench.issuer.validate(&body.token()).unwrap();
    assert_eq!(claims.iss, bench.issuer.generic_issuer());
    assert_eq!(
        (claims.aud.as_str(), claims.sub.as_str()),
        ("api://demo", "demo")
    );
    assert_eq!(claims.roles, ["Records.Read"]);
    assert_eq!(
        bench.call("/api/demo/records", &body.token()).await.status,
        200
    );
}

#[tokio::test]
async fn requests_are_checked_as_rfc_6749_has_it() {
    let bench = Bench::new().await;
    #[rustfmt::skip]
    let table: &[(&str, Changes, u16, &str)] = &[
        ("no grant", &[("grant_type", "")], 400, "invalid_request"),
        ("another grant", &[("grant_type", "implicit")], 400, "unsupported_grant_type"),
        ("no client", &[("client_id", "")], 401, "invalid_client"),
        ("no secret", &[("client_secret", "")], 401, "invalid_client"),
        ("unknown client", &[("client_id", "nobody")], 401, "invalid_client"),
        ("wrong secret", &[("client_secret", "guess")], 401, "invalid_client"),
        ("bad scope", &[("scope", "a  b")], 400, "invalid_scope"),
        ("quote in the scope", &[("scope", "a\"b")], 400, "invalid_scope"),
        ("unknown audience", &[("audience", "api://other")], 400, "invalid_target"),
        ("unknown resource", &[("resource", "api://other")], 400, "invalid_target"),
        ("two audiences", &[("audience", "api://demo"), ("resource", "https://graph.microsoft.com")], 400, "invalid_target"),
    ];
    for (what, changes, status, error) in table {
        let reply = bench.post(TOKEN, &form(DEMO, changes)).await;
        assert_eq!(
            (reply.status, reply.json()["error"].as_str()),
            (*status, Some(*error)),
            "{what}"
        );
        assert_eq!(
            reply.json().as_object().unwrap().len(),
            2,
            "{what}: nothing of Entra's"
        );
        assert_eq!(reply.header("www-authenticate"), "", "{what}");
        assert_eq!(reply.header("cache-control"), "no-store", "{what}");
    }
    let twice = [DEMO, &[("scope", "x")]].concat();
    assert_eq!(
        bench.post(TOKEN, &twice).await.json()["error"],
        "invalid_request"
    );
    let resource = ("resource", "api://demo");
    let twice = [DEMO, &[resource, resource]].concat();
    assert_eq!(
        bench.post(TOKEN, &twice).await.status,
        200,
        "RFC 8707 allows it"
    );
    let bare = form(DEMO, &[("scope", "")]);
    let claims = bench
        .issuer
        .validate(&bench.post(TOKEN, &bare).await.token())
        .unwrap();
    assert_eq!(claims.aud, bench.issuer.generic_issuer());
}

#[tokio::test]
async fn a_basic_header_is_form_encoded_inside() {
    let bench = Bench::new().await;
    let client = Client::new("a b:c").secret("100%+ä");
    bench.issuer.add_client(client).unwrap();
    let request = &[("grant_type", "client_credentials")];
    for (id, secret) in [
        ("a+b%3Ac", "100%25%2B%C3%A4"),
        ("a%20b%3ac", "100%25%2b%c3%a4"),
    ] {
        assert_eq!(basic(&bench, request, id, secret).await.status, 200);
    }
    for (id, secret) in [
        ("a b:c", "100%+ä"),
        ("a+b%3Ac", "100%+ä"),
        ("a+b%3Ac", "wrong"),
    ] {
        let reply = basic(&bench, request, id, secret).await;
        assert_eq!(
            (reply.status, reply.json()["error"].as_str()),
            (401, Some("invalid_client"))
        );
        assert!(reply.header("www-authenticate").starts_with("Basic realm="));
    }
    let both = basic(&bench, DEMO, "demo", "demo~secret.1").await;
    assert_eq!(
        (both.status, both.json()["error"].as_str()),
        (400, Some("invalid_request"))
    );
    let two_ids = [
        ("grant_type", "client_credentials"),
        ("client_id", "demo-short"),
    ];
    let two_ids = basic(&bench, &two_ids, "demo", "demo~secret.1").await;
    assert_eq!(two_ids.json()["error"], "invalid_request");
    let broken = bench
        .http
        .post(bench.url(TOKEN))
        .form(request)
        .header(AUTHORIZATION, "Basic %%%");
    assert_eq!(broken.send().await.unwrap().status(), 401);
}

#[tokio::test]
async fn known_scopes_can_be_a_closed_list() {
    let config = Config {
        generic_scopes: vec!["read".to_owned()],
        ..Config::default()
    };
    let bench = Bench::with(config).await;
    let fields = async |scope| bench.post(TOKEN, &form(DEMO, &[("scope", scope)])).await;
    assert_eq!(fields("read").await.status, 200);
    assert_eq!(fields("read write").await.json()["error"], "invalid_scope");
}
