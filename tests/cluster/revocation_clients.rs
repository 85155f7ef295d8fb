//! Which client revokes a token, and whose tokens stay.

use serde_json::json;
use testenv::eventually;

use super::revocation::{
    FINALIZER, delete_issuer, finalizers, gone, issuer, no_warning, place, revoke, revoked,
    spec_of, warned,
};
use crate::{
    clients::by_client,
    support::{Listener, SOON, World, condition, reply, run},
};

/// Two client secrets, as in a rotation: only the second one is registered at the issuer.
#[test]
fn the_client_secret_in_use_revokes_and_not_the_first_of_the_list() {
    run(async {
        const UNKNOWN: &str = "Jq8Wn3Xc6Zt1Rk9Vb4";
        let world = World::shared().await;
        let listener = Listener::replying(|request| {
            if request.contains(&format!("client_secret={UNKNOWN}")) {
                let error = json!({ "error": "invalid_client" });
                return reply("401 Unauthorized", "", error.to_string().as_bytes());
            }
            let token = json!({ "access_token": "t0ken-of-two", "token_type": "Bearer", "expires_in": 3600 });
            reply("200 OK", "", token.to_string().as_bytes())
        });
        let place = world.place("end-two").await;
        let mut spec = spec_of(&place, &listener);
        spec["oauth2"]["clientAuthentication"] = json!({ "post": {} });
        place.put_issuer(spec).await;
        place.put_secret("unknown", "k", UNKNOWN).await;
        let mut spec = revoke("token");
        spec["client"] = json!({ "secrets": [
            { "name": "unknown", "key": "k" }, { "name": "source", "key": "client-secret" }] });
        place.create("c", spec).await;
        place.ready("c").await;
        place.delete("c").await;
        gone(&place, "c", SOON).await;
        assert!(revoked(&listener, "t0ken-of-two"));
        let requests = listener.requests();
        let ends = requests.iter().filter(|r| r.starts_with("POST /revoke "));
        assert_eq!(ends.count(), 1, "by the one in use alone");
        no_warning(&place, "c").await;
    });
}

/// An issuer may return one token for equal requests. The token is revoked with the last credential that has it.
#[test]
fn a_token_that_another_credential_has_is_not_revoked() {
    run(async {
        let world = World::shared().await;
        let listener = Listener::replying(|_| {
            let token = json!({ "access_token": "t0ken-for-all", "token_type": "Bearer", "expires_in": 3600 });
            reply("200 OK", "", token.to_string().as_bytes())
        });
        let place = place(world, "end-shared", &listener).await;
        place
            .create("stays", json!({ "target": { "secretName": "stays" } }))
            .await;
        place.create("goes", revoke("goes")).await;
        place.ready("stays").await;
        place.ready("goes").await;
        place.delete("goes").await;
        gone(&place, "goes", SOON).await;
        let note = warned(&place, "goes").await;
        assert!(
            note.contains("another credential has the same token"),
            "{note}"
        );
        assert!(!revoked(&listener, "t0ken-for-all"));
        // The deletion of the last credential with the token revokes it.
        place
            .edit("stays", json!({ "spec": { "deletionPolicy": "Revoke" } }))
            .await;
        eventually(SOON, "the finalizer", async || {
            let there = finalizers(&place, "stays").await;
            (there == [FINALIZER]).then_some(()).ok_or("none")
        })
        .await;
        place.delete("stays").await;
        gone(&place, "stays", SOON).await;
        assert!(revoked(&listener, "t0ken-for-all"));
    });
}

#[test]
fn a_client_that_is_deleted_with_its_credentials_still_revokes_their_tokens() {
    run(async {
        let world = World::shared().await;
        let listener = issuer(|_| "200 OK");
        let place = place(world, "revoke-client", &listener).await;
        place.put_client("shared", json!({})).await;
        let mut spec = by_client("a");
        spec["deletionPolicy"] = json!("Revoke");
        place.create("a", spec).await;
        let token = place.ready("a").await.token;
        // As `kubectl delete -f` of a folder does it.
        place.delete_client("shared").await;
        let gone_client = |c: &apicred::api::ApiCredential| {
            let failing = condition(c, "RenewalFailing")?;
            (failing.reason == "ClientNotFound").then_some(())
        };
        place.until("a", "its client is gone", gone_client).await;
        assert!(!revoked(&listener, &token), "it is still in use");
        place.delete("a").await;
        gone(&place, "a", SOON).await;
        assert!(revoked(&listener, &token));
        no_warning(&place, "a").await;
    });
}

#[test]
fn an_issuer_that_is_deleted_with_its_credentials_still_revokes_their_tokens() {
    run(async {
        let world = World::shared().await;
        let listener = issuer(|_| "200 OK");
        let place = place(world, "revoke-issuer", &listener).await;
        for name in ["a", "b"] {
            place.create(name, revoke(name)).await;
        }
        let token = place.ready("a").await.token;
        let other = place.ready("b").await.token;
        place
            .edit("b", json!({ "spec": { "suspend": true } }))
            .await;
        // As `kubectl delete -f` does it with a manifest that contains the issuer first.
        delete_issuer(&place).await;
        let gone_issuer = |c: &apicred::api::ApiCredential| {
            let failing = condition(c, "RenewalFailing")?;
            (failing.reason == "IssuerNotFound").then_some(())
        };
        place.until("a", "its issuer is gone", gone_issuer).await;
        place.delete("a").await;
        gone(&place, "a", SOON).await;
        assert!(revoked(&listener, &token));
        no_warning(&place, "a").await;
        // Another issuer has the name now: it gets no token that it did not issue, and the old one does not count any more.
        let elsewhere = issuer(|_| "200 OK");
        place.put_issuer(spec_of(&place, &elsewhere)).await;
        place.operator_has_seen_it().await;
        place.delete("b").await;
        gone(&place, "b", SOON).await;
        let note = warned(&place, "b").await;
        assert!(note.contains("is not sent to"), "{note}");
        assert!(!revoked(&listener, &other));
        let requests = elsewhere.requests();
        assert!(requests.iter().all(|r| !r.contains(&other)));
    });
}
