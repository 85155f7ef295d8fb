//! The certificates that a process announced to the issuer, and the credentials that it removed there.

use jiff::Timestamp;

use super::Memory;
use crate::rotation::{
    outcome::Fault,
    settings::{SKEW, SWEEP},
};

/// Maximum number of announcements that are remembered.
const MOST_SENT: usize = 4;

/// The result of announcing one certificate.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::rotation) struct Sent {
    pub(in crate::rotation) digest: String,
    /// When it was last announced.
    pub(in crate::rotation) at: Timestamp,
    /// Why the last announcement failed, if it did.
    pub(in crate::rotation) fault: Option<Fault>,
    /// Number of failures in a row.
    pub(in crate::rotation) failures: u32,
    /// How often the issuer answered that it was added.
    pub(in crate::rotation) added: u32,
}

impl Sent {
    /// Whether the issuer may have it by now.
    pub(in crate::rotation) fn may_have_arrived(&self) -> bool {
        self.fault.as_ref().is_none_or(|f| f.may_have_happened)
    }
}

/// Maximum number of removed credentials that are remembered.
const MOST_GONE: usize = 64;

impl Memory {
    /// Whether this process removed this credential at the issuer before.
    pub fn has_removed(&self, id: &str) -> bool {
        self.gone.iter().any(|(gone, _)| gone == id)
    }

    /// Whether this credential was removed within the last day. A reading that still lists it is older, or the issuer does not update its list:
    /// another removal would have no other answer.
    pub(in crate::rotation) fn is_gone(&self, id: &str, now: Timestamp) -> bool {
        let lately = |at: Timestamp| {
            let age = now.duration_since(at);
            age < SWEEP && age > -SKEW
        };
        self.gone.iter().any(|(gone, at)| gone == id && lately(*at))
    }

    pub(super) fn is_removed(&mut self, id: &str, now: Timestamp) {
        self.gone.retain(|(gone, _)| gone != id);
        self.gone.push((id.to_owned(), now));
        let surplus = self.gone.len().saturating_sub(MOST_GONE);
        self.gone.drain(..surplus);
    }

    /// The result of announcing a certificate.
    pub(in crate::rotation) fn sent(&self, digest: &str) -> Option<&Sent> {
        self.sent.iter().find(|sent| sent.digest == digest)
    }

    /// Whether this process announced a certificate that the issuer may therefore have.
    pub fn has_announced(&self, digest: &str) -> bool {
        self.sent(digest).is_some_and(Sent::may_have_arrived)
    }

    /// Records that a certificate is announced now. Unless an answer shows otherwise, the issuer may have it afterwards.
    pub(super) fn announces(&mut self, digest: &str, now: Timestamp) {
        let known = self.sent.iter().position(|sent| sent.digest == digest);
        let before = known.map(|at| self.sent.remove(at));
        let (failures, added) = before.map_or((0, 0), |sent| (sent.failures, sent.added));
        self.sent.push(Sent {
            digest: digest.to_owned(),
            at: now,
            fault: None,
            failures,
            added,
        });
        let surplus = self.sent.len().saturating_sub(MOST_SENT);
        self.sent.drain(..surplus);
    }
}
