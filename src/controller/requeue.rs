//! Triggers: requests to reconcile a credential.

use kube::{Resource, runtime::reflector::ObjectRef};
use tokio::sync::mpsc;

use super::cache::packed::PackedCredential;
use crate::credential::Key;

/// Requeues credentials.
#[derive(Clone)]
pub(super) struct Triggers(mpsc::UnboundedSender<ObjectRef<PackedCredential>>);

impl Triggers {
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<ObjectRef<PackedCredential>>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), receiver)
    }

    /// The channel is closed only when the process shuts down.
    pub(super) fn send(&self, key: &Key) {
        let _ = self.0.send(reference(key));
    }
}

/// The key of a credential in the store.
pub(super) fn reference(key: &Key) -> ObjectRef<PackedCredential> {
    ObjectRef::new(&key.name).within(&key.namespace)
}

/// The key of an object.
pub(super) fn key_of<K: Resource>(object: &K) -> Key {
    Key {
        namespace: object.meta().namespace.clone().unwrap_or_default(),
        name: object.meta().name.clone().unwrap_or_default(),
    }
}
