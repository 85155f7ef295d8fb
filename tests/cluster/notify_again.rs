//! Notifications that failed are tried again, and the report ends when the cause ends. Rights on pods are not watched.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use testenv::eventually;

use crate::{
    notify::{create, noted, notifying, run_reported},
    support::{LATER, Place, World, condition, run},
};

/// Waits until the reason of `LifetimeAtRisk` is this one.
async fn at_risk(place: &Place, reason: Option<&str>) -> String {
    eventually(LATER, format!("LifetimeAtRisk: {reason:?}"), async || {
        let seen = place
            .credentials()
            .get("c")
            .await
            .map_err(|e| e.to_string())?;
        let seen = condition(&seen, "LifetimeAtRisk");
        if seen.as_ref().map(|c| c.reason.as_str()) == reason {
            return Ok(seen.map(|c| c.message).unwrap_or_default());
        }
        Err(format!("{seen:?}"))
    })
    .await
}

fn select(app: &Value) -> Value {
    json!({ "spec": { "target": { "notifyPods": { "selector": { "matchLabels": app } } } } })
}

#[test]
fn a_right_that_is_given_later_counts_without_another_token() {
    run(async {
        let world = World::shared().await;
        let place = world.place("later").await;
        create(&place, "a-1", "a").await;
        create(&place, "b-1", "b").await;
        place.create("c", notifying("a")).await;
        let view = place.ready("c").await;
        let issued: Timestamp = view.annotations["apicred.dev/issued-at"].parse().unwrap();
        let message = at_risk(&place, Some("PodsNotNotified")).await;
        let (posts, mark) = (place.posts(), world.mark());
        // The next attempt uses the spec of that time.
        place.edit("c", select(&json!({ "app": "b" }))).await;
        run_reported(world, &message).await;
        at_risk(&place, None).await;
        let pods = noted(&place).await;
        assert!(pods["b-1"] >= Some(issued), "{pods:?}");
        assert_eq!(pods["a-1"], None, "it is not selected any more");
        assert_eq!(place.posts(), posts, "no token is requested for it");
        assert_eq!(
            place.view("token").await.expect("a Secret").token,
            view.token
        );
        let tally = world.since(mark, &place);
        assert!(tally.count("list", "pods") <= 3, "{:?}", tally.sums());
        assert_eq!(tally.count("patch", "pods"), 1, "{:?}", tally.sums());
        // After that nothing happens any more.
        world.stays_quiet(&place, Duration::from_secs(2)).await;
    });
}
