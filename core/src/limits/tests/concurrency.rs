use std::{collections::BTreeMap, time::Duration};

use jiff::SignedDuration;

use crate::{
    fixtures::at,
    limits::{
        issuer::Client,
        limiter::{Entry, Grant, Limiter, Request},
        queue::Urgency,
    },
};

type Named = Limiter<&'static str, String>;

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn request(issuer: &'static str, namespace: &str, own: bool) -> Request<&'static str> {
    Request {
        issuer,
        own,
        client: Client {
            namespace: namespace.to_owned(),
            id: "app".to_owned(),
        },
        urgency: Urgency::new(Some(at(9000)), SignedDuration::ZERO, 0, at(0)),
        requested: false,
        requests_per_second: 1000,
        max_in_flight: 1000,
        requested_per_minute: None,
    }
}

/// Requests this number of permits and returns those that it got.
fn take(
    limiter: &mut Named,
    issuer: &'static str,
    namespace: &str,
    own: bool,
    many: usize,
) -> Vec<Grant<&'static str>> {
    let mut grants = Vec::new();
    for n in 0..many {
        let key = format!("{issuer} {namespace} {n}");
        if let (Entry::Go(grant), _) = limiter.enter(&key, &request(issuer, namespace, own), s(0)) {
            grants.push(grant);
        }
    }
    grants
}

#[test]
fn no_issuer_holds_more_than_half_of_the_places() {
    for own in [false, true] {
        let mut limiter = Named::new(32);
        let mut held = take(&mut limiter, "one", "a", own, 40);
        assert_eq!(held.len(), 16);
        held.extend(take(&mut limiter, "one", "b", own, 40));
        assert_eq!(held.len(), 16, "not in another namespace either");
        // The others get permits.
        assert_eq!(
            take(&mut limiter, "two", "b", own, 40).len(),
            8,
            "a quarter"
        );
    }
}

#[test]
fn a_namespace_holds_a_quarter_and_more_only_while_half_is_free() {
    let mut limiter = Named::new(8);
    let mut a = take(&mut limiter, "one", "a", false, 10);
    assert_eq!(a.len(), 4, "half is free");
    let b = take(&mut limiter, "two", "b", false, 10);
    assert_eq!(b.len(), 2, "a quarter");
    assert_eq!(take(&mut limiter, "three", "c", false, 10).len(), 2);
    // a has more than its quarter: the free permit is for another namespace.
    assert_eq!(limiter.leave(&a.remove(0), s(1)), Vec::<String>::new());
    assert_eq!(limiter.leave(&b[0], s(1)), ["two b 2"]);
}

#[test]
fn issuers_of_namespaces_leave_a_quarter_to_those_of_the_cluster() {
    let mut limiter = Named::new(8);
    for (issuer, namespace) in [("a", "a"), ("b", "b"), ("c", "c")] {
        assert_eq!(take(&mut limiter, issuer, namespace, true, 2).len(), 2);
    }
    assert!(take(&mut limiter, "d", "d", true, 1).is_empty());
    assert_eq!(take(&mut limiter, "cluster", "d", false, 1).len(), 1);
}

/// B7: three namespaces send requests to two `ClusterTokenIssuer`s that never answer, and to a healthy third one. The
/// requests to the healthy one continue.
#[test]
fn two_silent_cluster_issuers_leave_room_for_a_healthy_one_in_the_same_namespaces() {
    let mut limiter = Named::new(32);
    // Requests that never get an answer, by the second in which they end: after 15 s.
    let mut silent: BTreeMap<u64, Vec<(String, Grant<&'static str>)>> = BTreeMap::new();
    let issuer_of = |key: &str| {
        if key.starts_with("dead-1") {
            "dead-1"
        } else {
            "dead-2"
        }
    };
    let namespace_of = |key: &str| key.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut longest = 0;
    let mut since = BTreeMap::new();
    let mut healthy = 0;
    let mut requested = Vec::new();
    for n in 0..50 {
        for namespace in ["a", "b", "c"] {
            for issuer in ["dead-1", "dead-2"] {
                requested.push(format!("{issuer} {namespace} {n}"));
            }
        }
    }
    for second in 0..180 {
        let now = s(second);
        let mut come = std::mem::take(&mut requested);
        for namespace in ["a", "b", "c"] {
            let key = format!("well {namespace} {second}");
            since.insert(key.clone(), second);
            come.push(key);
        }
        for (key, grant) in silent.remove(&second).unwrap_or_default() {
            limiter.unanswered(&issuer_of(&key), now);
            come.extend(limiter.leave(&grant, now));
            // It tries again at once, which is more often than in reality.
            come.push(key);
        }
        come.extend(limiter.call(now));
        while let Some(key) = come.pop() {
            let well = key.starts_with("well");
            let issuer = if well { "well" } else { issuer_of(&key) };
            let (entry, called) =
                limiter.enter(&key, &request(issuer, &namespace_of(&key), false), now);
            come.extend(called);
            let Entry::Go(grant) = entry else { continue };
            if well {
                longest = longest.max(second - since.remove(&key).expect("it asked"));
                healthy += 1;
                limiter.answered(
                    &"well",
                    &request("well", &namespace_of(&key), false).client,
                    true,
                    now,
                );
                come.extend(limiter.leave(&grant, now));
            } else {
                silent.entry(second + 15).or_default().push((key, grant));
            }
        }
    }
    assert!(since.is_empty(), "{} still wait", since.len());
    assert_eq!(healthy, 3 * 180);
    // Until it is known that the two do not answer, they may have as many permits as any issuer.
    assert!(longest <= 16, "{longest} s");
    let mut after = 0;
    for held in silent.values() {
        after += held.len();
    }
    assert!(after <= 16, "{after} places of 32");
}

#[test]
fn an_issuer_that_does_not_answer_is_recognized_by_its_requests_and_not_only_by_their_end() {
    let mut limiter = Named::new(32);
    let held = take(&mut limiter, "slow", "a", false, 4);
    assert_eq!(held.len(), 4);
    let enqueue = |limiter: &mut Named, key: &str, now| {
        limiter
            .enter(&key.to_owned(), &request("slow", "b", false), now)
            .0
    };
    assert_eq!(
        enqueue(&mut limiter, "late", s(4)),
        Entry::Wait,
        "an eighth is held"
    );
    limiter.answered(&"slow", &request("slow", "a", false).client, true, s(5));
    assert_eq!(limiter.call(s(5)), ["late"], "it answers");
}
