//! Secrets that the cache may be wrong about.
//!
//! Doubts come from evidence: an own write whose Secret a list lacks, an own write that the watch does not show, and a
//! write that the server refuses because the Secret is not what the cache says.

use std::{collections::BTreeSet, sync::Mutex};

use tokio::sync::Notify;

use super::index::SecretName;
use crate::controller::locks::lock;

/// The Secrets in doubt, each once.
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

    /// How many are in doubt.
    pub(in crate::controller) fn len(&self) -> usize {
        lock(&self.names).len()
    }
}
