//! Calls that failed: what is reported about them, until when, and when the next one is sent.

use jiff::SignedDuration;

use super::process::{Process, failed};
use crate::{
    fixtures::at,
    rotation::{
        Change, Class, Failure, FailureCause, Fault, Kind, Mark, Notice, Outcome, Phase, Slot,
        Step, UnstoredValue, Values, graph::unnamed,
    },
};

#[test]
fn a_reading_that_failed_is_repeated_after_its_pause_and_reported_until_it_succeeds() {
    for class in [Class::Transient, Class::Throttled, Class::Token] {
        let mut process = Process::of(Kind::Secret);
        assert_eq!(process.does(&failed(class)), Step::ReadApplication);
        assert_eq!(process.blocked().len(), 1);
        let pause = process.waits();
        assert_eq!(pause, process.settings.pace.call_pause, "{class:?}");
        process.pass(pause);
        assert_eq!(
            process.does(&process.application()),
            Step::ReadApplication,
            "{class:?}"
        );
        assert!(process.blocked().is_empty());
        assert!(process.waits() > SignedDuration::from_hours(1));
    }
}

#[test]
fn a_rotation_goes_on_at_once_when_the_caller_has_a_token() {
    let mut process = Process::of(Kind::Secret);
    for _ in 0..12 {
        assert_eq!(process.does(&failed(Class::Caller)), Step::ReadApplication);
        process.pass(process.waits());
    }
    process.does(&failed(Class::Caller));
    assert!(process.waits() > SignedDuration::from_mins(10));
    process.memory.caller_changed();
    assert_eq!(process.blocked().len(), 1, "it may have none again");
    assert_eq!(process.does(&failed(Class::Caller)), Step::ReadApplication);
    assert_eq!(process.blocked().len(), 1);
    process.memory.caller_changed();
    assert_eq!(process.does(&process.application()), Step::ReadApplication);
    assert!(process.blocked().is_empty());

    // A fault that the issuer returned is retained.
    let mut process = Process::of(Kind::Secret);
    process.does(&failed(Class::Throttled));
    process.memory.caller_changed();
    assert_eq!(process.blocked().len(), 1);
    assert_eq!(process.waits(), process.settings.pace.call_pause);
}

#[test]
fn a_caller_that_was_created_with_the_client_has_two_minutes_to_get_a_token() {
    let requested = || {
        let mut process = Process::of(Kind::Secret);
        process.seen.requested = Some("now".to_owned());
        process
    };
    let mut process = requested();
    let (mut seen, minutes) = (Vec::new(), SignedDuration::from_mins(2));
    let Outcome::Failed(refused) = failed(Class::Caller) else {
        unreachable!("it failed")
    };
    let lacks = Outcome::Failed(Fault {
        sent: false,
        ..refused
    });
    for _ in 0..5 {
        let step = process.does(&lacks);
        assert_eq!(step, Step::ReadApplication);
        assert!(process.decide().notices.contains(&Notice::Due));
        let late = process.now.duration_since(at(0)) >= minutes;
        assert_eq!(process.blocked().len(), usize::from(late));
        seen.push(late);
        process.pass(process.waits());
    }
    assert!(seen.contains(&true) && seen.contains(&false), "{seen:?}");
    // Another fault is reported at once, and so is what the process before this one reported.
    for fault in [failed(Class::Token), failed(Class::Caller)] {
        let mut process = requested();
        process.does(&fault);
        assert_eq!(process.blocked().len(), 1, "{fault:?}");
    }
    let mut process = requested();
    process.memory = process.memory.blocked_before();
    process.does(&lacks);
    assert_eq!(process.blocked().len(), 1);
}

#[test]
fn a_fault_that_was_corrected_is_noticed_within_a_quarter_of_an_hour_however_long_it_lasted() {
    for class in [Class::Invalid, Class::Transient, Class::NoApplication] {
        let mut process = Process::of(Kind::Secret);
        for _ in 0..30 {
            assert_eq!(process.does(&failed(class)), Step::ReadApplication);
            let pause = process.waits();
            assert!(pause <= SignedDuration::from_mins(15), "{class:?} {pause}");
            process.pass(pause);
        }
        process.does(&process.application());
        assert!(process.blocked().is_empty());
    }
}

#[test]
fn who_requests_a_rotation_waits_only_for_the_pause_that_the_issuer_requested() {
    let hours = SignedDuration::from_hours(2);
    for retry_after in [None, Some(hours)] {
        let Outcome::Failed(fault) = failed(Class::Throttled) else {
            unreachable!("it failed")
        };
        let refused = Outcome::Failed(Fault {
            retry_after,
            ..fault
        });
        let mut process = Process::of(Kind::Secret);
        for _ in 0..8 {
            assert_eq!(process.does(&refused), Step::ReadApplication);
            process.pass(process.waits());
        }
        process.does(&refused);
        process.pass(process.settings.pace.call_pause);
        process.seen.requested = Some("now".to_owned());
        process.memory.requested_again();
        assert_eq!(process.blocked().len(), 1, "no call has succeeded");
        match retry_after {
            None => assert_eq!(process.decide().step, Step::ReadApplication),
            Some(_) => assert_eq!(process.waits(), hours - process.settings.pace.call_pause),
        }
    }
    // The right to read the application was missing.
    let mut process = Process::of(Kind::Secret);
    process.does(&failed(Class::Permission));
    process.seen.requested = Some("now".to_owned());
    assert!(process.waits() > process.settings.pace.call_pause);
    process.memory.requested_again();
    assert_eq!(process.decide().step, Step::ReadApplication);
}

#[test]
fn a_certificate_needs_no_right_to_read_and_a_secret_waits_for_it_and_no_day() {
    let mut process = Process::of(Kind::Certificate);
    process.does(&failed(Class::Permission));
    assert!(process.blocked().is_empty(), "{:?}", process.blocked());
    assert!(process.decide().notices.is_empty());

    let mut process = Process::of(Kind::Secret);
    process.does(&failed(Class::Permission));
    assert_eq!(process.blocked().len(), 1);
    let pause = process.waits();
    assert_eq!(pause, process.settings.pace.again);
    process.pass(pause);
    assert_eq!(process.does(&process.application()), Step::ReadApplication);
    assert!(process.blocked().is_empty());
}

#[test]
fn a_certificate_without_an_object_id_blocks_its_rotation_before_one_is_due() {
    let Outcome::Failed(refused) = failed(Class::Permission) else {
        unreachable!("it failed")
    };
    assert_eq!(unnamed(refused.clone(), Kind::Secret), refused);
    let mut process = Process::of(Kind::Certificate);
    let outcome = Outcome::Failed(unnamed(refused, Kind::Certificate));
    assert_eq!(process.does(&outcome), Step::ReadApplication);
    assert!(process.blocked()[0].contains("set spec.objectId"));
    // A rotation is not begun either: it could not succeed, and would count as failed.
    process.seen.requested = Some("now".to_owned());
    assert_eq!(process.waits(), process.settings.pace.call_pause);
}

#[test]
fn a_request_to_a_busy_issuer_is_repeated_with_the_same_number() {
    for kind in [Kind::Secret, Kind::Certificate] {
        for class in [Class::Throttled, Class::Conflict] {
            let mut process = Process::announced(kind);
            let pause = if class == Class::Conflict {
                process.settings.pace.conflict_pause
            } else {
                process.settings.pace.call_pause
            };
            process.does(&failed(class));
            assert_eq!(process.waits(), pause, "{kind:?} {class:?}");
            process.pass(pause);
            let again = process.does(&Outcome::Done);
            let announces = |change: &Change| (change.announces, change.values);
            assert!(
                matches!(&again, Step::Write { change, .. } if announces(change) == (Some(2), Values::Keep)),
                "{kind:?} {class:?}: {again:?}"
            );
            let add = process.decide().step;
            assert!(
                matches!(
                    add,
                    Step::AddPassword { n: 2, .. } | Step::AddKey { n: 2, .. }
                ),
                "{add:?}"
            );
        }
    }
}

#[test]
fn an_issuer_that_stays_busy_ends_the_rotation() {
    let mut process = Process::announced(Kind::Secret);
    let mut requests = 0;
    let failure = loop {
        let step = process.decide().step;
        match step {
            Step::AddPassword { .. } => {
                requests += 1;
                process.does(&failed(Class::Throttled));
            }
            Step::Wait { until } => process.now = until,
            Step::Write { change, .. } if change.record.failure.is_some() => break change,
            _ => {
                process.does(&Outcome::Done);
            }
        }
    };
    assert_eq!(failure.record.state, Phase::Steady);
    assert_eq!(requests, 6);
}

/// The stored failure of the rotation, if each call to add a credential fails like this.
fn ends(kind: Kind, (class, sent): (Class, bool)) -> Failure {
    let mut process = Process::announced(kind);
    let fault = Outcome::Failed(Fault {
        class,
        sent,
        may_have_happened: false,
        retry_after: None,
        message: String::new(),
    });
    loop {
        match process.decide().step {
            Step::AddPassword { .. } | Step::AddKey { .. } => {
                process.does(&fault);
            }
            Step::Wait { until } => process.now = until,
            Step::Write { change, .. } => match change.record.failure.clone() {
                Some(failure) => break failure,
                None => {
                    process.does(&Outcome::Done);
                }
            },
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_refusal_is_reported_only_if_the_request_was_sent_and_refused() {
    for kind in [Kind::Secret, Kind::Certificate] {
        for (class, sent, why, expected) in [
            (
                Class::Policy,
                true,
                FailureCause::AddRefused,
                "refused to add a new client credential: a policy",
            ),
            (
                Class::Invalid,
                true,
                FailureCause::AddRefused,
                "refused to add",
            ),
            (
                Class::Token,
                true,
                FailureCause::AddRefused,
                "did not accept the token of the caller",
            ),
            // It was too busy.
            (
                Class::Throttled,
                true,
                FailureCause::NotAdded,
                "did not add a new client credential: it received too many requests",
            ),
            (
                Class::Conflict,
                true,
                FailureCause::NotAdded,
                "another change was in progress",
            ),
            (
                Class::Transient,
                true,
                FailureCause::NotAdded,
                "did not add",
            ),
            // The call was not sent.
            (
                Class::Throttled,
                false,
                FailureCause::NotSent,
                "no new client credential was requested from the issuer: the issuer received too many requests",
            ),
            (
                Class::Transient,
                false,
                FailureCause::NotSent,
                "something that it needs did not answer",
            ),
            (
                Class::Caller,
                false,
                FailureCause::NotSent,
                "there was no valid token for it",
            ),
            (
                Class::Token,
                false,
                FailureCause::NotSent,
                "the issuer gave no token for it",
            ),
            (
                Class::Proof,
                false,
                FailureCause::NotSent,
                "no valid certificate",
            ),
            (
                Class::Invalid,
                false,
                FailureCause::NotSent,
                "does not have all that it needs",
            ),
        ] {
            let failure = ends(kind, (class, sent));
            assert_eq!(
                (failure.why, failure.class),
                (why, Some(class)),
                "{kind:?} {class:?} {sent}"
            );
            let message = failure.message();
            assert!(message.contains(expected), "{message}");
            assert_eq!(
                message.contains("refused to add"),
                why == FailureCause::AddRefused,
                "{message}"
            );
        }
    }
}

#[test]
fn a_reading_that_succeeds_does_not_hide_why_the_issuer_refused() {
    let mut process = Process::announced(Kind::Secret);
    process.does(&failed(Class::Policy));
    // The rotation failed, and the application is read again.
    process.does(&Outcome::Done);
    process.pass(process.settings.pace.call_pause);
    assert_eq!(process.does(&process.application()), Step::ReadApplication);
    assert_eq!(process.blocked(), ["Policy"]);
    // The next rotation succeeds, and its credential takes over.
    let from = process.now;
    let held = UnstoredValue {
        n: 3,
        slot: Slot {
            digest: "next".to_owned(),
            mark: Mark::Hint("nex".to_owned()),
            name: None,
            validity: None,
        },
        id: Some("key-3".to_owned()),
        from,
        until: Some(from + SignedDuration::from_hours(24)),
    };
    let add = Step::AddPassword {
        n: 3,
        name: String::new(),
        until: from,
    };
    process.memory.after(&add, &Outcome::Held(held), from);
    assert!(process.blocked().is_empty());
}

#[test]
fn a_repeated_rotation_request_does_not_wait_for_the_pause_after_a_failure() {
    let mut process = Process::announced(Kind::Secret);
    let record = process.record();
    record.answering = Some("first".to_owned());
    process.seen.requested = Some("first".to_owned());
    process.does(&failed(Class::Policy));
    process.does(&Outcome::Done);
    process.pass(process.settings.pace.call_pause);
    process.does(&process.application());
    assert_eq!(
        process.waits(),
        process.settings.pace.pause - process.settings.pace.call_pause
    );
    process.seen.requested = Some("second".to_owned());
    assert!(matches!(process.decide().step, Step::Write { .. }));
    // This rotation fails as well: a third one is needed.
    process.does(&Outcome::Done);
    process.does(&failed(Class::Policy));
    process.does(&Outcome::Done);
    process.pass(process.settings.pace.call_pause * 2);
    process.does(&process.application());
    assert!(process.waits() > process.settings.pace.call_pause);
}

#[test]
fn a_client_secret_is_searched_for_from_the_time_of_its_request() {
    let mut process = Process::announced(Kind::Secret);
    // The process was paused between the announcement and the call.
    process.pass(process.settings.pace.settles);
    let again = process.does(&Outcome::Done);
    assert!(
        matches!(&again, Step::Write { change, .. }
            if change.announces == Some(2) && change.record.state == Phase::Adding { n: 2, since: process.now }),
        "{again:?}"
    );
    let add = process.does(&failed(Class::Transient));
    assert!(matches!(add, Step::AddPassword { n: 2, .. }), "{add:?}");
    assert_eq!(process.waits(), process.settings.pace.settles);
}

/// No answer of the issuer changes that a key is too large, so nothing is requested from it.
#[test]
fn a_key_that_cannot_be_generated_is_reported_and_nothing_is_requested() {
    for (kind, readable) in [
        (Kind::Certificate, true),
        (Kind::Certificate, false),
        (Kind::Key, true),
    ] {
        let mut process = Process::of(kind);
        let listed = process.application();
        let read = if readable {
            listed
        } else {
            failed(Class::Permission)
        };
        assert_eq!(process.does(&read), Step::ReadApplication);
        process.pass(process.settings.pace.call_pause);
        process.seen.requested = Some("now".to_owned());
        process.seen.unmakeable = Some(Fault {
            class: Class::Invalid,
            sent: false,
            may_have_happened: false,
            retry_after: None,
            message: "the current RSA key has 8192 bits".to_owned(),
        });
        for _ in 0..3 {
            let pause = process.waits();
            assert_eq!(pause, process.settings.pace.again, "{kind:?} {readable}");
            let blocked = process.blocked();
            let reported = blocked.iter().any(|message| message.contains("8192 bits"));
            assert!(reported, "{kind:?} {readable}: {blocked:?}");
            process.pass(pause);
        }
        process.seen.unmakeable = None;
        assert!(
            !matches!(process.decide().step, Step::Wait { .. }),
            "{kind:?} {readable}"
        );
    }
}
