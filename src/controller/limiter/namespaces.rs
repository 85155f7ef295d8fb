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
    use futures::FutureExt;

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
}
