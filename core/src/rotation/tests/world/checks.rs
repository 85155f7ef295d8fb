//! What must be true after each step, and at the end.

use super::{Edit, IssuerKey, LAG, World, Wrong};
use crate::rotation::{Kind, Left, Next, Notice, Phase, Record, Step, StoredRecord, values};

impl World {
    /// What must be true after each step of apicred.
    pub(super) fn check(&self, step: &Step, (values, current): (usize, bool)) {
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
        // Without the permission to read, a credential that no answer named is not removed.
        assert!(
            ours <= bound || !self.may_read,
            "{ours} of ours are at the issuer"
        );
    }

    /// Credentials at the application that the annotation names are not changed, and are reported.
    pub(super) fn check_elsewhere(&self, decided: &Next, behind: usize) {
        let notices = decided.notices.iter();
        let mut found = notices.filter_map(|notice| match notice {
            Notice::Elsewhere { client, left, .. } => Some((client, left)),
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
        // A process that reads an old version reports what was left then.
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
        let live = live.filter(|k| !self.is_stored_elsewhere(&k.value));
        live.filter(|k| self.is_named_by(k) == Some(true))
            .map(|k| k.value.as_str())
            .collect()
    }

    /// Whether the present client resource created it, or an earlier one.
    fn is_named_by(&self, key: &IssuerKey) -> Option<bool> {
        let name = key.name.as_ref()?;
        Some(self.names.number(name).is_some())
    }

    /// What nobody removes is named: in the status, or once in an event.
    fn check_left(&self, reported: &[String]) {
        let slots = ["", values::NEXT, values::PREVIOUS];
        let held = slots.map(|suffix| Self::value_in(self.content(), suffix));
        let left = self.here().filter(|k| {
            let there = k.removed.is_none() && !self.is_out_of_date(&k.value);
            k.name.is_some()
                && there
                && !held.contains(&Some(k.value.clone()))
                && !self.is_stored_elsewhere(&k.value)
        });
        for key in left {
            let name = key.name.as_ref().unwrap();
            let by_event = |left: &Left| match &left.id {
                Some(id) => *id == key.id,
                None => name.ends_with(&left.name),
            };
            assert!(
                reported.contains(&key.id) || self.lefts.iter().any(by_event),
                "{} ({name}) is left, and not in {reported:?} or {:?}",
                key.id,
                self.lefts
            );
        }
    }

    /// Users repair what only they can repair, no more faults occur, and a rotation is requested. It must complete.
    pub(in super::super) fn settle(&mut self) {
        self.note(|_| "settle".to_owned());
        for actor in &mut self.actors {
            actor.offset = 0;
        }
        self.jumped = true;
        self.crash(0);
        let noted = self.observed(0, 0).noted;
        let own = self.client();
        let is_of_another = |record: &Record| record.client.as_ref().is_some_and(|c| *c != own);
        let elsewhere = matches!(&noted, StoredRecord::Record(record) if is_of_another(record));
        if elsewhere || noted == StoredRecord::Unreadable {
            self.edit(Edit::RemoveNote);
        }
        if elsewhere {
            self.ended_elsewhere = true;
            self.edit(Edit::RemoveNext);
            self.edit(Edit::RemovePrevious);
        }
        // A user stores a new registration access token.
        self.locked = false;
        if !self.current_is_live() {
            self.edit(Edit::OwnValue);
        }
        self.pass(3 * LAG);
        self.requested = Some("last".to_owned());
        let (mut quiet, mut reported) = (0, Vec::new());
        let start = self.t;
        for _ in 0..4_000 {
            let decided = self.run(0, Wrong::Nothing, 0, 86_400);
            if decided.notices.contains(&Notice::Ambiguous) {
                assert!(!self.hints, "hints tell them apart");
                return;
            }
            reported.clear();
            for notice in &decided.notices {
                match notice {
                    Notice::AlsoStored { id: Some(id), .. } | Notice::OfEarlier { id } => {
                        reported.push(id.clone());
                    }
                    // A user stores a valid certificate.
                    Notice::CurrentEnded => self.edit(Edit::OwnValue),
                    Notice::Unknown { ending, .. } if *ending == values::NEXT => {
                        self.edit(Edit::RemoveNext);
                    }
                    Notice::Unknown { .. } => self.edit(Edit::RemovePrevious),
                    _ => {}
                }
            }
            let steady = matches!(self.observed(0, 0).noted, StoredRecord::Record(r)
                if r.state == Phase::Steady && r.handled.as_deref() == Some("last") && r.failure.is_none());
            quiet = if steady { quiet + 1 } else { 0 };
            // Without hints a foreign value may be any of apicred's; its owner removes it.
            if steady && !self.hints && Self::value_in(self.content(), values::PREVIOUS).is_some() {
                self.edit(Edit::RemovePrevious);
            }
            if quiet > 12 {
                break;
            }
            assert!(self.t - start < 60 * 86_400, "it ends");
        }
        assert!(quiet > 12, "it comes to rest");
        self.check_rest(&reported);
    }

    /// What must be true at the end. `reported`: the IDs of credentials that the status names.
    fn check_rest(&self, reported: &[String]) {
        let current = Self::value_in(self.content(), "").unwrap();
        // A certificate that was announced twice is listed twice.
        let mut ours = self.ours();
        ours.dedup();
        // Without a hint it may be any value under another key.
        let is_reported = |value: &str| {
            let mut keys = self.here().filter(|k| k.value == value);
            keys.any(|k| reported.contains(&k.id))
        };
        ours.retain(|value| !is_reported(value));
        // Without its annotation, nothing is known about what cannot be listed, and what an earlier client resource created counts as one of
        // another.
        let is_known = !self.lost_note || self.may_read && self.recreated == 0;
        if self.settings.kind != Kind::Key && is_known {
            self.check_left(reported);
        }
        // A public key has no name: only the annotation shows which ones are apicred's, and each edit of it may leave one.
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
