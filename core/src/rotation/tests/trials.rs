//! Trials of a new value: when they are sent, and what is recorded about those that got no token.

use jiff::SignedDuration;

use super::process::{Process, failed};
use crate::rotation::{
    AnswerIds, Class, Failure, FailureCause, Fault, Kind, Mark, Names, Notice, Outcome, Phase,
    RemovalSource, Slot, Step, StoredRecord, Tried, ValueRecord, Values,
};

impl Process {
    /// The next credential is in the Secret, and its proving begins now.
    pub(super) fn proves(&mut self) {
        self.seen.slots.next = Some(Slot {
            digest: "next".to_owned(),
            mark: Mark::Hint("nex".to_owned()),
            name: None,
            validity: None,
        });
        let since = self.now;
        if let StoredRecord::Record(record) = &mut self.seen.noted {
            record.state = Phase::Added { since };
            record.next = Some(ValueRecord {
                digest: "next".to_owned(),
                id: Some("key-2".to_owned()),
                n: Some(2),
                ..ValueRecord::default()
            });
        }
    }

    /// One trial of it, as soon as it is due.
    fn tries_next(&mut self, outcome: &Outcome) {
        while let Step::Wait { .. } = self.decide().step {
            self.pass(self.waits());
        }
        let step = self.does(outcome);
        let of = Tried::Next;
        assert!(
            matches!(&step, Step::Trial { of: tried, .. } if *tried == of),
            "{step:?}"
        );
    }

    /// Trials with this outcome until it is given up. Returns the recorded failure.
    fn gives_up(&mut self, outcome: &Outcome) -> Failure {
        loop {
            match self.decide().step {
                Step::Wait { .. } => self.pass(self.waits()),
                Step::Trial { .. } => {
                    self.does(outcome);
                }
                Step::Write { change, .. } => {
                    let state = &change.record.state;
                    let given_up = matches!(state, Phase::Retiring { from, .. } if *from == RemovalSource::Next);
                    assert!(given_up, "{state:?}");
                    return change.record.failure.expect("a failure");
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

fn fault(class: Class, retry_after: Option<SignedDuration>) -> Fault {
    Fault {
        class,
        sent: true,
        may_have_happened: false,
        retry_after,
        message: "IssuerThrottled".to_owned(),
    }
}

fn answer() -> AnswerIds {
    AnswerIds {
        http_status: Some(401),
        error: Some("invalid_client".to_owned()),
        code: Some("AADSTS7000215".to_owned()),
        correlation_id: Some("0f0f0f0f-6d52-4b8e-9df4-1c1b7a0e0000".to_owned()),
        ..AnswerIds::default()
    }
}

#[test]
fn trials_of_a_new_value_respect_retry_after_and_end_in_time() {
    let seconds = SignedDuration::from_secs;
    for kind in [Kind::Secret, Kind::Certificate] {
        for class in [Class::Throttled, Class::Transient] {
            for (retry_after, waits) in [
                (None, seconds(30)),
                (Some(seconds(0)), seconds(30)),
                (Some(seconds(29)), seconds(30)),
                (Some(seconds(31)), seconds(31)),
                (Some(seconds(600)), seconds(600)),
                // The hour for trials ends before.
                (Some(seconds(7_200)), seconds(3_570)),
                (Some(SignedDuration::MAX), seconds(3_570)),
            ] {
                let mut process = Process::of(kind);
                process.proves();
                process.tries_next(&Outcome::NoAnswer(
                    fault(class, retry_after),
                    AnswerIds::default(),
                ));
                assert_eq!(process.waits(), waits, "{kind:?} {class:?} {retry_after:?}");
                process.pass(waits);
                let trial = matches!(process.decide().step, Step::Trial { .. });
                assert_eq!(trial, waits < seconds(3_570), "{retry_after:?}");
                if trial {
                    // A pause that the issuer requested applies only once.
                    process.tries_next(&Outcome::Token);
                    assert_eq!(process.waits(), seconds(30), "{retry_after:?}");
                }
            }
        }
    }
    // A process that starts after that hour tries it once.
    let mut process = Process::of(Kind::Secret);
    process.proves();
    process.pass(seconds(9_000));
    let throttled = fault(Class::Throttled, Some(seconds(600)));
    process.tries_next(&Outcome::NoAnswer(throttled, AnswerIds::default()));
    assert!(matches!(process.decide().step, Step::Write { .. }));
}

#[test]
fn a_rotation_that_was_given_up_reports_the_issuers_last_answer() {
    let all = [
        "HTTP 401, invalid_client, AADSTS7000215",
        "correlation id 0f0f0f0f-6d52",
        "stays in use",
    ];
    let throttled = AnswerIds {
        http_status: Some(429),
        ..AnswerIds::default()
    };
    let busy = fault(Class::Throttled, None);
    let silent = fault(Class::Transient, None);
    for (outcome, expected) in [
        (Outcome::Refused(answer()), &all[..]),
        // The application is disabled: the answer is not about the credential.
        (
            Outcome::NoAnswer(fault(Class::Token, None), answer()),
            &all[..],
        ),
        (
            Outcome::NoAnswer(busy.clone(), throttled),
            &["the issuer answered HTTP 429;"],
        ),
        (
            Outcome::NoAnswer(silent, AnswerIds::default()),
            &["the issuer did not answer;"],
        ),
        (
            Outcome::NoAnswer(busy, AnswerIds::default()),
            &["too many requests;"],
        ),
        (
            Outcome::Refused(AnswerIds::default()),
            &["new client credential;"],
        ),
    ] {
        let mut process = Process::of(Kind::Secret);
        process.proves();
        // The last answer counts.
        process.tries_next(&Outcome::Refused(AnswerIds {
            code: Some("AADSTS700016".to_owned()),
            ..AnswerIds::default()
        }));
        let failure = process.gives_up(&outcome);
        assert_eq!(failure.why, FailureCause::NotProven);
        let message = failure.message();
        for expected_part in expected {
            assert!(message.contains(expected_part), "{outcome:?}: {message}");
        }
        assert!(!message.contains("700016"), "{message}");
        let again = failure.repeated().message();
        assert!(!again.contains("correlation"), "{again}");
    }
}

/// An issuer that knows the secret and issues no token answers so each time: 2,880 such requests a day are useless.
#[test]
fn trials_that_bring_no_token_become_rare_and_their_reason_is_reported() {
    for class in [Class::Token, Class::Transient] {
        let mut process = Process::of(Kind::Secret);
        let record = process.record();
        // A user created it, so it must get a token first.
        record.current.as_mut().unwrap().n = None;
        process.seen.names = Names::new("cluster", "another");
        process.seen.used_at = None;
        process.seen.requested = Some("now".to_owned());
        let Outcome::Failed(fault) = failed(class) else {
            unreachable!("it failed")
        };
        let reported = |process: &Process| {
            let notices = process.decide().notices;
            let found = |n: &&Notice| matches!(n, Notice::NoToken { of: Tried::Current, fault: f, .. } if *f == fault);
            let found = notices.iter().find(found).cloned();
            found.map(|notice| (notice.needs_user(), notice.message()))
        };
        let begun = process.now;
        let (mut trials, mut pauses) = (0, Vec::new());
        while process.now.duration_since(begun) < SignedDuration::from_hours(23) {
            match process.decide().step {
                Step::Trial {
                    of: Tried::Current, ..
                } => {
                    process.does(&Outcome::NoAnswer(fault.clone(), AnswerIds::default()));
                    trials += 1;
                    let (needed, message) = reported(&process).expect("the reason");
                    // A fault that should be transient but lasted for hours.
                    assert_eq!(needed, class == Class::Token || trials >= 20);
                    assert!(message.contains(&fault.message), "{message}");
                    pauses.push(process.waits());
                }
                Step::ReadApplication => {
                    process.does(&process.application());
                }
                Step::Wait { .. } => process.pass(process.waits()),
                other => panic!("{other:?} without a token"),
            }
        }
        let seconds = |s| SignedDuration::from_secs(s);
        assert_eq!(
            pauses[..4],
            [seconds(30), seconds(60), seconds(120), seconds(240)]
        );
        assert_eq!(pauses.iter().max(), Some(&process.settings.pace.again));
        assert!((90..100).contains(&trials), "{trials} trials");
        // It works again: the report ends, and the rotation begins.
        while !matches!(process.decide().step, Step::Trial { .. }) {
            process.pass(process.waits());
        }
        process.does(&Outcome::Token);
        assert_eq!(reported(&process), None);
        process.does(&process.application());
        assert!(matches!(process.decide().step, Step::Write { .. }));
    }
}

#[test]
fn trials_before_a_value_was_given_up_do_not_count_when_it_is_tried_again() {
    let mut process = Process::of(Kind::Secret);
    process.seen.slots.next = Some(Slot {
        digest: "next".to_owned(),
        mark: Mark::Hint("nex".to_owned()),
        name: None,
        validity: None,
    });
    let added = |process: &mut Process| {
        let since = process.now;
        if let StoredRecord::Record(record) = &mut process.seen.noted {
            record.state = Phase::Added { since };
            record.next = Some(ValueRecord {
                digest: "next".to_owned(),
                n: Some(2),
                ..ValueRecord::default()
            });
        }
    };
    added(&mut process);
    let trials = process.settings.trials;
    let mut count = 0;
    while count < trials.in_row {
        process.pass(trials.gap);
        let step = process.does(&Outcome::Token);
        count += u32::from(matches!(step, Step::Trial { .. }));
    }
    let promotes = process.decide().step;
    assert!(
        matches!(&promotes, Step::Write { change, .. } if change.values == Values::Promote),
        "{promotes:?}"
    );
    // Another process gave it up, may have removed it, and then began to try it again.
    added(&mut process);
    let step = process.decide().step;
    assert!(!matches!(step, Step::Write { .. }), "{step:?}");
}
