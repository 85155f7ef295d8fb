//! What the process remembers of each credential.

use jiff::Timestamp;

use super::Context;
use crate::controller::{
    cache::calls_under_way::newer,
    locks::lock,
    requeue::reference,
    state::{Revocable, State},
};
use crate::{
    api::ApiCredentialStatus,
    credential::{Credential, Key},
    limits::queue::give_room_back,
    plan::notify::Trouble,
};

impl Context {
    /// Reads or changes what is remembered of a credential. An object of the same name with another UID begins
    /// with nothing; what is empty afterwards is not stored. Of an object that the cache does not have nothing is stored either:
    /// it is deleted, and nobody would forget it again.
    pub(in crate::controller) fn with_state<T>(
        &self,
        key: &Key,
        uid: &str,
        use_it: impl FnOnce(&mut State) -> T,
    ) -> T {
        let mut states = lock(&self.states);
        // Under the lock: `forget` takes it after the store has lost the object.
        let there = self.credentials.get(&reference(key));
        if there.is_none_or(|there| *there.uid != *uid) {
            if let Some(state) = states.get_mut(key).filter(|s| s.uid == uid) {
                return use_it(state);
            }
            // A state of another UID belongs to the object that has the name now.
            let mut state = State::default();
            let result = use_it(&mut state);
            self.orphans.adopt(state.unsaved);
            return result;
        }
        let mut state = match states.remove(key) {
            Some(state) if state.uid == uid => state,
            // Another object has the name now.
            other => {
                self.orphans.adopt(other.and_then(|other| other.unsaved));
                Box::default()
            }
        };
        uid.clone_into(&mut state.uid);
        let result = use_it(&mut state);
        if state.is_empty() {
            give_room_back(&mut states);
        } else {
            states.insert(key.clone(), state);
        }
        result
    }

    /// The credentials with an answer that could not be stored yet, as they were at the request.
    pub(in crate::controller) fn unsaved(&self) -> Vec<(Key, Credential)> {
        let states = lock(&self.states);
        let kept = states.iter();
        kept.filter_map(|(key, s)| Some((key.clone(), s.unsaved.as_ref()?.credential.clone())))
            .collect()
    }

    /// The watch has shown a version of a credential.
    pub(in crate::controller) fn saw(&self, key: &Key, version: &str) {
        let mut states = lock(&self.states);
        // Under the lock, as in `wrote_status`.
        let object = (key.namespace.clone(), key.name.clone());
        self.health.showed("credentials", &object, version);
        if let Some(state) = states.get_mut(key)
            && state
                .written
                .as_ref()
                .is_some_and(|(written, _)| !newer(written, version))
        {
            state.written = None;
            if state.is_empty() {
                states.remove(key);
                give_room_back(&mut states);
            }
        }
    }

    /// A status was written: it is what stands in the cluster until the watch has shown that version or a newer one,
    /// or a deletion.
    pub(in crate::controller) fn wrote_status(
        &self,
        key: &Key,
        uid: &str,
        version: &str,
        status: &ApiCredentialStatus,
    ) {
        self.with_state(key, uid, |state| {
            // The watch may have been faster than the answer. The store is locked with the states.
            let shown = self.credentials.get(&reference(key));
            if shown.is_some_and(|shown| *shown.uid == *uid && newer(version, &shown.version)) {
                state.written = Some((version.to_owned(), status.clone()));
                let object = (key.namespace.clone(), key.name.clone());
                self.health
                    .wrote("credentials", &object, version, crate::clock::steady());
            }
        });
    }

    /// The status that was written last, with its version, until the watch has shown it.
    pub(in crate::controller) fn written_status(
        &self,
        key: &Key,
        uid: &str,
    ) -> Option<(String, ApiCredentialStatus)> {
        self.with_state(key, uid, |state| state.written.clone())
    }

    /// How many statuses in a row could not be written.
    pub(in crate::controller) fn lost_statuses(&self, key: &Key, uid: &str) -> u32 {
        self.with_state(key, uid, |state| state.lost_statuses)
    }

    /// The time of the newest write of a Secret that pods are to be notified of.
    pub(in crate::controller) fn newest_write(&self, key: &Key, uid: &str) -> Option<Timestamp> {
        self.with_state(key, uid, |state| {
            state.notified.as_ref().and_then(|n| n.written)
        })
    }

    /// Remembers how the notification of pods ended. True if status shows something else by that.
    pub(in crate::controller) fn notification_ended(
        &self,
        key: &Key,
        uid: &str,
        result: Result<(), Trouble>,
    ) -> bool {
        let now = self.clock.now();
        self.with_state(key, uid, |state| {
            let known = state.notified.as_mut();
            known.is_some_and(|notified| notified.ended(result, now))
        })
    }

    /// The tokens of this credential that are to be revoked, if this process has them: the published one, and one that
    /// could not be written.
    pub(in crate::controller) fn take_revocable(
        &self,
        key: &Key,
        uid: &str,
    ) -> (Option<Revocable>, Option<Revocable>) {
        self.with_state(key, uid, |s| {
            // Before anybody asks for it: the state Secret holds a refresh token that is spent until this one is stored.
            self.orphans.adopt(s.unsaved.take());
            let held = s.held.take().map(|held| Revocable {
                token: held.token,
                issued: held.issued,
            });
            (s.revocable.take(), held)
        })
    }

    /// True if this credential ever had a token, by its status.
    pub(in crate::controller) fn has_published(&self, key: &Key) -> bool {
        let object = self.credentials.get(&reference(key));
        object.is_some_and(|kept| kept.shown.published)
    }

    /// A credential is gone.
    pub(in crate::controller) fn forget(&self, key: &Key) {
        {
            let mut states = lock(&self.states);
            self.orphans
                .adopt(states.remove(key).and_then(|state| state.unsaved));
            give_room_back(&mut states);
        }
        self.limiter.forget(key);
        self.health.forget(key);
        let object = (key.namespace.clone(), key.name.clone());
        self.health.gone("credentials", &object);
    }
}
