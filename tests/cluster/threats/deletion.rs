//! Deletions while work is in progress (T16).

use std::{net::TcpListener, time::Duration};

use dev_issuer::Point;
use serde_json::json;
use testenv::eventually;

use super::attacker::{Attacker, CREDENTIALS};
use crate::support::{LATER, SOON, World, run};

#[test]
fn a_deletion_waits_for_no_issuer_longer_than_its_deadline() {
    run(async {
        let world = World::shared().await;
        let place = world.place("t16-revoke").await;
        // Accepts connections and sends nothing.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let origin = format!("https://{}", silent.local_addr().unwrap());
        place
            .put_issuer(json!({
                "oauth2": { "tokenUrl": format!("{origin}/token"), "revocationUrl": format!("{origin}/revoke") },
                "network": { "allowedCidrs": ["127.0.0.0/8"] },
                "allowedNamespaces": { "names": [place.namespace] },
            }))
            .await;
        let attacker = Attacker::of(world, &place, CREDENTIALS).await;
        for name in ["one", "two", "three"] {
            let spec =
                place.spec(json!({ "deletionPolicy": "Revoke", "target": { "secretName": name } }));
            attacker.credential(name, spec).await.unwrap();
        }
        place.operator_has_seen_it().await;
        for name in ["one", "two", "three"] {
            // No token arrived, so there is no reason to wait.
            attacker.delete(name).await;
            eventually(SOON, "it is gone", async || {
                attacker
                    .credentials()
                    .get_opt(name)
                    .await
                    .is_ok_and(|o| o.is_none())
            })
            .await;
        }
        // No other credential waits because of it.
        let other = world.place("t16-other").await;
        other.create("c", json!({})).await;
        other.ready("c").await;
    });
}

#[test]
fn a_credential_that_comes_and_goes_leaves_one_secret_of_the_last_or_none() {
    run(async {
        let world = World::shared().await;
        let place = world.place("t16").await;
        let attacker = Attacker::of(world, &place, CREDENTIALS).await;
        for round in 0..4 {
            let hold = place.issuer.hold(&place.client, Point::BeforeAnswer);
            attacker
                .credential("c", place.spec(json!({})))
                .await
                .unwrap();
            hold.reached().await;
            attacker.delete("c").await;
            if round % 2 == 0 {
                attacker
                    .credential("c", place.spec(json!({})))
                    .await
                    .unwrap();
            }
            hold.release();
            if round % 2 == 0 {
                let uid = attacker.credentials().get("c").await.unwrap().metadata.uid;
                let view = place.ready("c").await;
                assert_eq!(
                    view.annotations.get("apicred.dev/credential-uid"),
                    uid.as_ref()
                );
                attacker.delete("c").await;
            }
            place.operator_has_seen_it().await;
            eventually(LATER, "no Secret without its credential", async || {
                place
                    .secrets()
                    .get_opt("token")
                    .await
                    .is_ok_and(|s| s.is_none())
            })
            .await;
        }
        world.stays_quiet(&place, Duration::from_secs(2)).await;
        assert!(
            place.secrets().get_opt("token").await.unwrap().is_none(),
            "a token outlived its credential"
        );
        attacker.learns_nothing(&place).await;
    });
}
