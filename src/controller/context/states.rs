//! The in-memory state of each credential.

use std::collections::HashSet;

use jiff::Timestamp;

use super::Context;
use crate::controller::{
    cache::{calls_under_way::newer, index::SecretName},
    locks::lock,
    requeue::reference,
    state::{Revocable, State},
};
use crate::{
    api::ApiCredentialStatus,
    credential::{Credential, Key},
    limits::queue::give_room_back,
    plan::notify::NotifyError,
    publish::copy_fault::CopyFault,
};

impl Context {
    /// Reads or changes the in-memory state of a credential. An object with the same name and another UID starts with an empty
    /// state, and a state that is empty afterwards is not stored. For an object that is not in the cache, nothing is stored
    /// either: it is deleted, and the state would never be removed.
    pub(in crate::controller) fn with_state<T>(
        &self,
        key: &Key,
        uid: &str,
        use_it: impl FnOnce(&mut State) -> T,
    ) -> T {
        let mut states = lock(&self.states);
        // Under the lock: `forget` acquires it after the object was removed from the store.
        let there = self.credentials.get(&reference(key));
        if there.is_none_or(|there| *there.uid != *uid) {
            if let Some(state) = states.get_mut(key).filter(|s| s.uid == uid) {
                return use_it(state);
            }
            // A state with another UID belongs to the object that now has the name.
            let mut state = State::default();
            let result = use_it(&mut state);
            self.orphans.adopt(state.unsaved);
            return result;
        }
        let mut state = match states.remove(key) {
            Some(state) if state.uid == uid => state,
            // Another object now has the name.
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

    /// [`Self::with_state`] for the credential that was read.
    pub(in crate::controller) fn with_state_of<T>(
        &self,
        credential: &Credential,
        use_it: impl FnOnce(&mut State) -> T,
    ) -> T {
        self.with_state(&credential.key(), &credential.uid, use_it)
    }

    /// The credentials with an answer that could not be stored yet, in the version of the request.
    pub(in crate::controller) fn unsaved(&self) -> Vec<Credential> {
        let states = lock(&self.states);
        let held = states.values().filter_map(|s| s.unsaved.as_ref());
        held.map(|answered| answered.credential.clone()).collect()
    }

    /// Records that the watch delivered a version of a credential.
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

    /// Records a written status: it is the current one until the watch delivers this version, a newer one, or a deletion.
    pub(in crate::controller) fn wrote_status(
        &self,
        key: &Key,
        uid: &str,
        version: &str,
        status: &ApiCredentialStatus,
    ) {
        self.with_state(key, uid, |state| {
            // The watch may have been faster than the response. The store is read under the lock of the states.
            let shown = self.credentials.get(&reference(key));
            if shown.is_some_and(|shown| *shown.uid == *uid && newer(version, &shown.version)) {
                state.written = Some((version.to_owned(), status.clone()));
                let object = (key.namespace.clone(), key.name.clone());
                self.health
                    .wrote("credentials", &object, version, crate::clock::steady());
            }
        });
    }

    /// The status that was written last, with its version, until the watch delivers it.
    pub(in crate::controller) fn written_status(
        &self,
        key: &Key,
        uid: &str,
    ) -> Option<(String, ApiCredentialStatus)> {
        self.with_state(key, uid, |state| state.written.clone())
    }

    /// The number of consecutive status writes that failed.
    pub(in crate::controller) fn lost_statuses(&self, key: &Key, uid: &str) -> u32 {
        self.with_state(key, uid, |state| state.lost_statuses)
    }

    /// The time of the newest write of a Secret that pods must be notified of.
    pub(in crate::controller) fn newest_write(&self, key: &Key, uid: &str) -> Option<Timestamp> {
        self.with_state(key, uid, |state| {
            state.notified.as_ref().and_then(|n| n.written)
        })
    }

    /// Stores the result of the pod notifications. Returns true if this changes the status.
    pub(in crate::controller) fn notification_ended(
        &self,
        key: &Key,
        uid: &str,
        result: Result<(), NotifyError>,
    ) -> bool {
        let now = self.clock.now();
        self.with_state(key, uid, |state| {
            let known = state.notified.as_mut();
            known.is_some_and(|notified| notified.ended(result, now))
        })
    }

    /// The tokens of this credential that must be revoked, if this process has them: the published one, and one that could not be written.
    pub(in crate::controller) fn take_revocable(
        &self,
        key: &Key,
        uid: &str,
    ) -> (Option<Revocable>, Option<Revocable>) {
        self.with_state(key, uid, |s| {
            // This must be the first step: until this refresh token is stored, the one in the state Secret is a used one.
            self.orphans.adopt(s.unsaved.take());
            let held = s.held.take().map(|held| Revocable {
                token: held.token,
                issued: held.issued,
            });
            (s.revocable.take(), held)
        })
    }

    /// Whether this credential ever had a token, according to its status.
    pub(in crate::controller) fn has_published(&self, key: &Key) -> bool {
        let object = self.credentials.get(&reference(key));
        object.is_some_and(|packed| packed.shown.published)
    }

    /// Removes the state of a deleted credential.
    pub(in crate::controller) fn forget(&self, key: &Key) {
        {
            let mut states = lock(&self.states);
            self.orphans
                .adopt(states.remove(key).and_then(|state| state.unsaved));
            give_room_back(&mut states);
        }
        self.retire(key);
        let object = (key.namespace.clone(), key.name.clone());
        self.health.gone("credentials", &object);
    }

    /// Removes a credential for which no more tokens are requested from the queue and from the health report. Its tokens are still known.
    pub(in crate::controller) fn retire(&self, key: &Key) {
        self.limiter.forget(key);
        self.health.forget(key);
    }

    /// Stores which copies of its certificates the API server did not let this credential write now. An earlier fault stays until the copy
    /// changes or is not requested any more.
    pub(in crate::controller) fn note_copy_faults(
        &self,
        credential: &Credential,
        faults: Vec<CopyFault>,
    ) {
        let namespace = &credential.namespace;
        let before = self.with_state_of(credential, |state| state.copy_faults.clone());
        let copies = credential.authentication.copies();
        let stays = |known: &&CopyFault| {
            copies.iter().any(|copied| known.is_about(copied))
                && faults.iter().all(|fault| fault.copy != known.copy)
                && self.lasts(namespace, known)
        };
        let mut after: Vec<CopyFault> = before.iter().filter(stays).cloned().collect();
        after.extend(faults);
        if after == before {
            return;
        }
        let sources = before.into_iter().chain(after.clone());
        let sources: HashSet<String> = sources.map(|fault| fault.source).collect();
        self.with_state_of(credential, |state| state.copy_faults = after);
        for source in sources {
            self.clients.check_source(&(namespace.clone(), source));
        }
    }

    /// The copies that this credential could not write.
    pub(in crate::controller) fn copy_faults(&self, credential: &Credential) -> Vec<CopyFault> {
        let mut faults = self.with_state_of(credential, |state| state.copy_faults.clone());
        faults.retain(|fault| self.lasts(&credential.namespace, fault));
        faults
    }

    /// Why the certificate of this Secret could not be copied, for one of the credentials that use it.
    pub(in crate::controller) fn not_copied(&self, source: &SecretName) -> Option<String> {
        let keys = lock(&self.index).of_secret(source);
        let faults: Vec<CopyFault> = {
            let states = lock(&self.states);
            let known = keys.iter().filter_map(|key| states.get(key));
            let faults = known.flat_map(|state| state.copy_faults.iter());
            faults.filter(|f| f.source == source.1).cloned().collect()
        };
        let lasts = |fault: &&CopyFault| fault.stores() && self.lasts(&source.0, fault);
        faults.iter().find(lasts).map(CopyFault::why)
    }

    fn lasts(&self, namespace: &str, fault: &CopyFault) -> bool {
        let secrets = lock(&self.secrets);
        let facts = |name: &str| {
            let name = (namespace.to_owned(), name.to_owned());
            secrets.get(&name).map(|seen| &seen.facts)
        };
        fault.lasts(facts(&fault.source), facts(&fault.copy))
    }
}
