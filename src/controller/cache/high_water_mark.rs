//! The highest resourceVersion that the watches have shown.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// The highest resourceVersion of a credential that was seen.
#[derive(Default)]
pub(in crate::controller) struct HighWaterMark {
    pub(super) version: AtomicU64,
    pub(super) suspected: Notify,
}

impl HighWaterMark {
    /// A credential was seen at this version.
    pub(in crate::controller) fn advance(&self, version: Option<&str>) {
        if let Some(version) = version.and_then(|v| v.parse().ok()) {
            self.version.fetch_max(version, Ordering::Relaxed);
        }
    }

    /// A watch broke. No backup is restored without that.
    pub(in crate::controller) fn suspect(&self) {
        self.suspected.notify_one();
    }
}
