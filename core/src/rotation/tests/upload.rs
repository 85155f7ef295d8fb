//! A certificate that another tool created is announced with the previous one.

use jiff::Timestamp;

use super::{process::failed, world::no_answer};
use crate::{
    fixtures::at,
    rotation::{
        Answer, Application, Class, Fault, Key, KeyMark, Kind, Mark, Memory, Next, Notice, Outcome,
        RotationSettings, Slot, Step, Tried, Uploading, Why, graph::unnamed, upload,
    },
};

/// Replicas lag by at most this, in seconds.
pub(super) const LAG: i64 = 200;
pub(super) const YEAR: i64 = 365 * 86_400;

/// The certificate number `n`, valid until `until`.
pub(super) fn slot(n: u32, until: i64) -> Slot {
    Slot {
        digest: format!("digest-{n}"),
        mark: Mark::Certificate {
            sha1: format!("sha1-{n}"),
            sha256: format!("sha256-{n}"),
        },
        name: None,
        validity: Some((at(-YEAR), at(until))),
    }
}

pub(super) fn second(time: Timestamp) -> i64 {
    time.duration_since(at(0)).as_secs()
}

/// A process whose client has the last good certificate 1. The Secret has number 2.
pub(super) struct Process {
    pub(super) settings: RotationSettings,
    pub(super) seen: Uploading,
    pub(super) memory: Memory,
    pub(super) t: i64,
}

impl Process {
    /// A process that has run for a long time.
    pub(super) fn new() -> Self {
        let settings = RotationSettings::of(Kind::Certificate);
        Self {
            memory: Memory::new(at(0), &settings.pace),
            settings,
            seen: Uploading {
                secret: Some(slot(2, YEAR)),
                copy: Some(slot(1, YEAR)),
                named: true,
                ..Uploading::default()
            },
            t: 86_400,
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        at(self.t)
    }

    pub(super) fn decide(&self) -> Next {
        upload(&self.seen, &self.memory, &self.settings, self.now())
    }

    /// The next step other than a wait, after all waits before it.
    pub(super) fn next(&mut self) -> Step {
        for _ in 0..100 {
            match self.decide().step {
                Step::Wait { until } => self.t = second(until).max(self.t + 1),
                step => return step,
            }
        }
        Step::Wait { until: self.now() }
    }

    pub(super) fn execute(&mut self, outcome: &Outcome) -> Step {
        let step = self.next();
        self.memory.before(&step, self.now());
        self.t += 1;
        self.memory.after(&step, outcome, self.now());
        step
    }

    pub(super) fn lists(&self, numbers: &[u32]) -> Outcome {
        let key = |n: &u32| Key {
            id: format!("key-{n}"),
            name: None,
            mark: Some(KeyMark::Thumbprint(format!("sha1-{n}"))),
            from: None,
            until: None,
        };
        Outcome::Application(Application {
            read_at: self.now(),
            keys: numbers.iter().map(key).collect(),
        })
    }

    pub(super) fn read(&mut self, numbers: &[u32]) {
        // There may be a wait before it.
        self.next();
        let lists = self.lists(numbers);
        assert_eq!(self.execute(&lists), Step::ReadApplication);
    }

    pub(super) fn tries(&mut self, outcome: &Outcome) {
        let digest = "digest-2".to_owned();
        let of = Tried::Next;
        assert_eq!(
            self.execute(outcome),
            Step::Trial {
                of,
                digest,
                since: None
            }
        );
    }

    pub(super) fn adds(&mut self, outcome: &Outcome) -> i64 {
        let digest = "digest-2".to_owned();
        assert_eq!(self.execute(outcome), Step::AddKey { n: 0, digest });
        self.t
    }

    pub(super) fn state(&self) -> (&'static str, Vec<(&'static str, Option<String>)>) {
        let next = self.decide();
        let keys = next.keys.into_iter().map(|key| (key.slot, key.id));
        (next.record.state.as_str(), keys.collect())
    }
}

#[test]
fn a_new_certificate_is_announced_once_and_tried_until_it_gets_a_token() {
    let mut process = Process::new();
    let id = |n: u32| Some(format!("key-{n}"));
    assert_eq!(
        process.state(),
        ("Adding", vec![("Current", None), ("Next", None)])
    );
    process.tries(&Outcome::Refused(Answer::default()));
    process.read(&[1]);
    process.adds(&Outcome::KeyAdded(None));
    assert_eq!(process.state().0, "Proving");
    // The issuer lags.
    process.read(&[1]);
    process.tries(&Outcome::Refused(Answer::default()));
    process.tries(&no_answer());
    process.tries(&Outcome::Token);
    assert_eq!(
        process.state(),
        ("Steady", vec![("Current", None), ("Previous", id(1))])
    );
    assert!(process.memory.has_announced("digest-2"));
    // This does not change with time.
    process.t += 3 * 86_400;
    assert_eq!(process.state().0, "Steady");
    let wait = matches!(process.decide().step, Step::Wait { .. });
    assert!(wait && process.decide().notices.is_empty());
    // A credential has renewed.
    process.seen.copy.clone_from(&process.seen.secret);
    assert_eq!(process.state(), ("Steady", vec![("Current", None)]));

    // The list of the issuer shows the key IDs.
    let mut process = Process::new();
    process.tries(&Outcome::Refused(Answer::default()));
    process.read(&[1, 2]);
    assert_eq!(
        process.state(),
        ("Proving", vec![("Current", id(1)), ("Next", id(2))])
    );
    process.tries(&Outcome::Token);
    assert_eq!(process.state().1, [("Current", id(2)), ("Previous", id(1))]);
    assert!(!process.memory.has_announced("digest-2"));
}

#[test]
fn without_need_nothing_is_announced() {
    let (old, new) = (Some(slot(1, YEAR)), Some(slot(2, YEAR)));
    let ended = Some(slot(1, 0));
    let (used, nothing) = (Some(at(86_000)), None);
    // The same certificate with another chain.
    let chain = new.clone().map(|slot| Slot {
        digest: "other".to_owned(),
        ..slot
    });
    for (secret, copy, used_at, step, notice) in [
        (&new, &chain, nothing, "wait", None),
        (&new, &old, used, "wait", None),
        (&new, &None, used, "wait", None),
        (&None, &old, nothing, "wait", Some(Notice::NoCurrent)),
        (&ended, &old, used, "wait", Some(Notice::NotRenewed)),
        (&new, &ended, nothing, "next", Some(Notice::LastGoodEnded)),
        (&new, &None, nothing, "current", None),
        (&new, &old, nothing, "next", None),
    ] {
        let mut process = Process::new();
        process.seen.secret.clone_from(secret);
        process.seen.copy.clone_from(copy);
        process.seen.used_at = used_at;
        let next = process.decide();
        let word = match next.step {
            Step::Wait { .. } => "wait",
            Step::Trial { of, .. } => of.as_str(),
            other => unreachable!("{other:?}"),
        };
        assert_eq!(word, step, "{:?}", process.seen);
        let expected: Vec<Notice> = notice.into_iter().collect();
        assert_eq!(next.notices, expected, "{:?}", process.seen);
    }
    // The pair is refused, and no pair can prove it.
    let mut process = Process::new();
    process.seen.copy = None;
    process.execute(&Outcome::Refused(Answer::default()));
    assert_eq!(process.decide().notices, [Notice::NoLastGood]);
    // A user uploads it.
    process.execute(&Outcome::Token);
    assert!(process.decide().notices.is_empty());
}

#[test]
fn a_request_is_answered_by_the_next_certificate() {
    let mut process = Process::new();
    process.seen.copy.clone_from(&process.seen.secret);
    process.seen.requested = Some("now".to_owned());
    let next = process.decide();
    assert_eq!(next.notices, [Notice::MadeElsewhere]);
    let requested = process.seen.requested.clone();
    process.seen.handled = requested;
    let next = process.decide();
    assert!(next.notices.is_empty());
    assert_eq!(next.record.handled.as_deref(), Some("now"));
}

#[test]
fn an_answer_that_is_lost_is_waited_for_and_a_lag_is_no_absence() {
    let settles = RotationSettings::of(Kind::Certificate)
        .pace
        .settles
        .as_secs();
    let mut process = Process::new();
    process.tries(&Outcome::Refused(Answer::default()));
    process.read(&[1]);
    let first = process.adds(&failed(Class::Transient));
    let blocked = |n: &Notice| matches!(n, Notice::Blocked(_));
    assert!(process.decide().notices.iter().any(blocked));
    process.read(&[1]);
    process.read(&[1]);
    let second = process.adds(&failed(Class::Transient));
    assert!(second - first > settles, "{first} {second}");
    process.read(&[1, 2]);
    assert!(!process.decide().notices.iter().any(blocked));
    process.tries(&Outcome::Token);
    assert_eq!(process.state().0, "Steady");
}

#[test]
fn a_process_that_begins_waits_for_what_the_one_before_it_announced() {
    let mut process = Process::new();
    process.t = 1;
    process.tries(&Outcome::Refused(Answer::default()));
    process.read(&[1]);
    process.read(&[1]);
    process.adds(&Outcome::KeyAdded(None));
    assert!(process.t > process.settings.pace.settles.as_secs());
}

#[test]
fn who_may_not_read_the_application_announces_again_after_an_hour() {
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
                Outcome::Refused(Answer::default())
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
    let [Notice::Blocked(said)] = next.notices.as_slice() else {
        panic!("{:?}", next.notices)
    };
    assert!(
        said.message.contains("set spec.objectId"),
        "{}",
        said.message
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
                _ => Outcome::Refused(Answer::default()),
            };
            process.execute(&outcome);
        }
        assert_eq!(count, within_an_hour, "{class:?}");
        let notices = process.decide().notices;
        let failed = |n: &Notice| matches!(n, Notice::Failed(f) if f.why == Why::AddRefused && f.class == Some(class));
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
                _ => Outcome::Refused(Answer::default()),
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
        assert_eq!((failure.why, failure.class), (Why::NotSent, Some(class)));
        let said = failure.message();
        assert!(said.contains("the issuer was not asked"), "{said}");
    }
}

#[test]
fn a_certificate_that_gets_no_token_is_reported_and_tried_more_rarely() {
    let mut process = Process::new();
    process.tries(&Outcome::Refused(Answer::default()));
    process.read(&[1, 2]);
    let begun = process.t;
    let mut trials = 0;
    while process.t < begun + 2 * 3_600 {
        let outcome = match process.next() {
            Step::Trial { .. } => {
                trials += 1;
                Outcome::Refused(Answer::default())
            }
            Step::ReadApplication => process.lists(&[1, 2]),
            other => unreachable!("{other:?}"),
        };
        process.execute(&outcome);
    }
    assert!((120..130).contains(&trials), "{trials}");
    let failed = |n: &Notice| matches!(n, Notice::Failed(f) if f.why == Why::NotProven);
    assert!(process.decide().notices.iter().any(failed));
}
