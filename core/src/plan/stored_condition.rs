//! Conditions as a status has them.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::{ConditionStatus, ConditionType, Reason, StoredReason};

/// A condition as a status has it, read.
pub(super) struct Stored<'a> {
    pub(super) kind: ConditionType,
    pub(super) status: ConditionStatus,
    pub(super) reason: StoredReason,
    pub(super) message: &'a str,
    pub(super) generation: Option<i64>,
    pub(super) since: Timestamp,
}

impl<'a> Stored<'a> {
    /// None if this version has no condition of its type: another version wrote it, and the next status is without it.
    pub(super) fn read(condition: &'a Condition) -> Option<Self> {
        Some(Self {
            kind: ConditionType::parse(&condition.type_)?,
            status: ConditionStatus::of(condition),
            reason: condition.reason.as_str().into(),
            message: &condition.message,
            generation: condition.observed_generation,
            since: condition.last_transition_time.0,
        })
    }

    /// Does it say that something is not as it should be?
    pub(super) fn is_fault(&self) -> bool {
        match self.kind {
            // Progress without a fault of its own: its beginning and end are those of each renewal.
            ConditionType::Reconciling => false,
            ConditionType::Ready => {
                self.status == ConditionStatus::False
                    && self.reason.known() != Some(Reason::Pending)
            }
            _ => self.status == ConditionStatus::True,
        }
    }
}
