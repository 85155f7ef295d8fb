//! A rotation that cannot remove the previous credential.

use super::{faults::Process, overlap::overlap};
use crate::{
    fixtures::at,
    rotation::{
        Application, Key, KeyMark, Kind, Mark, Noted, Notice, Outcome, Phase, Place, Record, Slot,
        Step,
    },
};

const DAY: i64 = 86_400;

fn record(process: &mut Process) -> &mut Record {
    let Noted::Record(record) = &mut process.seen.noted else {
        panic!("a record");
    };
    record
}

fn key(process: &Process, n: u32, hint: Option<&str>) -> Key {
    Key {
        id: format!("key-{n}"),
        name: Some(process.seen.names.name(n)),
        mark: hint.map(|hint| KeyMark::Hint(hint.to_owned())),
        from: Some(at(-9_000)),
        until: Some(at(180 * DAY)),
    }
}

/// The application lists these credentials.
fn lists(process: &mut Process, keys: Vec<Key>) {
    let application = Application {
        read_at: process.now,
        keys,
    };
    let outcome = Outcome::Application(application);
    let now = process.now;
    process.memory.after(&Step::ReadApplication, &outcome, now);
}

/// The previous credential is about to be removed.
fn retiring(kind: Kind) -> Process {
    let mut process = overlap(kind);
    process.now = at(2 * DAY);
    process.seen.used_at = Some(process.now);
    let previous = record(&mut process)
        .previous
        .clone()
        .expect("a previous one");
    record(&mut process).state = Phase::Retiring {
        key: previous,
        from: Place::Previous,
    };
    process
}

#[test]
fn without_hints_a_value_that_a_user_stored_in_the_overlap_is_reported_until_it_is_clear() {
    let mut process = retiring(Kind::Secret);
    process.seen.slots.current = Some(Slot {
        digest: "by hand".to_owned(),
        mark: Mark::Hint("own".to_owned()),
        name: None,
        validity: None,
    });
    let all = vec![key(&process, 0, None), key(&process, 1, None)];
    lists(&mut process, all);
    let next = process.decide();
    assert_eq!(next.notices, [Notice::Ambiguous]);
    let until = process.now + process.settings.pace.again;
    assert_eq!(next.step, Step::Wait { until });

    // A user removed it at the issuer: it counts as removed.
    let rest = vec![key(&process, 1, None)];
    lists(&mut process, rest);
    let next = process.decide();
    assert!(!next.notices.contains(&Notice::Ambiguous));
    assert!(
        matches!(next.step, Step::RemovePassword { .. }),
        "{:?}",
        next.step
    );

    // A user removed its value: nothing is about to be removed any more.
    let all = vec![key(&process, 0, None), key(&process, 1, None)];
    lists(&mut process, all);
    process.seen.slots.previous = None;
    let Step::Write { change, .. } = process.decide().step else {
        panic!("{:?}", process.decide().step);
    };
    assert_eq!(change.record.state, Phase::Steady);
}
