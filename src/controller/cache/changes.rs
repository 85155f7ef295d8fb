//! Turns lists into changes, for one watch of the cluster or one watch of each namespace.
//!
//! The first list is passed on as a list. Later lists are passed on as single changes: an object that the cache already has at this version is
//! no change, and an object that a list does not contain is deleted. The list of one namespace does not affect another one. Only names are stored,
//! and only while a list is received. Pure, except [`changes`].

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
    task::Poll,
};

use futures::{Stream, StreamExt, stream, stream::BoxStream};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, api::PartialObjectMeta, core::PartialObjectMetaExt, runtime::watcher::Event};

use super::readable::{Readable, identity};

/// A list or watch failed, and is tried again. It is reported already.
#[derive(Clone, Copy, Debug)]
pub(in crate::controller) struct Failed;

/// What one watch covers: a namespace, or everything if it is empty.
pub(in crate::controller) type Part = Arc<str>;

/// All watches of one kind.
pub(in crate::controller) struct Watch<T> {
    pub(in crate::controller) parts: Vec<Part>,
    pub(in crate::controller) events: BoxStream<'static, (Part, Result<Event<T>, Failed>)>,
}

/// Which object it is.
type Name = (Box<str>, Box<str>);

fn name(meta: &ObjectMeta) -> Name {
    let text = |text: &Option<String>| text.as_deref().unwrap_or_default().into();
    (text(&meta.namespace), text(&meta.name))
}

/// An object of which nothing but its name may be known.
pub(in crate::controller) trait Named: Resource {
    /// As a list shows that it is deleted.
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

/// What the cache has. It must be filled from the changes, one at a time.
pub(in crate::controller) trait Known<T> {
    /// The changes that an object of a later list is. Whoever takes them compares, unless this is cheaper.
    fn news(&self, object: T) -> Vec<Event<T>> {
        vec![Event::Apply(object)]
    }

    /// Objects of a part, by namespace and name at least, for which `listed` is false.
    fn missing(&self, part: &str, listed: &dyn Fn(&ObjectMeta) -> bool) -> Vec<ObjectMeta>;
}

/// Does a part cover this namespace?
pub(in crate::controller) fn covers(part: &str, namespace: Option<&str>) -> bool {
    part.is_empty() || namespace == Some(part)
}

/// The parts whose first list is still awaited. One that fails keeps the others waiting no longer.
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

    /// A part has had its list, or cannot be listed. Says whether all are through by this.
    pub(in crate::controller) fn settle(&mut self, part: &str) -> bool {
        self.awaited.remove(part);
        let now = self.awaited.is_empty() && !self.complete;
        self.complete |= now;
        now
    }
}

/// What comes of an event.
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
    /// `Init` was passed on.
    begun: bool,
    /// What the lists that are being received have named.
    receiving: HashMap<Part, HashSet<Name>>,
    /// Parts that have had a list.
    synced: HashSet<Part>,
    /// What is there of several parts before all of them are listed.
    there: HashMap<Part, HashSet<Name>>,
    /// What was listed before that, and is deleted since.
    deleted: HashMap<Name, T>,
    /// Parts whose first list failed, with what the next try has named: others do not wait for them any more, and may not see
    /// half of them.
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
            // One watch of everything: a list that broke off begins again as a first one.
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

    /// A watch broke.
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

    /// An event of a part that has had no list and failed: its first list comes when it is complete.
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
            // A watch begins with a list.
            Event::Apply(_) | Event::Delete(_) => {}
        }
        Vec::new()
    }

    /// What was listed is gone before the first list is complete.
    fn delete(&mut self, name: Name) {
        let meta = ObjectMeta {
            namespace: Some(name.0.to_string()),
            name: Some(name.1.to_string()),
            ..ObjectMeta::default()
        };
        self.deleted.insert(name, T::not_listed(&meta));
    }

    /// An event of a part, while another one is not listed yet: all of it becomes a part of the first list.
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

    /// Ends the first list if no other part is awaited.
    fn settle(&mut self, part: &Part, changes: &mut Vec<Event<T>>) {
        if self.first.settle(part) {
            if !self.begun {
                changes.push(Event::Init);
            }
            changes.push(Event::InitDone);
            let deleted = self.deleted.drain();
            changes.extend(deleted.map(|(_, object)| Event::Delete(object)));
            // The cache says it from now on.
            self.there = HashMap::new();
            self.deleted = HashMap::new();
        }
    }

    /// An event of a part, after the first list.
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

/// The changes of a kind. `synced` is called with each part that has had its first list, once the taker of the changes asks for more
/// than what was in it.
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
