//! What a process knows after a restart or a lost annotation.

use super::*;

/// The annotation is lost during a rotation.
#[test]
fn what_a_rotation_stored_is_known_again_by_what_the_issuer_lists() {
    let mut process = Process::of(Kind::Secret);
    process.seen.noted = StoredRecord::Absent;
    process.seen.slots.next = Some(slot("next"));
    let mut next = made(&process, 2, -600);
    next.mark = Some(KeyMark::Hint("imp".to_owned()));
    let application = lists(&process, vec![next]);
    assert_eq!(process.does(&application), Step::ReadApplication);
    let step = process.decide().step;
    let Step::Write { change, .. } = &step else {
        panic!("{step:?}");
    };
    assert!(
        matches!(change.record.state, Phase::Added { .. }),
        "{step:?}"
    );
}

/// The same without the permission to read the application. The subject of a certificate shows who created it, and a token shows that it
/// belongs to this application.
#[test]
fn a_certificate_whose_annotation_is_lost_is_tried_before_a_user_must_remove_it() {
    let lost = |name: Option<String>| {
        let mut process = Process::of(Kind::Certificate);
        process.seen.noted = StoredRecord::Absent;
        let mark = Mark::Certificate {
            sha1: "cc".to_owned(),
            sha256: "dd".to_owned(),
        };
        process.seen.slots.next = Some(Slot {
            mark,
            name,
            ..slot("next")
        });
        let read = process.does(&failed(Class::Permission));
        assert_eq!(read, Step::ReadApplication);
        process
    };
    let unknown = strange(values::NEXT, &[]);
    let ours = lost(None).seen.names.name(2);
    for (outcome, known) in [
        (Outcome::Token, true),
        (Outcome::Refused(AnswerIds::default()), false),
        (no_answer(), false),
    ] {
        let mut process = lost(Some(ours.clone()));
        process.pass(process.settings.trials.gap);
        let decided = process.decide();
        assert!(!decided.notices.contains(&unknown), "{:?}", decided.notices);
        let tried = process.does(&outcome);
        assert!(
            matches!(&tried, Step::Trial { of: Tried::Next, digest, .. } if digest == "next"),
            "{tried:?}"
        );
        let decided = process.decide();
        assert_eq!(
            decided.notices.contains(&unknown),
            !known,
            "{outcome:?}: {:?}",
            decided.notices
        );
        if let Step::Write { change, .. } = &decided.step {
            assert!(known && matches!(change.record.state, Phase::Added { .. }));
            let noted = change.record.next.as_ref();
            assert_eq!(noted.and_then(|next| next.n), Some(2));
            continue;
        }
        // Replicas lag, so it is tried again.
        assert!(!known, "{:?}", decided.step);
        process.pass(process.settings.pace.again);
        process.does(&Outcome::Token);
        assert!(matches!(process.decide().step, Step::Write { .. }));
    }
    // A certificate that others created is not sent.
    for name in [None, Some("CN=theirs".to_owned())] {
        let process = lost(name);
        let decided = process.decide();
        assert!(decided.notices.contains(&unknown), "{:?}", decided.notices);
        assert!(
            matches!(decided.step, Step::Wait { .. }),
            "{:?}",
            decided.step
        );
    }
}

#[test]
fn a_restart_with_nothing_due_reads_no_application() {
    let read_by = at(5 * HOUR);
    let restarted = |kind: Kind| {
        let mut process = Process::of(kind);
        process.memory = process.memory.clone().reading_by(read_by);
        process
    };
    for kind in [Kind::Secret, Kind::Certificate] {
        let mut process = restarted(kind);
        assert_eq!(process.decide().step, Step::Wait { until: read_by });
        process.now = read_by;
        assert_eq!(process.decide().step, Step::ReadApplication);
        // The clock was wrong.
        process.now = at(-40 * HOUR);
        assert_eq!(process.decide().step, Step::ReadApplication);
    }
    // Only a reading shows what is known, or nothing is known.
    let of_replaced = |record: &mut Record| record.replaced.push("theirs".to_owned());
    let of_no_id = |record: &mut Record| {
        record.current = record
            .current
            .take()
            .map(|known| ValueRecord { id: None, ..known });
    };
    for edit in [of_replaced as fn(&mut Record), of_no_id] {
        let mut process = restarted(Kind::Secret);
        let record = process.record();
        edit(record);
        assert_eq!(process.decide().step, Step::ReadApplication);
    }
    let mut process = restarted(Kind::Certificate);
    process.seen.noted = StoredRecord::Absent;
    assert_eq!(process.decide().step, Step::ReadApplication);
    // The previous process could not read anything, or there was nothing to learn: a reading for a certificate waits. The age of a client
    // secret is known only to the issuer.
    for (kind, waits) in [(Kind::Certificate, true), (Kind::Secret, false)] {
        let mut process = restarted(kind);
        process.seen.noted = StoredRecord::Absent;
        let validity = Some((at(-9_000), at(180 * 24 * HOUR)));
        if let Some(current) = &mut process.seen.slots.current {
            current.validity = validity.filter(|_| waits);
        }
        process.memory = process.memory.clone().reconciled_before(true);
        let step = process.decide().step;
        assert_eq!(step == Step::Wait { until: read_by }, waits, "{step:?}");
        assert_eq!(step == Step::ReadApplication, !waits, "{step:?}");
    }
    // A requested rotation is not delayed.
    let mut process = restarted(Kind::Secret);
    process.seen.requested = Some("now".to_owned());
    assert_eq!(process.decide().step, Step::ReadApplication);
}

/// The operator lost its key for digests, for example because it was installed again.
#[test]
fn values_are_recognized_by_what_the_issuer_lists_if_no_digest_fits_any_more() {
    let slot = |digest: &str, hint: &str| Slot {
        digest: digest.to_owned(),
        mark: Mark::Hint(hint.to_owned()),
        name: None,
        validity: None,
    };
    let mut process = Process::of(Kind::Secret);
    process.seen.slots.current = Some(slot("current by another key", "val"));
    process.seen.slots.previous = Some(slot("previous by another key", "pre"));
    process.record().state = Phase::Switched {
        retire_at: at(HOUR),
    };
    process.record().previous = Some(ValueRecord {
        digest: "previous".to_owned(),
        id: Some("key-0".to_owned()),
        n: Some(1),
        ..ValueRecord::default()
    });
    let Outcome::Application(mut listed) = process.application() else {
        unreachable!("it was read")
    };
    let current = listed.keys[0].clone();
    listed.keys.push(Key {
        id: "key-0".to_owned(),
        mark: Some(KeyMark::Hint("pre".to_owned())),
        ..current
    });
    for state in [process.record().state.clone(), Phase::Steady] {
        let mut process = Process {
            settings: process.settings.clone(),
            seen: process.seen.clone(),
            memory: process.memory.clone().reading_by(at(5 * HOUR)),
            now: process.now,
        };
        let steady = state == Phase::Steady;
        process.record().state = state;
        if steady {
            let listed = Outcome::Application(listed.clone());
            let read = process.does(&listed);
            assert_eq!(read, Step::ReadApplication, "{:?}", process.decide());
        } else {
            let listed = Outcome::Application(listed.clone());
            process
                .memory
                .after(&Step::ReadApplication, &listed, process.now);
        }
        let next = process.decide();
        assert_eq!(next.notices, []);
        let ids: Vec<_> = next.keys.iter().map(|key| key.id.as_deref()).collect();
        assert_eq!(ids, [Some("key-1"), Some("key-0")]);
        assert!(next.rotates_at.is_none_or(|at| at > process.now));
    }
}

/// The digest is one of the text: a key in another notation has another, and so has each value if the operator lost its key for digests.
#[test]
fn a_public_key_is_known_by_its_thumbprint_if_its_digest_does_not_fit_any_more() {
    let mut process = Process::of(Kind::Key);
    process.record().state = Phase::Steady;
    let current = process.seen.slots.current.as_mut().expect("a key");
    let id = current.mark.id();
    current.digest = "in another notation".to_owned();
    process.record().current = Some(ValueRecord {
        digest: "as it was stored".to_owned(),
        id: id.clone(),
        n: Some(1),
        ..ValueRecord::default()
    });
    let next = process.decide();
    assert_eq!(next.notices, []);
    assert_eq!(next.keys[0].id, id);
    if let Step::Write { change, .. } = &next.step {
        assert_eq!(change.leaves, [], "it is in use");
    }
    let current = next.record.current.expect("it is known");
    assert_eq!((&current.id, current.n), (&id, Some(1)));
}
