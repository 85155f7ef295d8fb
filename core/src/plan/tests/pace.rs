//! Renewals that time did not cause have a bounded rate, and none of them is lost.

use crate::Reason;
use proptest::prelude::*;

use crate::{
    credential::Credential,
    fixtures::{at, credential, holding, observed, record},
    oauth::{Class, TokenError},
    plan::{Hold, Observed, Plan, RenewalCause, fail, plan},
    publish::ownership::Target,
};

/// The result of an attempt.
#[derive(Clone, Copy, Debug)]
enum Came {
    Token,
    TokenError,
}

/// Simulates a credential that is changed before each reconciliation, and returns the seconds at which requests were sent.
fn play(
    mut change: impl FnMut(i64, &mut Credential, &mut Observed),
    times: impl IntoIterator<Item = i64>,
    came: Came,
) -> Vec<i64> {
    let mut credential = credential();
    let mut world = observed(&credential);
    let mut sent = Vec::new();
    for now in times {
        change(now, &mut credential, &mut world);
        let why = match plan(&credential, &world, at(now)) {
            Plan::Mint(why) => why,
            Plan::Verify => RenewalCause::SourceChanged,
            _ => continue,
        };
        sent.push(now);
        world.attempted(&credential, why, at(now));
        match came {
            Came::Token => {
                let (refused, repairs, paced) = (
                    world.memory.refused.clone(),
                    world.memory.repairs,
                    world.memory.paced_until,
                );
                let mut noted = record(&credential, (now, now + 1800, now + 3600));
                noted.sources.used = world.sources[0].mark();
                world = Observed {
                    target: holding(&credential, noted).target,
                    ..world
                };
                world.memory = crate::plan::Memory {
                    refused,
                    repairs,
                    paced_until: paced,
                    ..Default::default()
                };
                world.memory.published(why, at(now));
            }
            Came::TokenError => {
                let token_error = TokenError::local(Class::Invalid, Reason::RequestRefused, "x");
                world.memory = fail(&credential, &world, token_error, at(now));
            }
        }
    }
    sent
}

fn annotate(now: i64, credential: &mut Credential, _: &mut Observed) {
    credential.renew_requested = Some(now.to_string());
}

#[test]
fn requested_renewals_are_ten_seconds_apart_and_the_first_comes_at_once() {
    assert_eq!(play(annotate, 0..35, Came::Token), [0, 10, 20, 30]);
}

#[test]
fn a_request_that_comes_too_early_is_answered_later() {
    let twice = |now: i64, c: &mut Credential, o: &mut Observed| {
        if now == 0 || now == 3 {
            annotate(now, c, o);
        }
    };
    assert_eq!(play(twice, 0..100, Came::Token), [0, 10]);
    let mut credential = credential();
    credential.renew_requested = Some("second".to_owned());
    let mut noted = record(&credential, (-3, 1800, 3600));
    noted.renew_handled = Some("first".to_owned());
    let world = holding(&credential, noted);
    assert_eq!(
        plan(&credential, &world, at(0)),
        Plan::Hold {
            until: at(7),
            why: Hold::Paced
        }
    );
}

#[test]
fn an_edit_just_after_a_token_came_is_served_at_once() {
    let mut credential = credential();
    let world = holding(&credential, record(&credential, (-1, 1800, 3600)));
    credential.request.scopes.push("more".to_owned());
    assert_eq!(
        plan(&credential, &world, at(0)),
        Plan::Mint(RenewalCause::SpecChanged)
    );
}

/// Ways to request renewals repeatedly.
type Way = (&'static str, fn(i64, &mut Credential, &mut Observed));

const WAYS: [Way; 6] = [
    ("annotation", annotate),
    ("spec that flips", |now, c, _| {
        c.request.scopes = vec![format!("scope-{}", now % 2)];
    }),
    ("issuer", |now, c, _| {
        c.issuer.version = now.to_string();
        c.request.audience = Some(now.to_string());
    }),
    ("source", |now, _, o| {
        o.sources[0].present = Some(("u".to_owned(), now.to_string()));
    }),
    ("deletion", |_, _, o| o.target = Target::Absent),
    ("all of it", |now, c, o| {
        annotate(now, c, o);
        c.request.scopes = vec![format!("scope-{}", now % 3)];
        o.sources[0].present = Some(("u".to_owned(), now.to_string()));
        if now % 2 == 0 {
            o.target = Target::Absent;
        }
    }),
];

#[test]
fn no_way_to_request_a_token_has_a_rate_without_a_bound() {
    for (way, change) in WAYS {
        for came in [Came::Token, Came::TokenError] {
            let sent = play(change, 0..600, came);
            assert_eq!(sent[0], 0, "{way}: the first is served at once");
            assert!(
                sent.len() <= 6 + 60,
                "{way} {came:?}: {} in ten minutes",
                sent.len()
            );
            // None is lost: they continue to be done.
            let last = *sent.last().unwrap();
            assert!(last >= 200, "{way} {came:?}: the last at {last}");
        }
    }
}

proptest! {
    #[test]
    fn any_mixture_of_edits_is_bounded(steps in prop::collection::vec((0_usize..6, 0_i64..4, any::<bool>()), 1..200)) {
        let mut now = 0;
        let mut sequence = Vec::new();
        for (way, pause, _) in &steps {
            now += pause;
            sequence.push((now, *way));
        }
        let mut calls = sequence.iter();
        let times: Vec<i64> = sequence.iter().map(|(now, _)| *now).collect();
        let change = |now: i64, c: &mut Credential, o: &mut Observed| {
            let (_, way) = calls.next().unwrap();
            WAYS[*way].1(now, c, o);
        };
        let came = if steps[0].2 { Came::Token } else { Came::TokenError };
        let sent = play(change, times, came);
        let most = 7 + now / 10;
        // Deletions have a separate limit: five at once.
        prop_assert!(i64::try_from(sent.len()).unwrap() <= most + 5, "{} in {now} s", sent.len());
    }
}
