//! A certificate that another tool created is announced with the previous one.

mod faults;

use jiff::Timestamp;

use super::{
    process::{client, failed},
    world::no_answer,
};
use crate::{
    fixtures::at,
    rotation::{
        AnswerIds, Application, Before, Class, FailureCause, Fault, Key, KeyMark, Kind, Mark,
        Memory, Names, Next, NoProof, Notice, Outcome, Phase, Record, RemovalSource,
        RotationSettings, Slot, Step, Tried, Uploading, ValueRecord, graph::unnamed, upload,
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
    process.tries(&Outcome::Refused(AnswerIds::default()));
    process.read(&[1]);
    process.adds(&Outcome::KeyAdded(None));
    assert_eq!(process.state().0, "Proving");
    // The issuer lags.
    process.read(&[1]);
    process.tries(&Outcome::Refused(AnswerIds::default()));
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
    process.tries(&Outcome::Refused(AnswerIds::default()));
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
        let expected_part = match next.step {
            Step::Wait { .. } => "wait",
            Step::Trial { of, .. } => of.as_str(),
            other => unreachable!("{other:?}"),
        };
        assert_eq!(expected_part, step, "{:?}", process.seen);
        let expected: Vec<Notice> = notice.into_iter().collect();
        assert_eq!(next.notices, expected, "{:?}", process.seen);
    }
    // The pair is refused, and no pair can prove it.
    let mut process = Process::new();
    process.seen.copy = None;
    process.execute(&Outcome::Refused(AnswerIds::default()));
    let never = Notice::NoLastGood(NoProof::NeverUsed);
    assert_eq!(process.decide().notices, [never]);
    // A user uploads it.
    process.execute(&Outcome::Token);
    assert!(process.decide().notices.is_empty());
}

/// The messages about the certificate of the Secret if the copy of an earlier one is missing.
fn not_kept(process: &Process) -> Vec<String> {
    let notices = process.decide().notices;
    assert!(notices.iter().all(Notice::needs_user), "{notices:?}");
    notices.iter().map(Notice::message).collect()
}

#[test]
fn a_certificate_that_could_not_be_copied_is_reported_before_it_is_needed_and_when_it_is() {
    let why = "Secret tls-last-good cannot be written (the quota few leaves no room)";
    let mut process = Process::new();
    process.seen.copy = None;
    process.seen.used_at = Some(at(86_000));
    process.seen.not_kept = Some(why.to_owned());
    let [early] = &not_kept(&process)[..] else {
        panic!("{:?}", process.decide())
    };
    assert!(
        early.contains(why) && early.contains("the next one"),
        "{early}"
    );
    assert!(matches!(process.decide().step, Step::Wait { .. }));
    // cert-manager renews.
    process.seen.used_at = None;
    process.seen.used_before = true;
    process.execute(&Outcome::Refused(AnswerIds::default()));
    let [late] = &not_kept(&process)[..] else {
        panic!("{:?}", process.decide())
    };
    assert!(
        late.contains(why) && late.contains("upload it manually"),
        "{late}"
    );
    // Another process does not know why.
    process.seen.not_kept = None;
    let [unknown] = &not_kept(&process)[..] else {
        panic!("{:?}", process.decide())
    };
    assert!(unknown.contains("there is no copy of the certificate that got a token before"));
    // The copy of a still earlier one does not hide it.
    let mut process = Process::new();
    process.seen.copy = Some(slot(1, 0));
    process.seen.not_kept = Some(why.to_owned());
    let expected = [Notice::LastGoodEnded, Notice::NotKept(why.to_owned())];
    assert_eq!(process.decide().notices, expected);
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
    process.tries(&Outcome::Refused(AnswerIds::default()));
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
    process.tries(&Outcome::Refused(AnswerIds::default()));
    process.read(&[1]);
    process.read(&[1]);
    process.adds(&Outcome::KeyAdded(None));
    assert!(process.t > process.settings.pace.settles.as_secs());
}

/// A rotation was in the Secret before cert-manager filled it: what apicred made then is named, and the upload does not wait for a user.
#[test]
fn what_a_rotation_made_before_cert_manager_filled_the_secret_is_named() {
    let known = |n: u32| ValueRecord {
        digest: format!("digest-{n}"),
        id: Some(format!("key-{n}")),
        n: Some(n),
        ..ValueRecord::default()
    };
    for (current, left) in [
        (0, vec!["key-0", "key-8", "key-9"]),
        (1, vec!["key-8", "key-9"]),
    ] {
        for kind in [Kind::Secret, Kind::Certificate] {
            let mut process = Process::new();
            let step = process.decide().step;
            process.seen.before = Some(Before {
                record: Box::new(Record {
                    client: Some(client("c-1")),
                    kind: Some(kind),
                    // Number 1 is the last good certificate, which is still in use.
                    current: Some(known(current)),
                    next: Some(known(8)),
                    state: Phase::Retiring {
                        key: known(9),
                        from: RemovalSource::Orphan,
                    },
                    ..Record::default()
                }),
                names: Names::new("cluster", "uid"),
            });
            let next = process.decide();
            assert_eq!(next.step, step);
            let [notice @ Notice::Elsewhere { left: named, .. }] = next.notices.as_slice() else {
                panic!("{:?}", next.notices)
            };
            assert_eq!(*named, left);
            assert!(!notice.needs_user());
            let said = notice.message();
            assert!(
                said.contains("cert-manager makes") && said.contains("key-9"),
                "{said}"
            );
        }
    }
    // A user made them all.
    let mut process = Process::new();
    let record = Record {
        client: Some(client("c-1")),
        current: Some(ValueRecord {
            n: None,
            ..known(0)
        }),
        ..Record::default()
    };
    process.seen.before = Some(Before {
        record: Box::new(record),
        names: Names::new("cluster", "uid"),
    });
    assert!(process.decide().notices.is_empty());
}
