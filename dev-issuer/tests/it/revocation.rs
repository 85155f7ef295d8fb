//! Taking tokens back (RFC 7009).

use dev_issuer::{Effect, Fault, Surface};
use serde_json::json;

use crate::browser::USER;
use crate::support::{Bench, DEMO, form};

const TOKEN: &str = "/generic/token";
const REVOKE: &str = "/generic/revoke";

fn revoking<'a>(client: &'a str, secret: &'a str, token: &'a str) -> Vec<(&'a str, &'a str)> {
    let all = [
        ("client_id", client),
        ("client_secret", secret),
        ("token", token),
    ];
    form(&all, &[])
}

#[tokio::test]
async fn a_refresh_token_is_revoked_with_its_family() {
    let bench = Bench::new().await;
    let issued = || {
        bench
            .issuer
            .issue_generic_refresh_token("demo-user", USER, "a")
    };
    let (first, other) = (issued(), issued());
    let fields = [
        ("grant_type", "refresh_token"),
        ("client_id", "demo-user"),
        ("client_secret", "user~secret.1"),
        ("refresh_token", &first),
    ];
    let reply = bench.post(TOKEN, &fields).await;
    let second = reply.json()["refresh_token"].as_str().unwrap().to_owned();
    assert!(bench.issuer.family_alive(&first));
    let hint = ("token_type_hint", "refresh_token");
    let revoke = [revoking("demo-user", "user~secret.1", &second), vec![hint]].concat();
    for _ in 0..2 {
        assert_eq!(bench.post(REVOKE, &revoke).await.status, 200, "and again");
        assert!(!bench.issuer.family_alive(&first));
    }
    assert!(bench.issuer.is_alive(&other), "another sign-in");
    let reply = bench
        .post(TOKEN, &form(&fields, &[("refresh_token", &second)]))
        .await;
    assert_eq!(reply.json()["error"], "invalid_grant");
    let record = bench
        .issuer
        .requests()
        .into_iter()
        .find(|r| r.path == REVOKE);
    assert_eq!(
        record.and_then(|r| r.client_id).as_deref(),
        Some("demo-user")
    );
}

#[tokio::test]
async fn the_api_refuses_an_access_token_that_was_taken_back() {
    let bench = Bench::new().await;
    let fields = form(DEMO, &[("scope", ""), ("audience", "api://demo")]);
    let token = bench.post(TOKEN, &fields).await.token();
    let id = bench.issuer.validate(&token).unwrap().jti.unwrap();
    assert_eq!(bench.call("/api/demo/whoami", &token).await.status, 200);
    assert!(!bench.issuer.is_revoked(&id));
    let revoke = revoking("demo", "demo~secret.1", &token);
    assert_eq!(bench.post(REVOKE, &revoke).await.status, 200);
    assert!(bench.issuer.is_revoked(&id));
    assert_eq!(bench.call("/api/demo/whoami", &token).await.status, 401);
}

#[tokio::test]
async fn only_the_client_itself_can_take_its_tokens_back() {
    let bench = Bench::new().await;
    let refresh = bench
        .issuer
        .issue_generic_refresh_token("demo-user", USER, "a");
    let fields = form(DEMO, &[("scope", "")]);
    let access = bench.post(TOKEN, &fields).await.token();
    for token in [&refresh, &access] {
        let reply = bench
            .post(REVOKE, &revoking("demo-short", "short~secret.1", token))
            .await;
        assert_eq!(
            (reply.status, &reply.json()["error"]),
            (400, &json!("invalid_grant"))
        );
    }
    // Neither may a client without valid authentication.
    for (client, secret) in [("demo-user", "wrong"), ("demo-user", ""), ("nobody", "x")] {
        let reply = bench
            .post(REVOKE, &revoking(client, secret, &refresh))
            .await;
        assert_eq!(
            (reply.status, &reply.json()["error"]),
            (401, &json!("invalid_client"))
        );
    }
    assert!(bench.issuer.is_alive(&refresh));
    assert!(bench.issuer.validate(&access).is_ok());
    // What the issuer does not know, or did not issue, is no error.
    let entra = bench
        .issuer
        .issue_refresh_token("demo-user", USER, "User.Read");
    let other = bench.demo_token().await;
    for token in ["x", &entra, &other] {
        let reply = bench
            .post(REVOKE, &revoking("demo-user", "user~secret.1", token))
            .await;
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    assert!(bench.issuer.is_alive(&entra) && bench.issuer.validate(&other).is_ok());
    let reply = bench
        .post(REVOKE, &revoking("demo-user", "user~secret.1", ""))
        .await;
    assert_eq!(
        (reply.status, &reply.json()["error"]),
        (400, &json!("invalid_request"))
    );
    // A public client sends its ID.
    let public = bench
        .issuer
        .issue_generic_refresh_token("demo-cli", USER, "a");
    assert_eq!(
        bench
            .post(REVOKE, &revoking("demo-cli", "", &public))
            .await
            .status,
        200
    );
    assert!(!bench.issuer.is_alive(&public));
}

#[tokio::test]
async fn it_can_be_out_of_order_while_tokens_are_issued() {
    let bench = Bench::new().await;
    let effect = Effect::Status {
        status: 503,
        body: None,
        retry_after: None,
    };
    bench
        .issuer
        .fault(Fault::new(effect).on(Surface::Revocation));
    assert_eq!(
        bench
            .post(TOKEN, &form(DEMO, &[("scope", "")]))
            .await
            .status,
        200
    );
    let reply = bench
        .post(REVOKE, &revoking("demo", "demo~secret.1", "x"))
        .await;
    assert_eq!(reply.status, 503);
}
