//! The shell around the budgets of [`crate::issuer::limits`]: one budget an issuer, and a task that calls those in
//! who stand in line. Before a budget stand the [shares](crate::issuer::shares) of the namespaces in all requests.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::Timestamp;
use tokio::sync::Notify;

use super::{Triggers, context::lock};
use crate::{
    api::IssuerKind,
    clock::Clock,
    credential::{Issuer, IssuerId, Key},
    issuer::{
        limits::{Budget, Entry},
        line::Urgency,
        shares::{Holder, Shares},
    },
};

/// How often a line is looked at while there is one: the grain of the rate limit.
const TICK: Duration = Duration::from_millis(5);

/// How often it is checked while nobody waits: what nobody needs any more goes.
const IDLE: Duration = Duration::from_secs(30);

/// All budgets.
pub(super) struct Gate {
    budgets: Mutex<HashMap<IssuerId, Budget<Key>>>,
    shares: Mutex<Shares<Key>>,
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
    holder: Holder,
}

impl Gate {
    pub(super) fn new(triggers: Triggers, clock: Arc<dyn Clock>, places: u16) -> Arc<Self> {
        Arc::new(Self {
            budgets: Mutex::default(),
            shares: Mutex::new(Shares::new(places)),
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
        let holder = Holder {
            namespace: key.namespace.clone(),
            own: matches!(&issuer.id, IssuerId::Object(IssuerKind::TokenIssuer, ..)),
        };
        if !lock(&self.shares).enter(key, &holder, urgency, now) {
            return Admission::Wait;
        }
        let mut budgets = lock(&self.budgets);
        let budget = budgets
            .entry(issuer.id.clone())
            .or_insert_with(|| Budget::new(issuer.requests_per_second, issuer.max_in_flight, now));
        budget.configure(issuer.requests_per_second, issuer.max_in_flight);
        let answer = match budget.enter(key, &key.namespace, urgency, now) {
            Entry::Go => {
                return Admission::Go(Permit {
                    gate: Arc::clone(self),
                    issuer: issuer.id.clone(),
                    holder,
                });
            }
            Entry::Wait => {
                self.waiting.notify_one();
                Admission::Wait
            }
            Entry::Paused(until) => Admission::Paused(until),
        };
        drop(budgets);
        self.give_back(&holder);
        answer
    }

    fn give_back(&self, holder: &Holder) {
        let called = {
            let mut shares = lock(&self.shares);
            shares.give_back(holder);
            shares.call(self.clock.now())
        };
        for key in &called {
            self.triggers.send(key);
        }
    }

    /// The issuer asked to be left alone.
    pub(super) fn pause(&self, issuer: &IssuerId, until: Timestamp) {
        let mut budgets = lock(&self.budgets);
        if let Some(budget) = budgets.get_mut(issuer) {
            budget.pause(until);
        }
    }

    /// The issuer has answered as one that is well.
    pub(super) fn answered(&self, issuer: &IssuerId) {
        if let Some(budget) = lock(&self.budgets).get_mut(issuer) {
            budget.answered();
        }
    }

    /// How many rate limiters there are, and how many credentials wait for a place or have been given one.
    pub(super) fn sizes(&self) -> (usize, usize) {
        (lock(&self.budgets).len(), lock(&self.shares).len())
    }

    /// A credential is gone.
    pub(super) fn forget(&self, key: &Key) {
        lock(&self.shares).forget(key);
        let mut budgets = lock(&self.budgets);
        budgets.values_mut().for_each(|b| b.forget(key));
    }

    /// Calls in who stands in line, for ever. Sleeps while nobody does.
    pub(super) async fn run(self: Arc<Self>) {
        loop {
            if self.admit() {
                tokio::time::sleep(TICK).await;
            } else {
                // Either way there is something to do.
                let _ = tokio::time::timeout(IDLE, self.waiting.notified()).await;
            }
        }
    }

    /// Calls in those who may come; says whether somebody still waits.
    fn admit(&self) -> bool {
        let now = self.clock.now();
        let mut budgets = lock(&self.budgets);
        let called: Vec<Key> = budgets
            .values_mut()
            // Also where nobody waits: an admission that is not used ends.
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
        let gate = &self.gate;
        if let Some(budget) = lock(&gate.budgets).get_mut(&self.issuer) {
            budget.leave();
            if budget.has_line() {
                gate.waiting.notify_one();
            }
        }
        gate.give_back(&self.holder);
    }
}
