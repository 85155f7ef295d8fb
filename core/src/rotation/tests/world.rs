//! A model of what surrounds a rotation: the Secret with its history, an issuer whose replicas lag, processes that crash, people
//! who edit. It holds no rule of the rotation; it checks what must always be true whenever a process does something.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;

use super::faults::client;
use crate::{
    api::names,
    fixtures::at,
    rotation::{
        Answer, Application, Class, ClientAt, Fault, InHand, Key, KeyMark, Kind, Mark, Memory,
        Names, Next, Noted, Notice, Observed, Outcome, Pace, Record, RotationSettings, Slot, Slots,
        Step, Tried, next, values,
    },
};

/// Replicas lag by at most this, in seconds.
const LAG: i64 = 200;
const REPLICAS: usize = 3;
const KEY: &str = "client-secret";
const UID: &str = "0d9b3b5e-6d52-4b8e-9df4-1c1b7a0e0000";

/// What goes wrong while a step is executed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Wrong {
    Nothing,
    /// No effect, no answer.
    Lost,
    /// An effect, and no answer.
    AnswerLost,
    /// An effect after so many seconds, and no answer.
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
    /// A process goes on. If it waits, time passes: at most so many seconds.
    Run {
        actor: usize,
        wrong: Wrong,
        /// So many versions behind is its cache.
        behind: usize,
        /// For a wait.
        at_most: i64,
    },
    Pass(i64),
    Crash(usize),
    /// The clock of a process jumps.
    Jump(usize, i64),
    /// Somebody requests a rotation.
    Request,
    Edit(Edit),
    /// The client names the other application.
    Rename,
}

/// What people and GitOps do to the Secret.
#[derive(Clone, Copy, Debug)]
pub(super) enum Edit {
    /// A user makes a credential and stores it.
    OwnValue,
    /// Back to what it was so many versions before: values, annotation or both.
    Restore {
        back: usize,
        values: bool,
        note: bool,
    },
    RemoveNote,
    SpoilNote,
    RemoveNext,
    RemovePrevious,
    PutPreviousBack,
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
    /// When each replica sees it, and sees that it is gone.
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
    /// An answer was lost that had a new registration access token.
    locked: bool,
    names: Names,
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
    /// When a token came by a value last, by its digest.
    tokens: BTreeMap<String, i64>,
    jumped: bool,
    /// Edits and jumps after which there may be one orphan more.
    disturbed: usize,
    /// Did somebody have to end what another application has?
    pub(super) ended_elsewhere: bool,
    /// What happened, if it is wanted: most of the time would go into its words.
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
            names: Names::new("6f3c0a4e", UID),
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
        let value = world.value();
        world.add(None, &value, 0);
        world.history.push(Content {
            note: BTreeMap::new(),
            data: BTreeMap::from([(KEY.to_owned(), ByteString(value.into_bytes()))]),
        });
        world
    }

    /// The application may not be read from now on.
    pub(super) fn blind(mut self) -> Self {
        self.may_read = false;
        self
    }

    /// From now on what happens is noted.
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

    fn add(&mut self, name: Option<String>, value: &str, lag: i64) -> String {
        // A public key is named by its thumbprint, and is registered once.
        let id = match self.settings.kind {
            Kind::Key if self.is_live(value) => return value.to_owned(),
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

    /// Of a value as a credential of the client as it is.
    fn digest(&self, value: &str) -> String {
        format!("{value} of {}", self.application)
    }

    /// Is it accepted by an issuer that does not lag?
    fn is_live(&self, value: &str) -> bool {
        self.here().any(|k| k.value == value && k.removed.is_none())
    }

    fn live_values(&self) -> usize {
        let slots = ["", values::NEXT, values::PREVIOUS];
        let held = slots
            .iter()
            .filter_map(|s| Self::value_in(self.content(), s));
        held.filter(|v| self.is_live(v)).count()
    }

    /// The state that is noted.
    pub(super) fn state(&self) -> &'static str {
        match Record::read(&self.content().note) {
            Noted::Record(record) => record.state.as_str(),
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
        Slot {
            mark,
            name: None,
            validity: None,
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
            },
            client: self.client(),
            names: self.names.clone(),
            lagging: None,
            used_at: used.map(|t| at(t + self.actors[actor].offset)),
            requested: self.requested.clone(),
        }
    }

    pub(super) fn op(&mut self, op: Op) {
        match op {
            Op::Run {
                actor,
                wrong,
                behind,
                at_most,
            } => {
                self.run(actor, wrong, behind, at_most);
            }
            Op::Pass(seconds) => self.pass(seconds),
            Op::Crash(actor) => self.crash(actor),
            Op::Jump(actor, seconds) => {
                self.actors[actor].offset += seconds;
                self.jumped = true;
                self.disturbed += 1;
            }
            Op::Request => self.requested = Some(format!("at {}", self.t)),
            Op::Edit(edit) => self.edit(edit),
            Op::Rename => self.rename(),
        }
        self.note(|t| format!("{t} {op:?}"));
    }

    fn pass(&mut self, seconds: i64) {
        self.t += seconds;
        let (due, late) = std::mem::take(&mut self.late)
            .into_iter()
            .partition::<Vec<_>, _>(|(t, ..)| *t <= self.t);
        self.late = late;
        let now = (self.t, self.application);
        for (t, application, name, value) in due {
            // Replicas lag behind the moment of the effect, not behind the next reading.
            (self.t, self.application) = (t, application);
            self.add(Some(name), &value, LAG);
        }
        (self.t, self.application) = now;
    }

    fn crash(&mut self, actor: usize) {
        let now = self.now(actor);
        self.actors[actor].memory = Memory::new(now, &self.settings.pace);
        self.actors[actor].values.clear();
        // The next process waits by itself.
        self.actors[actor].last_write = i64::MIN / 2;
    }

    /// Each process stores what the issuer has made, and forgets the rest.
    fn rename(&mut self) {
        for actor in 0..self.actors.len() {
            let held = self.actors[actor].memory.held();
            if held.is_some_and(|held| held.id.is_some()) {
                let seen = self.observed(actor, 0);
                let now = self.now(actor);
                let stores = next(&seen, &self.actors[actor].memory, &self.settings, now).step;
                if let Step::Write { change, .. } = &stores
                    && change.stores()
                {
                    self.execute(actor, &stores, Wrong::Nothing);
                }
            }
            self.crash(actor);
        }
        self.application = 1 - self.application;
    }

    fn edit(&mut self, edit: Edit) {
        self.disturbed += 1;
        let mut content = self.content().clone();
        let suffixed = |suffix: &str| format!("{KEY}{suffix}");
        match edit {
            Edit::OwnValue => {
                let value = self.value();
                self.add(None, &value, 0);
                content
                    .data
                    .insert(KEY.to_owned(), ByteString(value.into_bytes()));
            }
            Edit::Restore { back, values, note } => {
                let earlier =
                    &self.history[self.history.len() - 1 - back.min(self.history.len() - 1)];
                if values {
                    content.data.clone_from(&earlier.data);
                }
                if note {
                    content.note.clone_from(&earlier.note);
                }
            }
            Edit::RemoveNote => content.note.clear(),
            Edit::SpoilNote => {
                content
                    .note
                    .insert(names::ROTATION.to_owned(), "{".to_owned());
            }
            Edit::RemoveNext => {
                content.data.remove(&suffixed(values::NEXT));
            }
            Edit::RemovePrevious => {
                content.data.remove(&suffixed(values::PREVIOUS));
            }
            Edit::PutPreviousBack => {
                if let Some(value) = content.data.get(&suffixed(values::PREVIOUS)) {
                    content.data.insert(KEY.to_owned(), value.clone());
                }
            }
        }
        self.history.push(content);
    }

    /// One turn of a process; what it did.
    pub(super) fn run(&mut self, actor: usize, wrong: Wrong, behind: usize, at_most: i64) -> Next {
        let mut seen = self.observed(actor, behind);
        let decide = |world: &Self, seen: &Observed| {
            next(
                seen,
                &world.actors[actor].memory,
                &world.settings,
                world.now(actor),
            )
        };
        let mut decided = decide(self, &seen);
        if decided.step.changes_issuer() && behind > 0 {
            seen = self.observed(actor, 0);
            decided = decide(self, &seen);
        }
        if let Noted::Record(record) = &seen.noted {
            self.seen_states.insert(record.state.as_str());
        }
        self.note(|t| format!("{t} [{actor}] {:?} {:?}", decided.step, decided.notices));
        let step = decided.step.clone();
        self.check_elsewhere(&decided, behind);
        if let Step::Wait { until } = &step {
            let left = until.duration_since(self.now(actor)).as_secs();
            assert!(left > 0, "a wait lies ahead");
            self.pass(left.min(at_most));
            return decided;
        }
        if wrong == Wrong::CrashBefore {
            self.crash(actor);
            return decided;
        }
        let now = self.now(actor);
        self.actors[actor].memory.before(&step, now);
        let before = (self.live_values(), self.current_is_live());
        let outcome = self.execute(actor, &step, wrong);
        self.check(&step, before);
        if wrong == Wrong::CrashAfter {
            self.crash(actor);
        } else {
            self.actors[actor].memory.after(&step, &outcome, now);
        }
        self.pass(1);
        decided
    }

    fn execute(&mut self, actor: usize, step: &Step, wrong: Wrong) -> Outcome {
        let answered = matches!(wrong, Wrong::Nothing | Wrong::CrashAfter);
        let unknown = |may_have_happened| {
            Outcome::Failed(Fault {
                class: Class::Transient,
                sent: true,
                may_have_happened,
                retry_after: None,
                message: String::new(),
            })
        };
        match step {
            Step::Wait { .. } => Outcome::Done,
            Step::Write { version, change } => {
                let lost = matches!(wrong, Wrong::Lost | Wrong::Refused(_));
                if lost || *version != (self.history.len() - 1).to_string() {
                    return Outcome::NotWritten;
                }
                self.write(actor, change);
                if answered {
                    Outcome::Done
                } else {
                    Outcome::NotWritten
                }
            }
            Step::MakeKeyPair { n, .. } => {
                let value = self.value();
                Outcome::Held(self.hold(actor, *n, value, None))
            }
            Step::Trial { of, digest, .. } => {
                let suffix = match of {
                    Tried::Current => "",
                    Tried::Next => values::NEXT,
                };
                let gap = self.settings.trials.gap.as_secs();
                let waited = self.t - self.actors[actor].last_trial;
                assert!(
                    waited >= gap || self.jumped,
                    "trials are {gap} s apart, not {waited}"
                );
                self.actors[actor].last_trial = self.t;
                let value = Self::value_in(self.content(), suffix);
                let value = value.filter(|value| answered && self.digest(value) == *digest);
                value.map_or_else(no_answer, |value| self.trial(&value))
            }
            Step::ReadApplication => {
                if !self.may_read {
                    return refused(Class::Permission);
                }
                if self.locked {
                    return refused(Class::Caller);
                }
                match wrong {
                    Wrong::Refused(class) => refused(class),
                    _ if answered => Outcome::Application(self.listed(actor)),
                    _ => unknown(false),
                }
            }
            _ => self.call(actor, step, wrong),
        }
    }

    /// Only a certificate that the application has proves that another one belongs to it.
    fn lacks_proof(&self, step: &Step) -> bool {
        let adds = matches!(step, Step::AddKey { .. });
        adds && self.settings.kind == Kind::Certificate && !self.current_is_live()
    }

    /// A write to the application.
    fn call(&mut self, actor: usize, step: &Step, wrong: Wrong) -> Outcome {
        let waited = self.t - self.actors[actor].last_write;
        assert!(
            waited >= 10 || self.jumped,
            "writes are 10 s apart, not {waited}"
        );
        self.actors[actor].last_write = self.t;
        let lost = Outcome::Failed(Fault {
            class: Class::Transient,
            sent: true,
            may_have_happened: true,
            retry_after: None,
            message: String::new(),
        });
        match wrong {
            Wrong::Refused(class) => return refused(class),
            Wrong::Lost => return lost,
            _ if self.lacks_proof(step) => return refused(Class::Proof),
            _ if self.locked => return refused(Class::Caller),
            _ => self.locked = self.settings.kind == Kind::Key && wrong != Wrong::Nothing,
        }
        let late = match wrong {
            Wrong::Late(seconds) => Some(seconds),
            _ => None,
        };
        let done = match step {
            Step::AddPassword { n, name, .. } => {
                let value = self.value();
                let id = self.announce(name, &value, late);
                Outcome::Held(self.hold(actor, *n, value, id))
            }
            Step::AddKey { n, digest } => {
                let name = self.names.name(*n);
                let value = Self::value_in(self.content(), values::NEXT).unwrap();
                assert_eq!(
                    self.digest(&value),
                    *digest,
                    "what is announced is what was observed"
                );
                let id = self.announce(&name, &value, late);
                let said = self.reveals_id || self.settings.kind == Kind::Key;
                Outcome::KeyAdded(id.filter(|_| said))
            }
            Step::RemoveKey { id } | Step::RemovePassword { id } => {
                self.remove(id);
                Outcome::Done
            }
            _ => unreachable!(),
        };
        if matches!(wrong, Wrong::Nothing | Wrong::CrashAfter) {
            done
        } else {
            self.actors[actor].values.clear();
            lost
        }
    }

    fn announce(&mut self, name: &str, value: &str, late: Option<i64>) -> Option<String> {
        if let Some(seconds) = late {
            let late = (
                self.t + seconds,
                self.application,
                name.to_owned(),
                value.to_owned(),
            );
            self.late.push(late);
            return None;
        }
        Some(self.add(Some(name.to_owned()), value, LAG))
    }

    fn hold(&mut self, actor: usize, n: u32, value: String, id: Option<String>) -> InHand {
        let slot = self.slot(&value);
        self.actors[actor].values.insert(slot.digest.clone(), value);
        let from = self.now(actor);
        let until = from + SignedDuration::from_hours(180 * 24);
        InHand {
            n,
            slot,
            id,
            from,
            until: (self.settings.kind != Kind::Key).then_some(until),
        }
    }

    fn write(&mut self, actor: usize, change: &crate::rotation::Change) {
        let held = self.actors[actor].memory.held();
        let value = held.and_then(|h| self.actors[actor].values.get(&h.slot.digest));
        let held = value.map(|v| (KEY.to_owned(), ByteString(v.clone().into_bytes())));
        let held = held.into_iter().collect();
        let mut content = self.content().clone();
        for (key, value) in values::changes(&[KEY], &content.data.clone(), change.values, &held) {
            match value {
                Some(value) => content.data.insert(key, value),
                None => content.data.remove(&key),
            };
        }
        content.note.extend([change.record.annotation()]);
        self.history.push(content);
    }

    fn trial(&mut self, value: &str) -> Outcome {
        let replica = usize::try_from(self.random(3)).unwrap();
        let t = self.t;
        let accepted =
            |k: &&IssuerKey| k.value == value && k.seen[replica] <= t && k.gone[replica] > t;
        if self.here().any(|k| accepted(&k)) {
            self.tokens.insert(self.digest(value), t);
            Outcome::Token
        } else {
            Outcome::Refused(Answer::default())
        }
    }

    fn listed(&mut self, actor: usize) -> Application {
        let replica = usize::try_from(self.random(3)).unwrap();
        let offset = 0;
        let t = self.t;
        let shown = self
            .here()
            .filter(|k| k.seen[replica] <= t && k.gone[replica] > t);
        let mark = |k: &IssuerKey| match self.settings.kind {
            Kind::Secret if self.hints => Some(KeyMark::Hint(k.value[..3].to_owned())),
            Kind::Secret => None,
            Kind::Certificate => Some(KeyMark::Thumbprint(format!("1{}", k.value))),
            Kind::Key => Some(KeyMark::Thumbprint(k.value.clone())),
        };
        // A registration says nothing about a public key but the key.
        let says = self.settings.kind != Kind::Key;
        let keys = shown
            .map(|k| Key {
                id: k.id.clone(),
                name: k.name.clone().filter(|_| says),
                mark: mark(k),
                from: says.then(|| at(k.made + offset)),
                until: says.then(|| at(k.made + 180 * 86_400)),
            })
            .collect();
        Application {
            read_at: self.now(actor),
            keys,
        }
    }

    fn remove(&mut self, id: &str) {
        let adopted = self.settings.adopt.as_deref() == Some(id);
        let gone = std::array::from_fn(|_| self.t + self.random(LAG));
        let current =
            Self::value_in(self.content(), "").expect("nothing is removed without a current value");
        let token = self.tokens.get(&self.digest(&current)).copied();
        let age = token.map(|t| self.t - t);
        assert!(
            age.is_some_and(|age| age <= 86_400 || self.jumped),
            "{id} is removed, and the last token by the current value is {age:?} s old"
        );
        let (t, here) = (self.t, self.application);
        let mut keys = self.keys.iter_mut();
        let Some(key) = keys.find(|k| k.id == id && k.application == here) else {
            // A public key is known by its thumbprint before it is registered.
            assert_eq!(self.settings.kind, Kind::Key, "it was read somewhere");
            let elsewhere = self.keys.iter().any(|k| k.id == id);
            assert!(!elsewhere, "{id} is a key of the other application");
            return;
        };
        assert!(key.name.is_some() || adopted, "{id} is foreign");
        if key.removed.is_none() {
            (key.removed, key.gone) = (Some(t), gone);
        }
    }

    /// What must be true after each step of ours.
    fn check(&self, step: &Step, (values, current): (usize, bool)) {
        if values > 0 {
            assert!(
                self.live_values() > 0,
                "no value of the Secret works after {step:?}"
            );
        }
        if current {
            assert!(
                self.current_is_live(),
                "the current value works no more after {step:?}"
            );
        }
        let ours = self.ours().len();
        let bound = 3 + self.disturbed;
        // Without the right to read, what an answer did not name is not removed.
        assert!(
            ours <= bound || !self.may_read,
            "{ours} of ours are at the issuer"
        );
    }

    /// What is at the application that the annotation names is left alone, and a user learns of it.
    fn check_elsewhere(&self, decided: &Next, behind: usize) {
        let notices = decided.notices.iter();
        let mut found = notices.filter_map(|notice| match notice {
            Notice::Elsewhere { client, left } => Some((client, left)),
            _ => None,
        });
        let other = decided.record.client.as_ref();
        let Some((client, left)) = found.next() else {
            return;
        };
        assert_eq!(Some(client), other);
        assert_ne!(*client, self.client());
        assert!(
            matches!(decided.step, Step::Wait { .. }),
            "{:?}",
            decided.step
        );
        // Who reads an old version reports what was left then.
        if self.disturbed > 0 || behind > 0 {
            return;
        }
        let slots = ["", values::NEXT, values::PREVIOUS];
        let held = slots.map(|suffix| Self::value_in(self.content(), suffix));
        let there = self.keys.iter().filter(|key| {
            key.application != self.application && key.name.is_some() && key.removed.is_none()
        });
        for key in there {
            // Others have a name, by which they are found.
            let counts = self.settings.kind == Kind::Key || held.contains(&Some(key.value.clone()));
            let mut same = self.keys.iter().filter(|k| k.value == key.value);
            let named = same.any(|k| {
                left.contains(&k.id) || k.name.as_ref().is_some_and(|name| left.contains(name))
            });
            assert!(named || !counts, "{} is not in {left:?}", key.id);
        }
    }

    fn ours(&self) -> Vec<&str> {
        let live = self.here().filter(|k| k.removed.is_none());
        live.filter(|k| k.name.is_some())
            .map(|k| k.value.as_str())
            .collect()
    }

    /// People repair what only they can, nothing goes wrong any more, and somebody asks for a rotation: it must come to its end.
    pub(super) fn settle(&mut self) {
        self.note(|_| "settle".to_owned());
        for actor in &mut self.actors {
            actor.offset = 0;
        }
        self.jumped = true;
        self.crash(0);
        let noted = self.observed(0, 0).noted;
        let own = self.client();
        let is_of_another = |record: &Record| record.client.as_ref().is_some_and(|c| *c != own);
        let elsewhere = matches!(&noted, Noted::Record(record) if is_of_another(record));
        if elsewhere || noted == Noted::Unreadable {
            self.edit(Edit::RemoveNote);
        }
        if elsewhere {
            self.ended_elsewhere = true;
            self.edit(Edit::RemoveNext);
            self.edit(Edit::RemovePrevious);
        }
        // Somebody stores a new registration access token.
        self.locked = false;
        if !self.current_is_live() {
            self.edit(Edit::OwnValue);
        }
        self.pass(3 * LAG);
        self.requested = Some("last".to_owned());
        let mut quiet = 0;
        let start = self.t;
        for _ in 0..4_000 {
            let decided = self.run(0, Wrong::Nothing, 0, 86_400);
            if decided.notices.contains(&Notice::Ambiguous) {
                assert!(!self.hints, "hints tell them apart");
                return;
            }
            for notice in &decided.notices {
                match notice {
                    Notice::Unknown { ending, .. } if *ending == values::NEXT => {
                        self.edit(Edit::RemoveNext);
                    }
                    Notice::Unknown { .. } => self.edit(Edit::RemovePrevious),
                    _ => {}
                }
            }
            let steady = matches!(self.observed(0, 0).noted, Noted::Record(r)
                if r.state == crate::rotation::Phase::Steady && r.handled.as_deref() == Some("last") && r.failure.is_none());
            quiet = if steady { quiet + 1 } else { 0 };
            // Without hints a foreign value may be any of ours; its owner takes it away.
            if steady && !self.hints && Self::value_in(self.content(), values::PREVIOUS).is_some() {
                self.edit(Edit::RemovePrevious);
            }
            if quiet > 12 {
                break;
            }
            assert!(self.t - start < 60 * 86_400, "it ends");
        }
        let current = Self::value_in(self.content(), "").unwrap();
        assert!(quiet > 12, "it comes to rest");
        // A certificate that was announced twice is there twice.
        let mut ours = self.ours();
        ours.dedup();
        // A public key has no name: which of them are ours is known from the annotation alone, and each edit of it may cost one.
        if self.settings.kind == Kind::Key && self.disturbed > 0 {
            assert!(ours.contains(&current.as_str()));
            assert!(
                ours.len() <= 1 + self.disturbed,
                "{} times somebody edited: {ours:?}",
                self.disturbed
            );
            return;
        }
        if self.may_read {
            assert_eq!(
                ours,
                [current.as_str()],
                "one of ours is left: the current one"
            );
        } else {
            assert!(ours.contains(&current.as_str()));
        }
    }
}

pub(super) fn no_answer() -> Outcome {
    let fault = Fault {
        class: Class::Transient,
        sent: true,
        may_have_happened: false,
        retry_after: None,
        message: "no answer".to_owned(),
    };
    Outcome::NoAnswer(fault, Answer::default())
}

fn refused(class: Class) -> Outcome {
    Outcome::Failed(Fault {
        class,
        sent: true,
        may_have_happened: false,
        retry_after: Some(SignedDuration::from_secs(20)),
        message: String::new(),
    })
}
