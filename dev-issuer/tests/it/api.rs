//! The protected API lets in what it must and nothing else.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dev_issuer::{Config, InvalidToken, Resource};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::header::AUTHORIZATION;
use serde_json::Value;

use crate::support::{Bench, DEMO, Reply, form};

fn assert_invalid(reply: &Reply, reason: InvalidToken) {
    assert_eq!(reply.status, 401, "{reply:?}");
    let challenge = reply.header("www-authenticate");
    assert!(challenge.starts_with("Bearer "), "{challenge}");
    assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
    assert!(
        challenge.contains(&format!("error_description=\"{reason}\"")),
        "{challenge}"
    );
}

fn part(token: &str, index: usize) -> Value {
    let part = token.split('.').nth(index).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

#[tokio::test]
async fn a_good_token_is_let_in_and_its_claims_come_back() {
    let bench = Bench::new().await;
    let token = bench.demo_token().await;
    let reply = bench.call("/api/demo/whoami", &token).await;
    assert_eq!(reply.status, 200);
    let claims = bench.issuer.validate(&token).unwrap();
    let expected = serde_json::json!({
        "appid": "demo", "aud": claims.aud, "roles": ["Records.Read"], "exp": claims.exp, "uti": claims.uti,
    });
    assert_eq!(reply.json(), expected);

    let scope = "05a65629-4c1b-48c1-a78b-804c4abdd4af/.default";
    let cloud_apps = bench.v2(&form(DEMO, &[("scope", scope)])).await.token();
    for path in [
        "/api/cloudapps/v1/alerts/",
        "/api/cloudapps/v1/alerts",
        "/api/cloudapps/v1/alerts/42/",
    ] {
        assert_eq!(bench.call(path, &cloud_apps).await.status, 200, "{path}");
    }
    for path in [
        "/api/cloudapps/v1/alertsX",
        "/api/cloudapps/",
        "/api/nothing/whoami",
        "/api/demo/v9",
    ] {
        assert_eq!(bench.call(path, &cloud_apps).await.status, 404, "{path}");
    }
    let call = &bench.issuer.api_calls()[0];
    assert_eq!((call.path.as_str(), call.status), ("/api/demo/whoami", 200));
    assert_eq!(
        (call.client_id.as_deref(), &call.uti),
        (Some("demo"), &claims.uti)
    );
}

#[tokio::test]
async fn every_resource_has_a_door_that_its_token_opens() {
    let bench = Bench::new().await;
    for (scope, path) in [
        (
            "https://api.securitycenter.microsoft.com/.default",
            "/api/endpoint/alerts",
        ),
        (
            "https://securitycenter.onmicrosoft.com/windowsatpservice/.default",
            "/api/endpoint/alerts",
        ),
        (
            "https://api.security.microsoft.com/.default",
            "/api/xdr/incidents",
        ),
        (
            "https://graph.microsoft.com/.default",
            "/api/graph/v1.0/users",
        ),
        (
            "https://mwaas-services-customerapi-prod.azurewebsites.net/.default",
            "/api/manageddesktop/support/odata/v1/tickets",
        ),
    ] {
        let token = bench.v2(&form(DEMO, &[("scope", scope)])).await.token();
        assert_eq!(bench.call(path, &token).await.status, 200, "{scope}");
    }
}

#[tokio::test]
async fn without_credentials_there_is_a_challenge_without_an_error() {
    let bench = Bench::new().await;
    let url = bench.url("/api/demo/whoami");
    let none = Reply::of(bench.http.get(&url).send().await.unwrap()).await;
    let other = bench.http.get(&url).basic_auth("demo", Some("x"));
    let other = Reply::of(other.send().await.unwrap()).await;
    for reply in [none, other] {
        assert_eq!(reply.status, 401);
        let challenge = reply.header("www-authenticate");
        assert_eq!(
            challenge,
            format!("Bearer realm=\"{}\"", bench.issuer.origin())
        );
    }
    let two = bench
        .http
        .get(&url)
        .header(AUTHORIZATION, "Bearer a")
        .header(AUTHORIZATION, "Bearer b");
    let two = Reply::of(two.send().await.unwrap()).await;
    assert_eq!(two.status, 400);
    assert!(two.header("www-authenticate").contains("invalid_request"));
}

#[tokio::test]
async fn roles_are_checked() {
    let bench = Bench::new().await;
    let reply = bench
        .call("/api/demo/records/write", &bench.demo_token().await)
        .await;
    assert_eq!(reply.status, 403);
    let challenge = reply.header("www-authenticate");
    assert!(
        challenge.contains("error=\"insufficient_scope\""),
        "{challenge}"
    );
    assert!(challenge.contains("scope=\"Records.Write\""), "{challenge}");
    let request = form(
        DEMO,
        &[
            ("client_id", "demo-no-roles"),
            ("client_secret", "no-roles~secret.1"),
        ],
    );
    let token = bench.v2(&request).await.token();
    assert_eq!(bench.call("/api/demo/records", &token).await.status, 403);
    assert_eq!(bench.call("/api/demo/whoami", &token).await.status, 200);
}

#[tokio::test]
async fn a_token_for_another_api_is_refused() {
    let bench = Bench::new().await;
    let scope = "https://graph.microsoft.com/.default";
    let token = bench.v2(&form(DEMO, &[("scope", scope)])).await.token();
    assert_invalid(
        &bench.call("/api/demo/whoami", &token).await,
        InvalidToken::Audience,
    );
}

#[tokio::test]
async fn an_expired_token_is_refused() {
    let bench = Bench::with(Config {
        leeway_seconds: 0,
        ..Config::default()
    })
    .await;
    bench
        .issuer
        .set_lifetime("demo", Duration::from_secs(1))
        .unwrap();
    let token = bench.demo_token().await;
    tokio::time::sleep(Duration::from_millis(2100)).await;
    assert_invalid(
        &bench.call("/api/demo/whoami", &token).await,
        InvalidToken::Expired,
    );
    assert_eq!(bench.issuer.validate(&token), Err(InvalidToken::Expired));
}

#[tokio::test]
async fn a_forged_token_is_refused() {
    let bench = Bench::new().await;
    let token = bench.demo_token().await;
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let (head, body) = signed.split_once('.').unwrap();

    let mut claims = part(&token, 1);
    claims["roles"] = serde_json::json!(["Records.Write"]);
    let more_roles = format!("{head}.{}.{signature}", encoded(&claims));

    let mut header = part(&token, 0);
    header["alg"] = "none".into();
    let unsigned = format!("{}.{body}.", encoded(&header));

    header["alg"] = "RS512".into();
    let other_algorithm = format!("{}.{body}.{signature}", encoded(&header));

    header["alg"] = "RS256".into();
    header["kid"] = "someone".into();
    let other_key = format!("{}.{body}.{signature}", encoded(&header));

    // The public key as a shared secret (RFC 8725 section 2.1).
    let keys = bench.get("/generic/keys").await.json();
    let modulus = keys["keys"][0]["n"].as_str().unwrap().as_bytes();
    let mut hmac = Header::new(Algorithm::HS256);
    hmac.kid = part(&token, 0)["kid"].as_str().map(str::to_owned);
    let confused =
        jsonwebtoken::encode(&hmac, &claims, &EncodingKey::from_secret(modulus)).unwrap();

    for (what, forged, reason) in [
        ("tampered", more_roles, InvalidToken::Signature),
        ("alg none", unsigned, InvalidToken::Malformed),
        (
            "another algorithm",
            other_algorithm,
            InvalidToken::Algorithm,
        ),
        ("another key", other_key, InvalidToken::UnknownKey),
        ("algorithm confusion", confused, InvalidToken::Algorithm),
        ("rubbish", "rubbish".to_owned(), InvalidToken::Malformed),
    ] {
        assert_eq!(bench.issuer.validate(&forged), Err(reason), "{what}");
        assert_invalid(&bench.call("/api/demo/whoami", &forged).await, reason);
    }
}

#[tokio::test]
async fn a_token_of_another_issuer_is_refused() {
    let (here, there) = (Bench::new().await, Bench::new().await);
    let token = there.demo_token().await;
    assert_invalid(
        &here.call("/api/demo/whoami", &token).await,
        InvalidToken::UnknownKey,
    );
}

#[tokio::test]
async fn rotated_keys_stay_good_for_one_rotation() {
    let bench = Bench::new().await;
    let first = bench.demo_token().await;
    bench.issuer.rotate_keys().await.unwrap();
    let second = bench.demo_token().await;
    assert_ne!(part(&first, 0)["kid"], part(&second, 0)["kid"]);
    for token in [&first, &second] {
        assert_eq!(bench.call("/api/demo/whoami", token).await.status, 200);
    }
    let keys = bench.get("/{tenant}/discovery/v2.0/keys").await.json();
    assert_eq!(keys["keys"].as_array().unwrap().len(), 2);
    assert_eq!(
        keys["keys"][0]["issuer"],
        format!("{}/{}/v2.0", bench.issuer.origin(), bench.issuer.tenant())
    );
    bench.issuer.rotate_keys().await.unwrap();
    assert_invalid(
        &bench.call("/api/demo/whoami", &first).await,
        InvalidToken::UnknownKey,
    );
    assert_eq!(bench.call("/api/demo/whoami", &second).await.status, 200);
}

#[tokio::test]
async fn resources_of_the_owner_work_like_the_built_in_ones() {
    let config = Config::from_yaml(
        "resources:\n- {name: mine, appId: 11111111-2222-4333-8444-555555555555, uris: ['https://x.example']}\nclients:\n- {id: c, secrets: [{value: s}]}\n",
    );
    let mut config = config.unwrap();
    assert_eq!(
        config.resources[0].access_token_accepted_version, 1,
        "unset is 1 at Entra"
    );
    let mine: &mut Resource = &mut config.resources[0];
    mine.routes.push(dev_issuer::Route {
        path: "/".to_owned(),
        roles: Vec::new(),
    });
    let bench = Bench::with(config).await;
    let request = form(
        DEMO,
        &[
            ("client_id", "c"),
            ("client_secret", "s"),
            ("scope", "https://x.example/.default"),
        ],
    );
    let token = bench.v2(&request).await.token();
    assert_eq!(bench.call("/api/mine/any/thing", &token).await.status, 200);
}
