//! Any order of renewals, refused certificates and edits.

use super::*;

/// One event in the history of a Secret and its copy.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// Another pair, which the issuer knows or does not know.
    Replace(bool),
    /// A changed label.
    Touch,
    Register,
    Wish(bool),
    Recreate,
    Renew,
    Settle,
    DeleteCopy,
}

fn events() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => any::<bool>().prop_map(Event::Replace),
        1 => Just(Event::Touch),
        2 => Just(Event::Register),
        2 => prop_oneof![4 => Just(true), 1 => Just(false)].prop_map(Event::Wish),
        1 => Just(Event::Recreate),
        6 => Just(Event::Renew),
        6 => Just(Event::Settle),
        1 => Just(Event::DeleteCopy),
    ]
}

/// A Secret, its copy, and what the issuer knows. Pairs are numbers.
struct History {
    clock: u32,
    uid: u32,
    pair: u32,
    version: u32,
    requested: bool,
    /// Content, UID and version of origin, version.
    copy: Option<(Option<u32>, String, u32)>,
    known: Vec<u32>,
    /// Pairs that got a token, and the mark of the last one.
    proven: Vec<u32>,
    used: Option<SourceMark>,
}

impl History {
    fn tick(&mut self) -> u32 {
        self.clock += 1;
        self.clock
    }

    fn facts(&self) -> (SecretFacts, Option<SecretFacts>) {
        let requested = if self.requested { "true" } else { "false" };
        let mut source = examine(&meta(
            "",
            &json!({ "apicred.dev/keep-last-good": requested }),
        ));
        source.uid = self.uid.to_string();
        source.version = self.version.to_string();
        let copy = self.copy.as_ref().map(|(_, of, version)| SecretFacts {
            version: version.to_string(),
            ..copy(of)
        });
        (source, copy)
    }

    fn renew(&mut self) {
        let (source, copy) = self.facts();
        let name = if self.known.contains(&self.pair) {
            self.proven.push(self.pair);
            NAME
        } else if serves(Some(&source), copy.as_ref()) {
            let held = self.copy.as_ref().and_then(|(held, ..)| *held);
            assert!(
                held.is_some_and(|held| self.proven.contains(&held)),
                "a pair that got a token"
            );
            COPY
        } else {
            return;
        };
        self.used = Some(SourceMark {
            name: name.to_owned(),
            key: "tls.key".to_owned(),
            uid: source.uid,
            version: source.version,
        });
    }

    fn settle(&mut self) {
        let (source, copy) = self.facts();
        let known = Known {
            used: self.used.as_ref(),
            name: NAME,
            owner: ME,
            needed: false,
        };
        match step(Some(&source), copy.as_ref(), known) {
            Step::Leave => {}
            Step::Store(version) => {
                assert!(self.requested && self.proven.contains(&self.pair));
                let there = self
                    .copy
                    .as_ref()
                    .map(|(_, _, version)| version.to_string());
                assert_eq!(version, there, "guarded by the version that is there");
                let of = format!("{}/{}", self.uid, self.version);
                let now = self.tick();
                self.copy = Some((Some(self.pair), of, now));
            }
            Step::Empty(_, uid) => {
                assert!(
                    !self.requested || uid != self.uid.to_string(),
                    "somebody took it back"
                );
                let now = self.tick();
                self.copy = Some((None, String::new(), now));
            }
        }
    }

    fn happens(&mut self, event: Event) {
        let now = self.tick();
        match event {
            Event::Replace(known) => {
                (self.pair, self.version) = (now, now);
                self.known.extend(known.then_some(now));
            }
            Event::Touch => self.version = now,
            Event::Register => self.known.push(self.pair),
            Event::Wish(requested) => (self.requested, self.version) = (requested, now),
            Event::Recreate => (self.uid, self.pair, self.version) = (now, now, now),
            Event::Renew => self.renew(),
            Event::Settle => self.settle(),
            Event::DeleteCopy => self.copy = None,
        }
    }
}

proptest! {
    /// In any order of events: the copy contains only a pair that got a token, it is used only for the Secret from which it was copied and
    /// while the owner requests it, and the next reconcile finds nothing more to do.
    #[test]
    fn the_copy_has_only_what_got_a_token(list in prop::collection::vec(events(), 1..60)) {
        let mut history = History {
            clock: 1, uid: 1, pair: 1, version: 1, requested: true, copy: None,
            known: vec![1], proven: Vec::new(), used: None,
        };
        for event in list {
            history.happens(event);
            let held = history.copy.as_ref().and_then(|(held, ..)| *held);
            prop_assert!(held.is_none_or(|held| history.proven.contains(&held)));
            let (source, copy) = history.facts();
            if serves(Some(&source), copy.as_ref()) {
                prop_assert!(history.requested);
                let of = &history.copy.as_ref().unwrap().1;
                let uid = format!("{}/", history.uid);
                prop_assert!(of.starts_with(&uid), "{} {}", of, uid);
            }
        }
        history.settle();
        let copy = history.copy.clone();
        history.settle();
        prop_assert_eq!(&history.copy, &copy, "settled");
        if !history.requested {
            prop_assert!(copy.is_none_or(|(held, ..)| held.is_none()));
        }
    }
}
