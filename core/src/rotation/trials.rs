//! Trials of one value: what came of them, and when the next one is sent.

use jiff::{SignedDuration, Timestamp};

use super::{
    failure::Failure,
    memory::{LONGEST_PAUSE, doubled},
    outcome::{Answer, Fault},
    settings::{RotationSettings, Trials},
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
    /// What the issuer answered to the last one, if that brought no token.
    pub(super) answer: Answer,
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
        doubled(gap, self.in_vain, most.max(gap))
    }

    /// The same pause, or the one that the issuer asked for after the last trial, if that is longer.
    pub(super) fn asked(&self, of: Tried, own: SignedDuration, trials: &Trials) -> SignedDuration {
        let most = match of {
            Tried::Current => LONGEST_PAUSE,
            // It is proven in that time, or given up.
            Tried::Next => trials.at_most,
        };
        let asked = self.fault.as_ref().and_then(|fault| fault.retry_after);
        asked.map_or(own, |asked| own.max(asked.min(most)))
    }

    /// The failure of a value that got no token, with what the issuer answered last.
    pub(super) fn explains(&self, failure: Failure) -> Failure {
        let class = self.fault.as_ref().map(|fault| fault.class);
        let answer = self.answer.clone();
        Failure {
            class: class.filter(|class| class.passes()),
            answer: answer.words().is_some().then_some(answer),
            ..failure
        }
    }
}
