//! A process that drives the rotation of one client, as the tests of single decisions use it.

use jiff::{SignedDuration, Timestamp};

use crate::{
    fixtures::at,
    rotation::{
        Application, Class, ClientAt, Fault, Key, KeyMark, Kind, Mark, Memory, Names, Next, Notice,
        Observed, Outcome, Phase, Record, RotationSettings, Slot, Slots, Step, StoredRecord,
        ValueRecord, next,
    },
};

const UID: &str = "0d9b3b5e-6d52-4b8e-9df4-1c1b7a0e0000";

/// A process that drives the rotation of one client, whose credential number 1 is in the Secret.
pub(super) struct Process {
    pub(super) settings: RotationSettings,
    pub(super) seen: Observed,
    pub(super) memory: Memory,
    pub(super) now: Timestamp,
}

pub(super) fn client(id: &str) -> ClientAt {
    ClientAt {
        id: id.to_owned(),
        issuer: "https://issuer.example".to_owned(),
    }
}

pub(super) fn failed(class: Class) -> Outcome {
    Outcome::Failed(Fault {
        class,
        sent: true,
        may_have_happened: class == Class::Transient,
        retry_after: None,
        message: format!("{class:?}"),
    })
}

impl Process {
    pub(super) fn record(&mut self) -> &mut Record {
        let StoredRecord::Record(record) = &mut self.seen.noted else {
            panic!("a record");
        };
        record
    }

    pub(super) fn of(kind: Kind) -> Self {
        let settings = RotationSettings::of(kind);
        let mark = match kind {
            Kind::Secret => Mark::Hint("val".to_owned()),
            Kind::Certificate | Kind::Key => Mark::Certificate {
                sha1: "aa".to_owned(),
                sha256: "bb".to_owned(),
            },
        };
        let current = Slot {
            digest: "current".to_owned(),
            mark,
            name: None,
            validity: None,
        };
        let known = ValueRecord {
            digest: "current".to_owned(),
            id: Some("key-1".to_owned()),
            n: Some(1),
            from: Some(at(-9_000)),
            until: Some(at(180 * 86_400)),
        };
        let record = Record {
            n: 1,
            client: Some(client("c-1")),
            current: Some(known),
            ..Record::default()
        };
        let seen = Observed {
            version: "1".to_owned(),
            noted: StoredRecord::Record(Box::new(record)),
            slots: Slots {
                current: Some(current),
                ..Slots::default()
            },
            client: client("c-1"),
            names: Names::new("cluster", UID),
            lagging: None,
            handled: None,
            in_others: Vec::new(),
            others_known: true,
            unmakeable: None,
            used_at: Some(at(0)),
            requested: None,
        };
        Self {
            memory: Memory::new(at(0), &settings.pace),
            settings,
            seen,
            now: at(0),
        }
    }

    pub(super) fn application(&self) -> Outcome {
        Outcome::Application(Application {
            read_at: self.now,
            keys: vec![Key {
                id: "key-1".to_owned(),
                name: Some(self.seen.names.name(1)),
                mark: match self.settings.kind {
                    Kind::Secret => Some(KeyMark::Hint("val".to_owned())),
                    Kind::Certificate | Kind::Key => Some(KeyMark::Thumbprint("aa".to_owned())),
                },
                from: Some(at(-9_000)),
                until: Some(at(180 * 86_400)),
            }],
        })
    }

    pub(super) fn decide(&self) -> Next {
        next(&self.seen, &self.memory, &self.settings, self.now)
    }

    /// The duration of the present wait.
    pub(super) fn waits(&self) -> SignedDuration {
        match self.decide().step {
            Step::Wait { until } => until.duration_since(self.now),
            other => panic!("{other:?} is no wait"),
        }
    }

    /// Executes the next step with this outcome, and returns the step.
    pub(super) fn does(&mut self, outcome: &Outcome) -> Step {
        let step = self.decide().step;
        self.memory.before(&step, self.now);
        if let (Step::Write { change, .. }, Outcome::Done) = (&step, outcome) {
            self.seen.noted = StoredRecord::Record(Box::new(change.record.clone()));
        }
        self.memory.after(&step, outcome, self.now);
        step
    }

    pub(super) fn blocked(&self) -> Vec<String> {
        let notices = self.decide().notices;
        let blocked = notices.iter().filter_map(|notice| match notice {
            Notice::Blocked(fault) => Some(fault.message.clone()),
            _ => None,
        });
        blocked.collect()
    }

    pub(super) fn pass(&mut self, by: SignedDuration) {
        self.now += by;
    }

    /// A user requests a rotation, and the next credential is about to be requested from the issuer.
    pub(super) fn announced(kind: Kind) -> Self {
        let mut process = Self::of(kind);
        process.seen.requested = Some("now".to_owned());
        assert_eq!(process.does(&process.application()), Step::ReadApplication);
        if kind == Kind::Certificate {
            process.seen.slots.next = Some(Slot {
                digest: "next".to_owned(),
                mark: Mark::Certificate {
                    sha1: "cc".to_owned(),
                    sha256: "dd".to_owned(),
                },
                name: None,
                validity: None,
            });
        }
        let since = process.now;
        let state = Phase::Adding { n: 2, since };
        let StoredRecord::Record(record) = &mut process.seen.noted else {
            unreachable!("it was set above")
        };
        record.state = state;
        record.n = 2;
        record.next = process.seen.slots.next.as_ref().map(|slot| ValueRecord {
            digest: slot.digest.clone(),
            n: Some(2),
            ..ValueRecord::default()
        });
        process.memory.announced = Some(2);
        process
    }
}
