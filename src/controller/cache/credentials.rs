//! The store of packed credentials. It also computes the changes of a list. The store of kube would hold a new list in addition
//! to the old one until the list is complete (tens of megabytes for ten thousand objects), and every object in the list would be reconciled again.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Resource,
    runtime::{reflector::Store, watcher::Event},
};

use super::{
    changes::{Known, covers},
    packed::PackedCredential,
    readable::Readable,
};
use crate::api::ApiCredential;
use crate::controller::requeue::{key_of, reference};

impl Known<Readable<ApiCredential>> for Store<PackedCredential> {
    /// An unusable object is listed like any other. An object that was recreated with the same name was deleted before.
    fn news(&self, object: Readable<ApiCredential>) -> Vec<Event<Readable<ApiCredential>>> {
        let meta = object.meta();
        match self.get(&reference(&key_of(&object))) {
            Some(old) if meta.uid.as_deref() != Some(&*old.uid) => {
                let gone = Readable::not_listed(&old.identity());
                vec![Event::Delete(gone), Event::Apply(object)]
            }
            Some(old) if meta.resource_version.as_deref() == Some(&*old.version) => Vec::new(),
            _ => vec![Event::Apply(object)],
        }
    }

    fn missing(&self, part: &str, listed: &dyn Fn(&ObjectMeta) -> bool) -> Vec<ObjectMeta> {
        let all = self.state().into_iter();
        all.filter(|c| covers(part, c.meta().namespace.as_deref()) && !listed(c.meta()))
            .map(|c| c.identity())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use kube::{ResourceExt, runtime::reflector::store::Writer};
    use serde_json::{Value, json};

    use super::*;
    use crate::controller::cache::{
        changes::{Changes, Part},
        packed::packed_event,
    };

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
        changes: Changes<Readable<ApiCredential>, Store<PackedCredential>>,
        store: Store<PackedCredential>,
        writer: Writer<PackedCredential>,
    }

    impl World {
        fn new() -> Self {
            let (store, writer) = kube::runtime::reflector::store();
            let changes = Changes::new(&[Part::default()], store.clone());
            Self {
                changes,
                store,
                writer,
            }
        }

        fn on(&mut self, event: Event<Readable<ApiCredential>>) -> Vec<String> {
            let mut reported = Vec::new();
            for event in self.changes.on(&Part::default(), event).changes {
                self.writer.apply_watcher_event(&packed_event(&event));
                reported.push(match &event {
                    Event::Init => "init".to_owned(),
                    Event::InitDone => "done".to_owned(),
                    Event::InitApply(o) => format!("has {}", o.name_any()),
                    Event::Apply(o) => format!("apply {}", o.name_any()),
                    Event::Delete(o) => format!("delete {}", o.name_any()),
                });
            }
            reported
        }

        fn list(&mut self, objects: &[(&str, &str, &str)]) -> Vec<String> {
            let mut reported = self.on(Event::Init);
            for (name, uid, version) in objects {
                reported.extend(self.on(Event::InitApply(object(name, uid, version))));
            }
            reported.extend(self.on(Event::InitDone));
            reported
        }

        fn names(&self) -> Vec<String> {
            let state = self.store.state();
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
        // Changed, deleted, recreated with the same name, new.
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
        // It becomes unusable in the watch, is unusable in a list, and was unusable from the start.
        assert_eq!(world.on(Event::Apply(unusable("a", "1", "3"))), ["apply a"]);
        assert!(
            world
                .store
                .state()
                .iter()
                .any(|packed| packed.flaw().is_some())
        );
        for object in [unusable("a", "1", "3"), unusable("a", "1", "4")] {
            let changed = object.meta().resource_version.as_deref() == Some("4");
            world.on(Event::Init);
            let reported = world.on(Event::InitApply(object));
            assert_eq!(reported, if changed { vec!["apply a"] } else { vec![] });
            world.on(Event::InitApply(self::object("b", "2", "2")));
            assert!(world.on(Event::InitDone).is_empty(), "nothing is gone");
            assert_eq!(world.names(), ["a", "b"]);
        }
        // The object is usable again, and is then deleted.
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
