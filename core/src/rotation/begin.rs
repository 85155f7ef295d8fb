//! The beginning of a rotation: in `Steady`, or in a state that can only be left by another rotation.

use super::{
    memory::{doubled, later},
    next::{ApplicationRead, Decision},
    observed::Slot,
    settings::{Kind, MOST_PAUSE, MOST_UNREMOVED},
    state::{Phase, RemovalSource, ValueRecord},
    step::{Notice, Step, Values},
    values::{NEXT, PREVIOUS},
};

impl Decision<'_> {
    /// The steps before a rotation that is due. `unknown`: a value under its keys does not belong to a rotation.
    pub(super) fn begin(&self, current: &Slot, unknown: bool, notices: &mut Vec<Notice>) -> Step {
        notices.push(Notice::Due);
        let ended = current.validity.is_some_and(|(_, until)| until <= self.now);
        if self.settings.kind == Kind::Certificate && ended {
            notices.push(Notice::CurrentEnded);
            return self.wait(self.settings.pace.again);
        }
        if unknown {
            return self.wait(self.settings.pace.again);
        }
        // Before any call: no answer of the issuer can change it.
        if let Some(fault) = &self.seen.unmakeable {
            notices.push(Notice::Blocked(fault.clone()));
            return self.wait(self.settings.pace.again);
        }
        if let Some(step) = self.paused().or_else(|| self.unproven(notices)) {
            return step;
        }
        if let Some(step) = self.calls_wait(true) {
            return step;
        }
        let listed = match self.application_read(None) {
            ApplicationRead::Fresh(application) => Some(application),
            ApplicationRead::NotReadable if self.settings.kind == Kind::Certificate => None,
            ApplicationRead::NotReadable => return self.wait(self.settings.pace.again),
            ApplicationRead::First(step) => return step,
        };
        if let Some(step) = listed.and_then(|l| self.crowded(l, notices)) {
            return step;
        }
        self.announce(listed)
    }

    /// Begins the next rotation if it is due and the previous credential cannot be removed: the issuer refuses the current one or does not
    /// list it, or the removal fails again and again. The previous credential stays until the new one has taken over. None: the state stays.
    pub(super) fn instead(&self, from: RemovalSource, notices: &mut Vec<Notice>) -> Option<Step> {
        let current = self.seen.slots.current.as_ref()?;
        // Another state does not contain the credential. If it is in no Secret, it is found again only by its name at the issuer. A certificate
        // that is not found any more is reported: a rotation that is due is more important.
        let nameless = match self.settings.kind {
            Kind::Key => true,
            Kind::Secret => self.may_not_read(),
            Kind::Certificate => false,
        };
        let forgets = nameless && from != RemovalSource::Previous;
        // Only a valid certificate that the issuer accepts can sign the proof for another one.
        let mute = self.settings.kind == Kind::Certificate && self.current_refused();
        if forgets || mute || self.due_at() > self.now || self.paused().is_some() {
            return None;
        }
        match from {
            // The orphan of an earlier rotation is removed before the overlap of the previous value begins. It is found by its name later.
            RemovalSource::Orphan
                if self.record.failure.is_none() && self.left_over().is_some() =>
            {
                let retire_at = later(self.now, self.settings.overlap);
                return Some(self.write(Phase::Switched { retire_at }, Values::Keep));
            }
            // The next credential would overwrite this value. Without it, the credential counts as one that leaves no room.
            RemovalSource::Next => return Some(self.write(self.given_up(), Values::DropNext)),
            RemovalSource::Orphan | RemovalSource::Previous => {}
        }
        let unknown = self.unknown(NEXT) || self.unknown(PREVIOUS);
        let step = self.begin(current, unknown, notices);
        // What the state does is repeated meanwhile.
        (!matches!(step, Step::Wait { .. })).then_some(step)
    }

    /// Whether the removal failed so often that a rotation that is due does not wait for it.
    pub(super) fn is_unremovable(&self) -> bool {
        self.memory.unremoved >= MOST_UNREMOVED
    }

    /// The previous credential, if the present rotation began before it was removed. No overlap applies to it any more.
    fn left_over(&self) -> Option<&ValueRecord> {
        let previous = self.facts.previous.as_ref();
        previous.filter(|known| self.is_ours(known) && self.is_noted(known))
    }

    /// The state after the next credential has taken over. A credential of an earlier rotation that is still there is removed first.
    pub(super) fn taken_over(&self) -> Phase {
        let left = self.left_over().filter(|known| known.id.is_some());
        let retire_at = later(self.now, self.settings.overlap);
        left.map_or(Phase::Switched { retire_at }, |known| Phase::Retiring {
            key: known.clone(),
            from: RemovalSource::Orphan,
        })
    }

    /// The state after a rotation failed: that of a rotation before it whose overlap has ended, or none.
    pub(super) fn given_up(&self) -> Phase {
        let retire_at = self.now;
        let left = self.left_over();
        left.map_or(Phase::Steady, |_| Phase::Switched { retire_at })
    }

    /// The pause after a rotation that failed. A later request by a user does not wait for it.
    pub(super) fn paused(&self) -> Option<Step> {
        let failure = self.record.failure.as_ref()?;
        if self.is_requested() && self.seen.requested != failure.requested {
            return None;
        }
        let pause = doubled(self.settings.pace.pause, failure.times, MOST_PAUSE);
        self.ahead(later(failure.at, pause), pause)
            .map(|until| Step::wait_until(self.next_due(until)))
    }

    /// A client secret or key that apicred did not create must get a token first, to show that the Secret belongs to this client. Otherwise a
    /// user who names a Secret in a client would get a client secret of any application that the caller owns. A certificate signs the proof of
    /// possession, which shows the same.
    fn unproven(&self, notices: &mut Vec<Notice>) -> Option<Step> {
        let known = self.facts.current.as_ref();
        let foreign = known.is_none_or(|k| k.n.is_none());
        if self.settings.kind != Kind::Certificate && foreign {
            return self.prove_current(notices);
        }
        None
    }
}
