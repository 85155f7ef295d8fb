//! The result of a reconciliation: the label of its metric, and the time of the next one.

use std::time::Duration;

/// The result of a reconciliation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    /// The label of the metric.
    pub(super) outcome: &'static str,
    /// When the credential is reconciled again at the latest. `None`: only after a change.
    pub(super) requeue: Option<Duration>,
}

impl Ended {
    pub(super) const fn after(outcome: &'static str, wait: Duration) -> Self {
        Self {
            outcome,
            requeue: Some(wait),
        }
    }
}
