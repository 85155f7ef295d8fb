//! A value that the issuer created is in hand until the Secret has it, whatever the API server answered.

use jiff::SignedDuration;

use super::process::Process;
use crate::{
    fixtures::at,
    rotation::{
        Kind, Mark, Outcome, Phase, RemovalSource, Slot, Slots, Step, StoredRecord, UnstoredValue,
        Values,
    },
};

fn slot(digest: &str) -> Slot {
    Slot {
        digest: digest.to_owned(),
        mark: Mark::Hint("nex".to_owned()),
        name: None,
        validity: None,
    }
}

/// A process that got a client secret and has stored nothing.
fn holding() -> Process {
    let mut process = Process::announced(Kind::Secret);
    let held = UnstoredValue {
        n: 3,
        slot: slot("made"),
        id: Some("key-3".to_owned()),
        from: at(0),
        until: Some(at(0) + SignedDuration::from_hours(24)),
    };
    let add = Step::AddPassword {
        n: 3,
        name: String::new(),
        until: at(0),
    };
    process.memory.after(&add, &Outcome::Held(held), at(0));
    assert!(process.memory.held().is_some());
    process
}

#[test]
fn a_write_whose_answer_was_lost_has_stored_it_wherever_it_stands_by_now() {
    let made = Some(slot("made"));
    for slots in [
        Slots {
            next: made.clone(),
            ..Slots::default()
        },
        // It was promoted, and replaced.
        Slots {
            current: made.clone(),
            ..Slots::default()
        },
        Slots {
            previous: made.clone(),
            ..Slots::default()
        },
    ] {
        let mut process = holding();
        assert!(process.memory.found(&slots), "{slots:?}");
        assert!(process.memory.held().is_none(), "{slots:?}");
        assert!(!process.memory.found(&slots), "nothing is in hand any more");
    }
}

#[test]
fn what_the_secret_does_not_have_stays_in_hand() {
    for other in [None, Some(slot("another"))] {
        let mut process = holding();
        let slots = Slots {
            current: other.clone(),
            next: other,
            ..Slots::default()
        };
        assert!(!process.memory.found(&slots), "{slots:?}");
        assert!(process.memory.held().is_some(), "{slots:?}");
    }
}

#[test]
fn what_no_announcement_waits_for_any_more_is_removed_at_the_issuer() {
    for noted in [true, false] {
        let mut process = holding();
        // The Secret was deleted, and created again with a copy of the annotation or without it.
        process.record().state = Phase::Steady;
        if !noted {
            process.seen.noted = StoredRecord::Absent;
        }
        let Step::Write { change, .. } = process.does(&Outcome::NotWritten) else {
            panic!("it is withdrawn");
        };
        let Phase::Retiring { key, from } = &change.record.state else {
            panic!("{change:?}");
        };
        assert_eq!((key.id.as_deref(), key.n), (Some("key-3"), Some(3)));
        assert_eq!(
            (*from, change.values),
            (RemovalSource::Orphan, Values::Keep)
        );
        assert!(process.memory.held().is_some(), "nothing was written");
        process.does(&Outcome::Done);
        assert!(process.memory.held().is_none(), "its ID is stored");
        let step = process.decide().step;
        let id = "key-3".to_owned();
        assert_eq!(step, Step::RemovePassword { id });
    }
}

#[test]
fn what_the_present_announcement_is_about_is_stored_and_not_removed() {
    let mut process = holding();
    let since = process.now;
    process.record().state = Phase::Adding { n: 3, since };
    let Step::Write { change, .. } = process.decide().step else {
        panic!("it is stored");
    };
    assert_eq!(change.values, Values::StoreNext);
}
