//! What becomes of refresh tokens at the generic issuer, policy by policy.

use dev_issuer::{Client, Config, RefreshPolicy};

use crate::browser::USER;
use crate::support::{Bench, Reply};

const TOKEN: &str = "/generic/token";

async fn bench(policy: RefreshPolicy) -> Bench {
    let bench = Bench::new().await;
    let client = Client::new("cli").public().refresh_policy(policy);
    bench.issuer.add_client(client).unwrap();
    bench
}

fn issued(bench: &Bench) -> String {
    bench
        .issuer
        .issue_generic_refresh_token("cli", USER, "records offline_access")
}

async fn refresh(bench: &Bench, token: &str) -> Reply {
    let fields = [
        ("grant_type", "refresh_token"),
        ("client_id", "cli"),
        ("refresh_token", token),
    ];
    bench.post(TOKEN, &fields).await
}

/// The next one, if there is one.
fn next(reply: &Reply) -> Option<String> {
    assert_eq!(reply.status, 200, "{reply:?}");
    Some(reply.json()["refresh_token"].as_str()?.to_owned())
}

#[track_caller]
fn assert_over(reply: &Reply) {
    let seen = (reply.status, reply.json()["error"].clone());
    assert_eq!(seen, (400, "invalid_grant".into()), "{reply:?}");
}

#[tokio::test]
async fn without_rotation_the_refresh_token_stays_and_no_new_one_is_issued() {
    let bench = bench(RefreshPolicy::Keep).await;
    let first = issued(&bench);
    for _ in 0..2 {
        assert_eq!(next(&refresh(&bench, &first).await), None);
    }
    assert!(bench.issuer.is_alive(&first));
}

#[tokio::test]
async fn reissuing_leaves_old_ones_good() {
    let bench = bench(RefreshPolicy::Reissue).await;
    let first = issued(&bench);
    let second = next(&refresh(&bench, &first).await).unwrap();
    let third = next(&refresh(&bench, &first).await).unwrap();
    for token in [&first, &second, &third] {
        assert!(bench.issuer.is_alive(token));
    }
}

#[tokio::test]
async fn the_grace_period_accepts_a_client_that_lost_the_response() {
    let bench = bench(RefreshPolicy::Rotate { grace: 60 }).await;
    let first = issued(&bench);
    let lost = next(&refresh(&bench, &first).await).unwrap();
    let second = next(&refresh(&bench, &first).await).unwrap();
    assert_ne!(lost, second);
    let third = next(&refresh(&bench, &second).await).unwrap();
    assert_over(&refresh(&bench, &first).await);
    assert!(bench.issuer.is_alive(&third), "nobody is punished");
}

#[tokio::test]
async fn without_grace_an_old_token_is_invalid_and_the_new_one_valid() {
    let bench = bench(RefreshPolicy::Rotate { grace: 0 }).await;
    let first = issued(&bench);
    let second = next(&refresh(&bench, &first).await).unwrap();
    assert_over(&refresh(&bench, &first).await);
    assert!(!bench.issuer.is_alive(&first) && bench.issuer.family_alive(&first));
    assert!(next(&refresh(&bench, &second).await).is_some());
}

#[tokio::test]
async fn a_second_use_ends_the_family_where_reuse_is_watched_for() {
    let bench = bench(RefreshPolicy::RotateWithReuseDetection).await;
    let (first, stranger) = (issued(&bench), issued(&bench));
    let second = next(&refresh(&bench, &first).await).unwrap();
    assert!(bench.issuer.family_alive(&first) && !bench.issuer.is_alive(&first));
    assert_over(&refresh(&bench, &first).await);
    assert!(!bench.issuer.family_alive(&first));
    assert_over(&refresh(&bench, &second).await);
    assert!(bench.issuer.is_alive(&stranger));
    bench.issuer.revoke_family(&stranger);
    assert_over(&refresh(&bench, &stranger).await);
    assert!(!bench.issuer.family_alive("x"));
}

#[tokio::test]
async fn two_at_once_are_one_too_many() {
    let bench = bench(RefreshPolicy::RotateWithReuseDetection).await;
    let token = issued(&bench);
    let (one, other) = tokio::join!(refresh(&bench, &token), refresh(&bench, &token));
    let good = [&one, &other]
        .into_iter()
        .filter(|r| r.status == 200)
        .count();
    assert_eq!(good, 1, "{one:?} {other:?}");
    assert!(
        !bench.issuer.family_alive(&token),
        "the winner's is dead as well"
    );
}

#[tokio::test]
async fn an_error_for_another_reason_uses_nothing_up() {
    let bench = bench(RefreshPolicy::RotateWithReuseDetection).await;
    let token = issued(&bench);
    for (name, value, error) in [
        ("scope", "records else", "invalid_scope"),
        ("audience", "api://nobody", "invalid_target"),
    ] {
        let fields = [
            ("grant_type", "refresh_token"),
            ("client_id", "cli"),
            ("refresh_token", token.as_str()),
            (name, value),
        ];
        assert_eq!(bench.post(TOKEN, &fields).await.json()["error"], error);
    }
    assert!(bench.issuer.is_alive(&token));
    assert_over(&refresh(&bench, "x").await);
}

#[tokio::test]
async fn the_policy_is_in_the_file() {
    for (text, policy) in [
        ("keep", RefreshPolicy::Keep),
        ("reissue", RefreshPolicy::Reissue),
        (
            "{ rotate: { grace: 30 } }",
            RefreshPolicy::Rotate { grace: 30 },
        ),
        ("{ rotate: {} }", RefreshPolicy::Rotate { grace: 0 }),
        (
            "rotateWithReuseDetection",
            RefreshPolicy::RotateWithReuseDetection,
        ),
    ] {
        let config = Config::from_yaml(&format!("refreshPolicy: {text}")).unwrap();
        assert_eq!(config.refresh_policy, policy, "{text}");
        let client = format!("clients: [{{ id: x, refreshPolicy: {text} }}]");
        let config = Config::from_yaml(&client).unwrap();
        assert_eq!(config.clients[0].refresh_policy, Some(policy), "{text}");
    }
    // For the whole issuer, if the client does not set it.
    let config = Config {
        refresh_policy: RefreshPolicy::Keep,
        ..Config::default()
    };
    let bench = Bench::with(config).await;
    bench
        .issuer
        .add_client(Client::new("cli").public())
        .unwrap();
    let token = issued(&bench);
    assert_eq!(next(&refresh(&bench, &token).await), None);
}

#[tokio::test]
async fn an_offline_session_is_of_use_only_with_its_scope_or_without_any() {
    let bench = Bench::new().await;
    let client = Client::new("cli").public().offline_sessions();
    bench
        .issuer
        .add_client(client.default_audience("api://demo"))
        .unwrap();
    let mut token = issued(&bench);
    for (scope, status) in [
        (None, 200),
        (Some("records offline_access"), 200),
        (Some("records"), 401),
    ] {
        let mut fields = vec![
            ("grant_type", "refresh_token"),
            ("client_id", "cli"),
            ("refresh_token", token.as_str()),
        ];
        fields.extend(scope.map(|scope| ("scope", scope)));
        let reply = bench.post(TOKEN, &fields).await;
        let access = reply.json()["access_token"].as_str().unwrap().to_owned();
        assert_eq!(
            bench.call("/api/demo/whoami", &access).await.status,
            status,
            "{scope:?}"
        );
        token = next(&reply).unwrap();
    }
}

#[tokio::test]
async fn a_scope_that_a_client_may_not_request_is_refused_where_a_sign_in_begins() {
    let bench = Bench::new().await;
    let client = Client::new("cli").public().refused_scope("openid");
    bench.issuer.add_client(client).unwrap();
    for (scope, status) in [("openid records", 400), ("records", 200)] {
        let fields = [("client_id", "cli"), ("scope", scope)];
        let reply = bench.post("/generic/device_authorization", &fields).await;
        assert_eq!(reply.status, status, "{reply:?}");
        if status == 400 {
            assert_eq!(reply.json()["error"], "invalid_scope");
        }
    }
}
