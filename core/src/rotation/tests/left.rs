//! Credentials that a rotation replaced and does not remove. They are reported as long as they are valid at the issuer, and nothing waits for
//! them.

use jiff::{SignedDuration, Timestamp};

use super::process::Process;
use crate::{
    fixtures::at,
    rotation::{
        Application, Class, Fault, Key, KeyMark, Kind, Mark, Notice, Outcome, Phase, RemovalSource,
        Slot, Step, ValueRecord,
    },
};

const DAY: i64 = 86_400;

/// A process in which a rotation has replaced a user's certificate. The replaced one expires at `until`; the certificate with number 1 is in use.
fn replaced(until: Timestamp) -> Process {
    let mut process = Process::of(Kind::Certificate);
    process.seen.slots.previous = Some(Slot {
        digest: "previous".to_owned(),
        mark: Mark::Certificate {
            sha1: "ab01".to_owned(),
            sha256: "cd02".to_owned(),
        },
        name: None,
        validity: Some((at(-DAY), until)),
    });
    process.record().previous = Some(ValueRecord {
        digest: "previous".to_owned(),
        from: Some(at(-DAY)),
        until: Some(until),
        ..ValueRecord::default()
    });
    process
}

/// The issuer does not allow the application to be read.
fn refuse_to_read(process: &mut Process) {
    let refused = Outcome::Failed(Fault {
        class: Class::Permission,
        sent: true,
        may_have_happened: false,
        retry_after: None,
        message: "denied".to_owned(),
    });
    let now = process.now;
    process.memory.after(&Step::ReadApplication, &refused, now);
}

fn lists(process: &mut Process, thumbprints: &[&str]) {
    let key = |thumbprint: &&str| Key {
        id: format!("id-of-{thumbprint}"),
        name: None,
        mark: Some(KeyMark::Thumbprint((*thumbprint).to_owned())),
        from: None,
        until: None,
    };
    let application = Application {
        read_at: process.now,
        keys: thumbprints.iter().map(key).collect(),
    };
    let (read, now) = (Outcome::Application(application), process.now);
    process.memory.after(&Step::ReadApplication, &read, now);
}

#[test]
fn a_certificate_with_unknown_id_is_reported_until_it_expires_and_blocks_nothing() {
    let until = at(10 * DAY);
    let mut process = replaced(until);
    refuse_to_read(&mut process);
    let expected = Notice::Foreign {
        id: None,
        thumbprint: Some("AB01".to_owned()),
        until: Some(until),
    };
    let notices = process.decide().notices;
    assert_eq!(notices, std::slice::from_ref(&expected));
    assert!(!expected.needs_user());
    let message = expected.message();
    // The message does not mention `adopt`: without a known key ID, `adopt.keyId` would have no effect.
    let parts = ["thumbprint AB01", "until 2026-", "end with -previous"];
    assert!(parts.iter().all(|w| message.contains(w)), "{message}");
    assert!(!message.contains("adopt"), "{message}");
    process.settings.adopt = Some("0f0f0f0f-0000-4000-8000-000000000000".to_owned());
    assert_eq!(process.decide().notices, std::slice::from_ref(&expected));

    // The same at the end of the overlap.
    process.record().state = Phase::Switched { retire_at: at(0) };
    let next = process.decide();
    assert_eq!(next.notices, [expected]);
    assert!(matches!(next.step, Step::Write { .. }), "{:?}", next.step);

    process.record().state = Phase::Steady;
    process.now = until;
    refuse_to_read(&mut process);
    assert!(process.decide().notices.is_empty());
    process.now = until - SignedDuration::from_secs(1);
    assert_eq!(process.decide().notices.len(), 1);
}

#[test]
fn a_certificate_that_is_removed_at_the_issuer_is_reported_no_more() {
    let mut process = replaced(at(10 * DAY));
    lists(&mut process, &["aa", "ab01"]);
    let notices = process.decide().notices;
    let named =
        matches!(&notices[..], [Notice::Foreign { id: Some(id), .. }] if id == "id-of-ab01");
    assert!(named, "{notices:?}");
    assert!(notices[0].message().contains("rotation.adopt.keyId"));
    // With a recorded ID and without one.
    for id in [Some("id-of-ab01".to_owned()), None] {
        process.record().previous.as_mut().unwrap().id = id;
        lists(&mut process, &["aa"]);
        assert!(process.decide().notices.is_empty());
    }
}

/// apicred removes a certificate that it added by the key ID from the response to adding it. This needs no right to read the application.
#[test]
fn a_certificate_of_apicred_is_removed_without_the_right_to_read() {
    let mut process = replaced(at(10 * DAY));
    refuse_to_read(&mut process);
    let previous = process.record().previous.as_mut().unwrap();
    (previous.id, previous.n) = (Some("key-0".to_owned()), Some(0));
    let key = previous.clone();
    process.record().state = Phase::Retiring {
        key,
        from: RemovalSource::Previous,
    };
    let id = "key-0".to_owned();
    assert_eq!(process.decide().step, Step::RemoveKey { id });
}

#[test]
fn a_credential_that_is_adopted_when_it_is_in_no_secret_any_more_is_removed() {
    let mut process = Process::of(Kind::Secret);
    let Outcome::Application(mut application) = process.application() else {
        unreachable!("it is read")
    };
    application.keys.push(Key {
        id: "key-0".to_owned(),
        name: None,
        mark: Some(KeyMark::Hint("old".to_owned())),
        from: None,
        until: None,
    });
    process.does(&Outcome::Application(application));
    assert!(process.waits() > SignedDuration::from_hours(1), "a user's");
    process.settings.adopt = Some("key-0".to_owned());
    assert!(
        process.waits() > SignedDuration::from_hours(1),
        "it was never in this Secret, and may be in use elsewhere"
    );
    let record = process.record();
    record.replaced = vec!["key-0".to_owned()];
    let Step::Write { change, .. } = process.does(&Outcome::Done) else {
        panic!("it is to be removed")
    };
    let Phase::Retiring { key, from } = change.record.state else {
        panic!("{:?}", change.record.state)
    };
    assert_eq!(
        (key.id.as_deref(), from),
        (Some("key-0"), crate::rotation::RemovalSource::Orphan)
    );
    let removal = Step::RemovePassword {
        id: "key-0".to_owned(),
    };
    assert_eq!(process.decide().step, removal);
}
