//! A list of what is known already, as its changes. kube's store keeps a new list beside the old one until it is
//! complete, which for ten thousand objects is tens of megabytes; and everything in it would be looked at again.

use std::{collections::HashSet, hash::Hash};

use futures::{Stream, StreamExt, stream};
use kube::{
    Resource,
    runtime::{
        reflector::{Lookup, ObjectRef, Store},
        watcher::Event,
    },
};

/// Passes a first list on, and of later ones what differs from the store: what has changed as `Apply`, what is gone as
/// `Delete`. The store must be filled from the outcome, one event at a time.
pub(super) fn as_changes<K, S>(events: S, store: Store<K>) -> impl Stream<Item = Event<K>> + Send
where
    K: Resource<DynamicType = ()> + Lookup<DynamicType = ()> + Clone + Send + Sync + 'static,
    ObjectRef<K>: Eq + Hash,
    S: Stream<Item = Event<K>> + Send + 'static,
{
    let mut changes = Changes {
        store,
        first: true,
        listed: None,
    };
    events.flat_map(move |event| stream::iter(changes.of(event)))
}

struct Changes<K: Lookup<DynamicType = ()> + Clone + 'static> {
    store: Store<K>,
    /// No list has been complete yet.
    first: bool,
    /// What the list that is being received has named.
    listed: Option<HashSet<ObjectRef<K>>>,
}

impl<K> Changes<K>
where
    K: Resource<DynamicType = ()> + Lookup<DynamicType = ()> + Clone + 'static,
{
    fn of(&mut self, event: Event<K>) -> Vec<Event<K>> {
        if self.first {
            self.first = !matches!(event, Event::InitDone);
            return vec![event];
        }
        match event {
            Event::Init => {
                self.listed = Some(HashSet::new());
                Vec::new()
            }
            Event::InitApply(object) => {
                let name = ObjectRef::from_obj(&object);
                let known = self.store.get(&name);
                if let Some(listed) = &mut self.listed {
                    listed.insert(name);
                }
                match known {
                    Some(old) if old.meta().uid != object.meta().uid => {
                        vec![Event::Delete(K::clone(&old)), Event::Apply(object)]
                    }
                    Some(old) if old.meta().resource_version == object.meta().resource_version => {
                        Vec::new()
                    }
                    _ => vec![Event::Apply(object)],
                }
            }
            Event::InitDone => {
                let listed = self.listed.take().unwrap_or_default();
                let gone = |object: &std::sync::Arc<K>| {
                    let name = ObjectRef::from_obj(object.as_ref());
                    !listed.contains(&name)
                };
                let all = self.store.state().into_iter();
                all.filter(gone)
                    .map(|object| Event::Delete(K::clone(&object)))
                    .collect()
            }
            change => vec![change],
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::{ResourceExt, runtime::reflector::store::Writer};
    use serde_json::json;

    use super::*;

    fn object(name: &str, uid: &str, version: &str) -> ConfigMap {
        let meta =
            json!({ "namespace": "n", "name": name, "uid": uid, "resourceVersion": version });
        serde_json::from_value(json!({ "metadata": meta })).unwrap()
    }

    struct World {
        changes: Changes<ConfigMap>,
        writer: Writer<ConfigMap>,
    }

    impl World {
        fn new() -> Self {
            let (store, writer) = kube::runtime::reflector::store();
            let changes = Changes {
                store,
                first: true,
                listed: None,
            };
            Self { changes, writer }
        }

        fn on(&mut self, event: Event<ConfigMap>) -> Vec<String> {
            let mut told = Vec::new();
            for event in self.changes.of(event) {
                self.writer.apply_watcher_event(&event);
                told.push(match &event {
                    Event::Init => "init".to_owned(),
                    Event::InitDone => "done".to_owned(),
                    Event::InitApply(o) => format!("has {}", o.name_any()),
                    Event::Apply(o) => format!("apply {}", o.name_any()),
                    Event::Delete(o) => format!("delete {}", o.name_any()),
                });
            }
            told
        }

        fn list(&mut self, objects: &[(&str, &str, &str)]) -> Vec<String> {
            let mut told = self.on(Event::Init);
            for (name, uid, version) in objects {
                told.extend(self.on(Event::InitApply(object(name, uid, version))));
            }
            told.extend(self.on(Event::InitDone));
            told
        }

        fn names(&self) -> Vec<String> {
            let state = self.changes.store.state();
            let mut names: Vec<String> = state.iter().map(|o| o.name_any()).collect();
            names.sort();
            names
        }
    }

    #[test]
    fn a_first_list_is_a_list_and_a_later_one_its_changes() {
        let mut world = World::new();
        let first = [("a", "1", "1"), ("b", "2", "2"), ("c", "3", "3")];
        assert_eq!(
            world.list(&first),
            ["init", "has a", "has b", "has c", "done"]
        );
        assert!(world.list(&first).is_empty(), "nothing is new");
        // Changed, gone, made anew under its name, new.
        let later = [("a", "1", "9"), ("c", "4", "8"), ("d", "5", "7")];
        assert_eq!(
            world.list(&later),
            ["apply a", "delete c", "apply c", "apply d", "delete b"]
        );
        assert_eq!(world.names(), ["a", "c", "d"]);
        assert!(world.list(&later).is_empty());
    }

    #[test]
    fn a_list_that_is_given_up_and_begun_again_counts_from_its_beginning() {
        let mut world = World::new();
        world.list(&[("a", "1", "1"), ("b", "2", "2")]);
        world.on(Event::Init);
        world.on(Event::InitApply(object("a", "1", "1")));
        assert_eq!(world.list(&[("b", "2", "2")]), ["delete a"]);
        assert_eq!(world.on(Event::Apply(object("x", "7", "7"))), ["apply x"]);
        assert_eq!(world.names(), ["b", "x"]);
    }

    #[test]
    fn a_first_list_that_breaks_is_begun_again_as_a_first_one() {
        let mut world = World::new();
        world.on(Event::Init);
        world.on(Event::InitApply(object("a", "1", "1")));
        assert_eq!(world.list(&[("b", "2", "2")]), ["init", "has b", "done"]);
        assert_eq!(world.names(), ["b"]);
    }
}
