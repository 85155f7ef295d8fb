//! Liveness means progress: no reconcile is long overdue.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp};

use crate::credential::Key;

/// A reconcile that is this late shows that the process is stuck and needs a restart.
const OVERDUE_LIMIT: SignedDuration = SignedDuration::from_mins(5);

/// A watch that has not shown one of our writes for this long is dead, even if its connection is open: the server
/// ends each watch after 200 s, and a new one starts with the missed events.
const ECHO_TIMEOUT: SignedDuration = SignedDuration::from_mins(10);

/// A watch that fails for this long after its list is reported. A shorter interruption is normal.
const BLIND: SignedDuration = SignedDuration::from_mins(1);

/// A watch that fails within this time after it was opened has shown nothing.
const EARLY: SignedDuration = SignedDuration::from_secs(5);

/// The streams whose first list must be complete before any decision.
pub const STREAMS: [&str; 6] = [
    "credentials",
    "secrets",
    "apiclients",
    "tokenissuers",
    "clustertokenissuers",
    "namespaces",
];

/// Progress of the process.
#[derive(Default)]
pub struct Health {
    due: Mutex<HashMap<Key, Timestamp>>,
    listed: Mutex<HashSet<&'static str>>,
    watches: Mutex<HashMap<&'static str, Timestamp>>,
    /// Each watch that was open or has failed, by stream and namespace (empty: all).
    failing: Mutex<HashMap<(&'static str, String), Interruption>>,
    echoes: Mutex<HashMap<(&'static str, ObjectName), Echo>>,
    /// Whether this process could work if it led; `None` if it leads.
    standby: Mutex<Option<Result<(), String>>>,
    /// Why a standby cannot acquire the Lease, although no other operator has it.
    lease: Mutex<Option<String>>,
}

/// Namespace and name of an object.
type ObjectName = (String, String);

/// A write that the watch has not shown yet.
#[derive(Debug)]
struct Echo {
    version: u64,
    since: Timestamp,
}

/// A resourceVersion is a number (KEP-5504). A value that is not a number is older than all others.
fn revision(version: &str) -> u64 {
    version.parse().unwrap_or_default()
}

/// The interruption of a list and its watch.
#[derive(Clone, Copy, Debug, Default)]
struct Interruption {
    /// The first failure since a watch stayed open.
    since: Option<Timestamp>,
    /// When a watch was opened, until the next failure.
    opened_at: Option<Timestamp>,
}

impl Interruption {
    /// Since when no watch is open. None: one is open.
    fn failing_since(self) -> Option<Timestamp> {
        self.since.filter(|_| self.opened_at.is_none())
    }

    /// A watch that ends at once after it was opened does not end an interruption.
    fn failed(&mut self, now: Timestamp) {
        let stayed = |at: Timestamp| now.duration_since(at) >= EARLY;
        if self.opened_at.take().is_some_and(stayed) {
            self.since = None;
        }
        self.since.get_or_insert(now);
    }
}

impl Health {
    /// A watch has received an event, or has failed and is opened again.
    pub fn event_seen(&self, stream: &'static str, now: Timestamp) {
        lock(&self.watches).insert(stream, now);
    }

    /// A watch is open after its list.
    pub fn opened(&self, stream: &'static str, namespace: &str, now: Timestamp) {
        let mut failing = lock(&self.failing);
        let stream = failing.entry((stream, namespace.to_owned())).or_default();
        stream.opened_at = Some(now);
    }

    /// A list or watch has failed.
    pub fn failed(&self, stream: &'static str, namespace: &str, now: Timestamp) {
        let mut failing = lock(&self.failing);
        let stream = failing.entry((stream, namespace.to_owned())).or_default();
        stream.failed(now);
    }

    /// Whether the watch that covers this namespace fails now, so that the cache may be old.
    pub fn has_failed(&self, stream: &'static str, namespace: &str) -> bool {
        let failing = lock(&self.failing);
        let fails = |of: &str| {
            failing
                .get(&(stream, of.to_owned()))
                .is_some_and(|stream| stream.failing_since().is_some())
        };
        fails("") || fails(namespace)
    }

    /// The streams of which no watch is open any more. One namespace of several does not count: it may be deleted.
    fn blind(&self, now: Timestamp) -> Vec<&'static str> {
        let failing = lock(&self.failing);
        let fails = |stream: &Interruption| {
            let since = stream.failing_since();
            since.is_some_and(|since| now.duration_since(since) > BLIND)
        };
        let is_blind = |stream: &&'static str| {
            let mut of = failing.iter().filter(|((s, _), _)| s == stream).peekable();
            of.peek().is_some() && of.all(|(_, stream)| fails(stream))
        };
        STREAMS.into_iter().filter(is_blind).collect()
    }

    /// An object that this watch must show was written with this version.
    pub fn wrote(&self, stream: &'static str, object: &ObjectName, version: &str, now: Timestamp) {
        let mut echoes = lock(&self.echoes);
        let owed = (stream, object.clone());
        // The time of the first write that was not shown counts; the watch shows the last one.
        let since = echoes.get(&owed).map_or(now, |echo| echo.since);
        let version = revision(version);
        echoes.insert(owed, Echo { version, since });
    }

    /// The watch has shown this version of this object.
    pub fn showed(&self, stream: &'static str, object: &ObjectName, version: &str) {
        let mut echoes = lock(&self.echoes);
        // Most events are not an echo, so this check is cheap.
        if echoes.is_empty() {
            return;
        }
        let owed = (stream, object.clone());
        if echoes
            .get(&owed)
            .is_some_and(|echo| echo.version <= revision(version))
        {
            echoes.remove(&owed);
        }
    }

    /// The object was deleted, so its watch does not show it any more.
    pub fn gone(&self, stream: &'static str, object: &ObjectName) {
        lock(&self.echoes).remove(&(stream, object.clone()));
    }

    /// The objects whose last write this watch has not shown for this long.
    pub fn unseen(
        &self,
        stream: &'static str,
        longer_than: SignedDuration,
        now: Timestamp,
    ) -> Vec<ObjectName> {
        let echoes = lock(&self.echoes);
        let late = echoes.iter().filter(|((of, _), echo)| {
            *of == stream && now.duration_since(echo.since) > longer_than
        });
        late.map(|((_, object), _)| object.clone()).collect()
    }

    /// The number of credentials with a scheduled time, and of echoes that are still expected.
    pub fn sizes(&self) -> (usize, usize) {
        (lock(&self.due).len(), lock(&self.echoes).len())
    }

    /// When each watch last received an event.
    pub fn watches(&self) -> Vec<(&'static str, Timestamp)> {
        let watches = lock(&self.watches);
        watches.iter().map(|(stream, at)| (*stream, *at)).collect()
    }

    /// A credential will be reconciled at `at` at the latest, if it still exists: `exists` is called while the lock is held
    /// that [`Health::forget`] takes after the store has removed the object, so that a deleted credential never counts as late.
    pub fn scheduled(&self, key: Key, at: Timestamp, exists: impl FnOnce() -> bool) {
        let mut due = lock(&self.due);
        if exists() {
            due.insert(key, at);
        }
    }

    /// True if a credential must be reconciled again: not before its first reconcile, and not once it is deleted.
    pub fn expects(&self, key: &Key) -> bool {
        lock(&self.due).contains_key(key)
    }

    /// A credential is being reconciled, or is deleted.
    pub fn forget(&self, key: &Key) {
        lock(&self.due).remove(key);
    }

    /// The first list of a watch is complete.
    pub fn listed(&self, stream: &'static str) {
        lock(&self.listed).insert(stream);
    }

    /// This process is on standby, because another operator leads. `could` states whether it could work.
    pub fn set_standby(&self, could: Result<(), String>) {
        *lock(&self.standby) = Some(could);
    }

    /// Whether a standby can acquire the Lease as soon as no other operator has it.
    pub fn set_lease(&self, could: Result<(), String>) {
        *lock(&self.lease) = could.err();
    }

    /// This process works.
    pub fn leads(&self) {
        *lock(&self.lease) = None;
        *lock(&self.standby) = None;
    }

    /// Returns true if this process leads and is not on standby.
    pub fn is_leading(&self) -> bool {
        lock(&self.standby).is_none()
    }

    /// The streams whose first list is not complete. No decision is made before this is empty. A process on standby
    /// has no lists.
    pub fn unlisted(&self) -> Vec<&'static str> {
        let listed = lock(&self.listed);
        let missing = STREAMS.into_iter().filter(|s| !listed.contains(s));
        missing.collect()
    }

    /// How late the most overdue reconcile is.
    pub fn overdue(&self, now: Timestamp) -> SignedDuration {
        let due = lock(&self.due);
        due.values()
            .map(|at| now.duration_since(*at))
            .max()
            .unwrap_or_default()
            .max(SignedDuration::ZERO)
    }

    /// Returns `Ok` if there is progress.
    ///
    /// # Errors
    /// A message about what is stuck.
    pub fn alive(&self, now: Timestamp) -> Result<(), String> {
        let late = self.overdue(now);
        if late > OVERDUE_LIMIT {
            return Err(format!("a reconciliation is {} s late", late.as_secs()));
        }
        let echoes = lock(&self.echoes);
        let oldest = echoes.iter().min_by_key(|(_, echo)| echo.since);
        if let Some(((stream, _), echo)) = oldest {
            let silent = now.duration_since(echo.since);
            if silent > ECHO_TIMEOUT {
                return Err(format!(
                    "the watch of {stream} has not shown what was written {} s ago",
                    silent.as_secs()
                ));
            }
        }
        Ok(())
    }

    /// Returns `Ok` if all caches are synced and are kept up to date. A standby has no caches; it is ready if it could work.
    ///
    /// # Errors
    /// A message about what is missing.
    pub fn ready(&self, now: Timestamp) -> Result<(), String> {
        if let Some(could) = lock(&self.standby).clone() {
            if let Some(why) = lock(&self.lease).clone() {
                return Err(format!("standby: the lease cannot be acquired: {why}"));
            }
            return could.map_err(|why| format!("standby: {why}"));
        }
        let missing = self.unlisted();
        if !missing.is_empty() {
            return Err(format!(
                "waiting for the first list of {}",
                missing.join(", ")
            ));
        }
        let blind = self.blind(now);
        if !blind.is_empty() {
            return Err(format!(
                "the watch of {} fails, so changes are not seen; allow the operator's role to watch them, and see the log",
                blind.join(", ")
            ));
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
