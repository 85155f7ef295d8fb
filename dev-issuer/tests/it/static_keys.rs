//! Static keys of the protected API: no issuer in sight.

use dev_issuer::{Config, Secret};
use jiff::Timestamp;
use reqwest::header::AUTHORIZATION;

use crate::support::{Bench, DEMO, Reply, form};

const KEY: &str = "cloudapps~static.1";
const ALERTS: &str = "/api/cloudapps/v1/alerts/";

async fn call(bench: &Bench, path: &str, authorization: &str) -> Reply {
    let request = bench.http.get(bench.url(path));
    let request = request.header(AUTHORIZATION, authorization);
    Reply::of(request.send().await.unwrap()).await
}

#[tokio::test]
async fn a_key_opens_the_api_that_knows_it() {
    let bench = Bench::new().await;
    for scheme in ["Token", "token"] {
        let reply = call(&bench, ALERTS, &format!("{scheme} {KEY}")).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_eq!(reply.json()["staticKey"], 0);
    }
    let calls = bench.issuer.api_calls();
    assert_eq!((calls[0].static_key, &calls[0].uti), (Some(0), &None));
    assert_eq!(bench.issuer.stats().api_calls_accepted, 2);
    let nowhere = call(&bench, "/api/cloudapps/v9", &format!("Token {KEY}")).await;
    assert_eq!(nowhere.status, 404);
    // Another API has no such keys, so it does not know the scheme either.
    let other = call(&bench, "/api/demo/whoami", &format!("Token {KEY}")).await;
    assert_eq!(other.status, 401);
    assert!(
        other
            .header("www-authenticate")
            .starts_with("Bearer realm=")
    );
}

#[tokio::test]
async fn what_is_presented_in_the_wrong_scheme_is_refused() {
    let bench = Bench::new().await;
    let scope = "05a65629-4c1b-48c1-a78b-804c4abdd4af/.default";
    let token = bench.v2(&form(DEMO, &[("scope", scope)])).await.token();
    assert_eq!(bench.call(ALERTS, &token).await.status, 200);
    for (authorization, scheme) in [
        (format!("Token {token}"), "Token "),
        (format!("Bearer {KEY}"), "Bearer "),
        ("Token nobody~knows.it".to_owned(), "Token "),
        (format!("Token {KEY}x"), "Token "),
        ("Basic eDp5".to_owned(), "Bearer "),
    ] {
        let reply = call(&bench, ALERTS, &authorization).await;
        assert_eq!(reply.status, 401, "{scheme}");
        let challenge = reply.header("www-authenticate");
        assert!(challenge.starts_with(scheme), "{challenge}");
    }
    let calls = bench.issuer.api_calls();
    assert!(calls[1..].iter().all(|call| call.static_key.is_none()));
    let text = format!(
        "{} {:?}",
        serde_json::to_string(&calls).unwrap(),
        Config::default()
    );
    assert!(!text.contains(KEY) && !text.contains(&token), "{text}");
}

#[tokio::test]
async fn keys_are_replaced_and_revoked() {
    let bench = Bench::new().await;
    let revoked = Secret::new("second").expiring(Timestamp::UNIX_EPOCH);
    let keys = vec![Secret::new("first"), revoked, Secret::new("third")];
    bench.issuer.set_static_keys("cloudapps", keys).unwrap();
    for (key, status) in [(KEY, 401), ("first", 200), ("second", 401), ("third", 200)] {
        let reply = call(&bench, ALERTS, &format!("Token {key}")).await;
        assert_eq!(reply.status, status, "{key}");
    }
    let last = bench.issuer.api_calls().pop().unwrap();
    assert_eq!(last.static_key, Some(2));
    for (resource, key) in [("nothing", "x"), ("cloudapps", "")] {
        let keys = vec![Secret::new(key)];
        assert!(bench.issuer.set_static_keys(resource, keys).is_err());
    }
    assert_eq!(call(&bench, ALERTS, "Token first").await.status, 200);

    let yaml = "resources: [{name: x, appId: 00000000-0000-4000-8000-0000000000d1, staticKeys: [leaky-value]}]";
    let error = Config::from_yaml(yaml).unwrap_err().to_string();
    assert!(
        error.contains("staticKeys") && !error.contains("leaky"),
        "{error}"
    );
}
