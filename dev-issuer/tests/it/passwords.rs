//! The password of a user in a program's hands.

use dev_issuer::{Config, User};
use serde_json::json;

use crate::browser::{PASSWORD, USER};
use crate::support::{Bench, assert_aadsts, assert_error, form, refresh_token};

const V1: &str = "/{tenant}/oauth2/token";
const TOKEN: &str = "/generic/token";
pub(crate) const ROPC: &[(&str, &str)] = &[
    ("grant_type", "password"),
    ("client_id", "demo-user"),
    ("client_secret", "user~secret.1"),
    ("username", USER),
    ("password", PASSWORD),
    ("scope", "api://demo/Records.Read"),
];

#[tokio::test]
async fn a_password_is_taken_at_both_endpoints() {
    let bench = Bench::new().await;
    let reply = bench.v2(ROPC).await;
    assert_eq!(
        bench.call("/api/demo/records", &reply.token()).await.status,
        200
    );
    assert_eq!(reply.json().get("refresh_token"), None);
    let scope = [("scope", "api://demo/Records.Read offline_access")];
    refresh_token(&bench.v2(&form(ROPC, &scope)).await);
    // v1 writes every value as text, and returns a refresh token without a request for it.
    let v1 = form(
        ROPC,
        &[
            ("scope", ""),
            ("resource", "https://api.securitycenter.microsoft.com"),
        ],
    );
    let reply = bench.post(V1, &v1).await;
    let json = reply.json();
    assert!(
        json["expires_in"].is_string() && json["expires_on"].is_string(),
        "{json}"
    );
    assert!(
        json["not_before"].is_string() && json["refresh_token"].is_string(),
        "{json}"
    );
    assert_eq!(
        bench
            .call("/api/endpoint/alerts", &reply.token())
            .await
            .status,
        200
    );
    let refresh = refresh_token(&reply);
    let again = [
        ("grant_type", "refresh_token"),
        ("client_id", "demo-user"),
        ("client_secret", "user~secret.1"),
        ("refresh_token", &refresh),
    ];
    let same = bench.post(V1, &again).await;
    assert_eq!(
        same.json()["resource"],
        "https://api.securitycenter.microsoft.com"
    );
    assert_ne!(refresh_token(&same), refresh);
    // v2 refuses a refresh that names no API.
    assert_aadsts("no API", &bench.v2(&again).await, "invalid_request", 90_009);
    // v2 replaces it only on request.
    for (scope, renewed) in [
        ("api://demo/Records.Read", false),
        ("api://demo/Records.Read offline_access", true),
    ] {
        let reply = bench.v2(&form(&again, &[("scope", scope)])).await;
        assert_eq!(
            reply.json()["refresh_token"].is_string(),
            renewed,
            "{scope}"
        );
    }
    let other = form(&again, &[("resource", "https://graph.microsoft.com")]);
    let other = bench.post(V1, &other).await;
    assert_eq!(
        bench
            .call("/api/graph/v1.0/me", &other.token())
            .await
            .status,
        200
    );
    // One tenant of many, but not all of them at once.
    assert_eq!(
        bench
            .post("/organizations/oauth2/v2.0/token", ROPC)
            .await
            .status,
        200
    );
    for (what, changes, error, code) in [
        ("password", ("password", "wrong"), "invalid_grant", 50_126),
        (
            "blank after it",
            ("password", "ada~password.1 "),
            "invalid_grant",
            50_126,
        ),
        ("no password", ("password", ""), "invalid_request", 900_144),
        (
            "user",
            ("username", "bob@contoso.example"),
            "invalid_grant",
            50_034,
        ),
        ("no user", ("username", ""), "invalid_request", 900_144),
        (
            "no consent",
            ("scope", "api://demo/Records.Write"),
            "invalid_grant",
            65_001,
        ),
        (
            "scope",
            ("scope", "api://demo/Nope"),
            "invalid_scope",
            650_053,
        ),
    ] {
        let reply = bench.v2(&form(ROPC, &[changes])).await;
        assert_aadsts(what, &reply, error, code);
    }
    let reply = bench.post("/common/oauth2/v2.0/token", ROPC).await;
    assert_aadsts("common", &reply, "invalid_request", 9_001_023);
    let record = bench.issuer.requests();
    let record = serde_json::to_string(&record).unwrap();
    assert!(!record.contains(PASSWORD), "{record}");
}

#[tokio::test]
async fn the_generic_issuer_takes_a_password_too() {
    let config = Config {
        generic_scopes: vec!["records".to_owned()],
        ..Config::default()
    };
    let bench = Bench::with(config).await;
    let fields = [
        ("grant_type", "password"),
        ("client_id", "demo-user"),
        ("client_secret", "user~secret.1"),
        ("username", USER),
        ("password", PASSWORD),
        ("scope", "records offline_access"),
        ("audience", "api://demo"),
    ];
    let reply = bench.post(TOKEN, &fields).await;
    assert!(reply.json()["refresh_token"].is_string(), "{reply:?}");
    let seen = bench.issuer.validate(&reply.token()).unwrap();
    assert_eq!(seen.preferred_username.as_deref(), Some(USER));
    assert_eq!(
        bench.call("/api/demo/records", &reply.token()).await.status,
        200
    );
    for (what, changes, error) in [
        ("password", ("password", "x"), "invalid_grant"),
        ("user", ("username", "x"), "invalid_grant"),
        ("no user", ("username", ""), "invalid_request"),
        ("no password", ("password", ""), "invalid_request"),
        ("scope", ("scope", "else"), "invalid_scope"),
        ("audience", ("audience", "api://nobody"), "invalid_target"),
    ] {
        let reply = bench.post(TOKEN, &form(&fields, &[changes])).await;
        assert_error(what, &reply, error);
    }
    let reply = bench
        .post(TOKEN, &form(&fields, &[("client_secret", "x")]))
        .await;
    assert_eq!(reply.status, 401);
    let mfa = User::new(USER, PASSWORD).needs_mfa();
    bench.issuer.add_user(mfa).unwrap();
    let reply = bench.post(TOKEN, &fields).await;
    assert_eq!(
        (reply.status, &reply.json()["error"]),
        (403, &json!("mfa_required"))
    );
}
