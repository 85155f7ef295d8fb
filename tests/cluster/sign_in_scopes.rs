//! Which scopes a sign-in and its later refreshes request, at issuers that check them.

use dev_issuer::{Client as OauthClient, Config, DevIssuer};
use serde_json::{Value, json};

use crate::{
    plugin::{ADA, Plugin, browse, spec, unchanged, user_kubeconfig},
    support::{Place, World, run},
};

/// A place at the generic issuer with a public client, and the kubeconfig of a user.
async fn place(
    world: &World,
    label: &str,
    client: impl FnOnce(OauthClient) -> OauthClient,
) -> (Place, std::path::PathBuf) {
    let config = Config {
        device_interval_seconds: 1,
        ..Config::default()
    };
    let issuer = DevIssuer::start(config).await.expect("an issuer");
    let place = world.place_at(label, issuer).await;
    let public = OauthClient::new(&place.client)
        .public()
        .redirect_uri("http://127.0.0.1/callback")
        .default_audience("api://demo");
    place.add_client(client(public));
    let url = place.issuer.generic_issuer();
    let mut issuer = place.issuer_spec(json!({ "oidc": { "issuerUrl": url } }));
    issuer["entra"] = Value::Null;
    place.put_issuer(issuer).await;
    place.issuer_ready().await;
    place.create("c", spec(&place, &json!(["read"]))).await;
    let kubeconfig = user_kubeconfig(world, &place, true).await;
    (place, kubeconfig)
}

async fn noted(place: &Place) -> String {
    let (_, notes) = crate::providers::state(place).await;
    let scopes = notes.get("apicred.dev/sign-in-scopes");
    scopes.cloned().unwrap_or_default()
}

#[test]
fn a_refresh_of_an_offline_session_brings_a_token_that_is_of_use() {
    run(async {
        let world = World::shared().await;
        let (place, kubeconfig) = place(world, "offline", OauthClient::offline_sessions).await;
        let login = |more: &[&'static str]| {
            let args = ["login", "c", "-n", &place.namespace, "--device"];
            Plugin::start(&kubeconfig, &[args.as_slice(), more].concat())
        };
        for (more, scopes) in [
            (&[][..], "read openid offline_access"),
            // More than the credential requests: the scopes are named, including offline_access.
            (
                &["--scopes", "read,write,offline_access"][..],
                "read write offline_access",
            ),
        ] {
            let before = place.view("token").await.ok();
            let mut plugin = login(more);
            let code = plugin.code().await;
            place.issuer.approve_device(&code, ADA).expect("a code");
            let (good, printed) = plugin.end().await;
            assert!(good, "{printed}");
            unchanged(&place, &printed).await;
            assert_eq!(noted(&place).await, scopes);
            if let Some(before) = before {
                place.another_token("token", &before).await;
            }
            let mut view = place.ready("c").await;
            for _ in 0..3 {
                assert_eq!(view.claims["scope"], scope_of(scopes), "{}", view.claims);
                assert_eq!(place.call("demo", "whoami", &view.token).await, 200);
                place.request_renewal("c").await;
                view = place.another_token("token", &view).await;
            }
        }
    });
}

/// The scope of the token: the credential did not request `write`, and the issuer omits `offline_access`.
fn scope_of(noted: &str) -> &'static str {
    if noted.contains("openid") {
        "read openid"
    } else {
        "read"
    }
}

#[test]
fn a_sign_in_goes_on_without_the_scopes_that_it_added_if_the_client_may_not_request_them() {
    run(async {
        let world = World::shared().await;
        for (label, refused, device, left) in [
            ("less-device", &["openid"][..], true, "read offline_access"),
            (
                "least-device",
                &["openid", "offline_access"][..],
                true,
                "read",
            ),
            ("less-browser", &["offline_access"][..], false, "read"),
        ] {
            let with = |client: OauthClient| {
                let refuse = |client: OauthClient, scope: &&str| client.refused_scope(*scope);
                refused.iter().fold(client, refuse)
            };
            let (place, kubeconfig) = place(world, label, with).await;
            let mut args = vec!["login", "c", "-n", &place.namespace];
            args.extend(device.then_some("--device"));
            let mut plugin = Plugin::start(&kubeconfig, &args);
            if device {
                let code = plugin.code().await;
                place.issuer.approve_device(&code, ADA).expect("a code");
            } else {
                place.issuer.auto_approve(Some(ADA)).expect("a user");
                loop {
                    let address = plugin.address().await;
                    let page = browse(place.issuer.ca_pem(), &address).await;
                    if page.contains("You are signed in") {
                        break;
                    }
                    assert!(page.contains("requested again"), "{page}");
                }
            }
            let (good, printed) = plugin.end().await;
            assert!(good, "{printed}");
            for scope in refused {
                let reported = format!("had added {scope}, which the credential does not name");
                assert!(printed.contains(&reported), "no {reported:?} in: {printed}");
            }
            unchanged(&place, &printed).await;
            assert_eq!(noted(&place).await, left);
            place.ready("c").await;
        }
    });
}

#[test]
fn a_scope_of_the_credential_that_the_issuer_refuses_is_not_blamed_on_the_sign_in() {
    run(async {
        let world = World::shared().await;
        let (place, kubeconfig) =
            place(world, "no-scope", |client| client.refused_scope("read")).await;
        let args = ["login", "c", "-n", &place.namespace, "--device"];
        let (good, printed) = Plugin::start(&kubeconfig, &args).end().await;
        assert!(
            !good && printed.contains("invalid_scope: correct spec.scopes"),
            "{printed}"
        );
    });
}
