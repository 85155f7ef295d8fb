//! `kubectl apicred`: the real program, with the rights of a user, at two issuers; the test acts as the browser. Then
//! the operator takes over.

use std::path::PathBuf;

use apicred::api::TokenIssuer;
use dev_issuer::Client as OauthClient;
use kube::{Api, api::PostParams};
use serde_json::{Value, json};
use testenv::{
    ConnectProxy, ConnectRequest, OidcClient, OidcClientAuth, OidcOptions, OidcProvider, eventually,
};

use super::plugin::{ADA, Plugin, browse, entra, spec, unchanged, user_kubeconfig};
use crate::{
    providers::{state, user},
    support::{SOON, World, run, typed},
};

#[test]
fn a_user_signs_in_by_browser_at_entra_and_the_operator_goes_on_from_there() {
    run(async {
        let world = World::shared().await;
        let place = entra(world, "login").await;
        let kubeconfig = user_kubeconfig(world, &place, true).await;
        place
            .create("c", spec(&place, &json!(["api://demo/Records.Read"])))
            .await;
        let reported = place.not_ready("c", "SignInRequired").await;
        let command = reported
            .split_once("kubectl apicred ")
            .expect("a command")
            .1;
        let arguments: Vec<&str> = command.split_whitespace().collect();

        place.issuer.auto_approve(Some(ADA)).expect("a user");
        let mut plugin = Plugin::start(&kubeconfig, &arguments);
        let address = plugin.address().await;
        assert!(address.contains("code_challenge_method=S256"), "{address}");
        let page = browse(place.issuer.ca_pem(), &address).await;
        assert!(
            page.contains("You are signed in as ada@contoso.example"),
            "{page}"
        );
        let (good, printed) = plugin.end().await;
        assert!(good, "{printed}");
        for part in [ADA, "api://demo/Records.Read", "key refresh_token"] {
            assert!(printed.contains(part), "no {part} in: {printed}");
        }
        let first = unchanged(&place, &printed).await;
        let view = place.ready("c").await;
        assert_eq!(place.call("demo", "whoami", &view.token).await, 200);

        // Once more, over a refresh token that is not usable: the annotations of the old one are removed.
        let marks = json!({
            "apicred.dev/in-flight-since": "2026-01-01T00:00:00Z",
            "apicred.dev/sign-in-required": "invalid_grant",
            "apicred.dev/rotates": "true",
        });
        place
            .edit_secret("state", json!({ "metadata": { "annotations": marks } }))
            .await;
        let mut plugin = Plugin::start(&kubeconfig, &arguments);
        let address = plugin.address().await;
        browse(place.issuer.ca_pem(), &address).await;
        let (good, printed) = plugin.end().await;
        assert!(good, "{printed}");
        assert_ne!(unchanged(&place, &printed).await, first);
        place.another_token("token", &view).await;
        let (_, notes) = state(&place).await;
        assert!(
            !notes.contains_key("apicred.dev/sign-in-required"),
            "{notes:?}"
        );
    });
}

#[test]
fn a_user_signs_in_by_device_code_at_both_kinds_of_issuers() {
    run(async {
        let world = World::shared().await;
        for (label, scopes) in [
            ("device-entra", json!(["api://demo/Records.Read"])),
            ("device-oidc", json!(["read"])),
        ] {
            let place = entra(world, label).await;
            if label == "device-oidc" {
                let url = place.issuer.generic_issuer();
                let mut spec = place.issuer_spec(json!({ "oidc": { "issuerUrl": url } }));
                spec["entra"] = Value::Null;
                place.put_issuer(spec).await;
                place.issuer_ready().await;
            }
            let kubeconfig = user_kubeconfig(world, &place, true).await;
            place.create("c", spec(&place, &scopes)).await;

            let mut declined = Plugin::start(
                &kubeconfig,
                &["login", "c", "-n", &place.namespace, "--device"],
            );
            let code = declined.code().await;
            place.issuer.decline_device(&code).expect("a known code");
            let (good, printed) = declined.end().await;
            assert!(!good && printed.contains("declined"), "{printed}");

            let mut plugin = Plugin::start(
                &kubeconfig,
                &["login", "c", "-n", &place.namespace, "--device"],
            );
            let code = plugin.code().await;
            // Some polls precede the end of the sign-in.
            let before = place.posts();
            eventually(SOON, "polls of the plugin", async || {
                let polls = place.posts() - before;
                if polls >= 2 { Ok(()) } else { Err(polls) }
            })
            .await;
            place
                .issuer
                .approve_device(&code, ADA)
                .expect("a known code");
            let (good, printed) = plugin.end().await;
            assert!(good && printed.contains(ADA), "{printed}");
            unchanged(&place, &printed).await;
            place.ready("c").await;
        }
    });
}

#[test]
fn a_user_signs_in_through_a_proxy_that_he_names_and_no_other() {
    run(async {
        let world = World::shared().await;
        let place = entra(world, "login-proxy").await;
        let kubeconfig = user_kubeconfig(world, &place, true).await;
        place
            .create("c", spec(&place, &json!(["api://demo/Records.Read"])))
            .await;
        let proxy = ConnectProxy::start(Some(("ada", "hunter2")))
            .await
            .expect("a proxy");
        let ambient = ConnectProxy::start(None).await.expect("a proxy");
        let (url, ambient_url) = (
            format!("http://ada:hunter2@{}", proxy.address()),
            format!("http://{}", ambient.address()),
        );
        let device = ["login", "c", "-n", &place.namespace, "--device"];
        let env = [("APICRED_PROXY", &*url), ("HTTPS_PROXY", &*ambient_url)];
        let mut plugin = Plugin::start_with(&kubeconfig, &device, &env);
        let code = plugin.code().await;
        place
            .issuer
            .approve_device(&code, ADA)
            .expect("a known code");
        let (good, printed) = plugin.end().await;
        assert!(good && !printed.contains("hunter2"), "{printed}");
        unchanged(&place, &printed).await;
        let opened = ConnectRequest {
            target: place.issuer.address().to_string(),
            status: Some(200),
        };
        assert_eq!(
            (proxy.requests(), ambient.requests()),
            (vec![opened], Vec::new())
        );

        for (given, expected_part) in [
            (
                format!("http://{}", proxy.address()),
                "requires a user and password",
            ),
            (
                format!("http://ada:wrong@{}", proxy.address()),
                "refuses the user and password",
            ),
            (
                "socks5://ada:hunter2@proxy".to_owned(),
                "--proxy (APICRED_PROXY) must begin with http://",
            ),
        ] {
            let args: Vec<&str> = device.into_iter().chain(["--proxy", &given]).collect();
            let (good, printed) = Plugin::start(&kubeconfig, &args).end().await;
            assert!(!good && printed.contains(expected_part), "{printed}");
            let secret = printed.contains("hunter2") || printed.contains("administrator");
            assert!(!secret, "{printed}");
        }
    });
}

#[test]
fn a_client_with_a_secret_signs_in_with_it_as_far_as_the_user_may_read_it() {
    run(async {
        let world = World::shared().await;
        let place = entra(world, "login-secret").await;
        place.add_client(
            OauthClient::new(&place.client)
                .secret(&place.secret)
                .redirect_uri("http://localhost/back")
                .scope("demo", "Records.Read"),
        );
        let source =
            json!([{ "name": "absent", "key": "k" }, { "name": "source", "key": "client-secret" }]);
        let mut credential = spec(&place, &json!(["api://demo/Records.Read"]));
        credential["client"] = json!({ "id": place.client, "secrets": source });
        place.create("c", credential).await;
        let limited = user_kubeconfig(world, &place, true).await;
        let args = [
            "login",
            "c",
            "-n",
            &place.namespace,
            "--redirect-uri",
            "http://localhost/back",
        ];
        let (good, printed) = Plugin::start(&limited, &args).end().await;
        assert!(
            !good && printed.contains("Secret source, which you may not read"),
            "{printed}"
        );
        assert!(
            !printed.contains("https://"),
            "no sign-in is begun: {printed}"
        );

        place.issuer.auto_approve(Some(ADA)).expect("a user");
        let mut plugin = Plugin::start(&world.cluster.admin_kubeconfig().into(), &args);
        let address = plugin.address().await;
        let page = browse(place.issuer.ca_pem(), &address).await;
        assert!(page.contains("You are signed in"), "{page}");
        let (good, printed) = plugin.end().await;
        assert!(good, "{printed}");
        assert!(!printed.contains(&place.secret), "{printed}");
        unchanged(&place, &printed).await;
        let view = place.ready("c").await;
        // A renewal that a user requests.
        let renew = ["renew", "c", "--namespace", &place.namespace];
        let (good, printed) = Plugin::start(&world.cluster.admin_kubeconfig().into(), &renew)
            .end()
            .await;
        assert!(good, "{printed}");
        place.another_token("token", &view).await;
    });
}

#[test]
fn at_an_issuer_of_the_namespace_the_state_secret_names_it_and_the_network_is_guarded() {
    run(async {
        let world = World::shared().await;
        let place = entra(world, "login-own").await;
        let issuer: TokenIssuer = typed(json!({
            "apiVersion": "apicred.dev/v1alpha1",
            "kind": "TokenIssuer",
            "metadata": { "name": "mine" },
            "spec": { "oidc": { "issuerUrl": place.issuer.generic_issuer() }, "caBundle": place.issuer.ca_pem() },
        }));
        let issuers: Api<TokenIssuer> = Api::namespaced(place.kube.clone(), &place.namespace);
        issuers
            .create(&PostParams::default(), &issuer)
            .await
            .expect("an issuer");
        let mut credential = spec(&place, &json!(["read"]));
        credential["issuerRef"] = json!({ "kind": "TokenIssuer", "name": "mine" });
        place.create("c", credential).await;
        let kubeconfig = user_kubeconfig(world, &place, true).await;
        let origin = place.issuer.origin();
        let args = ["login", "c", "-n", &place.namespace, "--issuer", origin];
        let (good, printed) = Plugin::start(&kubeconfig, &args).end().await;
        assert!(
            !good && printed.contains("not a public address"),
            "{printed}"
        );

        place.issuer.auto_approve(Some(ADA)).expect("a user");
        let allowed = [args.as_slice(), &["--allow-cidr", "127.0.0.0/8"]].concat();
        let mut plugin = Plugin::start(&kubeconfig, &allowed);
        let address = plugin.address().await;
        let page = browse(place.issuer.ca_pem(), &address).await;
        assert!(page.contains("You are signed in"), "{page}");
        let (good, printed) = plugin.end().await;
        assert!(good, "{printed}");
        unchanged(&place, &printed).await;
        let (_, notes) = state(&place).await;
        let origins = notes.get("apicred.dev/allowed-issuers");
        assert_eq!(origins.map(String::as_str), Some(place.issuer.origin()));
        place.ready("c").await;
    });
}

#[test]
fn the_provider_that_was_not_written_here_signs_people_in_both_ways() {
    run(async {
        let world = World::shared().await;
        let mut options = OidcOptions::default();
        let client =
            OidcClient::new("login", OidcClientAuth::Public).sign_in("http://127.0.0.1/callback");
        options.clients.push(client);
        let provider = OidcProvider::start(options).await.expect("an issuer");
        for device in [false, true] {
            let place = world.place("login-oidc").await;
            let mut issuer = place.issuer_spec(json!({
                "oidc": { "issuerUrl": provider.issuer_url() },
                "caBundle": provider.ca_pem(),
            }));
            issuer["entra"] = Value::Null;
            place.put_issuer(issuer).await;
            place.issuer_ready().await;
            let kubeconfig = user_kubeconfig(world, &place, true).await;
            place.create("c", user("login")).await;
            let mut args = vec!["login", "c", "--namespace", &place.namespace];
            args.extend(device.then_some("--device"));
            let mut plugin = Plugin::start(&kubeconfig, &args);
            if device {
                let code = plugin.code().await;
                assert!(
                    provider
                        .answer_device(&code, true)
                        .await
                        .expect("an answer")
                );
            } else {
                let address = plugin.address().await;
                let page = browse(provider.ca_pem(), &address).await;
                assert!(page.contains("You are signed in"), "{page}");
            }
            let (good, printed) = plugin.end().await;
            assert!(good && printed.contains("somebody"), "{printed}");
            let first = unchanged(&place, &printed).await;
            place.ready("c").await;
            eventually(SOON, "the refresh token is rotated", async || {
                let (now, _) = state(&place).await;
                (now != first).then_some(())
            })
            .await;
            let (now, _) = state(&place).await;
            assert!(provider.is_alive(&now).await.expect("an answer"));
        }
    });
}

#[test]
fn what_would_waste_a_sign_in_is_reported_before_it() {
    run(async {
        let world = World::shared().await;
        let place = entra(world, "login-refused").await;
        let admin = PathBuf::from(world.cluster.admin_kubeconfig());
        let namespace = place.namespace.as_str();
        place
            .create("c", spec(&place, &json!(["api://demo/Records.Read"])))
            .await;
        let login = |name: &'static str| ["login", name, "--namespace", namespace, "--no-browser"];
        let refused = async |kubeconfig: &PathBuf, args: &[&str], why: &str| {
            let (good, printed) = Plugin::start(kubeconfig, args).end().await;
            assert!(!good && printed.contains(why), "no {why:?} in: {printed}");
            assert!(
                !printed.contains("/authorize"),
                "no sign-in is begun: {printed}"
            );
        };
        refused(&admin, &login("nobody"), "does not exist").await;
        place
            .create("app", json!({ "target": { "secretName": "app-token" } }))
            .await;
        refused(&admin, &login("app"), "spec.grant.refreshToken").await;

        // Step by step to the rights of the docs.
        let ada = user_kubeconfig(world, &place, false).await;
        refused(&ada, &login("c"), "your rights do not allow it").await;
        let grant = |rules: &str| format!("--resource={rules}");
        let role = |name: &'static str, verb: &'static str, what: String| {
            let namespace = namespace.to_owned();
            async move {
                let verb = format!("--verb={verb}");
                let make = ["create", "role", name, &verb, &what, "-n", &namespace];
                world.cluster.kubectl(&make).await.expect("a role");
                let (role, user) = (
                    format!("--role={name}"),
                    format!("--serviceaccount={namespace}:ada"),
                );
                let bind = [
                    "create",
                    "rolebinding",
                    name,
                    &role,
                    &user,
                    "-n",
                    &namespace,
                ];
                world.cluster.kubectl(&bind).await.expect("a binding");
            }
        };
        role("r1", "get", grant("apicredentials.apicred.dev")).await;
        refused(&ada, &login("c"), "you may not read ClusterTokenIssuer").await;
        let full = user_kubeconfig(world, &place, true).await;
        let drop_role = [
            "delete",
            "role",
            &format!("sign-in-{namespace}"),
            "-n",
            namespace,
        ];
        world.cluster.kubectl(&drop_role).await.expect("no role");
        refused(&full, &login("c"), "you may not get Secret").await;
        role("r2", "get", grant("secrets")).await;
        refused(&full, &login("c"), "you may not create Secret").await;

        // Secrets of different owners.
        place
            .put_secret("state", "other", "something-of-its-own")
            .await;
        refused(&admin, &login("c"), "--force").await;
        let of_another =
            json!({ "metadata": { "annotations": { "apicred.dev/state-of": "somebody-else" } } });
        place.edit_secret("state", of_another).await;
        refused(&admin, &login("c"), "somebody-else").await;
        place.issuer.auto_approve(Some(ADA)).expect("a user");
        let forced = [login("c").as_slice(), &["--force"]].concat();
        let mut plugin = Plugin::start(&admin, &forced);
        let address = plugin.address().await;
        browse(place.issuer.ca_pem(), &address).await;
        let (good, printed) = plugin.end().await;
        assert!(good, "{printed}");
        unchanged(&place, &printed).await;
        place.ready("c").await;
    });
}

#[test]
fn a_token_error_and_a_lost_refresh_token_are_reported_and_nothing_is_stored() {
    run(async {
        let world = World::shared().await;
        let place = entra(world, "login-nothing").await;
        let admin = PathBuf::from(world.cluster.admin_kubeconfig());
        place
            .create("c", spec(&place, &json!(["api://demo/Records.Read"])))
            .await;
        place.issuer.auto_approve(Some(ADA)).expect("a user");
        let login = ["login", "c", "-n", &place.namespace];
        // Without offline_access there is no refresh token.
        let args = [login.as_slice(), &["--scopes", "api://demo/Records.Read"]].concat();
        let mut plugin = Plugin::start(&admin, &args);
        let address = plugin.address().await;
        let page = browse(place.issuer.ca_pem(), &address).await;
        assert!(
            page.contains("Not signed in") && page.contains("no refresh token"),
            "{page}"
        );
        let (good, printed) = plugin.end().await;
        assert!(
            !good && printed.contains("do not set --scopes"),
            "{printed}"
        );
        // An unknown scope of the API is returned as an error.
        let args = [login.as_slice(), &["--scopes", "api://demo/Nothing.Read"]].concat();
        let mut plugin = Plugin::start(&admin, &args);
        let address = plugin.address().await;
        let page = browse(place.issuer.ca_pem(), &address).await;
        assert!(page.contains("Not signed in"), "{page}");
        let (good, printed) = plugin.end().await;
        assert!(!good && printed.contains("AADSTS650053"), "{printed}");
        let there = place.secrets().get_opt("state").await.expect("an answer");
        assert!(there.is_none(), "nothing is stored");
    });
}
