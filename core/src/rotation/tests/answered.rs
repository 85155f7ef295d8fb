//! A request that was answered is not answered again, whatever happens to the annotation of the Secret.

use jiff::SignedDuration;

use super::process::{Process, failed};
use crate::{
    fixtures::at,
    rotation::{Class, Failure, FailureCause, Kind, Outcome, Phase, Record, Step, StoredRecord},
};

const REQUEST: &str = "2026-11-30T08:00:00Z";

/// A client whose current credential is young, with a request.
fn requested() -> Process {
    let mut process = Process::of(Kind::Certificate);
    process.seen.requested = Some(REQUEST.to_owned());
    process
}

/// Whether another rotation is due.
fn is_due(process: &Process) -> bool {
    let rotates_at = process.decide().rotates_at;
    rotates_at.is_some_and(|at| at <= process.now)
}

#[test]
fn a_request_that_status_reports_as_answered_is_not_answered_again() {
    // Nothing shows that it was answered.
    let mut process = requested();
    assert!(is_due(&process));
    // The annotation from a backup is older than the answer.
    process.seen.handled = Some(REQUEST.to_owned());
    assert!(!is_due(&process));
    process.record().handled = Some("an earlier one".to_owned());
    assert!(!is_due(&process));
    // Status still reports it.
    let next = process.decide();
    assert_eq!(next.record.handled.as_deref(), Some(REQUEST));
    // The annotation was removed; the issuer lists the credential.
    process.seen.noted = StoredRecord::Absent;
    let listed = process.application();
    process.memory.after(&Step::ReadApplication, &listed, at(0));
    assert!(!is_due(&process));
    // A new request.
    process.seen.requested = Some("2026-11-30T09:00:00Z".to_owned());
    assert!(is_due(&process));
}

#[test]
fn a_failed_request_is_still_answered_whatever_status_reports() {
    let mut process = requested();
    // Status was written while the rotation was in progress, and a late copy is read.
    process.seen.handled = Some(REQUEST.to_owned());
    process.record().failure = Some(Failure {
        at: at(-90_000),
        why: FailureCause::NotProven,
        times: 1,
        requested: Some(REQUEST.to_owned()),
        class: None,
        answer: None,
    });
    assert!(is_due(&process));
    // The request that failed was another one.
    let failure = process.record().failure.as_mut().expect("a failure");
    failure.requested = Some("an earlier one".to_owned());
    assert!(!is_due(&process));
}

/// A rotation that is due because of its interval and not because of a request.
fn due_by_age() -> Process {
    let mut process = Process::of(Kind::Secret);
    process.settings.every = SignedDuration::from_hours(2);
    process
}

/// The issuer does not add a new credential. Returns the write that records it.
fn is_refused(process: &mut Process) -> Record {
    let outcome = process.application();
    assert_eq!(process.does(&outcome), Step::ReadApplication);
    loop {
        let step = process.does(&Outcome::Done);
        let Step::Write { change, .. } = step else {
            panic!("{step:?}");
        };
        if change.record.state == Phase::Steady {
            return change.record;
        }
        let add = process.does(&failed(Class::Permission));
        assert!(matches!(add, Step::AddPassword { .. }), "{add:?}");
    }
}

#[test]
fn a_request_that_was_answered_stays_answered_when_a_later_scheduled_rotation_fails() {
    let mut process = due_by_age();
    process.seen.requested = Some(REQUEST.to_owned());
    process.seen.handled = Some(REQUEST.to_owned());
    process.record().handled = Some(REQUEST.to_owned());
    let noted = is_refused(&mut process);
    assert_eq!(noted.handled.as_deref(), Some(REQUEST));
    assert_eq!(noted.failure.expect("a failure").requested, None);
    // It is paused like each rotation that failed.
    process.pass(process.settings.pace.call_pause);
    process.does(&process.application());
    assert!(process.waits() > process.settings.pace.call_pause);
    // When nothing is due by age, nothing is due.
    process.settings.every = SignedDuration::from_hours(2160);
    assert!(!is_due(&process));
}

#[test]
fn a_request_that_comes_while_a_scheduled_rotation_fails_is_the_next_one() {
    let mut process = due_by_age();
    let noted = is_refused(&mut process);
    assert_eq!((noted.handled, noted.answering), (None, None));
    process.seen.requested = Some(REQUEST.to_owned());
    // It does not wait for the pause, and is open until a rotation succeeds.
    process.pass(process.settings.pace.call_pause);
    let noted = is_refused(&mut process);
    assert_eq!((noted.handled, noted.answering), (None, None));
    let failure = noted.failure.expect("a failure");
    assert_eq!(failure.requested.as_deref(), Some(REQUEST));
    assert!(is_due(&process));
}

#[test]
fn the_record_of_a_rotation_without_a_request_is_as_short_as_before() {
    let text = |answering: Option<&str>| {
        let record = Record {
            answering: answering.map(str::to_owned),
            ..Record::default()
        };
        record.annotation().1
    };
    assert!(!text(None).contains("answering"));
    assert!(text(Some(REQUEST)).contains(&format!("\"answering\":\"{REQUEST}\"")));
}

/// A certificate that is being proven for a request.
fn proving() -> Process {
    let mut process = Process::announced(Kind::Certificate);
    process.seen.requested = Some(REQUEST.to_owned());
    let since = process.now;
    let record = process.record();
    record.state = Phase::Added { since };
    record.handled = Some("before".to_owned());
    record.answering = Some(REQUEST.to_owned());
    process
}

#[test]
fn a_request_is_answered_when_credentials_use_the_new_value() {
    let mut process = proving();
    loop {
        let next = process.decide();
        assert_eq!(next.record.handled.as_deref(), Some("before"));
        process.pass(process.settings.trials.gap);
        match process.does(&Outcome::Token) {
            Step::Write { change, .. } => {
                let noted = change.record;
                assert_eq!(noted.handled.as_deref(), Some(REQUEST));
                assert_eq!(noted.answering, None);
                return;
            }
            Step::Trial { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_request_is_still_open_if_the_secret_is_replaced_by_an_earlier_one_before_that() {
    let with = |handled: Option<&str>| {
        let mut process = proving();
        // What status has by now.
        process
            .seen
            .handled
            .clone_from(&process.decide().record.handled);
        process.seen.slots.next = None;
        match handled {
            None => process.seen.noted = StoredRecord::Absent,
            Some(handled) => {
                let record = process.record();
                record.state = Phase::Steady;
                (record.n, record.next, record.answering) = (1, None, None);
                record.handled = Some(handled.to_owned());
            }
        }
        process
    };
    for handled in [None, Some("before"), Some("long before")] {
        assert!(is_due(&with(handled)), "{handled:?}");
    }
}

#[test]
fn a_scheduled_rotation_keeps_which_request_was_answered() {
    let mut process = due_by_age();
    process.record().handled = Some(REQUEST.to_owned());
    // A user removed the annotation.
    process.seen.requested = None;
    let noted = is_refused(&mut process);
    assert_eq!(noted.handled.as_deref(), Some(REQUEST));
}
