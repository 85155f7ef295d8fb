//! `Steady`: when a rotation begins, and what is removed or reported meanwhile.

use jiff::Timestamp;

use super::{
    cycle::Cycle,
    failure::FailureCause,
    memory::later,
    next::{ApplicationRead, Decision, failed},
    observed::{Application, Key, Same, Slot, number},
    settings::{Kind, SKEW, SWEEP},
    state::{Phase, RemovalSource, ValueRecord},
    step::{Notice, Step, Tried, Values},
    values::{NEXT, PREVIOUS},
};

/// What the values next to the current one are.
enum Beside {
    /// They belong to a rotation, which continues with this step.
    Does(Step),
    /// The value under the keys with this ending is neither part of a rotation nor known at the issuer. It is not sent anywhere, and no
    /// rotation replaces it: a user may have stored it there for another purpose.
    Unknown(&'static str),
    /// They need no step, or there are none.
    Known,
}

impl Decision<'_> {
    pub(super) fn steady(&self, notices: &mut Vec<Notice>) -> Step {
        if let Some(step) = self.withdrawn() {
            return step;
        }
        let unknown = match self.beside(notices) {
            Beside::Does(step) => return step,
            Beside::Unknown(ending) => {
                notices.push(self.strange(ending));
                true
            }
            Beside::Known => false,
        };
        let Some(current) = &self.seen.slots.current else {
            notices.push(Notice::NoCurrent);
            return self.wait(self.settings.pace.again);
        };
        if let Some(step) = self.sweep(notices).or_else(|| self.learnt()) {
            return step;
        }
        let due = self.due_at();
        if due > self.now {
            // A user stored another value, chose a longer interval or withdrew the request: the rotation that failed is not needed any more.
            if self.record.failure.is_some() {
                return self.write_with(Phase::Steady, Values::Keep, None, |r| r.failure = None);
            }
            return Step::wait_until(self.next_due(due));
        }
        self.begin(current, unknown, notices)
    }

    /// Values that the state does not mention: the annotation was lost, or was restored from a backup.
    fn beside(&self, notices: &mut Vec<Notice>) -> Beside {
        let slots = &self.seen.slots;
        // Only the issuer's list shows whose the previous value is, if the record is not about it.
        let application = self.memory.application.as_ref();
        let unread = slots.previous.is_some() && application.is_none() && !self.is_previous_known();
        if (slots.next.is_some() || unread)
            && let ApplicationRead::First(step) = self.application_read(None)
        {
            return Beside::Does(step);
        }
        if slots.holds(NEXT) {
            if !self.is_next_known() {
                return Beside::Unknown(NEXT);
            }
            if let Some(step) = self.untried(notices) {
                return Beside::Does(step);
            }
            let since = self.now;
            return Beside::Does(self.write(Phase::Added { since }, Values::Keep));
        }
        let Some(previous) = &self.facts.previous else {
            return if slots.holds(PREVIOUS) {
                Beside::Unknown(PREVIOUS)
            } else {
                Beside::Known
            };
        };
        if self.is_ours(previous) {
            let retire_at = later(self.now, self.settings.overlap);
            return Beside::Does(self.write(Phase::Switched { retire_at }, Values::Keep));
        }
        if !self.is_previous_known() {
            return Beside::Unknown(PREVIOUS);
        }
        notices.extend(self.stays(previous));
        Beside::Known
    }

    /// A certificate that is attributed to apicred only by its subject must get a token first: it may belong to another application.
    fn untried(&self, notices: &mut Vec<Notice>) -> Option<Step> {
        let next = self.seen.slots.next.as_ref()?;
        if !self.may_not_read() || self.memory.got_token(&next.digest) {
            return None;
        }
        let in_vain = self.memory.row(&next.digest, None).in_vain > 0;
        let gap = if in_vain {
            notices.push(self.strange(NEXT));
            self.settings.pace.again
        } else {
            self.settings.trials.gap
        };
        Some(self.trial((Tried::Next, None), &next.digest, gap))
    }

    /// Whether the keys with this ending contain something that does not belong to a rotation.
    pub(super) fn unknown(&self, ending: &str) -> bool {
        let known = match ending {
            NEXT => self.is_next_known(),
            _ => self.is_previous_known(),
        };
        self.seen.slots.holds(ending) && !known
    }

    /// The notice about keys with this ending that contain something that does not belong to a rotation.
    pub(super) fn strange(&self, ending: &'static str) -> Notice {
        let keys = self.seen.slots.under(ending).cloned().collect();
        Notice::Unknown { ending, keys }
    }

    /// The notices about the keys with both endings while a rotation is in progress. There are none if the current value is not the recorded one,
    /// because digests cannot be compared then.
    pub(super) fn strangers(&self) -> impl Iterator<Item = Notice> {
        let current = self.facts.current.as_ref();
        let holds = current.is_some_and(|known| self.is_noted(known));
        let endings = [NEXT, PREVIOUS].into_iter();
        endings
            .filter(move |ending| holds && self.unknown(ending))
            .map(|ending| self.strange(ending))
    }

    /// Whether the annotation contains this value.
    pub(super) fn is_noted(&self, known: &ValueRecord) -> bool {
        self.record.all().any(|noted| noted.digest == known.digest)
    }

    /// Whether apicred created the next value. While a rotation is in progress, it must be the recorded one: a user may have stored another one
    /// in its place. For a public key only the annotation shows that, so it is enough if the issuer has it.
    pub(super) fn is_next_known(&self) -> bool {
        let made = |known: &ValueRecord| {
            let noted = self.record.next.as_ref();
            let noted = noted.filter(|noted| noted.digest == known.digest && noted.id.is_some());
            known.n.is_some() || self.record.state != Phase::Steady && noted.is_some()
        };
        self.facts.next.as_ref().is_some_and(made) || self.has_key(self.seen.slots.next.as_ref())
    }

    /// Whether a rotation replaced the previous value. The first rotation replaces a value that apicred did not create. If that is not recorded
    /// any more, the current value must be of apicred.
    pub(super) fn is_previous_known(&self) -> bool {
        let current = self.facts.current.as_ref();
        let rotated = current.is_some_and(|current| current.n.is_some());
        let is_rotated = |known: &ValueRecord| {
            self.is_noted(known) || self.is_ours(known) || known.id.is_some() && rotated
        };
        self.facts.previous.as_ref().is_some_and(is_rotated)
            || self.has_key(self.seen.slots.previous.as_ref())
    }

    /// Whether it is a public key that the issuer has.
    fn has_key(&self, slot: Option<&Slot>) -> bool {
        let application = self.memory.application.as_ref();
        let mut keys = application.into_iter().flat_map(|a| &a.keys);
        self.settings.kind == Kind::Key
            && slot.is_some_and(|slot| keys.any(|key| key.is(slot) == Same::Yes))
    }

    /// Returns a write of the annotation in two cases. The issuer's list shows which credential the current value is, and the annotation does
    /// not contain this yet. Or a user removed a value from the Secret, and apicred cannot find its credential at the issuer later.
    fn learnt(&self) -> Option<Step> {
        let known = self.facts.current.as_ref()?;
        let noted = self.record.current.as_ref();
        let same = noted.is_some_and(|noted| noted.id == known.id && noted.digest == known.digest);
        (known.id.is_some() && !same || self.forgets())
            .then(|| self.write(Phase::Steady, Values::Keep))
    }

    /// Reads the application once a day, and removes credentials of apicred that are in no Secret.
    fn sweep(&self, notices: &mut Vec<Notice>) -> Option<Step> {
        if self.may_not_read() {
            return None;
        }
        let last = self.memory.application.as_ref();
        let overdue = self.unread();
        let find = |a: &Application| {
            let mut old = a
                .keys
                .iter()
                .filter(|k| self.is_orphan(k) && self.is_old(k) || self.was_replaced(k));
            old.next().cloned()
        };
        if !overdue && last.and_then(find).is_none() {
            return None;
        }
        let found = match self.application_read(None) {
            ApplicationRead::Fresh(application) => find(application)?,
            // An issuer that does not answer must not delay a rotation.
            ApplicationRead::NotReadable | ApplicationRead::First(Step::Wait { .. }) => {
                return None;
            }
            ApplicationRead::First(step) => return Some(step),
        };
        // It may not be an orphan.
        if !self.seen.others_known {
            return None;
        }
        if let Some(step) = self.prove_current(notices) {
            return (!self.current_refused() || matches!(step, Step::Trial { .. })).then_some(step);
        }
        Some(self.retire_orphan(&found, None))
    }

    /// Whether the application was not read for a day.
    pub(super) fn unread(&self) -> bool {
        let Some(last) = &self.memory.application else {
            return self.first_reading() <= self.now;
        };
        let age = self.now.duration_since(last.read_at);
        age >= SWEEP || age < -SKEW
    }

    /// When a process that has just started reads the application. The previous one may have read it a moment ago, so it is not urgent, unless
    /// only a reading shows what is known.
    fn first_reading(&self) -> Timestamp {
        // A certificate contains its dates. Without the permission to read the application, nothing is stored before it is replaced.
        let certificate = self.settings.kind == Kind::Certificate;
        let learnt = match &self.record.current {
            Some(current) => current.id.is_some() || certificate,
            None => certificate && self.memory.reconciled_before,
        };
        let at = self.ahead(self.memory.read_by, SWEEP);
        let at = at.filter(|_| learnt && self.record.replaced.is_empty() && !self.has_others());
        at.unwrap_or(Timestamp::MIN)
    }

    pub(super) fn retire_orphan(&self, key: &Key, why: Option<FailureCause>) -> Step {
        let known = ValueRecord {
            id: Some(key.id.clone()),
            n: self.made(key),
            from: key.from,
            until: key.until,
            ..ValueRecord::default()
        };
        let state = Phase::Retiring {
            key: known,
            from: RemovalSource::Orphan,
        };
        self.write_with(state, Values::Keep, None, |record| {
            if let Some(why) = why {
                failed(record, self.failure(why));
            }
        })
    }

    fn is_old(&self, key: &Key) -> bool {
        key.from.is_none_or(|from| {
            self.ahead(
                later(from, self.settings.pace.orphan_age),
                self.settings.pace.orphan_age,
            )
            .is_none()
        })
    }

    /// Whether a user requested a rotation that has not begun.
    pub(super) fn is_requested(&self) -> bool {
        let requested = self.seen.requested.as_ref();
        let begun = [&self.record.handled, &self.record.answering];
        requested.is_some() && begun.iter().all(|of| of.as_ref() != requested)
    }

    /// When the next rotation must begin so that it completes before the current value expires.
    pub(super) fn due_by_end(&self) -> Option<Timestamp> {
        let known = self.facts.current.as_ref()?;
        let cycle = Cycle {
            every: self.settings.every,
            overlap: self.settings.overlap,
        };
        Some(cycle.due_by_end(known.from, known.until?))
    }

    /// When the next rotation begins.
    pub(super) fn due_at(&self) -> Timestamp {
        if self.is_requested() {
            return Timestamp::MIN;
        }
        let Some(known) = &self.facts.current else {
            return Timestamp::MIN;
        };
        let by_age = known.from.map(|from| later(from, self.settings.every));
        let by_end = self.due_by_end();
        match (by_age, by_end) {
            (Some(a), Some(b)) => a.min(b),
            (Some(at), None) | (None, Some(at)) => at,
            // A secret that apicred did not create, of unknown age.
            (None, None) => Timestamp::MIN,
        }
    }

    /// When something must be done before `due`. A reading that failed is repeated, because only a reading clears its fault.
    pub(super) fn next_due(&self, due: Timestamp) -> Timestamp {
        let application = self.memory.application.as_ref();
        let read = application.map_or_else(|| self.first_reading(), |a| later(a.read_at, SWEEP));
        let again = self.memory.not_before.filter(|_| self.unread());
        let not_readable = self.not_read_before();
        let young = application.into_iter().flat_map(|a| &a.keys);
        let old = young
            .filter(|k| self.is_orphan(k) && !self.is_old(k))
            .filter_map(|k| Some(later(k.from?, self.settings.pace.orphan_age)));
        let all = old.chain([read]).chain(not_readable).chain(again);
        let first = all.filter(|at| *at > self.now);
        first.fold(due, Timestamp::min)
    }

    /// Whether there is no room for another one: the issuer has at most two credentials of apicred, and one orphan.
    pub(super) fn crowded(&self, listed: &Application, notices: &mut Vec<Notice>) -> Option<Step> {
        let ours = |k: &&Key| number(k, &self.seen.names).is_some();
        let held: Vec<&str> = self.facts.all().filter_map(|k| k.id.as_deref()).collect();
        let extra = || {
            let keys = listed.keys.iter().filter(ours);
            let keys = keys.filter(|k| self.is_also_at(k).is_none());
            keys.filter(|k| !held.contains(&k.id.as_str()) && !self.is_listed_twice(k))
        };
        // Another process may be in the middle of a rotation, or a tool restores the Secret again and again.
        let youngest = listed.keys.iter().filter(ours).filter_map(|k| k.from).max();
        let young = youngest.and_then(|from| {
            self.ahead(
                later(from, self.settings.pace.orphan_age),
                self.settings.pace.orphan_age,
            )
        });
        let extra: Vec<&Key> = extra().collect();
        let total = listed.keys.iter().filter(ours).count();
        // A user may request a rotation because the current value was stolen.
        let urgent = self.is_requested() || self.current_refused() || !self.lists_current(listed);
        if extra.is_empty() && (young.is_none() || urgent) || urgent && total < 3 {
            return None;
        }
        if let Some(until) = young {
            notices.extend(extra.iter().map(|key| {
                Notice::Crowded {
                    id: key.id.clone(),
                    until: key
                        .from
                        .map_or(until, |from| later(from, self.settings.pace.orphan_age)),
                }
            }));
            return Some(Step::wait_until(until));
        }
        if extra.iter().any(|k| self.is_in_use(k)) {
            // One of them is the current value: it is not an orphan, and there is room.
            if extra.len() == 1 {
                return None;
            }
            notices.push(Notice::Ambiguous);
        }
        Some(self.wait(self.settings.pace.again))
    }
}
