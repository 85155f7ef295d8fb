//! Calls that fail because the caller has no token, and what ends their pauses.

use jiff::Timestamp;

use super::{Memory, later};
use crate::rotation::{Class, Fault};

/// That the caller has no token is reported after this many of the first pauses: two minutes. If client and caller are created together, the
/// caller has a token by then.
const GRACE: i32 = 8;

impl Memory {
    /// What `managementRef` names has changed. If it had no token, it may have one now, so calls no longer wait for that. What is reported
    /// stays until a call succeeds.
    pub fn caller_changed(&mut self) {
        for sent in &mut self.sent {
            if lacks_caller(sent.fault.as_ref()) {
                sent.failures = 0;
            }
        }
        if lacks_caller(self.read_fault.as_ref()) || lacks_caller(self.write_fault.as_ref()) {
            self.ends_pauses();
        }
    }

    /// A user requests a rotation, or `managementRef` names another object: what failed before may be corrected. What is
    /// reported stays until a call succeeds.
    pub fn requested_again(&mut self) {
        self.ends_pauses();
        self.read_refused = None;
        for sent in &mut self.sent {
            if sent.fault.is_some() && !sent.may_have_arrived() {
                sent.failures = 0;
            }
        }
    }

    /// Calls wait only for a pause that the issuer requested.
    fn ends_pauses(&mut self) {
        (self.failures, self.not_before) = (0, self.requested_until);
        self.removes_at = self.removes_at.and(self.requested_until);
    }

    /// For a process that continues what another one reported as blocked. That is not withdrawn before a call succeeds.
    #[must_use]
    pub fn blocked_before(self) -> Self {
        Self {
            caller_since: Some(Timestamp::MIN),
            ..self
        }
    }

    /// Whether a fault is that the caller has no token, and not for long.
    pub(in crate::rotation) fn may_settle(&self, fault: &Fault, now: Timestamp) -> bool {
        let grace = self.call_pause.saturating_mul(GRACE);
        let lacks = lacks_caller(Some(fault)) && !fault.sent;
        let since = self.caller_since.filter(|_| lacks);
        since.is_some_and(|since| now < later(since, grace))
    }
}

pub(super) fn lacks_caller(fault: Option<&Fault>) -> bool {
    fault.is_some_and(|fault| fault.class == Class::Caller)
}
