//! Starting, stopping, coming back; and config files.

use std::time::Duration;

use dev_issuer::{Config, DevIssuer, Error, Point, Secret};

use crate::support::{Bench, DEMO};

#[tokio::test]
async fn an_issuer_that_was_down_comes_back_as_it_was() {
    let bench = Bench::new().await;
    let token = bench.demo_token().await;
    let kept_open = bench.issuer.hold("demo", Point::Received);
    let url = bench.issuer.token_url_v2();
    let fields = || bench.http.post(&url).form(DEMO).send();
    let (sent, ()) = tokio::join!(fields(), async {
        kept_open.reached().await;
        bench.issuer.stop().await;
    });
    assert!(sent.is_err(), "it was in flight when the issuer went");
    drop(kept_open);
    let refused = fields().await.unwrap_err();
    assert!(refused.is_connect(), "{refused:?}");
    bench.issuer.stop().await;

    for _ in 0..3 {
        bench.issuer.start_again().await.unwrap();
        bench.issuer.start_again().await.unwrap();
        assert_eq!(bench.v2(DEMO).await.status, 200);
        assert_eq!(
            bench.call("/api/demo/whoami", &token).await.status,
            200,
            "same keys"
        );
        bench.issuer.stop().await;
    }
    let requests = bench.issuer.requests();
    assert_eq!(requests.len(), 5);
    assert_eq!(requests[1].status, None);
    assert!(requests[1].took_ms.is_some());
}

#[tokio::test]
async fn dropping_it_ends_it() {
    let bench = Bench::new().await;
    let address = bench.issuer.address();
    assert_eq!(bench.v2(DEMO).await.status, 200);
    drop(bench);
    for _ in 0..100 {
        if tokio::net::TcpStream::connect(address).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it still listens");
}

#[tokio::test]
async fn a_busy_port_is_reported() {
    let bench = Bench::new().await;
    let config = Config {
        listen: bench.issuer.address(),
        ..Config::default()
    };
    let error = DevIssuer::start(config).await.unwrap_err();
    assert!(matches!(error, Error::Listen { .. }), "{error:?}");
    assert!(
        error
            .to_string()
            .contains(&bench.issuer.address().to_string()),
        "{error}"
    );
}

#[tokio::test]
async fn the_published_host_can_be_a_name() {
    let config = Config {
        host: Some("localhost".to_owned()),
        ..Config::default()
    };
    let bench = Bench::with(config).await;
    assert!(bench.issuer.origin().starts_with("https://localhost:"));
    let token = bench.demo_token().await;
    let claims = bench.issuer.validate(&token).unwrap();
    assert!(claims.iss.starts_with(bench.issuer.origin()));
}

#[test]
fn a_file_may_set_as_little_as_it_likes() {
    let default = Config::default();
    let empty = Config::from_yaml("\n").unwrap();
    assert_eq!(empty.tenants[0].id, default.tenants[0].id);
    let some = Config::from_yaml("lifetimeSeconds: 120\n").unwrap();
    assert_eq!(some.lifetime_seconds, 120);
    assert_eq!(some.clients.len(), default.clients.len());
    let json = Config::from_yaml(
        r#"{"clients": [{"id": "a", "secrets": [{"value": "s", "expires": "2030-01-01T00:00:00Z"}], "roles": {"demo": ["Records.Read"]}}]}"#,
    );
    assert_eq!(json.unwrap().clients.len(), 1);
}

#[test]
fn the_example_file_is_a_good_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/issuer.example.yaml");
    let config = Config::from_file(path.as_ref()).unwrap();
    assert_eq!(config.clients[0].secrets.len(), 2);
}

#[test]
fn a_bad_file_names_the_field() {
    let client = |rest: &str| format!("clients:\n- {{id: a, {rest}}}\n");
    let resource = |rest: &str| format!("resources:\n- {{name: a, {rest}}}\n");
    let guid = "appId: 11111111-2222-4333-8444-555555555555";
    #[rustfmt::skip]
    let table = [
        ("lifetimeSeconds: soon\n".to_owned(), "lifetimeSeconds"),
        ("lifetimeSeconds: 0\n".to_owned(), "lifetimeSeconds"),
        ("lifetime: 5\n".to_owned(), "lifetime"),
        ("tenants: []\n".to_owned(), "tenants"),
        ("tenants:\n- id: contoso\n".to_owned(), "tenants[0].id"),
        ("tenants:\n- {id: 11111111-2222-4333-8444-555555555555, domains: [x]}\n".to_owned(), "tenants[0].domains[0]"),
        (client("secrets: hidden-value"), "clients[0].secrets"),
        (client("secrets: [hidden-value]"), "clients[0].secrets[0]"),
        (client("secrets: [{value: hidden-value, expires: tomorrow}]"), "clients[0].secrets[0].expires"),
        (client("secrets: [{value: ''}]"), "clients[0].secrets[0].value"),
        (client("secret: hidden-value"), "clients[0]"),
        (client("roles: {demo: [Nothing]}"), "clients[0].roles.demo"),
        (client("roles: {nothing: [X]}"), "clients[0].roles.nothing"),
        (client("tenants: [other]"), "clients[0].tenants[0]"),
        ("clients:\n- {id: a}\n- {id: a}\n".to_owned(), "clients[1].id"),
        (resource("appId: x"), "resources[0].appId"),
        (resource(&format!("{guid}, accessTokenAcceptedVersion: 3")), "resources[0].accessTokenAcceptedVersion"),
        (resource(&format!("{guid}, routes: [{{path: x}}]")), "resources[0].routes[0].path"),
        (format!("resources:\n- {{name: A/B, {guid}}}\n"), "resources[0].name"),
    ];
    for (text, field) in table {
        let error = Config::from_yaml(&text).expect_err(&text).to_string();
        assert!(
            error.starts_with(&format!("config: {field}")),
            "{text}: {error}"
        );
        assert!(!error.contains("hidden-value"), "{error}");
    }
    let missing = Config::from_file("/nonexistent/file.yaml".as_ref()).unwrap_err();
    assert!(
        missing.to_string().contains("/nonexistent/file.yaml"),
        "{missing}"
    );
}

#[test]
fn a_secret_is_not_shown_by_debug() {
    let text = format!("{:?} {:?}", Secret::new("hidden-value"), Config::default());
    assert!(
        !text.contains("hidden-value") && !text.contains("demo~secret.1"),
        "{text}"
    );
}
