//! The code that holds a Lease, against a simulated API server whose answers take as long as the test specifies. The
//! clock is paused, and the test advances it.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{Method, Request, Response};
use k8s_openapi::api::coordination::v1::Lease as Object;
use kube::{Client, client::Body};
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::{Authority, Lease, Lost, NoAuthority, election::LEASE};
use crate::{clock::SystemClock, scripted, telemetry::health::Health};

/// How one call is handled.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum How {
    /// Executed, and answered at once.
    Ok,
    /// Executed after three seconds.
    Slow,
    /// Executed at once, and answered after three seconds.
    SlowAnswer,
    /// Refused at once.
    Error,
    /// Refused after three seconds.
    SlowError,
    /// Another client changed the object first.
    Conflict,
    /// Not executed, and not answered.
    Silent,
    /// Executed, and not answered.
    SilentAnswer,
}

const ALL: [How; 8] = [
    How::Ok,
    How::Slow,
    How::SlowAnswer,
    How::Error,
    How::SlowError,
    How::Conflict,
    How::Silent,
    How::SilentAnswer,
];
const SOME_TIME: Duration = Duration::from_secs(3);

/// The API server.
pub(crate) struct Server {
    pub(crate) lease: Option<Value>,
    version: u64,
    /// When the Lease was last renewed in the store: no other process may take it before [`LEASE`] has passed since then.
    renewed: Instant,
    /// The number of calls so far.
    calls: usize,
    script: Box<dyn Fn(bool, usize) -> How + Send>,
}

pub(crate) type Shared = Arc<Mutex<Server>>;

impl Server {
    pub(crate) fn new(script: impl Fn(bool, usize) -> How + Send + 'static) -> Shared {
        Arc::new(Mutex::new(Self {
            lease: None,
            version: 0,
            renewed: Instant::now(),
            calls: 0,
            script: Box::new(script),
        }))
    }

    fn serve(&mut self, method: &Method, body: &[u8]) -> Response<Body> {
        if *method == Method::GET {
            return match &self.lease {
                Some(lease) => answer(200, lease),
                None => error_response(404),
            };
        }
        let mut sent: Value = serde_json::from_slice(body).unwrap();
        let at = sent["metadata"]["resourceVersion"].as_str();
        let stored = self
            .lease
            .as_ref()
            .map(|l| l["metadata"]["resourceVersion"].clone());
        let fits = match (*method == Method::POST, &stored) {
            (true, None) => true,
            (false, Some(there)) => at == there.as_str(),
            _ => false,
        };
        if !fits {
            return error_response(409);
        }
        self.version += 1;
        sent["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.renewed = Instant::now();
        self.lease = Some(sent);
        answer(200, self.lease.as_ref().unwrap())
    }
}

fn answer(code: u16, body: &Value) -> Response<Body> {
    scripted::answer(code, body)
}

fn error_response(code: u16) -> Response<Body> {
    scripted::answer(code, &scripted::failure(code))
}

fn client(server: &Shared) -> Client {
    let server = Arc::clone(server);
    let service = tower::service_fn(move |request: Request<Body>| {
        let server = Arc::clone(&server);
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect_bytes().await?;
            let how = {
                let mut server = server.lock().unwrap();
                server.calls += 1;
                (server.script)(parts.method == Method::GET, server.calls)
            };
            let serve = || server.lock().unwrap().serve(&parts.method, &body);
            Ok::<_, tower::BoxError>(match how {
                How::Ok => serve(),
                How::Slow => {
                    sleep(SOME_TIME).await;
                    serve()
                }
                How::SlowAnswer => {
                    let answer = serve();
                    sleep(SOME_TIME).await;
                    answer
                }
                How::Error => error_response(500),
                How::SlowError => {
                    sleep(SOME_TIME).await;
                    error_response(500)
                }
                How::Conflict => error_response(409),
                How::Silent => std::future::pending().await,
                How::SilentAnswer => {
                    serve();
                    std::future::pending().await
                }
            })
        }
    });
    Client::new(service, "default")
}

pub(crate) fn lease(server: &Shared, me: &str) -> Lease {
    Lease::new(client(server), "ns", "apicred", me, Arc::new(SystemClock))
}

/// Leads as long as the calls allow, at most for `most`. Checks that this process never has authority when another one may take the
/// Lease. Returns whether the Lease was lost.
async fn lead(script: impl Fn(bool, usize) -> How + Send + 'static, most: Duration) -> bool {
    // The first two calls acquire it.
    let server = Server::new(move |reads, call| {
        if call <= 2 {
            How::Ok
        } else {
            script(reads, call - 2)
        }
    });
    let lease = lease(&server, "me");
    let authority = lease.authority();
    assert!(!authority.holds(), "not before it leads");
    let mut standing = lease.acquire(&Health::default()).await;
    assert!(authority.holds());
    let (watched, store) = (authority.clone(), Arc::clone(&server));
    let watch = tokio::spawn(async move {
        loop {
            let since = store.lock().unwrap().renewed.elapsed();
            assert!(
                !watched.holds() || since < LEASE,
                "authority {since:?} after the last renewal"
            );
            sleep(Duration::from_millis(100)).await;
        }
    });
    let lost = timeout(most, standing.keep()).await;
    if lost.is_ok() {
        let since = server.lock().unwrap().renewed.elapsed();
        assert!(since < LEASE, "{since:?} after the last renewal");
        assert!(!authority.holds());
        assert_eq!(
            authority.wait_for(Duration::ZERO).await,
            Err(NoAuthority),
            "it never comes back"
        );
    }
    assert!(!watch.is_finished(), "{:?}", watch.await);
    watch.abort();
    lost.is_ok()
}

#[tokio::test(start_paused = true)]
async fn the_lease_is_given_up_in_time_whatever_each_call_does() {
    let minutes = Duration::from_mins(5);
    for put in ALL {
        for read in ALL {
            let lost = lead(move |reads, _| if reads { read } else { put }, minutes).await;
            let held = matches!(put, How::Ok | How::Slow | How::SlowAnswer);
            assert_eq!(lost, !held, "{put:?} {read:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_fails_now_and_then_does_not_cost_the_lease() {
    let minutes = Duration::from_mins(5);
    for fault in [How::Error, How::Conflict, How::SilentAnswer, How::SlowError] {
        let script = move |reads, call: usize| {
            if reads || !call.is_multiple_of(3) {
                How::Ok
            } else {
                fault
            }
        };
        assert!(!lead(script, minutes).await, "{fault:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// For each outcome of each single call.
    #[test]
    fn no_replica_takes_over_from_a_leader_that_still_leads(script in prop::collection::vec(0..ALL.len(), 1..12)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(lead(
            move |_, call| ALL[script[call % script.len()]],
            Duration::from_mins(2),
        ));
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_that_was_stopped_inside_a_call_has_no_authority_when_it_continues() {
    for stopped_in_read in [false, true] {
        let server = Server::new(move |reads, call| match call {
            1 | 2 => How::Ok,
            _ if reads == stopped_in_read => How::SlowAnswer,
            _ => How::Error,
        });
        let lease = lease(&server, "me");
        let authority = lease.authority();
        let mut standing = lease.acquire(&Health::default()).await;
        let mut keeps = Box::pin(standing.keep());
        // Now the call is in progress.
        assert!(timeout(Duration::from_secs(3), &mut keeps).await.is_err());
        // All timers and the answer are due at once now, as after SIGCONT.
        tokio::time::advance(Duration::from_secs(20)).await;
        assert!(!authority.holds(), "before anything else has had a turn");
        assert_eq!(keeps.await, Lost);
    }
}

#[tokio::test(start_paused = true)]
async fn an_operator_that_cannot_create_its_lease_is_not_ready_and_one_behind_another_is() {
    let readiness = async |how: How| {
        let server = Server::new(move |reads, _| if reads { How::Ok } else { how });
        let health = Health::default();
        health.set_standby(Ok(()));
        let waits = timeout(SOME_TIME * 4, lease(&server, "me").acquire(&health)).await;
        assert!(waits.is_err(), "{how:?}: it has no Lease");
        health.ready(crate::clock::steady())
    };
    assert_eq!(readiness(How::Conflict).await, Ok(()));
    for (how, cause) in [(How::Error, "HTTP 500"), (How::Silent, "does not answer")] {
        let why = readiness(how).await.expect_err("not ready");
        assert!(
            why.contains("the lease cannot be acquired") && why.contains(cause),
            "{how:?}: {why}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn others_keep_what_they_wrote_into_the_lease_and_a_hand_over_is_counted() {
    let server = Server::new(|_, _| How::Ok);
    let there = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {
            "name": "apicred", "namespace": "ns", "resourceVersion": "7",
            "labels": {"team": "a"}, "annotations": {"note": "b"},
            "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "c", "uid": "d"}],
        },
        "spec": {
            "holderIdentity": "", "leaseTransitions": 4, "preferredHolder": "x",
            "acquireTime": "2020-01-01T00:00:00.000000Z",
        },
    });
    {
        let mut server = server.lock().unwrap();
        server.lease = Some(there.clone());
        server.version = 7;
    }
    let read = || {
        let lease = server.lock().unwrap().lease.clone().unwrap();
        (
            lease["metadata"].clone(),
            serde_json::from_value::<Object>(lease)
                .unwrap()
                .spec
                .unwrap(),
        )
    };
    let same = |meta: &Value| {
        for field in ["labels", "annotations", "ownerReferences"] {
            assert_eq!(meta[field], there["metadata"][field], "{field}");
        }
    };
    let mut standing = lease(&server, "me").acquire(&Health::default()).await;
    let (meta, taken) = read();
    same(&meta);
    assert_eq!(taken.holder_identity.as_deref(), Some("me"));
    assert_eq!(taken.lease_transitions, Some(5));
    assert_eq!(taken.preferred_holder.as_deref(), Some("x"));
    let acquired = taken.acquire_time.clone().unwrap();
    assert!(acquired.0.to_string().as_str() > "2021");

    let long = Duration::from_secs(30);
    assert!(timeout(long, standing.keep()).await.is_err(), "it holds");
    let (meta, renewed) = read();
    same(&meta);
    assert_eq!(renewed.acquire_time, Some(acquired));
    assert_eq!(renewed.lease_transitions, Some(5));
    assert_ne!(renewed.renew_time, taken.renew_time);

    standing.release().await;
    let (meta, free) = read();
    same(&meta);
    assert_eq!(free.holder_identity.as_deref(), Some(""));
    assert_eq!(free.lease_duration_seconds, Some(1));
    let mut next = lease(&server, "next").acquire(&Health::default()).await;
    assert_eq!(read().1.lease_transitions, Some(6));
    assert!(timeout(long, next.keep()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_duration_that_somebody_wrote_into_the_lease_changes_nothing() {
    for seconds in [1, 0, i32::MAX] {
        let server = Server::new(|_, _| How::Ok);
        server.lock().unwrap().lease = Some(json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": "apicred", "namespace": "ns", "resourceVersion": "7"},
            "spec": {"holderIdentity": "other", "leaseDurationSeconds": seconds},
        }));
        server.lock().unwrap().version = 7;
        let health = Health::default();
        let candidate = lease(&server, "me");
        let begun = Instant::now();
        let taken = timeout(Duration::from_secs(30), candidate.acquire(&health)).await;
        assert!(taken.is_ok(), "{seconds}: nobody leads");
        assert!(begun.elapsed() >= LEASE, "{seconds}: {:?}", begun.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn authority_can_be_waited_for_and_ends_once() {
    let always = Authority::always();
    assert!(always.holds_for(Duration::MAX));
    assert_eq!(always.wait_for(Duration::MAX).await, Ok(()));

    let authority = Authority::of_a_candidate();
    authority.renewed(Instant::now());
    assert!(authority.holds_for(Duration::from_secs(9)));
    sleep(Duration::from_secs(5)).await;
    let most = Duration::from_secs(6);
    assert!(!authority.holds_for(most), "it was renewed 5 s ago");
    let (waits, renews) = (authority.clone(), authority.clone());
    let waits = tokio::spawn(async move { waits.wait_for(most).await });
    sleep(Duration::from_secs(1)).await;
    assert!(!waits.is_finished());
    renews.renewed(Instant::now());
    assert_eq!(waits.await.unwrap(), Ok(()));
    // The Lease is not renewed any more: the waiting task is notified.
    sleep(Duration::from_secs(5)).await;
    assert_eq!(authority.wait_for(most).await, Err(NoAuthority));
    authority.renewed(Instant::now());
    assert!(!authority.holds(), "what has run out does not come back");
}

#[test]
fn a_process_that_does_not_end_by_itself_is_ended_by_a_thread_of_its_own() {
    let authority = Authority::of_a_candidate();
    let (report, ended) = std::sync::mpsc::channel();
    let reports = report.clone();
    authority
        .enforce(Duration::from_millis(20), move || reports.send(()).unwrap())
        .unwrap();
    // As a candidate it has nothing to enforce. Then the lease is lost, and no async task notices it.
    assert!(ended.try_recv().is_err());
    let lost = Authority::of_a_candidate();
    lost.renewed(Instant::now());
    lost.lost();
    lost.enforce(Duration::from_millis(20), move || report.send(()).unwrap())
        .unwrap();
    ended.recv_timeout(Duration::from_mins(1)).unwrap();
}

#[test]
fn a_released_lease_ends_no_process() {
    let authority = Authority::of_a_candidate();
    authority.renewed(Instant::now());
    authority.give_back();
    assert!(!authority.holds());
    let (report, ended) = std::sync::mpsc::channel::<()>();
    // The thread ends and drops the function that it was to call.
    authority
        .enforce(Duration::ZERO, move || report.send(()).unwrap())
        .unwrap();
    assert!(ended.recv().is_err());
}
