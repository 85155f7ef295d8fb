//! What Entra requires besides client authentication: consent, a second factor, the leave of a policy.

use std::time::Duration;

use dev_issuer::{Effect, Fault, User};
use serde_json::json;

use crate::browser::{PASSWORD, USER};
use crate::on_behalf_of::OBO;
use crate::passwords::ROPC;
use crate::support::{Bench, Reply, assert_aadsts, form};

const MIDDLE: &str = "00000000-0000-4000-8000-0000000000c1";
const HOUR: Duration = Duration::from_hours(1);

#[tokio::test]
async fn consent_is_the_administrators_or_the_users() {
    let bench = Bench::new().await;
    let write = [("scope", "api://demo/Records.Write")];
    let user = || User::new(USER, PASSWORD);
    let consenting = user().consent("demo", "Records.Write");
    bench.issuer.add_user(consenting).unwrap();
    let reply = bench.v2(&form(ROPC, &write)).await;
    let claims = bench.issuer.validate(&reply.token()).unwrap();
    assert_eq!(claims.scp.as_deref(), Some("Records.Write"));
    let all = [("scope", "api://demo/.default")];
    let reply = bench.v2(&form(ROPC, &all)).await;
    let claims = bench.issuer.validate(&reply.token()).unwrap();
    assert_eq!(claims.scp.as_deref(), Some("Records.Read Records.Write"));
    let unknown = user().consent("demo", "Nope");
    let error = bench.issuer.add_user(unknown).unwrap_err().to_string();
    assert!(error.contains("user.scopes.demo"), "{error}");

    // A refresh token is valid for the consent of its sign-in, and for nothing else.
    bench.issuer.add_user(user()).unwrap();
    let scope = "api://demo/Records.Write offline_access";
    let token = bench.issuer.issue_refresh_token("demo-cli", USER, scope);
    let fields = [
        ("grant_type", "refresh_token"),
        ("scope", scope),
        ("client_id", "demo-cli"),
        ("refresh_token", &token),
    ];
    assert_eq!(bench.v2(&fields).await.status, 200);
    let other = form(
        &fields,
        &[("scope", "https://graph.microsoft.com/User.Read.All")],
    );
    let reply = bench.v2(&other).await;
    assert_aadsts("another API", &reply, "invalid_grant", 65_001);
    assert_eq!(reply.json()["suberror"], "consent_required");
    bench.issuer.remove_user(USER);
    assert_aadsts("gone", &bench.v2(&fields).await, "invalid_grant", 50_034);
}

#[tokio::test]
async fn policies_require_more_of_a_user() {
    let bench = Bench::new().await;
    let mfa = User::new(USER, PASSWORD).needs_mfa();
    bench.issuer.add_user(mfa).unwrap();
    let assertion = bench.issuer.issue_user_token(MIDDLE, USER, HOUR);
    for fields in [ROPC, &form(OBO, &[("assertion", &assertion)])] {
        let reply = bench.v2(fields).await;
        assert_aadsts("MFA", &reply, "interaction_required", 50_076);
        let json = reply.json();
        assert_eq!(json["suberror"], "basic_action");
        let claims = json["claims"].as_str().unwrap();
        let claims: serde_json::Value = serde_json::from_str(claims).unwrap();
        assert!(claims["access_token"]["polids"].is_object(), "{claims}");
    }
    // A refresh token from a sign-in that met the policy works until a policy forbids that as well.
    let scope = "api://demo/.default offline_access";
    let token = bench.issuer.issue_refresh_token("demo-cli", USER, scope);
    let fields = [
        ("grant_type", "refresh_token"),
        ("scope", scope),
        ("client_id", "demo-cli"),
        ("refresh_token", &token),
    ];
    assert_eq!(bench.v2(&fields).await.status, 200);
    for (code, error, suberror) in [
        (53_003, "interaction_required", json!("message_only")),
        (50_158, "interaction_required", json!("basic_action")),
        (65_001, "invalid_grant", json!("consent_required")),
        (70_043, "invalid_grant", json!(null)),
    ] {
        let user = User::new(USER, PASSWORD).refused(code);
        bench.issuer.add_user(user).unwrap();
        let reply = bench.v2(&fields).await;
        assert_aadsts("refused", &reply, error, code);
        assert_eq!(reply.json()["suberror"], suberror, "{code}");
    }
    let bad = bench.v2(&form(ROPC, &[("password", "x")])).await;
    assert_aadsts("password first", &bad, "invalid_grant", 50_126);
}

#[tokio::test]
async fn any_number_can_be_had_for_a_client() {
    let bench = Bench::new().await;
    let fields = crate::support::DEMO;
    for (code, status, error) in [
        (53_003, 400, "interaction_required"),
        (65_001, 400, "invalid_grant"),
        (7_000_112, 400, "unauthorized_client"),
        (7_000_222, 401, "invalid_client"),
        (500_011, 400, "invalid_resource"),
        (90_055, 429, "temporarily_unavailable"),
        (90_033, 503, "temporarily_unavailable"),
        (123_456, 400, "invalid_request"),
    ] {
        let fault = Fault::new(Effect::Aadsts { code }).client("demo").times(1);
        bench.issuer.fault(fault);
        let id = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";
        let request = bench.http.post(bench.issuer.token_url_v2()).form(fields);
        let request = request.header("client-request-id", id);
        let reply = Reply::of(request.send().await.unwrap()).await;
        let json = reply.json();
        assert_eq!(
            (reply.status, &json["error"]),
            (status, &json!(error)),
            "{code}"
        );
        assert_eq!(json["error_codes"], json!([code]));
        assert_eq!(json["correlation_id"], id);
        let record = bench.issuer.requests().pop().unwrap();
        assert_eq!(record.aadsts, Some(code));
        assert_eq!(record.fault.as_deref(), Some("aadsts"));
    }
    assert_eq!(bench.v2(fields).await.status, 200);
    let fault: Fault = serde_json::from_str(r#"{"effect": {"aadsts": {"code": 53003}}}"#).unwrap();
    assert_eq!(fault, Fault::new(Effect::Aadsts { code: 53_003 }));
}
