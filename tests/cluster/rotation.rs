//! Renewal of a healthy credential: no gap for readers, no unnecessary request.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use testenv::eventually;

use crate::support::{LATER, Recorder, World, condition, run};

#[test]
fn the_api_accepts_the_mounted_token_at_every_moment_of_two_rotations() {
    run(async {
        let world = World::shared().await;
        let place = Arc::new(world.place("no-gap").await);
        place.add_client(place.oauth_client().lifetime(Duration::from_secs(24)));
        let recorder = Recorder::of(&place, "token");
        place.create("c", json!({})).await;
        let first = place.ready("c").await;
        let (mark, posts) = (world.mark(), place.posts());

        let done = Arc::new(AtomicBool::new(false));
        let reader = tokio::spawn({
            let (place, done) = (Arc::clone(&place), Arc::clone(&done));
            async move {
                let mut answers = Vec::new();
                while !done.load(Ordering::Relaxed) {
                    let token = place.view("token").await.expect("a whole Secret").token;
                    answers.push(place.call("demo", "records", &token).await);
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                answers
            }
        });
        let second = place.another_token("token", &first).await;
        let third = place.another_token("token", &second).await;
        assert!(third.expires_at > second.expires_at && second.expires_at > first.expires_at);
        // The status follows its Secret.
        place
            .until("c", "the status of the third token", |c| {
                (c.status.as_ref()?.expires_at.as_ref()?.0 == third.expires_at).then_some(())
            })
            .await;
        done.store(true, Ordering::Relaxed);
        let answers = reader.await.unwrap();
        assert!(answers.len() > 50, "the reader slept: {}", answers.len());
        assert!(answers.iter().all(|a| *a == 200), "{answers:?}");

        // Per rotation: one read, one POST, two writes. No list and no event.
        let tally = world.since(mark, &place);
        assert_eq!(place.posts() - posts, 2, "one POST a rotation");
        assert_eq!(tally.count("get", "secrets"), 2, "{:?}", tally.sums());
        assert_eq!(tally.count("patch", "secrets"), 2, "{:?}", tally.sums());
        assert_eq!(
            tally.count("patch", "apicredentials/status"),
            2,
            "{:?}",
            tally.sums()
        );
        assert_eq!(tally.writes().len(), 4, "{:?}", tally.sums());
        assert_eq!(tally.lists(), 0, "{:?}", tally.sums());
        assert_eq!(
            tally.0.iter().filter(|e| e.verb != "watch").count(),
            6,
            "{:?}",
            tally.sums()
        );
        assert_eq!(recorder.finish(&place).len(), 3);
    });
}

#[test]
fn the_issuers_refresh_in_moves_the_renewal_forward() {
    run(async {
        let world = World::shared().await;
        let place = world.place("refresh-in").await;
        // At half of its lifetime it would be 50 s.
        let lifetime = Duration::from_secs(100);
        place.add_client(
            place
                .oauth_client()
                .lifetime(lifetime)
                .refresh_in(Duration::from_secs(12)),
        );
        let recorder = Recorder::of(&place, "token");
        place.create("c", json!({})).await;
        let first = place.ready("c").await;
        place.another_token("token", &first).await;
        let seen = recorder.finish(&place);
        let wait = seen[1]
            .expires_at
            .duration_since(seen[0].expires_at)
            .as_secs();
        assert!(
            (9..=14).contains(&wait),
            "renewed after {wait} s in place of 12"
        );
    });
}

#[test]
fn a_lifetime_too_short_for_its_minimum_is_reported_once_and_renewed_at_half() {
    run(async {
        let world = World::shared().await;
        let place = world.place("short").await;
        place.add_client(place.oauth_client().lifetime(Duration::from_secs(40)));
        place.create("c", json!({})).await;
        let view = place.ready("c").await;
        let issued: jiff::Timestamp = view.annotations["apicred.dev/issued-at"].parse().unwrap();
        let renew: jiff::Timestamp = view.annotations["apicred.dev/renew-at"].parse().unwrap();
        let wait = renew.duration_since(issued).as_secs();
        assert!(
            (16..=20).contains(&wait),
            "half of 40 s less a tenth, not {wait} s"
        );
        let reported = place
            .until("c", "LifetimeAtRisk", |c| condition(c, "LifetimeAtRisk"))
            .await;
        assert_eq!(reported.reason, "LifetimeTooShort");
        assert!(
            reported.message.contains("longer lifetime"),
            "no next step in: {}",
            reported.message
        );
        place.another_token("token", &view).await;
        let warned = eventually(LATER, "the event", async || {
            let events = place.events("c").await;
            let warned: Vec<_> = events
                .into_iter()
                .filter(|e| e.1 == "LifetimeTooShort")
                .collect();
            (!warned.is_empty()).then_some(warned)
        })
        .await;
        assert_eq!(
            warned.len(),
            1,
            "reported once, not at each rotation: {warned:?}"
        );
    });
}
