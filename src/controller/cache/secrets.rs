//! The cluster's Secrets: small parts of their metadata, never their data.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{
    calls_under_way::{Finished, Transient, UnderWay, newer},
    changes::{Part, covers},
    index::SecretName,
    secret_map::{Map, Seen},
};
use crate::publish::{
    ManagedKeys, SourceMark,
    ownership::{Published, SecretFacts, examine},
};

/// All Secrets of the cluster.
///
/// The API server compares resourceVersions of one kind, also across objects with the same name: the newer version wins. A
/// deletion leaves no entry to compare with, so each call in progress records what the watch delivers in the meantime.
#[derive(Debug, Default)]
pub(in crate::controller) struct Secrets {
    pub(super) seen: Map,
    /// The lists that are being received, by their part of the cluster, until they are complete.
    incoming: HashMap<Part, Map>,
    /// Own writes while a list is received: the list may be older than the writes.
    noted: HashSet<SecretName>,
    /// Calls for a Secret without a response so far, each with what the watch has delivered in the meantime.
    under_way: HashMap<SecretName, Vec<UnderWay>>,
    /// Secrets that a response contained and a list does not: only the server knows whether they exist.
    doubtful: Vec<SecretName>,
    /// The number of the last call.
    last_call: u64,
    /// Managed keys, each set stored once: nearly all Secrets have the same set.
    kinds: HashSet<Arc<ManagedKeys>>,
    /// The parts that were listed.
    listed: HashSet<Part>,
}

impl Secrets {
    /// Names and UIDs of the other credentials of a namespace whose target Secret contains the token of this digest.
    pub(in crate::controller) fn sharing(
        &self,
        namespace: &str,
        uid: &str,
        digest: &str,
    ) -> Vec<(String, String)> {
        let home = self.seen.homes.get(namespace);
        let home = home.into_iter().flat_map(HashMap::values);
        let published = home.filter_map(|seen| seen.facts.published.as_ref());
        let same = published.filter(|p| {
            let record = p.record.as_ref();
            p.credential_uid != uid && record.is_some_and(|r| r.token_digest == digest)
        });
        same.map(|p| (p.credential.clone(), p.credential_uid.clone()))
            .collect()
    }

    /// Namespaces and names of the copies of certificates that contain a key.
    pub(in crate::controller) fn copies(&self) -> Vec<SecretName> {
        let mut found = Vec::new();
        for (namespace, home) in &self.seen.homes {
            let full = home.iter().filter(|(_, seen)| {
                let copy = seen.facts.last_good.as_ref();
                copy.is_some_and(|copy| copy.of.is_some())
            });
            found.extend(full.map(|(name, _)| (namespace.clone(), name.to_string())));
        }
        found
    }

    /// Whether another credential of a namespace has a valid token (at `now`) from an earlier version of the Secret `source` or from its copy.
    pub(in crate::controller) fn needs_copy(
        &self,
        (namespace, uid): (&str, &str),
        source: &SecretFacts,
        (name, copy): (&str, &str),
        now: Timestamp,
    ) -> bool {
        let home = self.seen.homes.get(namespace);
        let home = home.into_iter().flat_map(HashMap::values);
        let others = home.filter_map(|seen| seen.facts.published.as_ref());
        let others = others.filter(|p| p.credential_uid != uid);
        let mut records = others.filter_map(|p| p.record.as_ref());
        let earlier = |u: &SourceMark| {
            u.name == name && (&u.uid, &u.version) != (&source.uid, &source.version)
        };
        records.any(|r| {
            let used = r.sources.used.as_ref();
            r.expires_at > now && used.is_some_and(|u| u.name == copy || earlier(u))
        })
    }

    /// What the Secret with this name contains, if it is a target of this credential.
    pub(in crate::controller) fn published(
        &self,
        name: &SecretName,
        uid: &str,
    ) -> Option<&Published> {
        let published = self.get(name)?.facts.published.as_ref()?;
        (published.credential_uid == uid).then_some(published)
    }

    /// The Secret with this name.
    pub(in crate::controller) fn get(&self, name: &SecretName) -> Option<&Seen> {
        self.seen.get(name).map(Arc::as_ref)
    }

    /// Starts a new list of a part.
    pub(in crate::controller) fn begin(&mut self, part: &Part) {
        self.incoming.insert(Part::clone(part), Map::default());
        self.noted
            .retain(|(namespace, _)| !covers(part, Some(namespace)));
    }

    /// Adds an object of the list.
    pub(in crate::controller) fn listed(&mut self, part: &Part, meta: &ObjectMeta) {
        if !self.incoming.contains_key(part) {
            return;
        }
        let name = name(meta);
        let same = |s: &&Arc<Seen>| Some(&s.facts.version) == meta.resource_version.as_ref();
        let seen = match self.seen.get(&name).filter(same) {
            Some(known) => Arc::clone(known),
            None => Arc::new(Seen {
                facts: self.facts(meta),
                changed_at: None,
            }),
        };
        if let Some(incoming) = self.incoming.get_mut(part) {
            incoming.insert(&name, seen);
        }
    }

    /// Completes the list. Returns the Secrets that differ from the known ones.
    pub(in crate::controller) fn finish(&mut self, part: &Part, now: Timestamp) -> Vec<SecretName> {
        let Some(mut incoming) = self.incoming.remove(part) else {
            return Vec::new();
        };
        let covered = |(namespace, _): &SecretName| covers(part, Some(namespace));
        for (name, calls) in &mut self.under_way {
            if covered(name) && incoming.get(name).is_none() {
                for call in calls {
                    call.unlisted = true;
                }
            }
        }
        for name in self.noted.extract_if(covered) {
            let Some(own) = self.seen.get(&name) else {
                continue;
            };
            let listed = incoming.get(&name);
            if listed.is_none() {
                // The list is older than the write, or the Secret was deleted before the list was created.
                self.doubtful.push(name.clone());
            }
            if listed.is_none_or(|l| newer(&own.facts.version, &l.facts.version)) {
                incoming.insert(&name, Arc::clone(own));
            }
        }
        let known = self.seen.iter_of(part).map(|(name, _)| name);
        let mut changed: Vec<SecretName> = known.filter(|n| incoming.get(n).is_none()).collect();
        let is_news = |(name, seen): &(SecretName, &Arc<Seen>)| {
            let known = self.seen.get(name);
            known.is_none_or(|s| s.facts.version != seen.facts.version)
        };
        let news: Vec<SecretName> = incoming
            .iter_of("")
            .filter(is_news)
            .map(|(n, _)| n)
            .collect();
        for name in &news {
            // At the first list it is not known when a Secret changed.
            if let (true, Some(seen)) = (self.listed.contains(part), incoming.get(name)) {
                let mut seen = Seen::clone(seen);
                seen.changed_at = Some(now);
                incoming.insert(name, Arc::new(seen));
            }
        }
        changed.extend(news);
        self.listed.insert(Part::clone(part));
        self.seen.replace(part, incoming);
        // Removes the sets that no Secret uses any more.
        self.kinds.retain(|kind| Arc::strong_count(kind) > 1);
        changed
    }

    /// A call for a Secret is about to be sent. Returns its number for [`Secrets::write_ends`] or [`Secrets::read_ends`].
    pub(in crate::controller) fn call_begins(&mut self, name: &SecretName) -> u64 {
        self.last_call += 1;
        let before = self.get(name).map(|seen| seen.facts.version.clone());
        let call = UnderWay {
            number: self.last_call,
            before,
            shown: None,
            deleted: None,
            unlisted: false,
        };
        self.under_way.entry(name.clone()).or_default().push(call);
        self.last_call
    }

    fn call_ends(&mut self, name: &SecretName, number: u64) -> Option<UnderWay> {
        let calls = self.under_way.get_mut(name)?;
        let at = calls.iter().position(|call| call.number == number)?;
        let call = calls.swap_remove(at);
        if calls.is_empty() {
            self.under_way.remove(name);
        }
        Some(call)
    }

    /// A write was answered with `made`, or was abandoned.
    pub(in crate::controller) fn write_ends(
        &mut self,
        name: &SecretName,
        number: u64,
        made: Option<&ObjectMeta>,
        now: Timestamp,
    ) -> Finished {
        let Some(call) = self.call_ends(name, number) else {
            return Finished::default();
        };
        let owed = made.is_some_and(|meta| {
            let outdated = call.is_outdated(meta);
            if !outdated && call.unlisted {
                self.doubtful.push(name.clone());
            }
            !outdated && self.put(name, meta, now)
        });
        Finished {
            shown: call.shown,
            owed,
        }
    }

    /// A read of the metadata was answered; `found` is `None` if the Secret does not exist. Returns true if a reconcile is
    /// needed: the response differs from the known state, or the watch delivered a change in the meantime.
    pub(in crate::controller) fn read_ends(
        &mut self,
        name: &SecretName,
        number: u64,
        found: Option<&ObjectMeta>,
        now: Timestamp,
    ) -> bool {
        let Some(call) = self.call_ends(name, number) else {
            return false;
        };
        let known = self.get(name).map(|seen| &seen.facts.version);
        let moved = known != call.before.as_ref() || call.deleted.is_some() || call.unlisted;
        let changed = match found {
            Some(meta) if moved => {
                let outdated = call.is_outdated(meta);
                if !outdated && call.unlisted {
                    self.doubtful.push(name.clone());
                }
                !outdated && self.put(name, meta, now)
            }
            None if moved => {
                // What arrived in the meantime may be newer than the response.
                if known.is_some() {
                    self.doubtful.push(name.clone());
                }
                false
            }
            // The server answers reads with its newest state, independent of what was known.
            Some(meta) if known == meta.resource_version.as_ref() => false,
            Some(meta) => {
                self.insert(name, meta, now);
                true
            }
            None => {
                self.seen.remove(name);
                // Responses that have not arrived yet may be older.
                for other in self.under_way.get_mut(name).into_iter().flatten() {
                    other.unlisted = true;
                }
                call.before.is_some()
            }
        };
        changed || call.shown.is_some()
    }

    /// A read was abandoned. Returns whether the watch delivered a change in the meantime.
    pub(in crate::controller) fn read_given_up(&mut self, name: &SecretName, number: u64) -> bool {
        self.call_ends(name, number)
            .is_some_and(|call| call.shown.is_some())
    }

    /// The Secrets that must be read to know whether they exist, without duplicates.
    pub(in crate::controller) fn take_doubtful(&mut self) -> Vec<SecretName> {
        std::mem::take(&mut self.doubtful)
    }

    /// The watch delivered a new or changed Secret. Returns its name if a reconcile is needed: the echo of an own write needs
    /// none, and an event during a call is reported when the call ends.
    pub(in crate::controller) fn apply(
        &mut self,
        meta: &ObjectMeta,
        now: Timestamp,
    ) -> Option<SecretName> {
        let name = name(meta);
        let news = self.put(&name, meta, now);
        let version = meta.resource_version.as_deref().unwrap_or_default();
        let Some(calls) = self.under_way.get_mut(&name) else {
            return news.then_some(name);
        };
        for call in calls {
            // From now on the watch delivers each deletion.
            call.unlisted = false;
            if news {
                call.shown = Some(version.to_owned());
            }
        }
        None
    }

    /// The watch delivered the deletion of a Secret.
    pub(in crate::controller) fn delete(&mut self, meta: &ObjectMeta) -> Option<SecretName> {
        let name = name(meta);
        let version = meta.resource_version.as_deref().unwrap_or_default();
        let known = self.seen.get(&name).map(|s| &s.facts);
        // In the meantime, a Secret with the same name may have been created and confirmed.
        let same = known.is_some_and(|k| Some(&k.uid) == meta.uid.as_ref());
        let newest = known.is_none_or(|k| newer(version, &k.version));
        for call in self.under_way.get_mut(&name).into_iter().flatten() {
            // A deletion that results from a list has the last known version.
            if newest {
                call.deleted = Some(version.to_owned());
            }
            call.unlisted = !newest || known.is_none();
        }
        (known.is_some() && (same || newest)).then(|| {
            self.seen.remove(&name);
            name
        })
    }

    /// What must be empty when nothing is in progress.
    pub(in crate::controller) fn transient(&self) -> Transient {
        Transient {
            calls: self.under_way.len(),
            noted: self.noted.len(),
            doubtful: self.doubtful.len(),
        }
    }

    /// Stores a version that is newer than the known one. Returns whether it was newer.
    fn put(&mut self, name: &SecretName, meta: &ObjectMeta, now: Timestamp) -> bool {
        let version = meta.resource_version.as_deref().unwrap_or_default();
        let known = self.seen.get(name);
        if known.is_some_and(|known| !newer(version, &known.facts.version)) {
            return false;
        }
        self.insert(name, meta, now);
        true
    }

    fn insert(&mut self, name: &SecretName, meta: &ObjectMeta, now: Timestamp) {
        let facts = self.facts(meta);
        if self.incoming.keys().any(|part| covers(part, Some(&name.0))) {
            self.noted.insert(name.clone());
        }
        let changed_at = Some(now);
        self.seen.insert(name, Arc::new(Seen { facts, changed_at }));
    }

    fn facts(&mut self, meta: &ObjectMeta) -> SecretFacts {
        let mut facts = examine(meta);
        // A warning is retained if its time can no longer be read.
        if facts.expiry_unreadable
            && let Some(known) = self.seen.get(&name(meta))
            && known.facts.uid == facts.uid
        {
            facts.secret_expires_at = known.facts.secret_expires_at;
        }
        if let Some(published) = &mut facts.published {
            let known = self.kinds.get(&published.managed_keys).map(Arc::clone);
            published.managed_keys = known.unwrap_or_else(|| {
                self.kinds.insert(Arc::clone(&published.managed_keys));
                Arc::clone(&published.managed_keys)
            });
        }
        facts
    }
}

/// Namespace and name of a Secret.
pub(in crate::controller) fn name(meta: &ObjectMeta) -> SecretName {
    (
        meta.namespace.clone().unwrap_or_default(),
        meta.name.clone().unwrap_or_default(),
    )
}
