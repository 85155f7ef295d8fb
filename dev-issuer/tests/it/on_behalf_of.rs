//! A user's token for one application into one for another API, at Entra.

use std::time::Duration;

use dev_issuer::{Client, Tenant};
use serde_json::json;

use crate::browser::USER;
use crate::passwords::ROPC;
use crate::support::{Bench, assert_aadsts, form, refresh_token};

const V1: &str = "/{tenant}/oauth2/token";
const MIDDLE: &str = "00000000-0000-4000-8000-0000000000c1";
const HOUR: Duration = Duration::from_hours(1);
pub(crate) const OBO: &[(&str, &str)] = &[
    ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
    ("requested_token_use", "on_behalf_of"),
    ("client_id", MIDDLE),
    ("client_secret", "middle~secret.1"),
    ("scope", "https://graph.microsoft.com/User.Read"),
];

#[tokio::test]
async fn an_api_calls_another_on_behalf_of_its_caller() {
    let bench = Bench::new().await;
    // The whole way: a user's token for the API in the middle, and with it one for the next.
    let fields = form(ROPC, &[("scope", "api://middle/access_as_user")]);
    let first = bench.v2(&fields).await.token();
    assert_eq!(bench.call("/api/middle/x", &first).await.status, 200);
    let fields = form(OBO, &[("assertion", &first)]);
    let reply = bench.v2(&fields).await;
    assert_eq!(
        reply.json().get("refresh_token"),
        None,
        "nobody asked for it"
    );
    let claims = bench.issuer.validate(&reply.token()).unwrap();
    assert_eq!(claims.aud, "https://graph.microsoft.com");
    assert_eq!(claims.scp.as_deref(), Some("User.Read"));
    assert_eq!(claims.client(), Some(MIDDLE));
    assert_eq!(claims.idtyp.as_deref(), Some("user"));
    assert!(claims.uti.is_some() && claims.roles.is_empty());
    let seen = bench.issuer.validate(&first).unwrap();
    assert_eq!(claims.oid, seen.oid, "the same user");
    assert_eq!(
        bench
            .call("/api/graph/v1.0/me", &reply.token())
            .await
            .status,
        200
    );

    let scope = "https://graph.microsoft.com/.default offline_access";
    let reply = bench.v2(&form(&fields, &[("scope", scope)])).await;
    let refresh = refresh_token(&reply);
    let again = [
        ("grant_type", "refresh_token"),
        ("client_id", MIDDLE),
        ("client_secret", "middle~secret.1"),
        ("refresh_token", &refresh),
        ("scope", scope),
    ];
    assert_eq!(bench.v2(&again).await.status, 200, "without the assertion");
    let v1 = form(
        &fields,
        &[("scope", ""), ("resource", "https://graph.microsoft.com")],
    );
    let v1 = bench.post(V1, &v1).await;
    assert_eq!(v1.json()["resource"], "https://graph.microsoft.com");
    assert!(v1.json()["expires_in"].is_string(), "{v1:?}");
}

#[tokio::test]
async fn only_a_fresh_token_of_a_user_for_oneself_can_be_exchanged() {
    let bench = Bench::new().await;
    let token = |audience: &str, user: &str, lifetime| {
        bench.issuer.issue_user_token(audience, user, lifetime)
    };
    for audience in [MIDDLE, &format!("api://{MIDDLE}"), "api://middle"] {
        let good = token(audience, USER, HOUR);
        let reply = bench.v2(&form(OBO, &[("assertion", &good)])).await;
        assert_eq!(reply.status, 200, "{audience}: {reply:?}");
    }
    // Tokens outlive their end by the leeway; one that ended before it is needed.
    let old = token(MIDDLE, USER, Duration::ZERO);
    tokio::time::sleep(Duration::from_secs(6)).await;
    let app = [
        ("grant_type", "client_credentials"),
        ("client_id", "demo"),
        ("client_secret", "demo~secret.1"),
        ("scope", "api://middle/.default"),
    ];
    let app = bench.v2(&app).await.token();
    let good = token(MIDDLE, USER, HOUR);
    let (head, signature) = good.rsplit_once('.').unwrap();
    let forged = format!("{head}.{}", signature.chars().rev().collect::<String>());
    #[rustfmt::skip]
    let table = [
        ("expired", old, 500_133),
        ("for another API", token("api://demo", USER, HOUR), 500_131),
        ("of an application", app, 7_000_114),
        ("of nobody", token(MIDDLE, "nobody@contoso.example", HOUR), 50_013),
        ("forged", forged, 50_013),
        ("no token", "x".to_owned(), 50_013),
    ];
    for (what, assertion, code) in table {
        let reply = bench.v2(&form(OBO, &[("assertion", &assertion)])).await;
        assert_aadsts(what, &reply, "invalid_grant", code);
    }
    let fields = form(OBO, &[("assertion", &good)]);
    for (what, changes, status, code) in [
        ("no assertion", [("assertion", "")], 400, 900_144),
        ("no use", [("requested_token_use", "")], 400, 900_144),
        (
            "another use",
            [("requested_token_use", "x")],
            400,
            9_002_313,
        ),
        ("no secret", [("client_secret", "")], 401, 7_000_218),
        ("resource at v2", [("resource", "x")], 400, 901_002),
        ("no scope", [("scope", "")], 400, 900_144),
        (
            "no consent",
            [("scope", "api://demo/Records.Write")],
            400,
            65_001,
        ),
    ] {
        let reply = bench.v2(&form(&fields, &changes)).await;
        let seen = (reply.status, reply.json()["error_codes"][0].clone());
        assert_eq!(seen, (status, json!(code)), "{what}: {reply:?}");
    }
    let common = "/common/oauth2/v2.0/token";
    assert_aadsts(
        "common",
        &bench.post(common, &fields).await,
        "invalid_request",
        50_059,
    );
}

#[tokio::test]
async fn a_token_of_another_tenant_is_not_exchanged() {
    let mut config = dev_issuer::Config::default();
    let other = "7a1b0c2d-3e4f-4a5b-8c6d-7e8f90a1b2c3";
    config.tenants.push(Tenant {
        id: other.to_owned(),
        domains: Vec::new(),
    });
    let bench = Bench::with(config).await;
    let token = bench.issuer.issue_user_token(MIDDLE, USER, HOUR);
    let path = format!("/{other}/oauth2/v2.0/token");
    let reply = bench
        .post(&path, &form(OBO, &[("assertion", &token)]))
        .await;
    assert_aadsts("other tenant", &reply, "invalid_grant", 50_013);
}

#[tokio::test]
async fn a_public_client_has_nothing_to_exchange_with() {
    let bench = Bench::new().await;
    let id = "00000000-0000-4000-8000-0000000000c2";
    bench.issuer.add_client(Client::new(id).public()).unwrap();
    let token = bench.issuer.issue_user_token(id, USER, HOUR);
    let fields = form(
        OBO,
        &[
            ("assertion", &token),
            ("client_id", id),
            ("client_secret", ""),
        ],
    );
    let reply = bench.v2(&fields).await;
    assert_eq!(
        (reply.status, &reply.json()["error_codes"][0]),
        (401, &json!(7_000_218))
    );
}
