//! The client names another application than the one that the annotation describes.

use super::process::{Process, client};
use crate::{
    credential::Endpoint,
    fixtures::at,
    rotation::{
        Changed, ClientAt, Kind, Mark, Notice, Outcome, Phase, Record, RemovalSource,
        RotationSettings, Slot, Slots, Step, StoredRecord, ValueRecord,
    },
};

fn slot(value: &str, client: &str, kind: Kind) -> Slot {
    let mark = match kind {
        Kind::Secret => Mark::Hint(value.chars().take(3).collect()),
        Kind::Certificate => Mark::Certificate {
            sha1: format!("1{value}"),
            sha256: format!("2{value}"),
        },
        Kind::Key => Mark::Key(value.to_owned()),
    };
    Slot {
        digest: format!("{value} of {client}"),
        mark,
        name: None,
        validity: None,
    }
}

fn known(value: &str, n: u32) -> ValueRecord {
    ValueRecord {
        digest: format!("{value} of c-1"),
        id: Some(value.to_owned()),
        n: Some(n),
        from: Some(at(-9_000)),
        until: Some(at(180 * 86_400)),
    }
}

/// Credential 1 was replaced by 2, and 3 is the next one.
fn process(kind: Kind, state: Phase) -> Process {
    let mut process = Process::of(kind);
    let record = process.record();
    *record = Record {
        state,
        client: Some(client("c-1")),
        n: 3,
        current: Some(known("key-2", 2)),
        next: Some(known("key-3", 3)),
        previous: Some(known("key-1", 1)),
        ..Record::default()
    };
    names(&mut process, "c-1", kind);
    process
}

/// The spec names this client.
fn names(process: &mut Process, id: &str, kind: Kind) {
    process.seen.client = client(id);
    let slots = &mut process.seen.slots;
    slots.current = Some(slot("key-2", id, kind));
    slots.next = Some(slot("key-3", id, kind));
    slots.previous = Some(slot("key-1", id, kind));
}

fn states() -> Vec<Phase> {
    let since = at(0);
    let retiring = |key, from| Phase::Retiring { key, from };
    vec![
        Phase::Steady,
        Phase::Adding { n: 3, since },
        Phase::Added { since },
        Phase::Switched { retire_at: since },
        retiring(known("key-3", 3), RemovalSource::Next),
        retiring(known("key-1", 1), RemovalSource::Previous),
        retiring(known("key-0", 0), RemovalSource::Orphan),
    ]
}

#[test]
fn nothing_is_sent_for_another_application_and_a_user_learns_what_is_left_there() {
    for kind in [Kind::Secret, Kind::Certificate, Kind::Key] {
        for state in states() {
            let mut process = process(kind, state.clone());
            process.seen.requested = Some("now".to_owned());
            let before = process.decide();
            names(&mut process, "c-2", kind);
            let next = process.decide();
            assert!(matches!(next.step, Step::Wait { .. }), "{:?}", next.step);
            let [
                Notice::Elsewhere {
                    client: old,
                    left,
                    changed: Changed::Client,
                },
            ] = next.notices.as_slice()
            else {
                panic!("{kind:?} {state:?}: {:?}", next.notices)
            };
            assert_eq!(*old, client("c-1"));
            for id in ["key-1", "key-2", "key-3"] {
                assert!(left.contains(&id.to_owned()), "{state:?}: {left:?}");
            }
            let orphan =
                matches!(&state, Phase::Retiring { from, .. } if *from == RemovalSource::Orphan);
            assert_eq!(left.contains(&"key-0".to_owned()), orphan);
            let message = next.notices[0].message();
            for expected in ["client c-1", "https://issuer.example", "key-3"] {
                assert!(message.contains(expected), "{message}");
            }
            assert!(next.notices[0].needs_user());
            // Status shows the values, but nothing about the credentials of the other application.
            let ids = next.keys.iter().filter_map(|shown| shown.id.as_deref());
            assert!(kind == Kind::Key || ids.count() == 0, "{:?}", next.keys);

            // The user takes it back.
            names(&mut process, "c-1", kind);
            assert_eq!(process.decide(), before, "{kind:?} {state:?}");
            // Or the user has removed what is left, and the annotation.
            names(&mut process, "c-2", kind);
            process.seen.slots.next = None;
            process.seen.slots.previous = None;
            process.seen.noted = StoredRecord::Absent;
            let next = process.decide();
            assert!(!matches!(
                next.notices.as_slice(),
                [Notice::Elsewhere { .. }]
            ));
            assert!(!next.step.changes_issuer(), "{:?}", next.step);
        }
    }
}

/// The other kind, for the same application at the same issuer.
fn other(kind: Kind) -> Kind {
    match kind {
        Kind::Secret => Kind::Certificate,
        Kind::Certificate | Kind::Key => Kind::Secret,
    }
}

/// A user replaces `secrets` by `certificates`, or the other way round: a key ID of one kind is never sent to the call for the other kind.
#[test]
fn nothing_is_sent_or_forgotten_about_credentials_of_another_kind() {
    for kind in [Kind::Secret, Kind::Certificate] {
        for state in states() {
            let mut process = process(kind, state.clone());
            process.record().kind = Some(kind);
            let before = process.decide();
            let now = other(kind);
            let slots = process.seen.slots.clone();
            process.settings = RotationSettings::of(now);
            process.seen.slots = Slots {
                current: Some(slot("key-9", "c-1", now)),
                ..Slots::default()
            };
            process.seen.used_at = Some(process.now);
            process.seen.requested = Some("now".to_owned());
            let next = process.decide();
            assert!(matches!(next.step, Step::Wait { .. }), "{:?}", next.step);
            let [Notice::Elsewhere { left, changed, .. }] = next.notices.as_slice() else {
                panic!("{kind:?} {state:?}: {:?}", next.notices)
            };
            assert_eq!(*changed, Changed::Kind { before: kind, now });
            for id in ["key-1", "key-2", "key-3"] {
                assert!(left.contains(&id.to_owned()), "{state:?}: {left:?}");
            }
            let orphan =
                matches!(&state, Phase::Retiring { from, .. } if *from == RemovalSource::Orphan);
            assert_eq!(left.contains(&"key-0".to_owned()), orphan);
            let said = next.notices[0].message();
            let words = match kind {
                Kind::Secret => "has certificates now, and the client secrets that apicred made",
                _ => "has client secrets now, and the certificates that apicred made",
            };
            assert!(said.contains(words) && said.contains("key-3"), "{said}");
            assert!(next.notices[0].needs_user());

            // The user takes it back.
            process.settings = RotationSettings::of(kind);
            process.seen.slots = slots;
            (process.seen.used_at, process.seen.requested) = (Some(at(0)), None);
            assert_eq!(process.decide(), before, "{kind:?} {state:?}");
        }
    }
}

#[test]
fn what_a_user_made_of_another_kind_blocks_nothing_and_is_forgotten() {
    let mut process = Process::of(Kind::Certificate);
    let record = process.record();
    record.kind = Some(Kind::Secret);
    record.replaced = vec!["key-0".to_owned()];
    if let Some(current) = &mut record.current {
        current.n = None;
    }
    process.seen.slots.current = Some(slot("pair", "c-1", Kind::Certificate));
    process.seen.requested = Some("now".to_owned());
    let next = process.decide();
    assert_eq!(next.record.replaced, Vec::<String>::new());
    assert_eq!(next.record.current, None);
    let elsewhere = |notice: &Notice| matches!(notice, Notice::Elsewhere { .. });
    assert!(!next.notices.iter().any(elsewhere), "{:?}", next.notices);
}

/// Each write records the kind. Before that, a record counts as one of the present kind.
#[test]
fn a_record_without_a_kind_gets_one_at_the_next_write() {
    for kind in [Kind::Secret, Kind::Certificate, Kind::Key] {
        for state in states() {
            let mut process = process(kind, state.clone());
            let unnamed = process.decide();
            process.record().kind = Some(kind);
            let named = process.decide();
            assert_eq!(unnamed.step, named.step, "{kind:?} {state:?}");
            assert_eq!(unnamed.notices, named.notices);
            if let Step::Write { change, .. } = unnamed.step {
                assert_eq!(change.record.kind, Some(kind));
            }
        }
    }
}

#[test]
fn a_client_secret_that_was_requested_and_not_answered_is_named_by_its_name() {
    let mut process = process(Kind::Secret, Phase::Adding { n: 4, since: at(0) });
    names(&mut process, "c-2", Kind::Secret);
    let message = process.decide().notices[0].message();
    let name = process.seen.names.name(4);
    assert!(message.contains(&name), "{message}");
}

#[test]
fn what_a_user_made_for_another_application_blocks_nothing() {
    let mut process = Process::of(Kind::Secret);
    let record = process.record();
    record.handled = Some("before".to_owned());
    record.replaced = vec!["key-0".to_owned()];
    if let Some(current) = &mut record.current {
        current.n = None;
    }
    process.seen.client = client("c-2");
    process.seen.slots.current = Some(slot("value", "c-2", Kind::Secret));
    process.seen.used_at = Some(process.now);
    process.seen.requested = Some("now".to_owned());
    let next = process.decide();
    assert_eq!(next.record.replaced, Vec::<String>::new());
    assert_eq!(next.record.handled.as_deref(), Some("before"));
    assert_eq!(process.does(&process.application()), Step::ReadApplication);
    let Step::Write { change, .. } = process.does(&Outcome::Done) else {
        panic!("a rotation begins")
    };
    assert_eq!(change.record.client, Some(client("c-2")));
}

#[test]
fn what_an_earlier_version_wrote_is_read_as_it_was() {
    for state in states() {
        let mut process = process(Kind::Secret, state);
        let named = process.decide();
        if let StoredRecord::Record(record) = &mut process.seen.noted {
            record.client = None;
        }
        let unnamed = process.decide();
        assert_eq!(unnamed.step, named.step);
        assert_eq!(unnamed.notices, named.notices);
    }
}

#[test]
fn another_name_of_the_tenant_is_no_other_client() {
    let entra = |tenant: &str| {
        let authority = format!("https://login.microsoftonline.com/{tenant}");
        Endpoint::Entra { authority }
    };
    let id = "1c1b7a0e-3c2d-4f5a-9b8e-7d6c5b4a3f2e";
    let client = ClientAt::of(&entra("contoso.onmicrosoft.com"), id);
    let tenant = "72f988bf-86f1-41af-91ab-2d7cd011db47";
    assert_eq!(client, ClientAt::of(&entra(tenant), &id.to_uppercase()));
    // At other issuers two clients may differ only in this.
    let fixed = |id: &str| {
        ClientAt::of(
            &Endpoint::Fixed("https://a.example/t".parse().expect("a URL")),
            id,
        )
    };
    assert_ne!(fixed("a"), fixed("A"));
}
