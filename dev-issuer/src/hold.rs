//! Gates at which a test may stop a request, so that it can act exactly while a POST is in flight.

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

struct Gate {
    client: String,
    point: Point,
    reached: watch::Sender<usize>,
    open: watch::Sender<bool>,
}

/// A gate that is shut. Every request of its client that comes to it waits, until [`Hold::release`] or until the
/// hold is dropped.
#[must_use = "a hold that is dropped holds nothing"]
pub struct Hold(Arc<Gate>);

impl Hold {
    /// Waits until a request has come to the gate.
    pub async fn reached(&self) {
        self.reached_by(1).await;
    }

    /// Waits until so many requests have come to the gate, those included that have left since.
    pub async fn reached_by(&self, requests: usize) {
        let mut reached = self.0.reached.subscribe();
        // The sender lives in `self`, so the only way out is the count.
        let _ = reached.wait_for(|count| *count >= requests).await;
    }

    /// Opens the gate for good.
    pub fn release(&self) {
        self.0.open.send_replace(true);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.release();
    }
}

/// All gates.
#[derive(Default)]
pub(crate) struct Holds(Mutex<Vec<Arc<Gate>>>);

impl Holds {
    pub(crate) fn shut(&self, client: &str, point: Point) -> Hold {
        let gate = Arc::new(Gate {
            client: client.to_owned(),
            point,
            reached: watch::Sender::new(0),
            open: watch::Sender::new(false),
        });
        let mut gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        gates.retain(|gate| !*gate.open.borrow());
        gates.push(Arc::clone(&gate));
        Hold(gate)
    }

    /// Goes through every gate at this point, waiting at those that are shut.
    pub(crate) async fn pass(&self, client: Option<&str>, point: Point) {
        let gates: Vec<_> = {
            let gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let concerns = |gate: &&Arc<Gate>| {
                gate.point == point && (gate.client == "*" || Some(gate.client.as_str()) == client)
            };
            gates.iter().filter(concerns).map(Arc::clone).collect()
        };
        for gate in gates {
            let mut open = gate.open.subscribe();
            if !*open.borrow() {
                gate.reached.send_modify(|count| *count += 1);
                let _ = open.wait_for(|open| *open).await;
            }
        }
    }
}
