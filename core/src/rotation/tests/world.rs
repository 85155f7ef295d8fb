//! A model of the environment of a rotation: the Secret with its history, an issuer with lagging replicas, processes that crash, and users who
//! edit. It contains no rule of the rotation. It checks what must always be true after each step of a process.

mod checks;
mod edits;
mod issuer;
mod run;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::ByteString;

pub(super) use issuer::no_answer;

use super::process::client;
use crate::{
    fixtures::at,
    rotation::{
        Class, ClientAt, Kind, Left, Mark, Memory, Names, Next, Observed, Pace, Record,
        RotationSettings, Slot, Slots, Step, StoredRecord, next, values,
    },
};

/// Replicas lag by at most this, in seconds.
const LAG: i64 = 200;
const REPLICAS: usize = 3;
const KEY: &str = "client-secret";
const UID: &str = "0d9b3b5e-6d52-4b8e-9df4-1c1b7a0e0000";

/// The fault while a step is executed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Wrong {
    Nothing,
    /// No effect, no answer.
    Lost,
    /// An effect, and no answer.
    AnswerLost,
    /// An effect after this many seconds, and no answer.
    Late(i64),
    /// An effect, and the answer is an error of the server.
    ErrorAfter,
    Refused(Class),
    /// The process ends before the step.
    CrashBefore,
    /// The process ends when the step has taken effect.
    CrashAfter,
}

/// What happens next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Op {
    /// A process continues. If it waits, time passes: at most this many seconds.
    Run {
        actor: usize,
        wrong: Wrong,
        /// Its cache is this many versions behind.
        behind: usize,
        /// For a wait.
        at_most: i64,
    },
    Pass(i64),
    Crash(usize),
    /// The client resource is deleted and created again for the same Secret.
    Recreate,
    /// The clock of a process jumps.
    Jump(usize, i64),
    /// A user requests a rotation.
    Request,
    Edit(Edit),
    /// The client names the other application.
    Rename,
    /// A user copies the Secret into this namespace, or into another one. Credentials use the copy.
    Copy(bool),
}

/// Edits of the Secret by users and GitOps.
#[derive(Clone, Copy, Debug)]
pub(super) enum Edit {
    /// A user creates a credential and stores it.
    OwnValue,
    /// Restores an earlier version, this many versions back: values, annotation or both.
    Restore {
        back: usize,
        values: bool,
        note: bool,
    },
    RemoveNote,
    DamageAnnotation,
    RemoveNext,
    RemovePrevious,
    PutPreviousBack,
    /// The client names another key of the Secret, in which a user stores a credential.
    OtherKey,
}

#[derive(Clone, Debug, PartialEq)]
struct Content {
    note: BTreeMap<String, String>,
    data: BTreeMap<String, ByteString>,
}

struct IssuerKey {
    application: usize,
    id: String,
    name: Option<String>,
    value: String,
    made: i64,
    removed: Option<i64>,
    /// When each replica lists it, and when each stops listing it.
    seen: [i64; REPLICAS],
    gone: [i64; REPLICAS],
}

struct Actor {
    memory: Memory,
    values: BTreeMap<String, String>,
    offset: i64,
    last_trial: i64,
    last_write: i64,
}

#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a property of an issuer"
)]
pub(super) struct World {
    pub(super) settings: RotationSettings,
    hints: bool,
    reveals_id: bool,
    may_read: bool,
    /// An answer with a new registration access token was lost.
    locked: bool,
    /// Whether a user removed, damaged or restored the annotation.
    lost_note: bool,
    names: Names,
    /// How often the client resource was created again.
    recreated: u32,
    /// Validity of each certificate, and its common name.
    certificates: BTreeMap<String, ((i64, i64), Option<String>)>,
    /// What writes have reported as left at the issuer.
    lefts: Vec<Left>,
    /// Which of two applications the client names.
    application: usize,
    t: i64,
    seed: u64,
    history: Vec<Content>,
    keys: Vec<IssuerKey>,
    late: Vec<(i64, usize, String, String)>,
    actors: Vec<Actor>,
    requested: Option<String>,
    made: u32,
    /// When a value last got a token, by its digest.
    tokens: BTreeMap<String, i64>,
    jumped: bool,
    /// Number of edits and jumps, each of which may leave one more orphan.
    disturbed: usize,
    /// The copy of the Secret, and its name if it is in the same namespace.
    copy: Option<(Content, Option<String>)>,
    /// Whether a user had to remove what another application has.
    pub(super) ended_elsewhere: bool,
    /// A log of the steps, if it is wanted, because formatting it would take most of the time.
    pub(super) trace: Option<Vec<String>>,
    pub(super) seen_states: BTreeSet<&'static str>,
}

impl World {
    pub(super) fn new(
        settings: RotationSettings,
        seed: u64,
        hints: bool,
        reveals_id: bool,
    ) -> Self {
        let mut world = Self {
            settings,
            hints,
            reveals_id,
            may_read: true,
            locked: false,
            lost_note: false,
            names: Names::new("6f3c0a4e", UID),
            recreated: 0,
            certificates: BTreeMap::new(),
            lefts: Vec::new(),
            application: 0,
            t: 0,
            seed: seed | 1,
            history: Vec::new(),
            keys: Vec::new(),
            late: Vec::new(),
            actors: Vec::new(),
            requested: None,
            made: 0,
            tokens: BTreeMap::new(),
            jumped: false,
            disturbed: 0,
            copy: None,
            ended_elsewhere: false,
            trace: None,
            seen_states: BTreeSet::new(),
        };
        for _ in 0..2 {
            world.actors.push(Actor {
                memory: Memory::new(at(0), &Pace::default()),
                values: BTreeMap::new(),
                offset: 0,
                last_trial: i64::MIN / 2,
                last_write: i64::MIN / 2,
            });
        }
        let value = world.own_value();
        world.history.push(Content {
            note: BTreeMap::new(),
            data: BTreeMap::from([(KEY.to_owned(), ByteString(value.into_bytes()))]),
        });
        world
    }

    /// From now on the application may not be read.
    pub(super) fn blind(mut self) -> Self {
        self.may_read = false;
        self
    }

    /// From now on the steps are recorded.
    pub(super) fn traced(mut self) -> Self {
        self.trace = Some(Vec::new());
        self
    }

    fn note(&mut self, line: impl FnOnce(i64) -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(line(self.t));
        }
    }

    fn random(&mut self, below: i64) -> i64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        i64::try_from(self.seed % u64::try_from(below.max(1)).unwrap()).unwrap()
    }

    fn value(&mut self) -> String {
        self.made += 1;
        format!("{:03}-value", self.made)
    }

    /// A credential that a user creates.
    fn own_value(&mut self) -> String {
        let value = self.value();
        let span = (self.t - 86_400, self.t + 365 * 86_400);
        self.certificates.insert(value.clone(), (span, None));
        self.add(None, &value, 0);
        value
    }

    fn add(&mut self, name: Option<String>, value: &str, lag: i64) -> String {
        // A public key is named by its thumbprint, and registered only once.
        let id = match self.settings.kind {
            Kind::Key if self.is_there(value) => return value.to_owned(),
            Kind::Key => value.to_owned(),
            _ => format!("key-{}", self.keys.len()),
        };
        let seen = std::array::from_fn(|_| self.t + self.random(lag + 1));
        self.keys.push(IssuerKey {
            application: self.application,
            id: id.clone(),
            name,
            value: value.to_owned(),
            made: self.t,
            removed: None,
            seen,
            gone: [i64::MAX; REPLICAS],
        });
        id
    }

    fn content(&self) -> &Content {
        self.history.last().unwrap()
    }

    fn value_in(content: &Content, suffix: &str) -> Option<String> {
        let bytes = content.data.get(&format!("{KEY}{suffix}"))?;
        Some(String::from_utf8(bytes.0.clone()).unwrap())
    }

    /// The credentials of the application that the client names.
    fn here(&self) -> impl Iterator<Item = &IssuerKey> {
        let here = |k: &&IssuerKey| k.application == self.application;
        self.keys.iter().filter(here)
    }

    fn client(&self) -> ClientAt {
        client(&format!("c-{}", self.application))
    }

    /// Digest of a value as a credential of the present client.
    fn digest(&self, value: &str) -> String {
        format!("{value} of {}", self.application)
    }

    /// Whether it is a certificate that is not valid now.
    fn is_out_of_date(&self, value: &str) -> bool {
        let dated = self.settings.kind == Kind::Certificate;
        let (from, until) = self.certificates[value].0;
        dated && (self.t < from || self.t >= until)
    }

    /// Whether an issuer without lag accepts it.
    fn is_live(&self, value: &str) -> bool {
        !self.is_out_of_date(value) && self.is_there(value)
    }

    /// Whether it is at the issuer.
    fn is_there(&self, value: &str) -> bool {
        self.here().any(|k| k.value == value && k.removed.is_none())
    }

    fn live_values(&self) -> usize {
        let slots = ["", values::NEXT, values::PREVIOUS];
        let held = slots
            .iter()
            .filter_map(|s| Self::value_in(self.content(), s));
        held.filter(|v| self.is_live(v)).count()
    }

    /// The recorded state.
    pub(super) fn state(&self) -> &'static str {
        match Record::read(&self.content().note) {
            StoredRecord::Record(record) => record.state.as_str(),
            _ => "none",
        }
    }

    pub(super) fn current_is_live(&self) -> bool {
        Self::value_in(self.content(), "").is_some_and(|v| self.is_live(&v))
    }

    fn slot(&self, value: &str) -> Slot {
        let mark = match self.settings.kind {
            Kind::Secret => Mark::Hint(value[..3].to_owned()),
            Kind::Certificate => Mark::Certificate {
                sha1: format!("1{value}"),
                sha256: format!("2{value}"),
            },
            Kind::Key => Mark::Key(value.to_owned()),
        };
        let (span, name) = &self.certificates[value];
        let dated = self.settings.kind == Kind::Certificate;
        Slot {
            mark,
            name: name.clone().filter(|_| dated),
            validity: dated.then_some((at(span.0), at(span.1))),
            digest: self.digest(value),
        }
    }

    fn now(&self, actor: usize) -> Timestamp {
        at(self.t + self.actors[actor].offset)
    }

    fn observed(&self, actor: usize, behind: usize) -> Observed {
        let version = self.history.len() - 1 - behind.min(self.history.len() - 1);
        let content = &self.history[version];
        let slot = |suffix| Self::value_in(content, suffix).map(|v| self.slot(&v));
        let current = Self::value_in(content, "");
        let used = current.and_then(|v| self.tokens.get(&self.digest(&v)));
        Observed {
            version: version.to_string(),
            noted: Record::read(&content.note),
            slots: Slots {
                current: slot(""),
                next: slot(values::NEXT),
                previous: slot(values::PREVIOUS),
                beside: Vec::new(),
                other_keys: Self::under_old_keys(content)
                    .map(|value| self.slot(&value).mark)
                    .collect(),
                has_unread_keys: false,
            },
            client: self.client(),
            names: self.names.clone(),
            in_others: self.in_others(),
            others_known: true,
            unmakeable: None,
            lagging: None,
            handled: None,
            used_at: used.map(|t| at(t + self.actors[actor].offset)),
            requested: self.requested.clone(),
        }
    }
}
