use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::{
    controller::cache::{
        calls_under_way::{Finished, Transient, newer},
        changes::Part,
        secrets::Secrets,
    },
    fixtures::at,
};

pub(super) fn meta(name: &str, uid: &str, version: &str) -> ObjectMeta {
    ObjectMeta {
        namespace: Some("secops".to_owned()),
        name: Some(name.to_owned()),
        uid: Some(uid.to_owned()),
        resource_version: Some(version.to_owned()),
        ..ObjectMeta::default()
    }
}

pub(super) fn name(name: &str) -> (String, String) {
    ("secops".to_owned(), name.to_owned())
}

/// The part of the cluster that covers everything.
pub(super) fn all() -> Part {
    Part::default()
}

/// A store after a first list.
pub(super) fn listed(metas: &[ObjectMeta]) -> Secrets {
    let mut secrets = Secrets::default();
    relist(&mut secrets, metas, 0);
    secrets
}

fn relist(secrets: &mut Secrets, metas: &[ObjectMeta], now: i64) -> Vec<(String, String)> {
    secrets.begin(&all());
    for meta in metas {
        secrets.listed(&all(), meta);
    }
    let mut changed = secrets.finish(&all(), at(now));
    changed.sort();
    changed
}

pub(super) fn version(secrets: &Secrets, of: &str) -> Option<String> {
    secrets.get(&name(of)).map(|s| s.facts.version.clone())
}

#[test]
fn nothing_is_known_before_the_first_list_is_complete() {
    let mut secrets = Secrets::default();
    secrets.begin(&all());
    secrets.listed(&all(), &meta("a", "1", "5"));
    assert!(secrets.get(&name("a")).is_none());
    assert_eq!(secrets.finish(&all(), at(0)), [name("a")]);
    assert_eq!(
        secrets.get(&name("a")).unwrap().changed_at,
        None,
        "when it changed is not known"
    );
}

#[test]
fn a_change_is_news_once_and_has_its_time() {
    let mut secrets = listed(&[meta("a", "1", "5")]);
    assert_eq!(secrets.apply(&meta("a", "1", "6"), at(10)), Some(name("a")));
    assert_eq!(secrets.get(&name("a")).unwrap().changed_at, Some(at(10)));
    assert_eq!(secrets.apply(&meta("b", "2", "7"), at(11)), Some(name("b")));
    // The echo of an own write, and outdated events.
    assert_eq!(secrets.apply(&meta("a", "1", "6"), at(12)), None);
    assert_eq!(secrets.apply(&meta("a", "1", "4"), at(12)), None);
    assert_eq!(version(&secrets, "a").as_deref(), Some("6"));
    assert_eq!(secrets.get(&name("a")).unwrap().changed_at, Some(at(10)));
}

#[test]
fn a_recreated_secret_is_news_and_the_deletion_of_the_old_one_is_not() {
    let mut secrets = listed(&[meta("a", "1", "5")]);
    assert_eq!(secrets.apply(&meta("a", "2", "9"), at(1)), Some(name("a")));
    assert_eq!(
        secrets.delete(&meta("a", "1", "8")),
        None,
        "late news of the old one"
    );
    assert_eq!(version(&secrets, "a").as_deref(), Some("9"));
    assert_eq!(
        secrets.apply(&meta("a", "3", "2"), at(2)),
        None,
        "versions of one kind grow across objects"
    );
    assert_eq!(secrets.delete(&meta("a", "2", "10")), Some(name("a")));
    assert_eq!(secrets.delete(&meta("a", "2", "10")), None);
    assert!(secrets.get(&name("a")).is_none());
}

#[test]
fn a_relist_reports_what_differs_and_keeps_what_does_not() {
    let mut secrets = listed(&[
        meta("same", "1", "1"),
        meta("moved", "2", "2"),
        meta("gone", "3", "3"),
    ]);
    secrets.apply(&meta("same", "1", "4"), at(5));
    let list = [
        meta("same", "1", "4"),
        meta("moved", "2", "6"),
        meta("new", "4", "7"),
    ];
    assert_eq!(
        relist(&mut secrets, &list, 100),
        [name("gone"), name("moved"), name("new")]
    );
    assert!(secrets.get(&name("gone")).is_none());
    assert_eq!(
        secrets.get(&name("same")).unwrap().changed_at,
        Some(at(5)),
        "an old change stays old"
    );
    assert_eq!(
        secrets.get(&name("moved")).unwrap().changed_at,
        Some(at(100))
    );
    assert!(relist(&mut secrets, &list, 200).is_empty());
}

#[test]
fn a_list_that_broke_off_changes_nothing() {
    let mut secrets = listed(&[meta("a", "1", "1")]);
    secrets.begin(&all());
    assert_eq!(
        version(&secrets, "a").as_deref(),
        Some("1"),
        "the old list remains while a new one arrives"
    );
    assert!(relist(&mut secrets, &[meta("a", "1", "1")], 1).is_empty());
    assert!(secrets.finish(&all(), at(2)).is_empty(), "no list, no news");
    assert_eq!(version(&secrets, "a").as_deref(), Some("1"));
}

#[test]
fn versions_are_compared_as_numbers_and_else_the_later_news_wins() {
    for (a, b, expected) in [
        ("10", "9", true),
        ("9", "10", false),
        ("9", "9", false),
        ("18446744073709551615", "1", true),
        ("abc", "abd", true),
        ("abc", "abc", false),
        ("10", "abc", true),
        ("", "1", true),
    ] {
        assert_eq!(newer(a, b), expected, "{a} after {b}");
    }
}

#[test]
fn a_list_that_is_older_than_an_own_write_does_not_undo_it() {
    let mut secrets = listed(&[meta("rotated", "1", "5")]);
    secrets.begin(&all());
    secrets.listed(&all(), &meta("rotated", "1", "5"));
    // Changed and created while the list was being received: its snapshot is older than both.
    secrets.apply(&meta("rotated", "1", "8"), at(1));
    secrets.apply(&meta("created", "2", "9"), at(1));
    assert!(
        secrets.finish(&all(), at(2)).is_empty(),
        "own writes are no news"
    );
    assert_eq!(version(&secrets, "rotated").as_deref(), Some("8"));
    assert_eq!(version(&secrets, "created").as_deref(), Some("9"));
    // The next list was started after both.
    assert_eq!(
        relist(&mut secrets, &[meta("rotated", "1", "8")], 3),
        [name("created")]
    );
    assert!(secrets.get(&name("created")).is_none());
}

#[test]
fn a_list_that_is_newer_than_an_own_write_wins() {
    let mut secrets = listed(&[meta("a", "1", "5")]);
    secrets.begin(&all());
    secrets.apply(&meta("a", "1", "8"), at(1));
    secrets.listed(&all(), &meta("a", "1", "9"));
    assert_eq!(secrets.finish(&all(), at(2)), [name("a")]);
    assert_eq!(version(&secrets, "a").as_deref(), Some("9"));
}

#[test]
fn what_the_watch_shows_while_an_own_write_is_on_its_way_is_reported_when_it_ends() {
    let mut secrets = listed(&[meta("a", "1", "5"), meta("b", "2", "6")]);
    let write = secrets.call_begins(&name("a"));
    assert_eq!(secrets.apply(&meta("a", "1", "8"), at(1)), None);
    assert_eq!(
        version(&secrets, "a").as_deref(),
        Some("8"),
        "known at once"
    );
    assert_eq!(
        secrets.apply(&meta("b", "2", "9"), at(1)),
        Some(name("b")),
        "another Secret is news as ever"
    );
    let ended = secrets.write_ends(&name("a"), write, Some(&meta("a", "1", "8")), at(2));
    assert_eq!((ended.shown.as_deref(), ended.owed), (Some("8"), false));
    assert_eq!(secrets.apply(&meta("a", "1", "10"), at(2)), Some(name("a")));
    let write = secrets.call_begins(&name("a"));
    let ended = secrets.write_ends(&name("a"), write, None, at(3));
    assert_eq!(ended, Finished::default(), "nothing was shown");
    assert_eq!(secrets.transient(), Transient::default());
}

#[test]
fn two_writes_of_one_secret_at_once_hide_no_change_of_others() {
    let mut secrets = listed(&[meta("a", "1", "5")]);
    let first = secrets.call_begins(&name("a"));
    assert_eq!(
        secrets.apply(&meta("a", "1", "7"), at(1)),
        None,
        "somebody else"
    );
    let second = secrets.call_begins(&name("a"));
    let ended = secrets.write_ends(&name("a"), second, None, at(2));
    assert_eq!(ended.shown, None);
    let ended = secrets.write_ends(&name("a"), first, None, at(2));
    assert_eq!(ended.shown.as_deref(), Some("7"));
}

/// An event for one Secret between the time at which a write of version 8 is sent and the time at which its response arrives.
#[derive(Clone, Copy, Debug)]
enum Meanwhile {
    /// The watch delivers this version.
    Shows(&'static str, &'static str),
    /// The watch delivers the deletion of this UID at this version.
    Deletes(&'static str, &'static str),
    /// A list with the Secret at this version, or without the Secret.
    Lists(Option<(&'static str, &'static str)>),
}

#[test]
fn a_late_answer_never_undoes_what_the_watch_has_shown() {
    use Meanwhile::{Deletes, Lists, Shows};
    // The state before, the events in the meantime, the version in the cache afterwards, and whether it is in doubt.
    type Case = (
        &'static [(&'static str, &'static str)],
        &'static [Meanwhile],
        Option<&'static str>,
        bool,
    );
    let cases: [Case; 17] = [
        (&[("1", "5")], &[], Some("8"), false),
        (&[], &[], Some("8"), false),
        (&[("1", "5")], &[Shows("1", "8")], Some("8"), false),
        (&[("1", "5")], &[Shows("1", "9")], Some("9"), false),
        (
            &[("1", "5")],
            &[Shows("1", "8"), Deletes("1", "9")],
            None,
            false,
        ),
        (&[("1", "5")], &[Deletes("1", "9")], None, false),
        (&[], &[Shows("1", "8"), Deletes("1", "9")], None, false),
        // The deletion of an older object with the same name.
        (&[("0", "5")], &[Deletes("0", "6")], Some("8"), false),
        // Recreated by another writer.
        (
            &[("1", "5")],
            &[Deletes("1", "9"), Shows("2", "10")],
            Some("10"),
            false,
        ),
        (
            &[("1", "5")],
            &[Deletes("1", "9"), Shows("2", "10"), Deletes("2", "11")],
            None,
            false,
        ),
        // A list that is older than the write, newer, or from after the deletion.
        (&[("1", "5")], &[Lists(Some(("1", "5")))], Some("8"), false),
        (&[("1", "5")], &[Lists(Some(("1", "9")))], Some("9"), false),
        (&[("1", "5")], &[Lists(None)], Some("8"), true),
        (&[], &[Lists(None)], Some("8"), true),
        (&[], &[Lists(None), Shows("1", "8")], Some("8"), false),
        (
            &[],
            &[Lists(None), Shows("1", "8"), Deletes("1", "9")],
            None,
            false,
        ),
        // A deletion that results from a list has the last known version.
        (&[("1", "5")], &[Deletes("1", "5")], Some("8"), true),
    ];
    for (before, meanwhile, expected, doubtful) in cases {
        let before: Vec<ObjectMeta> = before.iter().map(|(u, v)| meta("a", u, v)).collect();
        let mut secrets = listed(&before);
        let write = secrets.call_begins(&name("a"));
        for event in meanwhile {
            match event {
                Shows(uid, version) => {
                    secrets.apply(&meta("a", uid, version), at(1));
                }
                Deletes(uid, version) => {
                    secrets.delete(&meta("a", uid, version));
                }
                Lists(there) => {
                    let there: Vec<ObjectMeta> =
                        there.iter().map(|(u, v)| meta("a", u, v)).collect();
                    relist(&mut secrets, &there, 1);
                }
            }
        }
        secrets.write_ends(&name("a"), write, Some(&meta("a", "1", "8")), at(2));
        assert_eq!(
            version(&secrets, "a").as_deref(),
            expected,
            "{before:?} {meanwhile:?}"
        );
        assert_eq!(
            !secrets.take_doubtful().is_empty(),
            doubtful,
            "{before:?} {meanwhile:?}"
        );
    }
}

#[test]
fn a_write_that_a_list_lacks_is_in_doubt_until_it_is_read() {
    let mut secrets = listed(&[]);
    secrets.begin(&all());
    let write = secrets.call_begins(&name("a"));
    secrets.write_ends(&name("a"), write, Some(&meta("a", "1", "8")), at(1));
    secrets.finish(&all(), at(2));
    assert_eq!(
        version(&secrets, "a").as_deref(),
        Some("8"),
        "the list may be older"
    );
    assert_eq!(secrets.take_doubtful(), [name("a")]);
    let read = secrets.call_begins(&name("a"));
    assert!(
        secrets.read_ends(&name("a"), read, None, at(3)),
        "it is news"
    );
    assert_eq!(version(&secrets, "a"), None);
}

#[test]
fn a_read_corrects_the_cache_unless_the_watch_has_shown_more_meanwhile() {
    // The server answers with its newest state, even if it is older than the known one.
    for (known, found, expected) in [
        (Some("5"), Some("9"), Some("9")),
        (Some("9"), Some("5"), Some("5")),
        (Some("5"), None, None),
        (None, Some("9"), Some("9")),
        (None, None, None),
        (Some("5"), Some("5"), Some("5")),
    ] {
        let known: Vec<ObjectMeta> = known.iter().map(|v| meta("a", "1", v)).collect();
        let mut secrets = listed(&known);
        let read = secrets.call_begins(&name("a"));
        let found = found.map(|v| meta("a", "1", v));
        let before = version(&secrets, "a");
        let news = secrets.read_ends(&name("a"), read, found.as_ref(), at(1));
        assert_eq!(version(&secrets, "a").as_deref(), expected);
        assert_eq!(news, before.as_deref() != expected);
    }
    let mut secrets = listed(&[meta("a", "1", "5")]);
    let read = secrets.call_begins(&name("a"));
    secrets.delete(&meta("a", "1", "9"));
    secrets.read_ends(&name("a"), read, Some(&meta("a", "1", "7")), at(1));
    assert_eq!(version(&secrets, "a"), None, "the answer is older");
    let read = secrets.call_begins(&name("a"));
    secrets.apply(&meta("a", "2", "12"), at(2));
    assert!(
        secrets.read_ends(&name("a"), read, None, at(3)),
        "reported late"
    );
    assert_eq!(version(&secrets, "a").as_deref(), Some("12"));
    assert_eq!(secrets.take_doubtful(), [name("a")], "and asked again");
}

#[test]
fn a_list_of_one_namespace_does_not_affect_another_one() {
    let of = |namespace: &str, version: &str| ObjectMeta {
        namespace: Some(namespace.to_owned()),
        ..meta("a", "1", version)
    };
    let parts = ["b", "c"].map(Part::from);
    let mut secrets = Secrets::default();
    for part in &parts {
        secrets.begin(part);
    }
    secrets.listed(&parts[0], &of("b", "1"));
    assert_eq!(
        secrets.finish(&parts[0], at(0)),
        [("b".to_owned(), "a".to_owned())]
    );
    // The other list is still being received: it must not put an own write of the first part in doubt.
    secrets.apply(&of("b", "3"), at(1));
    secrets.listed(&parts[1], &of("c", "2"));
    assert_eq!(
        secrets.finish(&parts[1], at(2)),
        [("c".to_owned(), "a".to_owned())]
    );
    assert!(secrets.take_doubtful().is_empty());
    let version = |secrets: &Secrets, namespace: &str| {
        let seen = secrets.get(&(namespace.to_owned(), "a".to_owned()));
        seen.map(|s| (s.facts.version.clone(), s.changed_at))
    };
    assert_eq!(version(&secrets, "b"), Some(("3".to_owned(), Some(at(1)))));
    assert_eq!(version(&secrets, "c"), Some(("2".to_owned(), None)));
    secrets.begin(&parts[0]);
    assert_eq!(
        secrets.finish(&parts[0], at(3)),
        [("b".to_owned(), "a".to_owned())]
    );
    assert_eq!(version(&secrets, "b"), None);
    assert!(version(&secrets, "c").is_some());
    assert_eq!(secrets.transient(), Transient::default());
}
