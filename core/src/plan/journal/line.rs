//! A line of the log about conditions, as data.

use jiff::Timestamp;

use crate::{
    ConditionStatus, ConditionType, Reason, StoredReason, api::LastAttempt, oauth::TokenError,
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

/// What a line says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Change {
    /// A condition has become what it should not be.
    Began,
    /// It has another reason, or the same one with another content.
    Changed,
    /// It has ended.
    Ended,
    /// It lasts, and was tried or came back since.
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

/// What a request is found by in the logs of its issuer.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Ids {
    /// HTTP status of the answer.
    pub http_status: Option<i32>,
    /// OAuth `error`.
    pub error: Option<String>,
    /// The server's own code of the error.
    pub code: Option<String>,
    /// Entra's id of the request.
    pub correlation_id: Option<String>,
    /// Entra's id of the answer.
    pub trace_id: Option<String>,
}

impl From<&LastAttempt> for Ids {
    fn from(last: &LastAttempt) -> Self {
        Self {
            http_status: last.http_status,
            error: last.error.clone(),
            code: last.code.clone(),
            correlation_id: last.correlation_id.clone(),
            trace_id: last.trace_id.clone(),
        }
    }
}

impl From<&TokenError> for Ids {
    fn from(token_error: &TokenError) -> Self {
        Self {
            http_status: token_error.http_status.map(i32::from),
            error: token_error.error.clone(),
            code: token_error.code(),
            correlation_id: token_error.correlation_id.clone(),
            trace_id: token_error.trace_id.clone(),
        }
    }
}

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Its level.
    pub level: Level,
    /// What it says.
    pub change: Change,
    /// Type of the condition.
    pub condition: ConditionType,
    /// Status of the condition now.
    pub status: ConditionStatus,
    /// Other conditions with the same news.
    pub also: Vec<ConditionType>,
    /// The reason; for an end, the one that ended.
    pub reason: StoredReason,
    /// The reason before; none if the same one has other words for the same spec.
    pub was: Option<StoredReason>,
    /// How often the reason before came back without a line.
    pub was_repeats: u32,
    /// The condition's message.
    pub message: String,
    /// Generation that the condition is about.
    pub generation: Option<i64>,
    /// Since when it lasts, or has been counted.
    pub since: Option<Timestamp>,
    /// How often it came back since then.
    pub repeats: u32,
    /// Ids of the attempt that brought it.
    pub ids: Ids,
}

impl Line {
    /// A line about a fault, as its condition has it.
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
            ids: Ids::default(),
        }
    }
}
