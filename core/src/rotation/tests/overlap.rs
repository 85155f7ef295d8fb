//! The overlap: how long it lasts, and what ends it.

use jiff::{SignedDuration, Timestamp};

use super::process::Process;
use crate::{
    fixtures::at,
    rotation::{
        Application, Key, KeyMark, Kind, Lagging, Mark, Names, Next, Notice, Outcome, Phase,
        Record, RemovalSource, Slot, Step, StoredRecord, ValueRecord, Values,
    },
};

const DAY: i64 = 86_400;

/// Credential number 1 took over, and the previous one stays until the end of the first day.
pub(super) fn overlap(kind: Kind) -> Process {
    let mut process = Process::of(kind);
    process.seen.slots.previous = Some(Slot {
        digest: "previous".to_owned(),
        mark: Mark::Hint("pre".to_owned()),
        name: None,
        validity: None,
    });
    let record = process.record();
    record.state = Phase::Switched { retire_at: at(DAY) };
    record.previous = Some(ValueRecord {
        digest: "previous".to_owned(),
        id: Some("key-0".to_owned()),
        n: Some(0),
        ..ValueRecord::default()
    });
    process
}

/// A user stored the previous value again as the current one, in another text.
#[test]
fn the_previous_credential_that_is_the_current_one_again_is_only_dropped_from_the_secret() {
    let certificate = Mark::Certificate {
        sha1: "aa".to_owned(),
        sha256: "bb".to_owned(),
    };
    for (mark, is_same) in [
        (certificate, true),
        (Mark::Key("aa".to_owned()), true),
        // Two client secrets may begin alike.
        (Mark::Hint("aa".to_owned()), false),
    ] {
        let mut process = overlap(Kind::Certificate);
        let slots = &mut process.seen.slots;
        for slot in [&mut slots.current, &mut slots.previous] {
            slot.as_mut().unwrap().mark = mark.clone();
        }
        let step = process.decide().step;
        let drops = matches!(&step, Step::Write { change, .. } if change.values == Values::DropPrevious
            && change.record.state == Phase::Steady);
        assert_eq!(drops, is_same, "{mark:?}: {step:?}");
    }
}

/// The current value got a token at the same time.
fn decide(process: &mut Process, now: Timestamp) -> Next {
    process.now = now;
    process.seen.used_at = Some(now);
    process.decide()
}

fn removes_the_previous_one(next: &Next) -> bool {
    let Step::Write { change, .. } = &next.step else {
        return false;
    };
    matches!(
        change.record.state,
        Phase::Retiring {
            from: RemovalSource::Previous,
            ..
        }
    )
}

/// A credential that should have renewed at this second.
pub(super) fn lags(renews_at: i64) -> Lagging {
    Lagging {
        name: "app".to_owned(),
        renews_at: at(renews_at),
    }
}

#[test]
fn a_credential_that_does_not_follow_ends_no_rotation_for_good() {
    for kind in [Kind::Secret, Kind::Certificate] {
        let mut process = overlap(kind);
        process.seen.lagging = Some(lags(0));
        let over = at(DAY);
        let next = decide(&mut process, over);
        let name = "app".to_owned();
        assert_eq!(next.notices, [Notice::UsersLag { name }], "{kind:?}");
        assert!(next.notices[0].message().contains("ApiCredential app"));
        let again = over + process.settings.pace.again;
        assert_eq!(next.step, Step::Wait { until: again });

        // The current one expires, so it is time for another one.
        let near = at((180 - 8) * DAY);
        let next = decide(&mut process, near - SignedDuration::from_secs(1));
        assert!(!removes_the_previous_one(&next), "{kind:?}");
        assert!(removes_the_previous_one(&decide(&mut process, near)));

        // A user requests another one.
        process.seen.requested = Some("now".to_owned());
        assert!(removes_the_previous_one(&decide(&mut process, over)));
        // If the current one got no token, the previous one stays.
        process.seen.used_at = None;
        let next = process.decide();
        assert!(matches!(next.step, Step::Trial { .. }), "{:?}", next.step);
    }
}

#[test]
fn a_rotation_requested_in_the_overlap_reports_its_start_and_how_to_start_it_now() {
    let mut process = overlap(Kind::Secret);
    let noon = at(DAY / 2);
    let next = decide(&mut process, noon);
    assert!(next.notices.is_empty(), "{:?}", next.notices);
    let by_age = at(-9_000) + process.settings.every;
    assert_eq!(next.rotates_at, Some(by_age));

    process.seen.requested = Some("now".to_owned());
    let next = decide(&mut process, noon);
    assert_eq!(next.notices, [Notice::Requested { at: at(DAY) }]);
    let message = next.notices[0].message();
    assert!(message.contains("lower rotation.overlap"), "{message}");
    assert_eq!(next.step, Step::Wait { until: at(DAY) });
    assert_eq!(next.rotates_at, Some(at(DAY)));

    // A user cannot wait.
    process.settings.overlap = SignedDuration::from_mins(1);
    let step = decide(&mut process, noon).step;
    let Step::Write { change, .. } = step else {
        panic!("{step:?}")
    };
    let soon = noon + SignedDuration::from_mins(1);
    assert_eq!(change.record.state, Phase::Switched { retire_at: soon });
    process.seen.noted = StoredRecord::Record(Box::new(change.record));
    // The write gave the Secret another version, so no credential has a token by it yet.
    process.seen.lagging = Some(lags(0));
    assert!(removes_the_previous_one(&decide(&mut process, soon)));
}

/// The application lists the current credential and this one.
fn lists(process: &mut Process, id: &str, name: Option<String>) {
    let key = |id: &str, name, hint: &str| Key {
        id: id.to_owned(),
        name,
        mark: Some(KeyMark::Hint(hint.to_owned())),
        from: Some(at(-9_000)),
        until: None,
    };
    let own = process.seen.names.name(1);
    let application = Application {
        read_at: process.now,
        keys: vec![key("key-1", Some(own), "val"), key(id, name, "pre")],
    };
    let outcome = Outcome::Application(application);
    process
        .memory
        .after(&Step::ReadApplication, &outcome, process.now);
}

#[test]
fn a_credential_of_a_user_is_noted_when_it_is_replaced_and_reported_as_long_as_it_is_listed() {
    // Twice: the second rotation replaces the previous value with another one.
    let mut noted = Record::default();
    let foreign = |id: &str| ValueRecord {
        id: Some(id.to_owned()),
        ..ValueRecord::default()
    };
    noted.replaces(Some(&foreign("key-0")));
    let own = ValueRecord {
        n: Some(1),
        ..foreign("key-1")
    };
    noted.replaces(Some(&own));
    noted.replaces(Some(&foreign("key-0")));
    assert_eq!(noted.replaced, ["key-0"]);
    for n in 2..40 {
        noted.replaces(Some(&foreign(&format!("key-{n}"))));
    }
    assert_eq!(noted.replaced.len(), 8);

    let mut process = Process::of(Kind::Secret);
    process.record().replaced = vec!["key-0".to_owned()];
    let id = Some("key-0".to_owned());
    lists(&mut process, "key-0", None);
    let foreign = Notice::Foreign {
        id,
        thumbprint: None,
        until: None,
    };
    assert_eq!(process.decide().notices, [foreign]);
    // It was removed there.
    lists(&mut process, "key-9", None);
    assert!(process.decide().notices.is_empty());
}

/// The client resource was deleted and created again: its UID has changed, and the annotation stays on the Secret.
#[test]
fn what_an_earlier_client_of_the_secret_made_goes_on_and_may_be_adopted() {
    let earlier = Names::new("cluster", "earlier-uid");
    let lists = |process: &mut Process, lost: &Names| {
        let key = |id: &str, name: String, hint: &str| Key {
            id: id.to_owned(),
            name: Some(name),
            mark: Some(KeyMark::Hint(hint.to_owned())),
            from: Some(at(-9_000)),
            until: None,
        };
        let application = Application {
            read_at: process.now,
            keys: vec![
                key("key-1", earlier.name(1), "val"),
                key("key-5", lost.name(5), "oth"),
            ],
        };
        let outcome = Outcome::Application(application);
        process
            .memory
            .after(&Step::ReadApplication, &outcome, process.now);
    };
    let recreated = || {
        let mut process = Process::of(Kind::Secret);
        process.record().makers = vec!["earlier-uid".to_owned()];
        process
    };
    let of_earlier = [Notice::OfEarlier {
        id: "key-5".to_owned(),
    }];

    // The recorded credential is of this rotation, which continues. The credential in no Secret waits until a user names it.
    let mut process = recreated();
    lists(&mut process, &earlier);
    let next = process.decide();
    assert!(matches!(next.step, Step::Wait { .. }), "{:?}", next.step);
    assert_eq!(next.notices, of_earlier);
    assert!(!of_earlier[0].needs_user() && of_earlier[0].message().contains("key-5"));
    process.settings.adopt = Some("key-5".to_owned());
    let step = process.does(&Outcome::Done);
    let Step::Write { change, .. } = &step else {
        panic!("{step:?}")
    };
    let Phase::Retiring { key, from } = &change.record.state else {
        panic!("{step:?}")
    };
    assert_eq!(
        (key.id.as_deref(), *from),
        (Some("key-5"), RemovalSource::Orphan)
    );
    let own = process.seen.names.uid().to_owned();
    assert_eq!(change.record.makers, ["earlier-uid".to_owned(), own]);
    let id = "key-5".to_owned();
    assert_eq!(process.does(&Outcome::Done), Step::RemovePassword { id });
    process.does(&Outcome::Done);
    // A lagging replica still lists it.
    lists(&mut process, &earlier);
    let next = process.decide();
    assert!(matches!(next.step, Step::Wait { .. }), "{:?}", next.step);
    assert!(next.notices.is_empty(), "{:?}", next.notices);

    // A credential of a client resource that never rotated this Secret belongs to that resource.
    let mut process = recreated();
    process.settings.adopt = Some("key-5".to_owned());
    lists(&mut process, &Names::new("cluster", "another-uid"));
    let next = process.decide();
    assert!(matches!(next.step, Step::Wait { .. }), "{:?}", next.step);
    assert!(next.notices.is_empty(), "{:?}", next.notices);
}

#[test]
fn a_credential_that_its_owner_replaces_in_the_middle_of_a_rotation_is_named() {
    for kind in [Kind::Secret, Kind::Certificate] {
        let mut process = Process::of(kind);
        let since = process.now;
        process.record().state = Phase::Added { since };
        process.record().next = Some(ValueRecord {
            digest: "next".to_owned(),
            n: Some(2),
            ..ValueRecord::default()
        });
        if let Some(current) = &mut process.record().current {
            current.n = None;
        }
        let next = |digest: &str, hint: &str| Slot {
            digest: digest.to_owned(),
            mark: Mark::Hint(hint.to_owned()),
            name: None,
            validity: None,
        };
        process.seen.slots.next = Some(next("next", "nex"));
        let trials = process.settings.trials;
        let promoted = |process: &mut Process| loop {
            process.now += trials.gap;
            match process.does(&Outcome::Token) {
                Step::Write { change, .. } => break change.record,
                Step::Trial { .. } | Step::ReadApplication => {}
                other => panic!("{other:?}"),
            }
        };
        process.seen.slots.current = Some(next("of-its-owner", "own"));
        let noted = promoted(&mut process);
        assert!(matches!(noted.state, Phase::Switched { .. }), "{noted:?}");
        assert_eq!(noted.replaced, ["key-1"], "{kind:?}");
    }
}

#[test]
fn a_credential_that_apicred_made_for_another_client_is_never_adopted() {
    let other = || Some("CN=apicred/cluster/another-uid/4".to_owned());
    let mut process = Process::of(Kind::Secret);
    process.record().replaced = vec!["key-0".to_owned()];
    process.settings.adopt = Some("key-0".to_owned());
    lists(&mut process, "key-0", other());
    let next = process.decide();
    assert!(matches!(next.step, Step::Wait { .. }), "{:?}", next.step);
    let id = "key-0".to_owned();
    assert_eq!(next.notices, [Notice::OfAnother { id }]);

    // Nor as the previous credential.
    let mut process = overlap(Kind::Secret);
    process.settings.adopt = Some("key-0".to_owned());
    if let Some(previous) = &mut process.record().previous {
        previous.n = None;
    }
    process.now = at(DAY);
    lists(&mut process, "key-0", other());
    let next = decide(&mut process, at(DAY));
    assert!(!removes_the_previous_one(&next));
    let id = "key-0".to_owned();
    assert_eq!(next.notices, [Notice::OfAnother { id }]);
}

#[test]
fn an_overlap_that_is_edited_meanwhile_counts_from_the_switch() {
    let (switch, hour) = (at(0), SignedDuration::from_hours(1));
    for overlap in [hour, hour * 25, hour * 24 - SignedDuration::from_mins(2)] {
        let mut process = overlap_since(switch);
        process.settings.overlap = overlap;
        let ends = switch + overlap;
        let next = decide(&mut process, ends - SignedDuration::from_secs(1));
        assert_eq!(next.step, Step::Wait { until: ends });
        assert!(removes_the_previous_one(&decide(&mut process, ends)));
    }
    // What an earlier version wrote has only the end.
    let mut process = overlap(Kind::Secret);
    process.settings.overlap = hour * 25;
    assert!(removes_the_previous_one(&decide(&mut process, at(DAY))));
    // The write of another state has no such time.
    let Step::Write { change, .. } = process.decide().step else {
        panic!("{:?}", process.decide().step);
    };
    assert_eq!(change.record.switched_at, None);
}

/// The overlap that began at this time, as this version stores it.
fn overlap_since(switch: Timestamp) -> Process {
    let mut process = overlap(Kind::Secret);
    process.now = switch;
    // The clock was wrong when it was stored, so the state is written again.
    let record = process.record();
    record.state = Phase::Switched {
        retire_at: switch + SignedDuration::from_hours(48),
    };
    let Step::Write { change, .. } = process.decide().step else {
        panic!("{:?}", process.decide().step);
    };
    assert_eq!(change.record.switched_at, Some(switch));
    process.seen.noted = StoredRecord::Record(Box::new(change.record));
    process
}
