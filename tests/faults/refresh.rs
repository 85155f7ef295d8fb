//! Scenarios of a refresh token (F56): it is used, rotated, and meanwhile a fault occurs. These rules must hold: the issuer
//! never receives a second use, and a sign-in is lost only if the operator was killed between the mark and the write that
//! stores the answer.

mod outcomes;

use std::{panic::AssertUnwindSafe, sync::atomic::Ordering, time::Duration};

use futures::{FutureExt, future::join_all};
use jiff::SignedDuration;
use kube::api::PostParams;
use serde_json::json;
use testenv::eventually;

use super::user::{MARK, STATE, TURNS, User};
use crate::{
    calls::{Call, Entry, Fault, failure},
    refresh_issuer::Act,
    scenario::{Mode, Named, in_both_modes},
    support::{LATER, condition, merge, run},
    wire::Wire,
};
/// More requests than any scenario has.
const MOST: usize = 40;

/// The result of a scenario.
struct End {
    spoilt: usize,
    calls: usize,
    crashes: usize,
    lost: usize,
    /// Whether the operator was killed between the mark and the write that stores the answer. None: one of these was in flight.
    in_doubt: Option<bool>,
}

/// Whether the operator was killed while the state Secret had the mark. Its writes are in turn the mark and the answer. Other calls continue
/// until it has ended; the next process begins with lists.
fn died_in_doubt(journal: &[Entry]) -> Option<bool> {
    let spoilt = journal.iter().position(|e| e.spoilt)?;
    let lists = |e: &Entry| e.call.verb == "list";
    let begun = journal[spoilt..].iter().position(lists);
    let scenario = &journal[..begun.map_or(journal.len(), |at| spoilt + at)];
    let of_state = |e: &&Entry| e.call.verb == "patch" && e.call.name == STATE;
    let mut writes = scenario.iter().filter(of_state);
    if writes.any(|e| e.answered.is_none() && !e.spoilt) {
        return None;
    }
    let done = |e: &&Entry| e.answered.is_some_and(|code| code < 300);
    Some(scenario.iter().filter(of_state).filter(done).count() % 2 == 1)
}

/// First token, one renewal; a user who has lost a sign-in signs in again.
async fn lead(mode: Mode, name: &str, inject: impl FnOnce(&Wire)) -> End {
    let _turn = TURNS.acquire().await.expect("it is never closed");
    let mut user = User::new(mode, name, json!({ "reuse": "Never" })).await;
    inject(&user.case.wire);
    user.begin(json!({})).await;
    let mut lost = 0;
    let mut renewal_id = None;
    for round in 0..3 {
        while !user.until_served(renewal_id.as_deref()).await {
            lost += 1;
            assert!(
                lost <= user.case.crashes,
                "{name}: a sign-in was lost without a crash: {:#?}",
                user.case.journal()
            );
            assert_eq!(user.issuer.family().reused, 0, "{name}: a second use");
            let token = user.issuer.sign_in();
            user.put(&token).await;
            let notes = json!({ "metadata": { "annotations": { MARK: null } } });
            user.case.place.edit_secret(STATE, notes).await;
            user.until("the new sign-in", |c| {
                let unknown =
                    |k| condition(c, k).is_some_and(|c| c.reason == "RefreshOutcomeUnknown");
                (!unknown("Ready") && !unknown("RenewalFailing")).then_some(())
            })
            .await;
        }
        if round < 2 {
            renewal_id = Some(user.case.place.request_renewal("c").await);
        }
    }
    user.case.stays_quiet(Duration::from_millis(300)).await;
    user.whole(0).await;
    let journal = user.case.wire.journal();
    let end = End {
        spoilt: journal.iter().filter(|e| e.spoilt).count(),
        calls: journal.iter().filter(|e| e.call.is_single()).count(),
        crashes: user.case.crashes,
        lost,
        in_doubt: died_in_doubt(&journal),
    };
    // A token that could not be stored is requested only once; a process that is killed may lose one.
    let requests = user.issuer.requests();
    assert!(
        (3..=3 + end.crashes + 1).contains(&requests),
        "O3: {name}: {requests} requests"
    );
    user.end().await;
    end
}

/// Runs a scenario for each of these faults and each request of a single object.
async fn at_each_call(mode: Mode, faults: &[Named]) -> Vec<End> {
    let reference = lead(mode, "refresh-ref", |_| {}).await;
    assert!(
        (10..MOST).contains(&reference.calls),
        "{} calls",
        reference.calls
    );
    let cases = faults.iter().flat_map(|(name, fault)| {
        (1..=reference.calls).map(move |k| (format!("r-{name}-{k}"), k, fault.clone()))
    });
    let scenarios = cases.map(|(name, k, fault)| {
        AssertUnwindSafe(async move {
            lead(mode, &name, |wire| wire.inject(k, Call::is_single, fault)).await
        })
        .catch_unwind()
    });
    let ends = join_all(scenarios).await;
    let failed = ends.iter().filter(|e| e.is_err()).count();
    assert_eq!(failed, 0, "lives of {} failed; see above", ends.len());
    let ends: Vec<End> = ends.into_iter().flatten().collect();
    assert!(ends.iter().all(|e| e.spoilt > 0), "a scenario met no fault");
    ends
}

/// Numbers of crashes and lost sign-ins.
fn sums(ends: &[End]) -> (usize, usize) {
    let sum = |count: fn(&End) -> usize| ends.iter().map(count).sum::<usize>();
    (sum(|e| e.crashes), sum(|e| e.lost))
}

/// In both modes: all faults in the one, and in the other those that differ in their effect.
async fn costs_nothing(all: &[Named], namespaced: &[&str]) {
    let some: Vec<Named> = (all.iter())
        .filter(|(name, _)| namespaced.contains(name))
        .cloned()
        .collect();
    assert_eq!(some.len(), namespaced.len());
    let ends = futures::future::join(
        at_each_call(Mode::Cluster, all),
        at_each_call(Mode::Namespaced, &some),
    );
    let (cluster, namespaced) = ends.await;
    let sums = (sums(&cluster), sums(&namespaced));
    assert_eq!(sums, ((0, 0), (0, 0)), "crashes and lost sign-ins");
}

#[test]
fn no_fault_of_the_api_server_costs_a_sign_in() {
    let busy = Fault::status(429, "TooManyRequests", &[("retry-after", "1")]);
    let all = [
        ("403", Fault::status(403, "Forbidden", &[])),
        ("409", Fault::status(409, "Conflict", &[])),
        ("500", Fault::status(500, "InternalError", &[])),
        ("429", busy),
        ("504", Fault::DoneBut(504, failure(504, "Timeout"))),
    ];
    run(costs_nothing(&all, &["409", "504"]));
}

#[test]
fn no_lost_answer_of_the_api_server_costs_a_sign_in() {
    let all = [
        ("reset", Fault::Reset),
        ("lost", Fault::Lost),
        ("half", Fault::Half),
        ("hole", Fault::Hole),
        ("after", Fault::HoleAfter),
    ];
    run(costs_nothing(&all, &["lost"]));
}

/// Only between the mark and the write that stores the answer the outcome is unknown. On a busy machine a scenario may have a call
/// more than the reference, so the places are found in each scenario, and not counted by their number.
#[test]
fn a_crash_costs_a_sign_in_only_between_the_mark_and_the_write() {
    run(in_both_modes(async |mode| {
        for (name, fault) in [("crash", Fault::Crash), ("crash-after", Fault::CrashAfter)] {
            let ends = at_each_call(mode, &[(name, fault)]).await;
            for (k, end) in ends.iter().enumerate() {
                let scenario = format!("{name}, {mode:?}: scenario {}", k + 1);
                // A scenario may have ended before it notices that its last call was its end.
                assert!(end.crashes <= 1, "{scenario}: {} crashes", end.crashes);
                assert!(end.lost <= 1, "{scenario}: {} lost sign-ins", end.lost);
                if let Some(in_doubt) = end.in_doubt {
                    assert_eq!(end.lost == 1, in_doubt, "{scenario}: a lost sign-in");
                }
            }
            let (crashes, lost) = sums(&ends);
            assert!(crashes > 10, "{name}, {mode:?}: {crashes} crashes");
            assert!(lost > 0, "{name}, {mode:?}: none of {crashes} in doubt");
        }
    }));
}

#[test]
fn a_new_refresh_token_is_stored_whatever_is_wrong_with_its_answer() {
    let json = "application/json";
    let large = format!(
        r#"{{"access_token":"{}","refresh_token":"NEW"}}"#,
        "t".repeat(300_000)
    );
    let cases: Vec<(&'static str, Act)> = vec![
        (
            "expired",
            Act::Grant(
                "200 OK",
                json,
                r#"{"access_token":"a","expires_in":0,"refresh_token":"NEW"}"#.to_owned(),
            ),
        ),
        (
            "dpop",
            Act::Grant(
                "200 OK",
                json,
                r#"{"access_token":"a","token_type":"DPoP","refresh_token":"NEW"}"#.to_owned(),
            ),
        ),
        (
            "newline",
            Act::Grant(
                "200 OK",
                json,
                r#"{"access_token":"a\nb","refresh_token":"NEW"}"#.to_owned(),
            ),
        ),
        (
            "id-token",
            Act::Grant(
                "200 OK",
                json,
                r#"{"id_token":"a","refresh_token":"NEW"}"#.to_owned(),
            ),
        ),
        (
            "error",
            Act::Grant(
                "200 OK",
                json,
                r#"{"access_token":"a","error":"server_error","refresh_token":"NEW"}"#.to_owned(),
            ),
        ),
        ("large", Act::Grant("200 OK", json, large)),
        (
            "broken",
            Act::Grant(
                "201 Created",
                "text/html",
                r#"{"access_token":"a","refresh_token":"NEW",,"#.to_owned(),
            ),
        ),
        (
            "form",
            Act::Grant(
                "200 OK",
                json,
                "expires_in=0&refresh_token=NEW&access_token=a".to_owned(),
            ),
        ),
        // The head and the refresh token, which comes first.
        ("cut", Act::GrantPart(150)),
    ];
    run(in_both_modes(async |mode| {
        let scenarios = cases.clone().into_iter().map(async |(name, act)| {
            let mut user = User::new(mode, &format!("r-odd-{name}"), json!({})).await;
            user.issuer.script([act]);
            user.begin(json!({})).await;
            assert!(
                user.until_served(None).await,
                "{name}: the sign-in was lost"
            );
            assert_eq!(user.issuer.requests(), 2, "{name}");
            user.whole(0).await;
            user.end().await;
        });
        join_all(scenarios).await;
    }));
}

/// A deletion and a creation in one, as GitOps tools replace objects: a successor finds no partly revoked sign-in.
#[test]
fn a_credential_that_revokes_is_replaced_only_after_its_sign_in_has_ended() {
    run(in_both_modes(async |mode| {
        let mut user = User::new(mode, "r-replaced", json!({})).await;
        let place = &user.case.place;
        let revocation = format!("{}/revoke", user.issuer.url);
        let issuer = json!({
            "entra": null, "caBundle": user.issuer.ca,
            "oauth2": { "tokenUrl": user.issuer.url, "revocationUrl": revocation },
        });
        place.put_issuer(merge(place.entra_issuer(), issuer)).await;
        user.begin(json!({ "deletionPolicy": "Revoke" })).await;
        assert!(user.until_served(None).await);
        let place = &user.case.place;
        let read = |call: &Call| call.text() == "get secrets state";
        let (come, go) = user.case.wire.hold_first(read);
        place.delete("c").await;
        come.notified().await;
        let next = json!({
            "apiVersion": "apicred.dev/v1alpha1", "kind": "ApiCredential", "metadata": { "name": "c" },
            "spec": place.spec(User::spec(json!({ "target": { "secretName": "next" } }))),
        });
        let next = serde_json::from_value(next).expect("a credential");
        let credentials = place.credentials();
        let made = credentials.create(&PostParams::default(), &next).await;
        assert!(
            matches!(&made, Err(kube::Error::Api(status)) if status.code == 409),
            "{made:?}"
        );
        assert_eq!(user.issuer.family().revoked, 0);
        go.notify_one();
        eventually(LATER, "the name is free", async || {
            credentials
                .create(&PostParams::default(), &next)
                .await
                .is_ok()
        })
        .await;
        assert_eq!(user.issuer.family().revoked, 1);
        user.until_reason("SignInRequired").await;
        user.end().await;
    }));
}

#[test]
fn a_lost_answer_is_requested_again_within_the_window() {
    run(in_both_modes(async |mode| {
        let tokens = json!({ "reuse": "Never", "reuseWindow": "6s" });
        let mut user = User::new(mode, "r-window", tokens).await;
        user.issuer.family().grace = Duration::from_secs(6);
        user.issuer.script([Act::GrantAndHang]);
        user.begin(json!({})).await;
        assert!(user.until_served(None).await, "the sign-in was lost");
        assert_eq!(user.issuer.requests(), 2);
        user.whole(0).await;
        user.issuer.script([Act::GrantAndClose]);
        assert!(user.renew().await, "the sign-in was lost");
        user.whole(0).await;
        user.end().await;
    }));
}

#[test]
fn each_refresh_has_a_connection_of_its_own() {
    run(in_both_modes(async |mode| {
        let mut user = User::new(mode, "r-fresh", json!({})).await;
        user.begin(json!({})).await;
        assert!(user.until_served(None).await);
        for _ in 0..3 {
            assert!(user.renew().await);
        }
        let seen = (user.issuer.requests(), user.issuer.connections());
        assert_eq!(seen, (4, 4));
        user.end().await;
    }));
}

/// The broken request did not reach the issuer; or it did, and the sign-in is lost in any case.
#[test]
fn when_the_token_has_expired_the_old_refresh_token_is_tried_once() {
    run(in_both_modes(async |mode| {
        for spent in [false, true] {
            let name = if spent { "r-last-spent" } else { "r-last-good" };
            let mut user = User::new(mode, name, json!({})).await;
            user.case.frozen.store(true, Ordering::SeqCst);
            user.begin(json!({})).await;
            assert!(user.until_served(None).await);
            user.issuer.script([if spent {
                Act::GrantAndClose
            } else {
                Act::Close
            }]);
            assert!(!user.renew().await, "{name}");
            user.case.pass(SignedDuration::from_mins(30)).await;
            user.case.stays_quiet(Duration::from_secs(1)).await;
            assert_eq!(
                user.issuer.requests(),
                2,
                "{name}: the token has not expired"
            );
            user.case.pass(SignedDuration::from_mins(31)).await;
            if spent {
                user.until_reason("SignInRequired").await;
            } else {
                eventually(LATER, "the last try", async || {
                    let requests = user.issuer.requests();
                    if requests == 3 { Ok(()) } else { Err(requests) }
                })
                .await;
                user.until("a token", |c| {
                    let none = condition(c, "RenewalFailing").is_none();
                    (condition(c, "Ready")?.status == "True" && none).then_some(())
                })
                .await;
                user.whole(0).await;
            }
            assert_eq!(user.issuer.requests(), 3, "{name}");
            user.case.pass(SignedDuration::from_hours(3)).await;
            if spent {
                user.case.place.request_renewal("c").await;
                user.case.stays_quiet(Duration::from_secs(1)).await;
                assert_eq!(user.issuer.requests(), 3, "{name}: once");
            }
            user.end().await;
        }
    }));
}

/// Each attempt sets the mark and removes it, which changes the state Secret.
#[test]
fn a_refresh_that_keeps_failing_backs_off() {
    run(in_both_modes(async |mode| {
        let mut user = User::new(mode, "r-backoff", json!({})).await;
        let refuse = || Act::Refuse("503 Busy", r#"{"error":"temporarily_unavailable"}"#);
        user.issuer.script(std::iter::repeat_with(refuse).take(6));
        user.begin(json!({})).await;
        let failures = user
            .until("five failures", |c| {
                let status = c.status.as_ref()?;
                status.consecutive_failures.filter(|n| *n >= 5)
            })
            .await;
        let requests = user.issuer.requests();
        let most = usize::try_from(failures).expect("a count") + 1;
        assert!(
            requests <= most,
            "{requests} requests for {failures} failures"
        );
        assert!(user.until_served(None).await);
        user.whole(0).await;
        user.end().await;
    }));
}
