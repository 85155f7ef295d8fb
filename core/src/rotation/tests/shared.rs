//! Credentials that are also stored in another Secret or under other keys: a copied Secret, and a spec that names another place.

use super::{overlap::overlap, process::Process};
use crate::{
    fixtures::at,
    rotation::{
        Also, Application, InOther, Key, KeyMark, Kind, Mark, Notice, Outcome, Phase,
        RemovalSource, Step, Stored, ValueRecord,
    },
};

const DAY: i64 = 86_400;
const OLD: i64 = -9_000;

fn other(secret: Option<&str>, id: Option<&str>, digest: &str) -> InOther {
    InOther {
        secret: secret.map(str::to_owned),
        value: Stored {
            digest: digest.to_owned(),
            id: id.map(str::to_owned),
            n: Some(0),
            replaced: false,
        },
    }
}

/// The issuer lists the current credential and number 0, and names the resource that created that one.
fn reads(process: &mut Process, uid: Option<&str>) {
    let Outcome::Application(mut application) = process.application() else {
        panic!("an application");
    };
    let own = process.seen.names.name(7);
    let name = uid.map_or(own, |uid| format!("apicred/cluster/{uid}/7"));
    application.keys.push(Key {
        id: "key-0".to_owned(),
        name: Some(name),
        mark: Some(match process.settings.kind {
            Kind::Secret => KeyMark::Hint("pre".to_owned()),
            Kind::Certificate | Kind::Key => KeyMark::Thumbprint("pre".to_owned()),
        }),
        from: Some(at(OLD)),
        until: Some(at(180 * DAY)),
    });
    let now = process.now;
    let read = Outcome::Application(Application {
        read_at: now,
        ..application
    });
    process.memory.after(&Step::ReadApplication, &read, now);
}

/// Whether the next steps are to remove number 0.
fn retires(process: &Process) -> bool {
    match process.decide().step {
        Step::Write { change, .. } => matches!(change.record.state, Phase::Retiring { .. }),
        Step::RemovePassword { .. } | Step::RemoveKey { .. } => true,
        _ => false,
    }
}

fn also(process: &Process) -> Vec<Also> {
    let notices = process.decide().notices.into_iter();
    let places = notices.filter_map(|notice| match notice {
        Notice::AlsoStored { place, .. } => Some(place),
        _ => None,
    });
    places.collect()
}

#[test]
fn a_copy_of_a_secret_does_not_remove_what_the_other_secret_uses() {
    for kind in [Kind::Secret, Kind::Certificate] {
        let at_end = |others: Vec<InOther>| {
            let mut process = overlap(kind);
            process.now = at(DAY);
            process.seen.used_at = Some(at(DAY));
            process.seen.in_others = others;
            process.record().makers = vec!["uid-of-the-first".to_owned()];
            reads(&mut process, Some("uid-of-the-first"));
            process
        };
        // The resource was deleted and created again, or its Secret was restored: this one removes what the earlier one made.
        assert!(retires(&at_end(vec![])), "{kind:?}");
        for (here, place) in [
            (Some("copy"), Also::Secret("copy".to_owned())),
            (None, Also::OtherNamespace),
        ] {
            let copy = other(here, Some("key-0"), "previous");
            let process = at_end(vec![copy.clone()]);
            assert!(!retires(&process), "{kind:?}");
            assert_eq!(also(&process), [place], "{kind:?}");
            // The other rotation replaced it as well, and its overlap is not longer.
            let mut replaced = copy;
            replaced.value.replaced = true;
            assert!(retires(&at_end(vec![replaced])), "{kind:?}");
        }
        // The key ID is not secret: a user of another namespace may write it into an annotation.
        let claimed = other(None, Some("key-0"), "claimed");
        assert!(retires(&at_end(vec![claimed])), "{kind:?}");
        let unknown = other(Some("copy"), None, "previous");
        assert!(!retires(&at_end(vec![unknown])), "{kind:?}");
    }
}

#[test]
fn a_removal_that_began_before_the_copy_was_seen_is_not_continued() {
    let mut process = overlap(Kind::Secret);
    reads(&mut process, None);
    let key = process.record().previous.clone().expect("a value");
    let from = RemovalSource::Previous;
    process.record().state = Phase::Retiring { key, from };
    assert!(retires(&process));
    process.seen.in_others = vec![other(None, None, "previous")];
    let Step::Write { change, .. } = process.decide().step else {
        panic!("it is not removed");
    };
    assert_eq!(change.record.state, Phase::Steady);
}

/// After a restart, the Secrets of a namespace are listed later than those of another one.
#[test]
fn nothing_is_removed_before_the_secrets_of_all_namespaces_are_listed() {
    for kind in [Kind::Secret, Kind::Certificate] {
        for from in [RemovalSource::Previous, RemovalSource::Orphan] {
            let mut process = overlap(kind);
            let mut key = process.record().previous.clone().expect("a value");
            if from == RemovalSource::Orphan {
                key = process.record().previous.take().expect("a value");
                process.seen.slots.previous = None;
            }
            process.record().state = Phase::Retiring { key, from };
            process.now = at(DAY);
            for (started, reported) in [(at(DAY), vec![]), (at(0), vec![Notice::OthersUnlisted])] {
                process.seen.used_at = Some(process.now);
                reads(&mut process, None);
                process.memory.started = started;
                process.seen.others_known = false;
                let next = process.decide();
                assert!(matches!(next.step, Step::Wait { .. }), "{:?}", next.step);
                assert_eq!(next.notices, reported, "{kind:?} {from:?}");
                process.seen.others_known = true;
                let next = process.decide();
                assert!(next.step.changes_issuer(), "{kind:?} {:?}", next.step);
                assert_eq!(next.notices, []);
            }
            // A rotation that is due does not wait for a list that does not arrive.
            process.seen.others_known = false;
            process.seen.requested = Some("now".to_owned());
            let next = process.decide();
            assert!(!matches!(next.step, Step::Wait { .. }), "{:?}", next.step);
            assert!(!next.step.changes_issuer());
        }
    }
}

#[test]
fn without_the_secrets_of_all_namespaces_nothing_counts_as_an_orphan() {
    for kind in [Kind::Secret, Kind::Certificate] {
        let mut process = Process::of(kind);
        reads(&mut process, None);
        assert!(retires(&process), "{kind:?}: an orphan");
        process.seen.others_known = false;
        let next = process.decide();
        assert!(matches!(next.step, Step::Wait { .. }), "{:?}", next.step);
        // Nothing is due, and a rotation that is requested begins.
        assert_eq!(next.notices, []);
        process.seen.requested = Some("now".to_owned());
        assert!(!matches!(process.decide().step, Step::Wait { .. }));
        assert!(!retires(&process));
    }
}

#[test]
fn what_another_secret_or_key_stores_is_reported_and_no_orphan() {
    for kind in [Kind::Secret, Kind::Certificate] {
        let mut process = Process::of(kind);
        reads(&mut process, None);
        assert!(retires(&process), "{kind:?}: an orphan");
        let mark = |text: &str| match kind {
            Kind::Secret => Mark::Hint(text.to_owned()),
            Kind::Certificate | Kind::Key => Mark::Certificate {
                sha1: text.to_owned(),
                sha256: String::new(),
            },
        };
        process.seen.slots.other_keys = vec![mark("oth")];
        assert!(retires(&process), "{kind:?}: another value");
        // The spec named the other key before.
        process.seen.slots.other_keys.push(mark("pre"));
        assert!(!retires(&process), "{kind:?}");
        assert_eq!(also(&process), [Also::OtherKeys]);
        let message = process.decide().notices[0].message();
        assert!(
            message.contains("key-0") && message.contains("other keys"),
            "{message}"
        );

        // There are too many other keys to read.
        process.seen.slots.other_keys.clear();
        process.seen.slots.has_unread_keys = true;
        assert!(!retires(&process), "{kind:?}");
        assert_eq!(also(&process), [Also::OtherKeys]);
        process.seen.slots.has_unread_keys = false;

        // The spec named the other Secret before. There it may also be the one that a rotation replaced.
        let before = other(Some("before"), Some("key-0"), "digest");
        let mut replaced = before.clone();
        replaced.value.replaced = true;
        for before in [before, replaced] {
            process.seen.in_others = vec![before];
            assert!(!retires(&process), "{kind:?}");
            assert_eq!(also(&process), [Also::Secret("before".to_owned())]);
            let message = process.decide().notices[0].message();
            assert!(message.contains("Secret before"), "{message}");
        }
        process.seen.in_others = vec![other(Some("before"), Some("key-3"), "digest")];
        assert!(retires(&process), "{kind:?}: another credential");
    }
}

/// It makes no rotation wait: the issuer has another one.
#[test]
fn a_rotation_that_is_due_does_not_wait_for_what_another_secret_stores() {
    let mut process = Process::of(Kind::Secret);
    process.seen.requested = Some("now".to_owned());
    process.seen.in_others = vec![other(Some("before"), Some("key-0"), "digest")];
    reads(&mut process, None);
    let Step::Write { change, .. } = process.decide().step else {
        panic!("it begins");
    };
    assert!(matches!(change.record.state, Phase::Adding { .. }));
}

/// A copy in another namespace uses it. Only the digest proves that, and the issuer does not list digests.
#[test]
fn a_value_that_leaves_the_secret_while_a_copy_uses_it_is_no_orphan_later() {
    let mut process = Process::of(Kind::Secret);
    process.seen.in_others = vec![other(None, Some("key-0"), "previous")];
    process.record().previous = Some(ValueRecord {
        digest: "previous".to_owned(),
        id: Some("key-0".to_owned()),
        n: Some(0),
        ..ValueRecord::default()
    });
    reads(&mut process, None);
    assert!(!retires(&process));
    // The next write no longer has it as a value.
    process.seen.requested = Some("now".to_owned());
    process.does(&Outcome::Done);
    let noted = process.record();
    assert_eq!(noted.previous, None);
    assert_eq!(noted.spared.len(), 1);
    noted.state = Phase::Steady;
    process.seen.requested = None;
    reads(&mut process, None);
    assert!(!retires(&process));
    process.seen.in_others.clear();
    assert!(retires(&process), "the copy is gone");
}

/// The annotation of the other Secret cannot be read any more, and its rotation has stopped.
#[test]
fn a_value_that_another_resource_created_is_no_orphan_if_only_this_annotation_has_it() {
    let mut process = Process::of(Kind::Secret);
    process.record().spared = vec![ValueRecord {
        digest: "previous".to_owned(),
        id: Some("key-0".to_owned()),
        n: Some(0),
        ..ValueRecord::default()
    }];
    reads(&mut process, Some("uid-of-the-first"));
    assert!(!retires(&process));
    reads(&mut process, None);
    assert!(retires(&process), "its own");
}
