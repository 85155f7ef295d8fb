//! Wakes credentials up. One that stands in an issuer's line may have kept its look open: it is told there.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use kube::runtime::reflector::ObjectRef;
use tokio::{
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
    time::Instant,
};

use super::{
    context::{lock, reference},
    kept::Kept,
};
use crate::credential::Key;

/// So many looks wait where they are, half of all that are open at once (`LOOKS`): whoever is new finds a place at any
/// time.
const SEATS: usize = 128;
/// For so long. Most lines are those of a round of renewals, and shorter.
const LONGEST: Duration = Duration::from_secs(1);

/// The way to wake a credential.
#[derive(Clone)]
pub(super) struct Triggers {
    looks: UnboundedSender<ObjectRef<Kept>>,
    seats: Arc<Mutex<HashMap<Key, UnboundedSender<Call>>>>,
}

/// What a look that waits is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Call {
    /// It is its turn.
    Turn,
    /// Something that it has seen is different now.
    Changed,
}

impl Triggers {
    pub(super) fn new() -> (Self, UnboundedReceiver<ObjectRef<Kept>>) {
        let (looks, woken) = mpsc::unbounded_channel();
        let seats = Arc::default();
        (Self { looks, seats }, woken)
    }

    /// Something of a credential changed. A closed channel means that the process is ending.
    pub(super) fn send(&self, key: &Key) {
        if let Some(seat) = lock(&self.seats).get(key) {
            let _ = seat.send(Call::Changed);
        }
        let _ = self.looks.send(reference(key));
    }

    /// It is a credential's turn in a line.
    pub(super) fn call(&self, key: &Key) {
        let here = lock(&self.seats)
            .get(key)
            .is_some_and(|seat| seat.send(Call::Turn).is_ok());
        if !here {
            self.send(key);
        }
    }

    /// A place to wait at, if there is one. To look anew costs a fifth of a renewal.
    pub(super) fn seat(&self, key: &Key) -> Option<Seat> {
        let mut seats = lock(&self.seats);
        if seats.len() >= SEATS {
            return None;
        }
        let (sender, calls) = mpsc::unbounded_channel();
        seats.insert(key.clone(), sender);
        Some(Seat {
            triggers: self.clone(),
            key: key.clone(),
            calls,
            until: Instant::now() + LONGEST,
        })
    }
}

/// A look's place. It is given back by dropping it.
pub(super) struct Seat {
    triggers: Triggers,
    key: Key,
    calls: UnboundedReceiver<Call>,
    until: Instant,
}

/// How waiting ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Waited {
    /// With a call: ask again.
    Called,
    /// With a change: look again.
    Changed,
    /// It took too long; the call will come as a trigger.
    InVain,
}

impl Seat {
    /// Waits for a call.
    pub(super) async fn wait(&mut self) -> Waited {
        match tokio::time::timeout_at(self.until, self.calls.recv()).await {
            Ok(Some(Call::Turn)) => Waited::Called,
            Ok(Some(Call::Changed) | None) => Waited::Changed,
            Err(_) => Waited::InVain,
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        lock(&self.triggers.seats).remove(&self.key);
        // A call that came too late to be heard is passed on.
        while let Ok(call) = self.calls.try_recv() {
            if call == Call::Turn {
                self.triggers.send(&self.key);
            }
        }
    }
}
