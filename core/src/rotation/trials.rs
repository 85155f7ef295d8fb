//! Trials of one value: their results, and when the next one is sent.

use jiff::{SignedDuration, Timestamp};

use super::{
    failure::Failure,
    memory::{LONGEST_PAUSE, doubled},
    outcome::Fault,
    settings::{RotationSettings, Trials},
    step::{Notice, Tried},
};
use crate::oauth::AnswerIds;

/// After this many trials in a row, a transient fault is reported as one that a user must correct. With growing pauses this takes hours.
pub(super) const LASTS: u32 = 20;

/// Trials of one value.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Row {
    pub(super) digest: String,
    /// Trials before this time belong to another state, after which the value may have been removed at the issuer.
    pub(super) since: Option<Timestamp>,
    pub(super) count: u32,
    pub(super) first: Option<Timestamp>,
    pub(super) last: Option<Timestamp>,
    /// Whether the issuer refused the value in the last trial.
    pub(super) refused: bool,
    /// Why the last one got no token, if the issuer did not refuse the value.
    pub(super) fault: Option<Fault>,
    /// Number of trials since the last success, or since the issuer added the value.
    pub(super) in_vain: u32,
    /// What the issuer answered to the last one, if that got no token.
    pub(super) answer: AnswerIds,
}

impl Row {
    /// What is reported about trials that got no token, although the value was not refused.
    pub(super) fn without_token(&self, of: Tried) -> Option<Notice> {
        let fault = self.fault.clone()?;
        let times = self.in_vain;
        Some(Notice::NoToken { of, fault, times })
    }

    /// The pause between the last trial and the next one. It grows while trials get no token.
    pub(super) fn pause(&self, settings: &RotationSettings) -> SignedDuration {
        let (gap, most) = (settings.trials.gap, settings.pace.again);
        if self.refused {
            return most;
        }
        doubled(gap, self.in_vain, most.max(gap))
    }

    /// The same pause, or the one that the issuer requested after the last trial, if that is longer.
    pub(super) fn with_requested_pause(
        &self,
        of: Tried,
        own: SignedDuration,
        trials: &Trials,
    ) -> SignedDuration {
        let most = match of {
            Tried::Current => LONGEST_PAUSE,
            // The value is proven or given up within that time.
            Tried::Next => trials.at_most,
        };
        let requested = self.fault.as_ref().and_then(|fault| fault.retry_after);
        requested.map_or(own, |requested| own.max(requested.min(most)))
    }

    /// The failure of a value that got no token, with what the issuer answered last.
    pub(super) fn explains(&self, failure: Failure) -> Failure {
        let class = self.fault.as_ref().map(|fault| fault.class);
        let answer = self.answer.clone();
        Failure {
            class: class.filter(|class| class.passes()),
            answer: answer.text().is_some().then_some(answer),
            ..failure
        }
    }
}
