//! A rotation that cannot remove the previous credential.

use jiff::SignedDuration;

use super::{
    overlap::overlap,
    process::{Process, failed},
};
use crate::{
    fixtures::at,
    rotation::{
        AnswerIds, Application, Class, Key, KeyMark, Kind, Mark, Notice, Outcome, Phase, Record,
        RemovalSource, Slot, Step, ValueRecord, Values,
    },
};

const DAY: i64 = 86_400;

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
    let previous = process.record().previous.clone().expect("a previous one");
    process.record().state = Phase::Retiring {
        key: previous,
        from: RemovalSource::Previous,
    };
    process
}

/// What the next rotation writes first.
fn begins(process: &Process) -> Record {
    let next = process.decide();
    let Step::Write { change, .. } = next.step else {
        panic!("{:?} {:?}", next.step, next.notices);
    };
    let Phase::Adding { n, .. } = change.record.state else {
        panic!("{change:?}");
    };
    assert_eq!((change.values, change.announces), (Values::Keep, Some(n)));
    // The one before the current one stays in the Secret and in the record.
    let previous = change.record.previous.as_ref();
    assert_eq!(previous.and_then(|k| k.id.as_deref()), Some("key-0"));
    change.record
}

/// Only the previous credential is at the issuer.
fn lists_the_previous_one(process: &mut Process) {
    let rest = vec![key(process, 0, Some("pre"))];
    lists(process, rest);
}

#[test]
fn a_rotation_that_is_needed_begins_if_the_issuer_refuses_the_current_value_after_the_overlap() {
    let mut process = overlap(Kind::Secret);
    process.now = at(DAY);
    process.seen.used_at = None;
    lists_the_previous_one(&mut process);
    let trial = process.does(&Outcome::Refused(AnswerIds::default()));
    assert!(matches!(trial, Step::Trial { .. }), "{trial:?}");
    // It is not needed.
    let next = process.decide();
    assert_eq!(next.notices, [Notice::CurrentRefused]);
    assert!(matches!(next.step, Step::Wait { .. }), "{:?}", next.step);
    process.seen.requested = Some("now".to_owned());
    begins(&process);
    process.seen.requested = None;
    process.settings.every = SignedDuration::from_hours(24);
    begins(&process);

    // It fails. The overlap does not begin again, and the next try waits.
    process.does(&Outcome::Done);
    process.does(&failed(Class::Permission));
    let Step::Write { change, .. } = process.does(&Outcome::Done) else {
        panic!("it has failed");
    };
    let retire_at = process.now;
    assert_eq!(change.record.state, Phase::Switched { retire_at });
    assert!(change.record.failure.is_some());
    process.pass(process.settings.pace.call_pause);
    lists_the_previous_one(&mut process);
    assert!(matches!(process.decide().step, Step::Wait { .. }));
    process.pass(process.settings.pace.pause);
    lists_the_previous_one(&mut process);
    begins(&process);
}

#[test]
fn the_overlap_ends_before_a_rotation_begins_whatever_the_issuer_refuses() {
    let mut process = overlap(Kind::Secret);
    process.seen.used_at = None;
    process.seen.requested = Some("now".to_owned());
    lists_the_previous_one(&mut process);
    let next = process.decide();
    assert_eq!(next.step, Step::Wait { until: at(DAY) });
    assert_eq!(next.notices, [Notice::Requested { at: at(DAY) }]);
}

#[test]
fn a_rotation_that_is_needed_begins_if_the_issuer_does_not_list_the_current_value() {
    let mut process = retiring(Kind::Secret);
    lists_the_previous_one(&mut process);
    let next = process.decide();
    assert_eq!(next.notices, [Notice::CurrentNotListed]);
    let until = process.now + process.settings.pace.again;
    assert_eq!(next.step, Step::Wait { until });
    let message = next.notices[0].message();
    assert!(message.contains("request a rotation"), "{message}");

    process.seen.requested = Some("now".to_owned());
    begins(&process);
    assert!(process.decide().notices.contains(&Notice::Due));
    process.seen.requested = None;
    process.now = at((180 - 8) * DAY);
    lists_the_previous_one(&mut process);
    begins(&process);
}

#[test]
fn a_rotation_that_is_needed_does_not_wait_for_a_removal_that_always_fails() {
    let mut process = retiring(Kind::Secret);
    process.seen.requested = Some("now".to_owned());
    let all = |process: &mut Process, extra: bool| {
        let mut keys = vec![key(process, 0, Some("pre")), key(process, 1, Some("val"))];
        let lost = [6, 7].map(|n| key(process, n, Some("oth")));
        keys.extend(lost.into_iter().filter(|_| extra));
        process.seen.used_at = Some(process.now);
        lists(process, keys);
    };
    for _ in 0..3 {
        all(&mut process, false);
        let step = process.does(&failed(Class::Transient));
        assert!(matches!(step, Step::RemovePassword { .. }), "{step:?}");
        process.pass(SignedDuration::from_mins(10));
    }
    all(&mut process, false);
    begins(&process);
    // Without need it is tried again, and also if the issuer has no room for another credential.
    all(&mut process, true);
    let step = process.decide().step;
    assert!(matches!(step, Step::RemovePassword { .. }), "{step:?}");
    process.seen.requested = None;
    all(&mut process, false);
    let step = process.decide().step;
    assert!(matches!(step, Step::RemovePassword { .. }), "{step:?}");
}

#[test]
fn a_removal_that_is_refused_is_repeated_ever_more_rarely_whatever_is_read_meanwhile() {
    for (class, first) in [(Class::Permission, 15), (Class::Conflict, 30)] {
        let mut process = retiring(Kind::Secret);
        let mut pauses = Vec::new();
        for _ in 0..16 {
            process.seen.used_at = Some(process.now);
            let keys = vec![key(&process, 0, Some("pre")), key(&process, 1, Some("val"))];
            let read = Outcome::Application(Application {
                read_at: process.now,
                keys,
            });
            // Each removal has a reading before it, and no other reading is sent.
            assert_eq!(process.does(&read), Step::ReadApplication, "{class:?}");
            let step = process.does(&failed(class));
            assert!(matches!(step, Step::RemovePassword { .. }), "{step:?}");
            assert_eq!(process.blocked(), [format!("{class:?}")]);
            let pause = process.waits();
            pauses.push(pause.as_secs());
            process.pass(pause);
        }
        assert_eq!(
            pauses[..4],
            [1, 2, 4, 8].map(|times| first * times),
            "{class:?}"
        );
        assert_eq!(pauses[15], DAY, "{class:?}");

        // A rotation that becomes due meanwhile does not wait for the end of the pause.
        let mut days = 0;
        while let Step::Wait { until } = process.decide().step
            && until.duration_since(process.now).as_secs() == DAY
        {
            days += 1;
            assert!(days < 100, "{class:?}: it was due after 90 days");
            process.pass(process.waits());
            process.seen.used_at = Some(process.now);
            let keys = vec![key(&process, 0, Some("pre")), key(&process, 1, Some("val"))];
            process.does(&Outcome::Application(Application {
                read_at: process.now,
                keys,
            }));
            process.does(&failed(class));
        }
    }
}

/// The orphan of an earlier rotation is removed before the overlap of the value that was just replaced begins.
#[test]
fn a_rotation_instead_of_the_removal_of_an_orphan_skips_no_overlap() {
    let mut process = retiring(Kind::Secret);
    let orphan = key(&process, 6, Some("oth"));
    process.record().state = Phase::Retiring {
        key: ValueRecord {
            id: Some(orphan.id.clone()),
            n: Some(6),
            ..ValueRecord::default()
        },
        from: RemovalSource::Orphan,
    };
    process.seen.requested = Some("now".to_owned());
    let previous = key(&process, 0, Some("pre"));
    lists(&mut process, vec![previous, orphan]);
    let Step::Write { change, .. } = process.decide().step else {
        panic!("it is left");
    };
    let retire_at = process.now + process.settings.overlap;
    assert_eq!(change.record.state, Phase::Switched { retire_at });
    let previous = change.record.previous.and_then(|known| known.id);
    assert_eq!(previous.as_deref(), Some("key-0"));
}

#[test]
fn what_is_left_of_the_rotation_before_is_removed_when_the_new_credential_has_taken_over() {
    for kind in [Kind::Secret, Kind::Certificate] {
        let mut process = overlap(kind);
        process.proves();
        let gap = process.settings.trials.gap;
        let change = loop {
            process.pass(gap);
            match process.does(&Outcome::Token) {
                Step::Write { change, .. } => break change,
                Step::Trial { .. } => {}
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(change.values, Values::Promote, "{kind:?}");
        let noted = change.record;
        let Phase::Retiring { key, from } = &noted.state else {
            panic!("{noted:?}");
        };
        assert_eq!(
            (key.id.as_deref(), *from),
            (Some("key-0"), RemovalSource::Orphan)
        );
        let ids = [&noted.current, &noted.previous].map(|k| k.clone().and_then(|k| k.id));
        assert_eq!(ids, [Some("key-2".to_owned()), Some("key-1".to_owned())]);
    }
}

#[test]
fn a_public_key_that_is_in_no_secret_is_not_forgotten() {
    for (kind, from, forgotten) in [
        (Kind::Key, RemovalSource::Orphan, false),
        (Kind::Key, RemovalSource::Next, false),
        (Kind::Key, RemovalSource::Previous, true),
        (Kind::Secret, RemovalSource::Orphan, true),
    ] {
        let mut process = retiring(kind);
        let Phase::Retiring { key, .. } = process.record().state.clone() else {
            panic!("it was set above");
        };
        process.record().state = Phase::Retiring { key, from };
        if from != RemovalSource::Previous {
            process.seen.slots.previous = None;
            process.record().previous = None;
        }
        process.seen.requested = Some("now".to_owned());
        lists_the_previous_one(&mut process);
        let next = process.decide();
        assert!(next.notices.contains(&Notice::CurrentNotListed));
        let left = !matches!(next.step, Step::Wait { .. });
        assert_eq!(left, forgotten, "{kind:?} {from:?} {:?}", next.step);
    }
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
