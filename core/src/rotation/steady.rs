//! `Steady`: when a rotation begins, and what is removed or reported meanwhile.

use jiff::Timestamp;

use super::{
    cycle::Cycle,
    failure::Why,
    memory::{doubled, later},
    next::{Decision, Sight, failed},
    observed::{Application, Key, Same, Slot, number},
    settings::{Kind, MOST_PAUSE, SKEW, SWEEP},
    state::{Known, Phase, Place},
    step::{Notice, Step, Tried, Values},
    values::{NEXT, PREVIOUS},
};

/// What the values beside the current one are.
enum Beside {
    /// Of a rotation, which goes on with this step.
    Does(Step),
    /// The value under the keys with this ending is neither of a rotation nor known at the issuer. It is not sent anywhere, and no rotation
    /// replaces it: somebody may have stored it there for another purpose.
    Unknown(&'static str),
    /// Nothing is to be done about them, or there are none.
    Known,
}

impl Decision<'_> {
    pub(super) fn steady(&self, notices: &mut Vec<Notice>) -> Step {
        let unknown = match self.beside(notices) {
            Beside::Does(step) => return step,
            Beside::Unknown(ending) => {
                notices.push(self.strange(ending));
                true
            }
            Beside::Known => false,
        };
        self.replaced(notices);
        let Some(current) = &self.seen.slots.current else {
            notices.push(Notice::NoCurrent);
            return self.wait(self.settings.pace.again);
        };
        if let Some(step) = self.sweep(notices).or_else(|| self.learnt()) {
            return step;
        }
        let due = self.due_at();
        if due > self.now {
            return self.until(self.wakes(due));
        }
        notices.push(Notice::Due);
        let ended = current.validity.is_some_and(|(_, until)| until <= self.now);
        if self.settings.kind == Kind::Certificate && ended {
            notices.push(Notice::CurrentEnded);
            return self.wait(self.settings.pace.again);
        }
        if unknown {
            return self.wait(self.settings.pace.again);
        }
        if let Some(step) = self.paused().or_else(|| self.unproven(notices)) {
            return step;
        }
        if let Some(step) = self.calls_wait(true) {
            return step;
        }
        let listed = match self.sight(None) {
            Sight::Fresh(application) => Some(application),
            Sight::Blind if self.settings.kind == Kind::Certificate => None,
            Sight::Blind => return self.wait(self.settings.pace.again),
            Sight::First(step) => return step,
        };
        if let Some(step) = listed.and_then(|l| self.crowded(l, notices)) {
            return step;
        }
        self.announce(listed)
    }

    /// Values that no state speaks of: the annotation was lost, or came back from a backup.
    fn beside(&self, notices: &mut Vec<Notice>) -> Beside {
        let slots = &self.seen.slots;
        if slots.next.is_some()
            && let Sight::First(step) = self.sight(None)
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

    /// A certificate whose subject alone says that apicred made it gets a token first: it may be one of another application.
    fn untried(&self, notices: &mut Vec<Notice>) -> Option<Step> {
        let next = self.seen.slots.next.as_ref()?;
        if !self.is_blind() || self.memory.got_token(&next.digest) {
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

    /// Does something stand under the keys with this ending that is of no rotation?
    pub(super) fn unknown(&self, ending: &str) -> bool {
        let known = match ending {
            NEXT => self.is_next_known(),
            _ => self.is_previous_known(),
        };
        self.seen.slots.holds(ending) && !known
    }

    /// What is said of it.
    pub(super) fn strange(&self, ending: &'static str) -> Notice {
        let keys = self.seen.slots.under(ending).cloned().collect();
        Notice::Unknown { ending, keys }
    }

    /// The same while a rotation is in progress. Where the current value is not the one that is noted, no digest says anything.
    pub(super) fn strangers(&self) -> impl Iterator<Item = Notice> {
        let current = self.facts.current.as_ref();
        let holds = current.is_some_and(|known| self.is_noted(known));
        let endings = [NEXT, PREVIOUS].into_iter();
        endings
            .filter(move |ending| holds && self.unknown(ending))
            .map(|ending| self.strange(ending))
    }

    fn is_noted(&self, known: &Known) -> bool {
        self.record.all().any(|noted| noted.digest == known.digest)
    }

    /// Did apicred make the next value? While a rotation is in progress, it is the one that is noted: somebody may have stored another one
    /// in its place. Nothing but the annotation says so of a public key, so that it is enough if the issuer has it.
    pub(super) fn is_next_known(&self) -> bool {
        let made = |known: &Known| {
            let noted = self.record.next.as_ref();
            let noted = noted.filter(|noted| noted.digest == known.digest && noted.id.is_some());
            known.n.is_some() || self.record.state != Phase::Steady && noted.is_some()
        };
        self.facts.next.as_ref().is_some_and(made) || self.has_key(self.seen.slots.next.as_ref())
    }

    /// Did a rotation replace the previous value? The first one replaces a value that apicred did not make; if that is not noted any
    /// more, the current one is of apicred.
    pub(super) fn is_previous_known(&self) -> bool {
        let current = self.facts.current.as_ref();
        let rotated = current.is_some_and(|current| current.n.is_some());
        let is_rotated = |known: &Known| {
            self.is_noted(known) || self.is_ours(known) || known.id.is_some() && rotated
        };
        self.facts.previous.as_ref().is_some_and(is_rotated)
            || self.has_key(self.seen.slots.previous.as_ref())
    }

    /// Is it a public key that the issuer has?
    fn has_key(&self, slot: Option<&Slot>) -> bool {
        let application = self.memory.application.as_ref();
        let mut keys = application.into_iter().flat_map(|a| &a.keys);
        self.settings.kind == Kind::Key
            && slot.is_some_and(|slot| keys.any(|key| key.is(slot) == Same::Yes))
    }

    /// Which credential of the issuer the current value is, was learnt from what the issuer lists: it is noted once.
    fn learnt(&self) -> Option<Step> {
        let known = self.facts.current.as_ref()?;
        let noted = self.record.current.as_ref();
        let same = noted.is_some_and(|noted| noted.id == known.id && noted.digest == known.digest);
        (known.id.is_some() && !same).then(|| self.write(Phase::Steady, Values::Keep))
    }

    /// Once a day the application is read, and what is ours and in no Secret is removed.
    fn sweep(&self, notices: &mut Vec<Notice>) -> Option<Step> {
        if self.is_blind() {
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
        let found = match self.sight(None) {
            Sight::Fresh(application) => find(application)?,
            // An issuer that does not answer keeps nothing from its turn.
            Sight::Blind | Sight::First(Step::Wait { .. }) => return None,
            Sight::First(step) => return Some(step),
        };
        if let Some(step) = self.prove_current(notices) {
            return (!self.current_refused() || matches!(step, Step::Trial { .. })).then_some(step);
        }
        Some(self.retire_orphan(&found, None))
    }

    /// Was the application not read for a day?
    pub(super) fn unread(&self) -> bool {
        let Some(last) = &self.memory.application else {
            return self.first_reading() <= self.now;
        };
        let age = self.now.duration_since(last.read_at);
        age >= SWEEP || age < -SKEW
    }

    /// When a process that has just begun reads the application. The one before it may have read it a moment ago, so that it is not
    /// urgent, unless what is known comes from that reading alone.
    fn first_reading(&self) -> Timestamp {
        // A certificate says its age itself. Without the right to read the application nothing is noted of it before it is replaced.
        let certificate = self.settings.kind == Kind::Certificate;
        let learnt = match &self.record.current {
            Some(current) => current.id.is_some() || certificate,
            None => certificate && self.memory.reconciled_before,
        };
        let at = self.ahead(self.memory.read_by, SWEEP);
        let at = at.filter(|_| learnt && self.record.replaced.is_empty());
        at.unwrap_or(Timestamp::MIN)
    }

    pub(super) fn retire_orphan(&self, key: &Key, why: Option<Why>) -> Step {
        let known = Known {
            id: Some(key.id.clone()),
            n: number(key, &self.seen.names),
            from: key.from,
            until: key.until,
            ..Known::default()
        };
        let state = Phase::Retiring {
            key: known,
            from: Place::Orphan,
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

    /// Did somebody request a rotation that has not begun?
    pub(super) fn is_requested(&self) -> bool {
        self.seen.requested.is_some() && self.seen.requested != self.record.handled
    }

    /// When the next rotation begins, lest the current value ends before it.
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
            // A foreign secret of unknown age.
            (None, None) => Timestamp::MIN,
        }
    }

    /// When something is to be done before `due`. A reading that failed is repeated: nothing else ends what is reported of it.
    pub(super) fn wakes(&self, due: Timestamp) -> Timestamp {
        let application = self.memory.application.as_ref();
        let read = application.map_or_else(|| self.first_reading(), |a| later(a.read_at, SWEEP));
        let again = self.memory.not_before.filter(|_| self.unread());
        let blind = self.blind_until();
        let young = application.into_iter().flat_map(|a| &a.keys);
        let old = young
            .filter(|k| self.is_orphan(k) && !self.is_old(k))
            .filter_map(|k| Some(later(k.from?, self.settings.pace.orphan_age)));
        let all = old.chain([read]).chain(blind).chain(again);
        let first = all.filter(|at| *at > self.now);
        first.fold(due, Timestamp::min)
    }

    /// After a rotation that failed. Who requests another one by hand does not wait for the pause.
    fn paused(&self) -> Option<Step> {
        let failure = self.record.failure.as_ref()?;
        let requested = &self.seen.requested;
        if requested.is_some() && *requested != failure.requested {
            return None;
        }
        let pause = doubled(self.settings.pace.pause, failure.times, MOST_PAUSE);
        self.ahead(later(failure.at, pause), pause)
            .map(|until| self.until(self.wakes(until)))
    }

    /// A client secret or key that apicred did not make must get a token first: it shows that the Secret is this client's. Otherwise
    /// whoever may name a Secret in a client would get a client secret of any application that the caller owns. A
    /// certificate signs the proof of possession, which shows the same.
    fn unproven(&self, notices: &mut Vec<Notice>) -> Option<Step> {
        let known = self.facts.current.as_ref();
        let foreign = known.is_none_or(|k| k.n.is_none());
        if self.settings.kind != Kind::Certificate && foreign {
            return self.prove_current(notices);
        }
        None
    }

    /// Is there room for another one? At most two of ours are at the issuer, and one orphan.
    fn crowded(&self, listed: &Application, notices: &mut Vec<Notice>) -> Option<Step> {
        let ours = |k: &&Key| number(k, &self.seen.names).is_some();
        let held: Vec<&str> = self.facts.all().filter_map(|k| k.id.as_deref()).collect();
        let extra = || {
            let keys = listed.keys.iter().filter(ours);
            keys.filter(|k| !held.contains(&k.id.as_str()) && !self.is_listed_twice(k))
        };
        // Somebody else may be in the middle of a rotation, or puts the Secret back again and again.
        let youngest = listed.keys.iter().filter(ours).filter_map(|k| k.from).max();
        let young = youngest.and_then(|from| {
            self.ahead(
                later(from, self.settings.pace.orphan_age),
                self.settings.pace.orphan_age,
            )
        });
        let extra: Vec<&Key> = extra().collect();
        let total = listed.keys.iter().filter(ours).count();
        // Whoever requests a rotation by hand may have lost the current value to somebody.
        let urgent = self.is_requested() || self.current_refused();
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
            return Some(self.until(until));
        }
        if extra.iter().any(|k| self.is_in_use(k)) {
            // One of them is the current value: that is no orphan, and there is room.
            if extra.len() == 1 {
                return None;
            }
            notices.push(Notice::Ambiguous);
        }
        Some(self.wait(self.settings.pace.again))
    }

    /// Is it certainly a value of the Secret, under whatever id?
    fn is_listed_twice(&self, key: &Key) -> bool {
        let slots = &self.seen.slots;
        let mut all = [&slots.current, &slots.next, &slots.previous].into_iter();
        all.any(|slot| slot.as_ref().is_some_and(|slot| key.is(slot) == Same::Yes))
    }
}
