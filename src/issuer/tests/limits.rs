use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;
use proptest::prelude::*;

use crate::{
    fixtures::at,
    issuer::{
        limits::{Budget, Entry},
        line::Urgency,
    },
};

/// `NOW` moved by milliseconds.
fn ms(milliseconds: i64) -> Timestamp {
    at(0) + jiff::SignedDuration::from_millis(milliseconds)
}

fn until(seconds: i64) -> Urgency {
    Urgency::new(Some(at(seconds)), 0, at(0))
}

fn enter(budget: &mut Budget<&'static str>, key: &'static str, now: Timestamp) -> Entry {
    budget.enter(&key, "team", until(100), now)
}

#[test]
fn a_burst_is_one_second_of_the_rate_and_the_bucket_refills() {
    let mut budget = Budget::new(4, 100, at(0));
    let go = |budget: &mut Budget<String>, now| {
        (0..50)
            .filter(|n| budget.enter(&format!("{now}-{n}"), "team", until(100), now) == Entry::Go)
            .count()
    };
    assert_eq!(go(&mut budget, at(0)), 4);
    assert_eq!(budget.admit(ms(249)).len(), 0);
    assert_eq!(budget.admit(ms(250)).len(), 1);
    assert_eq!(budget.admit(ms(1250)).len(), 4);
    assert_eq!(
        budget.admit(at(60)).len(),
        4,
        "no saving up over a quiet minute"
    );
}

#[test]
fn the_bound_in_flight_holds_until_somebody_leaves() {
    let mut budget = Budget::new(100, 2, at(0));
    assert_eq!(enter(&mut budget, "a", at(0)), Entry::Go);
    assert_eq!(enter(&mut budget, "b", at(0)), Entry::Go);
    assert_eq!(enter(&mut budget, "c", at(0)), Entry::Wait);
    assert!(budget.admit(at(1)).is_empty() && budget.has_line());
    budget.leave();
    assert_eq!(budget.admit(at(2)), ["c"]);
    assert_eq!(enter(&mut budget, "c", at(2)), Entry::Go);
    budget.leave();
    budget.leave();
    assert!(budget.is_idle(at(2)));
    budget.leave();
    assert!(
        budget.is_idle(at(2)),
        "one leave too many gives nothing away"
    );
}

#[test]
fn the_line_is_served_without_a_token_first_then_soonest_to_expire_then_first_come() {
    let mut budget = Budget::new(100, 1, at(0));
    assert_eq!(enter(&mut budget, "running", at(0)), Entry::Go);
    for (key, urgency) in [
        ("late", until(3000)),
        ("soon", until(30)),
        ("none", Urgency::new(None, 0, at(0))),
        ("soon too", until(30)),
        ("ended", Urgency::new(Some(at(-5)), 0, at(0))),
    ] {
        assert_eq!(budget.enter(&key, "team", urgency, at(0)), Entry::Wait);
    }
    let mut order = Vec::new();
    for second in 1..=5 {
        budget.leave();
        for key in budget.admit(at(second)) {
            assert_eq!(enter(&mut budget, key, at(second)), Entry::Go);
            order.push(key);
        }
    }
    assert_eq!(order, ["none", "ended", "soon", "soon too", "late"]);
}

#[test]
fn who_asks_again_keeps_the_place_and_may_become_more_urgent() {
    let mut budget = Budget::new(100, 1, at(0));
    enter(&mut budget, "running", at(0));
    for key in ["a", "b", "a"] {
        assert_eq!(enter(&mut budget, key, at(0)), Entry::Wait);
    }
    budget.enter(&"b", "team", Urgency::new(None, 0, at(0)), at(0));
    budget.leave();
    assert_eq!(budget.admit(at(1)), ["b"]);
    budget.enter(&"b", "team", until(100), at(1));
    budget.leave();
    assert_eq!(budget.admit(at(2)), ["a"], "and stands in line once");
    assert!(!budget.has_line());
}

#[test]
fn nobody_overtakes_the_line() {
    let mut budget = Budget::new(100, 1, at(0));
    enter(&mut budget, "running", at(0));
    enter(&mut budget, "waiting", at(0));
    budget.leave();
    assert_eq!(enter(&mut budget, "new", at(1)), Entry::Wait);
    assert_eq!(budget.admit(at(1)), ["waiting"]);
}

#[test]
fn a_pause_is_shared_never_shortened_and_followed_by_an_empty_bucket() {
    let mut budget = Budget::new(10, 10, at(0));
    enter(&mut budget, "running", at(0));
    budget.pause(at(60));
    budget.pause(at(30));
    assert_eq!(budget.paused(at(59)), Some(at(60)));
    assert_eq!(enter(&mut budget, "b", at(45)), Entry::Paused(at(60)));
    assert!(!budget.is_idle(at(59)), "a pause is remembered");
    assert_eq!(
        enter(&mut budget, "b", at(60)),
        Entry::Wait,
        "the pause is over, the bucket is empty"
    );
    budget.leave();
    assert_eq!(budget.admit(ms(60_100)), ["b"]);
    assert_eq!(budget.paused(at(60)), None);
}

#[test]
fn who_stands_in_line_when_a_pause_comes_is_called_to_be_told() {
    let mut budget = Budget::new(10, 1, at(0));
    for key in ["running", "a", "b"] {
        enter(&mut budget, key, at(0));
    }
    budget.pause(at(60));
    assert_eq!(budget.admit(at(1)), ["a", "b"]);
    assert!(!budget.has_line());
    assert_eq!(enter(&mut budget, "a", at(1)), Entry::Paused(at(60)));
    budget.leave();
    budget.answered();
    assert!(
        !budget.is_idle(at(2)) && budget.is_idle(at(60)),
        "being told of a pause holds nothing"
    );
}

#[test]
fn an_admission_that_a_pause_overtakes_is_given_back() {
    let mut budget = Budget::new(10, 1, at(0));
    enter(&mut budget, "running", at(0));
    enter(&mut budget, "a", at(0));
    budget.leave();
    assert_eq!(budget.admit(at(1)), ["a"]);
    budget.pause(at(2));
    assert_eq!(enter(&mut budget, "a", at(1)), Entry::Paused(at(2)));
    budget.answered();
    assert!(budget.is_idle(at(3)));
}

#[test]
fn an_admission_that_nobody_uses_is_given_back_after_five_seconds() {
    let mut budget = Budget::new(10, 1, at(0));
    for key in ["running", "gone", "next"] {
        enter(&mut budget, key, at(0));
    }
    budget.leave();
    assert_eq!(budget.admit(at(1)), ["gone"]);
    assert!(budget.admit(ms(5999)).is_empty());
    assert_eq!(budget.admit(at(6)), ["next"]);
}

#[test]
fn who_is_forgotten_leaves_line_and_admission() {
    let mut budget = Budget::new(10, 1, at(0));
    for key in ["running", "a", "b"] {
        enter(&mut budget, key, at(0));
    }
    budget.forget(&"a");
    budget.leave();
    assert_eq!(budget.admit(at(1)), ["b"]);
    budget.forget(&"b");
    budget.forget(&"stranger");
    assert!(budget.is_idle(at(1)));
}

#[test]
fn new_limits_hold_for_what_comes_and_a_clock_that_went_back_stops_nobody() {
    let mut budget = Budget::new(100, 1, at(0));
    enter(&mut budget, "a", at(0));
    assert_eq!(enter(&mut budget, "b", at(0)), Entry::Wait);
    budget.configure(1, 2);
    assert_eq!(budget.admit(at(1)), ["b"]);
    budget.leave();
    assert_eq!(
        enter(&mut budget, "c", at(1)),
        Entry::Wait,
        "the rate is one a second now"
    );
    assert!(budget.admit(at(-3600)).is_empty());
    assert_eq!(budget.admit(at(-3598)), ["c"]);
}

#[test]
fn a_pause_of_a_clock_that_was_ahead_neither_stops_anybody_nor_hides_a_new_one() {
    let mut budget = Budget::new(10, 10, at(0));
    budget.pause(at(90_000));
    assert_eq!(budget.paused(at(0)), None);
    assert_ne!(enter(&mut budget, "a", at(0)), Entry::Paused(at(90_000)));
    budget.pause(at(60));
    assert_eq!(budget.paused(at(0)), Some(at(60)));
    assert_eq!(budget.paused(at(89_000)), None, "the old one is forgotten");
}

#[test]
fn after_a_pause_one_at_a_time_finds_out_and_a_good_answer_opens_the_door() {
    let mut budget = Budget::new(100, 10, at(0));
    budget.pause(at(60));
    assert_eq!(enter(&mut budget, "a", at(61)), Entry::Go);
    assert_eq!(enter(&mut budget, "b", at(61)), Entry::Wait);
    assert!(budget.admit(at(62)).is_empty());
    // It failed in a way that tells nothing: the next one tries.
    budget.leave();
    assert_eq!(budget.admit(at(63)), ["b"]);
    assert_eq!(enter(&mut budget, "b", at(63)), Entry::Go);
    for key in ["c", "d"] {
        assert_eq!(enter(&mut budget, key, at(63)), Entry::Wait);
    }
    budget.answered();
    assert_eq!(budget.admit(at(64)), ["c", "d"]);
    // Nobody stays shut in for ever by an issuer that never says anything good.
    let mut budget = Budget::new(100, 10, at(0));
    budget.pause(at(60));
    assert_eq!(enter(&mut budget, "a", at(61)), Entry::Go);
    assert_eq!(enter(&mut budget, "b", at(61 + 600)), Entry::Go);
}

#[test]
fn namespaces_take_turns_and_who_presses_goes_first() {
    let mut budget = Budget::new(1000, 1, at(0));
    assert_eq!(enter(&mut budget, "running", at(0)), Entry::Go);
    let far = Urgency::new(Some(at(9000)), 0, at(0));
    let mut stand = |key, group, urgency| {
        assert_eq!(budget.enter(&key, group, urgency, at(0)), Entry::Wait);
    };
    for key in ["a1", "a2", "a3", "a4"] {
        stand(key, "a", far);
    }
    stand("b1", "b", far);
    // Broken: no token, and refused again and again.
    for key in ["x1", "x2", "x3"] {
        stand(key, "x", Urgency::new(None, 5, at(0)));
    }
    stand("a-new", "a", Urgency::new(None, 0, at(0)));
    stand("x-new", "x", Urgency::new(None, 0, at(0)));
    let mut order = Vec::new();
    for second in 1..=10 {
        budget.leave();
        for key in budget.admit(at(second)) {
            assert_eq!(enter(&mut budget, key, at(second)), Entry::Go);
            order.push(key);
        }
    }
    assert_eq!(
        order,
        [
            "a-new", "x-new", "a1", "b1", "x1", "a2", "x2", "a3", "x3", "a4"
        ]
    );
}

#[test]
fn a_namespace_that_always_has_one_waiting_gets_its_turn_and_no_more() {
    let mut budget = Budget::new(1000, 1, at(0));
    enter(&mut budget, "running", at(0));
    let far = Urgency::new(Some(at(90_000)), 0, at(0));
    for key in ["a1", "a2", "a3"] {
        budget.enter(&key, "a", far, at(0));
    }
    let mut order = Vec::new();
    for second in 1..=6 {
        // It comes back the moment it was served.
        budget.enter(&"b", "b", far, at(second));
        budget.leave();
        let called = budget.admit(at(second));
        budget.enter(&called[0], "", far, at(second));
        order.push(called[0]);
    }
    assert_eq!(order, ["a1", "b", "a2", "b", "a3", "b"]);
}

#[derive(Clone, Debug)]
enum Step {
    Enter(u8, i64),
    Leave,
    Pass(i64),
    Pause(i64),
    Forget(u8),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0_u8..12, 1_i64..1000).prop_map(|(key, end)| Step::Enter(key, end)),
        4 => Just(Step::Leave),
        4 => (0_i64..3000).prop_map(Step::Pass),
        1 => (0_i64..5000).prop_map(Step::Pause),
        1 => (0_u8..12).prop_map(Step::Forget),
    ]
}

proptest! {
    #[test]
    fn the_bounds_hold_and_everybody_in_line_gets_in(steps in prop::collection::vec(any_step(), 1..120), most in 1_u32..4, rate in 1_u32..20) {
        let mut budget = Budget::new(rate, most, at(0));
        let (mut now, mut running) = (0_i64, 0_u32);
        let mut admitted: HashMap<u8, i64> = HashMap::new();
        let mut line: BTreeSet<u8> = BTreeSet::new();
        let mut sent: Vec<i64> = Vec::new();
        for step in steps {
            match step {
                Step::Enter(key, end) => match budget.enter(&key, ["a", "b"][usize::from(key % 2)], Urgency::new(Some(at(end)), 0, ms(now)), ms(now)) {
                    Entry::Go => {
                        prop_assert!(!line.contains(&key), "nobody in line is served twice");
                        admitted.remove(&key);
                        running += 1;
                        sent.push(now);
                    }
                    Entry::Wait => { line.insert(key); }
                    Entry::Paused(until) => {
                        prop_assert!(until > ms(now));
                        line.remove(&key);
                        admitted.remove(&key);
                    }
                },
                Step::Leave if running > 0 => { budget.leave(); running -= 1; }
                Step::Leave => {}
                Step::Pass(by) => now += by,
                Step::Pause(by) => budget.pause(ms(now + by)),
                Step::Forget(key) => { budget.forget(&key); line.remove(&key); admitted.remove(&key); }
            }
            let paused = budget.paused(ms(now)).is_some();
            for key in budget.admit(ms(now)) {
                prop_assert!(line.remove(&key), "{} was called in without standing in line", key);
                if !paused {
                    admitted.insert(key, now);
                }
            }
            admitted.retain(|_, since| now - *since < 5000);
            prop_assert!(running + u32::try_from(admitted.len()).unwrap() <= most, "{} running, {:?}", running, admitted);
            prop_assert_eq!(budget.has_line(), !line.is_empty());
            // No window of a second holds more than a full bucket and what flowed into it, and the admitted ones
            // that came late.
            let recent = sent.iter().filter(|t| now - **t < 1000).count();
            prop_assert!(recent <= 2 * rate as usize + most as usize, "{} in a second", recent);
        }
        // In the end everybody is served: time passes, requests end.
        for _ in 0..200 {
            for _ in 0..running {
                budget.leave();
            }
            running = 0;
            now += 6000;
            let paused = budget.paused(ms(now)).is_some();
            for key in budget.admit(ms(now)) {
                line.remove(&key);
                if !paused && budget.enter(&key, "a", until(1), ms(now)) == Entry::Go {
                    running += 1;
                }
            }
            prop_assert!(running <= most);
        }
        prop_assert!(line.is_empty(), "{:?} still wait", line);
        for _ in 0..running {
            budget.leave();
        }
        budget.answered();
        budget.admit(ms(now + 6000));
        prop_assert!(budget.is_idle(ms(now + 6000)));
    }
}
