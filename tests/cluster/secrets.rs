//! The client secret: wrong, missing, changed, and two of them next to each other.

use std::time::Duration;

use dev_issuer::Secret;
use serde_json::json;
use testenv::eventually;

use crate::{
    service_accounts::generic,
    support::{LATER, Recorder, SOON, World, condition, is_well, run, unique},
};

#[test]
fn a_wrong_secret_is_reported_with_its_codes_and_corrected_in_seconds() {
    run(async {
        let world = World::shared().await;
        let place = world.place("wrong-secret").await;
        let wrong = format!("wrong~{}", unique());
        place.put_source(&wrong).await;
        place.create("c", json!({})).await;
        let message = place.not_ready("c", "ClientSecretRefused").await;
        let requests = place.issuer.token_requests_of(&place.client);
        assert_eq!(requests[0].aadsts, Some(7_000_215));
        let id = requests[0].correlation_id.clone().expect("an id");
        assert!(message.contains("AADSTS7000215"), "{message}");
        assert!(message.contains(&id), "no correlation id in: {message}");
        assert!(
            message.contains("store the secret's value"),
            "no next step in: {message}"
        );
        assert!(
            message.contains("source") && message.contains("client-secret"),
            "which key? {message}"
        );
        let attempt = place
            .until("c", "an attempt", |c| {
                c.status.as_ref()?.last_attempt.clone()
            })
            .await;
        assert_eq!(
            (attempt.code.as_deref(), attempt.http_status),
            (Some("AADSTS7000215"), Some(401))
        );
        assert_eq!(attempt.correlation_id, requests[0].correlation_id);
        assert_eq!(attempt.error.as_deref(), Some("invalid_client"));
        let events = eventually(SOON, "an event", async || {
            let events = place.events("c").await;
            (!events.is_empty()).then_some(events)
        })
        .await;
        assert_eq!(
            (events[0].0.as_str(), events[0].1.as_str()),
            ("Warning", "ClientSecretRefused")
        );
        assert!(
            place.secrets().get_opt("token").await.unwrap().is_none(),
            "no token, no Secret"
        );
        // A new secret can take minutes to become active, so it is tried again, but not too often.
        place.operator_has_seen_it().await;
        assert!(
            place.posts() <= 2,
            "{} tries in some seconds",
            place.posts()
        );

        let before = place.posts();
        place.put_source(&place.secret).await;
        let view = place.ready("c").await;
        assert_eq!(place.posts(), before + 1);
        assert_eq!(place.call("demo", "whoami", &view.token).await, 200);
        place
            .until("c", "no trace of the trouble", |c| {
                let status = c.status.as_ref()?;
                let calm = is_well(c)
                    && status.consecutive_failures.is_none()
                    && status.next_attempt.is_none();
                calm.then_some(())
            })
            .await;
    });
}

#[test]
fn of_two_secrets_the_one_that_works_is_used_and_remembered() {
    run(async {
        let world = World::shared().await;
        let place = world.place("two-secrets").await;
        place
            .put_secret("next", "value", &format!("not-yet~{}", unique()))
            .await;
        let refs = json!([{ "name": "next", "key": "value" }, { "name": "source", "key": "client-secret" }]);
        place
            .create(
                "c",
                json!({ "client": { "id": place.client, "secrets": refs } }),
            )
            .await;
        let first = place.ready("c").await;
        assert_eq!(place.posts(), 2, "the first was refused, the second used");
        let used = place
            .credentials()
            .get("c")
            .await
            .unwrap()
            .status
            .unwrap()
            .client_in_use();
        assert_eq!(used.as_deref(), Some("source/client-secret"));

        // A renewal that a user requests tries all of them.
        place.request_renewal("c").await;
        let second = place.another_token("token", &first).await;
        assert_eq!(place.posts(), 4, "both were tried");

        // When the first one changes, it is tried at once.
        let next = format!("next~{}", unique());
        let both = vec![Secret::new(&place.secret), Secret::new(&next)];
        place.issuer.set_secrets(&place.client, both).unwrap();
        place.put_secret("next", "value", &next).await;
        place.another_token("token", &second).await;
        assert_eq!(place.posts(), 5);
        place
            .until("c", "the first secret in use", |c| {
                (c.status.as_ref()?.client_in_use()? == "next/value").then_some(())
            })
            .await;
    });
}

#[test]
fn a_missing_key_is_reported_and_nothing_is_sent() {
    run(async {
        let world = World::shared().await;
        let place = world.place("no-key").await;
        let refs = json!([{ "name": "source", "key": "password" }]);
        place
            .create(
                "c",
                json!({ "client": { "id": place.client, "secrets": refs } }),
            )
            .await;
        let message = place.not_ready("c", "ClientSecretKeyMissing").await;
        // A user who may name a Secret may not have the right to read it: its other keys are not named.
        assert!(
            message.contains("password") && !message.contains("client-secret"),
            "{message}"
        );
        assert_eq!(place.posts(), 0);
        place
            .edit_secret(
                "source",
                json!({ "stringData": { "password": place.secret } }),
            )
            .await;
        place.ready("c").await;
        assert_eq!(place.posts(), 1);
    });
}

#[test]
fn a_secret_that_comes_later_is_used_at_once() {
    run(async {
        let world = World::shared().await;
        let place = world.place("later").await;
        let refs = json!([{ "name": "to-come", "key": "k" }]);
        place
            .create(
                "c",
                json!({ "client": { "id": place.client, "secrets": refs } }),
            )
            .await;
        let message = place.not_ready("c", "ClientSecretMissing").await;
        assert!(
            message.contains("to-come") && message.contains("create it"),
            "{message}"
        );
        assert_eq!(place.posts(), 0);
        place.put_secret("to-come", "k", &place.secret).await;
        place.ready("c").await;
        assert_eq!(place.posts(), 1);
    });
}

#[test]
fn a_label_on_the_source_costs_nothing_and_a_new_value_costs_one_token() {
    run(async {
        let world = World::shared().await;
        let place = world.place("source-edit").await;
        let recorder = Recorder::of(&place, "token");
        place.create("c", json!({})).await;
        let first = place.ready("c").await;

        let mark = world.mark();
        place
            .edit_secret(
                "source",
                json!({ "metadata": { "labels": { "team": "blue" } } }),
            )
            .await;
        // The change of the source is seen, read once, and has no effect.
        eventually(SOON, "a reconciliation with the moved source", async || {
            world.since(mark, &place).count("get", "secrets") > 0
        })
        .await;
        world.stays_quiet(&place, Duration::from_secs(2)).await;
        assert_eq!(place.posts(), 1, "a label is no reason for a token");
        assert_eq!(world.since(mark, &place).count("get", "secrets"), 1);
        assert_eq!(world.since(mark, &place).writes(), Vec::<String>::new());

        let fresh = format!("fresh~{}", unique());
        let both = vec![Secret::new(&place.secret), Secret::new(&fresh)];
        place.issuer.set_secrets(&place.client, both).unwrap();
        let mark = world.mark();
        place.put_source(&fresh).await;
        let second = place.another_token("token", &first).await;
        assert_eq!(place.posts(), 2);
        assert_eq!(
            place.issuer.token_requests_of(&place.client)[1].secret_index,
            Some(1),
            "the new value was sent"
        );
        assert_eq!(
            world.since(mark, &place).count("get", "secrets"),
            1,
            "read once, and used"
        );
        assert_ne!(first.fingerprint(), second.fingerprint());
        assert_eq!(recorder.finish(&place).len(), 2);
    });
}

#[test]
fn a_source_that_is_deleted_takes_no_token_away() {
    run(async {
        let world = World::shared().await;
        let place = world.place("source-gone").await;
        place.create("c", json!({})).await;
        let view = place.ready("c").await;
        place
            .secrets()
            .delete("source", &kube::api::DeleteParams::default())
            .await
            .unwrap();
        place
            .until("c", "the renewal that will fail", |c| {
                condition(c, "RenewalFailing").filter(|r| r.reason == "ClientSecretMissing")
            })
            .await;
        world.stays_quiet(&place, Duration::from_secs(2)).await;
        assert_eq!(place.ready("c").await.token, view.token);
        assert_eq!(place.posts(), 1);
    });
}

#[test]
fn a_token_that_another_credential_draws_on_brings_its_reader_along_each_time() {
    run(async {
        let world = World::shared().await;
        let place = generic(world, "chain").await;
        place.add_client(place.oauth_client());
        let request = json!({ "scopes": ["read"], "audience": "api://demo" });
        let mut first = request.clone();
        first["target"] = json!({ "secretName": "first" });
        place.create("first", first).await;
        let mut before = place.ready("first").await;
        // A token of apicred can be used by another credential only if its owner allows the issuer.
        let allowed = json!({ "apicred.dev/allowed-issuers": place.issuer.origin() });
        place
            .edit_secret("first", json!({ "metadata": { "annotations": allowed } }))
            .await;
        let mut second = request;
        second["target"] = json!({ "secretName": "second" });
        second["grant"] = json!({ "tokenExchange": {
            "subject": { "secretRef": { "name": "first", "key": "token" } },
        } });
        place.create("second", second).await;
        let mut derived = place.ready("second").await;
        // Several times: the watch is sometimes faster and sometimes slower than the answer to a write.
        for round in 0..4 {
            place.request_renewal("first").await;
            let both = eventually(LATER, format!("both renewed, round {round}"), async || {
                let (one, two) = (place.view("first").await?, place.view("second").await?);
                if one.token == before.token || two.token == derived.token {
                    return Err("one of them is the old one".to_owned());
                }
                Ok((one, two))
            })
            .await;
            (before, derived) = both;
        }
    });
}
