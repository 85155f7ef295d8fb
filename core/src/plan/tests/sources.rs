//! Several client secrets, and sources that are deleted.

mod reported;

use jiff::SignedDuration;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::status::condition;
use crate::plan::states::minted;
use crate::{
    Reason,
    credential::{Credential, binding::Denial},
    fixtures::{at, credential, credential_with, holding, observed, record},
    plan::{
        Memory, Observed, Outcome, Plan, RenewalCause, Severity, Source, candidates, fingerprint,
        plan, schedule::later, status, untried,
    },
    publish::{RefusedSource, SourceMark, ownership::Target},
};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

fn several(names: &[&str]) -> Credential {
    let refs: Vec<Value> = names
        .iter()
        .map(|n| json!({ "name": n, "key": "secret" }))
        .collect();
    credential_with(&json!({ "client": { "secrets": refs } }))
}

fn mark(name: &str, version: &str) -> SourceMark {
    SourceMark {
        name: name.to_owned(),
        key: "secret".to_owned(),
        uid: "uid".to_owned(),
        version: version.to_owned(),
    }
}

/// The observed state of a credential whose token (lifetime one hour) was requested with the secret `used`. All secrets of the list are at version 1.
fn world(credential: &Credential, used: &str) -> Observed {
    let mut noted = record(credential, (-300, 1500, 3300));
    noted.sources.used = Some(mark(used, "1"));
    let mut world = holding(credential, noted);
    world.sources = credential
        .alternatives()
        .into_iter()
        .map(|reference| Source {
            reference,
            present: Some(("uid".to_owned(), "1".to_owned())),
            changed_at: None,
            created_at: None,
            expires_at: None,
            expiry_unreadable: false,
            rotated_until: None,
        })
        .collect();
    world
}

fn refused(credential: &Credential, name: &str, since: i64, last: i64) -> RefusedSource {
    RefusedSource {
        mark: mark(name, "1"),
        since: at(since),
        at: at(last),
        ..crate::fixtures::refused(credential, "1")
    }
}

fn order(credential: &Credential, world: &Observed, now: i64) -> Vec<String> {
    candidates(credential, world, at(now))
        .iter()
        .map(|c| {
            let name = &c.source.unwrap().reference.name;
            format!("{name}{}", if c.trial { "?" } else { "" })
        })
        .collect()
}

#[test]
fn a_refused_secret_is_tried_again_while_it_is_new_then_daily_and_on_request() {
    let credential = several(&["new", "old"]);
    let mut world = world(&credential, "old");
    for (since, last, tried) in [
        (0, 0, true),
        (-23 * HOUR, -60, true),
        (-25 * HOUR, -60, false),
        (-25 * HOUR, -23 * HOUR, false),
        (-25 * HOUR, -24 * HOUR, true),
        // Recorded by a clock that was ahead.
        (HOUR, HOUR, true),
    ] {
        world.memory = Memory::default();
        world
            .memory
            .refuse(refused(&credential, "new", since, last));
        let expected = if tried {
            ["new?", "old"]
        } else {
            ["old", "new?"]
        };
        assert_eq!(order(&credential, &world, 0), expected, "{since} {last}");
        let mut requested = credential.clone();
        requested.renew_requested = Some("a".to_owned());
        assert_eq!(order(&requested, &world, 0), ["new?", "old"]);
    }
}

#[test]
fn a_retry_costs_one_request_a_renewal_and_each_has_its_turn() {
    let credential = several(&["a", "b", "c", "d"]);
    let mut world = world(&credential, "c");
    world.memory.refuse(refused(&credential, "a", -60, -10));
    world.memory.refuse(refused(&credential, "b", -60, -20));
    assert_eq!(order(&credential, &world, 0), ["b?", "c", "d", "a?"]);
    world.memory.refuse(refused(&credential, "b", -60, -5));
    assert_eq!(order(&credential, &world, 0), ["a?", "c", "d", "b?"]);
    // A refused entry after the one in use is tried last, although its refusal is the oldest.
    world.memory.refuse(refused(&credential, "d", -60, -30));
    assert_eq!(order(&credential, &world, 0), ["a?", "c", "b?", "d?"]);
    // After a failed attempt the entry in use is tried first.
    super::decision::failed(&credential, &mut world, 0);
    assert_eq!(order(&credential, &world, 0), ["c", "a?", "b?", "d?"]);
}

#[test]
fn what_apicred_itself_cannot_use_is_not_tried_by_a_timer() {
    let credential = several(&["new", "old"]);
    let mut world = world(&credential, "old");
    let mut unusable = refused(&credential, "new", 0, 0);
    unusable.by_issuer = false;
    world.memory.refuse(unusable);
    assert_eq!(order(&credential, &world, 0), ["old", "new?"]);
    let mut missing = world.clone();
    missing.sources[0].present = None;
    assert_eq!(order(&credential, &missing, 0), ["old"]);
}

#[test]
fn certificates_of_a_list_are_tried_in_order_and_from_their_first_day_on() {
    let list = json!([{ "secretName": "new", "privateKeyKey": "secret" }, { "secretName": "old", "privateKeyKey": "secret" }]);
    let change = json!({ "client": { "secrets": null, "certificates": list } });
    let credential = credential_with(&change);
    let mut world = world(&credential, "old");
    assert_eq!(order(&credential, &world, 0), ["new?", "old"]);
    world.memory.refuse(refused(&credential, "new", 0, 0));
    assert_eq!(order(&credential, &world, 0), ["new?", "old"]);
    let early = RefusedSource {
        by_issuer: false,
        not_before: Some(at(HOUR)),
        ..refused(&credential, "new", 0, 0)
    };
    world.memory.refuse(early);
    assert_eq!(order(&credential, &world, 0), ["old", "new?"]);
    assert_eq!(order(&credential, &world, HOUR), ["new?", "old"]);
    let view = status(&credential, &world, &minted(RenewalCause::Due), None, at(0)).status;
    let reported = condition(&view, "ClientCredentialExpiring").unwrap();
    assert!(
        reported
            .message
            .contains("the certificate in Secret new (key secret)"),
        "{}",
        reported.message
    );
    world.sources[0].present = None;
    let view = status(&credential, &world, &minted(RenewalCause::Due), None, at(0)).status;
    let reported = condition(&view, "ClientCredentialExpiring").unwrap();
    assert_eq!(reported.reason, "SourceMissing");
    let shown = &view.refused()[0];
    assert_eq!(
        (
            shown.reference.name.as_str(),
            shown.reason.as_str(),
            &shown.at
        ),
        ("new", "SourceMissing", &None)
    );
}

#[test]
fn no_timer_sends_a_password_with_a_refused_secret() {
    let password = json!({ "grant": { "password": {
        "username": "robot", "passwordRef": { "name": "user", "key": "password" } } } });
    let refs = json!([{ "name": "new", "key": "secret" }, { "name": "old", "key": "secret" }]);
    let mut change = password;
    change["client"] = json!({ "secrets": refs });
    let credential = credential_with(&change);
    let mut world = world(&credential, "old");
    world.memory.refuse(refused(&credential, "new", 0, 0));
    assert_eq!(order(&credential, &world, 0), ["old", "new?"]);
}

#[test]
fn when_all_are_refused_all_are_tried_in_order() {
    let credential = several(&["new", "old"]);
    let mut world = world(&credential, "old");
    for name in ["new", "old"] {
        world
            .memory
            .refuse(refused(&credential, name, -30 * DAY, -60));
    }
    assert_eq!(order(&credential, &world, 0), ["new", "old"]);
    world.target = Target::Absent;
    assert_eq!(order(&credential, &world, 0), ["new", "old"]);
}

#[test]
fn a_refusal_of_another_request_does_not_count() {
    let credential = several(&["new", "old"]);
    let mut world = world(&credential, "old");
    world.memory.refuse(RefusedSource {
        request: "client id with a typo".to_owned(),
        ..refused(&credential, "new", -30 * DAY, -60)
    });
    assert_eq!(order(&credential, &world, 0), ["new?", "old"]);
}

#[test]
fn an_untried_entry_before_the_one_in_use_is_read_at_once() {
    let credential = several(&["new", "old"]);
    let mut world = world(&credential, "old");
    assert_eq!(plan(&credential, &world, at(0)), Plan::Verify);
    assert_eq!(untried(&credential, &world)[0].reference.name, "new");
    world.memory.refuse(refused(&credential, "new", 0, 0));
    assert!(matches!(
        plan(&credential, &world, at(0)),
        Plan::Keep { .. }
    ));
    // It is verified again as soon as it changes.
    world.sources[0].present = Some(("uid".to_owned(), "2".to_owned()));
    assert_eq!(plan(&credential, &world, at(0)), Plan::Verify);
    world.memory.verified.push(mark("new", "2"));
    assert!(matches!(
        plan(&credential, &world, at(0)),
        Plan::Keep { .. }
    ));
    // Entries after the one in use are not read.
    let credential = several(&["old", "older"]);
    let world = self::world(&credential, "old");
    assert!(matches!(
        plan(&credential, &world, at(0)),
        Plan::Keep { .. }
    ));
}

#[test]
fn a_label_on_a_refused_secret_makes_it_no_younger() {
    let credential = several(&["new", "old"]);
    let mut memory = Memory::default();
    let content = |version: &str, print: &str, time: i64| RefusedSource {
        mark: mark("new", version),
        fingerprint: Some(print.to_owned()),
        ..refused(&credential, "new", time, time)
    };
    memory.refuse(content("1", "x", -DAY));
    memory.refuse(content("2", "x", 0));
    assert_eq!(memory.refused[0].since, at(-DAY));
    memory.refuse(content("3", "y", 0));
    assert_eq!(memory.refused[0].since, at(0));
    assert_eq!(memory.refused.len(), 1, "older versions are forgotten");
}

prop_compose! {
    /// Up to four secrets in any state, one of them in use, some refused.
    fn any_list()(
        count in 1_usize..5, used in 0_usize..4, present in any::<[bool; 4]>(), requested: bool, absent: bool,
        any_refused in prop::collection::vec(prop::option::of((-40 * DAY..0, -40 * DAY..0, any::<bool>())), 4),
    ) -> (Credential, Observed) {
        let names = ["a", "b", "c", "d"];
        let mut credential = several(&names[..count]);
        credential.renew_requested = requested.then(|| "a".to_owned());
        let mut world = world(&credential, names[used.min(count - 1)]);
        if requested && let Target::Ours { published, .. } = &mut world.target {
            published.record.as_mut().unwrap().renew_handled = None;
        }
        if absent {
            world.target = Target::Absent;
        }
        for (source, present) in world.sources.iter_mut().zip(present) {
            if !present {
                source.present = None;
            }
        }
        for (name, refused_source) in names[..count].iter().zip(any_refused) {
            if let Some((since, last, by_issuer)) = refused_source {
                let refused_source = refused(&credential, name, since.min(last), last);
                world.memory.refuse(RefusedSource { by_issuer, ..refused_source });
            }
        }
        (credential, world)
    }
}

proptest! {
    #[test]
    fn each_secret_that_is_there_is_a_candidate_once((credential, world) in any_list()) {
        let list = candidates(&credential, &world, at(0));
        let mut names: Vec<_> = list.iter().filter_map(|c| c.source.map(|s| &s.reference.name)).collect();
        names.sort();
        let mut there: Vec<_> = world.sources.iter().filter(|s| s.present.is_some()).map(|s| &s.reference.name).collect();
        there.sort();
        prop_assert_eq!(names, there);
    }

    #[test]
    fn a_refused_secret_delays_one_that_works_by_one_request_at_most((credential, world) in any_list()) {
        let credential = Credential { renew_requested: None, ..credential };
        let request = fingerprint::request(&credential);
        let list = candidates(&credential, &world, at(0));
        let bad = |s: &Source| s.mark().is_some_and(|m| world.memory.refused_source(&m, &request).is_some());
        if let Some(first) = list.iter().position(|c| c.source.is_some_and(|s| !bad(s))) {
            let before = list[..first].iter().filter(|c| c.source.is_some_and(bad)).count();
            prop_assert!(before <= 1);
        }
    }

    /// A refused entry is tried again at the first renewal after a day, however often it was refused, if it is listed before the entry that the
    /// renewal would otherwise use.
    #[test]
    fn no_refused_secret_is_refused_for_ever((credential, world) in any_list(), days in 1_i64..400) {
        let now = later(at(0), SignedDuration::from_hours(24 * days));
        let request = fingerprint::request(&credential);
        let list = candidates(&credential, &world, now);
        let refused_source = |s: &Source| world.memory.refused_source(&s.mark()?, &request).cloned();
        let used = world.record().and_then(|r| r.sources.used.clone());
        let good = |s: &Source| s.present.is_some() && refused_source(s).is_none();
        // An entry that is missing or refused is not used any more.
        let used = used.and_then(|u| world.sources.iter().position(|s| u.is(&s.reference) && good(s)));
        let first_good = || world.sources.iter().position(good);
        let waiting = world.sources.iter().take(used.or_else(first_good).unwrap_or(0));
        let waiting = waiting.filter(|s| refused_source(s).is_some_and(|r| r.by_issuer)).count();
        let first = list.first().and_then(|c| c.source);
        if waiting > 0 && credential.renew_requested.is_none() {
            let retried = list.iter().take_while(|c| c.trial || first == c.source).any(|c| {
                c.source.is_some_and(|s| refused_source(s).is_some_and(|r| r.by_issuer))
            });
            let all_bad = world.sources.iter().filter(|s| s.present.is_some()).all(|s| refused_source(s).is_some());
            prop_assert!(retried || all_bad, "{:?}", list);
        }
    }
}
