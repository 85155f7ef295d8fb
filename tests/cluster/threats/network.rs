//! Addresses that an issuer must not have (T2), http and weak keys (T11).

use std::{
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::json;
use testenv::{ConnectProxy, eventually};

use super::attacker::{Attacker, ISSUERS_AND_CREDENTIALS, foreign_secrets};
use crate::support::{ALLOW_CIDR, Listener, SOON, World, issuer_of, run};

/// A listener that counts connections: even a connection without a request shows an attacker that a server exists.
struct Door {
    port: u16,
    knocks: Arc<AtomicUsize>,
}

impl Door {
    fn at(address: &str) -> Self {
        let listener = TcpListener::bind((address, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let knocks = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&knocks);
        std::thread::spawn(move || {
            for _ in listener.incoming() {
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { port, knocks }
    }
}

/// Notations of this machine, and addresses that only the inside of a network or a cloud has.
const INSIDE: [&str; 27] = [
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "127.0.0.1.",
    "127.255.0.9",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "0.0.0.0",
    "[::]",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "169.254.169.254",
    "[::ffff:169.254.169.254]",
    "[fd00:ec2::254]",
    "168.63.129.16",
    "100.100.100.200",
    "192.0.0.192",
    "10.96.0.1",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
];

#[test]
fn no_spelling_of_an_inner_address_is_connected_to() {
    run(async {
        let mut world = World::own().await;
        // As installed by default, but with an administrator's permission that does not open this machine.
        world
            .environment
            .push((ALLOW_CIDR, "203.0.113.0/24".to_owned()));
        world.start_operator().await;
        let place = world.place("t2").await;
        let attacker = Attacker::of(&world, &place, ISSUERS_AND_CREDENTIALS).await;
        attacker.reads_no_secrets().await;
        let door = Door::at("127.0.0.1");
        let api_server = url::Url::parse(world.cluster.server_url()).unwrap();
        let ports = [door.port, api_server.port().unwrap_or(443)];
        // This Secret may be sent everywhere: it belongs to the attacker.
        let origins: Vec<String> = INSIDE
            .iter()
            .flat_map(|host| ports.map(|port| format!("https://{host}:{port}")))
            .filter_map(|text| url::Url::parse(&text).ok())
            .map(|url| url.origin().ascii_serialization())
            .collect();
        let note = json!({ "metadata": { "annotations": { "apicred.dev/allowed-issuers": origins.join(",") } } });
        place.edit_secret("source", note).await;
        let before = foreign_secrets(&place).await;
        let mut checked = 0;
        for (number, host) in INSIDE.iter().enumerate() {
            for (kind, port) in [
                ("oauth2", ports[0]),
                ("oidc", ports[0]),
                ("oauth2", ports[1]),
            ] {
                let name = format!("i-{number}-{kind}-{port}");
                let origin = format!("https://{host}:{port}");
                let spec = match kind {
                    "oauth2" => json!({ "oauth2": { "tokenUrl": format!("{origin}/token") } }),
                    _ => json!({ "oidc": { "issuerUrl": origin } }),
                };
                if let Err(refused) = attacker.issuer(&name, spec).await {
                    assert!(refused.contains("spec."), "{origin}: {refused}");
                    continue;
                }
                let issuer = json!({ "kind": "TokenIssuer", "name": name });
                let target = json!({ "secretName": name });
                let spec = place.spec(json!({ "issuerRef": issuer, "target": target }));
                attacker.credential(&name, spec).await.unwrap();
                // Names that do not resolve here: without a cluster's DNS, or with a resolver that does not accept the last dot.
                let unknown = host.contains("kubernetes") || host.ends_with("t.");
                let reasons = ["AddressNotAllowed", "IssuerUnreachable"];
                let reasons = &reasons[..if unknown { 2 } else { 1 }];
                attacker.refused(&name, reasons).await;
                checked += 1;
            }
        }
        assert!(checked > 60, "only {checked} were tried");
        assert_eq!(door.knocks.load(Ordering::SeqCst), 0, "somebody knocked");
        let connects = world
            .cluster
            .audit_events(|e| e.uri.contains("/token?") || e.uri.contains(".well-known"))
            .unwrap();
        assert!(connects.is_empty(), "the API server was asked");
        assert_eq!(foreign_secrets(&place).await, before);
        attacker.learns_nothing(&place).await;
    });
}

#[test]
fn no_inner_address_is_requested_from_a_proxy() {
    run(async {
        let proxy = ConnectProxy::start(None).await.expect("a proxy");
        let mut world = World::own().await;
        world.environment = vec![
            (ALLOW_CIDR, "203.0.113.0/24".to_owned()),
            (
                "APICRED_ISSUER_PROXY",
                format!("http://{}", proxy.address()),
            ),
        ];
        world.start_operator().await;
        let place = world.place("t2-proxy").await;
        let attacker = Attacker::of(&world, &place, ISSUERS_AND_CREDENTIALS).await;
        attacker.reads_no_secrets().await;
        let door = Door::at("127.0.0.1");
        let names = [
            "metadata.google.internal",
            "idp",
            "printer.local",
            "a.b.svc.k8s.example",
        ];
        let hosts: Vec<&str> = INSIDE.into_iter().chain(names).collect();
        // This Secret may be sent everywhere: it belongs to the attacker.
        let origins: Vec<String> = (hosts.iter())
            .filter_map(|host| url::Url::parse(&format!("https://{host}:{}", door.port)).ok())
            .map(|url| url.origin().ascii_serialization())
            .collect();
        let note = json!({ "metadata": { "annotations": { "apicred.dev/allowed-issuers": origins.join(",") } } });
        place.edit_secret("source", note).await;
        let mut checked = 0;
        for (number, host) in hosts.iter().enumerate() {
            let (name, origin) = (
                format!("i-{number}"),
                format!("https://{host}:{}", door.port),
            );
            let spec = if number % 2 == 0 {
                json!({ "oauth2": { "tokenUrl": format!("{origin}/token") } })
            } else {
                json!({ "oidc": { "issuerUrl": origin } })
            };
            if attacker.issuer(&name, spec).await.is_err() {
                continue;
            }
            let issuer = json!({ "kind": "TokenIssuer", "name": name });
            let target = json!({ "secretName": name });
            let spec = place.spec(json!({ "issuerRef": issuer, "target": target }));
            attacker.credential(&name, spec).await.unwrap();
            attacker.refused(&name, &["AddressNotAllowed"]).await;
            checked += 1;
        }
        assert!(checked > 25, "only {checked} were tried");
        // The issuer of the place does not belong to an attacker: whether it is reached is checked through the proxy.
        let inside = format!(":{}", door.port);
        let connects = || proxy.requests().into_iter().map(|a| a.target);
        let of_the_inside: Vec<String> = connects().filter(|t| t.ends_with(&inside)).collect();
        assert_eq!(of_the_inside, Vec::<String>::new(), "the proxy was asked");

        // An issuer that is requested from the proxy does not lead to an internal address either.
        let listener = leading_to(format!("https://127.0.0.2:{}/token", door.port));
        place.put_listener(&listener).await;
        // The permission of the owner limits an administrator's issuer as well.
        let note =
            json!({ "metadata": { "annotations": { "apicred.dev/allowed-issuers": null } } });
        place.edit_secret("source", note).await;
        place
            .create("led", json!({ "target": { "secretName": "led" } }))
            .await;
        place.not_ready("led", "AddressNotAllowed").await;
        let connects: Vec<String> = connects().collect();
        assert!(
            connects.iter().any(|t| listener.origin().ends_with(t)),
            "{connects:?}"
        );
        assert!(
            !connects.iter().any(|t| t.ends_with(&inside)),
            "{connects:?}"
        );
        assert_eq!(door.knocks.load(Ordering::SeqCst), 0, "somebody knocked");
        attacker.learns_nothing(&place).await;
    });
}

/// An issuer whose discovery document names this token endpoint.
fn leading_to(endpoint: String) -> Listener {
    Listener::answering("200 OK", move |request| {
        json!({ "issuer": issuer_of(request), "token_endpoint": endpoint }).to_string()
    })
}

#[test]
fn a_discovery_document_leads_to_no_inner_address() {
    run(async {
        let world = World::shared().await;
        let place = world.place("t2-document").await;
        let door = Door::at("127.0.0.2");
        for (name, endpoint) in [
            ("beside", format!("https://127.0.0.2:{}/token", door.port)),
            (
                "disguised",
                format!("https://[::ffff:127.0.0.2]:{}/token", door.port),
            ),
            (
                "metadata",
                "https://169.254.169.254/metadata/identity/oauth2/token".to_owned(),
            ),
            ("plain", format!("http://127.0.0.1:{}/token", door.port)),
        ] {
            let listener = leading_to(endpoint);
            place.put_listener(&listener).await;
            place
                .create(name, json!({ "target": { "secretName": name } }))
                .await;
            let reason = if name == "plain" {
                "DiscoveryFailed"
            } else {
                "AddressNotAllowed"
            };
            place.not_ready(name, reason).await;
            let posted = listener.requests().iter().any(|r| r.starts_with("POST"));
            assert!(!posted, "{name}: something was posted");
            place.delete(name).await;
        }
        assert_eq!(door.knocks.load(Ordering::SeqCst), 0, "somebody knocked");
    });
}

#[test]
fn a_network_that_opens_this_machine_or_metadata_on_the_side_is_refused() {
    run(async {
        let world = World::shared().await;
        let place = world.place("t2-wide").await;
        let issuer = |network: serde_json::Value| {
            json!({
                "oauth2": { "tokenUrl": "https://issuer.example.com/token" },
                "network": network,
                "allowedNamespaces": { "names": [place.namespace] },
            })
        };
        for cidr in [
            "0.0.0.0/0",
            "::/0",
            "169.254.0.0/16",
            "168.63.129.16/32",
            "::/64",
        ] {
            place
                .put_issuer(issuer(json!({ "allowedCidrs": [cidr] })))
                .await;
            let reported = eventually(SOON, format!("{cidr} refused"), async || {
                let found = place.issuers().get(&place.issuer_name).await;
                let found = found.map_err(|e| e.to_string())?;
                let (wanted, status) =
                    (found.metadata.generation, found.status.unwrap_or_default());
                let reported = status.conditions.iter().find(|c| c.status == "False");
                reported
                    .filter(|_| status.observed_generation == wanted)
                    .map(|c| c.message.clone())
                    .ok_or(format!("{:?}", status.conditions))
            })
            .await;
            assert!(
                reported.contains(cidr) && reported.contains("allowWideCidrs"),
                "{reported}"
            );
            // An installation with it does not start.
            let started = std::process::Command::new(env!("CARGO_BIN_EXE_apicred"))
                .args(["run", "--allow-cidr", cidr])
                .output()
                .unwrap();
            let output = String::from_utf8_lossy(&started.stderr);
            assert!(!started.status.success());
            assert!(
                output.contains(cidr) && output.contains("--allow-wide-cidrs"),
                "{output}"
            );
        }
        let meant = json!({ "allowedCidrs": ["0.0.0.0/0"], "allowWideCidrs": true });
        place.put_issuer(issuer(meant)).await;
        // Valid; whether such a server exists is not checked.
        eventually(SOON, "a wide network that is meant", async || {
            let found = place.issuers().get(&place.issuer_name).await;
            let found = found.map_err(|e| e.to_string())?;
            let status = found.status.unwrap_or_default();
            let checked = status.observed_generation == found.metadata.generation;
            let refused = status.conditions.iter().any(|c| c.reason == "InvalidSpec");
            if checked && !refused {
                Ok(())
            } else {
                Err(format!("{status:?}"))
            }
        })
        .await;
    });
}
