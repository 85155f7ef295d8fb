//! Each request of a scenario gets a different answer, once (F10, F11, F12).

use std::{panic::AssertUnwindSafe, time::Duration};

use futures::{FutureExt, future::join_all};

use crate::{
    calls::{Call, Fault},
    oracles::check,
    scenario::{Mode, Named, Scenario, reference},
    support::run,
    wire::Wire,
};

/// More requests than any scenario has.
const MOST: usize = 40;

/// Prepares a wire before a scenario begins.
pub(crate) type Injection = Box<dyn FnOnce(&Wire) + Send>;

/// Runs a scenario for each of these faults and each request of a single object, until one has no fault. In namespaced mode
/// these requests are the same, so each fault meets every third of them there, and each request some of the faults.
pub(crate) async fn at_each_call(faults: &[Named]) {
    let requests = reference().await.calls.len();
    assert!(
        (5..MOST).contains(&requests),
        "{requests} requests a scenario"
    );
    let first = |(number, fault): (usize, &Named)| {
        let fault = fault.clone();
        let modes = move |k| {
            let both = k % 3 == number % 3;
            Mode::BOTH.into_iter().take(if both { 2 } else { 1 })
        };
        (1..=requests).flat_map(move |k| {
            let fault = fault.clone();
            modes(k).map(move |mode| at(&fault, k, mode))
        })
    };
    lead_all(faults.iter().enumerate().flat_map(first).collect()).await;
    // With a fault, a scenario may have more requests than the reference.
    join_all(faults.iter().map(async |fault| {
        let mut k = requests + 1;
        while lead(at(fault, k, Mode::Cluster)).await {
            k += 1;
            assert!(k < MOST, "{}: a scenario without an end", fault.0);
        }
    }))
    .await;
}

fn at((name, fault): &Named, k: usize, mode: Mode) -> FaultCase {
    let fault = fault.clone();
    let inject = move |wire: &Wire| wire.inject(k, Call::is_single, fault);
    (format!("{name}-{k}"), mode, Box::new(inject))
}

/// A scenario with a fault: its name, the mode of its operator, and the preparation of the wire.
pub(crate) type FaultCase = (String, Mode, Injection);

/// Runs these scenarios. A fault must have occurred in each of them.
pub(crate) async fn lead_all(cases: Vec<FaultCase>) {
    let scenarios = cases
        .into_iter()
        .map(|case| AssertUnwindSafe(lead(case)).catch_unwind());
    // All of them are run to the end, so that a broken rule shows all its effects.
    let spoilt: Vec<_> = join_all(scenarios).await;
    let failed = spoilt.iter().filter(|s| s.is_err()).count();
    assert_eq!(failed, 0, "lives of {} failed; see above", spoilt.len());
    let missed = spoilt.iter().filter(|s| matches!(s, Ok(false))).count();
    assert_eq!(missed, 0, "lives of {} met no fault", spoilt.len());
}

/// Runs one scenario; returns true if a fault occurred.
async fn lead((name, mode, inject): FaultCase) -> bool {
    let scenario = Scenario::lead_in(mode, &name, inject).await;
    check(&scenario, reference().await);
    scenario.spoilt > 0
}

#[test]
fn a_rejection_of_any_request_ends_as_if_it_had_not_been() {
    run(at_each_call(&[
        ("f10-403", Fault::status(403, "Forbidden", &[])),
        ("f10-404", Fault::status(404, "NotFound", &[])),
        ("f10-409", Fault::status(409, "Conflict", &[])),
        ("f10-422", Fault::status(422, "Invalid", &[])),
    ]));
}

#[test]
fn a_server_that_fails_or_is_busy_at_any_request_costs_nothing() {
    let busy = |after| Fault::status(429, "TooManyRequests", &[("retry-after", after)]);
    run(at_each_call(&[
        ("f10-500", Fault::status(500, "InternalError", &[])),
        ("f10-503", Fault::status(503, "ServiceUnavailable", &[])),
        ("f10-504", Fault::status(504, "Timeout", &[])),
        ("f10-429-1", busy("1")),
        ("f10-429-hour", busy("3600")),
    ]));
}

#[test]
fn an_answer_that_makes_no_sense_or_is_lost_costs_nothing() {
    let page = "<!doctype html><title>Sign in</title>".to_owned();
    let html = vec![("content-type", "text/html".to_owned())];
    run(at_each_call(&[
        ("f10-html", Fault::Answer(200, html, page)),
        ("f10-half", Fault::Half),
        ("f10-reset", Fault::Reset),
        ("f02-lost", Fault::Lost),
    ]));
}

#[test]
fn a_request_that_is_done_and_answered_with_504_is_not_done_twice() {
    let done = Fault::DoneBut(504, crate::calls::failure(504, "Timeout"));
    run(at_each_call(&[("f11", done)]));
}

#[test]
fn a_request_that_is_never_answered_ends_by_its_own_deadline() {
    run(at_each_call(&[
        ("f12-hole", Fault::Hole),
        ("f12-after", Fault::HoleAfter),
        ("f12-slow", Fault::Slow(Duration::from_secs(2))),
    ]));
}
