//! A defect of the operator itself: the work on one credential panics (F03).

use std::time::Duration;

use serde_json::json;
use testenv::eventually;

use crate::{
    calls::Fault,
    scenario::{Case, in_both_modes, world},
    support::{LATER, run},
};

#[test]
fn work_that_panics_delays_one_credential_and_no_other() {
    run(in_both_modes(async |mode| {
        let mut case = Case::within(world().await, "f03-panic", mode).await;
        let mut panicked = false;
        case.wire.rule(move |call| {
            let hit = !panicked && call.text() == "patch secrets token";
            panicked |= hit;
            hit.then_some(Fault::Panic)
        });
        case.start();
        case.place.create("c", json!({})).await;
        let first = case.until_ready(None).await;
        let renewal_id = case.place.request_renewal("c").await;
        eventually(LATER, "a panic that is reported", async || {
            let log = case.log.text();
            let mut lines = log.lines().filter(|line| line.contains("\"ERROR\""));
            lines.any(|line| line.contains(&case.place.namespace))
        })
        .await;
        let other = json!({ "target": { "secretName": "other" } });
        case.place.create("other", other).await;
        case.place.ready("other").await;
        let view = case.place.view("token").await.expect("the Secret");
        assert_eq!(view.token, first.token, "O1");

        // It would be reconciled after a minute without this.
        case.nudge().await;
        case.until_ready(Some((&first, Some(&renewal_id)))).await;
        // The token of the work that panicked may be lost with it.
        let posts = case.place.posts();
        assert!((3..=4).contains(&posts), "O3: {posts} requests");
        case.stays_quiet(Duration::from_millis(500)).await;
        case.stop().await;
    }));
}
