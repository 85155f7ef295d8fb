//! Several namespaces: turns, minimum lifetimes, and limits that hold in any order of events.

use super::*;

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
    // The running request took the first of eight turns: p p a p p a p x, and so on.
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
        // It is queued again as soon as it was served.
        waits(&mut limiter, "b", &far("b"), s(second));
        let called = limiter.leave(&grant, s(second));
        grant = go(&mut limiter, &called[0], &far(&called[0][..1]), s(second));
        order.push(called[0].clone());
    }
    assert_eq!(order, ["a1", "b", "a2", "b", "a3", "b"]);
}

/// Short lifetimes and long ones: 2,500 tokens of 240 s need far more requests than the issuer allows. The minimum lifetime
/// of one-hour tokens of another namespace is not violated.
#[test]
fn short_lifetimes_of_one_namespace_do_not_break_the_minimum_lifetime_of_another() {
    const RATE: u32 = 10;
    const BEFORE: i64 = 15 * 60 + 120;
    let mut limiter: Limiter<&str, (bool, u32)> = Limiter::new(32);
    // The expiry of each token, and in which second a credential waits or requests again.
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
        let enqueue = |limiter: &mut Limiter<&'static str, (bool, u32)>,
                       key: (bool, u32),
                       ends: &BTreeMap<(bool, u32), i64>| {
            let before = if key.0 { BEFORE } else { 80 + 120 };
            let urgency = Urgency::new(Some(at(ends[&key])), secs(before), 0, at(now));
            let mut request = request(if key.0 { "long" } else { "short" }, urgency);
            request.requests_per_second = RATE;
            request.max_in_flight = 16;
            limiter.enter(&key, &request, moment)
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
            let lifetime = if key.0 { 3_600 } else { 240 };
            ends.insert(key, now + lifetime);
            due.insert((now + if key.0 { 1_600 } else { 40 }, key));
            come.extend(limiter.leave(&grant, moment));
        }
        while let Some(key) = come.pop() {
            let (entry, called) = enqueue(&mut limiter, key, &ends);
            match entry {
                Entry::Go(grant) => {
                    grants.insert(key, grant);
                    running.insert((now + 1, key));
                }
                // It requests again after a minute, with its urgency at that time.
                Entry::Wait => {
                    due.insert((now + 60, key));
                }
                Entry::Paused(_) => unreachable!("nobody pauses"),
            }
            come.extend(called);
        }
        // A dequeued credential came before the minute had passed.
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
        6 => (0_u8..12, 1_i64..1000, prop::bool::weighted(0.2)).prop_map(|(key, end, requested)| Step::Enter(key, end, requested)),
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
    fn the_bounds_hold_and_the_whole_queue_is_served(steps in prop::collection::vec(any_step(), 1..120), most in 1_u32..4, rate in 1_u32..20, places in 1_u16..9) {
        let mut limiter: Limiter<u8, u8> = Limiter::new(places);
        let request = |key: u8, end: i64, requested: bool| Request {
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
                    let (entry, more) = limiter.enter(&key, &request(key, end, requested), now);
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
                    for key in limiter.pause(&(key % 3), &request(key, 1, false).client, now + ms(by), now) {
                        prop_assert!(waiting.remove(&key));
                    }
                }
                Step::Answered(key, well) => limiter.answered(&(key % 3), &request(key, 1, false).client, well, now),
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
        // In the end all are served: time passes, requests end.
        for _ in 0..2_000 {
            now += ms(6000);
            let mut next = Vec::new();
            for (_, grant) in std::mem::take(&mut running) {
                next.extend(limiter.leave(&grant, now));
            }
            next.extend(limiter.call(now));
            for key in next {
                waiting.remove(&key);
                if let (Entry::Go(grant), _) = limiter.enter(&key, &request(key, 1, false), now) {
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
