//! Writes that the API server refuses because the target differs from the cache.

use jiff::{SignedDuration, Timestamp};

use crate::{
    fixtures::{at, credential, observed},
    plan::{Hold, Memory, Plan, RenewalCause, plan},
    publish::ownership::Target,
};

fn adoptable(version: &str) -> Target {
    Target::Adoptable {
        version: version.to_owned(),
    }
}

fn wait(memory: &Memory, target: &Target, now: Timestamp) -> Option<i64> {
    let until = memory.in_sync_at(target, now)?;
    Some(until.duration_since(now).as_secs())
}

#[test]
fn writes_that_meet_another_state_wait_longer_each_time() {
    let mut memory = Memory::default();
    let (known, moved) = (adoptable("7"), adoptable("9"));
    assert_eq!(wait(&memory, &known, at(0)), None);
    let expected = [1, 2, 4, 8, 16, 32, 60, 60, 60];
    for (n, seconds) in (1..).zip(expected) {
        assert_eq!(memory.conflicted(&known, at(0)), n);
        assert!(!memory.is_empty());
        assert_eq!(wait(&memory, &known, at(0)), Some(seconds), "{n} in a row");
        assert_eq!(wait(&memory, &known, at(seconds)), None, "and no longer");
        // The cache has changed: the next write may succeed. A third rejected write shows that this does not help.
        let sooner = (n >= 3).then_some(seconds.min(5));
        assert_eq!(wait(&memory, &moved, at(0)), sooner, "{n} in a row, moved");
        assert_eq!(memory.reported_conflicts(), (n >= 3).then_some(n));
    }
    for _ in 0..100 {
        memory.conflicted(&known, at(0));
    }
    assert_eq!(wait(&memory, &known, at(0)), Some(60));
    // The Secret is deleted, or belongs to another owner: another state as well.
    assert_eq!(wait(&memory, &Target::Absent, at(0)), Some(5));
}

#[test]
fn a_clock_that_is_set_back_prolongs_no_wait_for_sync() {
    let mut memory = Memory::default();
    let target = adoptable("7");
    for _ in 0..7 {
        memory.conflicted(&target, at(10_000));
    }
    assert_eq!(wait(&memory, &target, at(10_000)), Some(60));
    assert_eq!(wait(&memory, &target, at(5_000)), None);
    let ahead = at(10_000) + SignedDuration::from_hours(1);
    assert_eq!(wait(&memory, &target, ahead), None);
}

#[test]
fn no_step_that_ends_with_a_write_is_taken_while_it_waits() {
    let credential = credential();
    let mut world = observed(&credential);
    world.target = Target::Absent;
    assert_eq!(
        plan(&credential, &world, at(0)),
        Plan::Mint(RenewalCause::Absent)
    );
    for held in [false, true] {
        world.held = held;
        world.memory.out_of_sync = None;
        world.memory.conflicted(&Target::Absent, at(0));
        let expected = Plan::Hold {
            until: at(1),
            why: Hold::OutOfSync,
        };
        assert_eq!(plan(&credential, &world, at(0)), expected);
        assert_ne!(plan(&credential, &world, at(1)), expected);
    }
    // If the cache shows a valid token, no write is needed.
    let mut good = observed(&credential);
    let before = plan(&credential, &good, at(0));
    good.memory.conflicted(&Target::Absent, at(0));
    assert_eq!(plan(&credential, &good, at(0)), before);
}
