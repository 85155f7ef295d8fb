//! The answer to a refresh is stored with retries for as long as the process runs, on a paused clock.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::Method;
use k8s_openapi::ByteString;
use kube::runtime::watcher::Event;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    controller::{
        Operator,
        cache::packed::PackedCredential,
        token::{
            refresh_token::Answered,
            state_secret::{Stored, finish},
        },
    },
    fixtures::{credential, object},
    leader::Authority,
    oauth::Class,
    scripted::{self, Reply, client, refuse},
};

/// The result of a write.
type Meets = fn() -> Reply;

/// The result of writes for this time.
#[derive(Clone, Copy, Debug)]
struct FailingWrites {
    until: Duration,
    meets: Meets,
}

/// The number of writes that were tried, and of those that succeeded.
#[derive(Clone, Default)]
struct Seen {
    tries: Arc<AtomicUsize>,
    stored: Arc<AtomicUsize>,
}

/// An operator whose API server has one state Secret, with the refresh token that was sent.
fn operator(failing: FailingWrites, seen: &Seen) -> Operator {
    let (began, seen) = (Instant::now(), seen.clone());
    let api = move |method: &Method, _: &http::Uri, body: &Value| {
        let metadata = json!({
            "name": "state", "namespace": "secops", "uid": "state-uid", "resourceVersion": "8",
            "annotations": { "apicred.dev/state-of": "alerts" },
        });
        if *method == Method::GET {
            let token = serde_json::to_value(ByteString(b"the-old".to_vec())).unwrap();
            return Reply::Answer(
                200,
                json!({ "metadata": metadata, "data": { "token": token } }),
            );
        }
        seen.tries.fetch_add(1, Ordering::SeqCst);
        if began.elapsed() < failing.until {
            return (failing.meets)();
        }
        assert_eq!(body["stringData"]["token"], "the-new");
        seen.stored.fetch_add(1, Ordering::SeqCst);
        Reply::Answer(200, json!({ "metadata": metadata }))
    };
    scripted::operator(client(api), &Arc::default())
}

/// The possible results of a write. The conflict is one that no refresh token explains.
const MEETS: [(&str, Meets); 5] = [
    ("a fault", || refuse(500)),
    ("an overload", || refuse(503)),
    ("no right", || refuse(403)),
    ("a conflict", || refuse(409)),
    ("silence", || Reply::Silence),
];

/// A lease that this process no longer holds.
fn lost() -> Authority {
    Authority::of_a_candidate()
}

#[tokio::test(start_paused = true)]
async fn a_new_refresh_token_is_tried_to_be_stored_for_the_whole_time_that_it_has() {
    for (name, meets) in MEETS {
        for (until, authority) in [(18, Authority::always()), (29, lost()), (120, lost())] {
            let seen = Seen::default();
            let until = Duration::from_secs(until);
            let operator =
                operator(FailingWrites { until, meets }, &seen).with_authority(authority);
            let began = Instant::now();
            let credential = credential();
            let mut answered = Answered::of_a_test(&credential, "the-old", "the-new");
            let stored = finish(&operator.context, &credential, &mut answered).await;
            assert!(matches!(stored, Ok(Stored::Yes)), "{name}, {until:?}");
            let took = began.elapsed();
            // A call may be in progress at this time.
            let most = until + Duration::from_secs(15);
            assert!(took < most, "{name}, {until:?}: after {took:?}");
            assert_eq!(seen.stored.load(Ordering::SeqCst), 1, "{name}, {until:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_holds_what_it_cannot_store_and_continues() {
    for (name, meets) in MEETS {
        let seen = Seen::default();
        let until = Duration::from_hours(1);
        let operator = operator(FailingWrites { until, meets }, &seen);
        let began = Instant::now();
        let credential = credential();
        let mut answered = Answered::of_a_test(&credential, "the-old", "the-new");
        let stored = finish(&operator.context, &credential, &mut answered).await;
        let failed = stored.err().expect("it cannot be stored");
        assert!(
            matches!(failed.class, Class::Transient | Class::Denied),
            "{name}: {failed:?}"
        );
        let took = began.elapsed();
        assert!((26..=41).contains(&took.as_secs()), "{name}: {took:?}");
        // With waits between the attempts: the API server has a problem.
        let tries = seen.tries.load(Ordering::SeqCst);
        assert!((2..=40).contains(&tries), "{name}: {tries} tries");
    }
}

#[tokio::test(start_paused = true)]
async fn what_only_the_leader_has_is_stored_before_the_process_ends() {
    for (name, meets) in MEETS {
        let seen = Seen::default();
        let until = Duration::from_secs(90);
        let mut operator = operator(FailingWrites { until, meets }, &seen);
        let store = &mut operator.writers.credentials;
        store.apply_watcher_event(&Event::Apply(PackedCredential::from(&object(&json!({})))));
        let credential = credential();
        let key = credential.key();
        let answered = Answered::of_a_test(&credential, "the-old", "the-new");
        let context = Arc::clone(&operator.context);
        context.with_state(&key, &credential.uid, |s| {
            s.unsaved = Some(Box::new(answered));
        });
        let answers = operator.answers();
        assert_eq!(answers.count(), 1, "{name}");
        // The answer is not lost if the wait for it is abandoned.
        let short = Duration::from_secs(5);
        assert!(
            tokio::time::timeout(short, answers.stored()).await.is_err(),
            "{name}"
        );
        assert_eq!(answers.count(), 1, "{name}");
        tokio::time::timeout(Duration::from_mins(4), answers.stored())
            .await
            .unwrap_or_else(|_| panic!("{name}: it is not stored"));
        assert_eq!(
            (answers.count(), seen.stored.load(Ordering::SeqCst)),
            (0, 1),
            "{name}"
        );
    }
}

/// GitOps tools delete and recreate an object: the sign-in belongs to the name, and so does its newest refresh token.
#[tokio::test(start_paused = true)]
async fn what_only_the_leader_has_is_stored_although_its_credential_is_deleted_or_replaced() {
    for (name, replaced) in [("deleted", false), ("replaced", true)] {
        let seen = Seen::default();
        let failing = FailingWrites {
            until: Duration::from_secs(5),
            meets: || refuse(500),
        };
        let mut operator = operator(failing, &seen);
        let store = &mut operator.writers.credentials;
        let there = object(&json!({}));
        store.apply_watcher_event(&Event::Apply(PackedCredential::from(&there)));
        let credential = credential();
        let key = credential.key();
        let answered = Answered::of_a_test(&credential, "the-old", "the-new");
        let context = Arc::clone(&operator.context);
        context.with_state(&key, &credential.uid, |s| {
            s.unsaved = Some(Box::new(answered));
        });
        if replaced {
            let mut next = there.clone();
            next.metadata.uid = Some("another".to_owned());
            let store = &mut operator.writers.credentials;
            store.apply_watcher_event(&Event::Apply(PackedCredential::from(&next)));
            context.with_state(&key, "another", |s| s.lost_statuses = 1);
        } else {
            let store = &mut operator.writers.credentials;
            store.apply_watcher_event(&Event::Delete(PackedCredential::from(&there)));
            context.forget(&key);
        }
        let answers = operator.answers();
        assert_eq!(answers.count(), 1, "{name}: it is lost");
        // Until the answer is stored, the refresh token in the state Secret is a used one: it is not revoked.
        assert!(context.orphans.concern(&key), "{name}: not begun");
        let run = crate::controller::token::orphans::run(Arc::clone(&context));
        let mut run = Box::pin(run);
        for (seconds, stored) in [(1, false), (20, true)] {
            let pass = tokio::time::timeout(Duration::from_secs(seconds), &mut run);
            assert!(pass.await.is_err());
            assert_eq!(context.orphans.concern(&key), !stored, "{name}: {seconds}");
        }
        let state = (answers.count(), seen.stored.load(Ordering::SeqCst));
        assert_eq!(state, (0, 1), "{name}: it is not stored");
    }
}

#[tokio::test(start_paused = true)]
async fn what_belongs_to_no_credential_is_stored_before_the_process_ends() {
    let seen = Seen::default();
    let failing = FailingWrites {
        until: Duration::from_secs(10),
        meets: || Reply::Silence,
    };
    let operator = operator(failing, &seen);
    let context = Arc::clone(&operator.context);
    let credential = credential();
    let key = credential.key();
    // The credential was deleted while the answer could not be stored.
    context.with_state(&key, &credential.uid, |s| {
        let answered = Answered::of_a_test(&credential, "the-old", "the-new");
        s.unsaved = Some(Box::new(answered));
    });
    let answers = operator.answers();
    assert_eq!(answers.count(), 1, "it is lost");
    tokio::time::timeout(Duration::from_mins(1), answers.stored())
        .await
        .expect("it is stored");
    let state = (answers.count(), seen.stored.load(Ordering::SeqCst));
    assert_eq!(state, (0, 1));
}
