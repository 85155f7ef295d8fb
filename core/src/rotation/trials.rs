//! Trials of one value: what came of them, and when the next one is sent.

use jiff::{SignedDuration, Timestamp};

use super::{
    memory::{LONGEST_PAUSE, doubled},
    outcome::Fault,
    settings::RotationSettings,
    step::{Notice, Tried},
};

/// What passes by itself is somebody's to correct after so many trials in a row: hours, at the pause that they reach.
pub(super) const LASTS: u32 = 20;

/// Trials of one value.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Row {
    pub(super) digest: String,
    /// The trials before this time belong to another state, after which the value may have been removed at the issuer.
    pub(super) since: Option<Timestamp>,
    pub(super) count: u32,
    pub(super) first: Option<Timestamp>,
    pub(super) last: Option<Timestamp>,
    /// Was the last answer a refusal?
    pub(super) refused: bool,
    /// Why the last one brought no token, if the issuer did not refuse the value.
    pub(super) fault: Option<Fault>,
    /// Trials since the last one that succeeded, or since the issuer added it.
    pub(super) in_vain: u32,
}

impl Row {
    /// What is reported of trials that brought no token, although the value was not refused.
    pub(super) fn without_token(&self, of: Tried) -> Option<Notice> {
        let fault = self.fault.clone()?;
        let times = self.in_vain;
        Some(Notice::NoToken { of, fault, times })
    }

    /// How long after the last trial the next one is sent. One that brings no token again and again is sent less and less often.
    pub(super) fn pause(&self, settings: &RotationSettings) -> SignedDuration {
        let (gap, most) = (settings.trials.gap, settings.pace.again);
        if self.refused {
            return most;
        }
        let own = doubled(gap, self.in_vain, most.max(gap));
        let asked = self.fault.as_ref().and_then(|fault| fault.retry_after);
        asked.map_or(own, |asked| own.max(asked.min(LONGEST_PAUSE)))
    }
}
