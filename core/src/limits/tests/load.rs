use std::time::Duration;

use jiff::SignedDuration;

use crate::{
    fixtures::at,
    limits::{
        issuer::Client,
        limiter::{Entry, Limiter, Load, Request},
        queue::Urgency,
    },
};

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// One request at a time.
fn request() -> Request<&'static str> {
    Request {
        issuer: "issuer",
        own: false,
        client: Client {
            namespace: "team".to_owned(),
            id: "app".to_owned(),
        },
        urgency: Urgency::new(Some(at(100)), SignedDuration::ZERO, 0, at(0)),
        requested: false,
        requests_per_second: 1000,
        max_in_flight: 1,
        requested_per_minute: None,
    }
}

#[test]
fn the_load_is_what_is_in_progress_waits_and_is_paused() {
    let mut limiter: Limiter<&'static str, &'static str> = Limiter::new(4);
    assert_eq!(limiter.load(s(0)), Load::default());
    let Entry::Go(grant) = limiter.enter(&"a", &request(), s(0)).0 else {
        unreachable!("nobody else is there");
    };
    for key in ["b", "c"] {
        assert_eq!(limiter.enter(&key, &request(), s(0)).0, Entry::Wait);
    }
    let load = |in_flight, waiting, paused| Load {
        in_flight,
        waiting,
        paused,
    };
    assert_eq!(limiter.load(s(0)), load(1, 2, 0));
    // A credential was dequeued and has not sent its request: it is not in flight.
    assert_eq!(limiter.leave(&grant, s(1)).len(), 1);
    assert_eq!(limiter.load(s(1)), load(0, 2, 0));
    limiter.pause(&"issuer", &request().client, s(30), s(2));
    assert_eq!(limiter.load(s(2)).paused, 1);
    assert_eq!(limiter.load(s(29)).paused, 1);
    assert_eq!(limiter.load(s(31)).paused, 0);
}
