//! The overlap: how long it lasts, and what ends it.

use jiff::{SignedDuration, Timestamp};

use super::faults::Process;
use crate::{
    fixtures::at,
    rotation::{Kind, Known, Mark, Next, Noted, Notice, Phase, Place, Slot, Step},
};

const DAY: i64 = 86_400;

/// Credential number 1 took over, and the one before it stays until the end of the first day.
fn overlap(kind: Kind) -> Process {
    let mut process = Process::of(kind);
    process.seen.slots.previous = Some(Slot {
        digest: "previous".to_owned(),
        mark: Mark::Hint("pre".to_owned()),
        validity: None,
    });
    let Noted::Record(record) = &mut process.seen.noted else {
        panic!("a record");
    };
    record.state = Phase::Switched { retire_at: at(DAY) };
    record.previous = Some(Known {
        digest: "previous".to_owned(),
        id: Some("key-0".to_owned()),
        n: Some(0),
        ..Known::default()
    });
    process
}

/// A token came by the current value at the same time.
fn decide(process: &mut Process, now: Timestamp) -> Next {
    process.now = now;
    process.seen.used_at = Some(now);
    process.decide()
}

fn removes_the_previous_one(next: &Next) -> bool {
    let Step::Write { change, .. } = &next.step else {
        return false;
    };
    matches!(
        change.record.state,
        Phase::Retiring {
            from: Place::Previous,
            ..
        }
    )
}

#[test]
fn a_credential_that_does_not_follow_ends_no_rotation_for_good() {
    for kind in [Kind::Secret, Kind::Certificate] {
        let mut process = overlap(kind);
        process.seen.lagging = Some("app".to_owned());
        let over = at(DAY);
        let next = decide(&mut process, over);
        let name = "app".to_owned();
        assert_eq!(next.notices, [Notice::UsersLag { name }], "{kind:?}");
        assert!(next.notices[0].message().contains("ApiCredential app"));
        let again = over + process.settings.pace.again;
        assert_eq!(next.step, Step::Wait { until: again });

        // The current one ends in time for another one.
        let near = at((180 - 8) * DAY);
        let next = decide(&mut process, near - SignedDuration::from_secs(1));
        assert!(!removes_the_previous_one(&next), "{kind:?}");
        assert!(removes_the_previous_one(&decide(&mut process, near)));

        // Somebody requests another one.
        process.seen.requested = Some("now".to_owned());
        assert!(removes_the_previous_one(&decide(&mut process, over)));
        // Without a token by the current one, the one before it stays.
        process.seen.used_at = None;
        let next = process.decide();
        assert!(matches!(next.step, Step::Trial { .. }), "{:?}", next.step);
    }
}

#[test]
fn a_rotation_that_is_requested_in_the_overlap_says_when_it_begins_and_how_to_begin_it_now() {
    let mut process = overlap(Kind::Secret);
    let noon = at(DAY / 2);
    let next = decide(&mut process, noon);
    assert!(next.notices.is_empty(), "{:?}", next.notices);
    let by_age = at(-9_000) + process.settings.every;
    assert_eq!(next.rotates_at, Some(by_age));

    process.seen.requested = Some("now".to_owned());
    let next = decide(&mut process, noon);
    assert_eq!(next.notices, [Notice::Requested { at: at(DAY) }]);
    let said = next.notices[0].message();
    assert!(said.contains("lower rotation.overlap"), "{said}");
    assert_eq!(next.step, Step::Wait { until: at(DAY) });
    assert_eq!(next.rotates_at, Some(at(DAY)));

    // Somebody cannot wait.
    process.settings.overlap = SignedDuration::from_mins(1);
    let step = decide(&mut process, noon).step;
    let Step::Write { change, .. } = step else {
        panic!("{step:?}")
    };
    let soon = noon + SignedDuration::from_mins(1);
    assert_eq!(change.record.state, Phase::Switched { retire_at: soon });
    process.seen.noted = Noted::Record(Box::new(change.record));
    // The write gave the Secret another version, so no credential has a token by it.
    process.seen.lagging = Some("app".to_owned());
    assert!(removes_the_previous_one(&decide(&mut process, soon)));
}
