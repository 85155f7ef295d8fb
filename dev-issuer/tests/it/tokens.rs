//! Good answers, tokens as their resource wants them, discovery and keys.

use std::time::Duration;

use dev_issuer::{AuthMethod, Client, Secret};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};

use crate::support::{Bench, DEMO, form};

/// As a resource server does it: discovery, keys, signature, issuer, audience.
async fn verified(bench: &Bench, discovery: &str, audience: &str, token: &str) -> Value {
    let metadata = bench.get(discovery).await.json();
    let keys = metadata["jwks_uri"].as_str().unwrap();
    let keys: JwkSet = bench
        .http
        .get(keys)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let header = jsonwebtoken::decode_header(token).unwrap();
    let key = keys
        .find(&header.kid.unwrap())
        .expect("the key is published");
    let mut rules = Validation::new(Algorithm::RS256);
    rules.set_audience(&[audience]);
    rules.set_issuer(&[metadata["issuer"].as_str().unwrap()]);
    let key = DecodingKey::from_jwk(key).unwrap();
    jsonwebtoken::decode::<Value>(token, &key, &rules)
        .unwrap()
        .claims
}

#[tokio::test]
async fn a_v2_answer_has_entras_fields_in_entras_order() {
    let bench = Bench::new().await;
    let reply = bench.v2(DEMO).await;
    assert_eq!(reply.status, 200);
    assert_eq!(
        reply.header("content-type"),
        "application/json; charset=utf-8"
    );
    assert_eq!(reply.header("cache-control"), "no-store");
    let token = reply.token();
    let expected = format!(
        r#"{{"token_type":"Bearer","expires_in":3599,"ext_expires_in":3599,"access_token":"{token}"}}"#
    );
    assert_eq!(reply.body, expected);
}

#[tokio::test]
async fn a_v1_answer_has_numbers_as_strings() {
    let bench = Bench::new().await;
    let request = form(
        DEMO,
        &[("scope", ""), ("resource", "https://graph.microsoft.com")],
    );
    let reply = bench.post("/{tenant}/oauth2/token", &request).await;
    let body = reply.json();
    assert_eq!(body["expires_in"], "3599");
    assert_eq!(body["ext_expires_in"], "3599");
    assert_eq!(body["resource"], "https://graph.microsoft.com");
    let claims = bench.issuer.validate(&reply.token()).unwrap();
    assert_eq!(body["expires_on"], claims.exp.to_string());
    assert_eq!(body["not_before"], claims.nbf.to_string());
}

#[tokio::test]
async fn the_resource_decides_the_form_of_the_token() {
    let bench = Bench::new().await;
    let v1 = "/{tenant}/.well-known/openid-configuration";
    let v2 = "/{tenant}/v2.0/.well-known/openid-configuration";
    let demo_id = "00000000-0000-4000-8000-0000000000d1";
    let cloud_apps = "05a65629-4c1b-48c1-a78b-804c4abdd4af";
    let graph = "https://graph.microsoft.com";
    let graph_slash = "https://graph.microsoft.com/";
    // endpoint, requested resource or scope, document to check with, audience, version
    #[rustfmt::skip]
    let table = [
        ("v2", "api://demo/.default", v2, demo_id, "2.0"),
        ("v1", "api://demo", v2, demo_id, "2.0"),
        ("v2", "05a65629-4c1b-48c1-a78b-804c4abdd4af/.default", v1, cloud_apps, "1.0"),
        ("v1", cloud_apps, v1, cloud_apps, "1.0"),
        ("v2", "https://graph.microsoft.com/.default", v1, graph, "1.0"),
        ("v2", "https://graph.microsoft.com//.default", v1, graph_slash, "1.0"),
        ("v1", graph_slash, v1, graph_slash, "1.0"),
    ];
    for (endpoint, requested, document, audience, version) in table {
        let reply = if endpoint == "v2" {
            bench.v2(&form(DEMO, &[("scope", requested)])).await
        } else {
            let request = form(DEMO, &[("scope", ""), ("resource", requested)]);
            bench.post("/{tenant}/oauth2/token", &request).await
        };
        let claims = verified(&bench, document, audience, &reply.token()).await;
        assert_eq!(claims["ver"], version, "{requested}");
        let (client, acr, absent) = match version {
            "2.0" => ("azp", "azpacr", "appid"),
            _ => ("appid", "appidacr", "azp"),
        };
        assert_eq!(claims[client], "demo", "{requested}");
        assert_eq!(claims[acr], "1", "{requested}");
        assert_eq!(claims[absent], Value::Null, "{requested}");
        assert_eq!(claims["tid"], bench.issuer.tenant());
        assert_eq!(claims["oid"], claims["sub"]);
        assert!(claims["roles"].as_array().is_some_and(|r| r.len() == 1));
        // Entra dates its tokens back; see where it is done.
        let number = |name: &str| claims[name].as_i64().unwrap();
        assert_eq!(number("exp") - number("iat"), 3599 + 300);
        assert_eq!(number("nbf"), number("iat"));
    }
}

#[tokio::test]
async fn a_domain_name_means_the_same_tenant() {
    let bench = Bench::new().await;
    let by_name = bench
        .get("/contoso.example/v2.0/.well-known/openid-configuration")
        .await;
    let by_id = bench
        .get("/{tenant}/v2.0/.well-known/openid-configuration")
        .await;
    assert_eq!(by_name.body, by_id.body);
    assert_eq!(by_id.json()["token_endpoint"], bench.issuer.token_url_v2());
    let v1 = bench
        .get("/{tenant}/.well-known/openid-configuration")
        .await
        .json();
    assert_eq!(v1["token_endpoint"], bench.issuer.token_url_v1());
    let unknown = bench
        .get("/fabrikam.example/v2.0/.well-known/openid-configuration")
        .await;
    assert_eq!(unknown.status, 400);
    assert_eq!(unknown.json()["error_codes"], json!([90002]));
}

#[tokio::test]
async fn no_role_is_no_reason_to_refuse() {
    let bench = Bench::new().await;
    let request = form(
        DEMO,
        &[
            ("client_id", "demo-no-roles"),
            ("client_secret", "no-roles~secret.1"),
        ],
    );
    let reply = bench.v2(&request).await;
    assert_eq!(reply.status, 200);
    assert!(
        bench
            .issuer
            .validate(&reply.token())
            .unwrap()
            .roles
            .is_empty()
    );
}

#[tokio::test]
async fn lifetimes_and_refresh_in_follow_the_client() {
    let bench = Bench::new().await;
    let client = Client::new("mine")
        .secret("s")
        .refresh_in(Duration::from_secs(40));
    bench.issuer.add_client(client).unwrap();
    bench
        .issuer
        .set_lifetime("mine", Duration::from_secs(90))
        .unwrap();
    let request = form(DEMO, &[("client_id", "mine"), ("client_secret", "s")]);
    let body = bench.v2(&request).await.json();
    assert_eq!(body["expires_in"], 90);
    assert_eq!(body["refresh_in"], 40);
    bench.issuer.remove_client("mine");
    assert_eq!(
        bench.v2(&request).await.json()["error_codes"],
        json!([700_016])
    );
    assert!(
        bench
            .issuer
            .set_lifetime("mine", Duration::from_secs(90))
            .is_err()
    );
    assert!(bench.issuer.set_lifetime("demo", Duration::ZERO).is_err());
}

#[tokio::test]
async fn several_client_secrets_are_valid_and_the_record_names_the_one_used() {
    let bench = Bench::new().await;
    let past = "2020-01-01T00:00:00Z".parse().unwrap();
    let secrets = vec![
        Secret::new("old").expiring(past),
        Secret::new("now"),
        Secret::new("next"),
    ];
    bench.issuer.set_secrets("demo", secrets).unwrap();
    for (secret, status, index) in [
        ("old", 401, Some(0)),
        ("now", 200, Some(1)),
        ("next", 200, Some(2)),
        ("?", 401, None),
    ] {
        let reply = bench.v2(&form(DEMO, &[("client_secret", secret)])).await;
        assert_eq!(reply.status, status, "{secret}");
        let record = bench.issuer.requests().pop().unwrap();
        assert_eq!(record.secret_index, index, "{secret}");
        assert_eq!(record.auth_method, AuthMethod::ClientSecretPost);
    }
}

#[tokio::test]
async fn a_record_shows_all_but_the_secret() {
    let bench = Bench::new().await;
    let reply = bench.v2(DEMO).await;
    let claims = bench.issuer.validate(&reply.token()).unwrap();
    let records = bench.issuer.token_requests_of("demo");
    let [record] = records.as_slice() else {
        panic!("{records:?}")
    };
    assert_eq!(record.seq, 1);
    assert_eq!(
        record.path,
        format!("/{}/oauth2/v2.0/token", bench.issuer.tenant())
    );
    assert_eq!(record.tenant.as_deref(), Some(bench.issuer.tenant()));
    assert_eq!(record.grant_type.as_deref(), Some("client_credentials"));
    assert_eq!(record.scope.as_deref(), Some("api://demo/.default"));
    assert_eq!(record.http_version, "HTTP/2.0");
    assert_eq!(record.status, Some(200));
    assert_eq!(record.uti, claims.uti);
    assert_eq!(
        record.expires.map(jiff::Timestamp::as_second),
        Some(claims.exp)
    );
    assert_eq!(record.fault, None);
    assert!(bench.issuer.token_requests_of("other").is_empty());
}

#[tokio::test]
async fn an_http_1_client_is_served_too() {
    let bench = Bench::new().await;
    let http = crate::support::trusting(bench.issuer.ca_pem())
        .http1_only()
        .build()
        .unwrap();
    let response = http
        .post(bench.issuer.token_url_v2())
        .form(DEMO)
        .send()
        .await
        .unwrap();
    assert_eq!(response.version(), reqwest::Version::HTTP_11);
    assert_eq!(response.status(), 200);
    assert_eq!(bench.issuer.requests()[0].http_version, "HTTP/1.1");
}
