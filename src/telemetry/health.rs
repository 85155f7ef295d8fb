//! Alive means making progress: no credential waits long past the moment at which it was to be looked at.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use jiff::{SignedDuration, Timestamp};

use crate::credential::Key;

/// A look that is this late means that the process is stuck, and a restart helps.
const STUCK: SignedDuration = SignedDuration::from_mins(5);

/// The streams that must have their first list before anything is decided.
pub const STREAMS: [&str; 5] = [
    "credentials",
    "secrets",
    "tokenissuers",
    "clustertokenissuers",
    "namespaces",
];

/// Progress of the process.
#[derive(Default)]
pub struct Health {
    due: Mutex<HashMap<Key, Timestamp>>,
    listed: Mutex<HashSet<&'static str>>,
    standing_by: AtomicBool,
}

impl Health {
    /// A credential will be looked at no later than `at`, if it is still there: `exists` is asked under the lock
    /// that [`Health::forget`] takes after the store has lost the object, so that none that is gone counts as late.
    pub fn scheduled(&self, key: Key, at: Timestamp, exists: impl FnOnce() -> bool) {
        let mut due = lock(&self.due);
        if exists() {
            due.insert(key, at);
        }
    }

    /// A credential is being looked at, or is gone.
    pub fn forget(&self, key: &Key) {
        lock(&self.due).remove(key);
    }

    /// A watch has had its first list.
    pub fn listed(&self, stream: &'static str) {
        lock(&self.listed).insert(stream);
    }

    /// Another operator leads; this one is ready to take over and does nothing else.
    pub fn stands_by(&self, on: bool) {
        self.standing_by.store(on, Ordering::Relaxed);
    }

    /// Has this watch had its first list?
    pub fn is_listed(&self, stream: &'static str) -> bool {
        lock(&self.listed).contains(stream)
    }

    /// How late the latest look is.
    pub fn overdue(&self, now: Timestamp) -> SignedDuration {
        let due = lock(&self.due);
        due.values()
            .map(|at| now.duration_since(*at))
            .max()
            .unwrap_or_default()
            .max(SignedDuration::ZERO)
    }

    /// Is there progress?
    ///
    /// # Errors
    /// What is stuck, in words.
    pub fn alive(&self, now: Timestamp) -> Result<(), String> {
        let late = self.overdue(now);
        if late > STUCK {
            return Err(format!(
                "a credential waits {} s past the time at which it was to be looked at",
                late.as_secs()
            ));
        }
        Ok(())
    }

    /// Are all first lists complete? A standby has none to wait for.
    ///
    /// # Errors
    /// The streams that are missing.
    pub fn ready(&self) -> Result<(), String> {
        if self.standing_by.load(Ordering::Relaxed) {
            return Ok(());
        }
        let listed = lock(&self.listed);
        let missing: Vec<&str> = STREAMS
            .into_iter()
            .filter(|s| !listed.contains(s))
            .collect();
        if missing.is_empty() {
            Ok(())
        } else {
            Err(format!(
                "waiting for the first list of {}",
                missing.join(", ")
            ))
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
