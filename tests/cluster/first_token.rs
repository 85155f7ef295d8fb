//! The first token, up to a call of an API that accepts it, with each kind of issuer.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use dev_issuer::AuthMethod;
use serde_json::json;
use testenv::{OidcOptions, OidcProvider};
use tokio::sync::OnceCell;

use crate::support::{Listener, Recorder, World, condition, merge, run};

#[test]
fn entra_v2_gives_a_token_that_the_api_accepts() {
    run(async {
        let world = World::shared().await;
        let place = world.place("entra-v2").await;
        let recorder = Recorder::of(&place, "token");
        let made = place.create("c", json!({})).await;
        let view = place.ready("c").await;

        assert_eq!(place.call("demo", "whoami", &view.token).await, 200);
        assert_eq!(place.call("demo", "records", &view.token).await, 200);
        assert_eq!(
            place.call("demo", "records/write", &view.token).await,
            403,
            "the role is not granted"
        );
        assert_eq!(view.type_, "Opaque");
        assert_eq!(view.owners, ["c"]);
        assert_eq!(
            view.labels
                .get("app.kubernetes.io/managed-by")
                .map(String::as_str),
            Some("apicred")
        );

        let posts = place.issuer.token_requests_of(&place.client);
        assert_eq!(posts.len(), 1, "{posts:?}");
        assert_eq!(
            posts[0].path,
            format!("/{}/oauth2/v2.0/token", place.issuer.tenant())
        );
        assert_eq!(posts[0].scope.as_deref(), Some("api://demo/.default"));

        let credential = place.credentials().get("c").await.unwrap();
        let status = credential.status.clone().unwrap();
        assert_eq!(status.observed_generation, made.metadata.generation);
        assert_eq!(
            status.expires_at.as_ref().map(|t| t.0),
            Some(view.expires_at)
        );
        assert_eq!(
            status.client_in_use().as_deref(),
            Some("source/client-secret")
        );
        assert!(status.renew_at.is_some() && status.issued_at.is_some());
        let attempt = status.last_attempt.expect("status shows the attempt");
        assert_eq!(
            attempt.correlation_id, posts[0].correlation_id,
            "sign-in logs can be joined"
        );
        for kind in ["RenewalFailing", "Reconciling", "Stalled"] {
            assert!(condition(&credential, kind).is_none(), "{kind}");
        }

        world.stays_quiet(&place, Duration::from_secs(3)).await;
        // If no error occurred before, only the status reports a token.
        assert_eq!(place.events("c").await, []);
        assert_eq!(recorder.finish(&place).len(), 1);
    });
}

#[test]
fn entra_v1_is_chosen_by_resource() {
    run(async {
        let world = World::shared().await;
        let place = world.place("entra-v1").await;
        let recorder = Recorder::of(&place, "token");
        place
            .create("c", json!({ "scopes": null, "resources": ["api://demo"] }))
            .await;
        let view = place.ready("c").await;
        assert_eq!(place.call("demo", "records", &view.token).await, 200);
        let posts = place.issuer.token_requests_of(&place.client);
        assert_eq!(
            posts[0].path,
            format!("/{}/oauth2/token", place.issuer.tenant())
        );
        assert_eq!(
            (posts[0].resource.as_deref(), posts[0].scope.as_deref()),
            (Some("api://demo"), None)
        );
        assert_eq!(recorder.finish(&place).len(), 1);
    });
}

#[test]
fn an_oidc_issuer_is_found_by_discovery() {
    run(async {
        let world = World::shared().await;
        let place = world.place("oidc").await;
        place
            .put_issuer(
                place
                    .issuer_spec(json!({ "oidc": { "issuerUrl": place.issuer.generic_issuer() } })),
            )
            .await;
        let issuer = place.issuer_ready().await;
        assert_eq!(
            issuer.status.unwrap().token_endpoint,
            Some(place.issuer.generic_token_url())
        );
        let recorder = Recorder::of(&place, "token");
        place
            .create(
                "c",
                json!({ "scopes": ["read", "write"], "audience": "api://demo" }),
            )
            .await;
        let view = place.ready("c").await;
        assert_eq!(place.call("demo", "records", &view.token).await, 200);
        let posts = place.issuer.token_requests_of(&place.client);
        assert_eq!(posts.len(), 1);
        assert_eq!(
            posts[0].auth_method,
            AuthMethod::ClientSecretBasic,
            "what the document offers first"
        );
        assert_eq!(posts[0].scope.as_deref(), Some("read write"));
        assert_eq!(posts[0].audience.as_deref(), Some("api://demo"));
        assert_eq!(recorder.finish(&place).len(), 1);
    });
}

#[test]
fn a_token_url_is_called_with_basic_or_post_as_the_issuer_sets() {
    run(async {
        let world = World::shared().await;
        for (how, method, request) in [
            (
                "basic",
                AuthMethod::ClientSecretBasic,
                json!({ "audience": "api://demo" }),
            ),
            (
                "post",
                AuthMethod::ClientSecretPost,
                json!({ "resources": ["api://demo"] }),
            ),
        ] {
            let place = world.place(&format!("oauth2-{how}")).await;
            let mut oauth2 =
                json!({ "tokenUrl": place.issuer.generic_token_url(), "clientAuthentication": {} });
            oauth2["clientAuthentication"][how] = json!({});
            place
                .put_issuer(place.issuer_spec(json!({ "entra": null, "oauth2": oauth2 })))
                .await;
            place.issuer_ready().await;
            let changes = merge(
                json!({ "scopes": null, "parameters": [{ "name": "tenant", "value": "blue" }] }),
                request,
            );
            place.create("c", changes).await;
            let view = place.ready("c").await;
            assert_eq!(
                place.call("demo", "records", &view.token).await,
                200,
                "{how}"
            );
            let posts = place.issuer.token_requests_of(&place.client);
            assert_eq!(posts.len(), 1);
            assert_eq!(posts[0].auth_method, method);
            assert_eq!(posts[0].path, "/generic/token");
        }
    });
}

#[test]
fn the_request_is_what_the_spec_sets() {
    run(async {
        let world = World::shared().await;
        let place = world.place("wire").await;
        let listener = Listener::start();
        let oauth2 = json!({ "tokenUrl": listener.token_url });
        let spec = json!({ "entra": null, "oauth2": oauth2, "caBundle": listener.ca_pem });
        place.put_issuer(merge(place.entra_issuer(), spec)).await;
        place.issuer_ready().await;
        let parameters =
            json!([{ "name": "acr_values", "value": "a b&c=d" }, { "name": "über", "value": "€" }]);
        let request = json!({ "scopes": ["read", "write:all"], "audience": "https://api.example/", "parameters": parameters });
        place.create("c", request).await;
        let view = place.ready("c").await;
        assert_eq!(view.token, "opaque-5f1c9d0b7a");

        let requests = listener.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        let (head, body) = requests[0].split_once("\r\n\r\n").unwrap();
        assert!(
            head.starts_with("POST /token?tenant=blue HTTP/1.1\r\n"),
            "{head}"
        );
        let header = |name: &str| {
            let mut lines = head.lines().filter_map(|l| l.split_once(": "));
            lines
                .find(|(n, _)| n.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.to_owned())
        };
        assert_eq!(
            header("content-type").as_deref(),
            Some("application/x-www-form-urlencoded")
        );
        assert_eq!(header("accept").as_deref(), Some("application/json"));
        assert_eq!(header("accept-encoding").as_deref(), Some("identity"));
        assert!(header("user-agent").unwrap().starts_with("apicred/"));
        // RFC 6749 section 2.3.1: both halves are form-encoded before they become a Basic pair.
        let encoded = header("authorization").unwrap();
        let pair = STANDARD
            .decode(encoded.strip_prefix("Basic ").unwrap())
            .unwrap();
        let pair = String::from_utf8(pair).unwrap();
        let halves: Vec<String> = pair.split(':').map(decoded).collect();
        assert_eq!(halves, [place.client.clone(), place.secret.clone()]);
        let form: Vec<(String, String)> = url::form_urlencoded::parse(body.as_bytes())
            .into_owned()
            .collect();
        let sent: Vec<(&str, &str)> = form.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let wanted = [
            ("grant_type", "client_credentials"),
            ("scope", "read write:all"),
            ("audience", "https://api.example/"),
            ("acr_values", "a b&c=d"),
            ("über", "€"),
        ];
        assert_eq!(sent, wanted, "each once, and no secret in the body");
    });
}

/// One form-encoded value.
fn decoded(text: &str) -> String {
    url::form_urlencoded::parse(format!("x={text}").as_bytes())
        .next()
        .expect("a pair")
        .1
        .into_owned()
}

/// An issuer that is not part of this project.
async fn oidc_provider() -> &'static OidcProvider {
    static PROVIDER: OnceCell<OidcProvider> = OnceCell::const_new();
    PROVIDER
        .get_or_init(|| async {
            OidcProvider::start(OidcOptions::default())
                .await
                .expect("an issuer")
        })
        .await
}

#[test]
fn an_issuer_not_written_here_takes_our_requests() {
    run(async {
        let world = World::shared().await;
        let provider = oidc_provider().await;
        let place = world.place("oidc-provider").await;
        for (client, how, method) in [
            ("basic", "basic", "client_secret_basic"),
            ("post", "post", "client_secret_post"),
        ] {
            let secret = format!("{client}-secret");
            place.put_secret(client, "secret", &secret).await;
            let mut oidc =
                json!({ "issuerUrl": provider.issuer_url(), "clientAuthentication": {} });
            oidc["clientAuthentication"][how] = json!({});
            let spec = json!({ "entra": null, "oidc": oidc, "caBundle": provider.ca_pem() });
            place.put_issuer(place.issuer_spec(spec)).await;
            place.issuer_ready().await;
            let changes = json!({
                "client": { "id": client, "secrets": [{ "name": client, "key": "secret" }] },
                "scopes": ["read"],
                "resources": ["https://api.example"],
                "target": { "secretName": format!("token-{client}") },
            });
            place.create(client, changes).await;
            let view = place.ready(client).await;
            let claims = provider.introspect(&view.token).await.unwrap();
            assert_eq!(claims["active"], true, "{claims}");
            assert_eq!(
                (&claims["aud"], &claims["scope"]),
                (&json!("https://api.example"), &json!("read"))
            );
            assert_eq!(claims["client_id"], client);
            let seen = provider.requests().await.unwrap();
            let mine: Vec<_> = seen.iter().filter(|s| s.client_id == client).collect();
            assert_eq!(mine.len(), 1, "{seen:?}");
            assert_eq!(
                (mine[0].auth_method.as_str(), mine[0].status, mine[0].count),
                (method, 200, 1)
            );
        }
        // An opaque token, whose lifetime is only in the answer.
        let changes = json!({
            "client": { "id": "post", "secrets": [{ "name": "post", "key": "secret" }] },
            "scopes": ["write"],
            "target": { "secretName": "token-opaque" },
        });
        place.create("opaque", changes).await;
        let view = place.ready("opaque").await;
        assert!(
            !view.token.contains('.'),
            "a JWT where an opaque token was expected"
        );
        assert_eq!(
            provider.introspect(&view.token).await.unwrap()["active"],
            true
        );
        assert_eq!(view.annotations["apicred.dev/lifetime"], "ExpiresIn");
    });
}

#[test]
fn kubectl_finds_a_credential_by_each_of_its_names() {
    run(async {
        let world = World::shared().await;
        let place = world.place("names").await;
        place.create("c", json!({})).await;
        place.ready("c").await;
        let get = async |what: &[&str]| {
            let args = [&["get", "-n", &place.namespace], what, &["-o", "name"]].concat();
            world.cluster.kubectl(&args).await.expect("it is found")
        };
        for kind in ["ac", "apicred", "apicredential", "apicredentials"] {
            let found = get(&[kind, "c"]).await;
            assert_eq!(found.trim(), "apicredential.apicred.dev/c", "{kind}");
        }
        let all = get(&["apicreds"]).await;
        assert!(all.contains("apicredential.apicred.dev/c"), "{all}");
        let issuer = format!("clustertokenissuer.apicred.dev/{}", place.issuer_name);
        assert!(all.contains(&issuer), "{all}");
    });
}
