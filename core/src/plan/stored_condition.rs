//! Conditions that were read from a status.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::{ConditionStatus, ConditionType, Reason, StoredReason};

/// A condition that was read from a status.
pub(super) struct Stored<'a> {
    pub(super) kind: ConditionType,
    pub(super) status: ConditionStatus,
    pub(super) reason: StoredReason,
    pub(super) message: &'a str,
    pub(super) generation: Option<i64>,
    pub(super) since: Timestamp,
}

impl<'a> Stored<'a> {
    /// None if this version has no condition of its type: another version wrote it, and the next status is written without it.
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

    /// Whether it reports a fault.
    pub(super) fn is_fault(&self) -> bool {
        match self.kind {
            // Progress without its own fault: it begins and ends with each renewal.
            ConditionType::Reconciling => false,
            ConditionType::Ready => {
                self.status == ConditionStatus::False
                    && self.reason.known() != Some(Reason::Pending)
            }
            _ => self.status == ConditionStatus::True,
        }
    }
}
