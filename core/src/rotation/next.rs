//! Decides the next step from what was observed.

use jiff::{SignedDuration, Timestamp};

use super::{
    elsewhere::elsewhere,
    failure::{Failure, FailureCause},
    memory::{Memory, later},
    observed::{Application, Facts, Observed},
    outcome::Fault,
    settings::{FRESH, Kind, RotationSettings, SKEW, SWEEP},
    shown::Shown,
    state::{Phase, Record, StoredRecord, ValueRecord},
    step::{Change, Next, Notice, Step, Tried, Values},
};

/// Returns the next step. Pure: the same arguments give the same step, and nothing is changed.
pub fn next(seen: &Observed, memory: &Memory, settings: &RotationSettings, now: Timestamp) -> Next {
    let record = match &seen.noted {
        StoredRecord::Absent => Record::default(),
        StoredRecord::Record(record) => (**record).clone(),
        StoredRecord::Unreadable => {
            return stopped(
                (Record::default(), Notice::StateUnreadable),
                Vec::new(),
                now,
            );
        }
    };
    let now_is = (&seen.client, settings.kind);
    if let Some(notice) = elsewhere(&record, now_is, &seen.names) {
        // No stored fact is about one of these values.
        let facts = facts(seen, memory, settings, &Record::default(), now);
        return stopped((record, notice), facts.shown(&seen.slots), now);
    }
    let record = record.of(&seen.client, settings.kind).answered(seen);
    let facts = facts(seen, memory, settings, &record, now);
    let decision = Decision {
        seen,
        memory,
        settings,
        now,
        record: &record,
        facts,
    };
    let mut notices = Vec::new();
    let overlaps = record.overlaps(settings.overlap);
    let step = match &record.state {
        Phase::Steady => decision.steady(&mut notices),
        Phase::Adding { n, since } => decision.adding(*n, *since, &mut notices),
        Phase::Added { since } => decision.added(*since, &mut notices),
        Phase::Switched { retire_at } => {
            let ends = overlaps.map_or(*retire_at, |(_, ends)| ends);
            decision.switched(ends, &mut notices)
        }
        Phase::Retiring { key, from } => decision.retiring(key, *from, &mut notices),
    };
    decision.replaced(&mut notices);
    decision.left_in_others(&mut notices);
    if record.state != Phase::Steady {
        notices.extend(decision.strangers());
        notices.dedup();
    }
    // A failure is reported while something is needed that failed.
    let idle = record.state == Phase::Steady && decision.due_at() > now;
    let failure = record.failure.clone().filter(|_| !idle);
    notices.extend(failure.map(Notice::Failed));
    notices.extend(reported(memory, settings.kind, (idle, now)));
    let rotates_at = match &record.state {
        Phase::Steady => Some(decision.due_at()),
        _ => overlaps.map(|(_, ends)| decision.due_at().max(ends)),
    };
    let keys = decision.shown();
    Next {
        step,
        notices,
        rotates_at,
        keys,
        record,
    }
}

/// Nothing is done until a user changes something.
fn stopped((record, notice): (Record, Notice), keys: Vec<Shown>, now: Timestamp) -> Next {
    Next {
        step: Step::Wait {
            until: later(now, SWEEP),
        },
        notices: vec![notice],
        rotates_at: None,
        keys,
        record,
    }
}

/// Faults of calls to the issuer. If nothing is due, no change of the application is needed. A caller that was created together with the client
/// gets its first token soon: until then the rotation is only due.
fn reported(memory: &Memory, kind: Kind, (idle, now): (bool, Timestamp)) -> Vec<Notice> {
    let read_refused = memory.read_refused.as_ref().map(|(_, fault)| fault);
    // Certificates rotate without the permission to read the application.
    let needed = read_refused.filter(|_| kind == Kind::Secret);
    let write_fault = memory.write_fault.as_ref().filter(|_| !idle);
    let faults = memory.read_fault.iter().chain(write_fault).chain(needed);
    let faults = faults.filter(|fault| !memory.may_settle(fault, now));
    let mut notices: Vec<Notice> = faults.cloned().map(Notice::Blocked).collect();
    notices.dedup();
    notices
}

pub(super) fn facts(
    seen: &Observed,
    memory: &Memory,
    settings: &RotationSettings,
    record: &Record,
    now: Timestamp,
) -> Facts {
    let held = memory.held.as_ref().map(|held| ValueRecord {
        digest: held.slot.digest.clone(),
        id: held.id.clone().or_else(|| held.slot.mark.id()),
        n: Some(held.n),
        from: Some(held.from),
        until: held.until,
    });
    let retiring = record.retiring();
    let spared = record.spared.iter();
    // The issuer's list shows whether one of another kind is in use again.
    let spared = spared.filter(|_| settings.kind == Kind::Certificate);
    let all = record.all().chain(retiring).chain(held.as_ref());
    let pool: Vec<&ValueRecord> = all.chain(spared).collect();
    let application = memory.application.as_ref();
    let read = application.map(|a| (a, is_fresh(a, now)));
    // A record about a value that is not in the Secret does not keep the issuer's credential from being recognized: if the operator lost its
    // key for digests, no record fits any more.
    let stored = record
        .all()
        .filter(|known| seen.slots.with(&known.digest).is_some());
    let taken = stored.chain(retiring).chain(held.as_ref());
    let taken = taken.filter_map(|known| known.id.clone()).collect();
    Facts::of(seen, (&pool, taken), read, settings)
}

fn is_fresh(application: &Application, now: Timestamp) -> bool {
    let age = now.duration_since(application.read_at);
    age <= FRESH && age >= SignedDuration::ZERO
}

/// One decision and its inputs.
pub(super) struct Decision<'a> {
    pub(super) seen: &'a Observed,
    pub(super) memory: &'a Memory,
    pub(super) settings: &'a RotationSettings,
    pub(super) now: Timestamp,
    pub(super) record: &'a Record,
    pub(super) facts: Facts,
}

/// What is known of the application.
pub(super) enum ApplicationRead<'a> {
    /// It was read a moment ago.
    Fresh(&'a Application),
    /// It may not be read.
    NotReadable,
    /// This step must be executed first.
    First(Step),
}

impl Decision<'_> {
    pub(super) fn wait(&self, by: SignedDuration) -> Step {
        Step::wait_until(later(self.now, by))
    }

    /// The values of the Secret. A value that does not belong to a rotation is not shown, not even its first characters.
    fn shown(&self) -> Vec<Shown> {
        let mut shown = self.facts.shown(&self.seen.slots);
        shown.retain(|value| match value.slot {
            "Next" => self.is_next_known(),
            "Previous" => self.is_previous_known(),
            _ => true,
        });
        shown
    }

    /// Returns `at` if it is in the future, and not so far that only a wrong clock explains it.
    pub(super) fn ahead(&self, at: Timestamp, at_most: SignedDuration) -> Option<Timestamp> {
        let far = later(self.now, at_most.saturating_add(SKEW));
        (at > self.now && at <= far).then_some(at)
    }

    /// Whether this time is so far in the future that the clock was wrong when it was stored.
    pub(super) fn is_absurd(&self, at: Timestamp, at_most: SignedDuration) -> bool {
        at > later(self.now, at_most.saturating_add(SKEW))
    }

    /// Returns a wait during a pause that the issuer requested and, for writes, until `between_writes` has passed since the last write.
    pub(super) fn calls_wait(&self, writes: bool) -> Option<Step> {
        let pause = self.memory.not_before.and_then(|at| self.ahead(at, SWEEP));
        let spaced = self.memory.wrote_at.filter(|_| writes);
        let spaced = spaced.and_then(|at| {
            self.ahead(
                later(at, self.settings.pace.between_writes),
                self.settings.pace.between_writes,
            )
        });
        pause.max(spaced).map(Step::wait_until)
    }

    /// The application as it was after `since`, read within the last minute.
    pub(super) fn application_read(&self, since: Option<Timestamp>) -> ApplicationRead<'_> {
        if self.may_not_read() {
            return ApplicationRead::NotReadable;
        }
        if let Some(application) = &self.memory.application {
            let after = since.is_none_or(|since| application.read_at >= since);
            if after && is_fresh(application, self.now) {
                return ApplicationRead::Fresh(application);
            }
        }
        ApplicationRead::First(self.calls_wait(false).unwrap_or(Step::ReadApplication))
    }

    /// Whether the permission to read was missing a moment ago.
    pub(super) fn may_not_read(&self) -> bool {
        self.not_read_before().is_some()
    }

    /// It is not read again before this time.
    pub(super) fn not_read_before(&self) -> Option<Timestamp> {
        let lasts = match self.settings.kind {
            Kind::Secret | Kind::Key => self.settings.pace.again,
            Kind::Certificate => SWEEP,
        };
        let (at, _) = self.memory.read_refused.as_ref()?;
        self.ahead(later(*at, lasts), lasts)
    }

    /// A write that changes to a state, with all that is known now.
    pub(super) fn write(&self, state: Phase, values: Values) -> Step {
        self.write_with(state, values, None, |_| {})
    }

    pub(super) fn write_with(
        &self,
        state: Phase,
        values: Values,
        announces: Option<u32>,
        edit: impl FnOnce(&mut Record),
    ) -> Step {
        let mut facts = self.facts.clone();
        // A value that does not belong to a rotation is not recorded as one that does.
        facts.next = facts.next.filter(|_| self.is_next_known());
        facts.previous = facts.previous.filter(|_| self.is_previous_known());
        let mut before = self.record.clone();
        before.made_by(self.seen.names.uid());
        // Its owner replaced it during a rotation.
        if self.record.state != Phase::Steady && !self.is_held(self.record.current.as_ref()) {
            before.replaces(self.record.current.as_ref());
        }
        if values == Values::Promote {
            before.replaces(facts.previous.as_ref());
            before.replaces(facts.current.as_ref());
        }
        let (current, next, previous) = match values {
            Values::Keep | Values::StoreNext => (facts.current, facts.next, facts.previous),
            Values::Promote => (facts.next, None, facts.current),
            Values::DropNext => (facts.current, None, facts.previous),
            Values::DropPrevious => (facts.current, facts.next, None),
        };
        let switched_at = match state {
            Phase::Switched { retire_at } => Some(later(retire_at, -self.settings.overlap)),
            _ => None,
        };
        let mut record = Record {
            state,
            switched_at,
            client: Some(self.seen.client.clone()),
            kind: Some(self.settings.kind),
            current,
            next,
            previous,
            ..before
        };
        for known in self.record.all().chain(self.facts.all()) {
            if self.used_at_other(known).is_some() {
                record.spares(known);
            }
        }
        edit(&mut record);
        let leaves = self.leaves(&record);
        if self.settings.kind == Kind::Certificate {
            // If a user puts it back, its ID is known.
            for known in &leaves {
                record.spares(known);
            }
        }
        let leaves = leaves.iter().map(|known| self.left(known)).collect();
        Step::Write {
            version: self.seen.version.clone(),
            change: Box::new(Change {
                record,
                values,
                announces,
                leaves,
            }),
        }
    }

    /// Whether it is still a value of the Secret.
    fn is_held(&self, known: Option<&ValueRecord>) -> bool {
        known.is_some_and(|known| self.seen.slots.with(&known.digest).is_some())
    }

    /// The rotation failed, and starts again from the beginning after a pause.
    pub(super) fn fail(&self, why: FailureCause, values: Values) -> Step {
        let failure = self.failure(why);
        self.write_with(self.given_up(), values, None, |r| failed(r, failure))
    }

    pub(super) fn failure(&self, why: FailureCause) -> Failure {
        let before = self.record.failure.as_ref().map_or(0, |f| f.times);
        Failure {
            at: self.now,
            why,
            times: before.saturating_add(1),
            requested: None,
            class: self
                .unadded()
                .filter(|fault| FailureCause::of(fault) == why)
                .map(|fault| fault.class),
            answer: None,
        }
    }

    /// Why the last call certainly added nothing.
    fn unadded(&self) -> Option<&Fault> {
        let (_, fault) = self.memory.refused.as_ref()?;
        (!fault.may_have_happened).then_some(fault)
    }

    /// Nothing is removed unless the current value got a token within the last day. Returns the step that gets one; None if it already did.
    pub(super) fn prove_current(&self, notices: &mut Vec<Notice>) -> Option<Step> {
        let Some(slot) = &self.seen.slots.current else {
            notices.push(Notice::NoCurrent);
            return Some(self.wait(self.settings.pace.again));
        };
        if self
            .memory
            .proven(&slot.digest, self.seen.used_at, self.now)
        {
            return None;
        }
        let row = self.memory.row(&slot.digest, None);
        if row.refused {
            notices.push(Notice::CurrentRefused);
        }
        notices.extend(row.without_token(Tried::Current));
        let gap = row.pause(self.settings);
        Some(self.trial((Tried::Current, None), &slot.digest, gap))
    }

    /// Whether the current value was refused at its last trial.
    pub(super) fn current_refused(&self) -> bool {
        let slot = self.seen.slots.current.as_ref();
        slot.is_some_and(|slot| self.memory.row(&slot.digest, None).refused)
    }

    pub(super) fn trial(
        &self,
        (of, since): (Tried, Option<Timestamp>),
        digest: &str,
        gap: SignedDuration,
    ) -> Step {
        let row = self.memory.row(digest, since);
        let gap = row.with_requested_pause(of, gap, &self.settings.trials);
        match self.ahead(later(self.memory.last_trial(), gap), gap) {
            Some(until) => Step::wait_until(until),
            None => Step::Trial {
                of,
                digest: digest.to_owned(),
                since,
            },
        }
    }
}

/// Records a rotation that failed. If it was requested, the request is still open. A request that an earlier rotation answered stays answered.
pub(super) fn failed(record: &mut Record, mut failure: Failure) {
    failure.requested = record.answering.take();
    record.failure = Some(failure);
}
