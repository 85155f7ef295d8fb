//! Barriers at which a test may stop a request, so that it can act exactly while a POST is in flight.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// Where a request can be stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// After the request was read and recorded, before it is judged.
    Received,
    /// After the token was minted and recorded, before anything is sent.
    BeforeAnswer,
}

struct Barrier {
    client: String,
    point: Point,
    reached: watch::Sender<usize>,
    open: watch::Sender<bool>,
}

/// A barrier that is shut. Every request of its client that comes to it waits, until [`Hold::release`] or until the
/// hold is dropped.
#[must_use = "a hold that is dropped holds nothing"]
pub struct Hold(Arc<Barrier>);

impl Hold {
    /// Waits until a request has come to the barrier.
    pub async fn reached(&self) {
        self.reached_by(1).await;
    }

    /// Waits until so many requests have come to the barrier, those included that have left since.
    pub async fn reached_by(&self, requests: usize) {
        let mut reached = self.0.reached.subscribe();
        // The sender lives in `self`, so the only way out is the count.
        let _ = reached.wait_for(|count| *count >= requests).await;
    }

    /// Opens the barrier for good.
    pub fn release(&self) {
        self.0.open.send_replace(true);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.release();
    }
}

/// All barriers.
#[derive(Default)]
pub(crate) struct Holds(Mutex<Vec<Arc<Barrier>>>);

impl Holds {
    pub(crate) fn shut(&self, client: &str, point: Point) -> Hold {
        let barrier = Arc::new(Barrier {
            client: client.to_owned(),
            point,
            reached: watch::Sender::new(0),
            open: watch::Sender::new(false),
        });
        let mut barriers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        barriers.retain(|barrier| !*barrier.open.borrow());
        barriers.push(Arc::clone(&barrier));
        Hold(barrier)
    }

    /// Goes through every barrier at this point, waiting at those that are shut.
    pub(crate) async fn pass(&self, client: Option<&str>, point: Point) {
        let barriers: Vec<_> = {
            let barriers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let concerns = |barrier: &&Arc<Barrier>| {
                barrier.point == point
                    && (barrier.client == "*" || Some(barrier.client.as_str()) == client)
            };
            barriers.iter().filter(concerns).map(Arc::clone).collect()
        };
        for barrier in barriers {
            let mut open = barrier.open.subscribe();
            if !*open.borrow() {
                barrier.reached.send_modify(|count| *count += 1);
                let _ = open.wait_for(|open| *open).await;
            }
        }
    }
}
