//! The highest resourceVersion that the watches have delivered.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// The highest observed resourceVersion of a credential.
#[derive(Default)]
pub(in crate::controller) struct HighWaterMark {
    pub(super) version: AtomicU64,
    pub(super) suspected: Notify,
}

impl HighWaterMark {
    /// Records that a credential was observed at this version.
    pub(in crate::controller) fn advance(&self, version: Option<&str>) {
        if let Some(version) = version.and_then(|v| v.parse().ok()) {
            self.version.fetch_max(version, Ordering::Relaxed);
        }
    }

    /// Records that a watch was interrupted. A restore from a backup always interrupts the watches.
    pub(in crate::controller) fn suspect(&self) {
        self.suspected.notify_one();
    }
}
