//! What happens in a history: runs of processes, crashes, edits, and time that passes.

use super::*;

impl World {
    pub(in super::super) fn op(&mut self, op: Op) {
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
            Op::Recreate => self.recreate(),
            Op::Jump(actor, seconds) => {
                self.actors[actor].offset += seconds;
                self.jumped = true;
                self.disturbed += 1;
            }
            Op::Request => self.requested = Some(format!("at {}", self.t)),
            Op::Edit(edit) => self.edit(edit),
            Op::Rename => self.rename(),
            Op::Copy(here) => {
                let name = here.then(|| "copy".to_owned());
                self.copy = Some((self.content().clone(), name));
            }
        }
        self.note(|t| format!("{t} {op:?}"));
    }

    pub(super) fn pass(&mut self, seconds: i64) {
        self.t += seconds;
        let (due, late) = std::mem::take(&mut self.late)
            .into_iter()
            .partition::<Vec<_>, _>(|(t, ..)| *t <= self.t);
        self.late = late;
        let now = (self.t, self.application);
        for (t, application, name, value) in due {
            // Replicas lag behind the time of the effect, not behind the next reading.
            (self.t, self.application) = (t, application);
            self.add(Some(name), &value, LAG);
        }
        (self.t, self.application) = now;
    }

    pub(super) fn crash(&mut self, actor: usize) {
        let now = self.now(actor);
        self.actors[actor].memory = Memory::new(now, &self.settings.pace);
        self.actors[actor].values.clear();
        // The next process waits anyway.
        self.actors[actor].last_write = i64::MIN / 2;
    }

    pub(super) fn rename(&mut self) {
        self.leave();
        self.application = 1 - self.application;
    }

    /// A user deletes the client resource and creates it again. The annotation names the last few of them.
    pub(super) fn recreate(&mut self) {
        if self.recreated == 3 {
            return;
        }
        self.leave();
        self.recreated += 1;
        let uid = format!("{}{}", &UID[..UID.len() - 1], self.recreated);
        self.names = Names::new("6f3c0a4e", &uid);
        self.requested = None;
    }

    /// Each process stores what the issuer has created, and forgets the rest.
    fn leave(&mut self) {
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
    }

    /// One step of a process. Returns what it decided.
    pub(in super::super) fn run(
        &mut self,
        actor: usize,
        wrong: Wrong,
        behind: usize,
        at_most: i64,
    ) -> Next {
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
        if let StoredRecord::Record(record) = &seen.noted {
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
}
