//! A rotation that failed: what is stored and reported about it.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

use super::outcome::{Class, Fault};
use crate::oauth::AnswerIds;

/// A rotation that failed: reported until one succeeds, or until none is due or requested any more.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Failure {
    /// When it failed.
    pub at: Timestamp,
    /// What happened.
    pub why: FailureCause,
    /// Number of failures in a row.
    pub times: u32,
    /// The value of `rotate-requested-at` that it was for. A later request does not wait for the pause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested: Option<String>,
    /// Why it was not added, or not requested. None: another failure, or an earlier version wrote this.
    #[serde(
        default,
        deserialize_with = "known_class",
        skip_serializing_if = "Option::is_none"
    )]
    pub class: Option<Class>,
    /// What the issuer answered to the last trial. None: no trial, no answer, or an earlier version wrote this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<AnswerIds>,
}

/// A class that a later version added is unknown here and is ignored. The rest is still read.
fn known_class<'de, D: Deserializer<'de>>(source: D) -> Result<Option<Class>, D::Error> {
    let value = serde_json::Value::deserialize(source)?;
    Ok(serde_json::from_value(value).ok())
}

/// Why a rotation failed.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum FailureCause {
    /// The issuer refused to add a credential.
    AddRefused,
    /// The issuer was too busy to add one, or a component between it and this process answered.
    NotAdded,
    /// The call to add one was not sent, because something failed before it.
    NotSent,
    /// The answer to the call was lost. If the call added a credential, it is searched for and removed.
    AnswerLost,
    /// The new credential got no token within the time limit for trials.
    NotProven,
    /// The new credential was removed from the Secret.
    NextRemoved,
}

impl FailureCause {
    /// Why a call added no credential.
    pub(super) const fn of(fault: &Fault) -> Self {
        match (fault.sent, fault.may_have_happened, fault.class.passes()) {
            (false, ..) => Self::NotSent,
            (_, true, _) => Self::AnswerLost,
            (.., true) => Self::NotAdded,
            (.., false) => Self::AddRefused,
        }
    }
}

impl Failure {
    /// The same failure, without the parts that differ at each trial.
    #[must_use]
    pub fn repeated(&self) -> Self {
        let answer = self.answer.clone().map(AnswerIds::repeated);
        Self {
            answer,
            ..self.clone()
        }
    }

    /// What was observed, and what follows.
    pub fn message(&self) -> String {
        let what = match self.why {
            FailureCause::AddRefused => "the issuer refused to add a new client credential",
            FailureCause::NotAdded => "the issuer did not add a new client credential",
            FailureCause::NotSent => "no new client credential was requested from the issuer",
            FailureCause::AnswerLost => "the answer to adding a client credential was lost",
            FailureCause::NotProven => "no token was obtained with the new client credential",
            FailureCause::NextRemoved => "the new client credential disappeared from the Secret",
        };
        let because = self.class.map(|class| match self.why {
            FailureCause::NotSent => class.reason_if_unsent(),
            FailureCause::NotProven => class.reason_without_answer(),
            _ => class.text(),
        });
        let answered = self.answer.as_ref().and_then(AnswerIds::text);
        let because = answered.or_else(|| because.map(str::to_owned));
        let because = because.map_or(String::new(), |text| format!(": {text}"));
        format!("{what}{because}; the one before it stays in use, and apicred tries again")
    }
}
