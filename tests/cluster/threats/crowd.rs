//! Very many broken objects of one tenant (T7), and one that is refused and triggered repeatedly (T8).

use std::time::Duration;

use futures::{StreamExt, stream};
use serde_json::json;

use super::attacker::{Attacker, ISSUERS_AND_CREDENTIALS};
use crate::support::{Listener, World, merge, run, unique};

/// Enough to fill every queue many times: the operator works on 32 at once.
const CROWD: usize = 800;

#[test]
fn hundreds_of_invalid_objects_of_a_tenant_delay_no_other_tenant() {
    run(async {
        let mut world = World::own().await;
        world.start_operator().await;
        let place = world.place("t7").await;
        let good = world.place("t7-good").await;
        good.add_client(good.oauth_client().lifetime(Duration::from_secs(40)));
        good.create("first", json!({})).await;
        let mut view = good.ready("first").await;
        let attacker = Attacker::of(&world, &place, ISSUERS_AND_CREDENTIALS).await;
        // No program answers there: each attempt lasts as long as the operator allows.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}/token", silent.local_addr().unwrap());
        let origin = url.trim_end_matches("/token").to_owned();
        let note =
            json!({ "metadata": { "annotations": { "apicred.dev/allowed-issuers": origin } } });
        place.edit_secret("source", note).await;
        // The highest limits that the API server accepts.
        let limits = json!({ "requestsPerSecond": 1_000, "maxInFlight": 1_000 });
        for name in ["silent-1", "silent-2"] {
            let spec = json!({ "oauth2": { "tokenUrl": url }, "limits": limits });
            attacker.issuer(name, spec).await.unwrap();
        }
        let ways = [
            json!({ "issuerRef": { "kind": "TokenIssuer", "name": "silent-1" } }),
            json!({ "issuerRef": { "kind": "TokenIssuer", "name": "nobody" } }),
            json!({ "client": { "id": "nobody" } }),
            json!({ "client": { "secrets": [{ "name": "nobody", "key": "k" }] } }),
            json!({ "scopes": ["not-default"] }),
            json!({ "client": { "secrets": null, "serviceAccount": { "name": "nobody" } } }),
            json!({ "client": { "secrets": [{ "name": "source-2", "key": "k" }] } }),
            json!({ "issuerRef": { "kind": "TokenIssuer", "name": "silent-2" }, "minLifetime": "24h" }),
        ];
        place
            .put_secret("source-2", "k", &format!("~{}", unique()))
            .await;
        let made = stream::iter(0..CROWD)
            .map(|number| {
                let name = format!("broken-{number}");
                let target = json!({ "target": { "secretName": name } });
                let spec = merge(place.spec(ways[number % ways.len()].clone()), target);
                let attacker = &attacker;
                async move { attacker.credential(&name, spec).await }
            })
            .buffer_unordered(24)
            .collect::<Vec<_>>()
            .await;
        assert!(made.iter().all(Result::is_ok), "the crowd is there");
        // At the same time another user requests a token, and an existing one is renewed in time. In one queue behind the
        // silent requests it would wait for longer than `ready` does: 200 of them last 15 s each, 32 at once.
        good.create("second", json!({ "target": { "secretName": "second" } }))
            .await;
        good.ready("second").await;
        for _ in 0..2 {
            let expires = view.expires_at;
            view = good.another_token("token", &view).await;
            let issued: jiff::Timestamp =
                view.annotations["apicred.dev/issued-at"].parse().unwrap();
            assert!(issued < expires, "the token before it had expired");
        }
        assert_eq!(world.operator().get("/livez").await.map(|a| a.0), Some(200));
        world.operator_runs();
        // Each of them gets its report, and is then not reconciled again: a permanent refusal causes no more writes.
        for number in [1, 3, 4] {
            let reasons = ["IssuerNotFound", "ClientSecretMissing", "InvalidSpec"];
            for name in [number, CROWD - ways.len() + number] {
                attacker.refused(&format!("broken-{name}"), &reasons).await;
            }
        }
        let refused = place.issuer.token_requests_of("nobody").len();
        assert!(
            refused <= 2 * CROWD / ways.len(),
            "the issuer was asked {refused} times"
        );
    });
}

#[test]
fn a_refused_credential_is_not_sent_again_however_it_is_poked() {
    run(async {
        let world = World::shared().await;
        let place = world.place("t8").await;
        place.put_source(&format!("wrong~{}", unique())).await;
        let attacker = Attacker::of(world, &place, ISSUERS_AND_CREDENTIALS).await;
        attacker
            .credential("c", place.spec(json!({})))
            .await
            .unwrap();
        attacker.refused("c", &["ClientSecretRefused"]).await;
        let settled = place.posts();
        for number in 0..20 {
            let text = number.to_string();
            attacker
                .edit("c", json!({
                    "metadata": { "labels": { "example.com/poke": text }, "annotations": { "example.com/poke": text } },
                    "spec": { "target": { "labels": { "example.com/poke": text } }, "expect": { "roles": [text] } },
                }))
                .await;
        }
        place.operator_has_seen_it().await;
        // A new secret may be tried once more automatically, because it may take a while to become active at the issuer.
        let posts = place.posts();
        assert!(
            posts <= settled + 1,
            "20 pokes made {} requests",
            posts - settled
        );
        // An issuer of this user does not circumvent it either: the user may not send the secret.
        let listener = Listener::start();
        let own =
            json!({ "oauth2": { "tokenUrl": listener.token_url }, "caBundle": listener.ca_pem });
        attacker.issuer("own", own).await.unwrap();
        let spec = place.spec(json!({ "issuerRef": { "kind": "TokenIssuer", "name": "own" }, "target": { "secretName": "t2" } }));
        attacker.credential("d", spec).await.unwrap();
        attacker.refused("d", &["NotAuthorizedBySecret"]).await;
        assert!(listener.requests().is_empty());
    });
}
