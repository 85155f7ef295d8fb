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

/// A watch that has not shown one of our own writes for this long is dead, whatever the connection says: the server
/// ends each watch after 200 s, and a new one begins with what was missed.
const DEAF: SignedDuration = SignedDuration::from_mins(10);

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
    watches: Mutex<HashMap<&'static str, Watched>>,
    standing_by: AtomicBool,
}

/// One watch.
#[derive(Clone, Copy, Debug, Default)]
struct Watched {
    /// When it last brought anything, an error included.
    heard: Option<Timestamp>,
    /// Since when it owes the echo of a write.
    owes: Option<Timestamp>,
}

impl Health {
    /// A watch has brought something, or has failed and is opened again.
    pub fn heard(&self, stream: &'static str, now: Timestamp) {
        let heard = Some(now);
        lock(&self.watches).insert(stream, Watched { heard, owes: None });
    }

    /// An object that this watch must show has been written.
    pub fn wrote(&self, stream: &'static str, now: Timestamp) {
        let mut watches = lock(&self.watches);
        let watched = watches.entry(stream).or_default();
        // A write in the very second of an event may be that event: the next one tells.
        watched.owes.get_or_insert(now);
    }

    /// When each watch last brought anything.
    pub fn watches(&self) -> Vec<(&'static str, Timestamp)> {
        let watches = lock(&self.watches);
        let heard = watches.iter().filter_map(|(s, w)| Some((*s, w.heard?)));
        heard.collect()
    }

    /// A credential will be looked at no later than `at`, if it is still there: `exists` is asked under the lock
    /// that [`Health::forget`] takes after the store has lost the object, so that none that is gone counts as late.
    pub fn scheduled(&self, key: Key, at: Timestamp, exists: impl FnOnce() -> bool) {
        let mut due = lock(&self.due);
        if exists() {
            due.insert(key, at);
        }
    }

    /// Is a credential to be looked at again? Not before its first look, and not once it is gone.
    pub fn expects(&self, key: &Key) -> bool {
        lock(&self.due).contains_key(key)
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
        for (stream, watched) in lock(&self.watches).iter() {
            let silent = watched.owes.map(|since| now.duration_since(since));
            if let Some(silent) = silent.filter(|s| *s > DEAF) {
                return Err(format!(
                    "the watch of {stream} has not shown what was written {} s ago",
                    silent.as_secs()
                ));
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::at;

    #[test]
    fn a_watch_that_does_not_show_our_own_writes_is_dead_and_a_quiet_one_is_not() {
        let health = Health::default();
        health.heard("secrets", at(0));
        assert!(health.alive(at(1_000_000)).is_ok(), "nothing is owed");
        health.wrote("secrets", at(10));
        health.wrote("secrets", at(500));
        assert!(health.alive(at(600)).is_ok());
        let told = health.alive(at(611)).unwrap_err();
        assert!(told.contains("secrets") && told.contains("601"), "{told}");
        // Anything at all shows that it lives; an error is told elsewhere.
        health.heard("secrets", at(612));
        assert!(health.alive(at(10_000)).is_ok());
        assert_eq!(health.watches(), [("secrets", at(612))]);
    }
}
