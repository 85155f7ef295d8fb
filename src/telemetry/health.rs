//! Alive means making progress: no credential waits long past the moment at which it was to be looked at.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
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
    streams: Mutex<HashMap<&'static str, Stream>>,
}

#[derive(Clone, Copy)]
struct Stream {
    listed: bool,
    heard: Timestamp,
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

    /// A watch said something; `listed` once its first list is complete.
    pub fn heard(&self, stream: &'static str, listed: bool, now: Timestamp) {
        let mut streams = lock(&self.streams);
        let entry = streams.entry(stream).or_insert(Stream {
            listed: false,
            heard: now,
        });
        entry.listed |= listed;
        entry.heard = now;
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

    /// Time since each watch said anything.
    pub fn ages(&self, now: Timestamp) -> Vec<(&'static str, i64)> {
        lock(&self.streams)
            .iter()
            .map(|(name, s)| (*name, now.duration_since(s.heard).as_secs()))
            .collect()
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

    /// Are all first lists complete?
    ///
    /// # Errors
    /// The streams that are missing.
    pub fn ready(&self) -> Result<(), String> {
        let streams = lock(&self.streams);
        let missing: Vec<&str> = STREAMS
            .into_iter()
            .filter(|s| !streams.get(s).is_some_and(|s| s.listed))
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
