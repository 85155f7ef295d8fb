//! Sign-in by a user, and the codes that come of it: what both issuers have in common.

use dev_issuer::{Client, Config, Effect, Error, Fault, Surface, User};

use crate::browser::{
    ENTRA, GENERIC, LOOPBACK, PASSWORD, USER, authorization_request, challenge, code, hidden, open,
    press, redeeming, redirected,
};
use crate::support::{Bench, form};

/// Authorization endpoint, token endpoint and a scope of each.
const BOTH: [(&str, &str, &str); 2] = [
    (
        ENTRA,
        "/{tenant}/oauth2/v2.0/token",
        "api://demo/Records.Read",
    ),
    (GENERIC, "/generic/token", "records"),
];

#[tokio::test]
async fn a_user_signs_in_with_the_page() {
    let bench = Bench::new().await;
    let challenge = challenge();
    for (authorize, token, scope) in BOTH {
        let mut query = authorization_request(&challenge, scope);
        query.push(("login_hint", "ada<b>"));
        let page = open(&bench, authorize, &query).await;
        assert_eq!(page.status, 200, "{page:?}");
        assert!(page.header("content-type").starts_with("text/html"));
        assert!(page.body.contains("value=\"ada&lt;b&gt;\""), "{page:?}");
        assert_eq!(hidden(&page)["state"], "st&te=1");

        let wrong = press(&bench, authorize, &page, (USER, "guess", "allow")).await;
        assert_eq!(wrong.status, 401);
        assert!(wrong.body.contains("role=\"alert\"") && !wrong.body.contains("guess"));
        let sent = press(&bench, authorize, &wrong, (USER, PASSWORD, "allow")).await;
        let redirected = redirected(&sent, LOOPBACK);
        assert_eq!(redirected["state"], "st&te=1");
        let reply = bench.post(token, &redeeming(&redirected["code"])).await;
        assert_eq!(reply.status, 200, "{reply:?}");

        let query = authorization_request(&challenge, scope);
        let page = open(&bench, authorize, &query).await;
        let denied = press(&bench, authorize, &page, ("", "", "deny")).await;
        let redirected = crate::browser::redirected(&denied, LOOPBACK);
        assert_eq!(redirected["error"], "access_denied");
        assert_eq!(redirected["state"], "st&te=1");
        assert!(!redirected.contains_key("code"));
    }
    // A link must not decide, even if a user is made to click it.
    let mut link = authorization_request(&challenge, "records");
    link.extend([
        ("user", USER),
        ("password", PASSWORD),
        ("decision", "allow"),
    ]);
    let page = open(&bench, GENERIC, &link).await;
    assert_eq!(page.status, 200);
    assert!(!page.body.contains(PASSWORD));
}

#[tokio::test]
async fn an_untrusted_redirect_uri_gets_no_response() {
    let bench = Bench::new().await;
    bench.issuer.auto_approve(Some(USER)).unwrap();
    let challenge = challenge();
    for (authorize, _, scope) in BOTH {
        let good = authorization_request(&challenge, scope);
        for (name, value, text) in [
            ("client_id", "", "client_id"),
            ("client_id", "nobody", "AADSTS700016"),
            ("redirect_uri", "", "redirect_uri"),
            ("redirect_uri", "https://evil.example/", "AADSTS50011"),
            (
                "redirect_uri",
                "http://localhost:43210/other",
                "AADSTS50011",
            ),
            ("redirect_uri", "http://127.0.0.1:43210/", "AADSTS50011"),
        ] {
            let query = form(&good, &[(name, value)]);
            let reply = open(&bench, authorize, &query).await;
            assert_eq!(reply.status, 400, "{name}={value}: {reply:?}");
            assert_eq!(reply.header("location"), "");
            assert!(reply.body.contains(text), "{reply:?}");
        }
        let mut twice = good.clone();
        twice.push(("client_id", "demo-cli"));
        assert_eq!(open(&bench, authorize, &twice).await.status, 400);
        for there in ["http://127.0.0.1:43210/callback", "http://localhost:9/"] {
            let query = form(&good, &[("redirect_uri", there)]);
            assert!(redirected(&open(&bench, authorize, &query).await, there).contains_key("code"));
        }
    }
}

#[tokio::test]
async fn other_faults_are_reported_to_the_client() {
    let bench = Bench::new().await;
    bench.issuer.auto_approve(Some(USER)).unwrap();
    let challenge = challenge();
    for (authorize, _, scope) in BOTH {
        for (name, value, error) in [
            ("response_type", "token", "unsupported_response_type"),
            ("response_type", "", "invalid_request"),
            ("response_mode", "fragment", "invalid_request"),
            ("code_challenge_method", "plain", "invalid_request"),
            ("code_challenge_method", "", "invalid_request"),
            ("code_challenge", "short", "invalid_request"),
            ("code_challenge", "", "invalid_request"),
            ("prompt", "maybe", "invalid_request"),
            ("scope", "a\"b", "invalid_scope"),
        ] {
            let query = form(&authorization_request(&challenge, scope), &[(name, value)]);
            let redirected = redirected(&open(&bench, authorize, &query).await, LOOPBACK);
            assert_eq!(redirected["error"], error, "{authorize} {name}={value}");
            assert_eq!(redirected["state"], "st&te=1");
        }
        let without = [("code_challenge", ""), ("code_challenge_method", "")];
        let query = form(&authorization_request(&challenge, scope), &without);
        let redirected = redirected(&open(&bench, authorize, &query).await, LOOPBACK);
        assert_eq!(redirected["error"], "invalid_request", "a public client");
    }
    bench.issuer.auto_approve(None).unwrap();
    let mut silent = authorization_request(&challenge, "records");
    silent.push(("prompt", "none"));
    let redirected = redirected(&open(&bench, GENERIC, &silent).await, LOOPBACK);
    assert_eq!(redirected["error"], "login_required");
}

#[tokio::test]
async fn form_post_sends_the_code_in_a_body() {
    let bench = Bench::new().await;
    bench.issuer.auto_approve(Some(USER)).unwrap();
    let challenge = challenge();
    for (authorize, token, scope) in BOTH {
        let mut query = authorization_request(&challenge, scope);
        query.push(("response_mode", "form_post"));
        let page = open(&bench, authorize, &query).await;
        assert_eq!(page.status, 200);
        assert!(page.body.contains(&format!("action=\"{LOOPBACK}\"")));
        let fields = hidden(&page);
        assert_eq!(fields["state"], "st&te=1");
        let reply = bench.post(token, &redeeming(&fields["code"])).await;
        assert_eq!(reply.status, 200, "{reply:?}");
    }
}

#[tokio::test]
async fn a_code_is_valid_once_for_its_client() {
    let bench = Bench::new().await;
    let other = Client::new("other").public().redirect_uri(LOOPBACK);
    bench.issuer.add_client(other).unwrap();
    let challenge = challenge();
    for (authorize, token, scope) in BOTH {
        let query = authorization_request(&challenge, scope);
        let wrong = "x".repeat(43);
        for (name, value) in [
            ("code_verifier", ""),
            ("code_verifier", wrong.as_str()),
            ("redirect_uri", "http://localhost:43211/"),
            ("client_id", "other"),
        ] {
            let code = code(&bench, authorize, &query).await;
            let bad = form(&redeeming(&code), &[(name, value)]);
            let reply = bench.post(token, &bad).await;
            assert_eq!(reply.status, 400, "{name}={value}: {reply:?}");
            assert_eq!(reply.json()["error"], "invalid_grant", "{name}={value}");
        }
        let code = code(&bench, authorize, &query).await;
        for missing in ["code", "redirect_uri"] {
            let bad = form(&redeeming(&code), &[(missing, "")]);
            let reply = bench.post(token, &bad).await;
            assert_eq!(reply.json()["error"], "invalid_request", "{missing}");
        }
        assert_eq!(bench.post(token, &redeeming(&code)).await.status, 200);
        let again = bench.post(token, &redeeming(&code)).await;
        assert_eq!(again.json()["error"], "invalid_grant");
        let unknown = bench.post(token, &redeeming("no-such-code")).await;
        assert_eq!(unknown.json()["error"], "invalid_grant");
    }
    // Nor at the other issuer.
    let code = code(
        &bench,
        GENERIC,
        &authorization_request(&challenge, "records"),
    )
    .await;
    let reply = bench.v2(&redeeming(&code)).await;
    assert_eq!(reply.json()["error"], "invalid_grant");
}

#[tokio::test]
async fn sign_ins_are_recorded_without_secrets_and_fail_on_demand() {
    let bench = Bench::new().await;
    let challenge = challenge();
    let query = authorization_request(&challenge, "records offline_access");
    let page = open(&bench, GENERIC, &query).await;
    let sent = press(&bench, GENERIC, &page, (USER, PASSWORD, "allow")).await;
    let code = redirected(&sent, LOOPBACK)["code"].clone();
    let reply = bench.post("/generic/token", &redeeming(&code)).await;
    let refresh_token = reply.json()["refresh_token"].as_str().unwrap().to_owned();
    // In the wrong field.
    let stray = form(&query, &[("scope", PASSWORD)]);
    open(&bench, GENERIC, &stray).await;

    let requests = bench.issuer.token_requests_of("demo-cli");
    let statuses: Vec<_> = requests
        .iter()
        .map(|r| (r.path.as_str(), r.status))
        .collect();
    assert_eq!(statuses[0], ("/generic/authorize", Some(200)));
    assert_eq!(statuses[1], ("/generic/authorize", Some(302)));
    assert_eq!(statuses[2], ("/generic/token", Some(200)));
    assert_eq!(requests[0].scope.as_deref(), Some("records offline_access"));
    let text = serde_json::to_string(&bench.issuer.requests()).unwrap();
    for secret in [PASSWORD, &code, &refresh_token, &reply.token()] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
    assert!(!format!("{:?}", User::new("a", "canary")).contains("canary"));

    let status = Effect::Status {
        status: 503,
        body: None,
        retry_after: None,
    };
    let fault = Fault::new(status).on(Surface::SignIn).client("demo-cli");
    bench.issuer.fault(fault.times(1));
    assert_eq!(open(&bench, GENERIC, &query).await.status, 503);
    assert_eq!(open(&bench, GENERIC, &query).await.status, 200);
}

#[tokio::test]
async fn users_come_and_go() {
    let bench = Bench::new().await;
    let challenge = challenge();
    let query = authorization_request(&challenge, "records");
    let user = User::new("bob@contoso.example", "bob~password.1");
    bench.issuer.add_user(user).unwrap();
    let page = open(&bench, GENERIC, &query).await;
    let answer = ("BOB@contoso.example", "bob~password.1", "allow");
    let sent = press(&bench, GENERIC, &page, answer).await;
    let code = redirected(&sent, LOOPBACK)["code"].clone();
    let reply = bench.post("/generic/token", &redeeming(&code)).await;
    let claims = bench.issuer.validate(&reply.token()).unwrap();
    assert_eq!(
        claims.preferred_username.as_deref(),
        Some("bob@contoso.example")
    );
    bench.issuer.remove_user("bob@contoso.example");
    let gone = press(&bench, GENERIC, &page, answer).await;
    assert_eq!(gone.status, 401);
    assert!(matches!(
        bench.issuer.auto_approve(Some("bob@contoso.example")),
        Err(Error::Config { .. })
    ));
    assert!(bench.issuer.add_user(User::new("x", "")).is_err());
}

#[test]
fn a_file_may_set_it_and_wrong_values_are_refused() {
    let yaml = "users: [{name: eve, password: {value: x}}]\nautoApprove: eve\nclients:\n- {id: a, public: true, \
                redirectUris: ['http://localhost/x'], scopes: {demo: [Records.Read]}}\n";
    let config = Config::from_yaml(yaml).unwrap();
    assert!(config.clients[0].public && config.auto_approve.is_some());
    for (yaml, field) in [
        ("autoApprove: nobody", "autoApprove"),
        ("users: [{name: '', password: {value: x}}]", "users[0].name"),
        (
            "users: [{name: a, password: {value: ''}}]",
            "users[0].password.value",
        ),
        (
            "clients: [{id: a, redirectUris: ['http://a.example/']}]",
            "clients[0].redirectUris[0]",
        ),
        (
            "clients: [{id: a, public: true, secrets: [{value: x}]}]",
            "clients[0].secrets",
        ),
        (
            "clients: [{id: a, scopes: {demo: [Nope]}}]",
            "clients[0].scopes.demo",
        ),
        ("deviceIntervalSeconds: 0", "deviceIntervalSeconds"),
        ("deviceLifetimeSeconds: 0", "deviceLifetimeSeconds"),
    ] {
        let error = Config::from_yaml(yaml).unwrap_err().to_string();
        assert!(error.contains(&format!("{field}: ")), "{error}");
    }
    let leaky = Config::from_yaml("users: [{name: a, password: leaky-value}]");
    assert!(!leaky.unwrap_err().to_string().contains("leaky"));
}
