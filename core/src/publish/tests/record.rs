use std::collections::BTreeMap;

use jiff::Timestamp;
use proptest::prelude::*;

use crate::{
    api::names,
    fixtures::{at, credential, mark, record},
    oauth::{Claims, Validity},
    publish::{ManagedKeys, Record, RefusedSource, SourceMark, SourceUse},
};

/// The annotations as they are on a Secret: null means removed.
fn written(record: &Record) -> BTreeMap<String, String> {
    record
        .annotations()
        .into_iter()
        .filter_map(|(k, v)| Some((k, v?)))
        .collect()
}

#[test]
fn each_missing_or_damaged_note_makes_the_record_unreadable() {
    let good = written(&record(&credential(), (-300, 1500, 3300)));
    assert!(Record::read(&good).is_some());
    // The issuer may be unknown: such a token is valid and is not sent back.
    for key in good.keys().filter(|k| *k != names::ISSUED_BY) {
        let mut less = good.clone();
        less.remove(key);
        assert_eq!(Record::read(&less), None, "{key} is missing");
    }
    for (key, damaged) in [
        (names::EXPIRES_AT, "soon"),
        (names::ISSUED_AT, ""),
        (names::RENEW_AT, "1790000000"),
        (names::SOURCES, "{\"used\":1}"),
        (names::SOURCES, "not json"),
        (names::SOURCES, "{\"used\":{\"n\":\"a\"}}"),
    ] {
        let mut worse = good.clone();
        worse.insert(key.to_owned(), damaged.to_owned());
        assert_eq!(Record::read(&worse), None, "{key}: {damaged}");
    }
}

/// The text of an annotation whose list has this number of entries.
type Text<'a> = &'a dyn Fn(usize) -> String;

/// Any user may write these annotations on a Secret of theirs, and the operator has the records of all Secrets in memory.
#[test]
fn a_list_with_more_entries_than_apicred_writes_makes_the_record_unreadable() {
    let good = written(&record(&credential(), (-300, 1500, 3300)));
    let marks = |count: usize| vec![r#"{"n":"","k":"","u":"","v":""}"#; count].join(",");
    let refused = |count: usize| {
        let one = r#"{"n":"","k":"","u":"","v":"","s":0,"t":0,"r":"","i":false}"#;
        vec![one; count].join(",")
    };
    let words = |count: usize| vec![r#""a""#; count].join(",");
    let cases: [(&str, usize, Text<'_>); 6] = [
        (names::NOT_GRANTED, 128, &|n| vec!["a"; n].join(" ")),
        (names::SOURCES, 32, &|n| {
            format!(r#"{{"with":[{}]}}"#, marks(n))
        }),
        (names::SOURCES, 32, &|n| {
            format!(r#"{{"refused":[{}]}}"#, refused(n))
        }),
        (names::CLAIMS, 64, &|n| format!(r#"{{"r":[{}]}}"#, words(n))),
        (names::CLAIMS, 64, &|n| format!(r#"{{"s":[{}]}}"#, words(n))),
        (names::CLAIMS, 64, &|n| format!(r#"{{"a":[{}]}}"#, words(n))),
    ];
    for (key, most, text) in cases {
        for (count, is_read) in [(most, true), (most + 1, false), (1000, false)] {
            let mut noted = good.clone();
            noted.insert(key.to_owned(), text(count));
            let read = Record::read(&noted);
            assert_eq!(read.is_some(), is_read, "{key}: {count}");
            // What is in memory: the texts, and 24 bytes and an allocation for each.
            let lists = read.iter().map(|read| {
                let claims = read.claims.as_deref().cloned().unwrap_or_default();
                let words = [
                    claims.roles,
                    claims.scopes,
                    claims.audience,
                    read.not_granted.clone(),
                ];
                words
                    .concat()
                    .iter()
                    .map(|word| word.len().max(16) + 24)
                    .sum::<usize>()
                    + (read.sources.with.len() + read.sources.refused.len()) * 256
            });
            assert!(lists.sum::<usize>() < 16_000, "{key}: {count}");
        }
    }
    let managed = |count: usize| {
        let text = format!(r#"{{"l":[{0}],"a":[{0}],"d":[{0}]}}"#, words(count));
        ManagedKeys::read(&BTreeMap::from([(names::MANAGED_KEYS.to_owned(), text)]))
    };
    assert_eq!(managed(64).labels.len(), 64);
    assert_eq!(managed(65), ManagedKeys::unknown());
}

#[test]
fn a_served_renewal_request_is_taken_off_again() {
    let mut noted = record(&credential(), (-300, 1500, 3300));
    assert_eq!(
        noted.annotations()[names::RENEW_HANDLED],
        None,
        "null removes it in a patch"
    );
    noted.renew_handled = Some("2026-01-01".to_owned());
    assert_eq!(
        noted.annotations()[names::RENEW_HANDLED].as_deref(),
        Some("2026-01-01")
    );
}

#[test]
fn times_are_whole_seconds_and_an_end_is_never_rounded_up() {
    let mut noted = record(&credential(), (0, 1, 2));
    noted.expires_at = Timestamp::new(at(2).as_second(), 999_999_999).unwrap();
    let annotations = written(&noted);
    assert_eq!(annotations[names::EXPIRES_AT], at(2).to_string());
    assert!(
        annotations[names::EXPIRES_AT].ends_with('Z')
            && !annotations[names::EXPIRES_AT].contains('.')
    );
}

fn any_mark() -> impl Strategy<Value = SourceMark> {
    (".{0,9}", ".{0,9}", ".{0,9}", ".{0,9}").prop_map(|(name, key, uid, version)| SourceMark {
        name,
        key,
        uid,
        version,
    })
}

fn any_refused_source() -> impl Strategy<Value = RefusedSource> {
    let times = (0_i64..4_000_000_000, 0_i64..4_000_000_000);
    let expected = ("[A-Za-z]{1,20}", any::<bool>(), prop::option::of(".{0,20}"));
    (any_mark(), times, expected).prop_map(
        |(mark, (since, at), (reason, by_issuer, fingerprint))| {
            RefusedSource {
                mark,
                // Reported by the request of the record beside it.
                request: String::new(),
                since: Timestamp::from_second(since).unwrap(),
                at: Timestamp::from_second(at).unwrap(),
                reason: reason.as_str().into(),
                by_issuer,
                not_before: (since % 2 == 0).then(|| Timestamp::from_second(at).unwrap()),
                fingerprint,
            }
        },
    )
}

fn any_claims() -> impl Strategy<Value = Claims> {
    let expected = || prop::collection::vec(".{0,20}", 0..3);
    let flags = any::<(bool, bool, u16, u16)>();
    (
        expected(),
        expected(),
        expected(),
        prop::option::of(".{0,20}"),
        flags,
    )
        .prop_map(
            |(
                roles,
                scopes,
                audience,
                tenant,
                (all_roles, all_scopes, roles_more, scopes_more),
            )| Claims {
                roles,
                scopes,
                audience,
                all_roles,
                all_scopes,
                more_roles: usize::from(roles_more),
                more_scopes: usize::from(scopes_more),
                tenant,
            },
        )
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(
        times in (0_i64..4_000_000_000, 0_i64..4_000_000_000, 0_i64..4_000_000_000), texts in prop::array::uniform6(".{0,20}"),
        used in prop::option::of(any_mark()), with in prop::collection::vec(any_mark(), 0..2), refused in prop::collection::vec(any_refused_source(), 0..3), renew_handled in prop::option::of(".{0,128}"),
        claims in prop::option::of(any_claims()), not_granted in prop::collection::vec("[!-~]{1,20}", 0..3), token_id in prop::option::of(".{0,20}"), ends in prop::option::of((0_i64..4_000_000_000, 0_i64..4_000_000_000)),
    ) {
        let time = |s| Timestamp::from_second(s).unwrap();
        let [renew_reason, lifetime, request, fingerprint, token_digest, issuer] = texts;
        let record = Record {
            issued_at: time(times.0), expires_at: time(times.1), renew_at: time(times.2), renew_reason, lifetime, request, issuer,
            fingerprint, token_digest, sources: SourceUse { used, with, refused }, renew_handled, claims: claims.map(Box::new), not_granted, operator: token_id.as_ref().map(|id| u32::try_from(id.len()).unwrap()), token_id, certificate_validity: ends.map(|(from, until)| Validity { from: time(from), until: time(until) }), spent: None,
        };
        prop_assert_eq!(Record::read(&written(&record)), Some(record));
    }
}

#[test]
fn a_mark_is_of_its_secret_and_key_at_any_version() {
    let reference = credential().alternatives()[0].clone();
    assert!(mark("1").is(&reference) && mark("2").is(&reference));
    for other in [
        SourceMark {
            name: "x".to_owned(),
            ..mark("1")
        },
        SourceMark {
            key: "x".to_owned(),
            ..mark("1")
        },
    ] {
        assert!(!other.is(&reference));
    }
}
