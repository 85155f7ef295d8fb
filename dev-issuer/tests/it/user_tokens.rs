//! What the tokens of a user say, and how they are renewed.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dev_issuer::{AuthMethod, Client, User};
use serde_json::Value;

use crate::browser::{
    ENTRA, GENERIC, LOOPBACK, Pairs, USER, VERIFIER, authorization_request, challenge, code, open,
    redeeming, redirected,
};
use crate::support::{Bench, Reply, form};

const TOKEN: &str = "/generic/token";

/// Signs in at Entra and redeems the code.
async fn entra(bench: &Bench, scope: &str) -> Reply {
    let challenge = challenge();
    let code = code(bench, ENTRA, &authorization_request(&challenge, scope)).await;
    bench.v2(&redeeming(&code)).await
}

async fn generic(bench: &Bench, changes: &[(&str, &str)]) -> Reply {
    let challenge = challenge();
    let query = form(&authorization_request(&challenge, "records"), changes);
    let code = code(bench, GENERIC, &query).await;
    bench.post(TOKEN, &redeeming(&code)).await
}

fn refreshing(token: &str) -> Pairs<'_> {
    vec![
        ("grant_type", "refresh_token"),
        ("client_id", "demo-cli"),
        ("refresh_token", token),
    ]
}

/// The same at Entra ID, where a refresh names the API.
fn at_entra(token: &str) -> Pairs<'_> {
    let mut pairs = refreshing(token);
    pairs.push(("scope", "api://demo/Records.Read offline_access"));
    pairs
}

fn refresh_token(reply: &Reply) -> String {
    let token = reply.json()["refresh_token"].as_str().map(str::to_owned);
    token.unwrap_or_else(|| panic!("no refresh token in {reply:?}"))
}

fn payload(token: &str) -> Value {
    let part = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

#[track_caller]
fn assert_aadsts(reply: &Reply, error: &str, code: u32) {
    assert_eq!(reply.json()["error"], error, "{reply:?}");
    assert_eq!(reply.json()["error_codes"][0], code, "{reply:?}");
}

#[tokio::test]
async fn a_token_of_a_user_carries_delegated_permissions() {
    let bench = Bench::new().await;
    let reply = entra(&bench, "openid api://demo/Records.Read").await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let json = reply.json();
    assert_eq!(json["scope"], "api://demo/Records.Read openid");
    assert_eq!(json.get("refresh_token"), None, "nobody asked for it");
    let claims = bench.issuer.validate(&reply.token()).unwrap();
    assert_eq!(claims.scp.as_deref(), Some("Records.Read"));
    assert_eq!(claims.preferred_username.as_deref(), Some(USER));
    assert_eq!(claims.azpacr.as_deref(), Some("0"));
    assert!(claims.roles.is_empty());
    assert_ne!(claims.oid.as_deref(), Some(claims.sub.as_str()));
    let call = bench.call("/api/demo/records", &reply.token()).await;
    assert_eq!(call.json()["user"], USER, "{call:?}");
    let call = bench.call("/api/demo/records/write", &reply.token()).await;
    assert_eq!(call.status, 403);
    let id = payload(json["id_token"].as_str().unwrap());
    assert_eq!(id["aud"], "demo-cli");
    assert_eq!(id["sub"], claims.sub.as_str());

    // v1 form, and what the client was given once.
    let reply = entra(&bench, "05a65629-4c1b-48c1-a78b-804c4abdd4af/.default").await;
    assert_eq!(reply.json().get("id_token"), None);
    let claims = bench.issuer.validate(&reply.token()).unwrap();
    assert_eq!(claims.upn.as_deref(), Some(USER));
    assert_eq!(claims.scp.as_deref(), Some("Investigation.Read"));
    let call = bench
        .call("/api/cloudapps/v1/alerts/", &reply.token())
        .await;
    assert_eq!(call.status, 200);

    // A scope without an API is one of Graph; of several APIs the first counts.
    let reply = entra(&bench, "User.Read api://demo/Records.Read").await;
    let claims = bench.issuer.validate(&reply.token()).unwrap();
    assert_eq!(claims.aud, "https://graph.microsoft.com");
    assert_eq!(claims.scp.as_deref(), Some("User.Read"));
}

#[tokio::test]
async fn scopes_that_entra_does_not_know_are_refused_before_the_sign_in() {
    let bench = Bench::new().await;
    bench.issuer.auto_approve(Some(USER)).unwrap();
    let challenge = challenge();
    for (scope, text) in [
        ("api://nobody/Read", "AADSTS500011"),
        ("api://demo/Nope", "AADSTS650053"),
        ("openid offline_access", "AADSTS70011"),
        ("", "AADSTS900144"),
    ] {
        let query = form(&authorization_request(&challenge, "x"), &[("scope", scope)]);
        let redirected = redirected(&open(&bench, ENTRA, &query).await, LOOPBACK);
        assert_eq!(redirected["error"], "invalid_scope", "{scope}");
        assert!(
            redirected["error_description"].contains(text),
            "{redirected:?}"
        );
    }
    // `.default` of an API for which the client has no consent.
    let reply = entra(&bench, "https://api.security.microsoft.com/.default").await;
    assert_aadsts(&reply, "invalid_grant", 65_001);
}

#[tokio::test]
async fn entra_reports_by_number_what_is_wrong_with_a_code() {
    let bench = Bench::new().await;
    let challenge = challenge();
    let query = authorization_request(&challenge, "api://demo/Records.Read");
    let code_of = async || code(&bench, ENTRA, &query).await;
    let first = code_of().await;
    assert_eq!(bench.v2(&redeeming(&first)).await.status, 200);
    assert_aadsts(&bench.v2(&redeeming(&first)).await, "invalid_grant", 54_005);
    assert_aadsts(&bench.v2(&redeeming("x")).await, "invalid_grant", 70_000);
    let code = code_of().await;
    let bad = form(&redeeming(&code), &[("code_verifier", "")]);
    assert_aadsts(&bench.v2(&bad).await, "invalid_grant", 501_481);
    let code = code_of().await;
    let bad = form(
        &redeeming(&code),
        &[("redirect_uri", "http://localhost:1/")],
    );
    assert_aadsts(&bench.v2(&bad).await, "invalid_grant", 500_112);
    let code = code_of().await;
    let secret = form(&redeeming(&code), &[("client_secret", "x")]);
    let reply = bench.v2(&secret).await;
    assert_eq!(reply.status, 401);
    assert_aadsts(&reply, "invalid_client", 700_025);
    let itself = [
        ("grant_type", "client_credentials"),
        ("client_id", "demo-cli"),
        ("scope", "api://demo/.default"),
    ];
    assert_aadsts(&bench.v2(&itself).await, "invalid_client", 7_000_218);
    let v1 = bench
        .post("/{tenant}/oauth2/token", &redeeming(&code))
        .await;
    assert_aadsts(&v1, "unsupported_grant_type", 70_003);
    // The tenant may be left open, for users only.
    let common = "/common/oauth2/v2.0/token";
    assert_eq!(bench.post(common, &redeeming(&code)).await.status, 200);
}

#[tokio::test]
async fn a_confidential_client_authenticates_when_it_redeems() {
    let bench = Bench::new().await;
    let web = Client::new("web")
        .secret("web~secret.1")
        .redirect_uri("https://web.example/cb");
    bench.issuer.add_client(web).unwrap();
    for (authorize, token, scope) in [
        (
            ENTRA,
            "/{tenant}/oauth2/v2.0/token",
            "api://demo/Records.Read",
        ),
        (GENERIC, TOKEN, "records"),
    ] {
        // PKCE is not a must here.
        let query = [
            ("client_id", "web"),
            ("response_type", "code"),
            ("redirect_uri", "https://web.example/cb"),
            ("scope", scope),
        ];
        let changes = [
            ("client_id", "web"),
            ("redirect_uri", "https://web.example/cb"),
            ("code_verifier", ""),
            ("client_secret", "web~secret.1"),
        ];
        let first = code(&bench, authorize, &query).await;
        let good = form(&redeeming(&first), &changes);
        let without = form(&good, &[("client_secret", "")]);
        let reply = bench.post(token, &without).await;
        assert_eq!(reply.status, 401, "{reply:?}");
        assert_eq!(bench.post(token, &good).await.status, 200);
        let second = code(&bench, authorize, &query).await;
        let unasked = form(&redeeming(&second), &changes);
        let unasked = form(&unasked, &[("code_verifier", VERIFIER)]);
        let reply = bench.post(token, &unasked).await;
        assert_eq!(
            reply.json()["error"],
            "invalid_grant",
            "no challenge before"
        );
    }
}

#[tokio::test]
async fn the_generic_issuer_names_itself_and_the_user() {
    let bench = Bench::new().await;
    let changes = [
        ("scope", "openid records"),
        ("audience", "api://demo"),
        ("nonce", "n-1"),
    ];
    let reply = generic(&bench, &changes).await;
    assert_eq!(reply.json()["scope"], "openid records");
    let claims = bench.issuer.validate(&reply.token()).unwrap();
    assert_eq!(claims.aud, "api://demo");
    assert_eq!(claims.roles, ["Records.Read"]);
    let call = bench.call("/api/demo/records", &reply.token()).await;
    assert_eq!(call.status, 200);
    let id = payload(reply.json()["id_token"].as_str().unwrap());
    assert_eq!(
        (&id["nonce"], &id["aud"]),
        (&"n-1".into(), &"demo-cli".into())
    );
    assert_eq!(id["sub"], claims.sub.as_str());

    let challenge = challenge();
    let query = authorization_request(&challenge, "records");
    let redirected = redirected(&open(&bench, GENERIC, &query).await, LOOPBACK);
    assert_eq!(redirected["iss"], bench.issuer.generic_issuer());
    let other = form(
        &redeeming(&redirected["code"]),
        &[("audience", "api://demo")],
    );
    assert_eq!(bench.post(TOKEN, &other).await.status, 200);
    let code = code(
        &bench,
        GENERIC,
        &form(&query, &[("audience", "api://demo")]),
    )
    .await;
    let other = form(
        &redeeming(&code),
        &[("audience", "https://graph.microsoft.com")],
    );
    let reply = bench.post(TOKEN, &other).await;
    assert_eq!(reply.json()["error"], "invalid_target");

    let metadata = bench.get("/generic/.well-known/openid-configuration").await;
    let metadata = metadata.json();
    let url = bench.issuer.generic_authorize_url();
    assert_eq!(metadata["authorization_endpoint"], url);
    let metadata = bench.get("/{tenant}/v2.0/.well-known/openid-configuration");
    let metadata = metadata.await.json();
    let url = bench.issuer.authorize_url();
    assert_eq!(metadata["authorization_endpoint"], url);
}

#[tokio::test]
async fn entra_refreshes_from_old_tokens_too_and_for_other_apis() {
    let bench = Bench::new().await;
    let reply = entra(&bench, "api://demo/Records.Read offline_access").await;
    let first = refresh_token(&reply);
    for _ in 0..2 {
        let reply = bench.v2(&at_entra(&first)).await;
        assert_ne!(refresh_token(&reply), first);
        let claims = bench.issuer.validate(&reply.token()).unwrap();
        assert_eq!(claims.scp.as_deref(), Some("Records.Read"));
        let other = form(&at_entra(&first), &[("scope", "User.Read")]);
        let reply = bench.v2(&other).await;
        let claims = bench.issuer.validate(&reply.token()).unwrap();
        assert_eq!(claims.aud, "https://graph.microsoft.com");
    }
    assert_aadsts(&bench.v2(&at_entra("x")).await, "invalid_grant", 70_000);
    let other = form(&at_entra(&first), &[("client_id", "demo")]);
    let other = form(&other, &[("client_secret", "demo~secret.1")]);
    assert_aadsts(&bench.v2(&other).await, "invalid_grant", 70_000);
    bench.issuer.revoke_sign_ins(USER);
    assert_aadsts(&bench.v2(&at_entra(&first)).await, "invalid_grant", 50_173);
}

#[tokio::test]
async fn the_generic_issuer_rotates_and_notices_reuse() {
    let bench = Bench::new().await;
    let reply = generic(&bench, &[]).await;
    assert_eq!(reply.json().get("refresh_token"), None);
    let changes = [
        ("scope", "records more offline_access"),
        ("audience", "api://demo"),
    ];
    let first = refresh_token(&generic(&bench, &changes).await);
    let wider = form(&refreshing(&first), &[("scope", "records else")]);
    let reply = bench.post(TOKEN, &wider).await;
    assert_eq!(reply.json()["error"], "invalid_scope");
    let narrow = form(&refreshing(&first), &[("scope", "records")]);
    let reply = bench.post(TOKEN, &narrow).await;
    assert_eq!(reply.json()["scope"], "records");
    let claims = bench.issuer.validate(&reply.token()).unwrap();
    assert_eq!(claims.aud, "api://demo");
    let second = refresh_token(&reply);
    let reply = bench.post(TOKEN, &refreshing(&second)).await;
    assert_eq!(reply.json()["scope"], "records more");
    let third = refresh_token(&reply);
    // The first one again: all tokens that were issued from it are revoked.
    for token in [&first, &third] {
        let reply = bench.post(TOKEN, &refreshing(token)).await;
        assert_eq!(reply.status, 400);
        assert_eq!(reply.json()["error"], "invalid_grant");
    }
    let request = bench.issuer.requests().pop().unwrap();
    assert_eq!(request.auth_method, AuthMethod::None);
    assert_eq!(request.grant_type.as_deref(), Some("refresh_token"));
}

#[tokio::test]
async fn a_policy_challenges_refreshes_until_a_sign_in_names_it() {
    let bench = Bench::new().await;
    let scope = "offline_access api://demo/Records.Read";
    let before = refresh_token(&entra(&bench, scope).await);
    let policy = "5b0b1c7e-8a34-4d62-9f0e-1c2d3e4f5a6b";
    let user = User::new(USER, "another~password").policy(policy);
    bench.issuer.add_user(user).unwrap();
    bench.issuer.auto_approve(Some(USER)).unwrap();
    let refused = bench.v2(&at_entra(&before)).await;
    assert_aadsts(&refused, "interaction_required", 50_076);
    let claims = refused.json()["claims"].as_str().unwrap().to_owned();
    assert!(claims.contains(policy), "{claims}");
    // The claims in a refresh do not replace a sign-in.
    let mut form = at_entra(&before);
    form.push(("claims", &claims));
    let refused = bench.v2(&form).await;
    assert_aadsts(&refused, "interaction_required", 50_076);
    // Nor is a sign-in that names another policy.
    let other = claims.replace("5b0b1c7e", "00000000");
    for (claims, good) in [(other.as_str(), false), (claims.as_str(), true)] {
        let challenge = challenge();
        let mut query = authorization_request(&challenge, scope);
        query.push(("claims", claims));
        let code = code(&bench, ENTRA, &query).await;
        let reply = bench.v2(&redeeming(&code)).await;
        assert_eq!(reply.status == 200, good, "{reply:?}");
        if good {
            let next = bench.v2(&at_entra(&refresh_token(&reply))).await;
            assert_eq!(next.status, 200, "{next:?}");
        }
    }
}
