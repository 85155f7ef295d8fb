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

/// A request at the shared issuer, without limits that matter.
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

/// Asks, and expects to go.
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

/// Serves one after the other, and gives their order.
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

/// All of them wait behind one; gives the order in which they are served.
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
fn the_bound_in_flight_holds_until_somebody_leaves() {
    let mut limiter = Places::new(100);
    let a = go(&mut limiter, "a", &limited(100, 2), s(0));
    let b = go(&mut limiter, "b", &limited(100, 2), s(0));
    waits(&mut limiter, "c", &limited(100, 2), s(0));
    assert!(limiter.call(s(1)).is_empty());
    assert_eq!(limiter.leave(&a, s(2)), ["c"]);
    let c = go(&mut limiter, "c", &limited(100, 2), s(2));
    limiter.leave(&b, s(2));
    limiter.leave(&c, s(2));
    // A new bucket would begin with a whole burst: the old one stays until it is full.
    limiter.tidy(s(2));
    assert_eq!(limiter.sizes(), (1, 0));
    limiter.tidy(s(3));
    assert_eq!(limiter.sizes(), (0, 0));
    assert_eq!(limiter.under_way(), 0);
}

#[test]
fn the_line_is_served_without_a_token_first_then_soonest_to_expire_then_first_come() {
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
    // In one namespace: whose minimum lifetime breaks first. A day of it leaves an hour of 25.
    let order = served(vec![
        ("two hours", request("team", hours(2, 0))),
        ("an hour", request("team", hours(25, 24 * 3600))),
        ("broken floor", request("team", hours(24, 24 * 3600 + 60))),
    ]);
    assert_eq!(order, ["broken floor", "an hour", "two hours"]);
}

#[test]
fn who_asks_again_keeps_the_place_and_may_become_more_urgent() {
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
    // Later, whoever has no token counts from a later moment. The place stays.
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
    assert_eq!(limiter.leave(&c, s(61)), ["a"], "and stands in line once");
    assert_eq!(limiter.sizes(), (1, 1));
}

#[test]
fn nobody_overtakes_the_line() {
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
    // Four places, held by requests at another issuer; the rate of this one is one a second.
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
    // Deleted: the next one is called at once, not when it asks again.
    assert_eq!(limiter.forget(&"gone".to_owned(), s(1)), ["late"]);
    assert!(limiter.call(ms(5999)).is_empty());
    assert_eq!(limiter.next_moment(ms(5999)), Some(s(6)));
    assert_eq!(limiter.call(s(6)), ["next"]);
    // Who comes too late stands in line again.
    waits(&mut limiter, "late", &limited(100, 1), s(7));
    assert!(limiter.forget(&"stranger".to_owned(), s(7)).is_empty());
}

#[test]
fn a_credential_that_moves_to_another_issuer_leaves_the_line_of_the_first() {
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

fn of_client(namespace: &str, id: &str) -> Request<&'static str> {
    let mut request = request(namespace, until(100));
    id.clone_into(&mut request.client.id);
    request
}

fn throttle(
    limiter: &mut Places,
    namespace: &str,
    id: &str,
    pause: Duration,
    now: Duration,
) -> Vec<String> {
    let client = of_client(namespace, id).client;
    limiter.pause(&"shared", &client, pause, now)
}

#[test]
fn a_throttled_client_pauses_itself_then_its_namespace_then_everybody() {
    let mut limiter = Places::new(100);
    let asks = |limiter: &mut Places, namespace, id, now| {
        let key = format!("{namespace} {id}");
        match limiter.enter(&key, &of_client(namespace, id), now).0 {
            Entry::Paused(until) => Some(until),
            Entry::Go(grant) => {
                limiter.leave(&grant, now);
                None
            }
            Entry::Wait => unreachable!("nobody else is there"),
        }
    };
    assert_eq!(asks(&mut limiter, "a", "one", s(0)), None);
    throttle(&mut limiter, "a", "one", s(60), s(0));
    throttle(&mut limiter, "a", "one", s(30), s(0));
    assert_eq!(
        asks(&mut limiter, "a", "one", s(1)),
        Some(s(60)),
        "never shortened"
    );
    assert_eq!(asks(&mut limiter, "a", "two", s(1)), None);
    assert_eq!(
        asks(&mut limiter, "b", "one", s(1)),
        None,
        "who may use any name"
    );
    // However many clients of one namespace are throttled, the others are not concerned.
    for id in ["two", "three", "four"] {
        throttle(&mut limiter, "a", id, s(60), s(2));
    }
    assert_eq!(asks(&mut limiter, "a", "five", s(3)), Some(s(60)));
    assert_eq!(asks(&mut limiter, "b", "other", s(3)), None);
    // The same client ID in another namespace is no second client.
    throttle(&mut limiter, "b", "one", s(60), s(4));
    throttle(&mut limiter, "a", "five", s(60), s(4));
    let mut one = Places::new(100);
    assert_eq!(asks(&mut one, "a", "one", s(0)), None);
    throttle(&mut one, "a", "one", s(60), s(0));
    throttle(&mut one, "b", "one", s(60), s(0));
    assert_eq!(asks(&mut one, "c", "two", s(1)), None);
    // Another client of another namespace is.
    throttle(&mut one, "b", "two", s(90), s(1));
    assert_eq!(asks(&mut one, "c", "two", s(2)), Some(s(90)));
    assert_eq!(asks(&mut one, "c", "two", s(89)), Some(s(90)));
}

#[test]
fn a_pause_that_is_over_pauses_nobody_with_a_second_client() {
    let mut limiter = Places::new(100);
    let first = go(&mut limiter, "a", &of_client("a", "one"), s(0));
    throttle(&mut limiter, "a", "one", s(60), s(0));
    throttle(&mut limiter, "b", "two", s(120), s(61));
    go(&mut limiter, "c", &of_client("c", "three"), s(62));
    drop(first);
}

#[test]
fn a_pause_goes_with_its_issuer_and_the_rate_does_not() {
    let mut limiter = Places::new(100);
    let request = |name: &str| Request {
        requests_per_second: 2,
        ..request(name, until(100))
    };
    // Two clients of two namespaces: everybody pauses for an hour.
    for name in ["a", "b"] {
        let (entry, _) = limiter.enter(&name.to_owned(), &request(name), s(0));
        let Entry::Go(grant) = entry else {
            panic!("{name}: {entry:?}");
        };
        limiter.leave(&grant, s(0));
        limiter.unanswered(&"shared", s(0));
        let client = Client {
            id: name.to_owned(),
            ..request(name).client
        };
        limiter.pause(&"shared", &client, s(3_600), s(0));
    }
    let enter = |limiter: &mut Places, now| limiter.enter(&"c".to_owned(), &request("c"), now).0;
    assert!(matches!(enter(&mut limiter, s(1)), Entry::Paused(_)));
    // Another issuer is gone.
    limiter.forget_issuer(&"other", s(1));
    assert!(matches!(enter(&mut limiter, s(1)), Entry::Paused(_)));
    limiter.forget_issuer(&"shared", s(1));
    // The bucket was emptied by the pause, and fills at its rate from now on.
    assert_eq!(enter(&mut limiter, s(1)), Entry::Wait);
    assert_eq!(limiter.call(s(2)), ["c"]);
    let Entry::Go(grant) = enter(&mut limiter, s(2)) else {
        panic!("it was called");
    };
    limiter.leave(&grant, s(2));
    limiter.tidy(s(10));
    assert_eq!(limiter.sizes(), (0, 0), "an hour before the pause ends");
}

#[test]
fn who_stands_in_line_when_a_pause_comes_is_called_to_be_told() {
    let mut limiter = Places::new(100);
    let running = go(&mut limiter, "running", &limited(10, 1), s(0));
    for key in ["a", "b"] {
        waits(&mut limiter, key, &limited(10, 1), s(0));
    }
    let other = Request {
        max_in_flight: 1,
        requested_per_minute: None,
        ..of_client("team", "other")
    };
    waits(&mut limiter, "c", &other, s(0));
    let mut told = throttle(&mut limiter, "team", "app", s(60), s(1));
    told.sort();
    assert_eq!(told, ["a", "b"]);
    assert_eq!(
        limiter.enter(&"a".to_owned(), &limited(10, 1), s(1)).0,
        Entry::Paused(s(60))
    );
    assert_eq!(limiter.leave(&running, s(1)), ["c"]);
}

#[test]
fn after_a_pause_one_at_a_time_finds_out_and_a_good_answer_opens_the_door() {
    for everybody in [false, true] {
        let mut limiter = Places::new(100);
        let app = of_client("team", "app");
        let first = go(&mut limiter, "first", &app, s(0));
        throttle(&mut limiter, "team", "app", s(60), s(0));
        if everybody {
            throttle(&mut limiter, "b", "two", s(60), s(0));
        }
        limiter.leave(&first, s(0));
        limiter.answered(&"shared", &app.client, true, s(1));
        let a = go(&mut limiter, "a", &app, s(62));
        waits(&mut limiter, "b", &app, s(62));
        // It failed in a way that tells nothing: the next one tries.
        assert_eq!(limiter.leave(&a, s(63)), ["b"]);
        let b = go(&mut limiter, "b", &app, s(63));
        for key in ["c", "d"] {
            waits(&mut limiter, key, &app, s(63));
        }
        limiter.answered(&"shared", &app.client, true, s(64));
        let mut called = limiter.leave(&b, s(64));
        called.sort();
        assert_eq!(called, ["c", "d"]);
    }
    // Nobody stays shut in for ever by an issuer that never says anything good.
    let mut limiter = Places::new(100);
    let app = of_client("team", "app");
    let _first = go(&mut limiter, "first", &app, s(0));
    throttle(&mut limiter, "team", "app", s(60), s(0));
    let _a = go(&mut limiter, "a", &app, s(61));
    waits(&mut limiter, "b", &app, s(61));
    assert_eq!(limiter.call(s(60 + 600)), ["b"]);
}

#[test]
fn requested_renewals_of_a_namespace_have_a_budget_and_are_made_later() {
    let mut limiter = Places::new(1000);
    let asked = Request {
        requested: true,
        ..request("greedy", until(3000))
    };
    let mut went = Vec::new();
    for n in 0..300 {
        let key = format!("{n:03}");
        if let Entry::Go(grant) = limiter.enter(&key, &asked, s(0)).0 {
            went.push(grant);
        }
    }
    assert_eq!(went.len(), 200, "at once");
    // What is due, and other namespaces, do not wait for it.
    let due = Request {
        urgency: until(60),
        ..request("greedy", until(60))
    };
    went.push(go(&mut limiter, "due", &due, s(0)));
    let others = Request {
        requested: true,
        ..request("modest", until(3000))
    };
    went.push(go(&mut limiter, "other", &others, s(0)));
    for grant in &went {
        assert!(limiter.leave(grant, s(0)).is_empty());
    }
    let mut later = 0;
    let mut now = s(0);
    while let Some(next) = limiter.next_moment(now) {
        now = next;
        for key in limiter.call(now) {
            let grant = go(&mut limiter, &key, &asked, now);
            limiter.leave(&grant, now);
            later += 1;
        }
    }
    assert_eq!(later, 100, "none is lost");
    assert!((s(98)..=s(102)).contains(&now), "one a second: {now:?}");
    limiter.tidy(now + s(201));
    assert_eq!(limiter.sizes(), (0, 0));
}

/// A plan of an issuer with a thousand tokens a month is gone in minutes otherwise.
#[test]
fn an_issuer_says_how_many_renewals_a_namespace_may_request() {
    for (a_minute, at_once, apart) in [(1, 1, 60), (12, 12, 5), (600, 300, 0)] {
        let mut limiter = Places::new(1000);
        let asked = Request {
            requested: true,
            requested_per_minute: Some(a_minute),
            ..request("greedy", until(3000))
        };
        let mut went = Vec::new();
        for n in 0..300 {
            let entry = limiter.enter(&format!("{n:03}"), &asked, s(0)).0;
            if let Entry::Go(grant) = entry {
                went.push(grant);
            }
        }
        assert_eq!(went.len(), at_once, "{a_minute}");
        for grant in &went {
            limiter.leave(grant, s(0));
        }
        let next = limiter.next_moment(s(0));
        assert_eq!(next, (apart > 0).then(|| s(apart)), "{a_minute}");
    }
}

#[test]
fn namespaces_take_turns_and_no_class_starves() {
    let far = || until(9000);
    let mut entries: Vec<(&str, Request<&'static str>)> = Vec::new();
    for key in ["a1", "a2", "a3", "a4"] {
        entries.push((key, request("a", far())));
    }
    entries.push(("b1", request("b", far())));
    for key in ["x1", "x2"] {
        entries.push((
            key,
            request("x", Urgency::new(None, SignedDuration::ZERO, 5, at(0))),
        ));
    }
    for key in ["p1", "p2", "p3", "p4", "p5", "p6"] {
        entries.push((key, request("p", nothing())));
    }
    let order = served(entries);
    // The first turn of eight was taken by the one that ran: p p a p p a p x, and so on.
    assert_eq!(
        order,
        [
            "p1", "a1", "p2", "p3", "b1", "p4", "x1", "p5", "p6", "a2", "a3", "a4", "x2"
        ]
    );
}

fn far(namespace: &str) -> Request<&'static str> {
    Request {
        max_in_flight: 1,
        requested_per_minute: None,
        ..request(namespace, until(90_000))
    }
}

#[test]
fn a_namespace_that_always_has_one_waiting_gets_its_turn_and_no_more() {
    let mut limiter = Places::new(100);
    let mut grant = go(&mut limiter, "running", &far("z"), s(0));
    for key in ["a1", "a2", "a3"] {
        waits(&mut limiter, key, &far("a"), s(0));
    }
    let mut order = Vec::new();
    for second in 1..=6 {
        // It comes back the moment it was served.
        waits(&mut limiter, "b", &far("b"), s(second));
        let called = limiter.leave(&grant, s(second));
        grant = go(&mut limiter, &called[0], &far(&called[0][..1]), s(second));
        order.push(called[0].clone());
    }
    assert_eq!(order, ["a1", "b", "a2", "b", "a3", "b"]);
}

/// Short lives beside long ones: 2,500 tokens of 240 s want far more than the issuer gives. One-hour tokens of another
/// namespace keep their minimum lifetime all the same.
#[test]
fn short_lives_of_one_namespace_do_not_break_the_minimum_lifetime_of_another() {
    const RATE: u32 = 10;
    const BEFORE: i64 = 15 * 60 + 120;
    let mut limiter: Limiter<&str, (bool, u32)> = Limiter::new(32);
    // The end of each token, and who waits or asks again at what second.
    let mut ends: BTreeMap<(bool, u32), i64> = BTreeMap::new();
    let mut due: BTreeSet<(i64, (bool, u32))> = BTreeSet::new();
    for n in 0..2_500 {
        ends.insert((false, n), 240);
        due.insert((40, (false, n)));
    }
    for n in 0..400 {
        ends.insert((true, n), 3_600);
        due.insert((1_600 + i64::from(n) / 100, (true, n)));
    }
    let mut worst = i64::MAX;
    let mut running: BTreeSet<(i64, (bool, u32))> = BTreeSet::new();
    let mut grants = HashMap::new();
    for now in 0..6_000_i64 {
        let moment = s(u64::try_from(now).unwrap());
        let ask = |limiter: &mut Limiter<&'static str, (bool, u32)>,
                   key: (bool, u32),
                   ends: &BTreeMap<(bool, u32), i64>| {
            let before = if key.0 { BEFORE } else { 80 + 120 };
            let urgency = Urgency::new(Some(at(ends[&key])), secs(before), 0, at(now));
            let mut asks = request(if key.0 { "long" } else { "short" }, urgency);
            asks.requests_per_second = RATE;
            asks.max_in_flight = 16;
            limiter.enter(&key, &asks, moment)
        };
        let mut come: Vec<(bool, u32)> = Vec::new();
        while let Some((at, key)) = due.first().copied().filter(|(at, _)| *at <= now) {
            due.remove(&(at, key));
            come.push(key);
        }
        come.extend(limiter.call(moment));
        while let Some((at, key)) = running.first().copied().filter(|(at, _)| *at <= now) {
            running.remove(&(at, key));
            let grant = grants.remove(&key).unwrap();
            if key.0 {
                worst = worst.min(ends[&key] - BEFORE - now);
            }
            let life = if key.0 { 3_600 } else { 240 };
            ends.insert(key, now + life);
            due.insert((now + if key.0 { 1_600 } else { 40 }, key));
            come.extend(limiter.leave(&grant, moment));
        }
        while let Some(key) = come.pop() {
            let (entry, called) = ask(&mut limiter, key, &ends);
            match entry {
                Entry::Go(grant) => {
                    grants.insert(key, grant);
                    running.insert((now + 1, key));
                }
                // It asks again after a minute, with the urgency of then.
                Entry::Wait => {
                    due.insert((now + 60, key));
                }
                Entry::Paused(_) => unreachable!("nobody pauses"),
            }
            come.extend(called);
        }
        // Who was called came before the minute was over.
        due.retain(|(_, key)| !grants.contains_key(key));
    }
    assert!(
        worst < i64::MAX && worst > 0,
        "{worst} s before the minimum lifetime breaks"
    );
}

#[derive(Clone, Debug)]
enum Step {
    Enter(u8, i64, bool),
    Leave(u8),
    Pass(u64),
    Pause(u8, u64),
    Answered(u8, bool),
    Forget(u8),
    ForgetIssuer(u8),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0_u8..12, 1_i64..1000, prop::bool::weighted(0.2)).prop_map(|(key, end, asked)| Step::Enter(key, end, asked)),
        4 => (0_u8..12).prop_map(Step::Leave),
        4 => (0_u64..3000).prop_map(Step::Pass),
        1 => (0_u8..12, 0_u64..5000).prop_map(|(key, by)| Step::Pause(key, by)),
        1 => (0_u8..12, any::<bool>()).prop_map(|(key, well)| Step::Answered(key, well)),
        1 => (0_u8..12).prop_map(Step::Forget),
        1 => (0_u8..3).prop_map(Step::ForgetIssuer),
    ]
}

proptest! {
    #[test]
    fn the_bounds_hold_and_everybody_in_line_gets_in(steps in prop::collection::vec(any_step(), 1..120), most in 1_u32..4, rate in 1_u32..20, places in 1_u16..9) {
        let mut limiter: Limiter<u8, u8> = Limiter::new(places);
        let asks = |key: u8, end: i64, requested: bool| Request {
            issuer: key % 3,
            own: key.is_multiple_of(3),
            client: Client { namespace: ["a", "b"][usize::from(key % 2)].to_owned(), id: (key % 4).to_string() },
            urgency: Urgency::new(Some(at(end)), SignedDuration::ZERO, u32::from(key % 5), at(0)),
            requested,
            requests_per_second: rate,
            max_in_flight: most,
            requested_per_minute: None,
        };
        let mut now = ms(0);
        let mut running: BTreeMap<u8, Grant<u8>> = BTreeMap::new();
        let mut waiting: BTreeSet<u8> = BTreeSet::new();
        let mut called: BTreeSet<u8> = BTreeSet::new();
        for step in steps {
            let mut news = Vec::new();
            match step {
                Step::Enter(key, ..) if running.contains_key(&key) => {}
                Step::Enter(key, end, requested) => {
                    let (entry, more) = limiter.enter(&key, &asks(key, end, requested), now);
                    news = more;
                    waiting.remove(&key);
                    called.remove(&key);
                    match entry {
                        Entry::Go(grant) => { running.insert(key, grant); }
                        Entry::Wait => { waiting.insert(key); }
                        Entry::Paused(until) => prop_assert!(until > now),
                    }
                }
                Step::Leave(key) => if let Some(grant) = running.remove(&key) {
                    news = limiter.leave(&grant, now);
                },
                Step::Pass(by) => now += ms(by),
                Step::Pause(key, by) => {
                    for key in limiter.pause(&(key % 3), &asks(key, 1, false).client, now + ms(by), now) {
                        prop_assert!(waiting.remove(&key));
                    }
                }
                Step::Answered(key, well) => limiter.answered(&(key % 3), &asks(key, 1, false).client, well, now),
                Step::ForgetIssuer(issuer) => news = limiter.forget_issuer(&issuer, now),
                Step::Forget(key) => {
                    news = limiter.forget(&key, now);
                    waiting.remove(&key);
                    called.remove(&key);
                }
            }
            news.extend(limiter.call(now));
            for key in news {
                prop_assert!(waiting.remove(&key), "{} was called without waiting", key);
                called.insert(key);
            }
            prop_assert!(limiter.under_way() <= u32::from(places));
            for issuer in 0..3 {
                let of = running.keys().filter(|key| **key % 3 == issuer).count();
                prop_assert!(of <= most as usize);
                prop_assert!(of <= usize::from((places / 2).max(1)), "more than half of the places");
            }
        }
        // In the end everybody is served: time passes, requests end.
        for _ in 0..2_000 {
            now += ms(6000);
            let mut next = Vec::new();
            for (_, grant) in std::mem::take(&mut running) {
                next.extend(limiter.leave(&grant, now));
            }
            next.extend(limiter.call(now));
            for key in next {
                waiting.remove(&key);
                if let (Entry::Go(grant), _) = limiter.enter(&key, &asks(key, 1, false), now) {
                    running.insert(key, grant);
                }
            }
            if waiting.is_empty() && running.is_empty() {
                break;
            }
        }
        prop_assert!(waiting.is_empty(), "{:?} still wait", waiting);
        for (_, grant) in running {
            limiter.leave(&grant, now);
        }
        now += s(3 * 3600);
        limiter.call(now);
        limiter.tidy(now);
        prop_assert_eq!(limiter.sizes(), (0, 0));
        prop_assert_eq!(limiter.under_way(), 0);
    }
}
