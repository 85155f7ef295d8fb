//! The limiter uses a monotonic clock: a wall clock that is set back does not delay requests.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use futures::{FutureExt, StreamExt};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::{
    api::IssuerKind,
    clock::Clock,
    controller::{
        limiter::issuers::{Admission, IssuerLimiter},
        requeue::Triggers,
    },
    credential::{Credential, Key},
    fixtures::{at, credential_with},
    limits::queue::Urgency,
};

/// A wall clock that is set by the test.
#[derive(Default)]
struct Set(AtomicI64);

impl Clock for Set {
    fn now(&self) -> Timestamp {
        at(self.0.load(Ordering::SeqCst))
    }
}

fn key(name: &str) -> Key {
    Key {
        namespace: "secops".to_owned(),
        name: name.to_owned(),
    }
}

fn credential() -> Credential {
    credential_with(&json!({}))
}

fn urgency() -> Urgency {
    Urgency::new(None, SignedDuration::ZERO, 0, at(0))
}

/// A step of the wall clock, an hour in either direction or none.
const STEPS: [i64; 3] = [-3_600, 0, 3_600];

#[tokio::test(start_paused = true)]
async fn an_unused_queue_turn_passes_on_in_seconds_whatever_the_wall_clock_does() {
    for step in STEPS {
        let (triggers, requeued) = Triggers::new();
        let mut requeued = UnboundedReceiverStream::new(requeued);
        let clock = Arc::<Set>::default();
        let limiter = IssuerLimiter::new(triggers, Arc::<Set>::clone(&clock), 1);
        let runs = tokio::spawn(Arc::clone(&limiter).run());
        let credential = credential();
        let enter = |name| limiter.enter(&credential, &key(name), urgency(), false);
        let Admission::Go(permit) = enter("first") else {
            panic!("nobody is there");
        };
        for name in ["gone", "next"] {
            assert!(matches!(enter(name), Admission::Wait), "{name}");
        }
        drop(permit);
        let called = requeued.next().await.expect("a call");
        assert_eq!(called.name, "gone");
        // It sends no request, and the clock is set.
        clock.0.fetch_add(step, Ordering::SeqCst);
        let began = tokio::time::Instant::now();
        let called = tokio::time::timeout(Duration::from_secs(30), requeued.next()).await;
        let called = called.unwrap_or_else(|_| panic!("{step}: the place is held"));
        assert_eq!(called.expect("a call").name, "next");
        assert!(
            began.elapsed() >= Duration::from_secs(4),
            "{step}: not before its time"
        );
        assert!(matches!(enter("next"), Admission::Go(_)), "{step}");
        runs.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn the_rate_of_an_issuer_goes_on_whatever_the_wall_clock_does() {
    for step in STEPS {
        let (triggers, requeued) = Triggers::new();
        let mut requeued = UnboundedReceiverStream::new(requeued);
        let clock = Arc::<Set>::default();
        let limiter = IssuerLimiter::new(triggers, Arc::<Set>::clone(&clock), 1_000);
        let runs = tokio::spawn(Arc::clone(&limiter).run());
        let credential = credential();
        let mut went = 0;
        let waits = loop {
            let name = format!("c{went}");
            match limiter.enter(&credential, &key(&name), urgency(), false) {
                Admission::Go(permit) => {
                    // The request ends immediately: only the rate is the limit.
                    drop(permit);
                    went += 1;
                }
                Admission::Wait => break name,
                Admission::Paused(_) => panic!("nothing pauses"),
            }
            assert!(went < 10_000, "there is no limit");
        };
        assert!(requeued.next().now_or_never().is_none());
        clock.0.fetch_add(step, Ordering::SeqCst);
        let called = tokio::time::timeout(Duration::from_secs(5), requeued.next()).await;
        let called = called.unwrap_or_else(|_| panic!("{step}: the bucket does not refill"));
        assert_eq!(called.expect("a call").name, waits);
        runs.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_ends_in_its_time_and_is_reported_by_the_clock_that_people_see() {
    for step in STEPS {
        let (triggers, _requeued) = Triggers::new();
        let clock = Arc::<Set>::default();
        let limiter = IssuerLimiter::new(triggers, Arc::<Set>::clone(&clock), 4);
        let credential = credential();
        let enter = || limiter.enter(&credential, &key("c"), urgency(), false);
        assert!(matches!(enter(), Admission::Go(_)));
        limiter.pause(&credential, Duration::from_mins(10));
        clock.0.fetch_add(step, Ordering::SeqCst);
        tokio::time::advance(Duration::from_mins(4)).await;
        let Admission::Paused(until) = enter() else {
            panic!("{step}: the pause has not ended");
        };
        let left = until.duration_since(clock.now());
        assert!(
            (left - SignedDuration::from_mins(6)).abs() < SignedDuration::from_secs(2),
            "{step}: {left:?}"
        );
        tokio::time::advance(Duration::from_mins(7)).await;
        assert!(
            matches!(enter(), Admission::Go(_)),
            "{step}: the pause has ended"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_deleted_issuer_takes_its_pauses_along() {
    let (triggers, _requeued) = Triggers::new();
    let limiter = IssuerLimiter::new(triggers, Arc::<Set>::default(), 4);
    let credential = credential();
    let enter = || limiter.enter(&credential, &key("c"), urgency(), false);
    assert!(matches!(enter(), Admission::Go(_)));
    limiter.pause(&credential, Duration::from_hours(1));
    assert!(matches!(enter(), Admission::Paused(_)));
    let named = |kind, namespace: &str, name: &str| (kind, namespace.to_owned(), name.to_owned());
    for other in [
        named(IssuerKind::ClusterTokenIssuer, "", "fabrikam"),
        named(IssuerKind::TokenIssuer, "secops", "contoso"),
    ] {
        limiter.forget_issuer(&other);
        assert!(matches!(enter(), Admission::Paused(_)), "{other:?}");
    }
    limiter.forget_issuer(&named(IssuerKind::ClusterTokenIssuer, "", "contoso"));
    assert!(matches!(enter(), Admission::Go(_)));
}
