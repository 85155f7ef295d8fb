//! `Added`, `Switched` and `Retiring`: how a new credential is proven and takes over, and how the previous one is removed.

use jiff::{SignedDuration, Timestamp};

use super::memory::later;
use super::{
    failure::FailureCause,
    next::{ApplicationRead, Decision, failed},
    observed::{Application, Key, Same},
    settings::{FRESH, Kind, MOST_PAUSE, SKEW},
    state::{Phase, RemovalSource, ValueRecord},
    step::{Notice, Step, Tried, Values},
    values::{NEXT, PREVIOUS},
};

impl Decision<'_> {
    pub(super) fn added(&self, since: Timestamp, notices: &mut Vec<Notice>) -> Step {
        let (Some(slot), Some(known)) = (&self.seen.slots.next, &self.facts.next) else {
            return self.next_removed();
        };
        // Another value was stored in its place.
        if self.unknown(NEXT) {
            return self.next_removed();
        }
        if self.is_absurd(since, SignedDuration::ZERO) {
            let since = self.now;
            return self.write(Phase::Added { since }, Values::Keep);
        }
        let trials = self.settings.trials;
        let row = self.memory.row(&slot.digest, Some(since));
        let over = row.first.zip(row.last).map(|(a, b)| b.duration_since(a));
        if row.count >= trials.in_row && over.is_some_and(|over| over >= trials.over) {
            // The current value would be stored under these keys.
            if self.unknown(PREVIOUS) {
                notices.push(self.strange(PREVIOUS));
                return self.wait(self.settings.pace.again);
            }
            return self.write_with(self.taken_over(), Values::Promote, None, |record| {
                record.failure = None;
                record.handled = record.answering.take().or(record.handled.take());
            });
        }
        // The value is tried at least once before it is given up, also if this process started late or the client named another application
        // meanwhile: it may work.
        let tried = row.in_vain > 0 && row.fault.as_ref().is_none_or(|fault| fault.sent);
        let ends = later(since, trials.at_most);
        if ends <= self.now && tried {
            let state = Phase::Retiring {
                key: known.clone(),
                from: RemovalSource::Next,
            };
            let failure = row.explains(self.failure(FailureCause::NotProven));
            return self.write_with(state, Values::Keep, None, |r| failed(r, failure));
        }
        notices.extend(row.without_token(Tried::Next));
        let trial = match self.trial((Tried::Next, Some(since)), &slot.digest, trials.gap) {
            // The time limit applies even if the issuer requested a longer pause.
            Step::Wait { until } if tried => Step::wait_until(until.min(ends)),
            trial => trial,
        };
        let idle = matches!(trial, Step::Wait { .. });
        let last = self.memory.application.as_ref().map(|a| a.read_at);
        let read_lately = last.is_some_and(|at| self.ahead(later(at, FRESH), FRESH).is_some());
        // Its id is needed later to remove it. Replicas lag, so the application is read again.
        if idle && known.id.is_none() && !read_lately && !self.may_not_read() {
            return self
                .calls_wait(false)
                .map_or(Step::ReadApplication, |_| trial);
        }
        trial
    }

    /// The next value was taken out of the Secret. If its id is known, it is removed now: a public key has no name by which it could be found
    /// later, and a certificate may rotate without the permission to read the application.
    pub(super) fn next_removed(&self) -> Step {
        let noted = self.record.next.clone().map(|known| ValueRecord {
            id: known.id.clone().or_else(|| self.id_of_added(&known)),
            ..known
        });
        if let Some(step) = self.unsure_of(noted.as_ref()) {
            return step;
        }
        let Some(state) = self.taken_out(noted) else {
            return self.fail(FailureCause::NextRemoved, Values::Keep);
        };
        let failure = self.failure(FailureCause::NextRemoved);
        self.write_with(state, Values::Keep, None, |record| {
            record.next = None;
            failed(record, failure);
        })
    }

    /// The previous value was taken out of the Secret. If apicred created it, it is removed, although the overlap has not ended.
    fn previous_removed(&self) -> Step {
        let noted = self.record.previous.clone();
        if let Some(step) = self.unsure_of(noted.as_ref()) {
            return step;
        }
        let state = self.taken_out(noted).unwrap_or(Phase::Steady);
        self.write(state, Values::Keep)
    }

    /// The id in the answer to adding it, which is not recorded yet.
    pub(super) fn id_of_added(&self, known: &ValueRecord) -> Option<String> {
        let added = self.memory.added.as_ref();
        let (_, id) = added.filter(|(digest, _)| *digest == known.digest)?;
        id.clone()
    }

    /// The reading of the application that shows whether a certificate is found later by its name. None: it is known.
    fn seen_first(&self) -> Option<Step> {
        match self.application_read(None) {
            ApplicationRead::First(step) if self.settings.kind == Kind::Certificate => Some(step),
            _ => None,
        }
    }

    /// The same, if a value that a user took out of the Secret cannot be removed without a reading.
    fn unsure_of(&self, noted: Option<&ValueRecord>) -> Option<Step> {
        let known = noted?;
        let unsure = known.id.is_none() || self.may_be_copied(known);
        unsure.then(|| self.seen_first()).flatten()
    }

    /// The removal at the issuer of a value that a user took out of the Secret. None: its id is not known, or it is perhaps in use under other
    /// keys.
    fn taken_out(&self, noted: Option<ValueRecord>) -> Option<Phase> {
        let key = noted.filter(|known| known.n.is_some() && known.id.is_some())?;
        let copied = self.may_not_read() && self.may_be_copied(&key);
        let from = RemovalSource::Orphan;
        (!copied).then_some(Phase::Retiring { key, from })
    }

    pub(super) fn switched(&self, retire_at: Timestamp, notices: &mut Vec<Notice>) -> Step {
        let (Some(slot), Some(known)) = (&self.seen.slots.previous, &self.facts.previous) else {
            return self.previous_removed();
        };
        let current = self.seen.slots.current.as_ref();
        if current.is_some_and(|c| c.is_same(slot)) {
            return self.write(Phase::Steady, Values::DropPrevious);
        }
        if self.is_absurd(retire_at, self.settings.overlap) {
            let retire_at = later(self.now, self.settings.overlap);
            return self.write(Phase::Switched { retire_at }, Values::Keep);
        }
        if retire_at > self.now {
            // Not only credentials may use the previous value, so a request does not end the overlap.
            if self.is_requested() {
                notices.push(Notice::Requested { at: retire_at });
            }
            return Step::wait_until(retire_at);
        }
        if known.id.is_none()
            && let ApplicationRead::First(step) = self.application_read(None)
        {
            return step;
        }
        if !self.is_ours(known) {
            notices.extend(self.stays(known));
            return self.write(Phase::Steady, Values::Keep);
        }
        // The next rotation must begin in time, even if some credentials still lag. The current value is proven below, and a token stays valid
        // without the value.
        let waits = !self.is_requested() && self.due_by_end().is_none_or(|at| at > self.now);
        if let Some(lagging) = self.seen.lagging.clone().filter(|_| waits) {
            let again = later(self.now, self.settings.pace.again);
            // Its token is renewed on schedule. Until then this is not an error.
            let overdue = later(lagging.renews_at, SKEW);
            if overdue > self.now {
                return Step::wait_until(again.min(overdue));
            }
            notices.push(Notice::UsersLag { name: lagging.name });
            return Step::wait_until(again);
        }
        if let Some(step) = self.prove_current(notices) {
            return self.unless_refused(step, RemovalSource::Previous, notices);
        }
        let state = Phase::Retiring {
            key: known.clone(),
            from: RemovalSource::Previous,
        };
        self.write(state, Values::Keep)
    }

    pub(super) fn retiring(
        &self,
        key: &ValueRecord,
        from: RemovalSource,
        notices: &mut Vec<Notice>,
    ) -> Step {
        let Some(id) = &key.id else {
            return self.seen_first().unwrap_or_else(|| self.retired(key, from));
        };
        if self.memory.removed.as_ref() == Some(id) {
            return self.retired(key, from);
        }
        if self.is_needed(key, from) {
            return self.write(Phase::Steady, Values::Keep);
        }
        if !self.is_ours(key) || self.was_left(key) {
            return self.spared(key, from);
        }
        if !self.seen.others_known {
            return self.until_listed(from, notices);
        }
        if let Some(until) = self.may_be_added_yet(from) {
            return Step::wait_until(until);
        }
        if self.is_unremovable()
            && let Some(step) = self.instead(from, notices)
        {
            return step;
        }
        if let Some(step) = self.removal_waits().or_else(|| self.calls_wait(true)) {
            return step;
        }
        match self.application_read(None) {
            ApplicationRead::First(step) => return step,
            // A user took it out of the Secret.
            ApplicationRead::NotReadable
                if from != RemovalSource::Orphan && self.may_be_copied(key) =>
            {
                return self.spared(key, from);
            }
            ApplicationRead::NotReadable => {}
            ApplicationRead::Fresh(application) => {
                let listed = application.keys.iter().find(|k| k.id == *id);
                if listed.is_some_and(|listed| self.may_be_current(listed)) {
                    notices.push(Notice::Ambiguous);
                    // Without this state, the overlap of a value that is still in the Secret would begin again and again.
                    let held = from == RemovalSource::Previous && self.facts.previous.is_some();
                    return if held {
                        self.wait(self.settings.pace.again)
                    } else {
                        self.spared(key, from)
                    };
                }
                if !self.current_is_among(&application.keys, id) {
                    notices.push(Notice::CurrentNotListed);
                    let other = self.instead(from, notices);
                    return other.unwrap_or_else(|| self.wait(self.settings.pace.again));
                }
            }
        }
        if let Some(step) = self.prove_current(notices) {
            let hopeless = from == RemovalSource::Orphan && self.current_refused();
            return if hopeless {
                self.write(Phase::Steady, Values::Keep)
            } else {
                self.unless_refused(step, from, notices)
            };
        }
        match self.settings.kind {
            Kind::Secret => Step::RemovePassword { id: id.clone() },
            Kind::Certificate | Kind::Key => Step::RemoveKey { id: id.clone() },
        }
    }

    /// The pause after a removal that failed. Nothing is read during it, because a reading precedes each removal. A rotation that is due does not
    /// wait for it.
    fn removal_waits(&self) -> Option<Step> {
        let until = self.ahead(self.memory.removes_at?, MOST_PAUSE)?;
        let due = self.due_at();
        let begins = if due > self.now {
            due
        } else if self.is_unremovable() {
            later(self.now, self.settings.pace.again)
        } else {
            until
        };
        Some(Step::wait_until(until.min(begins)))
    }

    /// This step or, if the issuer refuses the current value, the beginning of the next rotation.
    fn unless_refused(&self, step: Step, from: RemovalSource, notices: &mut Vec<Notice>) -> Step {
        let refused = self.current_refused();
        let other = refused.then(|| self.instead(from, notices));
        other.flatten().unwrap_or(step)
    }

    /// A call that was sent before the public key was given up may still add it. The key is removed after that time, because nothing would find
    /// it later.
    fn may_be_added_yet(&self, from: RemovalSource) -> Option<Timestamp> {
        let given_up = self.record.failure.as_ref();
        let given_up = given_up
            .filter(|_| self.settings.kind == Kind::Key && from != RemovalSource::Previous)?;
        let settles = self.settings.pace.settles;
        self.ahead(later(given_up.at, settles), settles)
    }

    /// Whether the value that is about to be removed is in another slot: a user, a backup or GitOps put it back.
    fn is_needed(&self, key: &ValueRecord, from: RemovalSource) -> bool {
        let same = |known: &Option<ValueRecord>| {
            let same_value = |k: &ValueRecord| !key.digest.is_empty() && k.digest == key.digest;
            known
                .as_ref()
                .is_some_and(|k| k.id == key.id || same_value(k))
        };
        let facts = &self.facts;
        same(&facts.current)
            || (from != RemovalSource::Next && same(&facts.next))
            || (from != RemovalSource::Previous && same(&facts.previous))
    }

    /// Whether it may be under other keys of the Secret. Only the issuer's list still has the thumbprint of a value that is not under the keys of
    /// the rotation.
    fn may_be_copied(&self, key: &ValueRecord) -> bool {
        let slots = &self.seen.slots;
        let has_others = slots.has_unread_keys || !slots.other_keys.is_empty();
        has_others && slots.with(&key.digest).is_none()
    }

    /// Whether it may be the current value, whose id is not known.
    fn may_be_current(&self, key: &Key) -> bool {
        let known = self.facts.current.as_ref();
        known.is_some_and(|k| k.id.is_none())
            && self
                .seen
                .slots
                .current
                .as_ref()
                .is_some_and(|slot| key.is(slot) != Same::No)
    }

    /// Whether the issuer lists the current value.
    pub(super) fn lists_current(&self, listed: &Application) -> bool {
        self.current_is_among(&listed.keys, "")
    }

    /// The last credential is never removed: the current value stays listed or, if its id is not known, any other credential.
    fn current_is_among(&self, keys: &[Key], without: &str) -> bool {
        let current = self.facts.current.as_ref().and_then(|k| k.id.as_deref());
        let slot = self.seen.slots.current.as_ref();
        let same = |k: &Key| slot.is_some_and(|slot| k.is(slot) == Same::Yes);
        let mut rest = keys.iter().filter(|k| k.id != without);
        rest.any(|k| current.is_none_or(|id| k.id == id) || same(k))
    }

    /// It must not be removed at the issuer. A next value is removed from the Secret nevertheless: it was tried for an hour and would be tried
    /// again and again, and another process may already have removed it at the issuer.
    fn spared(&self, key: &ValueRecord, from: RemovalSource) -> Step {
        match from {
            RemovalSource::Next => self.retired(key, from),
            // An orphan is only in this state: another state must not forget it.
            RemovalSource::Previous | RemovalSource::Orphan => {
                self.write_with(Phase::Steady, Values::Keep, None, |record| {
                    record.spares(key);
                })
            }
        }
    }

    /// It was removed at the issuer, or was never there.
    fn retired(&self, key: &ValueRecord, from: RemovalSource) -> Step {
        let slots = &self.seen.slots;
        let holds =
            |slot: &Option<super::Slot>| slot.as_ref().is_some_and(|s| s.digest == key.digest);
        let values = match from {
            RemovalSource::Next if holds(&slots.next) => Values::DropNext,
            RemovalSource::Previous if holds(&slots.previous) => Values::DropPrevious,
            _ => Values::Keep,
        };
        // A rotation that began before the previous credential was removed was given up.
        let state = match from {
            RemovalSource::Next | RemovalSource::Orphan if self.record.failure.is_some() => {
                self.given_up()
            }
            _ => Phase::Steady,
        };
        self.write_with(state, values, None, |record| {
            record.replaced.retain(|id| Some(id) != key.id.as_ref());
            // It may have been left at the issuer instead.
            let used_elsewhere = self.used_at_other(key).is_some();
            record
                .spared
                .retain(|known| used_elsewhere || known.id != key.id);
        })
    }
}
