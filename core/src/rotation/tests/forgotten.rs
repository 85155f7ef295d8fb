//! Credentials of apicred that a user takes out of the Secret, if the application may not be read or the credential has no name: what is not
//! removed at the issuer is named once.

use super::process::{Process, failed};
use crate::{
    fixtures::at,
    rotation::{
        self, Application, Change, Class, FailureCause, InOther, Key, KeyMark, Kind, Left, Mark,
        Outcome, Phase, Record, RemovalSource, Slot, Step, Stored, StoredRecord, ValueRecord,
        Values,
    },
};

const UID: &str = "0d9b3b5e-6d52-4b8e-9df4-1c1b7a0e0000";

fn certificate(digest: &str) -> Slot {
    Slot {
        digest: digest.to_owned(),
        mark: Mark::Certificate {
            sha1: format!("{digest}-1"),
            sha256: format!("{digest}-2"),
        },
        name: None,
        validity: None,
    }
}

fn known(digest: &str, n: u32, id: Option<&str>) -> ValueRecord {
    ValueRecord {
        digest: digest.to_owned(),
        id: id.map(str::to_owned),
        n: Some(n),
        ..ValueRecord::default()
    }
}

/// The issuer does not let the application be read.
fn blind(mut process: Process) -> Process {
    let now = process.now;
    let denied = failed(Class::Permission);
    process.memory.after(&Step::ReadApplication, &denied, now);
    process
}

/// The second certificate is being proven, and its ID is this.
fn proving(id: Option<&str>) -> Process {
    let mut process = Process::of(Kind::Certificate);
    let record = process.record();
    (record.n, record.state) = (2, Phase::Added { since: at(0) });
    record.next = Some(known("next", 2, id));
    process
}

fn written(process: &mut Process) -> Change {
    match process.does(&Outcome::Done) {
        Step::Write { change, .. } => *change,
        step => panic!("{step:?}"),
    }
}

fn left(id: Option<&str>, n: u32) -> Left {
    Left {
        id: id.map(str::to_owned),
        name: format!("{UID}/{n}"),
        thumbprint: None,
        until: None,
    }
}

#[test]
fn a_next_certificate_that_a_user_removes_is_removed_at_the_issuer_by_its_id() {
    let mut process = blind(proving(Some("key-2")));
    let change = written(&mut process);
    let why = change.record.failure.map(|failure| failure.why);
    assert_eq!(
        (why, change.leaves),
        (Some(FailureCause::NextRemoved), vec![])
    );
    let id = "key-2".to_owned();
    assert_eq!(process.does(&Outcome::Done), Step::RemoveKey { id });
    let change = written(&mut process);
    assert_eq!(change.record.state, Phase::Steady);
    assert_eq!(change.leaves, []);
}

#[test]
fn a_next_certificate_that_cannot_be_removed_is_named() {
    // It may be the one under another key of the Secret.
    let mut process = blind(proving(Some("key-2")));
    process.seen.slots.other_keys = vec![certificate("other").mark];
    let change = written(&mut process);
    assert_eq!(change.record.state, Phase::Steady);
    assert_eq!(change.leaves, [left(Some("key-2"), 2)]);
    let said = change.leaves[0].message();
    assert!(
        said.contains("credential key-2") && said.contains("remove it there"),
        "{said}"
    );

    // Its ID is not known. The reading shows whether it is found later.
    let mut process = proving(None);
    let denied = failed(Class::Permission);
    assert_eq!(process.does(&denied), Step::ReadApplication);
    let change = written(&mut process);
    assert_eq!(change.record.state, Phase::Steady);
    assert_eq!(change.leaves, [left(None, 2)]);
    let said = change.leaves[0].message();
    assert!(said.contains(&format!("{UID}/2")), "{said}");
    let mut process = proving(None);
    assert_eq!(process.does(&process.application()), Step::ReadApplication);
    assert_eq!(written(&mut process).leaves, [], "it is found by its name");
}

/// The answer with its ID came, and the Secret was edited before the ID was recorded.
#[test]
fn the_id_in_an_answer_that_is_not_recorded_counts() {
    let mut process = blind(proving(None));
    process.record().state = Phase::Adding { n: 2, since: at(0) };
    process.seen.slots.next = Some(certificate("next"));
    process.memory.announced = Some(2);
    let id = Some("key-2".to_owned());
    let added = Outcome::KeyAdded(id.clone());
    assert!(matches!(process.does(&added), Step::AddKey { .. }));
    process.seen.slots.next = None;
    let Phase::Retiring { key, from } = written(&mut process).record.state else {
        panic!("a removal")
    };
    assert_eq!((key.id, from), (id, RemovalSource::Orphan));
}

#[test]
fn what_the_issuer_certainly_does_not_have_is_not_named() {
    let mut process = blind(proving(None));
    process.record().state = Phase::Adding { n: 2, since: at(0) };
    process.seen.slots.next = Some(certificate("next"));
    process.memory.announced = Some(2);
    let refused = failed(Class::Policy);
    assert!(matches!(process.does(&refused), Step::AddKey { .. }));
    let change = written(&mut process);
    assert_eq!(change.values, Values::DropNext);
    assert_eq!(change.leaves, []);
}

/// A user deleted the Secret and created it again, or replaced all of it.
#[test]
fn what_only_the_lost_annotation_named_is_named_once_more() {
    let lost = |process: &Process, last: &Record| {
        let Process {
            seen,
            memory,
            settings,
            now,
        } = process;
        rotation::forgotten(last, seen, memory, settings, *now)
    };
    let mut process = proving(None);
    let last = process.record().clone();
    process.seen.noted = StoredRecord::Absent;
    process.seen.slots.current = Some(certificate("theirs"));
    assert_eq!(lost(&process, &last), None, "nothing was read yet");
    let mut process = blind(process);
    let current = Left {
        until: last.current.as_ref().and_then(|known| known.until),
        ..left(Some("key-1"), 1)
    };
    let both = vec![current.clone(), left(None, 2)];
    assert_eq!(lost(&process, &last), Some(both));
    // The answer to adding it came after the Secret was deleted.
    let step = Step::AddKey {
        n: 2,
        digest: "next".to_owned(),
    };
    let added = Outcome::KeyAdded(Some("key-2".to_owned()));
    process.memory.after(&step, &added, at(0));
    let both = vec![current.clone(), left(Some("key-2"), 2)];
    assert_eq!(lost(&process, &last), Some(both));
    // Only the annotation was removed.
    process.seen.slots.next = Some(certificate("next"));
    assert_eq!(lost(&process, &last), Some(vec![current]));
    // It is found by its name.
    let read = process.application();
    process.memory.after(&Step::ReadApplication, &read, at(0));
    let mut process = Process::of(Kind::Certificate);
    process.memory.after(&Step::ReadApplication, &read, at(0));
    process.seen.slots.current = Some(certificate("theirs"));
    assert_eq!(lost(&process, &last), Some(Vec::new()));
}

#[test]
fn a_current_value_that_a_user_replaces_is_named_once_unless_it_is_found_later() {
    for kind in [Kind::Certificate, Kind::Key] {
        let mut process = Process::of(kind);
        // For a public key that is read.
        if kind == Kind::Certificate {
            process = blind(process);
        } else {
            let key = |id: &str| Key {
                id: id.to_owned(),
                name: None,
                mark: Some(KeyMark::Thumbprint(id.to_owned())),
                from: None,
                until: None,
            };
            let read = Outcome::Application(Application {
                read_at: process.now,
                keys: vec![key("key-1"), key("theirs")],
            });
            process.memory.after(&Step::ReadApplication, &read, at(0));
        }
        process.record().current = Some(known("before", 1, Some("key-1")));
        let mut theirs = certificate("theirs");
        if kind == Kind::Key {
            theirs.mark = Mark::Key("theirs".to_owned());
        }
        process.seen.slots.current = Some(theirs);
        process.settings.every = jiff::SignedDuration::from_hours(9_000);
        let change = written(&mut process);
        assert_eq!(change.record.state, Phase::Steady);
        assert_eq!(change.leaves, [left(Some("key-1"), 1)], "{kind:?}");
        let again = process.decide().step;
        assert!(
            !matches!(&again, Step::Write { change, .. } if !change.leaves.is_empty()),
            "{again:?}"
        );
    }
    // It is found by its name.
    let mut process = Process::of(Kind::Certificate);
    process.does(&process.application());
    process.seen.slots.current = Some(certificate("theirs"));
    let step = process.decide().step;
    assert!(!matches!(&step, Step::Write { change, .. } if !change.leaves.is_empty()));
}

/// A user tries another certificate for a while.
#[test]
fn a_certificate_that_a_user_puts_back_has_its_id_again() {
    let mut process = blind(Process::of(Kind::Certificate));
    let theirs = Slot {
        validity: Some((at(0), at(180 * 86_400))),
        ..certificate("theirs")
    };
    let own = process.seen.slots.current.replace(theirs);
    assert_eq!(written(&mut process).leaves.len(), 1);
    assert!(matches!(process.decide().step, Step::Wait { .. }));
    process.seen.slots.current = own;
    let change = written(&mut process);
    let current = change.record.current.expect("the current one");
    assert_eq!((current.id.as_deref(), current.n), (Some("key-1"), Some(1)));
    assert_eq!(change.leaves, []);
    assert!(matches!(process.decide().step, Step::Wait { .. }));
}

/// Another Secret has it as its current value, so it is in use there.
#[test]
fn a_certificate_that_another_secret_uses_is_not_named() {
    let mut process = blind(Process::of(Kind::Certificate));
    process.seen.slots.current = Some(certificate("theirs"));
    process.seen.in_others = vec![InOther {
        secret: Some("copy".to_owned()),
        value: Stored {
            digest: "current".to_owned(),
            id: Some("key-1".to_owned()),
            n: Some(1),
            replaced: false,
        },
    }];
    assert_eq!(written(&mut process).leaves, []);
}

#[test]
fn a_previous_certificate_that_a_user_removes_is_removed_at_the_issuer_by_its_id() {
    for id in [Some("key-0"), None] {
        let mut process = blind(Process::of(Kind::Certificate));
        let record = process.record();
        record.previous = Some(known("previous", 0, id));
        record.state = Phase::Switched {
            retire_at: at(9_000),
        };
        let change = written(&mut process);
        match id {
            Some(id) => {
                assert_eq!(change.leaves, []);
                let id = id.to_owned();
                assert_eq!(process.decide().step, Step::RemoveKey { id });
            }
            None => assert_eq!(change.leaves, [left(None, 0)]),
        }
    }
}

/// It is dropped from the Secret, and its thumbprint is still known.
#[test]
fn a_certificate_that_is_dropped_without_its_id_is_named_with_its_thumbprint() {
    let mut process = blind(Process::of(Kind::Certificate));
    process.seen.slots.previous = Some(certificate("ab"));
    let record = process.record();
    let key = known("ab", 0, None);
    record.previous = Some(key.clone());
    let from = RemovalSource::Previous;
    record.state = Phase::Retiring { key, from };
    let change = written(&mut process);
    assert_eq!(change.values, Values::DropPrevious);
    let [left] = change.leaves.as_slice() else {
        panic!("{:?}", change.leaves)
    };
    assert_eq!(left.thumbprint.as_deref(), Some("AB-1"));
    assert!(left.message().contains("thumbprint AB-1"));
    assert_eq!(process.decide().record.previous, None);
}

/// A removal that the issuer refuses again and again does not stop a rotation that is requested.
#[test]
fn a_rotation_that_is_requested_does_not_wait_for_a_certificate_that_cannot_be_removed() {
    let mut process = blind(proving(Some("key-2")));
    process.seen.requested = Some("now".to_owned());
    written(&mut process);
    for _ in 0..3 {
        while let Step::Wait { until } = process.decide().step {
            process.now = until;
        }
        let step = process.does(&failed(Class::Invalid));
        assert!(matches!(step, Step::RemoveKey { .. }), "{step:?}");
    }
    process.seen.used_at = Some(process.now);
    let mut begins = false;
    for _ in 0..20 {
        match process.decide().step {
            Step::Wait { until } => process.now = until,
            Step::MakeKeyPair { .. } => {
                begins = true;
                break;
            }
            _ => {
                process.does(&failed(Class::Invalid));
            }
        }
    }
    assert!(begins);
}
