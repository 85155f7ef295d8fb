//! Issuers behind an HTTP proxy that an administrator has set.

use std::{
    collections::BTreeSet,
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
};

use apicred::api::{ApiCredential, ClusterTokenIssuer, TokenIssuer};
use k8s_openapi::api::events::v1::Event;
use serde_json::json;
use testenv::{ConnectProxy, ConnectRequest, ProxyBehaviour, eventually};

use crate::support::{LATER, Listener, Place, World, condition, issuer_of, run, unique};

const PROXY: &str = "APICRED_ISSUER_PROXY";
const NO_PROXY: &str = "APICRED_ISSUER_NO_PROXY";
const USER: &str = "apicred@edge";

/// A proxy with a password in which every special character must be encoded, and its URL.
async fn with_password() -> (ConnectProxy, String, String) {
    let password = format!("{}@:/?#%&+ü", unique());
    let proxy = ConnectProxy::start(Some((USER, &password))).await;
    let proxy = proxy.expect("a proxy");
    let encode = |text: &str| -> String {
        let bytes = text.bytes();
        bytes
            .map(|b| format!("%{b:02x}"))
            .collect::<Vec<_>>()
            .concat()
    };
    let address = proxy.address();
    let url = format!("http://{}:{}@{address}", encode(USER), encode(&password));
    (proxy, url, password)
}

/// `host:port` of an origin.
fn bare(origin: &str) -> String {
    origin.trim_start_matches("https://").to_owned()
}

/// The hosts that were requested from the proxy.
fn targets(proxy: &ConnectProxy) -> BTreeSet<String> {
    proxy.requests().into_iter().map(|a| a.target).collect()
}

/// Finds none of the canaries in the output of the operator.
async fn shows_nothing(world: &World) {
    let net = world.canaries.net();
    let logs = world.operator_logs();
    assert!(logs.contains("token published"), "no logs of an operator");
    let metrics = world.operator().get("/metrics").await.expect("an answer").1;
    let ready = world.operator().get("/readyz").await.expect("an answer").1;
    for (place, text) in [
        ("logs", logs),
        ("metrics", metrics),
        ("readyz", ready),
        ("events", world.all::<Event>().await),
        ("credentials", world.all::<ApiCredential>().await),
        ("TokenIssuers", world.all::<TokenIssuer>().await),
        (
            "ClusterTokenIssuers",
            world.all::<ClusterTokenIssuer>().await,
        ),
    ] {
        assert_eq!(net.first_leak(&text), None, "O10: a leak in {place}");
    }
}

#[test]
fn tokens_come_through_the_proxy_over_one_tunnel_and_its_password_is_shown_nowhere() {
    run(async {
        let (proxy, url, password) = with_password().await;
        let mut world = World::own().await;
        world.canaries.add(&password);
        let place = world.place("proxied").await;
        let past = world.place_with_own_issuer("past").await;
        // Together with a host that does not match, so that the port counts.
        let no_proxy = format!("past.example, {},10.0.0.0/8", past.issuer.address());
        world.environment = vec![(PROXY, url), (NO_PROXY, no_proxy)];
        world.start_operator().await;
        place.create("c", json!({})).await;
        let mut view = place.ready("c").await;
        assert_eq!(place.call("demo", "whoami", &view.token).await, 200);
        past.create("c", json!({})).await;
        past.ready("c").await;

        // One tunnel, however many tokens.
        let opened = ConnectRequest {
            target: bare(place.issuer.origin()),
            status: Some(200),
        };
        assert_eq!(proxy.requests(), std::slice::from_ref(&opened));
        for _ in 0..5 {
            place.request_renewal("c").await;
            view = place.another_token("token", &view).await;
        }
        assert_eq!(
            proxy.requests(),
            [opened],
            "a renewal opened another tunnel"
        );
        assert_eq!(place.posts(), 6);

        // TLS verifies the server at the other end, as without a proxy.
        let wrong = world.place("wrong-ca").await;
        let mut spec = wrong.entra_issuer();
        spec["caBundle"] = json!(null);
        wrong.put_issuer(spec).await;
        wrong.create("c", json!({})).await;
        let message = wrong.not_ready("c", "TlsFailed").await;
        assert!(message.contains("if it inspects TLS"), "{message}");
        assert_eq!(wrong.posts(), 0);

        discovers_and_revokes(&place, &proxy, &password).await;
        // No other host: neither the API server nor an issuer with a direct connection.
        let others = [world.cluster.server_url(), past.issuer.origin()].map(bare);
        let connects = targets(&proxy);
        assert!(others.iter().all(|o| !connects.contains(o)), "{connects:?}");
        let logs = world.operator_logs();
        assert!(
            logs.contains(&format!("http://{}", proxy.address())),
            "it is named"
        );
        shows_nothing(&world).await;
    });
}

/// Discovery, token and revocation requests of an issuer use the proxy, and contain no data about the proxy.
async fn discovers_and_revokes(place: &Place, proxy: &ConnectProxy, password: &str) {
    let listener = Listener::answering("200 OK", |request| {
        let issuer = issuer_of(request);
        if request.starts_with("GET") {
            let (token, end) = (format!("{issuer}/token"), format!("{issuer}/revoke"));
            json!({ "issuer": issuer, "token_endpoint": token, "revocation_endpoint": end })
                .to_string()
        } else {
            // Another token for each: `c` gets one as well, and a token that two credentials have is not revoked.
            static TOKENS: AtomicUsize = AtomicUsize::new(0);
            let token = format!("t0ken-{}", TOKENS.fetch_add(1, Ordering::SeqCst));
            json!({ "access_token": token, "token_type": "Bearer", "expires_in": 3600 }).to_string()
        }
    });
    place.put_listener(&listener).await;
    let spec = json!({ "target": { "secretName": "short" }, "deletionPolicy": "Revoke" });
    place.create("short", spec).await;
    place.ready("short").await;
    place.delete("short").await;
    let printed = |expected_part: &str| {
        listener
            .requests()
            .iter()
            .any(|r| r.starts_with(expected_part))
    };
    eventually(LATER, "a revocation", async || printed("POST /revoke ")).await;
    assert!(printed("GET /.well-known/") && printed("POST /token "));
    let through = proxy.requests();
    let through = through
        .iter()
        .filter(|a| a.target == bare(listener.origin()));
    // It closes the connection after each answer.
    assert_eq!(through.count(), listener.requests().len());
    for request in listener.requests() {
        let small = request.to_ascii_lowercase();
        assert!(!small.contains("proxy-") && !request.contains(&password[..16]));
    }
}

#[test]
fn a_proxy_that_refuses_hangs_or_is_gone_is_reported_and_outlived() {
    run(async {
        let (proxy, url, password) = with_password().await;
        let mut world = World::own().await;
        world.canaries.add(&password);
        world.environment = vec![(PROXY, url)];
        world.start_operator().await;
        let place = world.place("moody").await;
        place
            .create("kept", json!({ "target": { "secretName": "kept" } }))
            .await;
        let mut unchanged = place.ready("kept").await;
        for (name, manner, reason, expected_part) in [
            (
                "gone",
                None,
                "ProxyUnreachable",
                "no connection to the proxy",
            ),
            (
                "no",
                Some(ProxyBehaviour::Refuse(403)),
                "ProxyRefused",
                "allowed there",
            ),
            (
                "bad",
                Some(ProxyBehaviour::Refuse(502)),
                "ProxyRefused",
                "cannot be reached",
            ),
            (
                "who",
                Some(ProxyBehaviour::Refuse(407)),
                "ProxyCredentialsRefused",
                "corrects",
            ),
            (
                "hangs",
                Some(ProxyBehaviour::Hang),
                "ProxyTimeout",
                "in time",
            ),
        ] {
            let before = place.posts();
            match manner {
                Some(manner) => proxy.behave(manner),
                None => proxy.stop().await,
            }
            place
                .create(name, json!({ "target": { "secretName": name } }))
                .await;
            let message = place.not_ready(name, reason).await;
            assert!(message.contains(expected_part), "{name}: {message}");
            let port = proxy.address().port().to_string();
            assert!(
                !message.contains(&port) && !message.contains(USER),
                "{message}"
            );
            // A renewal fails because of it too, and the published token stays.
            place.request_renewal("kept").await;
            place
                .until("kept", reason, |c| {
                    condition(c, "RenewalFailing")
                        .filter(|r| r.status == "True" && r.message.contains(expected_part))
                })
                .await;
            assert_eq!(place.ready("kept").await.token, unchanged.token, "{name}");
            assert_eq!(place.posts(), before, "{name}: the issuer was asked");

            match manner {
                Some(_) => proxy.behave(ProxyBehaviour::Open),
                None => proxy.start_again().await.expect("its port"),
            }
            place.any_token(name).await;
            place.ready(name).await;
            unchanged = place.another_token("kept", &unchanged).await;
        }
        shows_nothing(&world).await;
    });
}

#[test]
fn a_proxy_that_cannot_be_one_ends_the_start_with_a_sentence_and_without_its_password() {
    for (proxy, no_proxy, names) in [
        ("socks5://ada:hunter2@proxy:1080", "", "--issuer-proxy"),
        ("http://ada:hun/ter2@proxy:3128", "", "APICRED_ISSUER_PROXY"),
        ("ada:hunter2", "", "--issuer-proxy"),
        (
            "http://ada:hunter2@proxy:3128",
            "https://idp.example",
            "--issuer-no-proxy",
        ),
        (
            "http://ada:hunter2@proxy:3128",
            "10.0.0.0/99",
            "APICRED_ISSUER_NO_PROXY",
        ),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_apicred"));
        command
            .arg("run")
            .env("KUBECONFIG", "/nowhere")
            .env(PROXY, proxy);
        if !no_proxy.is_empty() {
            command.env(NO_PROXY, no_proxy);
        }
        let ended = command.output().expect("it starts");
        let printed = String::from_utf8_lossy(&[ended.stdout, ended.stderr].concat()).into_owned();
        assert!(!ended.status.success(), "{proxy}");
        assert!(printed.contains(names), "{proxy}: {printed}");
        assert!(
            !printed.contains("hunter2") && !printed.contains("ter2"),
            "{printed}"
        );
    }
    let alone = Command::new(env!("CARGO_BIN_EXE_apicred"))
        .args(["run", "--issuer-no-proxy", "idp.example"])
        .output()
        .expect("it starts");
    let printed = String::from_utf8_lossy(&alone.stderr);
    assert!(
        !alone.status.success() && printed.contains("--issuer-proxy"),
        "{printed}"
    );
}

#[test]
fn the_chart_sets_the_proxy_and_lets_it_through() {
    run(async {
        let world = World::shared().await;
        let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/apicred");
        let template = async |values: &str| {
            let args = ["template", "apicred", chart, "--set", values];
            world.cluster.helm(&args).await.map_err(|e| e.to_string())
        };
        let open = "networkPolicy.enabled=true";
        let text = template(&format!(
            "{open},issuerProxy.url=http://proxy.example:3128,issuerProxy.noProxy={{.svc,10.0.0.0/8}}"
        ))
        .await
        .expect("a chart");
        for line in [
            "name: APICRED_ISSUER_PROXY",
            "value: \"http://proxy.example:3128\"",
            "name: APICRED_ISSUER_NO_PROXY",
            "value: \".svc,10.0.0.0/8\"",
            "port: 3128",
        ] {
            assert!(text.contains(line), "{line}");
        }
        let secret = template("issuerProxy.existingSecret.name=edge,watchNamespaces={team}").await;
        let secret = secret.expect("a chart");
        let (_, env) = secret
            .split_once("name: APICRED_ISSUER_PROXY")
            .expect("the variable");
        assert!(env.trim_start().starts_with("valueFrom:\n"), "{env:.80}");
        assert!(env.contains("name: \"edge\"") && env.contains("key: \"url\""));
        assert!(
            !template(open)
                .await
                .expect("a chart")
                .contains("ISSUER_PROXY")
        );
        for (values, expected_part) in [
            (
                "issuerProxy.url=http://ada:pw@proxy:3128",
                "issuerProxy.url",
            ),
            ("issuerProxy.url=proxy:3128", "issuerProxy.url"),
            ("issuerProxy.noProxy={a}", "issuerProxy.noProxy"),
            (
                "issuerProxy.url=http://a,issuerProxy.existingSecret.name=b",
                "not both",
            ),
        ] {
            let refused = template(values).await.expect_err(values);
            assert!(refused.contains(expected_part), "{values}: {refused}");
        }
    });
}
