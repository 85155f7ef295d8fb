//! Pauses that issuers request, and renewals that users request.

use super::*;

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
    let enqueue = |limiter: &mut Places, namespace, id, now| {
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
    assert_eq!(enqueue(&mut limiter, "a", "one", s(0)), None);
    throttle(&mut limiter, "a", "one", s(60), s(0));
    throttle(&mut limiter, "a", "one", s(30), s(0));
    assert_eq!(
        enqueue(&mut limiter, "a", "one", s(1)),
        Some(s(60)),
        "never shortened"
    );
    assert_eq!(enqueue(&mut limiter, "a", "two", s(1)), None);
    assert_eq!(
        enqueue(&mut limiter, "b", "one", s(1)),
        None,
        "who may use any name"
    );
    // Any number of throttled clients of one namespace does not affect other namespaces.
    for id in ["two", "three", "four"] {
        throttle(&mut limiter, "a", id, s(60), s(2));
    }
    assert_eq!(enqueue(&mut limiter, "a", "five", s(3)), Some(s(60)));
    assert_eq!(enqueue(&mut limiter, "b", "other", s(3)), None);
    // The same client ID in another namespace does not count as a second client.
    throttle(&mut limiter, "b", "one", s(60), s(4));
    throttle(&mut limiter, "a", "five", s(60), s(4));
    let mut one = Places::new(100);
    assert_eq!(enqueue(&mut one, "a", "one", s(0)), None);
    throttle(&mut one, "a", "one", s(60), s(0));
    throttle(&mut one, "b", "one", s(60), s(0));
    assert_eq!(enqueue(&mut one, "c", "two", s(1)), None);
    // Another client ID in another namespace does.
    throttle(&mut one, "b", "two", s(90), s(1));
    assert_eq!(enqueue(&mut one, "c", "two", s(2)), Some(s(90)));
    assert_eq!(enqueue(&mut one, "c", "two", s(89)), Some(s(90)));
}

#[test]
fn an_expired_pause_is_not_widened_by_a_second_client() {
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
    // Two clients of two namespaces: all clients pause for an hour.
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
    // Another issuer was deleted.
    limiter.forget_issuer(&"other", s(1));
    assert!(matches!(enter(&mut limiter, s(1)), Entry::Paused(_)));
    limiter.forget_issuer(&"shared", s(1));
    // The pause emptied the bucket. It fills at its rate from now on.
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
fn a_queued_request_is_dequeued_when_a_pause_begins_to_report_it() {
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
    let mut reported = throttle(&mut limiter, "team", "app", s(60), s(1));
    reported.sort();
    assert_eq!(reported, ["a", "b"]);
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
        // It failed in a way that shows nothing: the next one tries.
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
    // An issuer without any successful answer does not block its clients forever.
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
    let renewal = Request {
        requested: true,
        ..request("greedy", until(3000))
    };
    let mut went = Vec::new();
    for n in 0..300 {
        let key = format!("{n:03}");
        if let Entry::Go(grant) = limiter.enter(&key, &renewal, s(0)).0 {
            went.push(grant);
        }
    }
    assert_eq!(went.len(), 200, "at once");
    // Due renewals and other namespaces do not wait for it.
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
            let grant = go(&mut limiter, &key, &renewal, now);
            limiter.leave(&grant, now);
            later += 1;
        }
    }
    assert_eq!(later, 100, "none is lost");
    assert!((s(98)..=s(102)).contains(&now), "one a second: {now:?}");
    limiter.tidy(now + s(201));
    assert_eq!(limiter.sizes(), (0, 0));
}

/// Otherwise a quota of a thousand tokens per month would be used up in minutes.
#[test]
fn an_issuer_limits_the_renewals_that_a_namespace_may_request() {
    for (a_minute, at_once, apart) in [(1, 1, 60), (12, 12, 5), (600, 300, 0)] {
        let mut limiter = Places::new(1000);
        let renewal = Request {
            requested: true,
            requested_per_minute: Some(a_minute),
            ..request("greedy", until(3000))
        };
        let mut went = Vec::new();
        for n in 0..300 {
            let entry = limiter.enter(&format!("{n:03}"), &renewal, s(0)).0;
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
