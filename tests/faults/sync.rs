//! A cache and a server that disagree about a target: the server answers each write with 409 or 404 (F10). The wait grows,
//! status reports it, no further request is sent to the issuer, and it ends when the server agrees.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::SignedDuration;
use serde_json::json;
use testenv::eventually;

use crate::{
    calls::{Call, Fault},
    late::{creates_a_target, delete_secret},
    scenario::{Case, world},
    stream::StreamFault,
    support::{SOON, condition, run},
};

/// Each write that fits is answered with `code`, until the flag is cleared; returns the flag.
fn refuse(
    case: &Case,
    code: u16,
    reason: &'static str,
    mut fits: impl FnMut(&Call) -> bool + Send + 'static,
) -> Arc<AtomicBool> {
    let on = Arc::new(AtomicBool::new(true));
    let still = Arc::clone(&on);
    case.wire.rule(move |call| {
        let refused = fits(call) && still.load(Ordering::SeqCst);
        refused.then(|| Fault::status(code, reason, &[]))
    });
    on
}

/// Waits until status reports it, and checks how often the write was tried.
async fn reported(case: &Case) {
    let out_of_sync = |c: &apicred::api::ApiCredential| {
        let condition_of = |kind| condition(c, kind).filter(|c| c.reason == "TargetOutOfSync");
        condition_of("Ready")
            .or_else(|| condition_of("RenewalFailing"))
            .map(|c| c.message)
    };
    let message = case.place.until("c", "a report", out_of_sync).await;
    for part in ["Secret token", "the API server answers HTTP 4"] {
        assert!(message.contains(part), "{message}");
    }
    let journal = case.wire.journal();
    let tries: Vec<_> = journal
        .iter()
        .filter(|e| e.spoilt && e.call.is_single())
        .collect();
    assert!(tries.len() >= 3, "not reported before it lasts");
    let pauses = tries.windows(2).map(|t| t[1].at.duration_since(t[0].at));
    for (n, pause) in pauses.enumerate() {
        let least = Duration::from_millis((1_000 << n.min(2)) - 100);
        assert!(pause >= least, "{}: pause {n} is {pause:?}", case.name);
    }
    // It is written after the status.
    eventually(SOON, "an event", async || {
        let events = case.place.events("c").await;
        let reported = events
            .iter()
            .any(|(_, reason, _)| reason == "TargetOutOfSync");
        if reported {
            Ok(())
        } else {
            Err(format!("{events:?}"))
        }
    })
    .await;
}

async fn a_refused_rotation(name: &str, code: u16, reason: &'static str) {
    let mut case = Case::new(world().await, name).await;
    let patches = |call: &Call| call.text() == "patch secrets token";
    let on = refuse(&case, code, reason, patches);
    case.start();
    case.place.create("c", json!({})).await;
    let first = case.until_ready(None).await;
    let renewal_id = case.place.request_renewal("c").await;
    reported(&case).await;
    let c = case
        .place
        .credentials()
        .get("c")
        .await
        .expect("it is there");
    let ready = condition(&c, "Ready").expect("a condition");
    assert_eq!(ready.status, "True", "the first token still lives");
    on.store(false, Ordering::SeqCst);
    case.pass(SignedDuration::from_mins(1)).await;
    case.until_ready(Some((&first, Some(&renewal_id)))).await;
    assert_eq!(case.place.posts(), 2, "{name}: the token was held");
    case.stays_quiet(Duration::from_millis(400)).await;
    case.place.delete("c").await;
    case.until_gone().await;
    case.stop().await;
}

#[test]
fn a_target_that_conflicts_again_and_again_is_reported_and_costs_one_token() {
    run(a_refused_rotation("sync-409", 409, "Conflict"));
}

#[test]
fn a_target_that_is_not_found_again_and_again_is_reported_and_costs_one_token() {
    run(a_refused_rotation("sync-404", 404, "NotFound"));
}

#[test]
fn a_target_that_exists_and_is_not_shown_is_reported_and_costs_one_token() {
    run(async {
        let mut case = Case::new(world().await, "sync-create").await;
        let on = refuse(&case, 409, "AlreadyExists", creates_a_target());
        case.start();
        case.place.create("c", json!({})).await;
        reported(&case).await;
        on.store(false, Ordering::SeqCst);
        case.pass(SignedDuration::from_mins(1)).await;
        case.until_ready(None).await;
        assert_eq!(case.place.posts(), 1, "the token was held");
        case.place.delete("c").await;
        case.until_gone().await;
        case.stop().await;
    });
}

#[test]
fn a_deletion_that_the_watch_never_shows_is_found_by_the_next_write() {
    run(async {
        let mut case = Case::new(world().await, "sync-deaf").await;
        let never = StreamFault::Late("{", Duration::from_hours(1));
        case.wire.rule(move |call| {
            let watch_is_silent = call.verb == "watch" && call.resource == "secrets";
            watch_is_silent.then_some(Fault::Stream(never))
        });
        case.start();
        case.place.create("c", json!({})).await;
        let first = case.until_ready(None).await;
        delete_secret(&case.place, "token").await;
        let renewal_id = case.place.request_renewal("c").await;
        // Before the write there is no evidence that status is wrong.
        let served = |c: &apicred::api::ApiCredential| {
            let status = c.status.as_ref()?;
            (status.last_handled_renew_request.as_ref() == Some(&renewal_id)).then_some(())
        };
        case.place.until("c", "the renewal", served).await;
        let second = case.until_ready(None).await;
        assert_ne!(first.token, second.token);
        assert_eq!(case.place.posts(), 2, "the token was held");
        case.stop().await;
    });
}
