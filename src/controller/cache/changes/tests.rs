use std::sync::Mutex;

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::json;

use super::*;
use crate::controller::locks::lock;

type Object = PartialObjectMeta<ConfigMap>;

/// A cache that is filled from the changes.
#[derive(Clone, Default)]
struct Cache(Arc<Mutex<HashMap<Name, ObjectMeta>>>);

impl Known<Object> for Cache {
    fn missing(&self, part: &str, listed: &dyn Fn(&ObjectMeta) -> bool) -> Vec<ObjectMeta> {
        let all = lock(&self.0);
        let all = all
            .values()
            .filter(|m| covers(part, m.namespace.as_deref()));
        all.filter(|meta| !listed(meta)).cloned().collect()
    }
}

struct World {
    changes: Changes<Object, Cache>,
    cache: Cache,
    buffer: HashMap<Name, ObjectMeta>,
    synced: Vec<String>,
}

fn object(namespace: &str, name: &str) -> Object {
    let meta = json!({ "namespace": namespace, "name": name, "uid": name });
    serde_json::from_value(json!({ "metadata": meta })).unwrap()
}

impl World {
    fn of(parts: &[&str]) -> Self {
        let cache = Cache::default();
        let parts: Vec<Part> = parts.iter().map(|part| Part::from(*part)).collect();
        Self {
            changes: Changes::new(&parts, cache.clone()),
            cache,
            buffer: HashMap::new(),
            synced: Vec::new(),
        }
    }

    /// Fills the cache as the store of kube is filled, and returns the changes.
    fn take(&mut self, reported: Reported<Object>) -> Vec<String> {
        let mut expected = Vec::new();
        for event in reported.changes {
            let expected_part = |expected_part: &str, o: &Object| {
                let (namespace, name) = name(&o.metadata);
                format!("{expected_part} {namespace}/{name}")
            };
            let mut cache = lock(&self.cache.0);
            expected.push(match event {
                Event::Init => {
                    self.buffer.clear();
                    "init".to_owned()
                }
                Event::InitApply(o) => {
                    self.buffer.insert(name(&o.metadata), o.metadata.clone());
                    expected_part("has", &o)
                }
                Event::InitDone => {
                    *cache = std::mem::take(&mut self.buffer);
                    "done".to_owned()
                }
                Event::Apply(o) => {
                    cache.insert(name(&o.metadata), o.metadata.clone());
                    expected_part("apply", &o)
                }
                Event::Delete(o) => {
                    cache.remove(&name(&o.metadata));
                    expected_part("delete", &o)
                }
            });
        }
        self.synced
            .extend(reported.synced.map(|part| part.to_string()));
        expected
    }

    fn on(&mut self, part: &str, event: Event<Object>) -> Vec<String> {
        let reported = self.changes.on(&Part::from(part), event);
        self.take(reported)
    }

    fn failed(&mut self, part: &str) -> Vec<String> {
        let reported = self.changes.failed(&Part::from(part));
        self.take(reported)
    }

    fn begin(&mut self, part: &str, objects: &[(&str, &str)]) -> Vec<String> {
        let mut reported = self.on(part, Event::Init);
        for (namespace, name) in objects {
            reported.extend(self.on(part, Event::InitApply(object(namespace, name))));
        }
        reported
    }

    fn list(&mut self, part: &str, objects: &[(&str, &str)]) -> Vec<String> {
        let mut reported = self.begin(part, objects);
        reported.extend(self.on(part, Event::InitDone));
        reported
    }

    fn names(&self) -> Vec<String> {
        let all = lock(&self.cache.0);
        let mut names: Vec<String> = all.keys().map(|(n, o)| format!("{n}/{o}")).collect();
        names.sort();
        names
    }
}

#[test]
fn the_first_list_is_complete_once_all_namespaces_have_theirs() {
    let mut world = World::of(&["a", "b"]);
    assert_eq!(
        world.list("a", &[("a", "x"), ("a", "y")]),
        ["init", "has a/x", "has a/y"]
    );
    assert_eq!(world.synced, ["a"]);
    // In the meantime, one object is created, two are deleted, and one of these is created again.
    assert_eq!(world.on("a", Event::Apply(object("a", "z"))), ["has a/z"]);
    assert!(world.on("a", Event::Delete(object("a", "x"))).is_empty());
    assert!(world.on("a", Event::Delete(object("a", "y"))).is_empty());
    assert_eq!(world.on("a", Event::Apply(object("a", "y"))), ["has a/y"]);
    assert_eq!(
        world.list("b", &[("b", "x")]),
        ["has b/x", "done", "delete a/x"]
    );
    assert_eq!(world.synced, ["a", "b"]);
    assert_eq!(world.names(), ["a/y", "a/z", "b/x"]);
}

#[test]
fn a_namespace_that_lists_again_before_the_first_list_is_complete_loses_what_is_gone() {
    let mut world = World::of(&["a", "b"]);
    world.list("a", &[("a", "x"), ("a", "y")]);
    // Its watch fails: the namespace was listed, so no other one waits for it.
    assert!(world.failed("a").is_empty());
    world.list("a", &[("a", "y")]);
    assert_eq!(world.list("b", &[]), ["done", "delete a/x"]);
    assert_eq!(world.names(), ["a/y"]);
}

#[test]
fn a_later_list_comes_as_its_changes_and_touches_no_other_namespace() {
    for parts in [&["a", "b"][..], &[""]] {
        let part = |n: &'static str| if parts.len() > 1 { n } else { "" };
        let mut world = World::of(parts);
        let first = [("a", "x"), ("a", "y")];
        if parts.len() > 1 {
            world.list("a", &first);
            world.list("b", &[("b", "x")]);
            assert_eq!(world.list("b", &[]), ["delete b/x"]);
        } else {
            world.list("", &first);
        }
        let mut reported = world.list(part("a"), &[("a", "y"), ("a", "new")]);
        reported.sort();
        assert_eq!(reported, ["apply a/new", "apply a/y", "delete a/x"]);
        assert_eq!(world.names(), ["a/new", "a/y"]);
        let deleted = Event::Delete(object("a", "y"));
        assert_eq!(world.on(part("a"), deleted), ["delete a/y"]);
        assert_eq!(world.names(), ["a/new"]);
    }
}

#[test]
fn a_list_that_breaks_off_is_begun_again() {
    let mut world = World::of(&[""]);
    assert_eq!(world.begin("", &[("a", "x")]), ["init", "has a/x"]);
    assert!(world.failed("").is_empty());
    assert_eq!(world.list("", &[("a", "y")]), ["init", "has a/y", "done"]);
    assert_eq!(world.names(), ["a/y"]);
    // The same for a later list: the names of the interrupted list are ignored.
    world.begin("", &[("a", "y")]);
    assert_eq!(world.list("", &[]), ["delete a/y"]);
}

#[test]
fn a_namespace_that_cannot_be_listed_blocks_no_other_and_is_added_later_as_a_whole() {
    let mut world = World::of(&["a", "b"]);
    assert_eq!(world.begin("b", &[("b", "y")]), ["init", "has b/y"]);
    world.list("a", &[("a", "x")]);
    // The list so far may be incomplete.
    assert_eq!(world.failed("b"), ["done", "delete b/y"]);
    assert_eq!(world.names(), ["a/x"]);
    assert!(world.failed("b").is_empty());
    assert!(world.begin("b", &[("b", "y")]).is_empty());
    assert!(world.failed("b").is_empty());
    assert!(world.begin("b", &[("b", "y"), ("b", "z")]).is_empty());
    assert_eq!(world.synced, ["a"]);
    assert_eq!(world.on("b", Event::InitDone), ["apply b/y", "apply b/z"]);
    assert_eq!(world.synced, ["a", "b"]);
    // A namespace that worked before is not forgotten when its watch fails.
    assert!(world.failed("a").is_empty());
    assert_eq!(world.names(), ["a/x", "b/y", "b/z"]);
    assert_eq!(world.list("b", &[("b", "z")]), ["apply b/z", "delete b/y"]);
}

#[test]
fn one_that_failed_may_be_listed_before_the_others() {
    let mut world = World::of(&["a", "b"]);
    assert!(world.failed("b").is_empty());
    let reported = world.list("b", &[("b", "y")]);
    assert_eq!(reported, ["init", "has b/y"]);
    assert_eq!(world.list("a", &[]), ["done"]);
    assert_eq!(world.names(), ["b/y"]);
}

#[test]
fn if_no_namespace_can_be_listed_the_first_list_is_empty() {
    let mut world = World::of(&["a", "b"]);
    assert!(world.failed("b").is_empty());
    assert_eq!(world.failed("a"), ["init", "done"]);
    assert!(world.synced.is_empty());
}
