//! Turns for work that waits for issuers: each namespace has a lane of its own, so that one whose issuers never answer
//! holds up nobody but itself.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::controller::context::lock;

/// Lanes, made as they are needed.
#[derive(Clone)]
pub(in crate::controller) struct Lanes {
    by_namespace: Arc<Mutex<HashMap<String, Arc<Semaphore>>>>,
    all: Arc<Semaphore>,
    width: usize,
}

/// The right to work, until it is dropped.
pub(in crate::controller) struct Turn(
    #[expect(dead_code, reason = "held, not read")] [Option<OwnedSemaphorePermit>; 2],
);

impl Lanes {
    /// `all` at once, `width` of them in one lane.
    pub(in crate::controller) fn new(all: usize, width: usize) -> Self {
        Self {
            by_namespace: Arc::default(),
            all: Arc::new(Semaphore::new(all)),
            width,
        }
    }

    /// A turn in the lane of a namespace, if there is one at once.
    pub(in crate::controller) fn try_turn(&self, namespace: &str) -> Option<Turn> {
        let lane = self.lane(namespace);
        let place = lane.try_acquire_owned().ok()?;
        let turn = match namespace {
            "" => None,
            _ => Some(Arc::clone(&self.all).try_acquire_owned().ok()?),
        };
        Some(Turn([Some(place), turn]))
    }

    /// Waits for a turn in the lane of a namespace. What belongs to the cluster has a lane as well, and takes nobody's
    /// place: its name is empty.
    pub(in crate::controller) async fn turn(&self, namespace: &str) -> Turn {
        let lane = self.lane(namespace);
        // Neither is ever closed.
        let place = lane.acquire_owned().await.ok();
        let turn = if namespace.is_empty() {
            None
        } else {
            Arc::clone(&self.all).acquire_owned().await.ok()
        };
        Turn([place, turn])
    }

    fn lane(&self, namespace: &str) -> Arc<Semaphore> {
        let mut lanes = lock(&self.by_namespace);
        lanes.retain(|_, lane| Arc::strong_count(lane) > 1);
        let lane = lanes.entry(namespace.to_owned());
        Arc::clone(lane.or_insert_with(|| Arc::new(Semaphore::new(self.width))))
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_namespace_waits_for_itself_and_the_cluster_for_no_namespace() {
        let lanes = Lanes::new(6, 2);
        let mut turns = vec![lanes.turn("a").await, lanes.turn("a").await];
        let mut late = Box::pin(lanes.turn("a"));
        assert!(late.as_mut().now_or_never().is_none(), "its lane is full");
        for namespace in ["b", "b", "c", "c"] {
            turns.push(lanes.turn(namespace).now_or_never().unwrap());
        }
        let mut last = Box::pin(lanes.turn("d"));
        assert!(
            last.as_mut().now_or_never().is_none(),
            "all places are taken"
        );
        assert!(lanes.turn("").now_or_never().is_some());
        turns.clear();
        assert!(late.now_or_never().is_some());
        assert!(last.now_or_never().is_some());
    }
}
