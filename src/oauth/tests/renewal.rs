use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::{
    api::{Reuse, names},
    fixtures::{at, map, secs},
    oauth::{
        Class, Refusal,
        renewal::{Fate, Notes, ReuseRule, Step, before, fate},
    },
};

fn rule(reuse: Option<Reuse>, window: i64) -> ReuseRule {
    ReuseRule {
        reuse,
        window: secs(window),
    }
}

fn notes(since: Option<i64>, rotates: Option<bool>, dead: bool) -> Notes {
    Notes {
        in_flight_since: since.map(at),
        rotates,
        sign_in_required: dead,
    }
}

/// In a word: send with a mark, send without, or stop for this reason.
fn told(notes: &Notes, rule: ReuseRule) -> String {
    match before(notes, rule, "ns/c", at(0)) {
        Step::Send { mark: Some(_) } => "mark".to_owned(),
        Step::Send { mark: None } => "send".to_owned(),
        Step::Stop(refusal) => {
            assert!(refusal.until_change && refusal.class == Class::NeedsUser);
            assert!(
                refusal
                    .next_step
                    .contains("kubectl apicred login c --namespace ns")
            );
            refusal.reason.to_owned()
        }
    }
}

#[test]
fn a_refresh_token_is_sent_once_unless_the_issuer_does_not_mind() {
    const ALWAYS: Option<Reuse> = Some(Reuse::Always);
    const NEVER: Option<Reuse> = Some(Reuse::Never);
    #[rustfmt::skip]
    let cases = [
        // Entra ID: no marks, whatever stands there.
        (notes(None, None, false), rule(ALWAYS, 0), "send"),
        (notes(Some(-500), Some(true), true), rule(ALWAYS, 0), "send"),
        // Others: a mark first; one that is found says that nobody knows.
        (notes(None, None, false), rule(None, 0), "mark"),
        (notes(None, Some(true), false), rule(NEVER, 30), "mark"),
        (notes(Some(-10), Some(true), false), rule(None, 0), "RefreshOutcomeUnknown"),
        (notes(Some(-10), Some(true), false), rule(NEVER, 30), "send"),
        (notes(Some(-31), Some(true), false), rule(NEVER, 30), "RefreshOutcomeUnknown"),
        (notes(Some(31), None, false), rule(NEVER, 30), "RefreshOutcomeUnknown"),
        // One that was seen not to rotate may come again, unless somebody says never.
        (notes(Some(-500), Some(false), false), rule(None, 0), "send"),
        (notes(Some(-500), Some(false), false), rule(NEVER, 0), "RefreshOutcomeUnknown"),
        (notes(None, None, true), rule(None, 0), "SignInRequired"),
    ];
    for (notes, rule, expected) in cases {
        assert_eq!(told(&notes, rule), expected, "{notes:?} {rule:?}");
    }
}

#[test]
fn notes_are_read_from_annotations_and_damage_counts_as_the_worst() {
    assert_eq!(Notes::read(None), Notes::default());
    let all = map(&[
        (names::IN_FLIGHT_SINCE, &at(0).to_string()),
        (names::ROTATES, "false"),
        (names::SIGN_IN_REQUIRED, "invalid_grant"),
    ]);
    assert_eq!(Notes::read(Some(&all)), notes(Some(0), Some(false), true));
    let damaged: BTreeMap<String, String> =
        map(&[(names::IN_FLIGHT_SINCE, "yesterday"), (names::ROTATES, "?")]);
    let read = Notes::read(Some(&damaged));
    assert_eq!(told(&read, rule(None, 600)), "RefreshOutcomeUnknown");
    assert_eq!(read.rotates, Some(true));
}

#[test]
fn the_fate_of_what_was_sent() {
    let of = |status: Option<u16>, class, error: Option<&str>, maybe_sent| {
        fate(&Refusal {
            http_status: status,
            error: error.map(str::to_owned),
            maybe_sent,
            ..Refusal::local(class, "X", "x")
        })
    };
    #[rustfmt::skip]
    let cases = [
        ("no connection", of(None, Class::Transient, None, false), Fate::Intact),
        ("connection lost", of(None, Class::Transient, None, true), Fate::Unknown),
        ("throttled", of(Some(429), Class::Throttled, None, false), Fate::Intact),
        ("unavailable", of(Some(503), Class::Transient, None, false), Fate::Intact),
        ("gateway", of(Some(502), Class::Transient, None, false), Fate::Unknown),
        ("200 that nobody can read", of(Some(200), Class::Transient, None, false), Fate::Unknown),
        ("the client was refused", of(Some(401), Class::Denied, Some("invalid_client"), false), Fate::Intact),
        ("the client was refused without a word", of(Some(401), Class::Denied, None, false), Fate::Intact),
        ("dead", of(Some(400), Class::NeedsUser, Some("invalid_grant"), false), Fate::Dead),
        ("doubtful", of(Some(400), Class::NeedsUser, Some("invalid_request"), false), Fate::Intact),
    ];
    for (what, seen, expected) in cases {
        assert_eq!(seen, expected, "{what}");
    }
}

proptest! {
    /// The promise: with an issuer that punishes a second use, a token that was sent is not sent again outside of
    /// the window, whatever else is noted.
    #[test]
    fn nothing_is_sent_twice_where_that_is_theft(
        since in -100_000_i64..100_000, rotates in prop::option::of(any::<bool>()), dead in any::<bool>(), window in 0_i64..600,
    ) {
        let step = before(&notes(Some(since), rotates, dead), rule(Some(Reuse::Never), window), "ns/c", at(0));
        if matches!(step, Step::Send { .. }) {
            prop_assert!(since.abs() <= window && !dead);
        }
    }
}
