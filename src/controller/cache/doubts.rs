//! Secrets about which the cache may be wrong.
//!
//! The reasons: a list does not contain an own write, the watch does not deliver an own write, or the server rejects a write
//! because the Secret is not in the state that the cache has.

use std::{collections::BTreeSet, sync::Mutex};

use tokio::sync::Notify;

use super::index::SecretName;
use crate::controller::locks::lock;

/// The Secrets in doubt, without duplicates.
#[derive(Default)]
pub(in crate::controller) struct Doubts {
    pub(super) names: Mutex<BTreeSet<SecretName>>,
    pub(super) raised: Notify,
}

impl Doubts {
    /// This Secret must be read.
    pub(in crate::controller) fn raise(&self, name: SecretName) {
        lock(&self.names).insert(name);
        self.raised.notify_one();
    }

    /// The number of Secrets in doubt.
    pub(in crate::controller) fn len(&self) -> usize {
        lock(&self.names).len()
    }
}
