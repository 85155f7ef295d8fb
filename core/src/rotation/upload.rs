//! The upload of a certificate that another tool created. Nothing is sent or written here.
//!
//! cert-manager replaces the pair of its Secret before the issuer knows the new certificate. The *last good* pair, which got the last token, is
//! stored in a copy ([`crate::publish::last_good`]). While that is valid, it proves that the new one belongs to the client, so apicred
//! announces the new certificate itself. It creates no key pair and writes no Secret for that.
//!
//! | State | What happens | After a crash |
//! |---|---|---|
//! | `Steady` | there is one certificate; or the new one got a token, and credentials use it from their next renewal on | the same |
//! | `Adding` | the application is read. If it does not list the new certificate, that is announced once. If the answer is lost, the application is read again after [`SETTLES`](super::settings::SETTLES) | the application is read. A certificate that it does not list is announced after `SETTLES`: the previous process may have announced it a moment ago |
//! | `Proving` | the issuer has it: trials with only the new one, until one gets a token | the application lists it |
//!
//! These rules always hold:
//!
//! 1. An announcement that may have arrived is not repeated within `SETTLES`; within an hour, if the application cannot be read
//!    or if the answer confirmed it. After the second such answer one process does not repeat it any more, and trials continue.
//! 2. Only a pair that got a token signs, and only while it is valid.
//! 3. Nothing is removed at the issuer: apicred created none of these certificates. The old one stays until it expires.

use jiff::Timestamp;

use super::{
    elsewhere::before_upload,
    failure::{Failure, FailureCause},
    memory::{Memory, Sent, doubled, later},
    next::{ApplicationRead, Decision, facts},
    observed::{Facts, Names, Observed, Same, Slot, Slots},
    proof::NoProof,
    settings::{MOST_BUSY, MOST_PAUSE, RotationSettings, SWEEP},
    state::{ClientAt, Phase, Record, StoredRecord},
    step::{Next, Notice, Step, Tried},
};

/// If the issuer has confirmed a certificate this many times, it is not announced any more: each call may add it once more.
const MOST_ADDED: u32 = 2;

/// All that was observed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Uploading {
    /// The pair of the Secret.
    pub secret: Option<Slot>,
    /// The pair of its copy: the last one that got a token. None: there is no copy of this Secret.
    pub copy: Option<Slot>,
    /// Whether the spec names the application by its object ID, which the proof contains. Otherwise a reading returns the ID.
    pub named: bool,
    /// When a credential got a token with the present version of the Secret.
    pub used_at: Option<Timestamp>,
    /// Whether a credential has a token of this client by an earlier version of the Secret.
    pub used_before: bool,
    /// Why the pair that got the last token could not be copied.
    pub not_kept: Option<String>,
    /// The annotation `rotate-requested-at` of the client resource.
    pub requested: Option<String>,
    /// The last request that was answered.
    pub handled: Option<String>,
    /// What apicred created in this Secret before another tool filled it.
    pub before: Option<Before>,
}

/// A rotation of a Secret that another tool fills now.
#[derive(Clone, Debug, PartialEq)]
pub struct Before {
    /// Its annotation.
    pub record: Box<Record>,
    /// How the client resource names credentials.
    pub names: Names,
}

impl Uploading {
    /// The values that steps are about: *current* signs, *next* is announced.
    pub fn slots(&self) -> Slots {
        match (&self.secret, &self.copy) {
            (Some(secret), Some(copy)) if secret.mark != copy.mark => Slots {
                current: Some(copy.clone()),
                next: Some(secret.clone()),
                ..Slots::default()
            },
            (secret, _) => Slots {
                current: secret.clone(),
                ..Slots::default()
            },
        }
    }

    /// Whether the certificate of the Secret got a token.
    pub fn works(&self, memory: &Memory) -> bool {
        let Some(secret) = &self.secret else {
            return false;
        };
        let is_stored = self.copy.as_ref().is_some_and(|c| c.mark == secret.mark);
        is_stored || self.used_at.is_some() || memory.got_token(&secret.digest)
    }
}

/// Returns the next step. Pure, as [`super::next()`].
pub fn upload(
    seen: &Uploading,
    memory: &Memory,
    settings: &RotationSettings,
    now: Timestamp,
) -> Next {
    let observed = Observed {
        version: String::new(),
        noted: StoredRecord::Absent,
        slots: seen.slots(),
        client: ClientAt::default(),
        names: Names::new("", ""),
        lagging: None,
        used_at: seen.used_at,
        in_others: Vec::new(),
        others_known: true,
        unmakeable: None,
        requested: seen.requested.clone(),
        handled: None,
    };
    let record = Record {
        handled: seen.handled.clone(),
        ..Record::default()
    };
    let decision = Decision {
        seen: &observed,
        memory,
        settings,
        now,
        record: &record,
        facts: facts(&observed, memory, settings, &record, now),
    };
    let works = seen.works(memory);
    let mut notices = Vec::new();
    let before = seen.before.as_ref();
    // The upload does not wait for a user: without it, credentials would soon have no certificate that works.
    notices.extend(before.and_then(|b| before_upload(&b.record, &b.names, &observed.slots)));
    let (state, step) = decision.upload(seen, works, &mut notices);
    let named = notices.iter().any(|n| matches!(n, Notice::NoLastGood(_)));
    let not_kept = seen.not_kept.clone().filter(|_| !named);
    notices.extend(not_kept.map(Notice::NotKept));
    let keys = decision.in_use(works);
    Next {
        step,
        notices,
        rotates_at: None,
        keys,
        record: Record { state, ..record },
    }
}

fn has_ended(slot: &Slot, now: Timestamp) -> bool {
    slot.validity.is_some_and(|(_, until)| until <= now)
}

impl Decision<'_> {
    fn upload(&self, seen: &Uploading, works: bool, notices: &mut Vec<Notice>) -> (Phase, Step) {
        let again = self.settings.pace.again;
        let Some(secret) = &seen.secret else {
            notices.push(Notice::NoCurrent);
            return (Phase::Steady, self.wait(again));
        };
        if seen.requested.is_some() && seen.requested != seen.handled {
            notices.push(Notice::MadeElsewhere);
        }
        if has_ended(secret, self.now) {
            notices.push(Notice::NotRenewed);
            return (Phase::Steady, self.wait(again));
        }
        if works {
            return (Phase::Steady, self.rests(seen.named, notices));
        }
        let (Some(copy), Some(next)) = (&self.seen.slots.current, &self.seen.slots.next) else {
            return (Phase::Steady, self.alone(secret, seen, notices));
        };
        if has_ended(copy, self.now) {
            // A user may upload it meanwhile.
            notices.push(Notice::LastGoodEnded);
            return (
                Phase::Steady,
                self.trial((Tried::Next, None), &next.digest, again),
            );
        }
        self.announcing(next, notices)
    }

    /// Nothing is to be uploaded. The application is read in advance, to know whether a reading returns the object ID.
    fn rests(&self, named: bool, notices: &mut Vec<Notice>) -> Step {
        if named {
            return self.wait(SWEEP);
        }
        notices.extend(self.memory.read_fault.clone().map(Notice::Blocked));
        if !self.unread() || self.may_not_read() {
            return Step::wait_until(self.next_due(later(self.now, SWEEP)));
        }
        self.calls_wait(false).unwrap_or(Step::ReadApplication)
    }

    /// There is no other pair, and this one has got no token yet.
    fn alone(&self, secret: &Slot, seen: &Uploading, notices: &mut Vec<Notice>) -> Step {
        let row = self.memory.row(&secret.digest, None);
        if row.refused {
            let used = seen.used_before || seen.not_kept.is_some();
            let not_kept = used.then(|| NoProof::NotKept(seen.not_kept.clone()));
            notices.push(Notice::NoLastGood(not_kept.unwrap_or(NoProof::NeverUsed)));
        }
        notices.extend(row.without_token(Tried::Current));
        let gap = match row.in_vain {
            0 => self.settings.trials.gap,
            _ => self.settings.pace.again,
        };
        self.trial((Tried::Current, None), &secret.digest, gap)
    }

    fn announcing(&self, next: &Slot, notices: &mut Vec<Notice>) -> (Phase, Step) {
        let sent = self.memory.sent(&next.digest);
        if self.is_listed(next) {
            self.report(None, notices);
            return self.proving(next, notices);
        }
        self.report(sent, notices);
        if sent.is_some_and(|sent| sent.added >= MOST_ADDED) {
            return self.proving(next, notices);
        }
        let (arrived, not_readable) = (self.has_arrived(next), self.may_not_read());
        let at = sent.filter(|sent| sent.may_have_arrived()).map(|s| s.at);
        let lasts = if at.is_some() && (arrived || not_readable) {
            let failures = sent.map_or(0, |sent| sent.failures);
            doubled(self.settings.trials.at_most, failures, MOST_PAUSE)
        } else {
            self.settings.pace.settles
        };
        // The previous process may have announced it just before this one started.
        let settled = later(at.unwrap_or(self.memory.started), lasts);
        let early = self.ahead(settled, lasts);
        // Trials show what an answer confirmed and what may not be read.
        if at.is_some() && early.is_some() && (arrived || not_readable) {
            return self.proving(next, notices);
        }
        let since = self.now;
        (
            Phase::Adding { n: 0, since },
            self.adding_upload(next, sent, (settled, early)),
        )
    }

    fn adding_upload(
        &self,
        next: &Slot,
        sent: Option<&Sent>,
        (settled, early): (Timestamp, Option<Timestamp>),
    ) -> Step {
        // A user may have uploaded it.
        if sent.is_none() && self.memory.row(&next.digest, None).in_vain == 0 {
            return self.try_next(next);
        }
        let since = (settled <= self.now).then_some(settled);
        match (self.application_read(since), early) {
            (ApplicationRead::First(step), _) => step,
            (ApplicationRead::Fresh(_), Some(until)) => Step::wait_until(until),
            (ApplicationRead::NotReadable, Some(_)) => self.try_next(next),
            (_, None) => self.announce_upload(next, sent),
        }
    }

    /// Whether the issuer listed it recently.
    fn is_listed(&self, next: &Slot) -> bool {
        let at_most = self.settings.trials.at_most;
        let read = self.memory.application.as_ref();
        read.is_some_and(|read| {
            let lately = self.ahead(later(read.read_at, at_most), at_most).is_some();
            lately && read.keys.iter().any(|key| key.is(next) == Same::Yes)
        })
    }

    /// Whether an answer confirmed that the issuer has it.
    fn has_arrived(&self, next: &Slot) -> bool {
        let added = self.memory.added.as_ref();
        added.is_some_and(|(digest, _)| *digest == next.digest)
    }

    fn proving(&self, next: &Slot, notices: &mut Vec<Notice>) -> (Phase, Step) {
        let row = self.memory.row(&next.digest, None);
        if self.in_vain(next) {
            let failure = row.explains(self.failure(FailureCause::NotProven));
            // Each trial has another ID, and trials continue.
            notices.push(Notice::Failed(failure.repeated()));
        }
        notices.extend(row.without_token(Tried::Next));
        let since = self.now;
        let trial = self.try_next(next);
        let idle = matches!(trial, Step::Wait { .. });
        // Status shows the key IDs.
        let step = if idle && self.memory.application.is_none() && !self.may_not_read() {
            self.calls_wait(false)
                .map_or(Step::ReadApplication, |_| trial)
        } else {
            trial
        };
        (Phase::Added { since }, step)
    }

    fn try_next(&self, next: &Slot) -> Step {
        let gap = if self.in_vain(next) {
            self.settings.pace.again
        } else {
            self.settings.trials.gap
        };
        self.trial((Tried::Next, None), &next.digest, gap)
    }

    /// Whether it was tried for so long that another trial is unlikely to change the result.
    fn in_vain(&self, next: &Slot) -> bool {
        let trials = self.settings.trials;
        let lasted = trials.gap.saturating_mul(
            i32::try_from(self.memory.row(&next.digest, None).in_vain).unwrap_or(i32::MAX),
        );
        lasted >= trials.at_most
    }

    /// Announces it, unless the issuer refused that a short while ago.
    fn announce_upload(&self, next: &Slot, sent: Option<&Sent>) -> Step {
        let paused = sent.and_then(|sent| self.refused_until(sent));
        let waits = paused.map(Step::wait_until);
        waits
            .or_else(|| self.calls_wait(true))
            .unwrap_or_else(|| Step::AddKey {
                n: 0,
                digest: next.digest.clone(),
            })
    }

    /// If the issuer refused it, or is busy again and again, the call is not repeated at once.
    fn refused_until(&self, sent: &Sent) -> Option<Timestamp> {
        let fault = sent.fault.as_ref()?;
        let allowed = if fault.class.passes() { MOST_BUSY } else { 0 };
        let over = sent.failures.saturating_sub(allowed);
        let pause = doubled(self.settings.pace.pause, over, MOST_PAUSE);
        let until = later(sent.at, pause);
        self.ahead(until, MOST_PAUSE).filter(|_| over > 0)
    }

    /// Reports faults of calls to the issuer.
    fn report(&self, sent: Option<&Sent>, notices: &mut Vec<Notice>) {
        let refused = sent.and_then(|sent| sent.fault.as_ref());
        if let Some(fault) = refused.filter(|fault| !fault.class.passes()) {
            notices.push(Notice::Failed(Failure {
                class: Some(fault.class),
                ..self.failure(FailureCause::of(fault))
            }));
        }
        let faults = [self.memory.read_fault.as_ref(), refused];
        let mut faults: Vec<Notice> = (faults.into_iter().flatten().cloned())
            .map(Notice::Blocked)
            .collect();
        faults.dedup();
        notices.extend(faults);
    }

    /// The certificates as status shows them: *current* is the one that gets tokens.
    fn in_use(&self, works: bool) -> Vec<super::Shown> {
        let (slots, facts) = (&self.seen.slots, &self.facts);
        if !works || slots.next.is_none() {
            return facts.shown(slots);
        }
        let (slots, facts) = (slots.clone(), facts.clone());
        let turned = Slots {
            current: slots.next,
            previous: slots.current,
            ..Slots::default()
        };
        let known = Facts {
            current: facts.next,
            next: None,
            previous: facts.current,
        };
        known.shown(&turned)
    }
}
