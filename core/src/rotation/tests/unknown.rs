//! Values in the Secret or at the issuer that do not belong to a rotation, and what a restart reads.

mod restart;

use jiff::SignedDuration;

use super::{
    process::{Process, failed},
    world::no_answer,
};
use crate::{
    fixtures::at,
    rotation::{
        AnswerIds, Change, Class, FailureCause, Key, KeyMark, Kind, Mark, Notice, Outcome, Phase,
        Record, RemovalSource, Slot, Step, StoredRecord, Tried, UnstoredValue, ValueRecord, Values,
        values,
    },
};

const HOUR: i64 = 3_600;

fn slot(digest: &str) -> Slot {
    Slot {
        digest: digest.to_owned(),
        mark: Mark::Hint("imp".to_owned()),
        name: None,
        validity: None,
    }
}

fn strange(ending: &'static str, keys: &[&str]) -> Notice {
    Notice::Unknown {
        ending,
        keys: keys.iter().map(|key| (*key).to_owned()).collect(),
    }
}

/// A credential that apicred created and that is in no Secret.
fn made(process: &Process, n: u32, from: i64) -> Key {
    Key {
        id: format!("key-{n}"),
        name: Some(process.seen.names.name(n)),
        mark: Some(KeyMark::Hint("oth".to_owned())),
        from: Some(at(from)),
        until: Some(at(180 * 24 * HOUR)),
    }
}

/// What the issuer lists: the current one, and these.
fn lists(process: &Process, more: Vec<Key>) -> Outcome {
    let Outcome::Application(mut application) = process.application() else {
        panic!("an application");
    };
    application.keys.extend(more);
    Outcome::Application(application)
}

fn requested(kind: Kind) -> Process {
    let mut process = Process::of(kind);
    process.seen.requested = Some("now".to_owned());
    process
}

fn begins(step: &Step) -> bool {
    let Step::Write { change, .. } = step else {
        return matches!(step, Step::MakeKeyPair { .. });
    };
    matches!(change.record.state, Phase::Adding { .. })
}

#[test]
fn a_requested_rotation_does_not_wait_for_one_lost_credential() {
    for (lost, begun) in [(vec![], true), (vec![2], true), (vec![2, 3], false)] {
        let mut process = requested(Kind::Secret);
        let keys: Vec<Key> = lost.iter().map(|n| made(&process, *n, -600)).collect();
        let application = lists(&process, keys);
        assert_eq!(process.does(&application), Step::ReadApplication);
        let next = process.decide();
        assert_eq!(begins(&next.step), begun, "{lost:?}: {:?}", next.step);
        let until = at(HOUR - 600);
        for n in lost.iter().filter(|_| !begun) {
            let id = format!("key-{n}");
            let crowded = Notice::Crowded {
                id: id.clone(),
                until,
            };
            assert!(next.notices.contains(&crowded), "{:?}", next.notices);
            let message = crowded.message();
            let from_then_on = until.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
            assert!(
                message.contains(&id) && message.contains(&from_then_on),
                "{message}"
            );
        }
    }
}

#[test]
fn a_rotation_that_is_due_names_what_it_waits_for() {
    let mut process = Process::of(Kind::Secret);
    process.settings.every = SignedDuration::from_hours(2);
    let application = lists(&process, vec![made(&process, 2, -600)]);
    assert_eq!(process.does(&application), Step::ReadApplication);
    let next = process.decide();
    let until = at(HOUR - 600);
    assert_eq!(next.step, Step::Wait { until });
    let id = "key-2".to_owned();
    assert!(next.notices.contains(&Notice::Crowded { id, until }));
}

#[test]
fn a_value_that_a_user_stored_beside_it_is_not_tried_and_not_replaced() {
    for kind in [Kind::Secret, Kind::Certificate] {
        for ending in [values::NEXT, values::PREVIOUS] {
            let mut process = requested(kind);
            if ending == values::NEXT {
                process.seen.slots.next = Some(slot("theirs"));
            } else {
                process.seen.slots.previous = Some(slot("theirs"));
            }
            assert_eq!(process.does(&process.application()), Step::ReadApplication);
            let next = process.decide();
            assert!(matches!(next.step, Step::Wait { .. }), "{:?}", next.step);
            let notice = strange(ending, &[]);
            assert!(next.notices.contains(&notice), "{:?}", next.notices);
            assert!(notice.needs_user() && notice.message().contains(ending));
            // Not even its first characters.
            let shown: Vec<&str> = next.keys.iter().map(|key| key.slot).collect();
            assert_eq!(shown, ["Current"], "{kind:?}");
            // It was removed.
            (process.seen.slots.next, process.seen.slots.previous) = (None, None);
            let step = process.decide().step;
            assert!(begins(&step), "{kind:?}: {step:?}");
        }
    }
}

/// Several lines, a private key without its certificate, a note: such a value is not a credential, but it belongs to a user nevertheless.
#[test]
fn a_value_that_is_no_credential_is_not_replaced_either() {
    for kind in [Kind::Secret, Kind::Certificate, Kind::Key] {
        for (ending, keys) in [
            (values::NEXT, &["tls.key-next"][..]),
            (values::NEXT, &["tls.crt-next", "tls.key-next"]),
            (values::PREVIOUS, &["tls.key-previous"]),
        ] {
            let mut process = requested(kind);
            process.seen.slots.beside = keys.iter().map(|key| (*key).to_owned()).collect();
            assert_eq!(process.does(&process.application()), Step::ReadApplication);
            let next = process.decide();
            assert!(matches!(next.step, Step::Wait { .. }), "{:?}", next.step);
            let notice = strange(ending, keys);
            assert!(next.notices.contains(&notice), "{:?}", next.notices);
            for key in keys {
                assert!(notice.message().contains(key), "{}", notice.message());
            }
            process.seen.slots.beside.clear();
            let step = process.decide().step;
            assert!(begins(&step), "{kind:?}: {step:?}");
        }
    }
}

/// A rotation whose second credential is the next value.
fn in_state(kind: Kind, state: Phase) -> Process {
    let mut process = Process::of(kind);
    let record = process.record();
    record.n = 2;
    record.state = state;
    record.next = Some(ValueRecord {
        digest: "next".to_owned(),
        id: Some("key-2".to_owned()),
        n: Some(2),
        ..ValueRecord::default()
    });
    process.seen.slots.next = Some(slot("next"));
    process
}

#[test]
fn a_value_that_a_user_stores_in_place_of_a_new_credential_is_not_sent_shown_or_removed() {
    for kind in [Kind::Secret, Kind::Certificate, Kind::Key] {
        for theirs in [Some(slot("theirs")), None] {
            for state in [
                Phase::Added { since: at(0) },
                Phase::Adding { n: 2, since: at(0) },
            ] {
                if kind == Kind::Secret && state != (Phase::Added { since: at(0) }) {
                    continue;
                }
                let mut process = in_state(kind, state);
                process.seen.slots.next.clone_from(&theirs);
                process.seen.slots.beside = vec!["value-next".to_owned()];
                let notice = strange(values::NEXT, &["value-next"]);
                let next = process.decide();
                assert!(next.notices.contains(&notice), "{:?}", next.notices);
                let shown: Vec<&str> = next.keys.iter().map(|key| key.slot).collect();
                assert_eq!(shown, ["Current"], "{kind:?}");
                let Step::Write { change, .. } = next.step else {
                    panic!("{kind:?}: {:?}", next.step);
                };
                assert_eq!(change.values, Values::Keep);
                assert_eq!(change.record.next, None, "{kind:?}");
                // Its ID is known, and it may be that nothing finds it later, so it is removed at once.
                let Phase::Retiring { key, from } = &change.record.state else {
                    panic!("{kind:?}: {:?}", change.record.state);
                };
                assert_eq!(key.id.as_deref(), Some("key-2"));
                assert_eq!(*from, RemovalSource::Orphan);
                assert!(change.leaves.is_empty(), "{:?}", change.leaves);
                let why = change.record.failure.map(|failure| failure.why);
                assert_eq!(why, Some(FailureCause::NextRemoved));
            }
        }
    }
}

#[test]
fn a_client_secret_that_the_issuer_made_waits_until_its_place_is_free() {
    let held = UnstoredValue {
        n: 2,
        slot: slot("made"),
        id: Some("key-2".to_owned()),
        from: at(0),
        until: None,
    };
    let adding = || {
        let since = at(0);
        let mut process = in_state(Kind::Secret, Phase::Adding { n: 2, since });
        let record = process.record();
        record.next = None;
        process.seen.slots.next = None;
        process
    };
    let notice = strange(values::NEXT, &["value-next"]);
    let theirs = vec!["value-next".to_owned()];

    let mut process = adding();
    process.memory.announced = Some(2);
    assert!(matches!(process.decide().step, Step::AddPassword { .. }));
    process.seen.slots.beside.clone_from(&theirs);
    let next = process.decide();
    assert!(next.notices.contains(&notice), "{:?}", next.notices);
    let Step::Write { change, .. } = next.step else {
        panic!("{:?}", next.step);
    };
    assert_eq!(change.record.state, Phase::Steady);
    let why = change.record.failure.map(|failure| failure.why);
    assert_eq!(why, Some(FailureCause::NotSent));

    // It was stored while the request was in progress.
    let mut process = adding();
    process.memory.held = Some(held);
    process.seen.slots.beside = theirs;
    let next = process.decide();
    assert!(matches!(next.step, Step::Wait { .. }), "{:?}", next.step);
    assert!(next.notices.contains(&notice), "{:?}", next.notices);
    process.seen.slots.beside.clear();
    let Step::Write { change, .. } = process.decide().step else {
        panic!("a write");
    };
    assert_eq!(change.values, Values::StoreNext);
}

#[test]
fn a_proven_credential_waits_until_the_place_of_the_one_before_it_is_free() {
    let since = at(0);
    let mut process = in_state(Kind::Secret, Phase::Added { since });
    for seconds in [30, 60, 90, 120, 150] {
        process.now = at(seconds);
        let trial = Step::Trial {
            of: Tried::Next,
            digest: "next".to_owned(),
            since: Some(since),
        };
        process.memory.after(&trial, &Outcome::Token, process.now);
    }
    let promotes = |step: &Step| {
        let Step::Write { change, .. } = step else {
            return false;
        };
        change.values == Values::Promote
    };
    assert!(promotes(&process.decide().step));
    process.seen.slots.beside = vec!["value-previous".to_owned()];
    for theirs in [None, Some(slot("theirs"))] {
        process.seen.slots.previous = theirs;
        let next = process.decide();
        assert!(matches!(next.step, Step::Wait { .. }), "{:?}", next.step);
        let notice = strange(values::PREVIOUS, &["value-previous"]);
        let same = next.notices.iter().filter(|seen| **seen == notice);
        assert_eq!(same.count(), 1, "{:?}", next.notices);
        let shown: Vec<&str> = next.keys.iter().map(|key| key.slot).collect();
        assert_eq!(shown, ["Current", "Next"]);
    }
}

#[test]
fn a_write_does_not_record_a_value_that_a_user_stored_beside_it() {
    let mut process = Process::of(Kind::Secret);
    process.seen.noted = StoredRecord::Absent;
    process.seen.slots.previous = Some(slot("theirs"));
    assert_eq!(process.does(&process.application()), Step::ReadApplication);
    let step = process.does(&Outcome::Done);
    let Step::Write { change, .. } = step else {
        panic!("{step:?}");
    };
    let Change { record, .. } = *change;
    assert_eq!(
        record.current.and_then(|known| known.id).as_deref(),
        Some("key-1")
    );
    assert_eq!(record.previous, None);
    let notice = strange(values::PREVIOUS, &[]);
    assert!(process.decide().notices.contains(&notice));
}
