//! Turns for computations with private keys. A user decides how many clients have a rotation and which keys they have, so such computations
//! run one at a time, and a namespace waits with one client at a time.

use crate::controller::limiter::namespaces::NamespaceLimiter;

/// The turns of one kind of computation.
pub(in crate::controller) struct KeyWork(NamespaceLimiter);

impl Default for KeyWork {
    fn default() -> Self {
        Self(NamespaceLimiter::new(1, 1))
    }
}

impl KeyWork {
    /// Runs a computation for a client of this namespace, without occupying the thread of the other tasks. `None`: it panicked.
    pub(in crate::controller) async fn run<T: Send + 'static>(
        &self,
        namespace: &str,
        compute: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let turn = self.0.acquire(namespace).await;
        let computed = tokio::task::spawn_blocking(move || {
            // If the caller is gone, the computation still occupies a core.
            let _turn = turn;
            compute()
        });
        computed.await.ok()
    }
}
