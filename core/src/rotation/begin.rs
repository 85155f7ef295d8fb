//! `Steady` and `Adding`: when a rotation begins, and how a new credential gets to the issuer and into the Secret.

use jiff::{SignedDuration, Timestamp};

use super::{
    memory::{Class, doubled, later},
    next::{Decision, Sight, failed},
    observed::{Application, Key, Same, Slot, is_named, number},
    settings::{BEFORE_END, Kind, MOST_BUSY, MOST_PAUSE, SENT_WITHIN, SKEW, SWEEP},
    state::{Known, Phase, Place, Why},
    step::{Notice, Step, Values},
};

impl Decision<'_> {
    pub(super) fn steady(&self, notices: &mut Vec<Notice>) -> Step {
        if let Some(step) = self.leftover(notices) {
            return step;
        }
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
    fn leftover(&self, notices: &mut Vec<Notice>) -> Option<Step> {
        if self.seen.slots.next.is_some() {
            if let Sight::First(step) = self.sight(None) {
                return Some(step);
            }
            let since = self.now;
            return Some(self.write(Phase::Added { since }, Values::Keep));
        }
        let previous = self.facts.previous.as_ref()?;
        if !self.is_ours(previous) {
            notices.push(self.foreign(previous.id.clone()));
            return None;
        }
        let retire_at = later(self.now, self.settings.overlap);
        Some(self.write(Phase::Switched { retire_at }, Values::Keep))
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

    /// Was it in the Secret before a rotation, and named in `adopt` only afterwards? One that was never in it may be in use elsewhere.
    fn was_replaced(&self, key: &Key) -> bool {
        let noted = self.record.replaced.contains(&key.id);
        let named = self.settings.adopt.as_ref() == Some(&key.id) && !is_named(key);
        noted && named && !self.is_in_use(key)
    }

    /// Credentials that were replaced, that apicred did not make, and that are at the issuer.
    fn replaced(&self, notices: &mut Vec<Notice>) {
        let application = self.memory.application.as_ref();
        let is_there = |id: &String| match application {
            Some(application) => application.keys.iter().any(|k| k.id == *id),
            // A certificate may never be read of.
            None => self.settings.kind != Kind::Certificate,
        };
        let is_held = |id: &String| self.facts.all().any(|k| k.id.as_ref() == Some(id));
        let ids = self.record.replaced.iter();
        let goes = |id: &String| self.settings.adopt.as_ref() == Some(id);
        let ids = ids.filter(|id| !goes(id) || self.is_of_another(id));
        let left = ids.filter(|id| !is_held(id) && is_there(id));
        notices.extend(left.map(|id| self.foreign(Some(id.clone()))));
    }

    /// What is to be said of a credential that stays.
    pub(super) fn foreign(&self, id: Option<String>) -> Notice {
        match id {
            Some(id) if self.is_of_another(&id) => Notice::OfAnother { id },
            id => Notice::Foreign { id },
        }
    }

    /// Was the application not read for a day?
    fn unread(&self) -> bool {
        let last = self.memory.application.as_ref();
        let age = last.map(|a| self.now.duration_since(a.read_at));
        age.is_none_or(|age| age >= SWEEP || age < -SKEW)
    }

    fn retire_orphan(&self, key: &Key, why: Option<Why>) -> Step {
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
        let until = known.until?;
        let life = known.from.map(|from| until.duration_since(from));
        let margin = life.map_or(BEFORE_END, |life| BEFORE_END.min(life / 8));
        let early = later(until, -self.settings.overlap.saturating_add(margin));
        // An issuer that gives less time than it was asked for is not asked all the time.
        let half = known.from.zip(life);
        let half = half.map(|(from, life)| later(from, life / 2));
        Some(half.map_or(early, |half| early.max(half)))
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
    fn wakes(&self, due: Timestamp) -> Timestamp {
        let application = self.memory.application.as_ref();
        let read = application.map(|a| later(a.read_at, SWEEP));
        let again = self.memory.not_before.filter(|_| self.unread());
        let blind = self.blind_until();
        let young = application.into_iter().flat_map(|a| &a.keys);
        let old = young
            .filter(|k| self.is_orphan(k) && !self.is_old(k))
            .filter_map(|k| Some(later(k.from?, self.settings.pace.orphan_age)));
        let all = old.chain(read).chain(blind).chain(again);
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
        if let Some(until) = young {
            let asked = self.seen.requested != self.record.handled;
            if !asked || extra().next().is_some() {
                return Some(self.until(until));
            }
        }
        let extra: Vec<&Key> = extra().collect();
        let total = listed.keys.iter().filter(ours).count();
        if extra.is_empty() || (self.current_refused() && total < 3) {
            return None;
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

    /// The first write of a rotation.
    fn announce(&self, listed: Option<&Application>) -> Step {
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
            record.handled.clone_from(&self.seen.requested);
        })
    }

    fn held_known(&self, n: u32, id: Option<String>) -> Option<Known> {
        let held = self.memory.held.as_ref().filter(|held| held.n == n)?;
        Some(Known {
            digest: held.slot.digest.clone(),
            id: held.id.clone().or(id).or_else(|| held.slot.mark.id()),
            n: Some(n),
            from: Some(held.from),
            until: held.until,
        })
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

    /// Did the issuer refuse to add number n, so that it certainly is not there?
    fn add_refused(&self, n: u32) -> bool {
        let refused = self.memory.refused.as_ref();
        refused.is_some_and(|(of, fault)| *of == n && !fault.may_have_happened)
    }

    /// The issuer was busy and certainly did nothing, or nothing was sent: the same number is announced again after the pause
    /// that every call waits for. An issuer that is busy again and again ends the rotation.
    fn announce_again(&self, n: u32) -> Option<Step> {
        let (of, fault) = self.memory.refused.as_ref()?;
        let passes = matches!(
            fault.class,
            Class::Throttled | Class::Conflict | Class::Caller | Class::Transient
        );
        let again = passes && !fault.may_have_happened && self.memory.failures <= MOST_BUSY;
        (*of == n && again).then(|| {
            self.calls_wait(true).unwrap_or_else(|| {
                let state = Phase::Adding { n, since: self.now };
                self.write_with(state, Values::Keep, Some(n), |_| {})
            })
        })
    }

    /// The call for number n was announced and not sent. Who waits for what it makes counts from the announcement: a call that comes
    /// much later is announced again first.
    fn sends_late(&self, n: u32, since: Timestamp) -> Option<Step> {
        self.calls_wait(true).or_else(|| {
            let late = later(since, SENT_WITHIN) < self.now;
            let state = Phase::Adding { n, since: self.now };
            late.then(|| self.write_with(state, Values::Keep, Some(n), |_| {}))
        })
    }

    fn adding_secret(&self, n: u32, since: Timestamp, notices: &mut Vec<Notice>) -> Step {
        let added = Phase::Added { since: self.now };
        if let Some(known) = self.held_known(n, None) {
            return self.write_with(added, Values::StoreNext, None, |r| r.next = Some(known));
        }
        if let Some(step) = self.announce_again(n) {
            return step;
        }
        if self.add_refused(n) {
            return self.fail(Why::AddRefused, Values::Keep);
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
        // The answer was lost, or the process that waited for it. What the call made, if anything, has this name.
        let sent = self.memory.wrote_at.filter(|at| *at <= self.now);
        let settled = later(sent.unwrap_or(since).max(since), self.settings.pace.settles);
        if settled > self.now {
            return self.until(settled);
        }
        let listed = match self.sight(Some(settled)) {
            Sight::Fresh(listed) => listed,
            Sight::Blind => return self.fail(Why::AnswerLost, Values::Keep),
            Sight::First(step) => return step,
        };
        let named = |k: &&Key| number(k, &self.seen.names) == Some(n);
        let found = listed.keys.iter().filter(named).find(|k| self.is_orphan(k));
        match found {
            Some(key) if !self.current_refused() => self
                .prove_current(notices)
                .unwrap_or_else(|| self.retire_orphan(key, Some(Why::AnswerLost))),
            // The sweep removes it once the current value works again.
            _ => self.fail(Why::AnswerLost, Values::Keep),
        }
    }

    /// Does the issuer list the next key pair? A public key has its id before that.
    fn is_there(&self, known: &Known, slot: &Slot) -> bool {
        if slot.mark.id().is_none() {
            return known.id.is_some();
        }
        let mut keys = self.memory.application.iter().flat_map(|a| &a.keys);
        keys.any(|key| key.is(slot) == Same::Yes)
    }

    /// The issuer did not say that it has the next key pair. A certificate that it has all the same is found by its name. A public
    /// key has none, and a call whose answer was lost may have added it: it is removed before its thumbprint is forgotten.
    fn give_up(&self, n: u32, (known, slot): (&Known, &Slot), why: Why) -> Step {
        if self.settings.kind != Kind::Key {
            return self.fail(why, Values::DropNext);
        }
        let state = Phase::Retiring {
            key: Known {
                id: known.id.clone().or_else(|| slot.mark.id()),
                n: known.n.or(Some(n)),
                ..known.clone()
            },
            from: Place::Next,
        };
        let failure = self.failure(why);
        self.write_with(state, Values::Keep, None, |r| failed(r, failure))
    }

    fn adding_certificate(&self, n: u32, since: Timestamp) -> Step {
        let (Some(known), Some(slot)) = (&self.facts.next, &self.seen.slots.next) else {
            return self.next_removed();
        };
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
        if self.add_refused(n) {
            return self.give_up(n, (known, slot), Why::AddRefused);
        }
        if self.memory.announced == Some(n) {
            return self.sends_late(n, since).unwrap_or_else(|| Step::AddKey {
                n,
                digest: known.digest.clone(),
            });
        }
        if self.is_blind() {
            // Trials tell whether it is there.
            return added(None);
        }
        let settled = later(
            self.memory.wrote_at.unwrap_or(since).max(since),
            self.settings.pace.settles,
        );
        match self.sight(Some(later(self.now, -self.settings.pace.between_writes))) {
            Sight::First(step) => step,
            Sight::Fresh(_) if self.ahead(settled, self.settings.pace.settles).is_some() => {
                self.wait(self.settings.pace.between_writes)
            }
            // The answer said that it is there, and reads lag: trials tell.
            _ if answered.is_some() => added(None),
            _ => {
                let state = Phase::Adding { n, since: self.now };
                let made = self.facts.next.as_ref().and_then(|k| k.from);
                let at_most = self.settings.trials.at_most;
                if made.is_none_or(|made| later(made, at_most) <= self.now) {
                    return self.give_up(n, (known, slot), Why::AnswerLost);
                }
                // The key pair is in the Secret, so announcing it again makes no orphan.
                self.write_with(state, Values::Keep, Some(n), |_| {})
            }
        }
    }
}
