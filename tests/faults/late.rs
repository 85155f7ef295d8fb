//! Answers that arrive late: the server has executed the request, and the watch shows it and later changes before the
//! answer is read (F13). And objects that are deleted while work is in progress: no data about them stays.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use jiff::SignedDuration;
use kube::api::{DeleteParams, ListParams};
use serde_json::json;
use testenv::eventually;

use apicred::controller::Sizes;
use dev_issuer::Point;

use crate::{
    calls::Call,
    scenario::{Case, world},
    support::{LATER, Place, condition, run, unique},
};

const STATUS: &str = "patch apicredentials/status c";

/// Longer than a watch may delay the event of an own write.
const ECHO_TIMEOUT: SignedDuration = SignedDuration::from_mins(11);

/// Waits until the operator has seen all changes of Secrets so far: its watch reports changes in their order.
async fn secrets_are_seen(place: &Place) {
    let name = format!("fence-{}", unique());
    let nobody = json!({
        "client": { "id": "nobody", "secrets": [{ "name": name, "key": "a" }] },
        "target": { "secretName": format!("{name}-target") },
    });
    place.create(&name, nobody).await;
    place.not_ready(&name, "ClientSecretMissing").await;
    place.put_secret(&name, "a", "b").await;
    let what = "a Secret that is known";
    place
        .until(&name, what, |c| {
            let ready = condition(c, "Ready")?;
            (ready.reason != "ClientSecretMissing").then_some(())
        })
        .await;
    place.delete(&name).await;
    delete_secret(place, &name).await;
}

/// Distinguishes the creation of a target from that of the digest key, which is the first Secret that an operator creates.
pub(crate) fn creates_a_target() -> impl FnMut(&Call) -> bool + Send + 'static {
    let mut made = 0;
    move |call| {
        made += usize::from(call.text() == "create secrets ");
        call.text() == "create secrets " && made > 1
    }
}

/// Deletes a Secret, as a user does.
pub(crate) async fn delete_secret(place: &Place, name: &str) {
    let secrets = place.secrets();
    let gone = secrets.delete(name, &DeleteParams::default()).await;
    gone.expect("a deletion");
}

/// Waits until nothing is stored in memory, and checks that the operator is healthy while nothing happens.
async fn nothing_is_left(case: &Case) {
    eventually(
        LATER,
        format!("{}: empty", case.name),
        async || match case.probe.sizes() {
            empty if empty == Sizes::default() => Ok(()),
            other => Err(format!("{other:?}")),
        },
    )
    .await;
    case.clock.step(ECHO_TIMEOUT);
    let now = apicred::clock::Clock::now(case.clock.as_ref());
    assert_eq!(case.probe.alive(now), Ok(()), "{}", case.name);
}

/// Checks that nothing is left of a case whose credential is being deleted.
async fn leaves_nothing(mut case: Case) {
    case.until_gone().await;
    nothing_is_left(&case).await;
    case.stop().await;
}

/// The answer to a write arrives only after a user has deleted the Secret, and the operator has seen this.
async fn deleted_before_the_answer(
    name: &str,
    write: impl FnMut(&Call) -> bool + Send + 'static,
    again: bool,
) {
    let mut case = Case::new(world().await, name).await;
    let place = Arc::clone(&case.place);
    let (done, deliver) = case.wire.late_first(write);
    case.start();
    place.create("c", json!({})).await;
    if again {
        case.until_ready(None).await;
        place.request_renewal("c").await;
    }
    done.notified().await;
    let old = place.view("token").await.expect("it is written");
    delete_secret(&place, "token").await;
    secrets_are_seen(&place).await;
    deliver.notify_one();
    // Until the operator writes again, status may still show the first token.
    place.any_token("token").await;
    let new = case.until_ready(None).await;
    assert_ne!(new.token, old.token, "{name}: its own token");
    assert_eq!(place.posts(), 2 + usize::from(again), "{name}: O3");
    case.stays_quiet(Duration::from_millis(400)).await;
    place.delete("c").await;
    leaves_nothing(case).await;
}

#[test]
fn a_late_answer_does_not_bring_back_a_secret_that_was_deleted() {
    run(async {
        deleted_before_the_answer("late-create", creates_a_target(), false).await;
        let patches = |call: &Call| call.text() == "patch secrets token";
        deleted_before_the_answer("late-patch", patches, true).await;
    });
}

#[test]
fn a_credential_that_is_deleted_while_its_status_is_answered_leaves_nothing() {
    run(async {
        let mut case = Case::new(world().await, "late-status").await;
        let place = Arc::clone(&case.place);
        let (done, deliver) = case.wire.late_first(|call| call.text() == STATUS);
        case.start();
        place.create("c", json!({})).await;
        done.notified().await;
        place.delete("c").await;
        place.operator_has_seen_it().await;
        deliver.notify_one();
        leaves_nothing(case).await;
    });
}

#[test]
fn a_credential_that_is_recreated_while_its_status_is_written_has_its_own_state() {
    run(async {
        let mut case = Case::new(world().await, "late-again").await;
        let place = Arc::clone(&case.place);
        let (done, deliver) = case.wire.late_first(|call| call.text() == STATUS);
        case.start();
        place.create("c", json!({})).await;
        done.notified().await;
        place.delete("c").await;
        eventually(LATER, "the first one is gone", async || {
            let credentials = place.credentials();
            let there = credentials.get_opt("c").await;
            there.is_ok_and(|c| c.is_none())
        })
        .await;
        place.create("c", json!({})).await;
        place.operator_has_seen_it().await;
        deliver.notify_one();
        case.until_ready(None).await;
        case.stays_quiet(Duration::from_millis(400)).await;
        place.delete("c").await;
        leaves_nothing(case).await;
    });
}

#[test]
fn a_credential_that_is_deleted_while_its_token_is_requested_leaves_nothing() {
    run(async {
        let mut case = Case::new(world().await, "late-issuer").await;
        let place = Arc::clone(&case.place);
        let hold = place.issuer.hold(&place.client, Point::Received);
        case.start();
        place.create("c", json!({})).await;
        hold.reached().await;
        place.delete("c").await;
        place.operator_has_seen_it().await;
        hold.release();
        leaves_nothing(case).await;
    });
}

#[test]
fn thousands_of_failing_credentials_that_come_and_go_leave_nothing() {
    const ROUNDS: usize = 4;
    const EACH: usize = 500;
    run(async {
        let mut case = Case::new(world().await, "late-churn").await;
        let place = Arc::clone(&case.place);
        case.start();
        for round in 0..ROUNDS {
            stream::iter(0..EACH)
                .for_each_concurrent(16, async |n| {
                    let name = format!("c-{round}-{n}");
                    // A third each: a client that is refused, a source that is missing, a spec that is not valid.
                    let spec = match n % 3 {
                        0 => json!({ "client": { "id": format!("nobody-{n}") } }),
                        1 => {
                            json!({ "client": { "secrets": [{ "name": "none", "key": "a" }] } })
                        }
                        _ => json!({ "issuerRef": { "name": "none" } }),
                    };
                    let target = json!({ "target": { "secretName": name } });
                    let spec = crate::support::merge(spec, target);
                    place.create(&name, spec).await;
                })
                .await;
            // Some have been reconciled, some wait, some are in progress.
            let (params, all) = (DeleteParams::default(), ListParams::default());
            let credentials = place.credentials();
            let gone = credentials.delete_collection(&params, &all).await;
            gone.expect("deletions");
        }
        place.operator_has_seen_it().await;
        eventually(LATER, "the last one is gone", async || {
            let left = place.credentials().list(&ListParams::default()).await;
            left.is_ok_and(|left| left.items.is_empty())
        })
        .await;
        assert!(
            case.wire.journal().len() > ROUNDS * EACH / 4,
            "most were reconciled"
        );
        nothing_is_left(&case).await;
        case.stop().await;
    });
}
