//! The shell around the budgets of [`crate::issuer::limits`]: one budget an issuer, and a task that calls those in
//! who stand in line.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio::sync::Notify;

use super::Triggers;
use crate::{
    clock::Clock,
    credential::{Issuer, IssuerId, Key},
    issuer::limits::{Budget, Entry, Urgency},
};

/// How often a line is looked at while there is one: the grain of the rate limit.
const TICK: Duration = Duration::from_millis(20);

/// All budgets.
pub(super) struct Gate {
    budgets: Mutex<HashMap<IssuerId, Budget<Key>>>,
    waiting: Notify,
    triggers: Triggers,
    clock: Arc<dyn Clock>,
}

/// What asking came to.
pub(super) enum Admission {
    /// Ask the issuer; dropping the permit ends the request.
    Go(Permit),
    /// In line; a trigger will come.
    Wait,
    /// The issuer asked to be left alone until then.
    Paused(Timestamp),
}

/// The right to one request.
pub(super) struct Permit {
    gate: Arc<Gate>,
    issuer: IssuerId,
}

impl Gate {
    pub(super) fn new(triggers: Triggers, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            budgets: Mutex::default(),
            waiting: Notify::new(),
            triggers,
            clock,
        })
    }

    /// Asks for one request.
    pub(super) fn enter(
        self: &Arc<Self>,
        issuer: &Issuer,
        key: &Key,
        urgency: Urgency,
    ) -> Admission {
        let now = self.clock.now();
        let mut budgets = self.budgets.lock().unwrap_or_else(PoisonError::into_inner);
        let budget = budgets
            .entry(issuer.id.clone())
            .or_insert_with(|| Budget::new(issuer.requests_per_second, issuer.max_in_flight, now));
        budget.configure(issuer.requests_per_second, issuer.max_in_flight);
        match budget.enter(key, urgency, now) {
            Entry::Go => Admission::Go(Permit {
                gate: Arc::clone(self),
                issuer: issuer.id.clone(),
            }),
            Entry::Wait => {
                self.waiting.notify_one();
                Admission::Wait
            }
            Entry::Paused(until) => Admission::Paused(until),
        }
    }

    /// The issuer asked to be left alone.
    pub(super) fn pause(&self, issuer: &IssuerId, until: Timestamp) {
        let mut budgets = self.budgets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(budget) = budgets.get_mut(issuer) {
            budget.pause(until);
        }
    }

    /// A credential is gone.
    pub(super) fn forget(&self, key: &Key) {
        let mut budgets = self.budgets.lock().unwrap_or_else(PoisonError::into_inner);
        budgets.values_mut().for_each(|b| b.forget(key));
    }

    /// Calls in who stands in line, for ever. Sleeps while nobody does.
    pub(super) async fn run(self: Arc<Self>) {
        loop {
            if self.admit() {
                tokio::time::sleep(TICK).await;
            } else {
                self.waiting.notified().await;
            }
        }
    }

    /// Calls in those who may come; says whether somebody still waits.
    fn admit(&self) -> bool {
        let now = self.clock.now();
        let mut budgets = self.budgets.lock().unwrap_or_else(PoisonError::into_inner);
        let called: Vec<Key> = budgets
            .values_mut()
            .filter(|b| b.has_line())
            .flat_map(|b| b.admit(now))
            .collect();
        let waiting = budgets.values().any(Budget::has_line);
        budgets.retain(|_, b| !b.is_idle(now));
        drop(budgets);
        for key in called {
            self.triggers.send(&key);
        }
        waiting
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut budgets = self
            .gate
            .budgets
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(budget) = budgets.get_mut(&self.issuer) {
            budget.leave();
            if budget.has_line() {
                self.gate.waiting.notify_one();
            }
        }
    }
}
