//! When a rotation is due, and when it is overdue.

use jiff::{SignedDuration, Timestamp};

use super::{
    memory::later,
    settings::{BEFORE_END, Kind, RotationSettings},
};
use crate::api::Rotation;

/// How long each credential of a client is used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cycle {
    /// A new credential is created at this interval.
    pub every: SignedDuration,
    /// How long the previous credential stays valid after the switch.
    pub overlap: SignedDuration,
}

impl Cycle {
    /// The cycle that the spec sets.
    pub fn of(rotation: &Rotation) -> Self {
        // These are the same for every kind.
        let usual = RotationSettings::of(Kind::Secret);
        Self {
            every: span(rotation.every, usual.every),
            overlap: span(rotation.overlap, usual.overlap),
        }
    }

    /// When a rotation must begin so that it completes before the credential expires.
    pub(super) fn due_by_end(self, from: Option<Timestamp>, until: Timestamp) -> Timestamp {
        let lifetime = from.map(|from| until.duration_since(from));
        let margin = lifetime.map_or(BEFORE_END, |lifetime| BEFORE_END.min(lifetime / 8));
        let early = later(until, -self.overlap.saturating_add(margin));
        // If an issuer grants a shorter validity than requested, a rotation still begins at half of it at the earliest.
        let half = from
            .zip(lifetime)
            .map(|(from, lifetime)| later(from, lifetime / 2));
        half.map_or(early, |half| early.max(half))
    }

    /// When a due rotation counts as blocked: a quarter of the time that was left until the expiry has passed.
    pub fn late_at(self, from: Option<Timestamp>, until: Timestamp) -> Timestamp {
        let by_end = self.due_by_end(from, until);
        let due = from.map_or(by_end, |from| later(from, self.every).min(by_end));
        later(due, until.duration_since(due) / 4)
    }
}

/// A duration of the spec.
pub(super) fn span(chosen: Option<kube::core::Duration>, usual: SignedDuration) -> SignedDuration {
    let chosen = chosen.map(|d| SignedDuration::try_from(std::time::Duration::from(d)));
    chosen.map_or(usual, |d| d.unwrap_or(SignedDuration::MAX))
}
