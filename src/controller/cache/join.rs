//! Watches of several namespaces as one: what a namespaced operator has in place of a watch of the cluster.
//!
//! A list of one namespace must not look like a list of all, or every object elsewhere would count as gone. So each
//! part is remembered, and a later list of it comes out as single changes. Pure but for [`watch_all`].

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    task::Poll,
};

use futures::{Stream, StreamExt, stream};
use kube::{Resource, runtime::watcher::Event};

/// A list or watch failed, and is tried again.
#[derive(Clone, Copy, Debug)]
pub(in crate::controller) struct Failed;

/// What came of one namespace's watch.
pub(in crate::controller) struct Joined<K> {
    /// As one watch of all namespaces would say it.
    pub(in crate::controller) events: Vec<Event<K>>,
    /// The namespace, if it has just had its first list.
    pub(in crate::controller) seen: Option<String>,
}

/// All namespaces' watches.
pub(in crate::controller) struct Join<K> {
    parts: BTreeMap<String, Part<K>>,
    /// Takes off a remembered object what its deletion need not tell.
    shrink: fn(&mut K),
    /// Has the first list of all been given?
    open: bool,
}

struct Part<K> {
    known: HashMap<String, K>,
    incoming: Option<HashMap<String, K>>,
    listed: bool,
    failed: bool,
}

impl<K: Resource + Clone> Join<K> {
    /// Of these namespaces.
    pub(in crate::controller) fn new(
        namespaces: impl IntoIterator<Item = String>,
        shrink: fn(&mut K),
    ) -> Self {
        let part = || Part {
            known: HashMap::new(),
            incoming: None,
            listed: false,
            failed: false,
        };
        Self {
            parts: namespaces.into_iter().map(|n| (n, part())).collect(),
            shrink,
            open: false,
        }
    }

    /// A watch broke. One that never had a list keeps the others waiting no longer.
    pub(in crate::controller) fn failed(&mut self, namespace: &str) -> Joined<K> {
        if let Some(part) = self.parts.get_mut(namespace) {
            part.failed = true;
        }
        Joined {
            events: self.open(),
            seen: None,
        }
    }

    /// An event of a namespace.
    pub(in crate::controller) fn on(&mut self, namespace: &str, event: Event<K>) -> Joined<K> {
        let Some(part) = self.parts.get_mut(namespace) else {
            return Joined {
                events: Vec::new(),
                seen: None,
            };
        };
        let mut seen = None;
        let mut events = Vec::new();
        match event {
            Event::Init => part.incoming = Some(HashMap::new()),
            Event::InitApply(object) => {
                if let Some(incoming) = &mut part.incoming {
                    incoming.insert(name(&object), object);
                }
            }
            Event::InitDone => {
                let incoming = part.incoming.take().unwrap_or_default();
                events = part.replace(incoming);
                if self.open {
                    part.known.values_mut().for_each(self.shrink);
                }
                if !part.listed {
                    part.listed = true;
                    seen = Some(namespace.to_owned());
                }
            }
            Event::Apply(object) => {
                let mut kept = object.clone();
                if self.open {
                    (self.shrink)(&mut kept);
                }
                part.known.insert(name(&object), kept);
                events.push(Event::Apply(object));
            }
            Event::Delete(object) => {
                part.known.remove(&name(&object));
                events.push(Event::Delete(object));
            }
        }
        if !self.open {
            // The first list of all brings what is known by then.
            events = self.open();
        }
        Joined { events, seen }
    }

    fn open(&mut self) -> Vec<Event<K>> {
        if self.open || !self.parts.values().all(|p| p.listed || p.failed) {
            return Vec::new();
        }
        self.open = true;
        let mut events = vec![Event::Init];
        for object in self.parts.values_mut().flat_map(|p| p.known.values_mut()) {
            events.push(Event::InitApply(object.clone()));
            (self.shrink)(object);
        }
        events.push(Event::InitDone);
        events
    }
}

impl<K: Resource + Clone> Part<K> {
    fn replace(&mut self, incoming: HashMap<String, K>) -> Vec<Event<K>> {
        let identity = |o: &K| (o.meta().uid.clone(), o.meta().resource_version.clone());
        let gone = self
            .known
            .iter()
            .filter(|(n, _)| !incoming.contains_key(*n));
        let mut events: Vec<Event<K>> = gone.map(|(_, o)| Event::Delete(o.clone())).collect();
        for (name, object) in &incoming {
            match self.known.get(name) {
                Some(old) if identity(old) == identity(object) => {}
                Some(old) if old.meta().uid != object.meta().uid => {
                    events.push(Event::Delete(old.clone()));
                    events.push(Event::Apply(object.clone()));
                }
                _ => events.push(Event::Apply(object.clone())),
            }
        }
        self.known = incoming;
        events
    }
}

fn name<K: Resource>(object: &K) -> String {
    object.meta().name.clone().unwrap_or_default()
}

/// Runs one watch a namespace, each with a backoff of its own, as one. `seen` is told each namespace that has had its
/// first list, once the taker of the events asks for more than what was in it.
pub(in crate::controller) fn watch_all<K, S>(
    watches: Vec<(String, S)>,
    shrink: fn(&mut K),
    seen: impl Fn(&str) + Send + Sync + 'static,
) -> impl Stream<Item = Result<Event<K>, Failed>> + Send
where
    K: Resource + Clone + Send + 'static,
    S: Stream<Item = Result<Event<K>, Failed>> + Send + 'static,
{
    let mut join = Join::new(watches.iter().map(|(n, _)| n.clone()), shrink);
    let seen = Arc::new(seen);
    let tagged = watches
        .into_iter()
        .map(|(namespace, stream)| stream.map(move |item| (namespace.clone(), item)).boxed());
    stream::select_all(tagged).flat_map(move |(namespace, item)| {
        let (joined, error) = match item {
            Ok(event) => (join.on(&namespace, event), None),
            Err(error) => (join.failed(&namespace), Some(error)),
        };
        let events = joined.events.into_iter().map(Ok).chain(error.map(Err));
        let events: Vec<_> = events.collect();
        let seen = Arc::clone(&seen);
        let afterwards = stream::poll_fn(move |_| {
            if let Some(namespace) = &joined.seen {
                seen(namespace);
            }
            Poll::Ready(None)
        });
        stream::iter(events).chain(afterwards)
    })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::json;

    use super::*;

    fn object(namespace: &str, name: &str, version: &str) -> ConfigMap {
        let meta = json!({ "namespace": namespace, "name": name, "uid": name, "resourceVersion": version });
        serde_json::from_value(json!({ "metadata": meta })).unwrap()
    }

    fn bare(object: &mut ConfigMap) {
        object.metadata.labels = None;
    }

    fn told(joined: &Joined<ConfigMap>) -> Vec<String> {
        let mut words: Vec<String> = joined
            .events
            .iter()
            .map(|event| {
                let of = |word: &str, o: &ConfigMap| {
                    let meta = &o.metadata;
                    let (namespace, name) = (meta.namespace.clone(), meta.name.clone());
                    format!("{word} {}/{}", namespace.unwrap(), name.unwrap())
                };
                match event {
                    Event::Init => "init".to_owned(),
                    Event::InitDone => "done".to_owned(),
                    Event::InitApply(o) => of("has", o),
                    Event::Apply(o) => of("apply", o),
                    Event::Delete(o) => of("delete", o),
                }
            })
            .collect();
        // Only the objects between the two words have no order.
        if words.len() > 2 {
            let last = words.len() - 1;
            words[1..last].sort();
        }
        words
    }

    fn list(
        join: &mut Join<ConfigMap>,
        namespace: &str,
        objects: &[(&str, &str)],
    ) -> Joined<ConfigMap> {
        assert!(told(&join.on(namespace, Event::Init)).is_empty());
        for (name, version) in objects {
            let one = object(namespace, name, version);
            assert!(told(&join.on(namespace, Event::InitApply(one))).is_empty());
        }
        join.on(namespace, Event::InitDone)
    }

    #[test]
    fn the_first_list_is_given_once_all_namespaces_have_theirs() {
        let mut join = Join::new(["a", "b"].map(str::to_owned), bare);
        let first = list(&mut join, "a", &[("x", "1")]);
        assert_eq!((told(&first), first.seen.as_deref()), (vec![], Some("a")));
        assert!(told(&join.on("a", Event::Apply(object("a", "z", "3")))).is_empty());
        let second = list(&mut join, "b", &[("y", "2")]);
        assert_eq!(
            told(&second),
            ["init", "has a/x", "has a/z", "has b/y", "done"]
        );
        assert_eq!(second.seen.as_deref(), Some("b"));
    }

    #[test]
    fn a_later_list_of_one_namespace_comes_as_its_changes_and_touches_no_other() {
        let mut join = Join::new(["a", "b"].map(str::to_owned), bare);
        list(&mut join, "a", &[("x", "1"), ("y", "1"), ("z", "1")]);
        list(&mut join, "b", &[("x", "1")]);
        let again = list(&mut join, "a", &[("x", "1"), ("y", "2"), ("new", "3")]);
        let mut seen = told(&again);
        seen.sort();
        assert_eq!(seen, ["apply a/new", "apply a/y", "delete a/z"]);
        assert_eq!(again.seen, None);
        assert_eq!(
            told(&join.on("b", Event::Delete(object("b", "x", "9")))),
            ["delete b/x"]
        );
        assert!(told(&list(&mut join, "b", &[])).is_empty());
    }

    #[test]
    fn an_object_made_anew_while_nobody_looked_is_deleted_first() {
        let mut join = Join::new(["a".to_owned()], bare);
        list(&mut join, "a", &[("x", "1")]);
        join.on("a", Event::Init);
        let mut other = object("a", "x", "5");
        other.metadata.uid = Some("another".to_owned());
        join.on("a", Event::InitApply(other));
        assert_eq!(
            told(&join.on("a", Event::InitDone)),
            ["delete a/x", "apply a/x"]
        );
    }

    #[test]
    fn a_namespace_that_cannot_be_listed_keeps_nobody_waiting_and_joins_later() {
        let mut join = Join::new(["a", "b"].map(str::to_owned), bare);
        list(&mut join, "a", &[("x", "1")]);
        assert_eq!(told(&join.failed("b")), ["init", "has a/x", "done"]);
        assert!(told(&join.failed("b")).is_empty());
        let later = list(&mut join, "b", &[("y", "2")]);
        assert_eq!(
            (told(&later), later.seen.as_deref()),
            (vec!["apply b/y".to_owned()], Some("b"))
        );
        // One that worked before is not forgotten when its watch breaks.
        assert!(told(&join.failed("a")).is_empty());
    }
}
