//! Turns lists into changes, for one watch of the cluster or one watch of each namespace.
//!
//! The first list is passed on as a list. Later lists are passed on as single changes: an object that the cache already has at
//! this version is not a change, and an object that a list does not contain is deleted. The list of one namespace does not
//! affect another namespace. Only names are stored, and only while a list is received. Pure, except [`changes`].

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
    task::Poll,
};

use futures::{Stream, StreamExt, stream, stream::BoxStream};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, api::PartialObjectMeta, core::PartialObjectMetaExt, runtime::watcher::Event};

use super::readable::{Readable, identity};

/// A list or watch failed and is retried. The failure is already reported.
#[derive(Clone, Copy, Debug)]
pub(in crate::controller) struct Failed;

/// The scope of one watch: a namespace, or everything if it is empty.
pub(in crate::controller) type Part = Arc<str>;

/// All watches of one kind.
pub(in crate::controller) struct Watch<T> {
    pub(in crate::controller) parts: Vec<Part>,
    pub(in crate::controller) events: BoxStream<'static, (Part, Result<Event<T>, Failed>)>,
}

/// The namespace and name of an object.
type Name = (Box<str>, Box<str>);

fn name(meta: &ObjectMeta) -> Name {
    let text = |text: &Option<String>| text.as_deref().unwrap_or_default().into();
    (text(&meta.namespace), text(&meta.name))
}

/// An object of which only the name may be known.
pub(in crate::controller) trait Named: Resource {
    /// The object as it is reported when a list no longer contains it.
    fn not_listed(meta: &ObjectMeta) -> Self;
}

impl<K: Resource<DynamicType = ()>> Named for Readable<K> {
    fn not_listed(meta: &ObjectMeta) -> Self {
        Self::not_listed(meta)
    }
}

impl<K: Resource<DynamicType = ()>> Named for PartialObjectMeta<K> {
    fn not_listed(meta: &ObjectMeta) -> Self {
        identity(meta).into_response_partial()
    }
}

/// The content of the cache. The cache must apply the changes one at a time.
pub(in crate::controller) trait Known<T> {
    /// The changes that result from an object of a later list. The receiver compares versions, unless it is cheaper to do it here.
    fn news(&self, object: T) -> Vec<Event<T>> {
        vec![Event::Apply(object)]
    }

    /// The objects of a part for which `listed` is false, at least with namespace and name.
    fn missing(&self, part: &str, listed: &dyn Fn(&ObjectMeta) -> bool) -> Vec<ObjectMeta>;
}

/// Whether a part covers this namespace.
pub(in crate::controller) fn covers(part: &str, namespace: Option<&str>) -> bool {
    part.is_empty() || namespace == Some(part)
}

/// The parts whose first list is still awaited. If the first list of a part fails, the other parts no longer wait for it.
#[derive(Debug)]
pub(in crate::controller) struct FirstLists {
    awaited: BTreeSet<Part>,
    complete: bool,
}

impl FirstLists {
    pub(in crate::controller) fn of(parts: &[Part]) -> Self {
        Self {
            awaited: parts.iter().cloned().collect(),
            complete: false,
        }
    }

    /// Records that a part is listed, or cannot be listed. Returns true if this completes all parts.
    pub(in crate::controller) fn settle(&mut self, part: &str) -> bool {
        self.awaited.remove(part);
        let now = self.awaited.is_empty() && !self.complete;
        self.complete |= now;
        now
    }
}

/// The changes that result from an event.
pub(super) struct Reported<T> {
    pub(super) changes: Vec<Event<T>>,
    /// The part, if this was its first list.
    synced: Option<Part>,
}

impl<T> From<Vec<Event<T>>> for Reported<T> {
    fn from(changes: Vec<Event<T>>) -> Self {
        Self {
            changes,
            synced: None,
        }
    }
}

pub(super) struct Changes<T, N> {
    known: N,
    first: FirstLists,
    /// Whether `Init` was passed on.
    begun: bool,
    /// The names in the lists that are being received.
    receiving: HashMap<Part, HashSet<Name>>,
    /// Parts with a complete list.
    synced: HashSet<Part>,
    /// If there are several parts: the objects that exist before all parts are listed.
    there: HashMap<Part, HashSet<Name>>,
    /// Objects that were listed before that and are deleted since.
    deleted: HashMap<Name, T>,
    /// Parts whose first list failed, with the objects of the retry so far. Other parts no longer wait for them, and must not
    /// receive an incomplete list.
    held: HashMap<Part, Vec<T>>,
}

impl<T: Named, N: Known<T>> Changes<T, N> {
    pub(super) fn new(parts: &[Part], known: N) -> Self {
        Self {
            known,
            first: FirstLists::of(parts),
            begun: false,
            receiving: HashMap::new(),
            synced: HashSet::new(),
            there: HashMap::new(),
            deleted: HashMap::new(),
            held: HashMap::new(),
        }
    }

    pub(super) fn on(&mut self, part: &Part, event: Event<T>) -> Reported<T> {
        let done = matches!(event, Event::InitDone);
        let changes = match (self.first.complete, part.is_empty()) {
            _ if self.held.contains_key(part) => self.hold(part, event),
            // One watch of everything: a list that was interrupted starts again as a first list.
            (false, true) => {
                if done {
                    self.first.settle(part);
                }
                vec![event]
            }
            (false, false) => self.before(part, event),
            (true, _) => self.after(part, event),
        };
        let synced = done && self.synced.insert(Part::clone(part));
        Reported {
            changes,
            synced: synced.then(|| Part::clone(part)),
        }
    }

    /// Handles a failed watch.
    fn failed(&mut self, part: &Part) -> Reported<T> {
        let mut changes = Vec::new();
        if !part.is_empty() && !self.synced.contains(part) {
            for name in self.receiving.remove(part).into_iter().flatten() {
                self.delete(name);
            }
            self.held.insert(Part::clone(part), Vec::new());
            self.settle(part, &mut changes);
        }
        changes.into()
    }

    /// Handles an event of a part whose first list failed: the list is passed on when it is complete.
    fn hold(&mut self, part: &Part, event: Event<T>) -> Vec<Event<T>> {
        let Some(held) = self.held.get_mut(part) else {
            return Vec::new();
        };
        match event {
            Event::Init => held.clear(),
            Event::InitApply(object) => held.push(object),
            Event::InitDone => {
                let held = self.held.remove(part).unwrap_or_default();
                if self.first.complete {
                    return held.into_iter().map(Event::Apply).collect();
                }
                let first = [Event::Init].into_iter();
                let objects = held.into_iter().map(Event::InitApply);
                let list = first.chain(objects).chain([Event::InitDone]);
                return list.flat_map(|event| self.before(part, event)).collect();
            }
            // A watch starts with a list.
            Event::Apply(_) | Event::Delete(_) => {}
        }
        Vec::new()
    }

    /// Records that a listed object was deleted before the first list is complete.
    fn delete(&mut self, name: Name) {
        let meta = ObjectMeta {
            namespace: Some(name.0.to_string()),
            name: Some(name.1.to_string()),
            ..ObjectMeta::default()
        };
        self.deleted.insert(name, T::not_listed(&meta));
    }

    /// Handles an event of a part while another part is not listed yet: every event becomes part of the first list.
    fn before(&mut self, part: &Part, event: Event<T>) -> Vec<Event<T>> {
        let mut changes = Vec::new();
        if !self.begun {
            self.begun = true;
            changes.push(Event::Init);
        }
        match event {
            Event::Init => {
                self.receiving.insert(Part::clone(part), HashSet::new());
            }
            Event::InitApply(object) => {
                let name = name(object.meta());
                self.deleted.remove(&name);
                if let Some(listed) = self.receiving.get_mut(part) {
                    listed.insert(name);
                }
                changes.push(Event::InitApply(object));
            }
            Event::InitDone => {
                let listed = self.receiving.remove(part).unwrap_or_default();
                let before = self.there.remove(part).unwrap_or_default();
                for name in before.into_iter().filter(|name| !listed.contains(name)) {
                    self.delete(name);
                }
                self.there.insert(Part::clone(part), listed);
                self.settle(part, &mut changes);
            }
            Event::Apply(object) => {
                let name = name(object.meta());
                self.deleted.remove(&name);
                self.there
                    .entry(Part::clone(part))
                    .or_default()
                    .insert(name);
                changes.push(Event::InitApply(object));
            }
            Event::Delete(object) => {
                let name = name(object.meta());
                self.there
                    .entry(Part::clone(part))
                    .or_default()
                    .remove(&name);
                self.deleted.insert(name, object);
            }
        }
        changes
    }

    /// Completes the first list if no other part is awaited.
    fn settle(&mut self, part: &Part, changes: &mut Vec<Event<T>>) {
        if self.first.settle(part) {
            if !self.begun {
                changes.push(Event::Init);
            }
            changes.push(Event::InitDone);
            let deleted = self.deleted.drain();
            changes.extend(deleted.map(|(_, object)| Event::Delete(object)));
            // From now on the cache has this information.
            self.there = HashMap::new();
            self.deleted = HashMap::new();
        }
    }

    /// Handles an event of a part after the first list.
    fn after(&mut self, part: &Part, event: Event<T>) -> Vec<Event<T>> {
        match event {
            Event::Init => {
                self.receiving.insert(Part::clone(part), HashSet::new());
                Vec::new()
            }
            Event::InitApply(object) => {
                if let Some(listed) = self.receiving.get_mut(part) {
                    listed.insert(name(object.meta()));
                }
                self.known.news(object)
            }
            Event::InitDone => {
                let Some(listed) = self.receiving.remove(part) else {
                    return Vec::new();
                };
                let is_listed = |meta: &ObjectMeta| listed.contains(&name(meta));
                let missing = self.known.missing(part, &is_listed);
                let deletion = |meta: &ObjectMeta| Event::Delete(T::not_listed(meta));
                missing.iter().map(deletion).collect()
            }
            change => vec![change],
        }
    }
}

/// The changes of a kind. `synced` is called with each part whose first list is complete, when the receiver of the changes
/// requests the change after that list.
pub(in crate::controller) fn changes<T, N>(
    watch: Watch<T>,
    known: N,
    synced: impl Fn(&str) + Send + Sync + 'static,
) -> impl Stream<Item = Event<T>> + Send
where
    T: Named + Send + 'static,
    N: Known<T> + Send + 'static,
{
    let mut changes = Changes::new(&watch.parts, known);
    let synced = Arc::new(synced);
    watch.events.flat_map(move |(part, event)| {
        let reported = match event {
            Ok(event) => changes.on(&part, event),
            Err(Failed) => changes.failed(&part),
        };
        let synced = Arc::clone(&synced);
        let afterwards = stream::poll_fn(move |_| {
            if let Some(part) = &reported.synced {
                synced(part);
            }
            Poll::Ready(None)
        });
        stream::iter(reported.changes).chain(afterwards)
    })
}

#[cfg(test)]
mod tests;
