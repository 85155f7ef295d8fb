//! What one process knows in addition to the Secret. It is lost with the process. Each state defines how to continue without it.

mod caller;
mod sent;

use jiff::{SignedDuration, Timestamp};

use caller::lacks_caller;
pub(super) use sent::Sent;

use super::{
    observed::Application,
    outcome::{Class, Fault, Outcome, UnstoredValue},
    settings::{MOST_PAUSE, MOST_READ_PAUSE, PROOF_LASTS, Pace, SKEW},
    step::{Change, Step, Tried},
    trials::Row,
};
use crate::oauth::AnswerIds;

/// Maximum number of proofs that are remembered.
const MOST_PROOFS: usize = 4;
/// The longest pause after a call that failed.
pub(super) const LONGEST_PAUSE: SignedDuration = SignedDuration::from_hours(24);

/// What one process knows.
#[derive(Clone, Debug, PartialEq)]
pub struct Memory {
    pub(super) started: Timestamp,
    /// The first reading of the application happens at this time at the latest.
    pub(super) read_by: Timestamp,
    /// Whether the previous process reconciled the rotation without a fault that a reading may resolve.
    pub(super) reconciled_before: bool,
    /// This process wrote `Adding` with this number and has not sent the call.
    pub(super) announced: Option<u32>,
    pub(super) held: Option<UnstoredValue>,
    pub(super) application: Option<Application>,
    /// When a reading of the application failed because a permission is missing, and the fault to report.
    pub(super) read_refused: Option<(Timestamp, Fault)>,
    /// The issuer added the certificate with this digest, and its id if the answer contained it.
    pub(super) added: Option<(String, Option<String>)>,
    /// Why the call to add this number failed.
    pub(super) refused: Option<(u32, Fault)>,
    pub(super) removed: Option<String>,
    /// Number of removals in a row that failed since the last write. A reading precedes each of them, and does not reset it.
    pub(super) unremoved: u32,
    /// No removal is sent before this time.
    pub(super) removes_at: Option<Timestamp>,
    /// What was removed, and when, the latest last. The issuer may still list it.
    gone: Vec<(String, Timestamp)>,
    /// The last reading of the application, which a change of it does not clear: what is reported does not end while the application is changed.
    pub(super) last_read: Option<Application>,
    /// Certificates that were announced, the oldest first.
    sent: Vec<Sent>,
    row: Row,
    tried_at: Option<Timestamp>,
    proofs: Vec<(String, Timestamp)>,
    /// Last write to the application.
    pub(super) wrote_at: Option<Timestamp>,
    pub(super) failures: u32,
    pub(super) not_before: Option<Timestamp>,
    /// The end of the pause that the issuer requested. Nothing but a call that succeeds shortens it.
    requested_until: Option<Timestamp>,
    /// Since when each call failed because the caller has no token.
    caller_since: Option<Timestamp>,
    /// The fault of the last reading of the application, if it failed.
    pub(super) read_fault: Option<Fault>,
    /// The fault of the last change of the application, if it failed. A successful reading does not clear it.
    pub(super) write_fault: Option<Fault>,
    /// After a call that failed: see [`Pace`].
    call_pause: SignedDuration,
    conflict_pause: SignedDuration,
}

impl Memory {
    /// For a process that starts now. The first trial is sent [`super::Trials::gap`] after that at the earliest, because the previous process
    /// may have sent one.
    pub fn new(now: Timestamp, pace: &Pace) -> Self {
        Self {
            started: now,
            read_by: now,
            reconciled_before: false,
            announced: None,
            held: None,
            application: None,
            read_refused: None,
            added: None,
            refused: None,
            removed: None,
            unremoved: 0,
            removes_at: None,
            gone: Vec::new(),
            last_read: None,
            sent: Vec::new(),
            row: Row::default(),
            tried_at: None,
            proofs: Vec::new(),
            wrote_at: None,
            failures: 0,
            not_before: None,
            requested_until: None,
            caller_since: None,
            read_fault: None,
            write_fault: None,
            call_pause: pace.call_pause,
            conflict_pause: pace.conflict_pause,
        }
    }

    /// For a process that has just started. The previous one may have read the application a moment ago. If nothing needs a reading earlier,
    /// the application is read at this time, so a restart causes no extra request.
    #[must_use]
    pub fn reading_by(self, at: Timestamp) -> Self {
        Self {
            read_by: at,
            ..self
        }
    }

    /// For a process that continues what another one reconciled without reporting a fault. That one learned all that a reading can show, so a
    /// reading for a certificate is not urgent although nothing is stored.
    #[must_use]
    pub fn reconciled_before(self, reconciled: bool) -> Self {
        Self {
            reconciled_before: reconciled,
            ..self
        }
    }

    /// The value that the shell must not drop: the issuer has it or will soon have it, and no Secret contains it.
    pub fn held(&self) -> Option<&UnstoredValue> {
        self.held.as_ref()
    }

    /// The trials of a value that count. With `since`, only those of the state that was written at that time.
    pub(super) fn row(&self, digest: &str, since: Option<Timestamp>) -> Row {
        if self.row.digest == digest && self.row.since == since {
            self.row.clone()
        } else {
            Row {
                digest: digest.to_owned(),
                since,
                ..Row::default()
            }
        }
    }

    /// The next trial is due `gap` after this.
    pub(super) fn last_trial(&self) -> Timestamp {
        self.tried_at.unwrap_or(self.started)
    }

    /// Whether this value got a token recently.
    pub(super) fn proven(&self, digest: &str, used_at: Option<Timestamp>, now: Timestamp) -> bool {
        let lately = |at: Timestamp| {
            let age = now.duration_since(at);
            age < PROOF_LASTS && age > -SKEW
        };
        let own = self.proofs.iter().filter(|(d, _)| d == digest);
        own.map(|(_, at)| *at).chain(used_at).any(lately)
    }

    /// Whether this value got a token at any time and was not refused after that.
    pub(super) fn got_token(&self, digest: &str) -> bool {
        self.proofs.iter().any(|(d, _)| d == digest)
    }

    /// Records that a step is about to be executed. Call it *before* the step: a call whose answer is lost must not be sent again without a
    /// check.
    pub fn before(&mut self, step: &Step, now: Timestamp) {
        if let Step::AddKey { digest, .. } = step {
            self.announces(digest, now);
        }
        match step {
            Step::AddKey { .. } | Step::AddPassword { .. } => {
                self.announced = None;
                self.wrote_at = Some(now);
                self.application = None;
            }
            Step::RemoveKey { .. } | Step::RemovePassword { .. } => {
                self.wrote_at = Some(now);
                self.application = None;
            }
            Step::Trial { .. } => self.tried_at = Some(now),
            Step::Write { .. }
            | Step::ReadApplication
            | Step::MakeKeyPair { .. }
            | Step::Wait { .. } => {}
        }
    }

    /// Records the result of a step.
    pub fn after(&mut self, step: &Step, outcome: &Outcome, now: Timestamp) {
        match (step, outcome) {
            (_, Outcome::Failed(fault)) => self.failed(step, fault, now),
            (Step::Write { change, .. }, Outcome::Done) => self.wrote(change),
            (Step::ReadApplication, Outcome::Application(application)) => {
                self.read_refused = None;
                self.application = Some(application.clone());
                self.last_read.clone_from(&self.application);
                self.read_fault = None;
                if lacks_caller(self.write_fault.as_ref()) {
                    self.write_fault = None;
                }
                self.answered();
            }
            (Step::MakeKeyPair { .. } | Step::AddPassword { .. }, Outcome::Held(held)) => {
                self.held = Some(held.clone());
                self.succeeded();
            }
            (Step::AddKey { digest, .. }, Outcome::KeyAdded(id)) => {
                self.added = Some((digest.clone(), id.clone()));
                if let Some(sent) = self.sent.iter_mut().find(|s| s.digest == *digest) {
                    (sent.fault, sent.failures) = (None, 0);
                    sent.added = sent.added.saturating_add(1);
                }
                if self.row.digest == *digest {
                    self.row.in_vain = 0;
                }
                self.succeeded();
            }
            // Nothing was sent.
            (Step::AddKey { digest, .. }, Outcome::NotWritten) => {
                self.sent.retain(|sent| sent.digest != *digest);
            }
            (Step::RemoveKey { id } | Step::RemovePassword { id }, Outcome::Done) => {
                self.removed = Some(id.clone());
                self.is_removed(id, now);
                self.removes_at = None;
                self.succeeded();
            }
            (Step::Trial { digest, since, .. }, outcome) => {
                self.tried((digest, *since), outcome, now);
            }
            _ => {}
        }
    }

    /// A change of the application succeeded.
    fn succeeded(&mut self) {
        (self.read_fault, self.write_fault) = (None, None);
        self.answered();
    }

    fn answered(&mut self) {
        (self.failures, self.not_before, self.requested_until) = (0, None, None);
        self.caller_since = None;
    }

    fn failed(&mut self, step: &Step, fault: &Fault, now: Timestamp) {
        let reads = *step == Step::ReadApplication;
        if reads && fault.class == Class::Permission {
            // An application may roll its own certificates without the permission to read itself.
            self.read_refused = Some((now, fault.clone()));
            (self.application, self.last_read, self.read_fault) = (None, None, None);
            return;
        }
        let of = if reads {
            &mut self.read_fault
        } else {
            &mut self.write_fault
        };
        *of = Some(fault.clone());
        self.caller_since = lacks_caller(Some(fault)).then(|| self.caller_since.unwrap_or(now));
        self.failures = self.failures.saturating_add(1);
        let (first, times) = match fault.class {
            Class::Conflict => (self.conflict_pause, 1),
            _ => (self.call_pause, self.failures),
        };
        let most = if reads {
            MOST_READ_PAUSE
        } else {
            LONGEST_PAUSE
        };
        let own = doubled(first, times, most);
        let pause_until = |own: SignedDuration| {
            let pause = fault.retry_after.map_or(own, |pause| pause.max(own));
            later(now, pause.min(LONGEST_PAUSE))
        };
        self.not_before = Some(pause_until(own));
        self.requested_until = fault.retry_after.map(|_| pause_until(SignedDuration::ZERO));
        if step.removes() {
            self.unremoved = self.unremoved.saturating_add(1);
            self.removes_at = Some(pause_until(doubled(first, self.unremoved, MOST_PAUSE)));
        }
        if let Step::AddKey { n, .. } | Step::AddPassword { n, .. } = step {
            self.refused = Some((*n, fault.clone()));
        }
        if let Step::AddKey { digest, .. } = step
            && let Some(sent) = self.sent.iter_mut().find(|s| s.digest == *digest)
        {
            sent.fault = Some(fault.clone());
            sent.failures = sent.failures.saturating_add(1);
        }
    }

    fn wrote(&mut self, change: &Change) {
        self.announced = change.announces;
        let id = self.held.as_ref().and_then(|held| held.id.as_ref());
        if change.stores() || id.is_some_and(|id| change.removes_next(id)) {
            self.held = None;
        }
        self.refused = None;
        self.added = None;
        (self.removed, self.unremoved, self.removes_at) = (None, 0, None);
        // The rotation progressed, so it no longer waits because of an earlier failure.
        if change.record.failure.is_none() && change.announces.is_none() {
            (self.read_fault, self.write_fault) = (None, None);
        }
    }

    fn tried(
        &mut self,
        (digest, since): (&str, Option<Timestamp>),
        outcome: &Outcome,
        now: Timestamp,
    ) {
        let mut row = self.row(digest, since);
        row.in_vain = match outcome {
            Outcome::Token => 0,
            _ => row.in_vain.saturating_add(1),
        };
        match outcome {
            Outcome::Token => {
                row.count = row.count.saturating_add(1);
                row.first = row.first.or(Some(now));
                row.last = Some(now);
                (row.refused, row.fault, row.answer) = (false, None, AnswerIds::default());
                self.proofs.retain(|(d, _)| d != digest);
                self.proofs.push((digest.to_owned(), now));
                let surplus = self.proofs.len().saturating_sub(MOST_PROOFS);
                self.proofs.drain(..surplus);
            }
            Outcome::Refused(answer) => {
                row = Row {
                    digest: row.digest,
                    since,
                    refused: true,
                    in_vain: row.in_vain,
                    answer: answer.clone(),
                    ..Row::default()
                };
                self.proofs.retain(|(d, _)| d != digest);
            }
            Outcome::NoAnswer(fault, answer) => {
                (row.fault, row.answer) = (Some(fault.clone()), answer.clone());
            }
            _ => {}
        }
        self.row = row;
    }
}

impl Tried {
    /// Its name in messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Next => "next",
        }
    }
}

/// `first`, doubled for each of `times` after the first.
pub(super) fn doubled(first: SignedDuration, times: u32, most: SignedDuration) -> SignedDuration {
    let factor = 1_i32 << times.saturating_sub(1).min(20);
    first.saturating_mul(factor).min(most)
}

pub(super) fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.saturating_add(by).unwrap_or(Timestamp::MAX)
}
