//! A request that was answered is not answered again, whatever happens to the annotation of the Secret.

use super::faults::Process;
use crate::{
    fixtures::at,
    rotation::{Failure, Kind, Noted, Record, Step, Why},
};

const REQUEST: &str = "2026-11-30T08:00:00Z";

/// A client whose current credential is young, with a request.
fn requested() -> Process {
    let mut process = Process::of(Kind::Certificate);
    process.seen.requested = Some(REQUEST.to_owned());
    process
}

fn record(process: &mut Process) -> &mut Record {
    let Noted::Record(record) = &mut process.seen.noted else {
        panic!("a record");
    };
    record
}

/// Whether another rotation is due.
fn is_due(process: &Process) -> bool {
    let rotates_at = process.decide().rotates_at;
    rotates_at.is_some_and(|at| at <= process.now)
}

#[test]
fn a_request_that_status_says_was_answered_is_not_answered_again() {
    // Nothing shows that it was answered.
    let mut process = requested();
    assert!(is_due(&process));
    // The annotation from a backup is older than the answer.
    process.seen.handled = Some(REQUEST.to_owned());
    assert!(!is_due(&process));
    record(&mut process).handled = Some("an earlier one".to_owned());
    assert!(!is_due(&process));
    // Status still reports it.
    let next = process.decide();
    assert_eq!(next.record.handled.as_deref(), Some(REQUEST));
    // The annotation was removed; the issuer lists the credential.
    process.seen.noted = Noted::Absent;
    let listed = process.application();
    process.memory.after(&Step::ReadApplication, &listed, at(0));
    assert!(!is_due(&process));
    // A new request.
    process.seen.requested = Some("2026-11-30T09:00:00Z".to_owned());
    assert!(is_due(&process));
}

#[test]
fn a_request_that_failed_is_still_to_be_answered_whatever_status_says() {
    let mut process = requested();
    // Status was written while the rotation was in progress, and a late copy is read.
    process.seen.handled = Some(REQUEST.to_owned());
    record(&mut process).failure = Some(Failure {
        at: at(-90_000),
        why: Why::NotProven,
        times: 1,
        requested: Some(REQUEST.to_owned()),
        class: None,
        answer: None,
    });
    assert!(is_due(&process));
    // The request that failed was another one.
    let failure = record(&mut process).failure.as_mut().expect("a failure");
    failure.requested = Some("an earlier one".to_owned());
    assert!(!is_due(&process));
}
