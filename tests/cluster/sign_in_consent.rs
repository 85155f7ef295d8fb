//! A namespace's own issuer gets no data of a sign-in without the consent of the user who signs in.

use std::{path::PathBuf, process::Stdio};

use apicred::api::TokenIssuer;
use dev_issuer::Client as OauthClient;
use kube::{
    Api,
    api::{ListParams, PostParams},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::Command,
};

use crate::{
    plugin::{ADA, Plugin, browse, entra, spec, unchanged, user_kubeconfig},
    providers::state,
    service_accounts::cluster_issuer,
    support::{Listener, Place, SOON, World, issuer_of, run, typed},
};

/// Creates a credential and an issuer of the namespace, both with this name.
async fn at_own_issuer(place: &Place, name: &str, ca: &str, issuer: Value) {
    let mut whole = json!({
        "apiVersion": "apicred.dev/v1alpha1",
        "kind": "TokenIssuer",
        "metadata": { "name": name },
        "spec": { "caBundle": ca },
    });
    for (key, value) in issuer.as_object().into_iter().flatten() {
        whole["spec"][key] = value.clone();
    }
    let issuers: Api<TokenIssuer> = Api::namespaced(place.kube.clone(), &place.namespace);
    let issuer: TokenIssuer = typed(whole);
    let made = issuers.create(&PostParams::default(), &issuer).await;
    made.expect("an issuer");
    // A public client that everyone can use, such as the command line of Azure.
    let mut credential = spec(place, &json!(["api://demo/Records.Read"]));
    credential["issuerRef"] = json!({ "kind": "TokenIssuer", "name": name });
    credential["target"] = json!({ "secretName": format!("{name}-token") });
    place.create(name, credential).await;
}

/// A listener whose discovery document leads to these pages.
fn leading_to(page: String) -> Listener {
    Listener::answering("200 OK", move |request| {
        let me = issuer_of(request);
        let page = if page.is_empty() { &me } else { &page };
        json!({
            "issuer": me,
            "token_endpoint": format!("{me}/token"),
            "authorization_endpoint": format!("{page}/authorize"),
            "device_authorization_endpoint": format!("{page}/devicecode"),
        })
        .to_string()
    })
}

#[test]
fn a_code_for_the_genuine_sign_in_page_goes_to_no_token_endpoint_of_a_tenant() {
    run(async {
        let world = World::shared().await;
        let place = entra(world, "consent-evil").await;
        let ada = user_kubeconfig(world, &place, true).await;
        let legit = place.issuer.origin().to_owned();
        let page = |path: &str| format!("{legit}/{}/oauth2/v2.0/{path}", place.issuer.tenant());
        let evil = Listener::start();
        let genuine_page = json!({ "oauth2": {
            "tokenUrl": evil.token_url,
            "authorizationUrl": page("authorize"),
            "deviceAuthorizationUrl": page("devicecode"),
            // The name that the genuine issuer returns for itself.
            "issuer": format!("{legit}/{}/v2.0", place.issuer.tenant()),
        } });
        let own_page = json!({ "oauth2": {
            "tokenUrl": evil.token_url,
            "authorizationUrl": format!("{}/leads/on", evil.origin()),
            "deviceAuthorizationUrl": format!("{}/leads/on", evil.origin()),
        } });
        let document = leading_to(page("authorize").replace("/authorize", ""));
        let discovered = json!({ "oidc": { "issuerUrl": document.origin() } });
        at_own_issuer(&place, "genuine-page", &evil.ca_pem, genuine_page).await;
        at_own_issuer(&place, "own-page", &evil.ca_pem, own_page).await;
        at_own_issuer(&place, "discovered", &document.ca_pem, discovered).await;

        // The operator reads a document too, but not for a sign-in.
        let of_the_operator = |request: &String| request.starts_with("GET /.well-known/");
        let arrived = || {
            let mut all = evil.requests();
            all.extend(document.requests());
            all.retain(|r| !of_the_operator(r));
            all
        };
        for name in ["genuine-page", "own-page", "discovered"] {
            for device in [false, true] {
                for issuer in [None, Some(legit.as_str())] {
                    let mut args = vec!["login", name, "-n", &place.namespace];
                    args.extend(["--allow-cidr", "127.0.0.0/8"]);
                    args.push(if device { "--device" } else { "--no-browser" });
                    args.extend(issuer.iter().flat_map(|i| ["--issuer", i]));
                    let (good, printed) = Plugin::start(&ada, &args).end().await;
                    let host = if name == "discovered" {
                        document.origin()
                    } else {
                        evil.origin()
                    };
                    assert!(!good && printed.contains("--issuer"), "{args:?}: {printed}");
                    assert!(printed.contains(host), "{args:?}: no {host} in {printed}");
                    assert!(printed.contains("nothing was sent"), "{args:?}: {printed}");
                    assert!(!printed.contains("/authorize?"), "{args:?}: {printed}");
                    assert_eq!(arrived(), Vec::<String>::new(), "{args:?}");
                }
            }
        }
        let made = place.secrets().list(&ListParams::default()).await;
        let made = made.expect("a list").items;
        let is_state =
            |s: &&k8s_openapi::api::core::v1::Secret| s.metadata.name.as_deref() == Some("state");
        assert_eq!(made.iter().find(is_state), None);
    });
}

#[test]
fn an_answer_at_the_terminal_decides_and_the_secret_names_what_was_shown() {
    run(async {
        let world = World::shared().await;
        let place = entra(world, "consent-terminal").await;
        let ada = user_kubeconfig(world, &place, true).await;
        let origin = place.issuer.origin().to_owned();
        let issuer = json!({ "oidc": { "issuerUrl": place.issuer.generic_issuer() } });
        at_own_issuer(&place, "c", place.issuer.ca_pem(), issuer).await;
        place.issuer.auto_approve(Some(ADA)).expect("a user");
        // `script` of util-linux gives a program a terminal.
        let command = format!(
            "{} login c -n {} --allow-cidr 127.0.0.0/8 --no-browser",
            env!("CARGO_BIN_EXE_kubectl-apicred"),
            place.namespace
        );
        for (answer, agrees) in [("n\n", false), ("\n", false), ("y\n", true)] {
            let mut terminal = Command::new("script")
                .args(["-qefc", &command, "/dev/null"])
                .env("KUBECONFIG", &ada)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .kill_on_drop(true)
                .spawn()
                .expect("script (util-linux)");
            let mut input = terminal.stdin.take().expect("its keyboard");
            let mut output = terminal.stdout.take().expect("its screen");
            let mut screen = String::new();
            let talk = async {
                let (mut part, mut answered, mut browsed) = ([0; 1024], false, false);
                loop {
                    let read = output.read(&mut part).await.expect("a screen");
                    if read == 0 {
                        break;
                    }
                    screen.push_str(&String::from_utf8_lossy(&part[..read]));
                    if !answered && screen.contains("[y/N] ") {
                        assert!(!screen.contains("/authorize?"), "{screen}");
                        input.write_all(answer.as_bytes()).await.expect("a key");
                        answered = true;
                    }
                    let address = screen.lines().find(|l| l.starts_with("https://"));
                    if let (false, Some(address)) =
                        (browsed, address.filter(|_| screen.contains("Waiting")))
                    {
                        browse(place.issuer.ca_pem(), address.trim()).await;
                        browsed = true;
                    }
                }
                terminal.wait().await.expect("an end").success()
            };
            let good = tokio::time::timeout(SOON, talk).await.expect("in time");
            assert_eq!(good, agrees, "{screen}");
            assert!(screen.contains(&format!("  {origin}: ")), "{screen}");
            assert_eq!(screen.contains("/authorize?"), agrees, "{screen}");
            // One question, because everything is at one origin.
            assert_eq!(screen.matches("[y/N]").count(), 1, "{screen}");
            let there = place.secrets().get_opt("state").await.expect("an answer");
            assert_eq!(there.is_some(), agrees, "{screen}");
            if agrees {
                kept_by(&place, "c", &origin).await;
            }
        }
    });
}

/// The state Secret belongs to this credential and lists these origins.
async fn kept_by(place: &Place, name: &str, origins: &str) {
    let (_, notes) = state(place).await;
    assert_eq!(
        notes.get("apicred.dev/state-of").map(String::as_str),
        Some(name)
    );
    assert_eq!(
        notes.get("apicred.dev/allowed-issuers").map(String::as_str),
        Some(origins)
    );
}

#[test]
fn what_the_owner_of_a_state_secret_allows_is_never_changed() {
    run(async {
        let world = World::shared().await;
        let place = entra(world, "consent-owner").await;
        let ada = user_kubeconfig(world, &place, true).await;
        let origin = place.issuer.origin().to_owned();
        let evil = leading_to(String::new());
        let issuer = json!({ "oidc": { "issuerUrl": evil.origin() } });
        at_own_issuer(&place, "c", &evil.ca_pem, issuer).await;
        place
            .put_secret("state", "refresh_token", "of-an-earlier-sign-in")
            .await;
        let login = [
            "login",
            "c",
            "-n",
            &place.namespace,
            "--allow-cidr",
            "127.0.0.0/8",
        ];
        let named = [login.as_slice(), &["--issuer", evil.origin(), "--force"]].concat();
        for list in [origin.as_str(), ""] {
            let notes = json!({
                "apicred.dev/state-of": "c",
                "apicred.dev/allowed-issuers": list,
            });
            place
                .edit_secret("state", json!({ "metadata": { "annotations": notes } }))
                .await;
            let (good, printed) = Plugin::start(&ada, &named).end().await;
            assert!(
                !good && printed.contains("owner of the Secret"),
                "{printed}"
            );
            assert!(
                printed.contains(&format!("lacks {}", evil.origin())),
                "{printed}"
            );
            assert!(!printed.contains("/authorize?"), "{printed}");
            kept_by(&place, "c", list).await;
        }
        let sent: Vec<String> = evil
            .requests()
            .into_iter()
            .filter(|r| !r.starts_with("GET /.well-known/"))
            .collect();
        assert_eq!(sent, Vec::<String>::new());
    });
}

#[test]
fn a_new_state_secret_names_an_issuer_that_is_vouched_for_and_an_old_list_stays() {
    run(async {
        let world = World::shared().await;
        let place = entra(world, "consent-vouched").await;
        let ada = user_kubeconfig(world, &place, true).await;
        place
            .create("c", spec(&place, &json!(["api://demo/Records.Read"])))
            .await;
        place.issuer.auto_approve(Some(ADA)).expect("a user");
        let origin = place.issuer.origin().to_owned();
        let login = ["login", "c", "-n", &place.namespace, "--no-browser"];
        let mut lists = vec![origin.clone()];
        lists.push(format!("{origin}/, https://more.example"));
        for list in lists {
            let mut plugin = Plugin::start(&ada, &login);
            let address = plugin.address().await;
            browse(place.issuer.ca_pem(), &address).await;
            let (good, printed) = plugin.end().await;
            assert!(good, "{printed}");
            // The origin is shown, without a question.
            assert!(printed.contains(&format!("  {origin}: ")), "{printed}");
            assert!(!printed.contains("[y/N]"), "{printed}");
            unchanged(&place, &printed).await;
            let (_, notes) = state(&place).await;
            let there = notes.get("apicred.dev/allowed-issuers");
            if list == origin {
                assert_eq!(there, Some(&list));
                let wider = format!("{origin}/, https://more.example");
                let notes = json!({ "apicred.dev/allowed-issuers": wider });
                place
                    .edit_secret("state", json!({ "metadata": { "annotations": notes } }))
                    .await;
            } else {
                assert_eq!(there, Some(&list), "the owner's own spelling");
            }
            place.ready("c").await;
        }
        // A script that names another origin gets nothing.
        let other = [login.as_slice(), &["--issuer", "https://login.example"]].concat();
        let (good, printed) = Plugin::start(&ada, &other).end().await;
        assert!(
            !good && printed.contains(&format!("not {origin}")),
            "{printed}"
        );
    });
}

#[test]
fn a_service_account_token_for_the_api_server_is_not_used_for_a_sign_in() {
    run(async {
        let world = World::shared().await;
        let place = entra(world, "consent-audience").await;
        let admin = PathBuf::from(world.cluster.admin_kubeconfig());
        let (audience, _) = cluster_issuer(world).await;
        // The owner of the account allows the audience, but this is not sufficient.
        let account = format!(
            "apiVersion: v1\nkind: ServiceAccount\nmetadata: {{ name: builder, namespace: {}, annotations: {{ apicred.dev/allowed-audiences: '{audience}' }} }}\n",
            place.namespace
        );
        world
            .cluster
            .kubectl_apply(&account)
            .await
            .expect("an account");
        place.add_client(
            OauthClient::new(&place.client)
                .redirect_uri("http://localhost")
                .scope("demo", "Records.Read"),
        );
        let mut credential = spec(&place, &json!(["api://demo/Records.Read"]));
        credential["client"] = json!({
            "id": place.client,
            "secrets": null,
            "serviceAccount": { "name": "builder", "audience": audience },
        });
        place.create("c", credential).await;
        for device in [false, true] {
            let mut args = vec!["login", "c", "-n", &place.namespace];
            args.push(if device { "--device" } else { "--no-browser" });
            let (good, printed) = Plugin::start(&admin, &args).end().await;
            assert!(
                !good && printed.contains("this cluster's own API"),
                "{printed}"
            );
            assert!(!printed.contains("/authorize?"), "{printed}");
        }
        // An audience of the issuer is not an audience of the API server.
        let mut fit = spec(&place, &json!(["api://demo/Records.Read"]));
        fit["client"] = json!({
            "id": place.client,
            "secrets": null,
            "serviceAccount": { "name": "builder" },
        });
        fit["target"] = json!({ "secretName": "fit" });
        place.create("fit", fit).await;
        let args = [
            "login",
            "fit",
            "-n",
            &place.namespace,
            "--no-browser",
            "--timeout",
            "10s",
        ];
        let mut plugin = Plugin::start(&admin, &args);
        assert!(plugin.address().await.contains("/authorize?"));
    });
}
