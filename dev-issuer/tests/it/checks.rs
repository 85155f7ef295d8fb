//! Every check of the Entra endpoints: requests and answers.

use dev_issuer::{Config, Tenant};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};

use crate::support::{Bench, DEMO, Reply, form};

type Changes = &'static [(&'static str, &'static str)];

const V2: &str = "/{tenant}/oauth2/v2.0/token";
const TWO: &str = "api://demo/.default https://graph.microsoft.com/.default";
const V1: &str = "/{tenant}/oauth2/token";

fn assert_refused(what: &str, reply: &Reply, status: u16, error: &str, code: u32) {
    let body = reply.json();
    assert_eq!(reply.status, status, "{what}: {body}");
    assert_eq!(body["error"], error, "{what}");
    assert_eq!(body["error_codes"], serde_json::json!([code]), "{what}");
    let text = body["error_description"].as_str().unwrap();
    assert!(
        text.starts_with(&format!("AADSTS{code}: ")),
        "{what}: {text}"
    );
    let lines: Vec<&str> = text.split("\r\n").collect();
    assert_eq!(lines.len(), 4, "{what}: {text:?}");
    assert_eq!(
        lines[1],
        format!("Trace ID: {}", body["trace_id"].as_str().unwrap())
    );
    let correlation = body["correlation_id"].as_str().unwrap();
    assert_eq!(lines[2], format!("Correlation ID: {correlation}"));
    assert_eq!(
        lines[3],
        format!("Timestamp: {}", body["timestamp"].as_str().unwrap())
    );
    let uri = body["error_uri"].as_str().unwrap();
    assert!(uri.ends_with(&format!("/error?code={code}")), "{uri}");
    assert_eq!(reply.header("cache-control"), "no-store", "{what}");
}

#[tokio::test]
async fn parameters_are_checked_in_entras_way() {
    let bench = Bench::new().await;
    // What is wrong, where it is sent, what is changed in a good request; status, error, AADSTS code.
    #[rustfmt::skip]
    let table: &[(&str, &str, Changes, u16, &str, u32)] = &[
        ("no grant_type", V2, &[("grant_type", "")], 400, "invalid_request", 900_144),
        ("misspelt grant", V2, &[("grant_type", "client_credential")], 400, "unsupported_grant_type", 70_003),
        ("blank after the grant", V2, &[("grant_type", "client_credentials ")], 400, "unsupported_grant_type", 70_003),
        ("no client_id", V2, &[("client_id", "")], 400, "invalid_request", 900_144),
        ("unknown client", V2, &[("client_id", "nobody")], 400, "unauthorized_client", 700_016),
        ("blank in the client id", V2, &[("client_id", " demo")], 400, "unauthorized_client", 700_016),
        ("no secret", V2, &[("client_secret", "")], 401, "invalid_client", 7_000_218),
        ("wrong secret", V2, &[("client_secret", "guess")], 401, "invalid_client", 7_000_215),
        ("newline after the secret", V2, &[("client_secret", "demo~secret.1\n")], 401, "invalid_client", 7_000_215),
        ("another client's secret", V2, &[("client_secret", "short~secret.1")], 401, "invalid_client", 7_000_215),
        ("expired secret", V2, &[("client_id", "demo-expired"), ("client_secret", "expired~secret.1")], 401, "invalid_client", 7_000_222),
        ("no scope", V2, &[("scope", "")], 400, "invalid_request", 900_144),
        ("scope without .default", V2, &[("scope", "api://demo")], 400, "invalid_scope", 1_002_012),
        ("a single permission", V2, &[("scope", "api://demo/Records.Read")], 400, "invalid_scope", 1_002_012),
        ("nothing but .default", V2, &[("scope", "/.default")], 400, "invalid_scope", 1_002_012),
        ("encoded twice", V2, &[("scope", "api%3A%2F%2Fdemo%2F.default")], 400, "invalid_scope", 1_002_012),
        ("blank after the scope", V2, &[("scope", "api://demo/.default ")], 400, "invalid_scope", 1_002_012),
        ("several resources", V2, &[("scope", TWO)], 400, "invalid_scope", 28_002),
        ("unknown resource", V2, &[("scope", "api://other/.default")], 400, "invalid_resource", 500_011),
        ("resource at v2", V2, &[("resource", "api://demo")], 400, "invalid_request", 901_002),
        ("resource instead of scope at v2", V2, &[("scope", ""), ("resource", "api://demo")], 400, "invalid_request", 901_002),
        ("scope at v1", V1, &[], 400, "invalid_request", 900_144),
        ("neither at v1", V1, &[("scope", "")], 400, "invalid_request", 900_144),
        ("unknown resource at v1", V1, &[("resource", "api://other")], 400, "invalid_resource", 500_011),
        (".default at v1", V1, &[("resource", "api://demo/.default")], 400, "invalid_resource", 500_011),
        ("wrong secret at v1", V1, &[("resource", "api://demo"), ("client_secret", "x")], 401, "invalid_client", 7_000_215),
        ("unknown tenant", "/00000000-0000-4000-8000-000000000000/oauth2/v2.0/token", &[], 400, "invalid_request", 90_002),
        ("unknown domain", "/fabrikam.example/oauth2/v2.0/token", &[], 400, "invalid_request", 90_002),
        ("no tenant at all", "/contoso/oauth2/v2.0/token", &[], 400, "invalid_request", 900_023),
        ("common", "/common/oauth2/v2.0/token", &[], 400, "invalid_request", 50_059),
        ("organizations at v1", "/organizations/oauth2/token", &[], 400, "invalid_request", 50_059),
        ("consumers", "/consumers/oauth2/v2.0/token", &[], 400, "invalid_request", 9_001_023),
    ];
    for (what, path, changes, status, error, code) in table {
        let reply = bench.post(path, &form(DEMO, changes)).await;
        assert_refused(what, &reply, *status, error, *code);
        let record = bench.issuer.requests().pop().unwrap();
        assert_eq!(record.status, Some(*status), "{what}");
        assert_eq!(record.error.as_deref(), Some(*error), "{what}");
        assert_eq!(record.aadsts, Some(*code), "{what}");
        assert_eq!(record.uti, None, "{what}");
    }
    assert_eq!(bench.issuer.requests().len(), table.len());
    let stats = bench.issuer.stats();
    assert_eq!(stats.tokens_refused, u64::try_from(table.len()).unwrap());
    assert_eq!(stats.tokens_issued, 0);
}

#[tokio::test]
async fn a_missing_parameter_is_named() {
    let bench = Bench::new().await;
    for name in ["grant_type", "client_id", "scope"] {
        let reply = bench.v2(&form(DEMO, &[(name, "")])).await;
        let text = reply.json()["error_description"].to_string();
        assert!(text.contains(&format!("parameter: '{name}'")), "{text}");
    }
    let reply = bench.post(V1, DEMO).await;
    assert!(
        reply.body.contains("parameter: 'resource'"),
        "{}",
        reply.body
    );
}

#[tokio::test]
async fn the_body_must_be_one_good_form() {
    let bench = Bench::new().await;
    let good = "grant_type=client_credentials&client_id=demo&client_secret=demo~secret.1&scope=api%3A%2F%2Fdemo%2F.default";
    let form_type = "application/x-www-form-urlencoded";
    #[rustfmt::skip]
    let table: &[(&str, &str, String, u32)] = &[
        ("JSON", "application/json", r#"{"grant_type":"client_credentials"}"#.to_owned(), 900_144),
        ("a form that says it is text", "text/plain", good.to_owned(), 900_144),
        ("nothing", form_type, String::new(), 900_144),
        ("twice the same", form_type, format!("{good}&client_id=demo"), 9_000_411),
        ("twice an unknown", form_type, format!("{good}&x=1&x=2"), 9_000_411),
        ("a bare percent sign", form_type, good.replace("demo~secret.1", "100%"), 9_002_313),
        ("not UTF-8", form_type, format!("{good}&x=%ff"), 9_002_313),
        ("far too long", form_type, format!("{good}&x={}", "x".repeat(100_000)), 900_144),
    ];
    for (what, kind, body, code) in table {
        let request = bench
            .http
            .post(bench.url(V2))
            .header(CONTENT_TYPE, *kind)
            .body(body.clone());
        let reply = Reply::of(request.send().await.unwrap()).await;
        assert_refused(what, &reply, 400, "invalid_request", *code);
    }
    let kind = "Application/X-WWW-Form-Urlencoded; charset=utf-8";
    let request = bench
        .http
        .post(bench.url(V2))
        .header(CONTENT_TYPE, kind)
        .body(good);
    assert_eq!(request.send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_basic_header_works_at_v2_alone() {
    let bench = Bench::new().await;
    let bare = form(DEMO, &[("client_id", ""), ("client_secret", "")]);
    let send = async |path: &str, form: &[(&str, &str)], secret: &str| {
        let request = bench.http.post(bench.url(path)).form(form);
        Reply::of(
            request
                .basic_auth("demo", Some(secret))
                .send()
                .await
                .unwrap(),
        )
        .await
    };
    assert_eq!(send(V2, &bare, "demo~secret.1").await.status, 200);
    assert_eq!(
        send(V2, &bare, "demo%7Esecret%2E1").await.status,
        200,
        "it is form-encoded"
    );
    let same_id = form(DEMO, &[("client_secret", "")]);
    assert_eq!(send(V2, &same_id, "demo~secret.1").await.status, 200);

    let wrong = send(V2, &bare, "guess").await;
    assert_refused("wrong", &wrong, 401, "invalid_client", 7_000_215);
    let both = send(V2, DEMO, "demo~secret.1").await;
    assert_refused("both", &both, 400, "invalid_request", 9_002_313);
    let other_id = form(DEMO, &[("client_secret", ""), ("client_id", "demo-short")]);
    let two_ids = send(V2, &other_id, "demo~secret.1").await;
    assert_refused("two ids", &two_ids, 400, "invalid_request", 9_002_313);
    let v1 = form(&bare, &[("scope", ""), ("resource", "api://demo")]);
    let v1 = send(V1, &v1, "demo~secret.1").await;
    assert_refused("v1", &v1, 400, "invalid_request", 900_144);

    let request = bench
        .http
        .post(bench.url(V2))
        .form(&bare)
        .header(AUTHORIZATION, "Basic ???");
    let broken = Reply::of(request.send().await.unwrap()).await;
    assert_refused("broken header", &broken, 400, "invalid_request", 9_002_313);
}

#[tokio::test]
async fn the_response_to_a_get_requires_a_post() {
    let bench = Bench::new().await;
    let reply = bench.get(V2).await;
    assert_refused("GET", &reply, 405, "invalid_request", 900_561);
    assert_eq!(reply.header("allow"), "POST");
    assert!(bench.issuer.requests().is_empty());
}

#[tokio::test]
async fn the_callers_request_id_comes_back() {
    let bench = Bench::new().await;
    let id = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";
    let bad = form(DEMO, &[("client_secret", "guess")]);
    let send = async |id: &str| {
        let request = bench
            .http
            .post(bench.url(V2))
            .form(&bad)
            .header("client-request-id", id);
        Reply::of(request.send().await.unwrap()).await
    };
    let reply = send(id).await;
    assert_eq!(reply.json()["correlation_id"], id);
    assert_eq!(reply.header("client-request-id"), id);
    let record = bench.issuer.requests().pop().unwrap();
    assert_eq!(record.correlation_id.as_deref(), Some(id));

    let reply = send("not a guid").await;
    assert_ne!(reply.json()["correlation_id"], "not a guid");
}

#[tokio::test]
async fn a_client_exists_in_its_tenants_only() {
    let mut config = Config::default();
    let other = "7a1b0c2d-3e4f-4a5b-8c6d-7e8f90a1b2c3";
    config.tenants.push(Tenant {
        id: other.to_owned(),
        domains: vec!["fabrikam.example".to_owned()],
    });
    config.clients[0].tenants = vec![other.to_owned()];
    let bench = Bench::with(config).await;
    let reply = bench.v2(DEMO).await;
    assert_refused("home tenant", &reply, 400, "unauthorized_client", 700_016);
    let reply = bench
        .post("/Fabrikam.Example/oauth2/v2.0/token", DEMO)
        .await;
    let claims = bench.issuer.validate(&reply.token()).unwrap();
    assert_eq!(claims.tid.as_deref(), Some(other));
    assert_eq!(
        claims.iss,
        format!("{}/{other}/v2.0", bench.issuer.origin())
    );
}
