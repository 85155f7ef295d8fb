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

impl Health {
    /// A watch has received an event, or has failed and is opened again.
    pub fn event_seen(&self, stream: &'static str, now: Timestamp) {
        lock(&self.watches).insert(stream, now);
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

    /// Returns `Ok` if all caches are synced. A standby has no caches; it is ready if it could work.
    ///
    /// # Errors
    /// A message about what is missing.
    pub fn ready(&self) -> Result<(), String> {
        if let Some(could) = lock(&self.standby).clone() {
            if let Some(why) = lock(&self.lease).clone() {
                return Err(format!("standby: the lease cannot be acquired: {why}"));
            }
            return could.map_err(|why| format!("standby: {why}"));
        }
        let missing = self.unlisted();
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

    fn object(name: &str) -> ObjectName {
        ("secops".to_owned(), name.to_owned())
    }

    #[test]
    fn a_watch_that_does_not_show_our_own_writes_is_dead_and_a_quiet_one_is_not() {
        let health = Health::default();
        health.event_seen("secrets", at(0));
        assert!(health.alive(at(1_000_000)).is_ok(), "nothing is owed");
        health.wrote("secrets", &object("a"), "7", at(10));
        health.wrote("secrets", &object("a"), "9", at(500));
        assert!(health.alive(at(600)).is_ok());
        let reported = health.alive(at(611)).unwrap_err();
        assert!(
            reported.contains("secrets") && reported.contains("601"),
            "{reported}"
        );
        let late = SignedDuration::from_mins(1);
        assert_eq!(health.unseen("secrets", late, at(611)), [object("a")]);
        assert!(health.unseen("credentials", late, at(611)).is_empty());
        // Events of other objects, streams and versions are not an echo.
        health.event_seen("secrets", at(612));
        health.showed("secrets", &object("b"), "9");
        health.showed("credentials", &object("a"), "9");
        health.showed("secrets", &object("a"), "8");
        assert!(health.alive(at(612)).is_err());
        health.showed("secrets", &object("a"), "10");
        assert!(health.alive(at(10_000)).is_ok());
        assert_eq!(health.watches(), [("secrets", at(612))]);
    }

    #[test]
    fn no_echo_is_expected_of_an_object_that_is_gone() {
        let health = Health::default();
        health.wrote("credentials", &object("a"), "7", at(0));
        health.wrote("credentials", &object("b"), "8", at(0));
        health.gone("credentials", &object("a"));
        assert!(health.alive(at(601)).is_err(), "the other one is owed");
        health.gone("credentials", &object("b"));
        assert!(health.alive(at(10_000)).is_ok());
        assert_eq!(health.sizes(), (0, 0));
    }

    #[test]
    fn a_standby_that_cannot_acquire_the_lease_is_not_ready() {
        let health = Health::default();
        health.set_standby(Ok(()));
        health.set_lease(Err("the quota few leaves no room".to_owned()));
        let reported = health.ready().unwrap_err();
        assert!(
            reported.contains("lease") && reported.contains("quota few"),
            "{reported}"
        );
        health.set_lease(Ok(()));
        assert_eq!(health.ready(), Ok(()), "another operator leads");
        health.set_lease(Err("the quota few leaves no room".to_owned()));
        health.leads();
        assert!(!health.ready().unwrap_err().contains("quota"));
    }

    #[test]
    fn a_standby_has_no_lists_whatever_readiness_reports() {
        let health = Health::default();
        health.set_standby(Err("not checked yet".to_owned()));
        assert!(health.ready().is_err());
        health.set_standby(Ok(()));
        assert_eq!(health.ready(), Ok(()));
        assert_eq!(health.unlisted(), STREAMS, "nothing may be decided");
        health.leads();
        assert!(health.ready().is_err());
        for stream in STREAMS {
            health.listed(stream);
        }
        assert_eq!(health.ready(), Ok(()));
        assert!(health.unlisted().is_empty());
    }
}
