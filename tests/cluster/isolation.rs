//! One bad object harms no other (O11).

use std::time::Duration;

use apicred::api::TokenIssuer;
use kube::{Api, api::PostParams};
use serde_json::{Value, json};
use testenv::eventually;

use crate::support::{LATER, Place, Recorder, SOON, World, condition, merge, run, typed};

#[test]
fn bad_objects_of_every_kind_do_not_delay_a_good_one() {
    run(async {
        let world = World::shared().await;
        let place = world.place("isolation").await;
        place.add_client(place.oauth_client().lifetime(Duration::from_secs(24)));
        let recorder = Recorder::of(&place, "token");

        let broken = typed(json!({
            "metadata": { "name": format!("{}-broken", place.issuer_name) },
            "spec": {
                "entra": { "tenantId": "t.example" },
                "network": { "allowedCidrs": ["0.0.0.0/0"] },
                "allowedNamespaces": { "names": [place.namespace] },
            },
        }));
        place
            .issuers()
            .create(&PostParams::default(), &broken)
            .await
            .unwrap();
        let target = |name: &str| json!({ "secretName": name });
        let cluster = |name: &str| json!({ "kind": "ClusterTokenIssuer", "name": name });
        for (name, reason, changes) in [
            (
                "no-issuer",
                "IssuerNotFound",
                json!({ "issuerRef": cluster("nobody") }),
            ),
            (
                "broken",
                "IssuerNotReady",
                json!({ "issuerRef": cluster(&format!("{}-broken", place.issuer_name)) }),
            ),
            (
                "no-scope",
                "InvalidSpec",
                json!({ "scopes": ["not-default"] }),
            ),
            (
                "two-scopes",
                "InvalidSpec",
                json!({ "scopes": ["a/.default", "b/.default"] }),
            ),
            (
                "blank",
                "InvalidSpec",
                json!({ "client": { "id": "\u{a0}x" } }),
            ),
            (
                "unknown-client",
                "ClientUnknown",
                json!({ "client": { "id": "00000000-0000-0000-0000-000000000000" } }),
            ),
            (
                "no-api",
                "ResourceUnknown",
                json!({ "scopes": ["api://nothing/.default"] }),
            ),
        ] {
            place
                .create(name, merge(changes, json!({ "target": target(name) })))
                .await;
            let message = place.not_ready(name, reason).await;
            assert!(
                message.len() > 20 && message.len() < 1000,
                "{name}: {message}"
            );
            // The next apply may create the issuer.
            let awaited = ["IssuerNotFound", "IssuerNotReady"].contains(&reason);
            let kind = if awaited { "Reconciling" } else { "Stalled" };
            let reported = place.until(name, kind, |c| condition(c, kind)).await;
            assert_eq!(
                (reported.status.as_str(), reported.reason.as_str()),
                ("True", reason)
            );
        }
        place.create("good", json!({})).await;
        let mut view = place.ready("good").await;
        for _ in 0..2 {
            let expires = view.expires_at;
            view = place.another_token("token", &view).await;
            let issued: jiff::Timestamp =
                view.annotations["apicred.dev/issued-at"].parse().unwrap();
            assert!(issued < expires, "the token before it had expired");
        }
        recorder.finish(&place);
    });
}

#[test]
fn a_slow_issuer_delays_no_other_issuer() {
    run(async {
        let world = World::shared().await;
        let slow = world.place_with_own_issuer("slow").await;
        let hold = slow.issuer.hold("*", dev_issuer::Point::Received);
        // More than the workers of the operator.
        for number in 0..40 {
            let parameters = json!([{ "name": "number", "value": number.to_string() }]);
            let target = json!({ "secretName": format!("t-{number}") });
            slow.create(
                &format!("c-{number}"),
                json!({ "parameters": parameters, "target": target }),
            )
            .await;
        }
        hold.reached().await;
        let place = world.place("beside-slow").await;
        // None of the requests before it is answered.
        place.create("c", json!({})).await;
        place.ready("c").await;
        assert!(
            (2..=16).contains(&slow.posts()),
            "{} in flight in place of 16 at most",
            slow.posts()
        );
        hold.release();
        eventually(SOON, "all tokens of the slow issuer", async || {
            let list = slow
                .secrets()
                .list(&kube::api::ListParams::default())
                .await
                .map_err(|e| e.to_string())?;
            if list.items.len() == 41 {
                Ok(())
            } else {
                Err(format!("{} Secrets", list.items.len()))
            }
        })
        .await;
        assert_eq!(slow.posts(), 40, "one each");
    });
}

#[test]
fn equal_requests_in_flight_are_sent_once() {
    run(async {
        let world = World::shared().await;
        let place = world.place("equal").await;
        let hold = place
            .issuer
            .hold(&place.client, dev_issuer::Point::Received);
        let mark = world.mark();
        for number in 0..3 {
            place
                .create(
                    &format!("c-{number}"),
                    json!({ "target": { "secretName": format!("t-{number}") } }),
                )
                .await;
        }
        hold.reached().await;
        // Once all three have read the secret, each has sent a request or joined one in flight.
        eventually(SOON, "three reads of the secret", async || {
            world.since(mark, &place).count("get", "secrets") == 3
        })
        .await;
        world.stays_quiet(&place, Duration::from_millis(500)).await;
        hold.release();
        let first = place.ready("c-0").await;
        for number in 1..3 {
            assert_eq!(place.ready(&format!("c-{number}")).await.token, first.token);
        }
        assert_eq!(place.posts(), 1);
    });
}

/// The client that a token names.
fn client_of(claims: &serde_json::Value) -> &str {
    ["azp", "appid", "client_id"]
        .iter()
        .find_map(|name| claims[name].as_str())
        .unwrap_or_default()
}

#[test]
fn four_hundred_credentials_of_two_namespaces_renew_at_once_and_each_gets_its_own_token() {
    const EACH: usize = 200;
    // A namespace may request 200 renewals at once.
    const ROUNDS: usize = 1;
    run(async {
        let mut world = World::own().await;
        let issuer = std::sync::Arc::clone(&world.issuer);
        world.start_operator().await;
        let tenants = [world.place("one").await, world.place("two").await];
        let client = |place: &crate::support::Place, n: usize| format!("{}-{n}", place.client);
        for place in &tenants {
            // No limit restricts the number of requests of the operator at once.
            let mut open = place.entra_issuer();
            open["limits"] = json!({ "requestsPerSecond": 1000, "maxInFlight": 200 });
            place.put_issuer(open).await;
            for n in 0..EACH {
                let known = dev_issuer::Client::new(client(place, n))
                    .secret(&place.secret)
                    .role("demo", "Records.Read");
                place.add_client(known);
            }
            let make = (0..EACH).map(|n| {
                let id = json!({ "client": { "id": client(place, n) } });
                let target = json!({ "target": { "secretName": format!("t-{n}") } });
                async move { place.create(&format!("c-{n}"), merge(id, target)).await }
            });
            futures::future::join_all(make).await;
        }
        let mut seen: std::collections::HashMap<String, String> = std::collections::HashMap::new();
        for round in 0..=ROUNDS {
            eventually(LATER, "a token for each", async || {
                for place in &tenants {
                    let list = place
                        .secrets()
                        .list(&kube::api::ListParams::default())
                        .await;
                    let list = list.map_err(|e| e.to_string())?;
                    let fresh = list.items.iter().filter(|s| {
                        let name = s.metadata.name.clone().unwrap_or_default();
                        let key = format!("{}/{name}", place.namespace);
                        name.starts_with("t-")
                            && crate::support::SecretView::of(s)
                                .is_ok_and(|v| seen.get(&key) != Some(&v.token))
                    });
                    let fresh = fresh.count();
                    if fresh < EACH {
                        return Err(format!("round {round}: {fresh} of {EACH} are new"));
                    }
                }
                Ok(())
            })
            .await;
            for place in &tenants {
                for n in 0..EACH {
                    let view = place.view(&format!("t-{n}")).await.unwrap();
                    assert_eq!(
                        client_of(&view.claims),
                        client(place, n),
                        "round {round}: the token of another in {}/t-{n}",
                        place.namespace
                    );
                    let key = format!("{}/t-{n}", place.namespace);
                    assert_ne!(seen.insert(key, view.token.clone()), Some(view.token));
                }
            }
            if round == ROUNDS {
                break;
            }
            // All at once: one command sets an annotation on everything.
            let renewal_id = format!("apicred.dev/renew-requested-at=round-{round}");
            for place in &tenants {
                let args = [
                    "annotate",
                    "apicredentials",
                    "--all",
                    "--overwrite",
                    "-n",
                    &place.namespace,
                    &renewal_id,
                ];
                world.cluster.kubectl(&args).await.expect("an annotation");
            }
        }
        let requests = issuer.requests().len();
        assert_eq!(requests, 2 * EACH * (ROUNDS + 1), "one request a token");
    });
}

#[test]
fn issuers_that_never_answer_delay_the_judgement_of_their_neighbours_alone() {
    run(async {
        let world = World::shared().await;
        let (slow, place) = (
            world.place("silent-issuers").await,
            world.place("beside-silent").await,
        );
        // Accepts connections and sends nothing.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = silent.local_addr().expect("an address");
        let issuers = |of: &Place| Api::<TokenIssuer>::namespaced(of.kube.clone(), &of.namespace);
        let issuer = |name: String, spec: Value| -> TokenIssuer {
            typed(json!({ "metadata": { "name": name }, "spec": spec }))
        };
        // Each takes at least 5 s, so that all of them in sequence take longer than the test waits below.
        for number in 0..64 {
            let spec = json!({ "oidc": { "issuerUrl": format!("https://{address}/{number}") } });
            issuers(&slow)
                .create(
                    &PostParams::default(),
                    &issuer(format!("silent-{number}"), spec),
                )
                .await
                .expect("an issuer");
        }
        let spec = json!({ "oauth2": { "tokenUrl": "https://127.0.0.1:9/token" } });
        issuers(&place)
            .create(&PostParams::default(), &issuer("good".to_owned(), spec))
            .await
            .expect("an issuer");
        eventually(SOON, "the judgement of an issuer", async || {
            let good = issuers(&place).get("good").await.expect("the issuer");
            good.status.is_some()
        })
        .await;
    });
}
