//! `Adding`: how a new credential is added at the issuer and stored in the Secret.

use jiff::{SignedDuration, Timestamp};

use super::{
    failure::FailureCause,
    memory::{Memory, later},
    next::{ApplicationRead, Decision, failed},
    observed::{Application, Key, Same, Slot, Slots, number},
    settings::{Kind, MOST_BUSY, SENT_WITHIN},
    state::{Phase, RemovalSource, ValueRecord},
    step::{Change, Notice, Step, Values},
    values::NEXT,
};

impl Decision<'_> {
    /// The first write of a rotation.
    pub(super) fn announce(&self, listed: Option<&Application>) -> Step {
        let numbers = listed.into_iter().flat_map(|l| &l.keys);
        let highest = numbers.filter_map(|k| number(k, &self.seen.names)).max();
        let n = self.record.n.max(highest.unwrap_or(0)).saturating_add(1);
        let since = self.now;
        let state = Phase::Adding { n, since };
        let held = self.memory.held.as_ref().filter(|held| held.n == n);
        let (values, next) = match (self.settings.kind, held) {
            (Kind::Secret, _) => (Values::Keep, self.facts.next.clone()),
            (Kind::Certificate | Kind::Key, None) => {
                return Step::MakeKeyPair {
                    n,
                    name: self.seen.names.name(n),
                    until: later(self.now, self.settings.validity),
                };
            }
            (Kind::Certificate | Kind::Key, Some(_)) => {
                (Values::StoreNext, self.held_known(n, None))
            }
        };
        self.write_with(state, values, Some(n), |record| {
            record.n = n;
            record.next = next;
            record.answering = self.seen.requested.clone().filter(|_| self.is_requested());
        })
    }

    fn held_known(&self, n: u32, id: Option<String>) -> Option<ValueRecord> {
        let held = self.memory.held.as_ref().filter(|held| held.n == n)?;
        Some(ValueRecord {
            digest: held.slot.digest.clone(),
            id: held.id.clone().or(id).or_else(|| held.slot.mark.id()),
            n: Some(n),
            from: Some(held.from),
            until: held.until,
        })
    }

    /// The removal of a client secret that only this process has, if the Secret does not announce its number any more: the Secret was created
    /// again while the issuer made the client secret. No write stores it any more, and with this state its ID is not lost.
    pub(super) fn withdrawn(&self) -> Option<Step> {
        let held = self.memory.held.as_ref()?;
        let id = held.id.clone()?;
        let key = ValueRecord {
            id: Some(id),
            n: Some(held.n),
            from: Some(held.from),
            until: held.until,
            // A Secret of another namespace that uses it is recognized only by its digest.
            digest: held.slot.digest.clone(),
        };
        let from = RemovalSource::Orphan;
        let state = Phase::Retiring { key, from };
        let stored = self.seen.slots.with(&held.slot.digest).is_some();
        (!stored).then(|| self.write(state, Values::Keep))
    }

    pub(super) fn adding(&self, n: u32, since: Timestamp, notices: &mut Vec<Notice>) -> Step {
        if self.is_absurd(since, SignedDuration::ZERO) {
            let since = self.now;
            let state = Phase::Adding { n, since };
            return self.write_with(state, Values::Keep, self.memory.announced, |_| {});
        }
        match self.settings.kind {
            Kind::Secret => self.adding_secret(n, since, notices),
            Kind::Certificate | Kind::Key => self.adding_certificate(n, since),
        }
    }

    /// Why number n was certainly not added: the issuer refused it or was too busy, or the call was not sent.
    pub(super) fn not_added(&self, n: u32) -> Option<FailureCause> {
        let (of, fault) = self.memory.refused.as_ref()?;
        (*of == n && !fault.may_have_happened).then(|| FailureCause::of(fault))
    }

    /// The issuer was busy and certainly did nothing, or nothing was sent. The same number is announced again after the pause that applies to
    /// every call. If the issuer is busy too often, the rotation fails.
    fn announce_again(&self, n: u32) -> Option<Step> {
        let (of, fault) = self.memory.refused.as_ref()?;
        let again =
            fault.class.passes() && !fault.may_have_happened && self.memory.failures <= MOST_BUSY;
        (*of == n && again).then(|| {
            self.calls_wait(true).unwrap_or_else(|| {
                let state = Phase::Adding { n, since: self.now };
                self.write_with(state, Values::Keep, Some(n), |_| {})
            })
        })
    }

    /// The call for number n was announced and not sent. Other processes count the waiting time from the announcement, so a call that would be
    /// sent much later is announced again first.
    fn sends_late(&self, n: u32, since: Timestamp) -> Option<Step> {
        self.calls_wait(true).or_else(|| {
            let late = later(since, SENT_WITHIN) < self.now;
            let state = Phase::Adding { n, since: self.now };
            late.then(|| self.write_with(state, Values::Keep, Some(n), |_| {}))
        })
    }

    fn adding_secret(&self, n: u32, since: Timestamp, notices: &mut Vec<Notice>) -> Step {
        let added = Phase::Added { since: self.now };
        let known = self.held_known(n, None);
        // The new secret would be stored under these keys.
        if self.unknown(NEXT) && (known.is_some() || self.memory.announced == Some(n)) {
            notices.push(self.strange(NEXT));
            return match known {
                Some(_) => self.wait(self.settings.pace.again),
                None => self.fail(FailureCause::NotSent, Values::Keep),
            };
        }
        if let Some(known) = known {
            return self.write_with(added, Values::StoreNext, None, |r| r.next = Some(known));
        }
        if let Some(step) = self.announce_again(n) {
            return step;
        }
        if let Some(why) = self.not_added(n) {
            return self.fail(why, Values::Keep);
        }
        if self.memory.announced == Some(n) {
            return self
                .sends_late(n, since)
                .unwrap_or_else(|| Step::AddPassword {
                    n,
                    name: self.seen.names.name(n),
                    until: later(self.now, self.settings.validity),
                });
        }
        // The answer was lost, or the process that waited for it ended. If the call added a secret, it has this name.
        let sent = self.memory.wrote_at.filter(|at| *at <= self.now);
        let settled = later(sent.unwrap_or(since).max(since), self.settings.pace.settles);
        if settled > self.now {
            return Step::wait_until(settled);
        }
        let listed = match self.application_read(Some(settled)) {
            ApplicationRead::Fresh(listed) => listed,
            ApplicationRead::NotReadable => {
                return self.fail(FailureCause::AnswerLost, Values::Keep);
            }
            ApplicationRead::First(step) => return step,
        };
        let named = |k: &&Key| number(k, &self.seen.names) == Some(n);
        let found = listed.keys.iter().filter(named).find(|k| self.is_orphan(k));
        match found {
            Some(key) if !self.current_refused() => self
                .prove_current(notices)
                .unwrap_or_else(|| self.retire_orphan(key, Some(FailureCause::AnswerLost))),
            // The sweep removes it once the current value works again.
            _ => self.fail(FailureCause::AnswerLost, Values::Keep),
        }
    }

    /// Returns true if the issuer lists the next key pair. The id of a public key is known before that.
    fn is_there(&self, known: &ValueRecord, slot: &Slot) -> bool {
        if slot.mark.id().is_none() {
            return known.id.is_some();
        }
        let mut keys = self.memory.application.iter().flat_map(|a| &a.keys);
        keys.any(|key| key.is(slot) == Same::Yes)
    }

    /// The issuer did not confirm the next key pair. If it has a certificate nevertheless, the certificate is found by its name. A public key
    /// has no name, and a call whose answer was lost may have added it: it is removed before its thumbprint is forgotten.
    fn give_up(&self, n: u32, (known, slot): (&ValueRecord, &Slot), why: FailureCause) -> Step {
        if self.settings.kind != Kind::Key {
            return self.fail(why, Values::DropNext);
        }
        let state = Phase::Retiring {
            key: ValueRecord {
                id: known.id.clone().or_else(|| slot.mark.id()),
                n: known.n.or(Some(n)),
                ..known.clone()
            },
            from: RemovalSource::Next,
        };
        let failure = self.failure(why);
        self.write_with(state, Values::Keep, None, |r| failed(r, failure))
    }

    fn adding_certificate(&self, n: u32, since: Timestamp) -> Step {
        let (Some(known), Some(slot)) = (&self.facts.next, &self.seen.slots.next) else {
            return self.next_removed();
        };
        if self.unknown(NEXT) {
            return self.next_removed();
        }
        let added = |id: Option<String>| {
            let state = Phase::Added { since: self.now };
            self.write_with(state, Values::Keep, None, |record| {
                if let Some(next) = &mut record.next {
                    next.n = next.n.or(Some(n));
                    next.id = next.id.take().or(id).or_else(|| slot.mark.id());
                }
            })
        };
        if self.is_there(known, slot) {
            return added(None);
        }
        let answered = self
            .memory
            .added
            .as_ref()
            .filter(|(of, _)| *of == known.digest);
        if let Some((_, id @ Some(_))) = answered {
            return added(id.clone());
        }
        if let Some(step) = self.announce_again(n) {
            return step;
        }
        if let Some(why) = self.not_added(n) {
            return self.give_up(n, (known, slot), why);
        }
        if self.memory.announced == Some(n) {
            return self.sends_late(n, since).unwrap_or_else(|| Step::AddKey {
                n,
                digest: known.digest.clone(),
            });
        }
        if self.may_not_read() {
            // Trials show whether it was added.
            return added(None);
        }
        let settled = later(
            self.memory.wrote_at.unwrap_or(since).max(since),
            self.settings.pace.settles,
        );
        match self.application_read(Some(later(self.now, -self.settings.pace.between_writes))) {
            ApplicationRead::First(step) => step,
            ApplicationRead::Fresh(_)
                if self.ahead(settled, self.settings.pace.settles).is_some() =>
            {
                self.wait(self.settings.pace.between_writes)
            }
            // The answer confirmed it, and replicas lag: trials show whether it was added.
            _ if answered.is_some() => added(None),
            _ => {
                let state = Phase::Adding { n, since: self.now };
                let made = self.facts.next.as_ref().and_then(|k| k.from);
                let at_most = self.settings.trials.at_most;
                if made.is_none_or(|made| later(made, at_most) <= self.now) {
                    return self.give_up(n, (known, slot), FailureCause::AnswerLost);
                }
                // The key pair is in the Secret, so a repeated announcement creates no orphan.
                self.write_with(state, Values::Keep, Some(n), |_| {})
            }
        }
    }
}

impl Memory {
    /// Forgets the value in hand if the Secret has it: a write whose answer was lost may have stored it. Returns true if the Secret has it.
    pub fn found(&mut self, slots: &Slots) -> bool {
        let held = self.held.as_ref();
        let found = held.is_some_and(|held| slots.with(&held.slot.digest).is_some());
        if found {
            self.held = None;
        }
        found
    }
}

impl Change {
    /// Whether the credential with this ID is removed after the write.
    pub(super) fn removes_next(&self, id: &str) -> bool {
        matches!(&self.record.state, Phase::Retiring { key, .. } if key.id.as_deref() == Some(id))
    }
}
