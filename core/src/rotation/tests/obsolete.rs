//! A rotation that failed is reported until one succeeds, or until none is needed any more.

use jiff::SignedDuration;

use super::process::{Process, failed};
use crate::{
    fixtures::at,
    rotation::{Class, Key, KeyMark, Kind, Mark, Notice, Outcome, Phase, Slot, Step, StoredRecord},
};

fn reports(process: &Process) -> bool {
    let notices = process.decide().notices;
    let fault = |n: &Notice| matches!(n, Notice::Failed(_) | Notice::Blocked(_));
    notices.iter().any(fault)
}

/// A scheduled rotation failed, and another process has not restarted since.
fn scheduled() -> Process {
    let mut process = Process::of(Kind::Secret);
    process.settings.every = SignedDuration::from_hours(2);
    process.does(&process.application());
    process.does(&Outcome::Done);
    process.does(&failed(Class::Permission));
    let step = process.does(&Outcome::Done);
    assert!(matches!(step, Step::Write { .. }), "{step:?}");
    process.pass(process.settings.pace.call_pause);
    assert!(reports(&process), "the right is still missing");
    process
}

/// The write that ends the report.
fn is_cleared(process: &mut Process) {
    assert!(!reports(process), "{:?}", process.decide().notices);
    let step = process.does(&Outcome::Done);
    let Step::Write { change, .. } = &step else {
        panic!("{step:?}");
    };
    assert_eq!(
        (&change.record.state, &change.record.failure),
        (&Phase::Steady, &None)
    );
    assert!(!reports(process));
    assert!(matches!(process.decide().step, Step::Wait { .. }));
}

#[test]
fn a_failure_ends_when_a_user_stores_another_value_and_nothing_is_due() {
    let mut process = scheduled();
    process.settings.every = SignedDuration::from_hours(2160);
    process.seen.slots.current = Some(Slot {
        digest: "by hand".to_owned(),
        mark: Mark::Hint("new".to_owned()),
        name: None,
        validity: None,
    });
    let Outcome::Application(mut listed) = process.application() else {
        panic!("an application");
    };
    listed.keys.push(Key {
        id: "key-9".to_owned(),
        name: None,
        mark: Some(KeyMark::Hint("new".to_owned())),
        from: Some(process.now),
        until: Some(at(180 * 86_400)),
    });
    // The earlier value is not in the Secret any more.
    listed.keys.remove(0);
    let listed = Outcome::Application(listed);
    let now = process.now;
    process.memory.after(&Step::ReadApplication, &listed, now);
    // Which credential it is is recorded first.
    process.does(&Outcome::Done);
    is_cleared(&mut process);
}

#[test]
fn a_failure_ends_with_a_longer_interval() {
    let mut process = scheduled();
    process.settings.every = SignedDuration::from_hours(2160);
    process.does(&process.application());
    is_cleared(&mut process);
}

#[test]
fn a_failure_ends_when_its_request_is_withdrawn_and_not_before() {
    let mut process = Process::announced(Kind::Secret);
    process.does(&failed(Class::Permission));
    process.does(&Outcome::Done);
    process.pass(process.settings.pace.call_pause);
    process.does(&process.application());
    let StoredRecord::Record(record) = &process.seen.noted else {
        panic!("a record");
    };
    assert!(record.failure.is_some() && reports(&process));
    process.seen.requested = None;
    is_cleared(&mut process);
}
