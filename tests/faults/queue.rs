//! Status during waits: in the queue of an issuer while the token expires, and for a Secret that is not created.

use std::{sync::Arc, time::Duration};

use jiff::SignedDuration;
use serde_json::json;
use testenv::eventually;

use crate::{
    scenario::{Case, in_both_modes, world},
    support::{SOON, condition, run},
};

#[test]
fn a_token_that_expires_while_its_credential_is_queued_is_reported_once_that_lasts() {
    run(in_both_modes(async |mode| {
        let mut case = Case::within(world().await, "line", mode).await;
        let place = Arc::clone(&case.place);
        let mut issuer = place.entra_issuer();
        issuer["limits"] = json!({ "maxInFlight": 1 });
        place.put_issuer(issuer).await;
        let scenario = |seconds| {
            let set = place
                .issuer
                .set_lifetime(&place.client, Duration::from_secs(seconds));
            set.expect("the client is known");
        };
        scenario(60);
        case.start();
        place.create("c", json!({})).await;
        let first = case.until_ready(None).await;
        scenario(3_600);

        let hold = place.other_asks().await;

        let log = case.log.clone();
        let reconciliations = || log.text().matches("Mint(").count();
        let before = reconciliations();
        case.pass(SignedDuration::from_mins(2)).await;
        eventually(
            SOON,
            "a reconciliation that ends in the queue",
            async || reconciliations() > before,
        )
        .await;
        let c = place.credentials().get("c").await.expect("it is there");
        let ready = condition(&c, "Ready").expect("a condition");
        assert_eq!(ready.status, "True", "not reported before it lasts");

        case.pass(SignedDuration::from_secs(61)).await;
        place
            .until("c", "its place in the line", |c| {
                let renewing = condition(c, "RenewalFailing")?;
                let ready = condition(c, "Ready")?;
                (renewing.reason == "WaitingForIssuer" && ready.status == "False").then_some(())
            })
            .await;
        hold.release();
        let second = case.until_ready(Some((&first, None))).await;
        assert_ne!(first.token, second.token);
        assert_eq!(place.posts(), 2, "O3");
        for name in ["c", "other"] {
            place.delete(name).await;
        }
        case.until_gone().await;
        case.stop().await;
    }));
}

#[test]
fn a_secret_that_does_not_come_within_two_minutes_stalls_also_across_a_restart() {
    run(in_both_modes(async |mode| {
        let mut case = Case::within(world().await, "absent", mode).await;
        let place = Arc::clone(&case.place);
        case.start();
        let absent =
            json!({ "client": { "secrets": [{ "name": "absent", "key": "client-secret" }] } });
        place.create("c", absent).await;
        let shown = async |kind: &str| {
            let reported = place.until("c", kind, |c| condition(c, kind)).await;
            assert_eq!(reported.reason, "ClientSecretMissing");
            let c = place.credentials().get("c").await.expect("it is there");
            let other = if kind == "Stalled" {
                "Reconciling"
            } else {
                "Stalled"
            };
            assert!(condition(&c, other).is_none(), "{other}");
        };
        shown("Reconciling").await;
        case.pass(SignedDuration::from_secs(60)).await;
        case.stays_quiet(Duration::from_millis(300)).await;
        shown("Reconciling").await;
        // The next process uses the condition.
        case.stop().await;
        case.start();
        case.pass(SignedDuration::from_secs(61)).await;
        shown("Stalled").await;
        place
            .put_secret("absent", "client-secret", &place.secret)
            .await;
        case.until_ready(None).await;
        place.delete("c").await;
        case.until_gone().await;
        case.stop().await;
    }));
}
