//! Credentials that the issuer lists after their removal, and what is reported while no reading is recent.

use jiff::SignedDuration;

use super::process::{Process, failed};
use crate::{
    fixtures::at,
    rotation::{
        Class, Key, KeyMark, Kind, Mark, Notice, Outcome, Phase, RemovalSource, Slot, Step,
        ValueRecord,
    },
};

const DAY: i64 = 86_400;

/// The application with the current credential and these of apicred, which are in no Secret.
fn listing(process: &Process, others: &[u32]) -> Outcome {
    let Outcome::Application(mut application) = process.application() else {
        unreachable!("it is read")
    };
    application.keys.extend(others.iter().map(|n| Key {
        id: format!("lost-{n}"),
        name: Some(process.seen.names.name(*n)),
        mark: Some(KeyMark::Hint(format!("l{n}"))),
        from: Some(at(-9_000)),
        until: Some(at(90 * DAY)),
    }));
    Outcome::Application(application)
}

/// Runs for this long, and returns the IDs that were removed. The issuer always lists them.
fn removals(process: &mut Process, seconds: i64) -> Vec<String> {
    let (end, mut removed) = (at(seconds), Vec::new());
    for _ in 0..200 {
        process.seen.used_at = Some(process.now);
        let step = process.decide().step;
        let outcome = match &step {
            Step::Wait { until } if *until > end => break,
            Step::Wait { until } => {
                process.now = *until;
                continue;
            }
            Step::ReadApplication => listing(process, &[7, 8]),
            Step::RemovePassword { id } => {
                removed.push(id.clone());
                Outcome::Done
            }
            _ => Outcome::Done,
        };
        process.does(&outcome);
        process.pass(SignedDuration::from_millis(500));
    }
    removed
}

#[test]
fn a_credential_that_stays_listed_after_its_removal_is_removed_at_most_once_a_day() {
    let mut process = Process::of(Kind::Secret);
    let removed = removals(&mut process, DAY / 2);
    assert_eq!(removed, ["lost-7", "lost-8"]);
    assert!(process.memory.has_removed("lost-7"));
    assert!(!process.memory.has_removed("key-1"));
    let again = removals(&mut process, 2 * DAY);
    assert!(again.len() <= 4, "{again:?}");
}

/// A user's credential was replaced, and stays valid.
#[test]
fn what_stays_at_the_issuer_is_reported_with_its_end_in_every_state_of_a_rotation() {
    let mut process = Process::of(Kind::Secret);
    process.record().replaced = vec!["theirs".to_owned()];
    let until = Some(at(90 * DAY));
    let Outcome::Application(mut application) = process.application() else {
        unreachable!("it is read")
    };
    application.keys.push(Key {
        id: "theirs".to_owned(),
        name: None,
        mark: Some(KeyMark::Hint("the".to_owned())),
        from: None,
        until,
    });
    let read = Outcome::Application(application);
    process.memory.after(&Step::ReadApplication, &read, at(0));
    let expected = Notice::Foreign {
        id: Some("theirs".to_owned()),
        thumbprint: None,
        until,
    };
    let states = [
        Phase::Steady,
        Phase::Adding { n: 2, since: at(0) },
        Phase::Switched { retire_at: at(9) },
        Phase::Retiring {
            key: ValueRecord {
                id: Some("key-0".to_owned()),
                n: Some(3),
                ..ValueRecord::default()
            },
            from: RemovalSource::Orphan,
        },
    ];
    for state in states {
        process.record().state = state.clone();
        assert!(process.decide().notices.contains(&expected), "{state:?}");
        // A change of the application makes the reading obsolete.
        let id = "key-0".to_owned();
        process.memory.before(&Step::RemovePassword { id }, at(0));
        assert!(process.decide().notices.contains(&expected), "{state:?}");
    }
}

/// The operator lost its key for digests, and the application may not be read.
#[test]
fn a_rotation_continues_without_its_digests_by_the_names_of_the_certificates() {
    let mut process = Process::of(Kind::Certificate);
    let denied = failed(Class::Permission);
    process.memory.after(&Step::ReadApplication, &denied, at(0));
    let names = process.seen.names.clone();
    let slot = |n: u32| Slot {
        digest: format!("new-{n}"),
        mark: Mark::Certificate {
            sha1: format!("a{n}"),
            sha256: format!("b{n}"),
        },
        name: Some(names.name(n)),
        validity: Some((at(0), at(180 * DAY))),
    };
    process.seen.slots.current = Some(slot(1));
    process.seen.slots.previous = Some(slot(2));
    let record = process.record();
    record.state = Phase::Switched { retire_at: at(DAY) };
    record.previous = Some(ValueRecord {
        digest: "old-2".to_owned(),
        id: Some("key-0".to_owned()),
        n: Some(2),
        from: Some(at(0)),
        until: Some(at(180 * DAY)),
    });
    process.record().current.as_mut().unwrap().digest = "old-1".to_owned();
    let n = process.seen.names.number(&names.name(1));
    assert_eq!(n, Some(1));
    let next = process.decide();
    let foreign = |n: &Notice| matches!(n, Notice::Foreign { .. } | Notice::Unknown { .. });
    assert!(!next.notices.iter().any(foreign), "{:?}", next.notices);
    process.now = at(DAY);
    process.seen.used_at = Some(at(DAY));
    let next = process.decide();
    let Step::Write { change, .. } = &next.step else {
        panic!("{:?}", next.step)
    };
    let Phase::Retiring { key, .. } = &change.record.state else {
        panic!("{:?}", change.record.state)
    };
    assert_eq!(key.id.as_deref(), Some("key-0"));
    // A certificate of the same name with another end is not the recorded one.
    process.record().previous.as_mut().unwrap().until = Some(at(9 * DAY));
    let next = process.decide();
    let by_that_id = |step: &Step| {
        matches!(step, Step::Write { change, .. } if matches!(&change.record.state,
            Phase::Retiring { key, .. } if key.id.is_some()))
    };
    assert!(!by_that_id(&next.step), "{:?}", next.step);
}
