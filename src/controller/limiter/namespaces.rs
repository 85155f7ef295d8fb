//! A concurrency limit for each namespace, for work that waits for issuers: a namespace whose issuers never answer does not delay other namespaces.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::controller::locks::lock;

/// The limits of each namespace and the common limit. A semaphore exists while it is in use.
#[derive(Clone)]
pub(in crate::controller) struct NamespaceLimiter {
    by_namespace: Arc<Mutex<HashMap<String, Arc<Semaphore>>>>,
    all: Arc<Semaphore>,
    each: usize,
}

/// The permits of the namespace and of the common limit, until it is dropped.
pub(in crate::controller) struct NamespacePermit(
    #[expect(dead_code, reason = "held, not read")] [Option<OwnedSemaphorePermit>; 2],
);

impl NamespaceLimiter {
    /// At most `all` in total, and at most `each` in one namespace.
    pub(in crate::controller) fn new(all: usize, each: usize) -> Self {
        Self {
            by_namespace: Arc::default(),
            all: Arc::new(Semaphore::new(all)),
            each,
        }
    }

    /// Waits for a permit for a namespace. Cluster-scoped work has the empty name: it has its own limit, and takes no permit from `all`.
    pub(in crate::controller) async fn acquire(&self, namespace: &str) -> NamespacePermit {
        let own = self.semaphore(namespace);
        // Neither semaphore is ever closed.
        let own = own.acquire_owned().await.ok();
        let of_all = if namespace.is_empty() {
            None
        } else {
            Arc::clone(&self.all).acquire_owned().await.ok()
        };
        NamespacePermit([own, of_all])
    }

    fn semaphore(&self, namespace: &str) -> Arc<Semaphore> {
        let mut all = lock(&self.by_namespace);
        all.retain(|_, semaphore| Arc::strong_count(semaphore) > 1);
        let semaphore = all.entry(namespace.to_owned());
        Arc::clone(semaphore.or_insert_with(|| Arc::new(Semaphore::new(self.each))))
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, poll};

    use super::*;

    #[tokio::test]
    async fn a_namespace_waits_for_itself_and_the_cluster_for_no_namespace() {
        let limiter = NamespaceLimiter::new(6, 2);
        let mut permits = vec![limiter.acquire("a").await, limiter.acquire("a").await];
        let mut late = Box::pin(limiter.acquire("a"));
        assert!(
            late.as_mut().now_or_never().is_none(),
            "its namespace has none left"
        );
        for namespace in ["b", "b", "c", "c"] {
            permits.push(limiter.acquire(namespace).now_or_never().unwrap());
        }
        let mut last = Box::pin(limiter.acquire("d"));
        assert!(
            last.as_mut().now_or_never().is_none(),
            "all permits are taken"
        );
        assert!(limiter.acquire("").now_or_never().is_some());
        permits.clear();
        assert!(late.now_or_never().is_some());
        assert!(last.now_or_never().is_some());
    }

    #[tokio::test]
    async fn one_client_computes_and_each_namespace_waits_with_one() {
        let limiter = NamespaceLimiter::new(1, 1);
        let first = limiter.acquire("a").await;
        let mut of_a: Vec<_> = (0..3).map(|_| Box::pin(limiter.acquire("a"))).collect();
        for turn in &mut of_a {
            assert!(poll!(turn).is_pending());
        }
        let mut of_b = Box::pin(limiter.acquire("b"));
        assert!(poll!(&mut of_b).is_pending());
        drop(first);
        // The second client of a is queued behind the only one of b.
        assert!(poll!(&mut of_a[0]).is_pending());
        let second = of_b.await;
        assert!(poll!(&mut of_a[0]).is_pending());
        drop(second);
        assert!(poll!(&mut of_a[0]).is_ready());
        assert_eq!(lock(&limiter.by_namespace).len(), 2);
        drop(of_a);
        drop(limiter.acquire("c").await);
        assert_eq!(lock(&limiter.by_namespace).len(), 1);
    }
}
