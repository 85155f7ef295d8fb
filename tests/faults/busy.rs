//! An API server that refuses requests temporarily: priority and fairness answers 429, and a server that has just started
//! answers 403 until it has loaded its roles.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use serde_json::json;

use crate::{
    calls::{Call, Fault},
    late::creates_a_target,
    oracles::check,
    scenario::{Case, Scenario, reference, world},
    support::run,
    wire::Wire,
};

/// Runs a scenario in which each request is refused `times` times before it is accepted.
async fn refused(name: &str, times: usize, fits: fn(&Call) -> bool, fault: Fault) -> Scenario {
    let usual = reference().await;
    let scenario = Scenario::lead(name, |wire: &Wire| {
        let mut left = HashMap::<String, usize>::new();
        wire.rule(move |call| {
            if !call.is_single() || !fits(call) {
                return None;
            }
            let left = left.entry(call.text()).or_insert(times);
            if *left == 0 {
                // The next request of this kind is a different one.
                *left = times;
                return None;
            }
            *left -= 1;
            Some(fault.clone())
        });
    })
    .await;
    check(&scenario, usual);
    assert!(scenario.spoilt > times, "{name}: {}", scenario.spoilt);
    scenario
}

#[test]
fn a_server_that_answers_429_to_half_of_all_requests_fails_no_reconcile() {
    run(async {
        let busy = Fault::status(429, "TooManyRequests", &[("retry-after", "1")]);
        let scenario = refused("r5-429", 1, |_| true, busy).await;
        assert!(!scenario.text.contains("KubernetesUnavailable"));
        let (mut done, mut usual) = (scenario.writes.clone(), reference().await.writes.clone());
        // A first token that takes longer than a second is reported as pending first.
        let status = |writes: &mut BTreeMap<String, usize>| {
            let of = |what: &String, _: &mut usize| what.contains("/status");
            writes
                .extract_if(.., of)
                .map(|(_, count)| count)
                .sum::<usize>()
        };
        let (ours, least) = (status(&mut done), status(&mut usual));
        assert!((least..=least + 1).contains(&ours), "{ours}, not {least}");
        assert_eq!(done, usual, "none is done twice");
    });
}

#[test]
fn a_server_that_does_not_know_its_roles_yet_is_not_taken_for_one_that_forbids() {
    run(async {
        let forbidden = Fault::status(403, "Forbidden", &[]);
        let fits = |call: &Call| call.resource != "events";
        let scenario = refused("r5-403", 2, fits, forbidden).await;
        for reason in ["TargetWriteForbidden", "ClientSecretForbidden"] {
            assert!(!scenario.text.contains(reason), "{reason}");
        }
    });
}

#[test]
fn a_write_that_stays_forbidden_is_reported() {
    run(async {
        let mut case = Case::new(world().await, "r5-forbidden").await;
        let mut fits = creates_a_target();
        case.wire
            .rule(move |call| fits(call).then(|| Fault::status(403, "Forbidden", &[])));
        let place = Arc::clone(&case.place);
        case.start();
        place.create("c", json!({})).await;
        place.not_ready("c", "TargetWriteForbidden").await;
        assert_eq!(place.posts(), 1, "the token is held");
        case.stop().await;
    });
}
