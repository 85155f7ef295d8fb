//! An invalid field of a spec: its path, what is wrong, and the fix.

use std::fmt;

use crate::reason::Reason;

/// A fault in one field of a spec.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FieldError {
    /// Path of the field, such as `spec.client.id`.
    pub field: String,
    /// What is wrong and how to fix it, as a sentence without a full stop.
    pub problem: String,
    /// Stable reason for conditions.
    pub reason: Reason,
}

impl FieldError {
    /// A fault at `field`.
    pub fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            problem: problem.into(),
            reason: Reason::InvalidSpec,
        }
    }

    /// The same fault with another reason.
    #[must_use]
    pub fn because(mut self, reason: Reason) -> Self {
        self.reason = reason;
        self
    }

    /// All faults in one line, for a condition's message.
    pub fn join(errors: &[Self]) -> String {
        errors
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("; ")
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.problem)
    }
}
