mod fairness;
mod pauses;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use jiff::SignedDuration;
use proptest::prelude::*;

use crate::{
    fixtures::{at, secs},
    limits::{
        issuer::Client,
        limiter::{Entry, Grant, Limiter, Request},
        queue::Urgency,
    },
};

type Places = Limiter<&'static str, String>;

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn until(seconds: i64) -> Urgency {
    Urgency::new(Some(at(seconds)), SignedDuration::ZERO, 0, at(0))
}

fn nothing() -> Urgency {
    Urgency::new(None, SignedDuration::ZERO, 0, at(0))
}

/// A request at the shared issuer, without limits that have an effect.
fn request(namespace: &str, urgency: Urgency) -> Request<&'static str> {
    Request {
        issuer: "shared",
        own: false,
        client: Client {
            namespace: namespace.to_owned(),
            id: "app".to_owned(),
        },
        urgency,
        requested: false,
        requests_per_second: 1000,
        max_in_flight: 1000,
        requested_per_minute: None,
    }
}

fn limited(per_second: u32, in_flight: u32) -> Request<&'static str> {
    Request {
        requests_per_second: per_second,
        max_in_flight: in_flight,
        requested_per_minute: None,
        ..request("team", until(100))
    }
}

/// Requests a permit and expects to get it.
fn go(
    limiter: &mut Places,
    key: &str,
    request: &Request<&'static str>,
    now: Duration,
) -> Grant<&'static str> {
    match limiter.enter(&key.to_owned(), request, now).0 {
        Entry::Go(grant) => grant,
        other => unreachable!("{key}: {other:?}"),
    }
}

fn waits(limiter: &mut Places, key: &str, request: &Request<&'static str>, now: Duration) {
    assert_eq!(
        limiter.enter(&key.to_owned(), request, now).0,
        Entry::Wait,
        "{key}"
    );
}

/// Serves the entries one after the other and returns their order.
fn order(
    limiter: &mut Places,
    mut grant: Grant<&'static str>,
    all: &HashMap<String, Request<&'static str>>,
) -> Vec<String> {
    let mut order = Vec::new();
    let mut second = 1;
    loop {
        let called = limiter.leave(&grant, s(second));
        let Some(key) = called.first() else {
            return order;
        };
        grant = go(limiter, key, &all[key], s(second));
        order.push(key.clone());
        second += 1;
    }
}

/// Queues all entries behind one request; returns the order in which they are served.
fn served(entries: Vec<(&str, Request<&'static str>)>) -> Vec<String> {
    let mut limiter = Places::new(100);
    let first = go(&mut limiter, "running", &limited(1000, 1), s(0));
    let mut all = HashMap::new();
    for (key, request) in entries {
        let request = Request {
            max_in_flight: 1,
            requested_per_minute: None,
            ..request
        };
        waits(&mut limiter, key, &request, s(0));
        all.insert(key.to_owned(), request);
    }
    order(&mut limiter, first, &all)
}

#[test]
fn a_burst_is_one_second_of_the_rate_and_the_bucket_refills() {
    let mut limiter = Places::new(1000);
    let most = limited(4, 1000);
    let went = (0..50).filter(|n| {
        matches!(
            limiter.enter(&format!("{n:02}"), &most, s(0)).0,
            Entry::Go(_)
        )
    });
    assert_eq!(went.count(), 4);
    assert_eq!(limiter.call(ms(249)).len(), 0);
    assert_eq!(limiter.call(ms(250)).len(), 1);
    assert_eq!(limiter.call(ms(1250)).len(), 4);
    assert_eq!(
        limiter.call(s(60)).len(),
        4,
        "no saving up over a quiet minute"
    );
}

#[test]
fn the_timer_is_set_to_the_moment_at_which_the_next_one_may_come() {
    let mut limiter = Places::new(1000);
    assert_eq!(limiter.next_moment(s(0)), None, "nobody waits");
    let _running = go(&mut limiter, "a", &limited(1, 1000), s(0));
    assert_eq!(limiter.next_moment(s(0)), None);
    waits(&mut limiter, "b", &limited(1, 1000), ms(100));
    assert_eq!(limiter.next_moment(ms(100)), Some(s(1)));
    assert_eq!(limiter.call(s(1)), ["b"]);
    assert_eq!(limiter.next_moment(s(1)), Some(s(6)), "it may never come");
}

#[test]
fn the_limit_of_requests_in_flight_holds_until_one_ends() {
    let mut limiter = Places::new(100);
    let a = go(&mut limiter, "a", &limited(100, 2), s(0));
    let b = go(&mut limiter, "b", &limited(100, 2), s(0));
    waits(&mut limiter, "c", &limited(100, 2), s(0));
    assert!(limiter.call(s(1)).is_empty());
    assert_eq!(limiter.leave(&a, s(2)), ["c"]);
    let c = go(&mut limiter, "c", &limited(100, 2), s(2));
    limiter.leave(&b, s(2));
    limiter.leave(&c, s(2));
    // A new bucket would begin with a whole burst, so the old one stays until it is full.
    limiter.tidy(s(2));
    assert_eq!(limiter.sizes(), (1, 0));
    limiter.tidy(s(3));
    assert_eq!(limiter.sizes(), (0, 0));
    assert_eq!(limiter.under_way(), 0);
}

#[test]
fn the_queue_serves_those_without_a_token_first_then_soonest_to_expire_then_first_come() {
    let order = served(vec![
        ("late", request("team", until(250))),
        ("soon", request("team", until(30))),
        ("none", request("team", nothing())),
        ("soon too", request("team", until(30))),
        ("ended", request("team", until(-5))),
    ]);
    assert_eq!(order, ["none", "ended", "soon", "soon too", "late"]);
}

#[test]
fn what_presses_is_the_minimum_lifetime_and_not_the_end_of_the_token() {
    let hours = |h: i64, before: i64| Urgency::new(Some(at(h * 3600)), secs(before), 0, at(0));
    // In one namespace: the minimum lifetime that is violated first. If it is a day, a token of 25 hours leaves one hour.
    let order = served(vec![
        ("two hours", request("team", hours(2, 0))),
        ("an hour", request("team", hours(25, 24 * 3600))),
        ("broken minimum", request("team", hours(24, 24 * 3600 + 60))),
    ]);
    assert_eq!(order, ["broken minimum", "an hour", "two hours"]);
}

#[test]
fn a_repeated_request_keeps_its_place_and_may_become_more_urgent() {
    let mut limiter = Places::new(100);
    let first = go(&mut limiter, "running", &limited(100, 1), s(0));
    for key in ["a", "b", "a"] {
        waits(&mut limiter, key, &limited(100, 1), s(0));
    }
    let urgent = Request {
        urgency: nothing(),
        ..limited(100, 1)
    };
    waits(&mut limiter, "b", &urgent, s(0));
    // A later request of an entry without a token counts from a later moment. The position stays.
    let later = Urgency::new(None, SignedDuration::ZERO, 0, at(60));
    waits(&mut limiter, "c", &urgent, s(1));
    waits(
        &mut limiter,
        "b",
        &Request {
            urgency: later,
            ..urgent.clone()
        },
        s(60),
    );
    assert_eq!(limiter.leave(&first, s(60)), ["b"]);
    let b = go(&mut limiter, "b", &urgent, s(60));
    assert_eq!(limiter.leave(&b, s(61)), ["c"]);
    let c = go(&mut limiter, "c", &urgent, s(61));
    assert_eq!(limiter.leave(&c, s(61)), ["a"], "and is queued once");
    assert_eq!(limiter.sizes(), (1, 1));
}

#[test]
fn no_request_overtakes_the_queue() {
    let mut limiter = Places::new(100);
    let running = go(&mut limiter, "running", &limited(100, 1), s(0));
    waits(&mut limiter, "waiting", &limited(100, 1), s(0));
    assert_eq!(limiter.leave(&running, s(0)), ["waiting"]);
    waits(&mut limiter, "new", &limited(100, 1), s(1));
    let waiting = go(&mut limiter, "waiting", &limited(100, 1), s(1));
    assert_eq!(limiter.leave(&waiting, s(1)), ["new"]);
}

#[test]
fn a_permit_is_not_spent_while_a_place_is_waited_for() {
    // Four permits, all used by requests at another issuer. The rate of this issuer is one request per second.
    let mut limiter = Places::new(4);
    let other = |n: usize| Request {
        issuer: ["x", "y"][n % 2],
        ..request(["a", "b", "c", "d"][n], until(100))
    };
    let held: Vec<_> = (0..4)
        .map(|n| go(&mut limiter, &format!("held {n}"), &other(n), s(0)))
        .collect();
    for n in 0..3 {
        waits(&mut limiter, &format!("{n}"), &limited(1, 10), s(0));
    }
    for second in 1..60 {
        assert!(limiter.call(s(second)).is_empty());
    }
    assert_eq!(
        limiter.leave(&held[0], s(60)),
        ["0"],
        "its permit is still there"
    );
}

#[test]
fn a_called_credential_that_goes_or_never_comes_leaves_its_place_to_the_next() {
    let mut limiter = Places::new(100);
    let first = go(&mut limiter, "running", &limited(100, 1), s(0));
    for key in ["gone", "late", "next"] {
        waits(&mut limiter, key, &limited(100, 1), s(0));
    }
    assert_eq!(limiter.leave(&first, s(1)), ["gone"]);
    // Deleted: the next one is dequeued at once, not with its next request.
    assert_eq!(limiter.forget(&"gone".to_owned(), s(1)), ["late"]);
    assert!(limiter.call(ms(5999)).is_empty());
    assert_eq!(limiter.next_moment(ms(5999)), Some(s(6)));
    assert_eq!(limiter.call(s(6)), ["next"]);
    // A credential that comes too late is queued again.
    waits(&mut limiter, "late", &limited(100, 1), s(7));
    assert!(limiter.forget(&"stranger".to_owned(), s(7)).is_empty());
}

#[test]
fn a_credential_that_moves_to_another_issuer_leaves_the_queue_of_the_first() {
    let mut limiter = Places::new(100);
    let first = go(&mut limiter, "running", &limited(100, 1), s(0));
    waits(&mut limiter, "a", &limited(100, 1), s(0));
    let elsewhere = Request {
        issuer: "other",
        ..limited(100, 1)
    };
    let moved = go(&mut limiter, "a", &elsewhere, s(0));
    assert!(limiter.leave(&first, s(1)).is_empty());
    limiter.leave(&moved, s(1));
    limiter.tidy(s(1));
    assert_eq!(limiter.sizes(), (0, 0));
}
