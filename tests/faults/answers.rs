//! Each request of a life is answered with something else, once (F10, F11, F12).

use std::{panic::AssertUnwindSafe, time::Duration};

use futures::{FutureExt, future::join_all};

use crate::{
    life::{Life, Named, reference},
    oracles::check,
    support::run,
    wire::{Call, Fault, Wire},
};

/// More requests than any life has.
const MOST: usize = 40;

/// Leads a life for each of these faults and each request of a single object, until one has no fault.
pub(crate) async fn at_each_call(faults: &[Named]) {
    let requests = reference().await.calls.len();
    assert!((5..MOST).contains(&requests), "{requests} requests a life");
    let lives = faults.iter().flat_map(|fault| {
        let first = (1..=requests).map(|k| lead(fault.clone(), k, Call::is_single));
        first.map(|life| AssertUnwindSafe(life).catch_unwind())
    });
    // All are led to their ends, so that a broken rule shows everything that it breaks.
    let spoilt: Vec<_> = join_all(lives).await;
    let failed = spoilt.iter().filter(|s| s.is_err()).count();
    assert_eq!(failed, 0, "lives of {} failed; see above", spoilt.len());
    let all = spoilt.into_iter().all(|s| s.is_ok_and(|s| s));
    assert!(all, "a life had less requests than the reference");
    // What a fault makes of a life may have more requests than the reference.
    join_all(faults.iter().map(async |fault| {
        let mut k = requests + 1;
        while lead(fault.clone(), k, Call::is_single).await {
            k += 1;
            assert!(k < MOST, "{}: a life without an end", fault.0);
        }
    }))
    .await;
}

/// Leads one life; was anything spoilt?
async fn lead((name, fault): Named, k: usize, fits: fn(&Call) -> bool) -> bool {
    let crashes = fault.crashes();
    let spoil = move |wire: &Wire| wire.spoil(k, fits, fault);
    let began = std::time::Instant::now();
    let life = Life::lead(&format!("{name}-{k}"), spoil).await;
    println!("{name}-{k}: {} ms", began.elapsed().as_millis());
    assert_eq!(life.crashes, usize::from(crashes && life.spoilt > 0));
    check(&life, reference().await);
    life.spoilt > 0
}

#[test]
fn a_refusal_of_any_request_ends_as_if_it_had_not_been() {
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
    let done = Fault::DoneBut(504, crate::wire::failure(504, "Timeout"));
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
