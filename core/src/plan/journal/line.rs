//! A line of the log about conditions, as data.

use jiff::Timestamp;

use crate::{
    ConditionStatus, ConditionType, Reason, StoredReason, api::LastAttempt, oauth::AnswerIds,
    plan::stored_condition::Stored,
};

/// Level of a line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Level {
    /// Waits and ends.
    Info,
    /// Faults.
    Warn,
}

/// What a line reports.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Change {
    /// A condition reports a new fault.
    Began,
    /// It has another reason, or the same reason with another content.
    Changed,
    /// It has ended.
    Ended,
    /// It continues, and was tried again or occurred again.
    Repeated,
}

impl Change {
    /// The text in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Began => "began",
            Self::Changed => "changed",
            Self::Ended => "ended",
            Self::Repeated => "repeated",
        }
    }
}

impl From<&LastAttempt> for AnswerIds {
    fn from(last: &LastAttempt) -> Self {
        Self {
            http_status: last.http_status.and_then(|n| u16::try_from(n).ok()),
            error: last.error.clone(),
            code: last.code.clone(),
            correlation_id: last.correlation_id.clone(),
            trace_id: last.trace_id.clone(),
        }
    }
}

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Its level.
    pub level: Level,
    /// What it reports.
    pub change: Change,
    /// Type of the condition.
    pub condition: ConditionType,
    /// Status of the condition now.
    pub status: ConditionStatus,
    /// Other conditions with the same fault.
    pub also: Vec<ConditionType>,
    /// The reason. If the fault ended, the previous reason.
    pub reason: StoredReason,
    /// The previous reason; None if only the message changed, for the same spec.
    pub was: Option<StoredReason>,
    /// How often the previous reason occurred again without a line.
    pub was_repeats: u32,
    /// The condition's message.
    pub message: String,
    /// Generation that the condition is about.
    pub generation: Option<i64>,
    /// The start of the fault, or of the count.
    pub since: Option<Timestamp>,
    /// How often it occurred again since then.
    pub repeats: u32,
    /// Ids of the attempt that caused it.
    pub ids: AnswerIds,
}

impl Line {
    /// A line about a fault, with the content of its condition.
    pub(super) fn new(fault: &Stored<'_>, change: Change) -> Self {
        Self {
            level: if fault.reason.is(Reason::is_wait)
                || fault.kind == ConditionType::RotationLeftover
            {
                Level::Info
            } else {
                Level::Warn
            },
            change,
            condition: fault.kind,
            status: fault.status,
            also: Vec::new(),
            reason: fault.reason.clone(),
            was: None,
            was_repeats: 0,
            message: fault.message.to_owned(),
            generation: fault.generation,
            since: None,
            repeats: 0,
            ids: AnswerIds::default(),
        }
    }
}
