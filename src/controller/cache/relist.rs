//! A list of what is known already, as its changes. kube's store keeps a new list beside the old one until it is
//! complete, which for ten thousand objects is tens of megabytes; and everything in it would be looked at again.

use std::collections::HashSet;

use futures::{Stream, StreamExt, stream};
use kube::{
    Resource,
    runtime::{
        reflector::{ObjectRef, Store},
        watcher::Event,
    },
};

use super::{packed::PackedCredential, readable::Readable};
use crate::api::ApiCredential;
use crate::controller::requeue::{key_of, reference};

/// Passes a first list on, and of later ones what differs from the store: what has changed as `Apply`, what is not listed
/// any more as `Delete` of no more than its name. An object that cannot be used is listed like any other. The store
/// must be filled from the outcome, one event at a time.
pub(in crate::controller) fn as_changes<S>(
    events: S,
    store: Store<PackedCredential>,
) -> impl Stream<Item = Event<Readable<ApiCredential>>> + Send
where
    S: Stream<Item = Event<Readable<ApiCredential>>> + Send + 'static,
{
    let mut changes = Changes {
        store,
        first: true,
        listed: None,
    };
    events.flat_map(move |event| stream::iter(changes.of(event)))
}

struct Changes {
    store: Store<PackedCredential>,
    /// No list has been complete yet.
    first: bool,
    /// What the list that is being received has named.
    listed: Option<HashSet<ObjectRef<PackedCredential>>>,
}

impl Changes {
    fn of(&mut self, event: Event<Readable<ApiCredential>>) -> Vec<Event<Readable<ApiCredential>>> {
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
                let name = reference(&key_of(&object));
                let known = self.store.get(&name);
                if let Some(listed) = &mut self.listed {
                    listed.insert(name);
                }
                match known {
                    Some(old) if object.meta().uid.as_deref() != Some(&*old.uid) => {
                        vec![Event::Delete(old.as_gone()), Event::Apply(object)]
                    }
                    Some(old)
                        if object.meta().resource_version.as_deref() == Some(&*old.version) =>
                    {
                        Vec::new()
                    }
                    _ => vec![Event::Apply(object)],
                }
            }
            Event::InitDone => {
                let listed = self.listed.take().unwrap_or_default();
                let all = self.store.state().into_iter();
                all.filter(|kept| !listed.contains(&ObjectRef::from_obj(kept.as_ref())))
                    .map(|kept| Event::Delete(kept.as_gone()))
                    .collect()
            }
            change => vec![change],
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::{ResourceExt, runtime::reflector::store::Writer};
    use serde_json::{Value, json};

    use super::*;
    use crate::controller::cache::packed::packed_event;

    fn object(name: &str, uid: &str, version: &str) -> Readable<ApiCredential> {
        with_spec(
            name,
            uid,
            version,
            &json!({ "target": { "secretName": name } }),
        )
    }

    /// An object of a CRD that this version does not know.
    fn unusable(name: &str, uid: &str, version: &str) -> Readable<ApiCredential> {
        with_spec(name, uid, version, &json!({ "target": "elsewhere" }))
    }

    fn with_spec(name: &str, uid: &str, version: &str, spec: &Value) -> Readable<ApiCredential> {
        let meta =
            json!({ "namespace": "n", "name": name, "uid": uid, "resourceVersion": version });
        let object = json!({ "metadata": meta, "spec": spec });
        Readable::read(object.to_string().as_bytes()).unwrap()
    }

    struct World {
        changes: Changes,
        writer: Writer<PackedCredential>,
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

        fn on(&mut self, event: Event<Readable<ApiCredential>>) -> Vec<String> {
            let mut told = Vec::new();
            for event in self.changes.of(event) {
                self.writer.apply_watcher_event(&packed_event(&event));
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
    fn an_object_that_cannot_be_used_is_not_gone() {
        let mut world = World::new();
        world.list(&[("a", "1", "1"), ("b", "2", "2")]);
        // It becomes so in the watch, is so in a list, and was so from the start.
        assert_eq!(world.on(Event::Apply(unusable("a", "1", "3"))), ["apply a"]);
        assert!(
            world
                .changes
                .store
                .state()
                .iter()
                .any(|kept| kept.flaw().is_some())
        );
        for object in [unusable("a", "1", "3"), unusable("a", "1", "4")] {
            let changed = object.meta().resource_version.as_deref() == Some("4");
            world.on(Event::Init);
            let told = world.on(Event::InitApply(object));
            assert_eq!(told, if changed { vec!["apply a"] } else { vec![] });
            world.on(Event::InitApply(self::object("b", "2", "2")));
            assert!(world.on(Event::InitDone).is_empty(), "nothing is gone");
            assert_eq!(world.names(), ["a", "b"]);
        }
        // Usable again, and then really gone.
        assert_eq!(world.list(&[("a", "1", "5"), ("b", "2", "2")]), ["apply a"]);
        assert_eq!(world.on(Event::Apply(unusable("a", "1", "6"))), ["apply a"]);
        assert_eq!(world.list(&[("b", "2", "2")]), ["delete a"]);
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
