//! The annotation: it is read as it was written, and an unreadable one stops the rotation.

use std::collections::BTreeMap;

use crate::{
    api::names,
    fixtures::at,
    plan::fingerprint::DigestKey,
    rotation::{
        AnswerIds, Class, ClientAt, Failure, FailureCause, Kind, Names, Phase, Record,
        RemovalSource, RotatedUntil, StoredRecord, ValueRecord, value_digest,
    },
};

fn known(id: &str) -> ValueRecord {
    ValueRecord {
        digest: "d".to_owned(),
        id: Some(id.to_owned()),
        n: Some(3),
        from: Some(at(0)),
        until: None,
    }
}

fn client() -> ClientAt {
    ClientAt {
        id: "c-1".to_owned(),
        issuer: "https://issuer.example".to_owned(),
    }
}

fn annotations(text: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(names::ROTATION.to_owned(), text.to_owned())])
}

#[test]
fn every_state_is_read_as_it_was_written() {
    let since = at(0);
    let retiring = |from| Phase::Retiring {
        key: known("k"),
        from,
    };
    for state in [
        Phase::Steady,
        Phase::Adding { n: 7, since },
        Phase::Added { since },
        Phase::Switched { retire_at: since },
        retiring(RemovalSource::Next),
        retiring(RemovalSource::Previous),
        retiring(RemovalSource::Orphan),
    ] {
        let record = Record {
            state,
            client: Some(client()),
            kind: Some(Kind::Certificate),
            n: 7,
            current: Some(known("a")),
            next: Some(ValueRecord::default()),
            replaced: vec!["key-0".to_owned()],
            makers: vec!["uid".to_owned()],
            handled: Some("now".to_owned()),
            failure: Some(Failure {
                at: since,
                why: FailureCause::NotProven,
                times: 2,
                requested: Some("before".to_owned()),
                class: Some(Class::Policy),
                answer: Some(AnswerIds {
                    http_status: Some(401),
                    code: Some("AADSTS700016".to_owned()),
                    ..AnswerIds::default()
                }),
            }),
            ..Record::default()
        };
        let written = BTreeMap::from([record.annotation()]);
        let end = RotatedUntil::read(&written).expect("values");
        assert_eq!(end.of(&client(), Kind::Secret), None, "it has no end");
        assert_eq!(
            Record::read(&written),
            StoredRecord::Record(Box::new(record))
        );
    }
    assert_eq!(Record::read(&BTreeMap::new()), StoredRecord::Absent);
    let ends = Record {
        current: Some(ValueRecord {
            until: Some(at(9)),
            ..known("a")
        }),
        ..Record::default()
    };
    // A record of an earlier version does not name a client.
    let written = BTreeMap::from([ends.annotation()]);
    let end = RotatedUntil::read(&written).expect("an end");
    let seen = Some((Some(at(0)), at(9)));
    assert_eq!(end.of(&client(), Kind::Secret), seen);
    let of_secret = Record {
        kind: Some(Kind::Secret),
        ..ends
    };
    let written = BTreeMap::from([of_secret.annotation()]);
    let end = RotatedUntil::read(&written).expect("an end");
    assert_eq!(end.of(&client(), Kind::Secret), seen);
    // The client names certificates of the same Secret now.
    assert_eq!(end.of(&client(), Kind::Certificate), None);
    assert_eq!(RotatedUntil::read(&annotations("{")), None);
}

/// The answer is in the memory of the process that received it. The class is stored, so that a restart does not lose the reason.
#[test]
fn why_the_issuer_refused_is_noted() {
    let failure = |class: &str| {
        let state = r#"{"name":"Steady"}"#;
        let failed =
            format!(r#"{{"at":"2026-01-01T00:00:00Z","why":"AddRefused","times":1{class}}}"#);
        let text = format!(r#"{{"v":1,"state":{state},"n":1,"failure":{failed}}}"#);
        let annotations = BTreeMap::from([(names::ROTATION.to_owned(), text)]);
        match Record::read(&annotations) {
            StoredRecord::Record(record) => record.failure.expect("a failure"),
            other => panic!("{other:?}"),
        }
    };
    let policy = failure(r#","class":"Policy""#);
    assert_eq!(policy.class, Some(Class::Policy));
    let message = policy.message();
    assert!(
        message.contains("refused to add") && message.contains("policy of the tenant"),
        "{message}"
    );
    // Of an earlier version, and of a later one.
    assert_eq!(failure("").class, None);
    assert_eq!(failure(r#","class":"Unheard""#).class, None);
}

#[test]
fn what_another_version_wrote_is_left_alone() {
    for text in [
        "",
        "x",
        "null",
        "[]",
        "{}",
        r#"{"v":1}"#,
        r#"{"v":2,"state":{"name":"Steady"},"n":0}"#,
        r#"{"v":1,"state":{"name":"Dancing"},"n":0}"#,
        r#"{"v":1,"state":{"name":"Adding","n":1},"n":1}"#,
        r#"{"v":1,"state":{"name":"Steady"},"n":-1}"#,
    ] {
        assert_eq!(
            Record::read(&annotations(text)),
            StoredRecord::Unreadable,
            "{text}"
        );
    }
    let good = r#"{"v":1,"state":{"name":"Adding","n":1,"since":"2026-01-01T00:00:00Z"},"n":1}"#;
    assert!(matches!(
        Record::read(&annotations(good)),
        StoredRecord::Record(_)
    ));
}

#[test]
fn a_name_is_ours_only_with_prefix_and_uid() {
    let uid = "0d9b3b5e-6d52-4b8e-9df4-1c1b7a0e0000";
    let names = Names::new("6f3c0a4e", uid);
    assert_eq!(names.name(12), format!("apicred/6f3c0a4e/{uid}/12"));
    assert!(
        names.name(99_999).len() <= 64,
        "a common name has 64 characters"
    );
    assert!(Names::new(&"x".repeat(80), uid).name(99_999).len() <= 64);
    assert_eq!(names.number(&names.name(12)), Some(12));
    assert_eq!(names.number(&format!("CN={}", names.name(12))), Some(12));
    // The operator has lost the key from which its name of the cluster is derived.
    let before = Names::new("other", uid).name(12);
    assert_eq!(names.number(&before), Some(12));
    assert_eq!(Names::new("x", "").number("apicred/x//1"), None);
    for other in [
        "",
        "12",
        "apicred",
        "apicred/6f3c0a4e/0d9b3b5e-6d52-4b8e-9df4-1c1b7a0e0001/12",
        "apicred/0d9b3b5e-6d52-4b8e-9df4-1c1b7a0e0000/12",
        "apicred/a/b/0d9b3b5e-6d52-4b8e-9df4-1c1b7a0e0000/12",
        "apicred/6f3c0a4e/0d9b3b5e-6d52-4b8e-9df4-1c1b7a0e0000/",
        "apicred/6f3c0a4e/0d9b3b5e-6d52-4b8e-9df4-1c1b7a0e0000/012",
        "apicred/6f3c0a4e/0d9b3b5e-6d52-4b8e-9df4-1c1b7a0e0000/+1",
        "apicred/6f3c0a4e/0d9b3b5e-6d52-4b8e-9df4-1c1b7a0e0000/1 copy",
        " apicred/6f3c0a4e/0d9b3b5e-6d52-4b8e-9df4-1c1b7a0e0000/1",
        "apicred/6f3c0a4e/0d9b3b5e-6d52-4b8e-9df4-1c1b7a0e0000/99999999999",
    ] {
        assert_eq!(names.number(other), None, "{other}");
    }
}

#[test]
fn only_the_value_that_a_rotation_made_and_put_there_is_its_own() {
    let (digests, others) = (DigestKey::new(&[7; 32]), DigestKey::new(&[8; 32]));
    let elsewhere = ClientAt {
        id: "c-2".to_owned(),
        ..client()
    };
    let put = |client: Option<ClientAt>, n: Option<u32>| Record {
        current: Some(ValueRecord {
            digest: value_digest(&digests, &self::client(), &["a", "b"]),
            n,
            ..ValueRecord::default()
        }),
        client,
        ..Record::default()
    };
    let own = put(Some(client()), Some(3));
    assert!(own.has_put(&digests, &["a", "b"]));
    for (record, digests, texts, why) in [
        (&own, &digests, ["a", "c"], "another value"),
        (&own, &digests, ["ab", ""], "the same bytes"),
        (&own, &others, ["a", "b"], "another digest key"),
        (
            &put(Some(client()), None),
            &digests,
            ["a", "b"],
            "a user made it",
        ),
        (
            &put(Some(elsewhere), Some(3)),
            &digests,
            ["a", "b"],
            "another client",
        ),
        (
            &put(None, Some(3)),
            &digests,
            ["a", "b"],
            "no client is noted",
        ),
        (&Record::default(), &digests, ["a", "b"], "nothing is noted"),
    ] {
        assert!(!record.has_put(digests, &texts), "{why}");
    }
}

#[test]
fn the_credential_that_a_rotation_adds_is_named_only_to_its_own_client_resource() {
    let since = at(0);
    let of = |state, maker: &str, kind| Record {
        state,
        kind: Some(kind),
        makers: vec!["earlier".to_owned(), maker.to_owned()],
        ..Record::default()
    };
    let adding = || Phase::Adding { n: 4, since };
    let name = of(adding(), "u", Kind::Secret).adds("u");
    assert_eq!(name.as_deref(), Some("u/4"));
    assert_eq!(of(adding(), "v", Kind::Secret).adds("u"), None);
    assert_eq!(of(adding(), "u", Kind::Key).adds("u"), None);
    assert_eq!(of(Phase::Steady, "u", Kind::Secret).adds("u"), None);
}

#[test]
fn the_number_and_the_key_id_of_a_step_are_of_one_credential() {
    let since = at(0);
    let of = |n, id: Option<&str>| {
        Some(ValueRecord {
            n: Some(n),
            id: id.map(str::to_owned),
            ..known("")
        })
    };
    let retiring = ValueRecord {
        n: None,
        ..known("foreign")
    };
    let retired = Phase::Retiring {
        key: retiring,
        from: RemovalSource::Previous,
    };
    let added = || Phase::Added { since };
    for (state, current, next, subject) in [
        // The new one is not created yet, or its ID is not known.
        (
            Phase::Adding { n: 7, since },
            of(6, Some("six")),
            None,
            (Some(7), None),
        ),
        (
            Phase::Adding { n: 7, since },
            of(6, Some("six")),
            of(7, None),
            (Some(7), None),
        ),
        (
            added(),
            of(6, Some("six")),
            of(7, Some("seven")),
            (Some(7), Some("seven")),
        ),
        (
            Phase::Switched { retire_at: since },
            of(7, Some("seven")),
            None,
            (Some(7), Some("seven")),
        ),
        (retired, of(7, Some("seven")), None, (None, Some("foreign"))),
        (
            Phase::Steady,
            of(7, Some("seven")),
            None,
            (Some(7), Some("seven")),
        ),
        // It was given up.
        (Phase::Steady, of(6, Some("six")), None, (Some(7), None)),
    ] {
        let record = Record {
            state,
            n: 7,
            current,
            next,
            ..Record::default()
        };
        assert_eq!(record.subject(), subject, "{:?}", record.state);
    }
}

#[test]
fn a_key_id_that_an_earlier_version_stored_is_read_in_lower_case() {
    const ID: &str = "F0B0B335-1d71-4883-8f98-567911BFDCA6";
    // A thumbprint of a public key: upper and lower case differ.
    const THUMBPRINT: &str = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";
    for (id, read) in [(ID, ID.to_lowercase()), (THUMBPRINT, THUMBPRINT.to_owned())] {
        let (key, from) = (known(id), RemovalSource::Orphan);
        let record = Record {
            state: Phase::Retiring { key, from },
            current: Some(known(id)),
            next: Some(known(id)),
            previous: Some(known(id)),
            replaced: vec![id.to_owned()],
            spared: vec![known(id)],
            ..Record::default()
        };
        let written = BTreeMap::from([record.annotation()]);
        let StoredRecord::Record(record) = Record::read(&written) else {
            panic!("a record");
        };
        let Phase::Retiring { key, .. } = &record.state else {
            panic!("{:?}", record.state);
        };
        let all = record.all().chain(&record.spared).chain([key]);
        let ids: Vec<&String> = all
            .filter_map(|k| k.id.as_ref())
            .chain(&record.replaced)
            .collect();
        assert_eq!(ids, [&read; 6]);
    }
}
