//! Device codes: a program shows a code, a user types it into a page.

use std::sync::Arc;
use std::time::Duration;

use dev_issuer::{Admin, Config, Error};
use serde_json::{Value, json};

use crate::browser::{PASSWORD, USER, hidden, open, press};
use crate::support::{Bench, Reply, form};

const ENTRA: &str = "/{tenant}/oauth2/v2.0/devicecode";
const GENERIC: &str = "/generic/device_authorization";
const ENTRA_TOKEN: &str = "/{tenant}/oauth2/v2.0/token";
const GENERIC_TOKEN: &str = "/generic/token";

async fn bench() -> Bench {
    Bench::with(Config {
        device_interval_seconds: 1,
        ..Config::default()
    })
    .await
}

async fn start(bench: &Bench, path: &str) -> Value {
    let scope = if path == ENTRA {
        "api://demo/Records.Read offline_access"
    } else {
        "records offline_access"
    };
    let fields = [("client_id", "demo-cli"), ("scope", scope)];
    let reply = bench.post(path, &fields).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

async fn poll(bench: &Bench, path: &str, device: &Value) -> Reply {
    let fields = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
        ("client_id", "demo-cli"),
        ("device_code", text(device, "device_code")),
    ];
    bench.post(path, &fields).await
}

fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value[field].as_str().unwrap()
}

/// The page, at the address that the device shows.
fn page(bench: &Bench, device: &Value) -> String {
    let uri = text(device, "verification_uri");
    uri.strip_prefix(bench.issuer.origin()).unwrap().to_owned()
}

async fn pause() {
    tokio::time::sleep(Duration::from_millis(1050)).await;
}

#[tokio::test]
async fn a_user_types_the_code_and_the_device_gets_its_token() {
    let bench = bench().await;
    for (begin, token) in [(ENTRA, ENTRA_TOKEN), (GENERIC, GENERIC_TOKEN)] {
        let device = start(&bench, begin).await;
        assert_eq!(
            (&device["expires_in"], &device["interval"]),
            (&json!(900), &json!(1))
        );
        let pending = poll(&bench, token, &device).await;
        assert_eq!(pending.status, 400);
        assert_eq!(pending.json()["error"], "authorization_pending");

        let page = page(&bench, &device);
        let user_code = text(&device, "user_code");
        let shown = open(&bench, &page, &[("user_code", user_code)]).await;
        assert_eq!(shown.status, 200);
        assert!(shown.body.contains(&format!("value=\"{user_code}\"")));
        assert!(hidden(&shown).is_empty());
        let typed = user_code.to_lowercase().replace('-', "");
        let answer = async |code: &str, password: &str| {
            let fields = [
                ("user_code", code),
                ("user", USER),
                ("password", password),
                ("decision", "allow"),
            ];
            bench.post(&page, &fields).await
        };
        assert_eq!(answer("XXXX-XXXX", PASSWORD).await.status, 400);
        assert_eq!(answer(&typed, "guess").await.status, 401);
        let done = answer(&typed, PASSWORD).await;
        assert_eq!(done.status, 200, "{done:?}");
        assert!(done.body.contains(USER));
        assert_eq!(answer(&typed, PASSWORD).await.status, 400, "decided");

        pause().await;
        let reply = poll(&bench, token, &device).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        assert!(reply.json()["refresh_token"].is_string());
        let claims = bench.issuer.validate(&reply.token()).unwrap();
        assert_eq!(claims.preferred_username.as_deref(), Some(USER));
        pause().await;
        assert_eq!(poll(&bench, token, &device).await.status, 400, "once");
    }
}

#[tokio::test]
async fn the_answers_have_the_fields_of_their_issuers() {
    let bench = bench().await;
    let entra = start(&bench, ENTRA).await;
    let message = text(&entra, "message");
    assert!(message.contains(text(&entra, "user_code")), "{message}");
    assert!(
        message.contains(text(&entra, "verification_uri")),
        "{message}"
    );
    assert_eq!(entra.get("verification_uri_complete"), None);
    let generic = start(&bench, GENERIC).await;
    let complete = text(&generic, "verification_uri_complete");
    assert!(complete.ends_with(&format!("?user_code={}", text(&generic, "user_code"))));
    assert_eq!(generic.get("message"), None);
    for (document, path) in [
        ("/{tenant}/v2.0/.well-known/openid-configuration", ENTRA),
        ("/generic/.well-known/openid-configuration", GENERIC),
    ] {
        let metadata = bench.get(document).await.json();
        assert_eq!(metadata["device_authorization_endpoint"], bench.url(path));
    }
    let record = &bench.issuer.token_requests_of("demo-cli")[0];
    assert!(record.path.ends_with("/devicecode"));
    assert_eq!(record.status, Some(200));
}

#[tokio::test]
async fn the_generic_issuer_keeps_the_pace() {
    let bench = bench().await;
    let device = start(&bench, GENERIC).await;
    let error = async || {
        let reply = poll(&bench, GENERIC_TOKEN, &device).await;
        assert_eq!(reply.status, 400);
        reply.json()["error"].clone()
    };
    assert_eq!(error().await, "authorization_pending");
    pause().await;
    assert_eq!(error().await, "authorization_pending");
    assert_eq!(error().await, "slow_down");
    // One second was enough before, now it takes six.
    pause().await;
    assert_eq!(error().await, "invalid_grant");
    let user_code = text(&device, "user_code");
    assert!(matches!(
        bench.issuer.approve_device(user_code, USER),
        Err(Error::UnknownUserCode)
    ));

    // Entra does not count.
    let device = start(&bench, ENTRA).await;
    for _ in 0..4 {
        let reply = poll(&bench, ENTRA_TOKEN, &device).await;
        assert_eq!(reply.json()["error"], "authorization_pending");
        assert_eq!(reply.json()["error_codes"][0], 70_016);
    }
}

#[tokio::test]
async fn a_denial_and_an_expiry_are_reported() {
    let bench = Bench::with(Config {
        device_interval_seconds: 1,
        device_lifetime_seconds: 3,
        ..Config::default()
    })
    .await;
    for (begin, token, declined, unknown) in [
        (
            ENTRA,
            ENTRA_TOKEN,
            "authorization_declined",
            "bad_verification_code",
        ),
        (GENERIC, GENERIC_TOKEN, "access_denied", "invalid_grant"),
    ] {
        let device = start(&bench, begin).await;
        let page = page(&bench, &device);
        let shown = open(&bench, &page, &[]).await;
        let mut late = device.clone();
        late["device_code"] = json!("no-such-code");
        let reply = poll(&bench, token, &late).await;
        assert_eq!(reply.json()["error"], unknown);
        let refused = press(&bench, &page, &shown, ("", "", "deny")).await;
        assert_eq!(refused.status, 400, "no code typed");
        let fields = [
            ("user_code", text(&device, "user_code")),
            ("decision", "deny"),
        ];
        assert_eq!(bench.post(&page, &fields).await.status, 200);
        let reply = poll(&bench, token, &device).await;
        assert_eq!(reply.json()["error"], declined);

        let device = start(&bench, begin).await;
        tokio::time::sleep(Duration::from_millis(3100)).await;
        let reply = poll(&bench, token, &device).await;
        assert_eq!(reply.json()["error"], "expired_token");
        assert!(bench.issuer.pending_devices().is_empty());
    }
}

#[tokio::test]
async fn only_known_clients_with_good_scopes_begin() {
    let bench = bench().await;
    for (path, changes, status, error) in [
        (ENTRA, [("client_id", "nobody")], 400, "unauthorized_client"),
        (ENTRA, [("client_id", "")], 400, "invalid_request"),
        (ENTRA, [("scope", "api://demo/Nope")], 400, "invalid_scope"),
        (ENTRA, [("scope", "")], 400, "invalid_request"),
        (GENERIC, [("client_id", "nobody")], 401, "invalid_client"),
        (GENERIC, [("client_id", "demo")], 401, "invalid_client"),
        (GENERIC, [("scope", "a\"b")], 400, "invalid_scope"),
    ] {
        let good = [
            ("client_id", "demo-cli"),
            ("scope", "api://demo/Records.Read"),
        ];
        let reply = bench.post(path, &form(&good, &changes)).await;
        assert_eq!(reply.status, status, "{path} {changes:?}: {reply:?}");
        assert_eq!(reply.json()["error"], error, "{path} {changes:?}");
    }
    // A client with a secret sends it to the generic issuer, as to the token endpoint.
    let fields = [("client_id", "demo"), ("client_secret", "demo~secret.1")];
    assert_eq!(bench.post(GENERIC, &fields).await.status, 200);
    assert_eq!(bench.get(ENTRA).await.status, 405);
    assert_eq!(bench.issuer.pending_devices().len(), 1);
}

#[tokio::test]
async fn tests_and_the_admin_listener_decide_too() {
    let Bench { issuer, http } = bench().await;
    let issuer = Arc::new(issuer);
    let admin = Admin::start(Arc::clone(&issuer), "127.0.0.1:0".parse().unwrap());
    let admin = admin.await.unwrap();
    let base = format!("http://{}/devices", admin.address());
    let fields = [("client_id", "demo-cli"), ("scope", "records")];
    let begin = async || {
        let url = format!("{}{GENERIC}", issuer.origin());
        let reply = http.post(url).form(&fields).send().await.unwrap();
        reply.json::<Value>().await.unwrap()
    };
    let error = async |device: &Value| {
        let fields = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
            ("client_id", "demo-cli"),
            ("device_code", text(device, "device_code")),
        ];
        let request = http.post(issuer.generic_token_url()).form(&fields);
        let reply = Reply::of(request.send().await.unwrap()).await;
        reply.json()["error"].clone()
    };
    let put = async |code: &str, body: Value| {
        let request = http.put(format!("{base}/{code}")).json(&body);
        request.send().await.unwrap().status().as_u16()
    };

    let (first, second, third) = (begin().await, begin().await, begin().await);
    let listed: Value = http.get(&base).send().await.unwrap().json().await.unwrap();
    let code = text(&first, "user_code");
    assert_eq!(listed[0], json!({"userCode": code, "clientId": "demo-cli"}));
    assert_eq!(listed.as_array().unwrap().len(), 3);
    assert_eq!(put(code, json!({"user": "nobody"})).await, 422);
    assert_eq!(put("XXXX-XXXX", json!({"user": USER})).await, 404);
    assert_eq!(put(code, json!({"user": USER})).await, 204);
    assert_eq!(put(text(&second, "user_code"), json!({})).await, 204);
    assert_eq!(error(&first).await, Value::Null);
    assert_eq!(error(&second).await, "access_denied");

    let code = text(&third, "user_code");
    assert_eq!(issuer.pending_devices()[0].user_code, code);
    assert!(matches!(
        issuer.approve_device(code, "nobody"),
        Err(Error::UnknownUser(_))
    ));
    issuer.decline_device(code).unwrap();
    assert_eq!(error(&third).await, "access_denied");
    assert!(issuer.decline_device(code).is_err());
    assert!(issuer.pending_devices().is_empty());
}
