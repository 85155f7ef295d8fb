use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::{
    controller::secrets::{Secrets, newer},
    fixtures::at,
};

fn meta(name: &str, uid: &str, version: &str) -> ObjectMeta {
    ObjectMeta {
        namespace: Some("secops".to_owned()),
        name: Some(name.to_owned()),
        uid: Some(uid.to_owned()),
        resource_version: Some(version.to_owned()),
        ..ObjectMeta::default()
    }
}

fn name(name: &str) -> (String, String) {
    ("secops".to_owned(), name.to_owned())
}

/// A store after a first list.
fn listed(metas: &[ObjectMeta]) -> Secrets {
    let mut secrets = Secrets::default();
    relist(&mut secrets, metas, 0);
    secrets
}

fn relist(secrets: &mut Secrets, metas: &[ObjectMeta], now: i64) -> Vec<(String, String)> {
    secrets.begin();
    for meta in metas {
        secrets.listed(meta);
    }
    let mut changed = secrets.finish(at(now));
    changed.sort();
    changed
}

fn version(secrets: &Secrets, of: &str) -> Option<String> {
    secrets.get(&name(of)).map(|s| s.facts.version.clone())
}

#[test]
fn nothing_is_known_before_the_first_list_is_complete() {
    let mut secrets = Secrets::default();
    assert!(!secrets.is_listed());
    secrets.begin();
    secrets.listed(&meta("a", "1", "5"));
    assert!(!secrets.is_listed() && secrets.get(&name("a")).is_none());
    assert_eq!(secrets.finish(at(0)), [name("a")]);
    assert!(secrets.is_listed());
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
    // The echo of an own write, and news that were overtaken.
    assert_eq!(secrets.apply(&meta("a", "1", "6"), at(12)), None);
    assert_eq!(secrets.apply(&meta("a", "1", "4"), at(12)), None);
    assert_eq!(version(&secrets, "a").as_deref(), Some("6"));
    assert_eq!(secrets.get(&name("a")).unwrap().changed_at, Some(at(10)));
}

#[test]
fn a_secret_made_anew_is_news_and_the_end_of_the_old_one_is_not() {
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
        Some(name("a")),
        "another object has another count"
    );
    assert_eq!(secrets.apply(&meta("a", "2", "9"), at(3)), Some(name("a")));
    assert_eq!(secrets.delete(&meta("a", "2", "10")), Some(name("a")));
    assert_eq!(secrets.delete(&meta("a", "2", "10")), None);
    assert!(secrets.get(&name("a")).is_none());
}

#[test]
fn a_relist_tells_what_differs_and_keeps_what_does_not() {
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
    secrets.begin();
    assert_eq!(
        version(&secrets, "a").as_deref(),
        Some("1"),
        "the old list stands while a new one comes"
    );
    assert!(relist(&mut secrets, &[meta("a", "1", "1")], 1).is_empty());
    assert!(secrets.finish(at(2)).is_empty(), "no list, no news");
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
    secrets.begin();
    secrets.listed(&meta("rotated", "1", "5"));
    // Rotated and created while the list was on its way: its snapshot is older than both.
    secrets.apply(&meta("rotated", "1", "8"), at(1));
    secrets.apply(&meta("created", "2", "9"), at(1));
    assert!(secrets.finish(at(2)).is_empty(), "own writes are no news");
    assert_eq!(version(&secrets, "rotated").as_deref(), Some("8"));
    assert_eq!(version(&secrets, "created").as_deref(), Some("9"));
    // The next list was begun after both.
    assert_eq!(
        relist(&mut secrets, &[meta("rotated", "1", "8")], 3),
        [name("created")]
    );
    assert!(secrets.get(&name("created")).is_none());
}

#[test]
fn a_list_that_is_newer_than_an_own_write_wins() {
    let mut secrets = listed(&[meta("a", "1", "5")]);
    secrets.begin();
    secrets.apply(&meta("a", "1", "8"), at(1));
    secrets.listed(&meta("a", "1", "9"));
    assert_eq!(secrets.finish(at(2)), [name("a")]);
    assert_eq!(version(&secrets, "a").as_deref(), Some("9"));
}

#[test]
fn what_the_watch_shows_while_an_own_write_is_on_its_way_is_told_when_it_ends() {
    let mut secrets = listed(&[meta("a", "1", "5"), meta("b", "2", "6")]);
    secrets.write_begins(name("a"));
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
    assert_eq!(secrets.write_ends(&name("a")).as_deref(), Some("8"));
    assert_eq!(secrets.apply(&meta("a", "1", "8"), at(2)), None, "the echo");
    assert_eq!(secrets.apply(&meta("a", "1", "10"), at(2)), Some(name("a")));
    secrets.write_begins(name("a"));
    assert_eq!(secrets.write_ends(&name("a")), None, "nothing was shown");
}
