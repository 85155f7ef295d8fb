//! A value that the issuer created is in hand until the Secret has it, whatever the API server answered.

use jiff::SignedDuration;

use super::process::Process;
use crate::{
    fixtures::at,
    rotation::{InHand, Kind, Mark, Outcome, Slot, Slots, Step},
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
    let held = InHand {
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
