//! Turns for computations with private keys. A user decides how many clients have a rotation and which keys they have, so such computations
//! run one at a time, and a namespace waits with one client at a time.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::controller::locks::lock;

/// The turns of one kind of computation.
pub(in crate::controller) struct KeyWork {
    all: Arc<Semaphore>,
    /// By namespace.
    own: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// Permits one computation until it is dropped.
struct Turn {
    _all: OwnedSemaphorePermit,
    _own: OwnedSemaphorePermit,
}

impl Default for KeyWork {
    fn default() -> Self {
        Self {
            all: Arc::new(Semaphore::new(1)),
            own: Mutex::default(),
        }
    }
}

impl KeyWork {
    /// Runs a computation for a client of this namespace, without occupying the thread of the other tasks. `None`: it panicked.
    pub(in crate::controller) async fn run<T: Send + 'static>(
        &self,
        namespace: &str,
        compute: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let turn = self.turn(namespace).await?;
        let computed = tokio::task::spawn_blocking(move || {
            // If the caller is gone, the computation still occupies a core.
            let _turn = turn;
            compute()
        });
        computed.await.ok()
    }

    /// Waits for the turn of a client of this namespace. Permits are given in the order of the requests.
    async fn turn(&self, namespace: &str) -> Option<Turn> {
        let own = {
            let mut known = lock(&self.own);
            // Nobody waits for the others or holds their permit.
            known.retain(|_, own| Arc::strong_count(own) > 1);
            let own = known.entry(namespace.to_owned());
            Arc::clone(own.or_insert_with(|| Arc::new(Semaphore::new(1))))
        };
        let own = own.acquire_owned().await.ok()?;
        let all = Arc::clone(&self.all).acquire_owned().await.ok()?;
        Some(Turn {
            _all: all,
            _own: own,
        })
    }
}

#[cfg(test)]
mod tests {
    use futures::poll;

    use super::*;

    #[tokio::test]
    async fn one_client_computes_and_each_namespace_waits_with_one() {
        let work = KeyWork::default();
        let first = work.turn("a").await;
        let mut of_a: Vec<_> = (0..3).map(|_| Box::pin(work.turn("a"))).collect();
        for turn in &mut of_a {
            assert!(poll!(turn).is_pending());
        }
        let mut of_b = Box::pin(work.turn("b"));
        assert!(poll!(&mut of_b).is_pending());
        drop(first);
        // The second client of a is queued behind the only one of b.
        assert!(poll!(&mut of_a[0]).is_pending());
        let second = of_b.await;
        assert!(second.is_some());
        assert!(poll!(&mut of_a[0]).is_pending());
        drop(second);
        assert!(poll!(&mut of_a[0]).is_ready());
        assert_eq!(lock(&work.own).len(), 2);
        drop(of_a);
        assert!(work.turn("c").await.is_some());
        assert_eq!(lock(&work.own).len(), 1);
    }
}
