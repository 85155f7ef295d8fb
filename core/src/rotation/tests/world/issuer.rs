//! The result of a step: the Secret is written, and an issuer with lagging replicas answers.

use jiff::SignedDuration;
use k8s_openapi::ByteString;

use super::{IssuerKey, KEY, LAG, World, Wrong};
use crate::{
    fixtures::at,
    rotation::{
        AnswerIds, Application, Change, Class, Fault, Key, KeyMark, Kind, Outcome, Step, Tried,
        UnstoredValue, values,
    },
};

impl World {
    pub(super) fn execute(&mut self, actor: usize, step: &Step, wrong: Wrong) -> Outcome {
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
                let reveals = self.reveals_id || self.settings.kind == Kind::Key;
                Outcome::KeyAdded(id.filter(|_| reveals))
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

    fn hold(&mut self, actor: usize, n: u32, value: String, id: Option<String>) -> UnstoredValue {
        // Clocks differ.
        let begins = self.t + self.actors[actor].offset - 300;
        let span = (begins, begins + 180 * 86_400);
        let name = Some(self.names.name(n));
        self.certificates.insert(value.clone(), (span, name));
        let slot = self.slot(&value);
        self.actors[actor].values.insert(slot.digest.clone(), value);
        let from = self.now(actor);
        let until = from + SignedDuration::from_hours(180 * 24);
        UnstoredValue {
            n,
            slot,
            id,
            from,
            until: (self.settings.kind != Kind::Key).then_some(until),
        }
    }

    fn write(&mut self, actor: usize, change: &Change) {
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
        self.lefts.extend(change.leaves.iter().cloned());
        self.history.push(content);
    }

    fn trial(&mut self, value: &str) -> Outcome {
        let replica = usize::try_from(self.random(3)).unwrap();
        let t = self.t;
        let accepted =
            |k: &&IssuerKey| k.value == value && k.seen[replica] <= t && k.gone[replica] > t;
        if !self.is_out_of_date(value) && self.here().any(|k| accepted(&k)) {
            self.tokens.insert(self.digest(value), t);
            Outcome::Token
        } else {
            Outcome::Refused(AnswerIds::default())
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
        // A registration contains only the key itself.
        let reveals = self.settings.kind != Kind::Key;
        let keys = shown
            .map(|k| Key {
                id: k.id.clone(),
                name: k.name.clone().filter(|_| reveals),
                mark: mark(k),
                from: reveals.then(|| at(k.made + offset)),
                until: reveals.then(|| at(k.made + 180 * 86_400)),
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
        // A call without an answer is repeated, and removes nothing more.
        let value = {
            let mut live = self.here().filter(|k| k.removed.is_none());
            live.find(|k| k.id == id).map(|k| k.value.clone())
        };
        let used = value.is_some_and(|value| self.is_used_elsewhere(&value));
        assert!(!used || adopted, "{id} is used in another place");
        let mut keys = self.keys.iter_mut();
        let Some(key) = keys.find(|k| k.id == id && k.application == here) else {
            // A public key is identified by its thumbprint before it is registered.
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
}

pub(in super::super) fn no_answer() -> Outcome {
    let fault = Fault {
        class: Class::Transient,
        sent: true,
        may_have_happened: false,
        retry_after: None,
        message: "no answer".to_owned(),
    };
    Outcome::NoAnswer(fault, AnswerIds::default())
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
