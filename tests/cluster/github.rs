//! Installation access tokens of a GitHub App, from its private key to a call of an API and to git.

use std::{path::Path, sync::Arc};

use std::time::Duration;

use apicred::api::ApiCredential;
use dev_issuer::{Client, Effect, Fault, Installation};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use rcgen::{KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use serde_json::{Value, json};
use testenv::eventually;

use crate::{
    client_keys::jwks,
    support::{
        Place, SOON, World,
        git::{self, GitServer, git},
        is_well, run,
    },
};

/// The number of the installation.
const NUMBER: u64 = 4711;

/// Makes the client of this place an app that is installed with these permissions.
fn install(place: &Place, keys: &Value, permissions: &[(&str, &str)], suspended: bool) {
    let mut app = Client::new(&place.client)
        .default_audience("api://demo")
        .role("demo", "Records.Read");
    app.jwks = Some(keys.clone());
    let permissions = permissions.iter();
    app.installations.push(Installation {
        id: NUMBER,
        permissions: permissions
            .map(|(name, level)| ((*name).to_owned(), (*level).to_owned()))
            .collect(),
        repositories: vec!["app".to_owned(), "site".to_owned()],
        suspended,
    });
    place.add_client(app);
}

#[test]
fn a_github_app_gets_tokens_of_its_installation_and_each_error_names_its_cause() {
    run(async {
        let world = World::shared().await;
        let place = world.place("github").await;
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048);
        let pem = key.expect("a key").serialize_pem();
        place.put_secret("app", "private-key.pem", &pem).await;
        let api = format!("{}/api/v3", place.issuer.origin());
        let issuer = |number: u64| {
            let app = json!({ "installationId": number, "apiUrl": api });
            let allowed = ["contents:read", "issues:write", "app"];
            place.issuer_spec(json!({ "githubApp": app, "allowedScopes": allowed }))
        };
        place.put_issuer(issuer(NUMBER + 1)).await;
        place.issuer_ready().await;

        let key = json!({ "secretName": "app", "key": "private-key.pem" });
        let spec = json!({
            "client": { "id": place.client, "secrets": null, "key": key },
            "scopes": ["contents:read"], "resources": ["app"],
        });
        place.create("c", spec).await;
        // The app has no such key, then there is no such installation, and then it is suspended.
        let reported = place.not_ready("c", "ClientRefused").await;
        assert!(
            reported.contains("could not be decoded") && reported.contains(&place.client),
            "{reported}"
        );
        let keys = jwks(world, &place, &["c"]).await;
        install(&place, &keys, &[("contents", "write")], true);
        place.request_renewal("c").await;
        let reported = place.not_ready("c", "AccessDenied").await;
        assert!(reported.contains("githubApp.installationId"), "{reported}");
        place.put_issuer(issuer(NUMBER)).await;
        failing(&place, "AccessDenied", "unsuspends").await;

        install(&place, &keys, &[("contents", "write")], false);
        place.request_renewal("c").await;
        let view = place.ready("c").await;
        assert_eq!(view.claims["scope"], "contents:read metadata:read");
        assert_eq!(view.claims["sub"], format!("installation:{NUMBER}"));
        assert_eq!(place.call("demo", "records", &view.token).await, 200);
        let lifetime = view.expires_at.duration_since(jiff::Timestamp::now());
        assert!((3500..=3600).contains(&lifetime.as_secs()), "{lifetime}");

        // The message names a missing permission of the installation. A limit of an administrator requires the field.
        let change = json!({ "spec": { "scopes": ["issues:write"] } });
        place.edit("c", change).await;
        let requested = "requested: scopes issues:write, resources app";
        failing(&place, "InvalidScope", requested).await;
        let change = json!({ "spec": { "scopes": ["contents:read"], "resources": null } });
        place.edit("c", change).await;
        failing(&place, "ScopeNotAllowed", "set spec.resources").await;
        let unchanged = place.view("token").await.expect("the token stays");
        assert_eq!(unchanged.token, view.token);
    });
}

/// Writes the keys of the published Secret into a folder, as the kubelet does.
async fn mount(place: &Place, folder: &Path) {
    let secret = place.secrets().get("token").await.expect("a Secret");
    for (key, value) in secret.data.expect("keys") {
        std::fs::write(folder.join(key), value.0).expect("a file");
    }
}

/// The command of the docs that reads the mounted file `token` each time.
fn helper(folder: &Path) -> String {
    let docs = include_str!("../../docs/issuers.md");
    let (_, helper) = docs.split_once("credential.helper '").expect("the command");
    let (helper, _) = helper.split_once('\'').expect("its end");
    assert!(helper.contains("/var/run/token"), "{helper}");
    helper.replace("/var/run/token", &folder.display().to_string())
}

#[test]
fn git_clones_and_pushes_with_the_mounted_token_of_an_app() {
    run(async {
        let world = World::shared().await;
        let place = world.place("git").await;
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048);
        let pem = key.expect("a key").serialize_pem();
        place.put_secret("app", "private-key.pem", &pem).await;
        let api = format!("{}/api/v3", place.issuer.origin());
        let app = json!({ "installationId": NUMBER, "apiUrl": api });
        place
            .put_issuer(place.issuer_spec(json!({ "githubApp": app })))
            .await;
        place.issuer_ready().await;
        let key = json!({ "secretName": "app", "key": "private-key.pem" });
        let netrc = json!({ "format": "Netrc", "host": "127.0.0.1", "username": "x-access-token" });
        let usual = ["Token", "TokenType", "ExpiresAt", "Json"].map(|f| json!({ "format": f }));
        let keys = [&usual[..], &[netrc]].concat();
        let spec = json!({
            "client": { "id": place.client, "secrets": null, "key": key },
            "scopes": ["contents:read"], "resources": ["app"],
            "target": { "keys": keys },
        });
        place.create("c", spec).await;
        let keys = jwks(world, &place, &["c"]).await;
        install(&place, &keys, &[("contents", "write")], false);
        place.request_renewal("c").await;
        let first = place.ready("c").await;

        let subject = format!("installation:{NUMBER}");
        let server = GitServer::start(Arc::clone(&place.issuer), subject, "app.git").await;
        let url = server.url("app.git");
        let (mounted, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (mounted, clone) = (mounted.path(), work.path().join("clone"));
        let clone = clone.to_str().expect("text");
        let (good, output) = git::run(git(work.path()).args(["clone", &url, clone])).await;
        assert!(!good, "without a token: {output}");
        mount(&place, mounted).await;
        let (good, output) = git::run(git(mounted).args(["clone", &url, clone])).await;
        assert!(good, "{output}");
        assert!(server.has_seen(first.token_id()));

        // A token with read permissions does not write.
        let commit = ["-C", clone, "commit", "--allow-empty", "-m", "second"];
        let (good, output) = git::run(git(mounted).args(commit)).await;
        assert!(good, "{output}");
        let push = ["-C", clone, "push", "origin", "HEAD"];
        let (good, output) = git::run(git(mounted).args(push)).await;
        assert!(!good && output.contains("403"), "{output}");

        // Another token is written to the same file, and git reads it at once.
        let change = json!({ "spec": { "scopes": ["contents:write"] } });
        place.edit("c", change).await;
        let second = place.another_token("token", &first).await;
        mount(&place, mounted).await;
        let (good, output) = git::run(git(mounted).args(push)).await;
        assert!(good, "{output}");
        assert!(server.has_seen(second.token_id()));

        // The same with a credential helper that reads the file `token`.
        let helper = format!("credential.helper={}", helper(mounted));
        let again = work.path().join("again");
        let again = again.to_str().expect("text");
        let args = ["-c", &helper, "clone", &url, again];
        let (good, output) = git::run(git(work.path()).args(args)).await;
        assert!(good, "{output}");
        let log = ["-C", again, "log", "--format=%s"];
        let (_, output) = git::run(git(mounted).args(log)).await;
        assert_eq!(output, "second\nfirst\n");
    });
}

#[test]
fn what_github_answers_is_reported_as_what_it_is() {
    run(async {
        let world = World::shared().await;
        let place = world.place("github-answers").await;
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048);
        let pem = key.expect("a key").serialize_pem();
        place.put_secret("app", "private-key.pem", &pem).await;
        let origin = place.issuer.origin();
        let issuer = |api: String, allowed: Value| {
            let app = json!({ "installationId": NUMBER, "apiUrl": api });
            place.issuer_spec(json!({ "githubApp": app, "allowedScopes": allowed }))
        };
        // The API of an Enterprise Server without its path.
        place
            .put_issuer(issuer(origin.to_owned(), Value::Null))
            .await;
        place.issuer_ready().await;
        let key = json!({ "secretName": "app", "key": "private-key.pem" });
        let spec = json!({
            "client": { "id": place.client, "secrets": null, "key": key }, "scopes": null,
            "expect": { "scopes": ["contents:read"] },
            "target": { "keys": [
                { "format": "Token" }, { "format": "TokenType" }, { "format": "ExpiresAt" }, { "format": "Json" },
                { "format": "AnswerField", "key": "selection", "field": "repository_selection" },
            ] },
        });
        place.create("c", spec).await;
        let reported = place.not_ready("c", "EndpointNotFound").await;
        assert!(
            reported.contains("githubApp.apiUrl") && reported.contains("/api/v3"),
            "{reported}"
        );

        // All permissions: write includes read. A field of the answer is a file.
        let keys = jwks(world, &place, &["c"]).await;
        install(&place, &keys, &[("contents", "write")], false);
        let api = format!("{origin}/api/v3");
        place.put_issuer(issuer(api.clone(), Value::Null)).await;
        place.ready("c").await;
        let secret = place.secrets().get("token").await.expect("a Secret");
        let data = secret.data.unwrap_or_default();
        assert_eq!(
            data.get("selection").map(|v| v.0.as_slice()),
            Some(b"selected".as_slice())
        );
        place
            .until("c", "no trouble", |c| is_well(c).then_some(()))
            .await;

        // An administrator who allows write allows read, and a token of contents:read also has metadata:read.
        place
            .put_issuer(issuer(api, json!(["contents:write"])))
            .await;
        let exactly = json!({ "scopes": ["contents:read"], "exact": true });
        let change = json!({ "spec": { "scopes": ["contents:read"], "expect": exactly } });
        place.edit("c", change).await;
        eventually(SOON, "a token that reads alone", async || {
            let claims = place.view("token").await?.claims;
            if claims["scope"] == "contents:read metadata:read" {
                Ok(())
            } else {
                Err(claims.to_string())
            }
        })
        .await;
        place
            .until("c", "no trouble", |c| is_well(c).then_some(()))
            .await;

        // The primary limit: its end is in its own header.
        let end = jiff::Timestamp::now().as_second() + 1800;
        let message = json!({ "message": "API rate limit exceeded for installation ID 4711." });
        let header = |name: &str, value: String| (name.to_owned(), value);
        let limit = Effect::Custom {
            status: 403,
            headers: vec![
                header("content-type", "application/json".to_owned()),
                header("x-ratelimit-limit", "5000".to_owned()),
                header("x-ratelimit-remaining", "0".to_owned()),
                header("x-ratelimit-reset", end.to_string()),
            ],
            body: message.to_string(),
        };
        place.issuer.fault(Fault::new(limit).client(&place.client));
        place.request_renewal("c").await;
        failing(&place, "Throttled", "until the time that its answer names").await;
        let next = |c: &ApiCredential| c.status.as_ref()?.next_attempt.clone();
        let next = place.until("c", "the next attempt", next).await.0;
        assert!(next.as_second() >= end, "{next}");
        world.stays_quiet(&place, Duration::from_secs(2)).await;
    });
}

/// Waits until a condition has this reason and its message contains this text.
async fn failing(place: &Place, reason: &str, expected: &str) {
    let wanted = |c: &Condition| c.reason == reason && c.message.contains(expected);
    place
        .until("c", &format!("{reason}: {expected}"), |c| {
            let status = c.status.as_ref()?;
            status.conditions.iter().any(wanted).then_some(())
        })
        .await;
}
