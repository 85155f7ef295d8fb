//! Uploads that are refused, not permitted, not sent or without a token.

use super::*;

#[test]
fn without_the_right_to_read_the_application_an_upload_is_repeated_after_an_hour() {
    let mut process = Process::new();
    let mut announced = Vec::new();
    let (mut trials, mut reads) = (0, 0);
    while announced.len() < 3 {
        let outcome = match process.next() {
            Step::AddKey { .. } => {
                announced.push(process.t);
                failed(Class::Transient)
            }
            Step::ReadApplication => {
                reads += 1;
                failed(Class::Permission)
            }
            Step::Trial {
                of: Tried::Next, ..
            } => {
                trials += 1;
                Outcome::Refused(AnswerIds::default())
            }
            other => unreachable!("{other:?}"),
        };
        process.execute(&outcome);
    }
    let hour = process.settings.trials.at_most.as_secs();
    assert!(announced.windows(2).all(|two| two[1] - two[0] >= hour));
    assert!(reads == 1 && trials < 300, "{reads} {trials}");
}

#[test]
fn without_an_object_id_what_would_stop_an_upload_is_reported_before_one_begins() {
    let resting = |named: bool| {
        let mut process = Process::new();
        process.seen.copy.clone_from(&process.seen.secret);
        process.seen.named = named;
        process
    };
    let waits = |process: &Process| matches!(process.decide().step, Step::Wait { .. });
    assert!(waits(&resting(true)));
    // The shell reports this if the object ID is not known.
    let Outcome::Failed(refused) = failed(Class::Permission) else {
        unreachable!("it failed")
    };
    let mut process = resting(false);
    let outcome = Outcome::Failed(unnamed(refused.clone(), Kind::Certificate));
    assert_eq!(process.execute(&outcome), Step::ReadApplication);
    let next = process.decide();
    assert_eq!(next.record.state.as_str(), "Steady");
    let [Notice::Blocked(message)] = next.notices.as_slice() else {
        panic!("{:?}", next.notices)
    };
    assert!(
        message.message.contains("set spec.objectId"),
        "{}",
        message.message
    );
    // A user grants the permission: it is read again, and then once a day.
    let lists = process.lists(&[2]);
    process.next();
    assert_eq!(process.execute(&lists), Step::ReadApplication);
    assert!(process.decide().notices.is_empty() && waits(&process));
    let before = process.t;
    assert_eq!(process.next(), Step::ReadApplication);
    assert!(process.t - before > 86_000, "{}", process.t - before);
    // A process that takes over reads it at the scheduled time of this client.
    let mut process = resting(false);
    let at_its_time = at(process.t + 7_000);
    let memory = Memory::new(process.now(), &process.settings.pace);
    process.memory = memory.reading_by(at_its_time).reconciled_before(true);
    assert_eq!(process.decide().step, Step::Wait { until: at_its_time });
    // If the spec names the object ID, nothing must be read.
    process.seen.named = true;
    assert!(waits(&process));
}

#[test]
fn what_the_issuer_refuses_is_reported_and_repeated_ever_more_rarely() {
    for (class, within_an_hour) in [
        (Class::Policy, 3),
        (Class::Permission, 3),
        (Class::Proof, 3),
        (Class::Conflict, 8),
    ] {
        let mut process = Process::new();
        let (begun, mut count) = (process.t, 0);
        while process.t < begun + 3_600 {
            let outcome = match process.next() {
                Step::AddKey { .. } => {
                    count += 1;
                    failed(class)
                }
                Step::ReadApplication => process.lists(&[1]),
                _ => Outcome::Refused(AnswerIds::default()),
            };
            process.execute(&outcome);
        }
        assert_eq!(count, within_an_hour, "{class:?}");
        let notices = process.decide().notices;
        let failed = |n: &Notice| matches!(n, Notice::Failed(f) if f.why == FailureCause::AddRefused && f.class == Some(class));
        assert_eq!(
            notices.iter().any(failed),
            class != Class::Conflict,
            "{notices:?}"
        );
        assert!(!process.memory.has_announced("digest-2"));
        // A user uploads it: the refusal is not relevant any more.
        let (lists, now) = (process.lists(&[1, 2]), process.now());
        process.memory.after(&Step::ReadApplication, &lists, now);
        assert!(process.decide().notices.is_empty());
    }
}

#[test]
fn an_upload_that_was_not_sent_is_not_reported_as_refused() {
    for class in [Class::Proof, Class::Invalid, Class::Token] {
        let mut process = Process::new();
        loop {
            let outcome = match process.next() {
                Step::AddKey { .. } => break,
                Step::ReadApplication => process.lists(&[1]),
                _ => Outcome::Refused(AnswerIds::default()),
            };
            process.execute(&outcome);
        }
        let Outcome::Failed(fault) = failed(class) else {
            unreachable!("it failed")
        };
        process.execute(&Outcome::Failed(Fault {
            sent: false,
            ..fault
        }));
        let notices = process.decide().notices;
        let failure = notices.iter().find_map(|notice| match notice {
            Notice::Failed(failure) => Some(failure),
            _ => None,
        });
        let failure = failure.expect("a failure");
        assert_eq!(
            (failure.why, failure.class),
            (FailureCause::NotSent, Some(class))
        );
        let message = failure.message();
        assert!(
            message.contains("no new client credential was requested"),
            "{message}"
        );
    }
}

#[test]
fn a_certificate_that_gets_no_token_is_reported_and_tried_more_rarely() {
    let mut process = Process::new();
    process.tries(&Outcome::Refused(AnswerIds::default()));
    process.read(&[1, 2]);
    let begun = process.t;
    let mut trials = 0;
    while process.t < begun + 2 * 3_600 {
        let outcome = match process.next() {
            Step::Trial { .. } => {
                trials += 1;
                Outcome::Refused(AnswerIds::default())
            }
            Step::ReadApplication => process.lists(&[1, 2]),
            other => unreachable!("{other:?}"),
        };
        process.execute(&outcome);
    }
    assert!((120..130).contains(&trials), "{trials}");
    let failed = |n: &Notice| matches!(n, Notice::Failed(f) if f.why == FailureCause::NotProven);
    assert!(process.decide().notices.iter().any(failed));
}
